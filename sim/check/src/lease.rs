//! Leases: neither early nor late, and the keys go with the lease.
//!
//! | Rule | What breaks it |
//! |---|---|
//! | L1 safety | seen gone, with no client revoke, before the newest confirmed renewal + TTL x (1 - rho) |
//! | L2 liveness | seen alive, or (white box) not ended, after the last possible renewal, leader change or fault + TTL x (1 + rho) + an election + slack |
//! | L3 | a keep-alive or attach succeeds for a lease that was gone, or never granted, before the call |
//! | L4 | a key is still attached to a lease that was gone before the read was called; that the keys go in the lease's own revision is replayed by [`crate::linearizable`] |
//! | L5 | the attached keys a member lists are those of no revision between call and answer |
//! | L6 | an id is granted while its lease certainly lives, or refused as existing while none can; a grant, a keep-alive or a time-to-live names another time than was granted |
//! | L7 | a list of all leases has one that nobody asked for, one revoked before the revision it was made at, or lacks one that had keys there, or was granted before and certainly lives |
//!
//! A renewal is confirmed from the *call* of a successful keep-alive on, and may have happened as late as its return.
//! Time-to-live answers come from a leader that may have been deposed: they bind only outside
//! [`LeaseConfig::stale_leader_nanos`].
//!
//! An id that clients choose may be granted again. What is known is about the grant that answered last; while another
//! one is not answered, perhaps never, it may have been made or not, and less is certain.

mod call;
mod lists;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::history::*;
use crate::ids::*;
use crate::linearizable::Linearizable;
use crate::suite::slowest;
use crate::violation::{Related, Verdict, Violation};

pub use call::LeaseCall;
use lists::Lists;

/// The oracle's name.
pub const NAME: &str = "lease";

/// Bounds of what is allowed.
#[derive(Clone, Copy, Debug)]
pub struct LeaseConfig {
    /// How much too fast a clock may run, in parts per million: a lease may end so much early.
    pub fast_ppm: u64,
    /// How much too slow: a lease may end late.
    pub slow_ppm: u64,
    /// An election, worst case.
    pub election_nanos: u64,
    /// Expiry scans, the revoke's way through the log, retries.
    pub slack_nanos: u64,
    /// How long a deposed leader may go on answering time-to-live.
    pub stale_leader_nanos: u64,
    /// Members report elections and lease ends. Without them one more TTL is allowed for unseen leader changes.
    pub white_box: bool,
}

#[derive(Clone, Debug, Default)]
struct Lease {
    /// The shortest and the longest time that any grant of this id was for.
    shortest: i64,
    longest: i64,
    /// Grants that were called. 0: nobody asked for it.
    grants: u32,
    /// Those that were not answered.
    grants_open: u32,
    /// When the grant's success was known.
    granted: Option<Moment>,
    /// The revision it answered.
    granted_at: Revision,
    /// Alive for a TTL from here on, at least.
    confirmed: Moment,
    /// Renewed for the last time here, at most.
    renewed: Moment,
    renewals_open: u32,
    revokes_open: u32,
    /// The last answer to a revoke.
    revoked: Moment,
    /// The revision at which a client revoked it, and nobody asked for it since.
    revoked_at: Option<Revision>,
    revoke_asked: bool,
    gone: Option<Moment>,
    /// An end that members report (white box).
    ended: Option<Moment>,
    /// An end was seen while the grant was under way: perhaps this one's.
    unsure: bool,
}

/// The oracle.
#[derive(Clone, Debug)]
pub struct Leases {
    config: LeaseConfig,
    leases: BTreeMap<LeaseId, Lease>,
    /// Grants without a wished id that may have made a lease nobody knows of.
    anonymous: u32,
    /// The last leader change or end of a fault; none while faults are on.
    quiet: Option<Moment>,
    /// The newest entry that ended a lease: other members apply it later, when the id may have been granted again.
    ended: Index,
    lists: Lists,
}

fn fail(at: Moment, lease: LeaseId, message: String) -> Box<Violation> {
    Violation::new(NAME, at, format!("{lease} {message}")).with([Related::Lease(lease)])
}

impl Leases {
    /// No leases, no faults.
    pub fn new(config: LeaseConfig) -> Self {
        let quiet = Some(Moment::default());
        Leases { config, leases: BTreeMap::new(), anonymous: 0, quiet, ended: Index(0), lists: Lists::default() }
    }

    /// A fault begins.
    pub fn disturbed(&mut self) {
        self.quiet = None;
    }

    /// Faults are healed.
    pub fn calm(&mut self, at: Moment) {
        self.quiet = Some(at);
    }

    /// A new leader: it gives every lease its full time again.
    pub fn elected(&mut self, at: Moment) {
        if let Some(quiet) = &mut self.quiet {
            *quiet = at;
        }
    }

    /// A client calls.
    pub fn call(&mut self, call: &LeaseCall) {
        match call {
            LeaseCall::Grant(LeaseId::NONE, _) => self.anonymous += 1,
            LeaseCall::Grant(lease, ttl) => {
                let lease = self.leases.entry(*lease).or_default();
                lease.shortest = if lease.grants == 0 { *ttl } else { lease.shortest.min(*ttl) };
                lease.longest = lease.longest.max(*ttl);
                lease.grants += 1;
                lease.grants_open += 1;
                lease.revoked_at = None;
            }
            LeaseCall::Revoke(lease) => {
                let lease = self.leases.entry(*lease).or_default();
                lease.revoke_asked = true;
                lease.revokes_open += 1;
            }
            LeaseCall::KeepAlive(lease) => self.with(*lease, |lease| lease.renewals_open += 1),
            LeaseCall::TimeToLive(..)
            | LeaseCall::Leases
            | LeaseCall::Attach(_)
            | LeaseCall::Txn(_)
            | LeaseCall::Read
            | LeaseCall::Other => {}
        }
    }

    /// The client learns how it ended.
    pub fn returned(
        &mut self,
        at: Moment,
        called: Moment,
        call: &LeaseCall,
        outcome: &Outcome,
        truth: &Linearizable,
    ) -> Verdict {
        self.closed(at, call, outcome);
        if let LeaseCall::Txn(txn) = call {
            return self.transacted(at, called, txn, outcome);
        }
        let lease = match call {
            LeaseCall::Grant(lease, _)
            | LeaseCall::Revoke(lease)
            | LeaseCall::KeepAlive(lease)
            | LeaseCall::TimeToLive(lease, _)
            | LeaseCall::Attach(lease) => *lease,
            _ => LeaseId::NONE,
        };
        match (call, outcome) {
            (LeaseCall::Grant(_, wanted), Outcome::Ok(header, Body::LeaseGrant { lease: id, ttl })) => {
                if (lease != LeaseId::NONE && *id != lease) || ttl < wanted || *id == LeaseId::NONE {
                    return Err(fail(
                        at,
                        *id,
                        format!("was granted for {ttl} s, asked for were {lease} and {wanted} s"),
                    ));
                }
                self.granted(at, called, *id, *ttl, header.revision)
            }
            (LeaseCall::Grant(..), Outcome::DefinitelyNot(Refusal::LeaseExists)) => {
                self.alive(at, called, lease, "was refused as existing")
            }
            (LeaseCall::KeepAlive(_), Outcome::Ok(_, Body::LeaseKeepAlive { ttl })) if *ttl <= 0 => {
                self.gone(at, called, lease, "answers a keep-alive with no TTL")
            }
            (LeaseCall::KeepAlive(_), Outcome::Ok(_, Body::LeaseKeepAlive { ttl })) => {
                self.alive(at, called, lease, "was kept alive")?;
                self.kept_alive(at, called, lease, *ttl)
            }
            (LeaseCall::KeepAlive(_), _) => {
                self.with(lease, |lease| lease.renewed = at);
                Ok(())
            }
            (LeaseCall::Attach(_), Outcome::Ok(..)) => self.alive(at, called, lease, "had a key attached"),
            (LeaseCall::Attach(_) | LeaseCall::Revoke(_), Outcome::DefinitelyNot(Refusal::LeaseNotFound)) => {
                self.gone(at, called, lease, "was answered as not found")
            }
            (LeaseCall::Revoke(_), Outcome::Ok(header, _)) => {
                self.gone(at, called, lease, "was revoked")?;
                self.with(lease, |lease| {
                    let only = lease.gone == Some(at) && lease.grants_open == 0;
                    lease.revoked_at = only.then_some(header.revision);
                });
                Ok(())
            }
            (LeaseCall::TimeToLive(_, asked), Outcome::Ok(header, Body::LeaseTimeToLive { ttl, granted, keys })) => {
                if *granted == 0 {
                    let message = "has no time to live, but something of it";
                    let nothing = *ttl == -1 && keys.is_empty();
                    let earlier = self.earlier(called);
                    let gone = self.gone(at, earlier, lease, "has no time to live");
                    return if nothing { gone } else { Err(fail(at, lease, message.to_owned())) };
                }
                self.time_to_live(at, called, lease, (*ttl, *granted))?;
                if *asked {
                    self.list(called, lease, keys, header, truth);
                }
                Ok(())
            }
            (LeaseCall::Leases, Outcome::Ok(header, Body::LeaseLeases { leases })) => {
                self.all(at, called, header.revision, leases)
            }
            (LeaseCall::Read, Outcome::Ok(_, Body::Range(reply))) => {
                let attached = reply.kvs.iter().filter(|kv| kv.lease != LeaseId::NONE);
                attached.map(|kv| kv.lease).try_for_each(|lease| self.alive(at, called, lease, "holds a key"))
            }
            _ => Ok(()),
        }
    }

    /// One call less is under way.
    fn closed(&mut self, at: Moment, call: &LeaseCall, outcome: &Outcome) {
        let known = !matches!(outcome, Outcome::Unknown(_));
        match call {
            LeaseCall::Grant(LeaseId::NONE, _) => self.anonymous -= u32::from(known),
            LeaseCall::Grant(lease, _) => self.with(*lease, |lease| lease.grants_open -= u32::from(known)),
            LeaseCall::Revoke(lease) => self.with(*lease, |lease| {
                lease.revokes_open -= u32::from(known);
                lease.revoked = at;
            }),
            LeaseCall::KeepAlive(lease) => {
                self.with(*lease, |lease| lease.renewals_open = lease.renewals_open.saturating_sub(1));
            }
            _ => {}
        }
    }

    fn granted(&mut self, at: Moment, called: Moment, id: LeaseId, ttl: i64, revision: Revision) -> Verdict {
        // What was seen alive by a call since may be this grant's lease.
        if self.leases.get(&id).is_none_or(|lease| lease.confirmed < called) {
            self.gone(at, called, id, "was granted again")?;
        }
        let known = self.leases.remove(&id).unwrap_or_default();
        let grants = known.grants.max(1);
        let since = |moment: Option<Moment>| moment.is_some_and(|moment| called <= moment);
        let lease = Lease {
            shortest: if grants == 1 { ttl } else { known.shortest.min(ttl) },
            longest: if grants == 1 { ttl } else { known.longest.max(ttl) },
            grants,
            granted: Some(at),
            granted_at: revision,
            confirmed: called,
            renewed: at,
            revoke_asked: 0 < known.revokes_open || called <= known.revoked,
            unsure: since(known.ended) || (1 < grants && since(known.gone)),
            gone: None,
            ..known
        };
        self.leases.insert(id, lease);
        Ok(())
    }

    fn transacted(&mut self, at: Moment, called: Moment, txn: &Txn, outcome: &Outcome) -> Verdict {
        match outcome {
            Outcome::Ok(_, Body::Txn(reply)) => {
                let mut attached = call::attached(txn, reply).into_iter();
                attached.try_for_each(|lease| self.alive(at, called, lease, "had a key attached"))
            }
            // Of several it may be any.
            Outcome::DefinitelyNot(Refusal::LeaseNotFound) => match call::named(txn)[..] {
                [lease] => self.gone(at, called, lease, "was answered as not found"),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A member applied the end of a lease (white box), with the entry at this position.
    pub fn ended(&mut self, at: Moment, index: Index, lease: LeaseId) -> Verdict {
        if index <= self.ended {
            return Ok(());
        }
        self.ended = index;
        self.leases.entry(lease).or_default().ended = Some(at);
        self.gone(at, at, lease, "was ended by the server")
    }

    /// Checks lists as far as the truth reaches.
    pub fn settle(&mut self, at: Moment, truth: &Linearizable) -> Verdict {
        self.lists.settle(truth.model(), false).map_or(Ok(()), |(lease, message)| Err(fail(at, lease, message)))
    }

    /// When each lease that nobody revokes must be gone, if it is not yet.
    fn deadlines(&self) -> impl Iterator<Item = (LeaseId, u64)> {
        let lives = |lease: &Lease| lease.gone.is_none() && !lease.unsure && !lease.revoke_asked;
        let left = self.leases.iter().filter(move |(_, lease)| self.config.white_box && lives(lease));
        left.filter_map(|(id, lease)| Some((*id, self.deadline(lease)?)))
    }

    /// From when on [`Leases::finish`] can say of every lease whether it ends, if all is quiet until then; at the
    /// latest by `latest`. None when no lease ends by then.
    pub fn judged_from(&self, latest: u64) -> Option<u64> {
        self.deadlines().map(|(_, deadline)| deadline + 1).filter(|deadline| *deadline <= latest).max()
    }

    /// The run is over.
    pub fn finish(&mut self, at: Moment, truth: &Linearizable) -> Verdict {
        if let Some((lease, message)) = self.lists.settle(truth.model(), true) {
            return Err(fail(at, lease, message));
        }
        for (id, deadline) in self.deadlines() {
            if deadline < at.nanos {
                let seconds = deadline / NANOS_PER_SECOND;
                return Err(fail(at, id, format!("lives on, although it should have ended by {seconds} s")));
            }
        }
        Ok(())
    }

    fn with(&mut self, lease: LeaseId, change: impl FnOnce(&mut Lease)) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            change(lease);
        }
    }

    /// Before this it does not end by itself.
    fn shortest(&self, lease: &Lease, since: Moment) -> u64 {
        let ttl = lease.shortest.max(0) as u64 * NANOS_PER_SECOND;
        since.nanos.saturating_add(ttl.saturating_sub(share(ttl, self.config.fast_ppm)))
    }

    /// As if called that much earlier: a deposed leader may answer.
    fn earlier(&self, called: Moment) -> Moment {
        let earlier = called.nanos.saturating_sub(self.config.stale_leader_nanos);
        Moment::new(earlier, if earlier == called.nanos { called.seq } else { 0 })
    }

    /// When it must be gone, if that can be said now.
    fn deadline(&self, lease: &Lease) -> Option<u64> {
        if lease.granted.is_none() || lease.renewals_open > 0 || lease.grants_open > 0 {
            return None;
        }
        let ttl = lease.longest.max(0) as u64 * NANOS_PER_SECOND;
        let ttl = slowest(ttl, self.config.slow_ppm);
        let unseen_leader_change = if self.config.white_box { 0 } else { ttl };
        let allowance = self.config.election_nanos + self.config.slack_nanos;
        let base = lease.renewed.max(self.quiet?).nanos;
        Some(base.saturating_add(ttl).saturating_add(unseen_leader_change).saturating_add(allowance))
    }

    fn kept_alive(&mut self, at: Moment, called: Moment, id: LeaseId, ttl: i64) -> Verdict {
        let Some(lease) = self.leases.get(&id) else { return Ok(()) };
        self.granted_so(at, called, id, ttl, "was kept alive")?;
        let early = |gone: Moment| gone.nanos < self.shortest(lease, called);
        if let Some(gone) = lease.gone.filter(|gone| early(*gone))
            && !lease.revoke_asked
            && lease.grants_open == 0
        {
            // Renewed inside the call, so before it was seen gone.
            let message = format!("was seen gone at {gone}, but a keep-alive called at {called} renewed it");
            return Err(fail(at, id, message));
        }
        self.with(id, |lease| {
            lease.confirmed = lease.confirmed.max(called);
            lease.renewed = lease.renewed.max(at);
        });
        Ok(())
    }

    /// A time that it is said to have been granted for, by a call of then.
    fn granted_so(&self, at: Moment, called: Moment, id: LeaseId, ttl: i64, how: &str) -> Verdict {
        let Some(lease) = self.leases.get(&id) else { return Ok(()) };
        let known = lease.grants_open == 0 && lease.granted.is_some_and(|granted| granted < called);
        if !known || (lease.shortest..=lease.longest).contains(&ttl) {
            return Ok(());
        }
        Err(fail(at, id, format!("{how} for {ttl} s, but was granted for {} s", lease.longest)))
    }

    fn gone(&mut self, at: Moment, called: Moment, id: LeaseId, how: &str) -> Verdict {
        let Some(lease) = self.leases.get(&id) else { return Ok(()) };
        // An answer to a call from before the grant says nothing about it.
        if lease.gone.is_some() || lease.granted.is_none_or(|granted| called < granted) {
            return Ok(());
        }
        // While it may be granted again, what was seen alive by a later call may be another lease than the one that is gone.
        let is_same = lease.grants_open == 0 || lease.confirmed < called;
        let early = !lease.revoke_asked && at.nanos < self.shortest(lease, lease.confirmed);
        if is_same && early {
            let (ttl, confirmed) = (lease.shortest, lease.confirmed);
            let message = format!("{how} although its TTL of {ttl} s counts from {confirmed} on and nobody revoked it");
            return Err(fail(at, id, message).with([Related::Moment(confirmed)]));
        }
        self.with(id, |lease| lease.gone = Some(at));
        Ok(())
    }

    fn alive(&self, at: Moment, called: Moment, id: LeaseId, how: &str) -> Verdict {
        let Some(lease) = self.leases.get(&id).filter(|lease| 0 < lease.grants) else {
            if self.anonymous > 0 {
                return Ok(());
            }
            return Err(fail(at, id, format!("{how}, but nobody asked for such a lease")));
        };
        if let Some(gone) = lease.gone
            && lease.grants_open == 0
            && gone < called
        {
            let message = format!("{how} by a call of {called}, although it was gone at {gone}");
            return Err(fail(at, id, message).with([Related::Moment(gone)]));
        }
        match self.deadline(lease) {
            Some(deadline) if deadline < called.nanos => {
                let message = format!("{how} by a call of {called}, after it should have ended");
                Err(fail(at, id, message).with([Related::Moment(lease.renewed)]))
            }
            _ => Ok(()),
        }
    }

    /// What a lease is said to have left, in seconds, and to have been granted for.
    fn time_to_live(&self, at: Moment, called: Moment, id: LeaseId, (left, granted): (i64, i64)) -> Verdict {
        let called = self.earlier(called);
        self.alive(at, called, id, "has time to live")?;
        self.granted_so(at, called, id, granted, "has time to live")?;
        let Some(lease) = self.leases.get(&id) else { return Ok(()) };
        let end = |seconds: i64| called.nanos.saturating_add(seconds.max(0) as u64 * NANOS_PER_SECOND);
        if self.deadline(lease).is_some_and(|deadline| deadline < end(left)) {
            return Err(fail(at, id, format!("is said to have {left} s left, which is past its end")));
        }
        // Whole seconds, rounded down, and counted from some moment of the call.
        let settled = !lease.revoke_asked && lease.granted.is_some_and(|granted| granted < called);
        let least = self.shortest(lease, lease.confirmed).saturating_sub(at.nanos) / NANOS_PER_SECOND;
        if settled && lease.grants_open == 0 && lease.renewed < called && left.saturating_add(1) < least as i64 {
            return Err(fail(at, id, format!("is said to have {left} s left, which should be {least} s at least")));
        }
        Ok(())
    }

    fn list(&mut self, called: Moment, lease: LeaseId, keys: &[Bytes], header: &Header, truth: &Linearizable) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let low = truth.newest_seen_at(self.earlier(called));
        // Without members' word, the leader may have seen what nobody else has.
        let high = self.config.white_box.then(|| truth.newest_seen().max(header.revision));
        self.lists.keys.push_back(lists::Keys { lease, keys, low, high });
    }

    /// A member lists all leases it knows of at this revision.
    fn all(&mut self, at: Moment, called: Moment, revision: Revision, listed: &[LeaseId]) -> Verdict {
        let leases: BTreeSet<LeaseId> = listed.iter().copied().collect();
        for id in &leases {
            let lease = self.leases.get(id).filter(|lease| 0 < lease.grants);
            if lease.is_none() && self.anonymous == 0 {
                return Err(fail(at, *id, "is listed, but nobody asked for such a lease".to_owned()));
            }
            if let Some(revoked) = lease.and_then(|lease| lease.revoked_at).filter(|revoked| *revoked < revision) {
                return Err(fail(at, *id, format!("is listed at {revision}, but was revoked by {revoked}")));
            }
        }
        for (id, lease) in &self.leases {
            let granted = lease.grants == 1 && lease.granted.is_some_and(|granted| granted < called);
            let lives = !lease.revoke_asked && at.nanos < self.shortest(lease, lease.confirmed);
            if granted && lives && lease.granted_at < revision && !leases.contains(id) {
                return Err(fail(
                    at,
                    *id,
                    format!("lives and was granted by {}, but is not listed at {revision}", lease.granted_at),
                ));
            }
        }
        if leases.len() < listed.len() || leases.contains(&LeaseId::NONE) {
            return Err(fail(at, LeaseId::NONE, "is listed, or another one twice".to_owned()));
        }
        self.lists.all.push_back(lists::All { leases, revision });
        Ok(())
    }
}

fn share(nanos: u64, ppm: u64) -> u64 {
    (nanos as u128 * ppm as u128 / 1_000_000) as u64
}
