//! Watchers: cursors into the stream of revisions.
//!
//! A watcher has seen every revision below its *cursor* and none from there on. It costs that number and its place in
//! an index, however slow it is: events live once, in a ring all watchers share, and what the ring no longer holds is
//! read from the store's history. When compaction passes a cursor, the watcher is told so, and stays where it is until
//! it is cancelled: it never skips, and never repeats.
//!
//! A watcher is *synced* when nothing it wants is waiting. Then its cursor is not touched for revisions it does not
//! want; it is behind again when [`Watchers::publish`] meets an event for it. Only [`Watchers::pull`], by finding
//! nothing, makes a watcher synced. So whoever sends what was pulled, in order, may send progress exactly while the
//! watcher is synced, and never promises more than it has sent.
//!
//! A start in the future is a cursor above the newest revision: nothing wakes the watcher before that revision comes,
//! not even a snapshot from another member.
//!
//! Absent: streams, ids chosen by clients, timers, encoding, fragmenting. Whoever speaks to clients does that.

use crate::event::{Event, EventKind, RevisionEvents};
use crate::eventlog::EventLog;
use crate::interval::Interval;
use crate::revision::Revision;
use crate::store::Store;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

mod batch;
mod history;
mod index;

pub use batch::{Batch, BatchRevision, PullLimit};
pub use history::Slice;
use index::Index;

/// Names a watcher, for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u64);

/// What a watcher wants to see.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchSpec {
    /// Of these keys.
    pub interval: Interval,
    /// From this revision on; 0 is whatever comes next.
    pub start_revision: i64,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// With the row before each change.
    pub prev_kv: bool,
    /// With a sign of life now and then. Kept here for whoever sends it.
    pub progress_notify: bool,
    /// In pieces when a batch is large. Kept here for whoever sends it.
    pub fragment: bool,
}

impl WatchSpec {
    /// Everything that happens in an interval from now on.
    pub fn from_now(interval: Interval) -> WatchSpec {
        WatchSpec {
            interval,
            start_revision: 0,
            no_put: false,
            no_delete: false,
            prev_kv: false,
            progress_notify: false,
            fragment: false,
        }
    }

    /// True when the filters let this kind of event through.
    pub(crate) fn admits(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.admits(event.kind) && self.interval.contains(&event.row.key)
    }
}

struct Watcher {
    spec: WatchSpec,
    /// The next revision to look at.
    cursor: i64,
    /// Something it wants may be waiting. A watcher that is not behind has seen everything that was published, from
    /// its cursor on as well.
    behind: bool,
}

/// What a watcher gets when it asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Pull {
    /// Events it has not seen. There may be more.
    Batch(Batch),
    /// There is nothing: it is synced, at this revision.
    UpToDate {
        /// The newest published revision.
        revision: Revision,
    },
    /// The next revision it wants is gone. The same answer comes again until the watcher is cancelled.
    Compacted {
        /// The oldest revision that can still be watched from.
        compact_revision: Revision,
    },
    /// There is no such watcher.
    Gone,
}

/// What a watcher wants next lies behind the ring, in the store's history: see [`Slice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Its cursor.
    pub from: Revision,
    /// The last revision that the ring does not hold.
    pub to: Revision,
}

/// All watchers of one member.
pub struct Watchers {
    log: EventLog,
    watchers: BTreeMap<WatcherId, Watcher>,
    index: Index,
    next_id: u64,
    behind: usize,
}

impl Watchers {
    /// No watchers; the next revision to be published is the one after `head`. The newest revisions are kept for quick
    /// reading as long as they have no more than `events_max` events in all.
    pub fn new(head: Revision, events_max: usize) -> Watchers {
        Watchers {
            log: EventLog::new(head, events_max),
            watchers: BTreeMap::new(),
            index: Index::default(),
            next_id: 1,
            behind: 0,
        }
    }

    /// Adds a watcher. When it starts in the past it is behind: pull until it is up to date.
    pub fn create(&mut self, spec: WatchSpec) -> WatcherId {
        let id = WatcherId(self.next_id);
        self.next_id += 1;
        let head = self.log.head();
        let cursor = if spec.start_revision == 0 { head + 1 } else { spec.start_revision };
        let behind = cursor <= head;
        self.index.insert(&spec.interval, id);
        self.behind += usize::from(behind);
        self.watchers.insert(id, Watcher { spec, cursor, behind });
        id
    }

    /// Removes a watcher. False when there is none.
    pub fn cancel(&mut self, id: WatcherId) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else { return false };
        self.index.remove(&watcher.spec.interval, id);
        self.behind -= usize::from(watcher.behind);
        true
    }

    /// Takes the events of the next revision. Returns the watchers that were synced and now have something to pull.
    pub fn publish(&mut self, events: &Arc<RevisionEvents>) -> Vec<WatcherId> {
        self.log.append(Arc::clone(events));
        let revision = events.revision.0;
        let mut ready = Vec::new();
        for event in &events.events {
            self.index.each(&event.row.key, |id| {
                let watcher = self.watchers.get_mut(&id).expect("the index names watchers that exist");
                if !watcher.behind && watcher.cursor <= revision && watcher.spec.admits(event.kind) {
                    watcher.behind = true;
                    watcher.cursor = revision; // Nothing before was for it.
                    ready.push(id);
                }
            });
        }
        self.behind += ready.len();
        ready
    }

    /// Takes what is waiting for a watcher: whole revisions, oldest first, at least one when there is any, and no more
    /// than `limit` if that is possible without splitting one. `store` is the current store.
    pub fn pull(&mut self, id: WatcherId, store: &Store, limit: PullLimit) -> Pull {
        loop {
            let Missed { from, to } = match self.pull_recent(id, store, limit) {
                Ok(pull) => return pull,
                Err(missed) => missed,
            };
            let spec = self.watchers[&id].spec.clone();
            let mut slice = Slice::new(store.clone(), spec, from, to, limit);
            while !slice.look(usize::MAX) {}
            let (revisions, next) = slice.take(limit, store.compacted());
            let head = self.advance(id, from, next).expect("nobody else moves it");
            if !revisions.is_empty() {
                return Pull::Batch(Batch { revisions, next, head });
            }
        }
    }

    /// As [`Watchers::pull`], but only from the ring: whoever shares the watchers with others looks through history
    /// without them, and then says how far with [`Watchers::advance`].
    pub fn pull_recent(&mut self, id: WatcherId, store: &Store, limit: PullLimit) -> Result<Pull, Missed> {
        let head = self.log.head();
        assert!(head <= store.revision, "the store has what was published: {head} and {}", store.revision);
        let Some(watcher) = self.watchers.get_mut(&id) else { return Ok(Pull::Gone) };
        if watcher.behind {
            if watcher.cursor < store.compacted {
                return Ok(Pull::Compacted { compact_revision: store.compacted() });
            }
            if watcher.cursor < self.log.first() {
                return Err(Missed { from: Revision(watcher.cursor), to: Revision(self.log.first() - 1) });
            }
            let (revisions, next) = batch::from_log(&self.log, &watcher.spec, watcher.cursor, limit, store.compacted);
            assert!(watcher.cursor <= next, "a cursor never goes back");
            watcher.cursor = next;
            if !revisions.is_empty() {
                return Ok(Pull::Batch(Batch { revisions, next: Revision(next), head: Revision(head) }));
            }
            assert!(head < next, "the ring was looked through to its end");
            watcher.behind = false;
            self.behind -= 1;
        }
        Ok(Pull::UpToDate { revision: Revision(head) })
    }

    /// Notes that a watcher behind the ring, whose cursor was `from`, was given everything below `next`. Gives the
    /// newest published revision; none when there is no such watcher there any more.
    pub fn advance(&mut self, id: WatcherId, from: Revision, next: Revision) -> Option<Revision> {
        let watcher = self.watchers.get_mut(&id).filter(|watcher| watcher.behind && watcher.cursor == from.0)?;
        assert!(from <= next, "a cursor never goes back");
        watcher.cursor = next.0;
        Some(Revision(self.log.head()))
    }

    /// The revision up to which a watcher may be told that it has seen everything: only when it is synced, and its
    /// start has come.
    pub fn progress(&self, id: WatcherId) -> Option<Revision> {
        let watcher = self.watchers.get(&id)?;
        let head = self.log.head();
        (!watcher.behind && watcher.spec.start_revision <= head).then_some(Revision(head))
    }

    /// True when nothing a watcher wants is waiting for it.
    pub fn synced(&self, id: WatcherId) -> bool {
        self.watchers.get(&id).is_some_and(|watcher| !watcher.behind)
    }

    /// Continues with a store that came from elsewhere (a snapshot): what led to it was never published here. Cursors
    /// stay where they are. Returns the watchers that were synced and now may have something to pull.
    pub fn reset(&mut self, store: &Store) -> Vec<WatcherId> {
        let seen = self.log.head();
        self.log.clear(store.revision());
        let mut ready = Vec::new();
        for (id, watcher) in &mut self.watchers {
            if !watcher.behind {
                // Not back to where it was created (etcd #15271), and a future start stays in the future (#20221).
                watcher.cursor = watcher.cursor.max(seen + 1);
                watcher.behind = watcher.cursor <= store.revision;
                ready.extend(watcher.behind.then_some(*id));
            }
        }
        self.behind += ready.len();
        ready
    }

    /// Sets a watcher's cursor back, which nobody does but planted bugs. True when it was synced and no longer is.
    pub fn rewind(&mut self, id: WatcherId, cursor: Revision) -> bool {
        let head = self.log.head();
        let Some(watcher) = self.watchers.get_mut(&id) else { return false };
        watcher.cursor = watcher.cursor.min(cursor.0);
        let fell_behind = !watcher.behind && watcher.cursor <= head;
        watcher.behind |= fell_behind;
        self.behind += usize::from(fell_behind);
        fell_behind
    }

    /// Moves a watcher's cursor over what it has not seen, which nobody does but planted bugs.
    pub fn skip(&mut self, id: WatcherId, cursor: Revision) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.cursor = watcher.cursor.max(cursor.0);
        }
    }

    /// What a watcher was created with.
    pub fn spec(&self, id: WatcherId) -> Option<&WatchSpec> {
        self.watchers.get(&id).map(|watcher| &watcher.spec)
    }

    /// The newest revision that was published.
    pub fn head(&self) -> Revision {
        Revision(self.log.head())
    }

    /// How many watchers there are.
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// How many are not synced.
    pub fn behind(&self) -> usize {
        self.behind
    }
}
