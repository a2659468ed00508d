//! A slow watcher's way through history: looked for on a pinned store, a bounded number of keys at a time, and without
//! the hub, so that neither the apply task nor other streams wait for it.
//!
//! Looking through the index costs the same for one batch as for many, so a stream keeps what it found for the batches
//! to come: one slice at a time, of one of its watchers. That is the only place where events wait for a client, so
//! slices are few: while too many streams have a large one, others look for one batch at a time.

use std::sync::Arc;

use evenkeel_mvcc::{Batch, Missed, PullLimit, Slice, Store, WatchSpec, WatcherId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::watch_hub::WatchHub;

/// Large slices of one member.
pub const LARGE_SLICES_MAX: usize = 16;

/// What a stream has found in the history and not yet sent.
pub struct CatchUp {
    large: Arc<Semaphore>,
    found: Option<Found>,
}

struct Found {
    watcher: WatcherId,
    slice: Slice,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What came of a turn.
pub enum Turn {
    /// Events to send, or none: the watcher's turn comes again.
    Done(Option<Batch>),
    /// There are more keys to look at: let others run first.
    Pause,
}

impl CatchUp {
    /// Nothing found yet; `large` are the large slices that the member has left.
    pub fn new(large: Arc<Semaphore>) -> CatchUp {
        CatchUp { large, found: None }
    }

    /// A watcher is gone, and what was found for it.
    pub fn forget(&mut self, watcher: WatcherId) {
        self.found.take_if(|found| found.watcher == watcher);
    }

    /// A turn of a watcher behind the hub's log. While another one of the stream is being served it waits.
    pub fn turn(
        &mut self,
        hub: &WatchHub,
        watcher: WatcherId,
        (spec, missed): (WatchSpec, Missed),
        view: impl Fn() -> Store,
    ) -> Turn {
        let limits = hub.limits();
        self.found.take_if(|found| found.watcher == watcher && found.slice.cursor() != missed.from);
        let found = match &mut self.found {
            Some(found) if found.watcher != watcher => return Turn::Done(None),
            Some(found) => found,
            empty => {
                let permit = Arc::clone(&self.large).try_acquire_owned().ok();
                let large = PullLimit { events: limits.slice_events, bytes: usize::MAX };
                let limit = if permit.is_some() { large } else { limits.batch };
                let store = view();
                if missed.from < store.compacted() {
                    return Turn::Done(None); // compacted just now; the hub will say so
                }
                empty.insert(Found {
                    watcher,
                    slice: Slice::new(store, spec, missed.from, missed.to, limit),
                    _permit: permit,
                })
            }
        };
        if !found.slice.look(limits.keys_per_turn) {
            return Turn::Pause;
        }
        let from = found.slice.cursor();
        let (revisions, next) = found.slice.take(limits.batch, view().compacted());
        if found.slice.is_taken() {
            self.found = None;
        }
        let head = hub.advance(watcher, from, next);
        let batch = head.filter(|_| !revisions.is_empty()).map(|head| Batch { revisions, next, head });
        Turn::Done(batch)
    }
}
