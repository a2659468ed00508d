//! Taking a store apart into plain records, and putting it together again.
//!
//! The records are the whole state: a store restored from them has the same answers and the same state hash. Restoring
//! checks what it is given; a store is made from records that make sense, or not at all.

use crate::hash;
use crate::history::{History, Stored, Version, VersionKind};
use crate::interval::Key;
use crate::lease::Lease;
use crate::revision::{At, LeaseId, Revision};
use crate::store::Store;
use crate::tree::Builder;
use alloc::vec::Vec;
use core::fmt;

/// The counters of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The newest revision. Kept for itself, never guessed from the stored versions (etcd #17780).
    pub revision: Revision,
    /// The compaction floor.
    pub compacted: Revision,
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// Its term.
    pub applied_term: u64,
}

/// One stored version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// The key.
    pub key: Key,
    /// The revision of the change.
    pub main: Revision,
    /// Its place among the changes of that revision, from 0.
    pub sub: u32,
    /// The revision that created the key; 0 for a tombstone.
    pub create: Revision,
    /// Counts from the creation; 0 for a tombstone.
    pub version: i64,
    /// The lease it was put with, which need not exist any more.
    pub lease: LeaseId,
    /// What it did.
    pub kind: VersionKind,
}

impl VersionRow {
    fn new(key: &Key, stored: Stored) -> VersionRow {
        let Stored { at, version } = stored;
        VersionRow {
            key: Key::clone(key),
            main: Revision(at.main),
            sub: at.sub,
            create: Revision(version.create),
            version: version.version,
            lease: LeaseId(version.lease),
            kind: version.kind,
        }
    }
}

/// One lease, without its keys: their versions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its id.
    pub id: LeaseId,
    /// The granted time to live.
    pub ttl_seconds: i64,
    /// The time left at the last checkpoint; 0 without one.
    pub remaining_seconds: i64,
    /// The index of the entry that granted it.
    pub granted_at: u64,
}

impl Store {
    /// The counters.
    pub fn header(&self) -> Header {
        let (applied_index, applied_term) = self.applied;
        Header { revision: self.revision(), compacted: self.compacted(), applied_index, applied_term }
    }

    /// All stored versions, by key and then by revision.
    pub fn versions(&self) -> impl Iterator<Item = VersionRow> {
        self.keys.iter().flat_map(|(key, history)| history.all().map(move |stored| VersionRow::new(key, stored)))
    }

    /// The stored versions from revision `from` to `to`, both included, in the order they were made. Takes memory for
    /// a reference to each.
    pub fn versions_by_revision(&self, from: Revision, to: Revision) -> impl Iterator<Item = VersionRow> {
        let mut found = Vec::new();
        for (key, history) in self.keys.scan::<[u8], _>(None, core::ops::Bound::Unbounded, |keys| from.0 <= keys.newest)
        {
            let versions = history.since(At::start_of(from.0)).take_while(|stored| stored.at.main <= to.0);
            found.extend(versions.map(|stored| (stored.at, key, history)));
        }
        found.sort_unstable_by_key(|(at, ..)| *at);
        found
            .into_iter()
            .filter_map(|(at, key, history)| history.since(at).next().map(|stored| VersionRow::new(key, stored)))
    }

    /// The records of all leases.
    pub fn lease_records(&self) -> impl Iterator<Item = LeaseRecord> {
        self.leases().map(|(id, lease)| LeaseRecord {
            id,
            ttl_seconds: lease.ttl_seconds,
            remaining_seconds: lease.remaining_seconds,
            granted_at: lease.granted_at,
        })
    }
}

/// Why records do not make a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A counter is out of bounds.
    BadHeader,
    /// A lease has id 0, or the same id as another.
    BadLease,
    /// A version has numbers that no history can have.
    BadVersion,
    /// The versions are not in order.
    OutOfOrder,
    /// A key hangs on a lease that is not there.
    LeaseNotFound,
    /// A version is there that compaction has dropped.
    BelowFloor,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestoreError::BadHeader => "the counters of the store are out of bounds",
            RestoreError::BadLease => "a lease has no id, or its id is there twice",
            RestoreError::BadVersion => "a version has impossible numbers",
            RestoreError::OutOfOrder => "the versions are not in order",
            RestoreError::LeaseNotFound => "a key hangs on a lease that is missing",
            RestoreError::BelowFloor => "a version is there that was compacted",
        })
    }
}

impl core::error::Error for RestoreError {}

/// Puts a store together: first the leases, then the versions in the order of [`Store::versions`].
pub struct Restore {
    store: Store,
    keys: Builder<Key, History>,
    open: Option<(Key, History)>,
}

impl Restore {
    /// Starts with the counters.
    pub fn new(header: Header) -> Result<Restore, RestoreError> {
        let in_bounds = Revision::EMPTY_STORE <= header.revision
            && Revision::NEVER_COMPACTED <= header.compacted
            && header.compacted <= header.revision
            && header.revision <= Revision::MAX;
        if !in_bounds {
            return Err(RestoreError::BadHeader);
        }
        let mut store = Store::new();
        store.revision = header.revision.0;
        store.compacted = header.compacted.0;
        store.applied = (header.applied_index, header.applied_term);
        Ok(Restore { store, keys: Builder::new(), open: None })
    }

    /// Adds a lease.
    pub fn lease(&mut self, record: LeaseRecord) -> Result<(), RestoreError> {
        if record.id == LeaseId::NONE || self.store.leases.get(&record.id).is_some() {
            return Err(RestoreError::BadLease);
        }
        let LeaseRecord { id, ttl_seconds, remaining_seconds, granted_at } = record;
        self.store.lease_add(id, Lease::new(ttl_seconds, remaining_seconds, granted_at));
        Ok(())
    }

    /// Adds a version.
    pub fn version(&mut self, row: VersionRow) -> Result<(), RestoreError> {
        let stored = self.checked(&row)?;
        match &mut self.open {
            Some((key, history)) if *key == row.key => {
                if stored.at <= history.latest().at {
                    return Err(RestoreError::OutOfOrder);
                }
                history.push(stored.at, stored.version);
            }
            Some((key, _)) if row.key < *key => return Err(RestoreError::OutOfOrder),
            _ => {
                self.close_key()?;
                self.open = Some((Key::clone(&row.key), History::one(stored.at, stored.version)));
            }
        }
        self.store.count_in(&row.key, &stored);
        Ok(())
    }

    fn checked(&self, row: &VersionRow) -> Result<Stored, RestoreError> {
        let version = Version { create: row.create.0, version: row.version, lease: row.lease.0, kind: row.kind };
        let makes_sense = match row.kind {
            VersionKind::Put(_) => 0 < row.create.0 && row.create <= row.main && 0 < row.version,
            VersionKind::Tombstone => version == Version::TOMBSTONE,
        };
        if row.key.is_empty() || row.main.0 < 1 || self.store.revision() < row.main || !makes_sense {
            return Err(RestoreError::BadVersion);
        }
        Ok(Stored { at: At { main: row.main.0, sub: row.sub }, version })
    }

    fn close_key(&mut self) -> Result<(), RestoreError> {
        let Some((key, history)) = self.open.take() else { return Ok(()) };
        if history.dead_at() <= self.store.compacted {
            return Err(RestoreError::BelowFloor);
        }
        let lease = LeaseId(history.latest().version.lease);
        if lease != LeaseId::NONE {
            let attached = self.store.leases.update(&lease, |lease| lease.keys.insert(Key::clone(&key), ()));
            attached.ok_or(RestoreError::LeaseNotFound)?;
        }
        self.keys.push(key, history);
        Ok(())
    }

    /// The store.
    pub fn finish(mut self) -> Result<Store, RestoreError> {
        self.close_key()?;
        Ok(Store { keys: self.keys.finish(), ..self.store })
    }
}

/// Puts a store together from all its records.
pub fn restore(
    header: Header,
    leases: impl IntoIterator<Item = LeaseRecord>,
    versions: impl IntoIterator<Item = VersionRow>,
) -> Result<Store, RestoreError> {
    let mut restore = Restore::new(header)?;
    leases.into_iter().try_for_each(|record| restore.lease(record))?;
    versions.into_iter().try_for_each(|row| restore.version(row))?;
    restore.finish()
}

/// Recomputes the state hash from the records alone. For checks: it must equal [`Store::state_hash`].
pub fn state_hash_of(store: &Store) -> u128 {
    let versions = store
        .keys
        .iter()
        .flat_map(|(key, history)| history.all().map(move |stored| hash::version(key, stored.at, &stored.version)));
    let leases = store.leases().map(|(id, lease)| lease.share(id));
    let shares = versions.chain(leases).fold(0u128, u128::wrapping_add);
    hash::state(shares, store.revision, store.compacted, store.applied)
}
