//! What one pull hands out, and reading it from the shared ring.

use super::WatchSpec;
use crate::event::{Event, RevisionEvents};
use crate::eventlog::EventLog;
use crate::revision::Revision;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How much one pull hands out, as far as revisions are not split for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullLimit {
    /// Events.
    pub events: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

/// Events for one watcher.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Revisions with at least one event for the watcher, oldest first.
    pub revisions: Vec<BatchRevision>,
    /// The watcher has now seen everything below this revision.
    pub next: Revision,
    /// The newest published revision.
    pub head: Revision,
}

/// The events of one revision that one watcher wants.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchRevision {
    /// The whole revision, often shared with other watchers.
    pub source: Arc<RevisionEvents>,
    /// Which of its events; all when none are named.
    wanted: Option<Vec<u32>>,
}

impl BatchRevision {
    pub(super) fn whole(source: Arc<RevisionEvents>) -> BatchRevision {
        BatchRevision { source, wanted: None }
    }

    /// The revision.
    pub fn revision(&self) -> Revision {
        self.source.revision
    }

    /// True when the watcher wants every event of the revision, so that an encoding of `source` serves it too.
    pub fn is_whole(&self) -> bool {
        self.wanted.is_none()
    }

    /// The events the watcher wants, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let all = self.is_whole().then(|| self.source.events.iter());
        let some = self.wanted.iter().flatten().map(|at| &self.source.events[*at as usize]);
        all.into_iter().flatten().chain(some)
    }
}

/// Counts what goes into a batch.
pub(super) struct Meter {
    pub events: usize,
    pub bytes: usize,
    limit: PullLimit,
}

impl Meter {
    pub fn new(limit: PullLimit) -> Meter {
        Meter { events: 0, bytes: 0, limit }
    }

    pub fn is_over(&self) -> bool {
        self.limit.events < self.events || self.limit.bytes < self.bytes
    }
}

/// Collects what a watcher wants from the ring, from its cursor on. Returns the next cursor too.
pub(super) fn from_log(
    log: &EventLog,
    spec: &WatchSpec,
    cursor: i64,
    limit: PullLimit,
    compacted: i64,
) -> (Vec<BatchRevision>, i64) {
    let mut meter = Meter::new(limit);
    let mut batch = Vec::new();
    for source in log.since(cursor) {
        let wanted: Vec<u32> =
            (0u32..).zip(&source.events).filter(|(_, event)| spec.wants(event)).map(|(at, _)| at).collect();
        if wanted.is_empty() {
            continue;
        }
        meter.events += wanted.len();
        meter.bytes +=
            wanted.iter().map(|at| source.events[*at as usize].size_bytes(spec.prev_kv)).fold(0, usize::saturating_add);
        if meter.is_over() && !batch.is_empty() {
            return (batch, source.revision.0);
        }
        let wanted = (wanted.len() < source.events.len()).then_some(wanted);
        batch.push(BatchRevision { source: without_compacted_prev(source, compacted), wanted });
    }
    (batch, log.head().max(cursor - 1) + 1)
}

/// The revision before the floor cannot be read any more, so the rows it left are not handed out either: the same
/// answer as from the store's history, and no reference to values that are gone.
pub(super) fn without_compacted_prev(source: &Arc<RevisionEvents>, compacted: i64) -> Arc<RevisionEvents> {
    if compacted < source.revision.0 {
        return Arc::clone(source);
    }
    let events = source.events.iter().map(|event| Event { prev: None, ..event.clone() }).collect();
    Arc::new(RevisionEvents { revision: source.revision, events })
}
