//! Leases: a name, a time to live, and the keys that hang on it.
//!
//! Absent: deadlines. A clock is local to a member, so when a lease ends is decided outside and arrives as a
//! [`Command::LeaseRevoke`](crate::Command::LeaseRevoke). Here is only what members agree on: the granted time to
//! live, the remaining time of the last checkpoint, and which entry granted it: an id may be granted again, and whoever
//! decides about a lease outside the log names the one it saw.
//!
//! Invariant: a key is in the set of a lease exactly while its latest version is a put with that lease, and that lease
//! exists.

use crate::command::{LeaseCheckpoint, Outcome, Response};
use crate::error::Error;
use crate::hash;
use crate::interval::Key;
use crate::revision::LeaseId;
use crate::store::Store;
use crate::tree::{Summarize, Tree};
use crate::write::Writer;
use alloc::vec::Vec;

/// The largest time to live, about 285 years.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// A lease.
#[derive(Clone)]
pub struct Lease {
    /// The granted time to live.
    pub ttl_seconds: i64,
    /// The time that was left at the last checkpoint; 0 without one.
    pub remaining_seconds: i64,
    /// The index of the entry that granted it.
    pub granted_at: u64,
    pub(crate) keys: Tree<Key, ()>,
}

impl Lease {
    pub(crate) fn new(ttl_seconds: i64, remaining_seconds: i64, granted_at: u64) -> Lease {
        Lease { ttl_seconds, remaining_seconds, granted_at, keys: Tree::new() }
    }

    /// Its share of the state's hash.
    pub(crate) fn share(&self, id: LeaseId) -> u128 {
        hash::lease(id, self.ttl_seconds, self.remaining_seconds, self.granted_at)
    }

    /// True when it is the lease that is meant.
    fn is(&self, granted_at: Option<u64>) -> bool {
        granted_at.is_none_or(|index| self.granted_at == index)
    }

    /// How many keys hang on it.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The keys that hang on it, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }
}

impl Summarize for Lease {
    type Summary = ();
    fn summarize(&self) {}
}

impl Store {
    /// All leases by id.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// One lease.
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// How many leases there are.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    pub(crate) fn lease_grant(&mut self, id: LeaseId, ttl_seconds: i64, index: u64) -> Result<Response, Error> {
        if id == LeaseId::NONE {
            return Err(Error::LeaseNotFound);
        }
        if LEASE_TTL_SECONDS_MAX < ttl_seconds {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.leases.get(&id).is_some() {
            return Err(Error::LeaseExists);
        }
        self.lease_add(id, Lease::new(ttl_seconds, 0, index));
        Ok(Response::LeaseGrant { id, ttl_seconds })
    }

    pub(crate) fn lease_add(&mut self, id: LeaseId, lease: Lease) {
        self.shares = self.shares.wrapping_add(lease.share(id));
        self.leases.insert(id, lease);
    }

    /// Deletes the keys in order, in one revision, and then the lease.
    pub(crate) fn lease_revoke(&mut self, id: LeaseId, granted_at: Option<u64>) -> Outcome {
        let Some(lease) = self.leases.get(&id).filter(|lease| lease.is(granted_at)) else {
            return self.refused(Error::LeaseNotFound);
        };
        let share = lease.share(id);
        let keys: Vec<Key> = lease.keys().cloned().collect();
        let mut writer = Writer::begin(self);
        for key in &keys {
            if let Err(error) = writer.delete_key(key) {
                writer.rollback();
                return self.refused(error);
            }
        }
        let events = writer.commit();
        let removed = self.leases.remove(&id);
        assert!(removed.is_some_and(|lease| lease.keys.len() == 0), "deleting a key takes it off its lease");
        self.shares = self.shares.wrapping_sub(share);
        self.done(Response::LeaseRevoke { deleted: keys.len() as i64 }, events)
    }

    pub(crate) fn lease_checkpoint(&mut self, checkpoints: &[LeaseCheckpoint]) -> Response {
        for &LeaseCheckpoint { id, remaining_seconds, granted_at } in checkpoints {
            if !self.leases.get(&id).is_some_and(|lease| lease.is(granted_at)) {
                continue;
            }
            let change = |lease: &mut Lease| {
                let old = lease.share(id);
                lease.remaining_seconds = remaining_seconds;
                lease.share(id).wrapping_sub(old)
            };
            let change = self.leases.update(&id, change).expect("it was found");
            self.shares = self.shares.wrapping_add(change);
        }
        Response::LeaseCheckpoint
    }

    /// Forgets the remaining times of all leases: each has its whole time again.
    pub fn forget_remaining(&mut self) {
        let checkpointed = self.leases().filter(|(_, lease)| lease.remaining_seconds != 0);
        let whole = |(id, _)| LeaseCheckpoint { id, remaining_seconds: 0, granted_at: None };
        let whole: Vec<LeaseCheckpoint> = checkpointed.map(whole).collect();
        self.lease_checkpoint(&whole);
    }

    /// Moves a key from one lease to another; either may be none.
    pub(crate) fn lease_move(&mut self, key: &Key, from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != LeaseId::NONE.0 {
            let removed = self.leases.update(&LeaseId(from), |lease| lease.keys.remove(key).is_some());
            assert_eq!(removed, Some(true), "a key with a lease is in the lease's set");
        }
        if to != LeaseId::NONE.0 {
            let added = self.leases.update(&LeaseId(to), |lease| lease.keys.insert(Key::clone(key), ()));
            assert!(added.is_some(), "a key hangs on a lease that exists");
        }
    }
}
