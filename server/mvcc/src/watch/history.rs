//! Catching up from the store's history, when the ring no longer holds what a watcher has not seen.
//!
//! The index is in key order and a watcher wants revisions, so the whole interval is looked through, except for
//! subtrees that have not changed since the cursor. A [`Slice`] does that once for many batches, on a pinned store, and
//! a bounded number of keys at a time: whoever looks holds no lock and can pause in between. Once all keys were looked
//! at, the store is let go, however slowly the slice is taken.

use super::WatchSpec;
use super::batch::{BatchRevision, Meter, PullLimit, without_compacted_prev};
use crate::event::{Event, RevisionEvents};
use crate::interval::Key;
use crate::revision::{At, Revision};
use crate::store::Store;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The oldest revisions from a watcher's cursor on that it wants.
pub struct Slice {
    /// Pinned while there are keys to look at.
    scan: Option<Scan>,
    spec: WatchSpec,
    cursor: i64,
    kept: Kept,
}

struct Scan {
    store: Store,
    /// The next key to look at is this one or comes after it.
    from: Key,
}

impl Slice {
    /// Of revisions `from` to `to`, as many as `limit` allows, and at least one whole revision that the watcher wants.
    pub fn new(store: Store, spec: WatchSpec, from: Revision, to: Revision, limit: PullLimit) -> Slice {
        assert!(store.compacted <= from.0, "history below the floor is incomplete");
        assert!(to <= store.revision(), "history to come is not there yet");
        let kept = Kept { events: BTreeMap::new(), end: to.0 + 1, meter: Meter::new(limit) };
        let scan = Some(Scan { store, from: Key::clone(&spec.interval.start) });
        Slice { scan, spec, cursor: from.0, kept }
    }

    /// Where what is taken next begins.
    pub fn cursor(&self) -> Revision {
        Revision(self.cursor)
    }

    /// Looks at the next `keys_max` keys. True when there are no more to look at.
    pub fn look(&mut self, keys_max: usize) -> bool {
        let Some(Scan { store, from }) = &mut self.scan else { return true };
        let (mut looked_at, mut last) = (0, None);
        let cursor = self.cursor;
        let keys = store.keys.scan(Some(&**from), self.spec.interval.upper(), |keys| cursor <= keys.newest);
        for (key, history) in keys.take(keys_max) {
            (looked_at, last) = (looked_at + 1, Some(key));
            for stored in history.since(At::start_of(cursor)) {
                if self.kept.end <= stored.at.main {
                    break;
                }
                let before = stored.at.main - 1;
                let prev = history.at(before).filter(|_| store.compacted <= before).and_then(|prev| prev.row(key));
                let event = Event::new(key, &stored, prev);
                if self.spec.admits(event.kind) {
                    self.kept.add(stored.at, event, self.spec.prev_kv);
                }
            }
        }
        match last {
            Some(key) if looked_at == keys_max => {
                let mut next = key.to_vec();
                next.push(0); // the next possible key
                *from = Key::from(next);
            }
            _ => self.scan = None,
        }
        self.scan.is_none()
    }

    /// Takes the oldest whole revisions, at least one when there is any, and the cursor behind them. All keys must have
    /// been looked at. `compacted` is the floor by now.
    pub fn take(&mut self, limit: PullLimit, compacted: Revision) -> (Vec<BatchRevision>, Revision) {
        assert!(self.scan.is_none(), "an older revision may still be found");
        let mut meter = Meter::new(limit);
        let mut revisions: Vec<RevisionEvents> = Vec::new();
        while let Some((at, _)) = self.kept.events.first_key_value() {
            let revision = at.main;
            let later = self.kept.events.split_off(&At::start_of(revision + 1));
            let events = core::mem::replace(&mut self.kept.events, later);
            meter.events += events.len();
            meter.bytes += events.values().map(|event| event.size_bytes(self.spec.prev_kv)).sum::<usize>();
            if meter.is_over() && !revisions.is_empty() {
                self.kept.events.extend(events);
                break;
            }
            let events = events.into_values().collect();
            revisions.push(RevisionEvents { revision: Revision(revision), events });
        }
        self.cursor = self.kept.events.first_key_value().map_or(self.kept.end, |(at, _)| at.main);
        let revisions = revisions.into_iter().map(Arc::new);
        let whole = revisions.map(|source| BatchRevision::whole(without_compacted_prev(&source, compacted.0)));
        (whole.collect(), Revision(self.cursor))
    }

    /// True when nothing is left to take.
    pub fn is_taken(&self) -> bool {
        self.scan.is_none() && self.kept.events.is_empty()
    }
}

/// The oldest events found so far. Those of revision `end` and later are not among them.
struct Kept {
    events: BTreeMap<At, Event>,
    end: i64,
    meter: Meter,
}

impl Kept {
    /// Keeps an event, and gives up the newest revision when that makes it too much.
    fn add(&mut self, at: At, event: Event, with_prev: bool) {
        self.meter.events += 1;
        self.meter.bytes += event.size_bytes(with_prev);
        self.events.insert(at, event);
        while self.meter.is_over() {
            let first = self.events.first_key_value().map(|(at, _)| at.main);
            let last = self.events.last_key_value().map(|(at, _)| at.main);
            if first == last {
                return; // A revision is never split.
            }
            self.end = last.expect("there are two revisions");
            for event in self.events.split_off(&At::start_of(self.end)).values() {
                self.meter.events -= 1;
                self.meter.bytes -= event.size_bytes(with_prev);
            }
        }
    }
}
