//! Leases as members see them outside the log: renewals, questions about time, and expiry by the leader's clock.
//!
//! The replicated state knows which leases exist, for how long they were granted and what they had left at their last
//! checkpoint. Deadlines live on the leader alone, in its own monotonic time ([`deadlines`]).
//!
//! - A new leader gives every lease what it had left at its last checkpoint, or else its full time to live, and one
//!   election timeout more: no lease dies because the cluster was without a leader.
//!   It begins when the leader has applied an entry of its own term: before, its state may lack a checkpoint, or that
//!   one was taken back.
//! - A lease past its deadline is never renewed; it waits for its revocation. So a renewal that succeeded and a
//!   revocation cannot pass each other.
//! - After every wait a renewal looks again whether the lease is still there, and still the same.
//! - A lease with a checkpoint is renewed only when the checkpoint was taken back in the log: a promise must bind the
//!   next leader too. This costs one entry per lease and checkpoint, not per renewal.
//! - Expiry is proposed only by a leader that has confirmed its leadership after it found the lease due, only within
//!   that term, and for that very lease: granted again under its id, it is another one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_mvcc::{LeaseCheckpoint, LeaseId};
use evenkeel_raft::{Index, Mutant, NodeId};
use tokio::sync::watch;

use crate::env::point;
use crate::error::RequestError;
use crate::member::Member;
use crate::membership::promote;
use crate::version;

pub mod deadlines;
pub mod expiry;

pub use deadlines::Leases;
use deadlines::{Renewal, Terms};

impl Member {
    /// A new reign of this member: deadlines begin anew.
    pub(crate) fn reign_began(self: &Arc<Self>, term: u64) {
        let no_grace = self.config().mutants.on(Mutant::LeaseNoGrace);
        let grace = if no_grace { None } else { Some(self.config().election_timeout) };
        let spread = !self.config().mutants.on(Mutant::LeasesAllAtOnce);
        let terms = Terms { grace, spread, checkpoint_interval: self.config().lease_checkpoint_interval };
        self.leases().reign_began(term, terms);
        version::monitor::spawn(self, term);
        tokio::spawn(promote::learners(Arc::clone(self), term));
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
        // Shared by everybody who waits for one: many renewals cost one round.
        self.read_barrier().await?;
        point!(self.env(), "lease.renewal_confirmed");
        let id = LeaseId(lease);
        let give_up = self.now() + self.request_timeout();
        let mut applied = self.applied();
        loop {
            let (ttl_seconds, granted_at, renewal) = {
                let view = self.view();
                let Some(lease) = view.lease(id) else { return Ok(0) };
                let renewal = self.leases().renew(id, lease, term, self.lease_now());
                (lease.ttl_seconds, lease.granted_at, renewal)
            };
            let left = give_up.saturating_sub(self.now());
            match renewal {
                Renewal::Renewed => return Ok(ttl_seconds),
                Renewal::NotLeader => return Err(RequestError::NotLeader),
                Renewal::Expired => self.next_applied(&mut applied, left).await?,
                Renewal::Changed | Renewal::BeingCheckpointed if left.is_zero() => return Err(RequestError::Timeout),
                Renewal::Changed | Renewal::BeingCheckpointed => {
                    self.env().clock.sleep(self.config().heartbeat_interval).await;
                }
                Renewal::Checkpointed => self.take_back_checkpoint(id, granted_at, term).await?,
            }
            // The planted bug does not look again.
            if self.config().mutants.has(Mutant::RenewAfterRevoke) {
                self.config().mutants.bites(Mutant::RenewAfterRevoke, || self.view().lease(id).is_none());
                return Ok(ttl_seconds);
            }
        }
    }

    /// Waits until something more is applied.
    async fn next_applied(&self, applied: &mut watch::Receiver<Index>, patience: Duration) -> Result<(), RequestError> {
        tokio::select! {
            biased;
            () = self.stopping() => Err(RequestError::Stopped),
            changed = applied.changed() => changed.map_err(|_| RequestError::Stopped),
            () = self.env().clock.sleep(patience) => Err(RequestError::Timeout),
        }
    }

    /// Makes the log forget what a lease had left.
    async fn take_back_checkpoint(&self, id: LeaseId, granted_at: u64, term: u64) -> Result<(), RequestError> {
        let whole = LeaseCheckpoint { id, remaining_seconds: 0, granted_at: Some(granted_at) };
        point!(self.env(), "lease.before_take_back");
        self.propose_in(expiry::request(&[whole]), Some(term)).await?;
        // Entries of one proposer keep their order: every earlier checkpoint of this reign is applied, or lost.
        self.leases().uncheckpointed(term, whole);
        Ok(())
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
        let Some(found) = view.lease(id) else {
            return Ok(LeaseTtl { ttl: -1, granted_ttl: 0, keys: Vec::new() });
        };
        // It lives, and its time is another leader's by now.
        let left = self.leases().remaining(id, self.lease_now()).ok_or(RequestError::LeaderChanged)?;
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
