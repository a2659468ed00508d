//! All watchers of one member, and which stream each belongs to.
//!
//! The apply task publishes; streams pull. Between them is one queue per stream with the watchers that may have
//! something to pull, each at most once. So what a stream can owe is bounded by its watchers, however slow its client
//! is, and events themselves are never queued: they stay in the shared log, or in the store's history.
//!
//! What the log no longer holds is looked for by the stream itself, outside the hub: see [`super::catch_up`].
//!
//! Lock order: the member's state before the hub. The apply task publishes while it changes the state, so nothing
//! here takes a look at the state while it holds the hub.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use evenkeel_mvcc::{Batch, Missed, Pull, PullLimit, Revision, RevisionEvents, Store, WatchSpec, WatcherId, Watchers};
use evenkeel_raft::{Mutant, Mutants};
use tokio::sync::{Notify, Semaphore};

use super::catch_up::LARGE_SLICES_MAX;

/// Watchers on one stream.
pub const STREAM_WATCHERS_MAX: usize = 1 << 17;
/// Watchers on one member.
pub const MEMBER_WATCHERS_MAX: usize = 1 << 20;
/// How much is kept and looked at to serve watches. Tests have less, to come to the paths of slow watchers soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Events kept for quick reading, in all.
    pub log_events: usize,
    /// What one response may carry, as far as a revision is not split for it.
    pub batch: PullLimit,
    /// Events in a large slice of history, unless one revision has more.
    pub slice_events: usize,
    /// Keys of the history looked at in one turn.
    pub keys_per_turn: usize,
}

impl WatchLimits {
    /// Of a server as it ships.
    pub const USUAL: WatchLimits = WatchLimits {
        log_events: 1 << 15,
        batch: PullLimit { events: 1_000, bytes: 1 << 20 },
        slice_events: 1 << 15,
        keys_per_turn: 4_096,
    };
}

/// See the module's text.
pub struct WatchHub {
    inner: Mutex<Inner>,
    large_slices: Arc<Semaphore>,
    limits: WatchLimits,
}

struct Inner {
    watchers: Watchers,
    owners: BTreeMap<WatcherId, StreamId>,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
}

/// Names a stream, for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

#[derive(Default)]
struct Stream {
    watchers: BTreeSet<WatcherId>,
    /// Exactly those of `watchers` that are not synced.
    ready: VecDeque<WatcherId>,
    wake: Arc<Notify>,
}

/// What a watcher gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Events.
    Batch(Batch),
    /// What comes next has to be looked for in the history. The watcher keeps its turn; then say how far it came with
    /// [`WatchHub::advance`].
    Missed(WatchSpec, Missed),
    /// The revision it wants next is gone, and so is the watcher.
    Compacted {
        /// The oldest revision that can be watched from.
        compact_revision: Revision,
    },
}

/// What can be said about the progress of a whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All watchers have seen everything up to here.
    Synced(Revision),
    /// Some have something to pull first.
    Behind,
    /// There are none, or some wait for a start that has not come.
    None,
}

/// How much is watched, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Watchers.
    pub watchers: u64,
    /// Of these, not yet at the newest revision.
    pub slow: u64,
    /// Streams.
    pub streams: u64,
    /// Watchers with something to pull, waiting for their stream's turn.
    pub pending: u64,
}

/// Too many watchers, on the stream or on the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWatchers;

impl WatchHub {
    /// No watchers, on a member with this state.
    pub fn new(store: &Store, limits: WatchLimits) -> WatchHub {
        let inner = Inner {
            watchers: Watchers::new(store.revision(), limits.log_events),
            owners: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
        };
        WatchHub { inner: Mutex::new(inner), large_slices: Arc::new(Semaphore::new(LARGE_SLICES_MAX)), limits }
    }

    /// How much is kept and looked at.
    pub fn limits(&self) -> &WatchLimits {
        &self.limits
    }

    /// How many streams may yet keep a large part of the history.
    pub fn large_slices(&self) -> Arc<Semaphore> {
        Arc::clone(&self.large_slices)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("not poisoned")
    }

    /// A revision was applied.
    pub fn publish(&self, events: &Arc<RevisionEvents>) {
        let mut inner = self.inner();
        let ready = inner.watchers.publish(events);
        inner.wake(ready);
    }

    /// The state was replaced by a snapshot's.
    pub fn reset(&self, store: &Store, mutants: Mutants) {
        let mut inner = self.inner();
        let seen = inner.watchers.head();
        let mut ready = inner.watchers.reset(store);
        if mutants.has(Mutant::WatchTimeTravel) || mutants.has(Mutant::FutureWatch) {
            ready.extend(inner.misremember(seen, store, mutants));
        }
        inner.wake(ready);
    }

    /// Adds a stream. What comes back resolves when the stream may have something to pull.
    pub fn open(&self) -> (StreamId, Arc<Notify>) {
        let mut inner = self.inner();
        let id = StreamId(inner.next_stream);
        inner.next_stream += 1;
        let stream = Stream::default();
        let wake = Arc::clone(&stream.wake);
        inner.streams.insert(id, stream);
        (id, wake)
    }

    /// How much is watched.
    pub fn figures(&self) -> Figures {
        let inner = self.inner();
        let behind = inner.watchers.behind() as u64;
        Figures {
            watchers: inner.watchers.len() as u64,
            slow: behind,
            streams: inner.streams.len() as u64,
            pending: inner.streams.values().map(|stream| stream.ready.len() as u64).sum(),
        }
    }

    /// Removes a stream and its watchers.
    pub fn close(&self, stream: StreamId) {
        let mut inner = self.inner();
        let Some(Stream { watchers, .. }) = inner.streams.remove(&stream) else { return };
        for watcher in watchers {
            inner.watchers.cancel(watcher);
            inner.owners.remove(&watcher);
        }
    }

    /// Adds a watcher to a stream. Tells the revision it was created at.
    pub fn create(&self, stream: StreamId, spec: WatchSpec) -> Result<(WatcherId, Revision), TooManyWatchers> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let stream_watchers = inner.streams.get_mut(&stream).expect("the stream is open");
        if STREAM_WATCHERS_MAX <= stream_watchers.watchers.len() || MEMBER_WATCHERS_MAX <= inner.watchers.len() {
            return Err(TooManyWatchers);
        }
        let watcher = inner.watchers.create(spec);
        stream_watchers.watchers.insert(watcher);
        inner.owners.insert(watcher, stream);
        if !inner.watchers.synced(watcher) {
            stream_watchers.ready.push_back(watcher);
        }
        Ok((watcher, inner.watchers.head()))
    }

    /// Removes a watcher from a stream.
    pub fn cancel(&self, stream: StreamId, watcher: WatcherId) {
        self.inner().cancel(stream, watcher);
    }

    /// Takes what is waiting for one of the stream's watchers, each in its turn. `view` gives the newest state.
    pub fn pull(&self, stream: StreamId, view: impl Fn() -> Store, mutants: Mutants) -> Option<(WatcherId, Delivery)> {
        loop {
            if self.inner().streams.get(&stream)?.ready.is_empty() {
                return None;
            }
            let store = view();
            let mut inner = self.inner();
            // Something may have been published in between; then that is in the next view.
            if inner.watchers.head() <= store.revision() {
                return inner.pull(stream, &store, self.limits.batch, mutants);
            }
        }
    }

    /// Notes what a watcher was given from the history: see [`Watchers::advance`].
    pub fn advance(&self, watcher: WatcherId, from: Revision, next: Revision) -> Option<Revision> {
        self.inner().watchers.advance(watcher, from, next)
    }

    /// The newest published revision.
    pub fn head(&self) -> Revision {
        self.inner().watchers.head()
    }

    /// Up to where a watcher has seen everything, if it has.
    pub fn progress(&self, watcher: WatcherId) -> Option<Revision> {
        self.inner().watchers.progress(watcher)
    }

    /// Up to where all watchers of a stream have seen everything.
    pub fn progress_all(&self, stream: StreamId) -> Progress {
        let inner = self.inner();
        let Some(stream) = inner.streams.get(&stream) else { return Progress::None };
        if !stream.ready.is_empty() {
            return Progress::Behind;
        }
        let all = stream.watchers.iter().all(|watcher| inner.watchers.progress(*watcher).is_some());
        if stream.watchers.is_empty() || !all { Progress::None } else { Progress::Synced(inner.watchers.head()) }
    }
}

impl Inner {
    /// The planted bugs of watchers that a snapshot sends back, or forward too early.
    fn misremember(&mut self, seen: Revision, store: &Store, mutants: Mutants) -> Vec<WatcherId> {
        let ids: Vec<WatcherId> = self.owners.keys().copied().collect();
        let mut fell_behind = Vec::new();
        for id in ids {
            let start = self.watchers.spec(id).map_or(0, |spec| spec.start_revision);
            let back = if start <= seen.0 { Revision(start) } else { Revision(store.revision().0 + 1) };
            let planted = if start <= seen.0 { Mutant::WatchTimeTravel } else { Mutant::FutureWatch };
            if start > 0 && mutants.bites(planted, || self.watchers.rewind(id, back)) {
                fell_behind.push(id);
            }
        }
        fell_behind
    }

    fn wake(&mut self, ready: Vec<WatcherId>) {
        for watcher in ready {
            let owner = self.owners[&watcher];
            let stream = self.streams.get_mut(&owner).expect("a watcher's stream is open");
            stream.ready.push_back(watcher);
            stream.wake.notify_one();
        }
    }

    fn cancel(&mut self, stream: StreamId, watcher: WatcherId) {
        self.watchers.cancel(watcher);
        self.owners.remove(&watcher);
        let stream = self.streams.get_mut(&stream).expect("the stream is open");
        stream.watchers.remove(&watcher);
        stream.ready.retain(|ready| *ready != watcher);
    }

    fn pull(
        &mut self,
        id: StreamId,
        store: &Store,
        batch: PullLimit,
        mutants: Mutants,
    ) -> Option<(WatcherId, Delivery)> {
        while let Some(watcher) = self.streams.get_mut(&id)?.ready.pop_front() {
            let pull = match self.watchers.pull_recent(watcher, store, batch) {
                Ok(pull) => pull,
                Err(missed) => {
                    let spec = self.watchers.spec(watcher).expect("it was asked for").clone();
                    self.streams.get_mut(&id)?.ready.push_back(watcher);
                    return Some((watcher, Delivery::Missed(spec, missed)));
                }
            };
            match pull {
                Pull::Batch(batch) => {
                    // There may be more, and only an empty pull makes it synced. After the others.
                    self.streams.get_mut(&id)?.ready.push_back(watcher);
                    return Some((watcher, Delivery::Batch(batch)));
                }
                Pull::UpToDate { .. } => {}
                Pull::Compacted { compact_revision } if mutants.on(Mutant::WatchStarvedLoss) => {
                    self.watchers.skip(watcher, compact_revision);
                    self.streams.get_mut(&id)?.ready.push_back(watcher);
                }
                Pull::Compacted { compact_revision } => {
                    self.cancel(id, watcher);
                    return Some((watcher, Delivery::Compacted { compact_revision }));
                }
                Pull::Gone => unreachable!("a cancelled watcher leaves the queue"),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
