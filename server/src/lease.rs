//! Lease deadlines. They live on the leader alone, in its own monotonic time; the replicated state knows only
//! which leases exist and for how long they were granted.
//!
//! - A new leader gives every lease its full time to live and one election timeout more: no lease dies because
//!   the cluster was without a leader.
//! - A lease past its deadline is never renewed; it waits for its revocation. So a renewal that succeeded and a
//!   revocation cannot pass each other.
//! - Expiry is proposed only by a leader that has confirmed its leadership after it found the lease due, and only
//!   within that term.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_mvcc::{LeaseId, Store};
use evenkeel_proto::etcdserverpb as pb;

use evenkeel_raft::{Mutant, NodeId};

use crate::env::{Event, point};
use crate::error::RequestError;
use crate::member::Member;

/// Between two looks for due leases.
const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// Leases revoked in one scan.
const REVOKED_PER_SCAN: usize = 500;
/// Revocations in flight at once.
const REVOKING_AT_ONCE: usize = 16;

/// Deadlines by lease; empty unless this member leads.
#[derive(Default)]
pub struct Leases {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    reign: Option<u64>,
    deadlines: BTreeMap<LeaseId, Duration>,
}

/// The outcome of a renewal on the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It lives for this many seconds from now.
    Renewed(i64),
    /// It is past its deadline and waits for its revocation.
    Expired,
    /// There is no such lease.
    Unknown,
    /// This member does not lead.
    NotLeader,
}

impl Leases {
    /// A reign begins: every lease gets its whole time to live, and `grace` for the time without a leader (none is a
    /// planted bug).
    pub fn reign_began(&self, term: u64, store: &Store, now: Duration, grace: Option<Duration>) {
        let deadline = |ttl_seconds| grace.map_or(now, |grace| now + ttl(ttl_seconds) + grace);
        let mut inner = self.inner.lock().expect("not poisoned");
        inner.reign = Some(term);
        inner.deadlines = store.leases().map(|(id, lease)| (id, deadline(lease.ttl_seconds))).collect();
    }

    /// The reign is over.
    pub fn deposed(&self) {
        let mut inner = self.inner.lock().expect("not poisoned");
        inner.reign = None;
        inner.deadlines.clear();
    }

    /// A grant was applied.
    pub fn granted(&self, id: LeaseId, ttl_seconds: i64, now: Duration) {
        let mut inner = self.inner.lock().expect("not poisoned");
        if inner.reign.is_some() {
            inner.deadlines.insert(id, now + ttl(ttl_seconds));
        }
    }

    /// A revocation was applied.
    pub fn revoked(&self, id: LeaseId) {
        self.inner.lock().expect("not poisoned").deadlines.remove(&id);
    }

    /// Gives a lease its whole time again. `term` is the reign whose leadership was confirmed for this renewal.
    pub fn renew(&self, id: LeaseId, ttl_seconds: i64, term: u64, now: Duration) -> Renewal {
        let mut inner = self.inner.lock().expect("not poisoned");
        if inner.reign != Some(term) {
            return Renewal::NotLeader;
        }
        match inner.deadlines.get_mut(&id) {
            None => Renewal::Unknown,
            Some(deadline) if *deadline <= now => Renewal::Expired,
            Some(deadline) => {
                *deadline = now + ttl(ttl_seconds);
                Renewal::Renewed(ttl_seconds)
            }
        }
    }

    /// Seconds left; none for an unknown or expired lease.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<i64> {
        let inner = self.inner.lock().expect("not poisoned");
        let deadline = inner.deadlines.get(&id)?;
        deadline.checked_sub(now).filter(|left| !left.is_zero()).map(|left| left.as_secs() as i64)
    }

    fn is_due(&self, id: LeaseId, now: Duration) -> bool {
        self.inner.lock().expect("not poisoned").deadlines.get(&id).is_some_and(|deadline| *deadline <= now)
    }

    fn due(&self, now: Duration) -> Option<(u64, Vec<LeaseId>)> {
        let inner = self.inner.lock().expect("not poisoned");
        let due = inner.deadlines.iter().filter(|(_, deadline)| **deadline <= now);
        let due: Vec<LeaseId> = due.map(|(id, _)| *id).take(REVOKED_PER_SCAN).collect();
        inner.reign.filter(|_| !due.is_empty()).map(|term| (term, due))
    }
}

fn ttl(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(0) as u64)
}

/// Revokes due leases for as long as the member runs.
pub async fn expire(member: Arc<Member>) {
    loop {
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.env().clock.sleep(SCAN_INTERVAL) => {}
        }
        let Some((term, due)) = member.leases().due(member.lease_now()) else { continue };
        // Somebody else may lead by now, and renew: only a leadership confirmed after the look counts.
        if member.read_barrier().await.is_err() || member.reign() != Some(term) {
            continue;
        }
        point(member.env(), "lease.before_revoke").await;
        for chunk in due.chunks(REVOKING_AT_ONCE) {
            // A lease that ended meanwhile and was granted again under its id is another lease.
            let now = member.lease_now();
            let revocations = chunk.iter().filter(|id| member.leases().is_due(**id, now)).map(|id| {
                member.env().observer.observe(Event::LeaseExpired { lease: id.0 });
                let request = pb::InternalRaftRequest {
                    lease_revoke: Some(pb::LeaseRevokeRequest { id: id.0 }),
                    ..Default::default()
                };
                member.propose_in(request, Some(term))
            });
            for outcome in futures_util::future::join_all(revocations).await {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a due lease could not be revoked; it is tried again");
                }
            }
        }
    }
}

impl Member {
    /// A new reign of this member: deadlines begin anew.
    pub(crate) fn reign_began(self: &Arc<Self>, term: u64) {
        let no_grace = self.config().mutants.on(Mutant::LeaseNoGrace);
        let grace = if no_grace { None } else { Some(self.config().election_timeout) };
        self.begin_reign(term, grace);
        let member = Arc::clone(self);
        tokio::spawn(async move { crate::publish::cluster_version(&member, term).await });
    }

    /// Renews a lease, here or on the leader. Gives its time to live, or 0 when there is no such lease.
    pub async fn lease_renew(&self, lease: i64) -> Result<i64, RequestError> {
        self.of_the_leader(|leader| async move {
            match leader {
                None => self.lease_renew_here(lease).await,
                Some(leader) => self.asks().lease_renew(self, leader, lease).await,
            }
        })
        .await
    }

    /// Renews a lease as the leader.
    pub async fn lease_renew_here(&self, lease: i64) -> Result<i64, RequestError> {
        let Some(term) = self.reign() else { return Err(RequestError::NotLeader) };
        self.read_barrier().await?;
        let id = LeaseId(lease);
        let give_up = self.now() + self.request_timeout();
        let mut applied = self.applied();
        loop {
            let Some(ttl_seconds) = self.view().lease(id).map(|l| l.ttl_seconds) else { return Ok(0) };
            match self.leases().renew(id, ttl_seconds, term, self.lease_now()) {
                Renewal::Renewed(ttl) => return Ok(ttl),
                Renewal::Unknown | Renewal::NotLeader => return Err(RequestError::NotLeader),
                Renewal::Expired => {
                    let left = give_up.saturating_sub(self.now());
                    tokio::select! {
                        biased;
                        () = self.stopping() => return Err(RequestError::Stopped),
                        changed = applied.changed() => if changed.is_err() { return Err(RequestError::Stopped) },
                        () = self.env().clock.sleep(left) => return Err(RequestError::Timeout),
                    }
                }
            }
        }
    }

    /// Time left of a lease, from the leader. A `ttl` of -1 means that there is no such lease.
    pub async fn lease_time_to_live(&self, lease: i64, keys: bool) -> Result<LeaseTtl, RequestError> {
        self.of_the_leader(|leader| async move {
            match leader {
                None => self.lease_time_to_live_here(lease, keys).await,
                Some(leader) => self.asks().lease_time_to_live(self, leader, lease, keys).await,
            }
        })
        .await
    }

    /// Asks the leader, or answers as the leader (`None`), until an answer comes or time is up. While leadership
    /// changes hands nobody can answer; a client gets an error that tells it to try again.
    async fn of_the_leader<T, F>(&self, ask: impl Fn(Option<NodeId>) -> F) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let deadline = self.now() + self.request_timeout();
        loop {
            let outcome = match self.standing().leader {
                Some(leader) if leader.0 == self.ids().member => ask(None).await,
                Some(leader) => ask(Some(leader)).await,
                None => Err(RequestError::NoLeader),
            };
            match outcome {
                Err(RequestError::NotLeader | RequestError::NoLeader | RequestError::LeaderChanged) => {}
                outcome => return outcome,
            }
            if deadline <= self.now() {
                return Err(RequestError::Timeout);
            }
            tokio::select! {
                biased;
                () = self.stopping() => return Err(RequestError::Stopped),
                () = self.env().clock.sleep(self.config().heartbeat_interval) => {}
            }
        }
    }

    /// Time left of a lease, as the leader.
    pub async fn lease_time_to_live_here(&self, lease: i64, keys: bool) -> Result<LeaseTtl, RequestError> {
        let Some(term) = self.reign() else { return Err(RequestError::NotLeader) };
        self.read_barrier().await?;
        if self.reign() != Some(term) {
            return Err(RequestError::LeaderChanged);
        }
        let id = LeaseId(lease);
        let view = self.view();
        let Some((found, left)) = view.lease(id).zip(self.leases().remaining(id, self.lease_now())) else {
            return Ok(LeaseTtl { ttl: -1, granted_ttl: 0, keys: Vec::new() });
        };
        let keys = if keys { found.keys().map(|k| k.to_vec().into()).collect() } else { Vec::new() };
        Ok(LeaseTtl { ttl: left, granted_ttl: found.ttl_seconds, keys })
    }
}

/// The answer to a question about a lease's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTtl {
    /// Seconds left, -1 when there is no such lease.
    pub ttl: i64,
    /// Seconds granted.
    pub granted_ttl: i64,
    /// The keys attached, when asked for.
    pub keys: Vec<bytes::Bytes>,
}
