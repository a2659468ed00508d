//! The store: every stored version of every key, the leases, and the counters.

use crate::command::{Command, Outcome, Response};
use crate::error::Error;
use crate::event::RevisionEvents;
use crate::hash;
use crate::history::{History, Row, Stored};
use crate::interval::Key;
use crate::lease::Lease;
use crate::revision::{At, LeaseId, Revision};
use crate::tree::Tree;
use crate::value::{ValueRef, Values};
use crate::write::Writer;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The replicated state. A clone is O(1) and a consistent snapshot: it shares everything with the original until one
/// of them changes it.
#[derive(Clone)]
pub struct Store {
    pub(crate) keys: Tree<Key, History>,
    pub(crate) leases: Tree<LeaseId, Lease>,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    pub(crate) applied: (u64, u64),
    pub(crate) usage: Usage,
    /// The sum of the hash shares of all versions and leases.
    pub(crate) shares: u128,
}

/// How much is stored, for metrics and quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Versions of all keys, tombstones included.
    pub versions: u64,
    /// Bytes of the keys of all versions.
    pub key_bytes: u64,
    /// Bytes of the values of all versions.
    pub value_bytes: u64,
}

impl Default for Store {
    fn default() -> Self {
        Store::new()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("header", &self.header()).field("usage", &self.usage).finish_non_exhaustive()
    }
}

impl Store {
    /// The empty store.
    pub fn new() -> Store {
        Store {
            keys: Tree::new(),
            leases: Tree::new(),
            revision: Revision::EMPTY_STORE.0,
            compacted: Revision::NEVER_COMPACTED.0,
            applied: (0, 0),
            usage: Usage::default(),
            shares: 0,
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The compaction floor: the oldest revision that can be read. [`Revision::NEVER_COMPACTED`] at first.
    pub fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// Index and term of the last entry that was applied.
    pub fn applied(&self) -> (u64, u64) {
        self.applied
    }

    /// Applies the committed entry at `index`. Equal entries on equal states give equal states and outcomes, whatever
    /// the command contains. Fails only when a value cannot be read; then nothing has changed, not even `applied`.
    pub fn apply<V: Values>(
        &mut self,
        index: u64,
        term: u64,
        command: &Command,
        values: &V,
    ) -> Result<Outcome, V::Error> {
        self.check_next(index, term);
        let outcome = match command {
            Command::Put(put) => self.write_one(|writer| writer.put(put)),
            Command::DeleteRange(delete) => self.write_one(|writer| writer.delete_range(delete)),
            Command::Txn(txn) => self.apply_txn(txn, values)?,
            Command::Compact { revision } => self.apply_compact(*revision),
            Command::LeaseGrant { id, ttl_seconds } => match self.lease_grant(*id, *ttl_seconds, index) {
                Ok(response) => self.done(response, None),
                Err(error) => self.refused(error),
            },
            Command::LeaseRevoke { id, granted_at } => self.lease_revoke(*id, *granted_at),
            Command::LeaseCheckpoint(checkpoints) => {
                let response = self.lease_checkpoint(checkpoints);
                self.done(response, None)
            }
        };
        self.applied = (index, term);
        Ok(outcome)
    }

    /// Notes an entry that changes nothing here.
    pub fn note_applied(&mut self, index: u64, term: u64) {
        self.check_next(index, term);
        self.applied = (index, term);
    }

    fn check_next(&self, index: u64, term: u64) {
        let (last_index, last_term) = self.applied;
        assert!(last_index < index, "entry {index} comes after entry {last_index} was applied");
        assert!(last_term <= term, "entry {index} has term {term}, the one before {last_term}");
    }

    fn write_one(&mut self, write: impl FnOnce(&mut Writer<'_>) -> Result<Response, Error>) -> Outcome {
        let mut writer = Writer::begin(self);
        match write(&mut writer) {
            Ok(response) => {
                let events = writer.commit();
                self.done(response, events)
            }
            Err(error) => {
                writer.rollback();
                self.refused(error)
            }
        }
    }

    pub(crate) fn done(&self, response: Response, events: Option<Arc<RevisionEvents>>) -> Outcome {
        Outcome { result: Ok(response), revision: self.revision(), events, freed: Vec::new() }
    }

    pub(crate) fn refused(&self, error: Error) -> Outcome {
        Outcome { result: Err(error), revision: self.revision(), events: None, freed: Vec::new() }
    }

    /// One key as of a revision (the current one when `revision` is 0 or less). `None` when it did not exist then, and
    /// when the revision is below the floor or in the future.
    ///
    /// Also the way to find where a value is *now*, after its place in an older row or event was rewritten.
    pub fn get(&self, key: &[u8], revision: i64) -> Option<Row> {
        let main = self.readable(revision, self.revision).ok()?;
        self.row(key, main)
    }

    /// The key as of a readable revision.
    pub(crate) fn row(&self, key: &[u8], main: i64) -> Option<Row> {
        let (key, history) = self.keys.entry(key)?;
        history.at(main)?.row(key)
    }

    /// The revision to read at, when `revision` can be read.
    pub(crate) fn readable(&self, revision: i64, current: i64) -> Result<i64, Error> {
        if current < revision {
            return Err(Error::FutureRevision { current: Revision(current) });
        }
        let main = if revision <= 0 { current } else { revision };
        if main < self.compacted {
            return Err(Error::Compacted { compacted: self.compacted() });
        }
        Ok(main)
    }

    /// The canonical hash of the state: equal on all members at an equal applied index, and after a restore.
    pub fn state_hash(&self) -> u128 {
        hash::state(self.shares, self.revision, self.compacted, self.applied)
    }

    /// Notes that the bytes of a value were moved, for every version of `key` that shares it, from position
    /// (`revision`, `sub`) on. False when no stored version has its value at `from`: the bytes are garbage.
    /// The state hash does not change.
    pub fn relocate(&mut self, key: &[u8], revision: Revision, sub: u32, from: ValueRef, to: ValueRef) -> bool {
        assert_eq!((from.len, from.crc), (to.len, to.crc), "moving a value does not change it");
        if from.is_empty() || self.keys.get(key).is_none() {
            return false;
        }
        let at = At { main: revision.0, sub };
        self.keys.update(key, |history| history.relocate(at, from, to)).unwrap_or(false)
    }

    /// How many keys exist now.
    pub fn key_count(&self) -> u64 {
        self.keys.summary().live
    }

    /// How many versions are stored, tombstones included.
    pub fn version_count(&self) -> u64 {
        self.usage.versions
    }

    /// The logical size of the store: keys and values of all stored versions.
    pub fn live_bytes(&self) -> u64 {
        self.usage.key_bytes + self.usage.value_bytes
    }

    /// The parts of the size.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Accounts for a version that is stored from now on.
    pub(crate) fn count_in(&mut self, key: &[u8], stored: &Stored) {
        self.shares = self.shares.wrapping_add(hash::version(key, stored.at, &stored.version));
        self.usage.versions += 1;
        self.usage.key_bytes += key.len() as u64;
        self.usage.value_bytes += u64::from(stored.version.value().len);
    }

    /// Accounts for a version that is gone.
    pub(crate) fn count_out(&mut self, key: &[u8], stored: &Stored) {
        self.shares = self.shares.wrapping_sub(hash::version(key, stored.at, &stored.version));
        self.usage.versions -= 1;
        self.usage.key_bytes -= key.len() as u64;
        self.usage.value_bytes -= u64::from(stored.version.value().len);
    }
}
