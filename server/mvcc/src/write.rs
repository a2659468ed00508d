//! Changing keys: one writer makes all changes of one revision, or none.
//!
//! Changes are made in place and in order, so that what comes later in a transaction sees what came before. The list
//! of events is also the way back: each event added exactly one version at the end of one history, and undoing takes
//! it off again. So a refusal half-way leaves nothing behind, and no separate rehearsal exists that could disagree.

use crate::command::{DeleteRange, Put, Response};
use crate::error::Error;
use crate::event::{Event, RevisionEvents};
use crate::history::{History, Row, Stored, Version, VersionKind};
use crate::interval::{Interval, Key};
use crate::revision::{At, LeaseId, Revision};
use crate::store::{Store, Usage};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The changes of one revision in the making. Ends with `commit` or `rollback`.
#[must_use]
pub(crate) struct Writer<'a> {
    pub store: &'a mut Store,
    events: Vec<Event>,
    before: (u128, Usage),
}

impl<'a> Writer<'a> {
    pub fn begin(store: &'a mut Store) -> Writer<'a> {
        let before = (store.shares, store.usage);
        Writer { store, events: Vec::new(), before }
    }

    /// The revision that reads see: the next one as soon as something has changed.
    pub fn seen(&self) -> i64 {
        self.store.revision + i64::from(!self.events.is_empty())
    }

    /// Makes the changes the store's next revision, if there are any.
    pub fn commit(self) -> Option<Arc<RevisionEvents>> {
        let revision = Revision(self.seen());
        self.store.revision = revision.0;
        (!self.events.is_empty()).then(|| Arc::new(RevisionEvents { revision, events: self.events }))
    }

    /// Leaves the store as it was at `begin`.
    pub fn rollback(self) {
        let store = self.store;
        for event in self.events.iter().rev() {
            let key = &event.row.key;
            let left = store.keys.update(key, History::pop).expect("a changed key is in the index");
            if !left {
                store.keys.remove(key);
            }
            let now = store.keys.get(key).map_or(0, |history| history.latest().version.lease);
            store.lease_move(key, event.row.lease.0, now);
        }
        (store.shares, store.usage) = self.before;
    }

    /// Where the next change goes.
    fn next(&self) -> Result<At, Error> {
        if Revision::MAX <= self.store.revision() {
            return Err(Error::RevisionsExhausted);
        }
        let main = self.store.revision + 1;
        Ok(At { main, sub: u32::try_from(self.events.len()).map_err(|_| Error::TooManyOps)? })
    }

    pub fn put(&mut self, put: &Put) -> Result<Response, Error> {
        self.store.check_put_now(put)?;
        let at = self.next()?;
        let (stored, latest, before) = self.store.keys.upsert(&*put.key, |slot| {
            let latest = slot.as_ref().map(|history| history.latest());
            let version = match next_version(put, at, latest.filter(|latest| latest.version.is_live())) {
                Ok(version) => version,
                Err(error) => return (None, Err(error)),
            };
            let stored = Stored { at, version };
            let Some(history) = slot else {
                return (Some((Key::clone(&put.key), History::one(at, version))), Ok((stored, None, None)));
            };
            let before = before(history, &put.key, latest, at);
            history.push(at, version);
            (None, Ok((stored, latest, before)))
        })?;
        let prev = latest.filter(|_| put.prev_kv).and_then(|latest| latest.row(&put.key));
        self.changed(&put.key, &stored, latest, before);
        Ok(Response::Put { prev })
    }

    pub fn delete_range(&mut self, delete: &DeleteRange) -> Result<Response, Error> {
        Store::check_delete(delete)?;
        let keys = self.store.live_keys(&delete.interval);
        let mut rows = Vec::with_capacity(if delete.prev_kv { keys.len() } else { 0 });
        for key in &keys {
            let latest = self.delete_key(key)?;
            if delete.prev_kv {
                rows.extend(latest.row(key));
            }
        }
        Ok(Response::DeleteRange { deleted: keys.len() as i64, prev: rows })
    }

    /// Deletes a key that exists. Returns what it was.
    pub fn delete_key(&mut self, key: &Key) -> Result<Stored, Error> {
        let at = self.next()?;
        let stored = Stored { at, version: Version::TOMBSTONE };
        let deleted = self.store.keys.update(&**key, |history| {
            let latest = history.latest();
            assert!(latest.version.is_live(), "only an existing key is deleted");
            let before = before(history, key, Some(latest), at);
            history.push(at, stored.version);
            (latest, before)
        });
        let (latest, before) = deleted.expect("only an existing key is deleted");
        self.changed(key, &stored, Some(latest), before);
        Ok(latest)
    }

    fn changed(&mut self, key: &Key, stored: &Stored, latest: Option<Stored>, before: Option<Row>) {
        self.store.count_in(key, stored);
        self.store.lease_move(key, latest.map_or(0, |latest| latest.version.lease), stored.version.lease);
        if self.events.is_empty() {
            self.events.reserve_exact(1); // Most commands change one key.
        }
        self.events.push(Event::new(key, stored, before));
    }
}

/// The version a put makes, given the one it replaces.
fn next_version(put: &Put, at: At, live: Option<Stored>) -> Result<Version, Error> {
    let old = live.map(|live| live.version);
    let value = if put.ignore_value { old.ok_or(Error::KeyNotFound)?.value() } else { put.value };
    let lease = if put.ignore_lease { old.ok_or(Error::KeyNotFound)?.lease } else { put.lease.0 };
    let (create, version) = old.map_or((at.main, 1), |old| (old.create, old.version.saturating_add(1)));
    Ok(Version { create, version, lease, kind: VersionKind::Put(value) })
}

/// The key as the revision before `at` left it, which is not `latest` when this revision changed it already.
fn before(history: &History, key: &Key, latest: Option<Stored>, at: At) -> Option<Row> {
    latest.filter(|latest| latest.at.main < at.main).or_else(|| history.at(at.main - 1))?.row(key)
}

impl Store {
    /// What a put needs to find here, whatever it does: a key, and the lease it names.
    pub(crate) fn check_put_now(&self, put: &Put) -> Result<(), Error> {
        if put.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        if put.lease != LeaseId::NONE && self.leases.get(&put.lease).is_none() {
            return Err(Error::LeaseNotFound);
        }
        Ok(())
    }

    /// The keys of an interval that exist now.
    fn live_keys(&self, interval: &Interval) -> Vec<Key> {
        let scan = self.keys.scan(Some(&*interval.start), interval.upper(), |keys| 0 < keys.live);
        scan.filter(|(_, history)| history.latest().version.is_live()).map(|(key, _)| Key::clone(key)).collect()
    }
}
