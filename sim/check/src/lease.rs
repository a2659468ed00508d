//! Leases: neither early nor late, and the keys go with the lease.
//!
//! | Rule | What breaks it |
//! |---|---|
//! | L1 safety | seen gone, with no client revoke, before the newest confirmed renewal + TTL x (1 - rho) |
//! | L2 liveness | seen alive, or (white box) not ended, after the last possible renewal, leader change or fault + TTL x (1 + rho) + an election + slack |
//! | L3 | a keep-alive or attach succeeds for a lease that was gone, or never granted, before the call |
//! | L4 | a key is still attached to a lease that was gone before the read was called; that the keys go in the lease's own revision is replayed by [`crate::linearizable`] |
//! | L5 | the attached keys a member lists are those of no revision between call and answer |
//!
//! A renewal is confirmed from the *call* of a successful keep-alive on, and may have happened as late as its return.
//! Time-to-live answers come from a leader that may have been deposed: they bind only outside
//! [`LeaseConfig::stale_leader_nanos`].

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::history::*;
use crate::ids::*;
use crate::linearizable::Linearizable;
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "lease";

/// Bounds of what is allowed.
#[derive(Clone, Copy, Debug)]
pub struct LeaseConfig {
    /// rho: how far clocks may run fast or slow, in parts per million.
    pub rate_error_ppm: u64,
    /// An election, worst case.
    pub election_nanos: u64,
    /// Expiry scans, the revoke's way through the log, retries.
    pub slack_nanos: u64,
    /// How long a deposed leader may go on answering time-to-live.
    pub stale_leader_nanos: u64,
    /// Members report elections and lease ends. Without them one more TTL is allowed for unseen leader changes.
    pub white_box: bool,
}

/// What a request has to do with leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseCall {
    /// A grant; id 0 lets the server choose.
    Grant(LeaseId, i64),
    /// A revoke.
    Revoke(LeaseId),
    /// A keep-alive.
    KeepAlive(LeaseId),
    /// A time-to-live.
    TimeToLive(LeaseId),
    /// A put that attaches.
    Attach(LeaseId),
    /// A linearizable read of the newest state.
    Read,
    /// Nothing.
    Other,
}

impl LeaseCall {
    /// What this request has to do with leases.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::LeaseGrant { lease, ttl } => LeaseCall::Grant(*lease, *ttl),
            Request::LeaseRevoke { lease } => LeaseCall::Revoke(*lease),
            Request::LeaseKeepAlive { lease } => LeaseCall::KeepAlive(*lease),
            Request::LeaseTimeToLive { lease, .. } => LeaseCall::TimeToLive(*lease),
            Request::Put(put) if put.lease != LeaseId::NONE => LeaseCall::Attach(put.lease),
            Request::Range(range) if !range.serializable && range.revision.0 <= 0 => LeaseCall::Read,
            _ => LeaseCall::Other,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Lease {
    ttl_nanos: u64,
    /// When the grant's success was known.
    granted: Option<Moment>,
    /// Alive for a TTL from here on, at least.
    confirmed: Moment,
    /// Renewed for the last time here, at most.
    renewed: Moment,
    renewals_open: u32,
    revoke_asked: bool,
    gone: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Listed {
    lease: LeaseId,
    keys: Vec<Bytes>,
    low: Revision,
    high: Revision,
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
    listed: VecDeque<Listed>,
}

fn fail(at: Moment, lease: LeaseId, message: String) -> Box<Violation> {
    Violation::new(NAME, at, format!("{lease} {message}")).with([Related::Lease(lease)])
}

impl Leases {
    /// No leases, no faults.
    pub fn new(config: LeaseConfig) -> Self {
        let quiet = Some(Moment::default());
        Leases { config, leases: BTreeMap::new(), anonymous: 0, quiet, listed: VecDeque::new() }
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
    pub fn call(&mut self, call: LeaseCall) {
        match call {
            LeaseCall::Grant(LeaseId::NONE, _) => self.anonymous += 1,
            LeaseCall::Grant(lease, ttl) => {
                let ttl_nanos = ttl.max(0) as u64 * NANOS_PER_SECOND;
                self.leases.entry(lease).or_insert(Lease { ttl_nanos, ..Lease::default() });
            }
            LeaseCall::Revoke(lease) => self.with(lease, |lease| lease.revoke_asked = true),
            LeaseCall::KeepAlive(lease) => self.with(lease, |lease| lease.renewals_open += 1),
            LeaseCall::TimeToLive(_) | LeaseCall::Attach(_) | LeaseCall::Read | LeaseCall::Other => {}
        }
    }

    /// The client learns how it ended.
    pub fn returned(
        &mut self,
        at: Moment,
        called: Moment,
        call: LeaseCall,
        outcome: &Outcome,
        truth: &Linearizable,
    ) -> Verdict {
        if let LeaseCall::KeepAlive(lease) = call {
            self.with(lease, |lease| lease.renewals_open = lease.renewals_open.saturating_sub(1));
        }
        match (call, outcome) {
            (LeaseCall::Grant(wished, _), Outcome::Ok(_, Body::LeaseGrant { lease, ttl })) => {
                self.anonymous -= u32::from(wished == LeaseId::NONE);
                let ttl_nanos = (*ttl).max(0) as u64 * NANOS_PER_SECOND;
                let granted =
                    Lease { ttl_nanos, granted: Some(at), confirmed: called, renewed: at, ..Lease::default() };
                let known = self.leases.entry(*lease).or_default();
                let revoke_asked = known.gone.is_none() && known.revoke_asked;
                *known = Lease { revoke_asked, ..granted };
                Ok(())
            }
            (LeaseCall::Grant(LeaseId::NONE, _), Outcome::DefinitelyNot(_)) => {
                self.anonymous -= 1;
                Ok(())
            }
            (LeaseCall::KeepAlive(lease), Outcome::Ok(_, Body::LeaseKeepAlive { ttl })) if *ttl <= 0 => {
                self.gone(at, called, lease, "answers a keep-alive with no TTL")
            }
            (LeaseCall::KeepAlive(lease), Outcome::Ok(_, Body::LeaseKeepAlive { ttl })) => {
                self.alive(at, called, lease, "was kept alive")?;
                self.kept_alive(at, called, lease, *ttl)
            }
            (LeaseCall::KeepAlive(lease), _) => {
                self.with(lease, |lease| lease.renewed = at);
                Ok(())
            }
            (LeaseCall::Attach(lease), Outcome::Ok(..)) => self.alive(at, called, lease, "had a key attached"),
            (LeaseCall::Attach(lease) | LeaseCall::Revoke(lease), Outcome::DefinitelyNot(Refusal::LeaseNotFound)) => {
                self.gone(at, called, lease, "was answered as not found")
            }
            (LeaseCall::Revoke(lease), Outcome::Ok(..)) => self.gone(at, called, lease, "was revoked"),
            (LeaseCall::TimeToLive(lease), Outcome::Ok(header, Body::LeaseTimeToLive { granted, keys, .. })) => {
                self.time_to_live(at, called, lease, *granted, keys, header, truth)
            }
            (LeaseCall::Read, Outcome::Ok(_, Body::Range(reply))) => {
                let attached = reply.kvs.iter().filter(|kv| kv.lease != LeaseId::NONE);
                attached.map(|kv| kv.lease).try_for_each(|lease| self.alive(at, called, lease, "holds a key"))
            }
            _ => Ok(()),
        }
    }

    /// A member applied the end of a lease (white box).
    pub fn ended(&mut self, at: Moment, lease: LeaseId) -> Verdict {
        self.gone(at, at, lease, "was ended by the server")
    }

    /// Checks listed keys as far as the truth reaches.
    pub fn settle(&mut self, at: Moment, truth: &Linearizable) -> Verdict {
        let model = truth.model();
        while let Some(listed) = self.listed.front() {
            if model.head() < listed.high {
                break;
            }
            let mut revisions = (listed.low.0..=listed.high.0).rev().map(Revision);
            if !revisions.any(|revision| model.attached(listed.lease, revision).eq(listed.keys.iter())) {
                let message = format!(
                    "lists the keys {:?}, which were not its keys at any revision of {}..={}",
                    listed.keys, listed.low, listed.high
                );
                return Err(fail(at, listed.lease, message));
            }
            self.listed.pop_front();
        }
        Ok(())
    }

    /// The run is over.
    pub fn finish(&mut self, at: Moment, truth: &Linearizable) -> Verdict {
        self.settle(at, truth)?;
        if !self.config.white_box {
            return Ok(());
        }
        for (&id, lease) in &self.leases {
            if lease.gone.is_none()
                && !lease.revoke_asked
                && let Some(deadline) = self.deadline(lease)
                && deadline < at.nanos
            {
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

    fn shortest(&self, ttl_nanos: u64) -> u64 {
        ttl_nanos.saturating_sub(share(ttl_nanos, self.config.rate_error_ppm))
    }

    /// When it must be gone, if that can be said now.
    fn deadline(&self, lease: &Lease) -> Option<u64> {
        if lease.granted.is_none() || lease.renewals_open > 0 {
            return None;
        }
        let ttl = lease.ttl_nanos.saturating_add(share(lease.ttl_nanos, self.config.rate_error_ppm));
        let unseen_leader_change = if self.config.white_box { 0 } else { ttl };
        let allowance = self.config.election_nanos + self.config.slack_nanos;
        let base = lease.renewed.max(self.quiet?).nanos;
        Some(base.saturating_add(ttl).saturating_add(unseen_leader_change).saturating_add(allowance))
    }

    fn kept_alive(&mut self, at: Moment, called: Moment, id: LeaseId, ttl: i64) -> Verdict {
        let rate_error = self.config.rate_error_ppm;
        let Some(lease) = self.leases.get_mut(&id) else { return Ok(()) };
        lease.ttl_nanos = ttl as u64 * NANOS_PER_SECOND;
        lease.confirmed = lease.confirmed.max(called);
        lease.renewed = lease.renewed.max(at);
        let shortest = lease.ttl_nanos.saturating_sub(share(lease.ttl_nanos, rate_error));
        match lease.gone {
            // Renewed inside the call, so before it was seen gone.
            Some(gone) if !lease.revoke_asked && gone.nanos < called.nanos.saturating_add(shortest) => {
                Err(fail(at, id, format!("was seen gone at {gone}, but a keep-alive called at {called} renewed it")))
            }
            _ => Ok(()),
        }
    }

    fn gone(&mut self, at: Moment, called: Moment, id: LeaseId, how: &str) -> Verdict {
        let Some(lease) = self.leases.get(&id) else { return Ok(()) };
        // An answer to a call from before the grant says nothing about it.
        if lease.gone.is_some() || lease.granted.is_none_or(|granted| called < granted) {
            return Ok(());
        }
        let end = lease.confirmed.nanos.saturating_add(self.shortest(lease.ttl_nanos));
        let early = !lease.revoke_asked && at.nanos < end;
        if early {
            let (ttl, confirmed) = (lease.ttl_nanos / NANOS_PER_SECOND, lease.confirmed);
            let message = format!("{how} although its TTL of {ttl} s counts from {confirmed} on and nobody revoked it");
            return Err(fail(at, id, message).with([Related::Moment(confirmed)]));
        }
        self.with(id, |lease| lease.gone = Some(at));
        Ok(())
    }

    fn alive(&self, at: Moment, called: Moment, id: LeaseId, how: &str) -> Verdict {
        let Some(lease) = self.leases.get(&id) else {
            if self.anonymous > 0 {
                return Ok(());
            }
            return Err(fail(at, id, format!("{how}, but nobody asked for such a lease")));
        };
        if let Some(gone) = lease.gone
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

    #[allow(clippy::too_many_arguments)]
    fn time_to_live(
        &mut self,
        at: Moment,
        called: Moment,
        id: LeaseId,
        granted: i64,
        keys: &[Bytes],
        header: &Header,
        truth: &Linearizable,
    ) -> Verdict {
        // As if called that much earlier: a deposed leader may answer.
        let earlier = called.nanos.saturating_sub(self.config.stale_leader_nanos);
        let earlier = Moment::new(earlier, if earlier == called.nanos { called.seq } else { 0 });
        if granted == 0 {
            return self.gone(at, earlier, id, "has no time to live");
        }
        self.alive(at, earlier, id, "has time to live")?;
        if !keys.is_empty() {
            let mut keys = keys.to_vec();
            keys.sort_unstable();
            let high = truth.newest_seen().max(header.revision);
            self.listed.push_back(Listed { lease: id, keys, low: truth.newest_seen_at(earlier), high });
        }
        Ok(())
    }
}

fn share(nanos: u64, ppm: u64) -> u64 {
    (nanos as u128 * ppm as u128 / 1_000_000) as u64
}
