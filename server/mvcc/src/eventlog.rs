//! The newest revisions' events, shared by all watchers and bounded.

use crate::event::RevisionEvents;
use crate::revision::Revision;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// A ring of the events of the newest revisions, without a gap between them.
pub(crate) struct EventLog {
    ring: VecDeque<Arc<RevisionEvents>>,
    /// The newest revision that was published, in the ring or not.
    head: i64,
    events: usize,
    events_max: usize,
}

impl EventLog {
    /// An empty ring that continues after `head` and holds at most `events_max` events.
    pub fn new(head: Revision, events_max: usize) -> EventLog {
        EventLog { ring: VecDeque::new(), head: head.0, events: 0, events_max }
    }

    pub fn head(&self) -> i64 {
        self.head
    }

    /// The oldest revision the ring can serve from; the next one when it is empty.
    pub fn first(&self) -> i64 {
        self.ring.front().map_or(self.head + 1, |oldest| oldest.revision.0)
    }

    pub fn append(&mut self, events: Arc<RevisionEvents>) {
        let next = self.head + 1;
        assert_eq!(events.revision.0, next, "revisions are published in order, each once");
        self.head = next;
        self.events += events.events.len();
        self.ring.push_back(events);
        // Even the newest goes when it alone is too large: it is in the store's history.
        while self.events_max < self.events {
            let oldest = self.ring.pop_front().expect("events are counted while they are in the ring");
            self.events -= oldest.events.len();
        }
    }

    /// The revisions from `revision` on, which the ring must still hold.
    pub fn since(&self, revision: i64) -> impl Iterator<Item = &Arc<RevisionEvents>> {
        let skip = revision.checked_sub(self.first()).and_then(|skip| usize::try_from(skip).ok());
        self.ring.iter().skip(skip.expect("the ring holds the revision asked for"))
    }

    pub fn clear(&mut self, head: Revision) {
        *self = EventLog::new(head, self.events_max);
    }
}
