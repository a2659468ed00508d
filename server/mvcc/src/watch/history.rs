//! Catching up from the store's history, when the ring no longer holds what a watcher has not seen.

use super::WatchSpec;
use super::batch::{BatchRevision, Meter, PullLimit};
use crate::event::{Event, RevisionEvents};
use crate::revision::{At, Revision};
use crate::store::Store;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Collects the oldest revisions from `cursor` to `last` that a watcher wants. Returns the next cursor too.
///
/// The index is in key order, so the whole interval is looked through, except for subtrees that have not changed since
/// the cursor. What is kept while looking is bounded by the limit and one revision.
pub(super) fn from_store(
    store: &Store,
    spec: &WatchSpec,
    cursor: i64,
    last: i64,
    limit: PullLimit,
) -> (Vec<BatchRevision>, i64) {
    assert!(store.compacted <= cursor, "history below the floor is incomplete");
    let mut kept = Kept { events: BTreeMap::new(), end: last + 1, meter: Meter::new(limit) };
    let scan = store.keys.scan(Some(&*spec.interval.start), spec.interval.upper(), |keys| cursor <= keys.newest);
    for (key, history) in scan {
        for stored in history.since(At::start_of(cursor)) {
            if kept.end <= stored.at.main {
                break;
            }
            let before = stored.at.main - 1;
            let prev = history.at(before).filter(|_| store.compacted <= before).and_then(|prev| prev.row(key));
            let event = Event::new(key, &stored, prev);
            if spec.admits(event.kind) {
                kept.add(stored.at, event, spec.prev_kv);
            }
        }
    }
    (kept.events.into_iter().fold(Vec::new(), grouped).into_iter().map(BatchRevision::whole).collect(), kept.end)
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

fn grouped(mut revisions: Vec<RevisionEvents>, (at, event): (At, Event)) -> Vec<RevisionEvents> {
    match revisions.last_mut() {
        Some(last) if last.revision.0 == at.main => last.events.push(event),
        _ => revisions.push(RevisionEvents { revision: Revision(at.main), events: alloc::vec![event] }),
    }
    revisions
}
