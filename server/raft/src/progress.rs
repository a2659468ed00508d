//! The leader's view of one follower: what it holds, what was sent, and how much more may be.
//!
//! | State | Meaning | Sends |
//! |---|---|---|
//! | Probe | where the logs agree is not known | one append, then waits for an answer |
//! | Replicate | the logs agree up to `next` as far as we know | a stream, within the window |
//! | Snapshot | it needs entries we no longer have | nothing until the transfer ends |
//!
//! Heartbeats go out in every state. Invariant: `matched < next`, and `matched` only grows within one leadership.

use alloc::collections::VecDeque;

use crate::message::Round;
use crate::types::Index;

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicationState {
    /// Looks for the place where the logs agree.
    Probe,
    /// Streams entries.
    Replicate,
    /// Waits for a snapshot to arrive.
    Snapshot,
}

/// What the world may know of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressView {
    /// Durable on the follower up to here.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How entries are sent.
    pub state: ReplicationState,
    /// It answered lately: since the last check of the quorum.
    pub active: bool,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Progress {
    pub(crate) matched: Index,
    pub(crate) next: Index,
    pub(crate) state: ReplicationState,
    pub(crate) active: bool,
    /// The newest heartbeat round answered.
    pub(crate) round: Round,
    /// The newest commit index it can have learned from what was sent.
    pub(crate) told_commit: Index,
    /// Probe: one is out, wait for an answer.
    pub(crate) paused: bool,
    /// Replicate: something sent may be lost; ask with an empty append.
    pub(crate) ping: bool,
    pub(crate) window: Window,
}

impl Progress {
    pub(crate) fn new(next: Index) -> Progress {
        Progress {
            matched: Index(0),
            next,
            state: ReplicationState::Probe,
            active: false,
            round: Round(0),
            told_commit: Index(0),
            paused: false,
            ping: false,
            window: Window::default(),
        }
    }

    pub(crate) fn view(&self) -> ProgressView {
        ProgressView { matched: self.matched, next: self.next, state: self.state, active: self.active }
    }

    /// Starts over from `next`.
    pub(crate) fn probe(&mut self, next: Index, paused: bool) {
        self.change(ReplicationState::Probe);
        self.next = next.max(self.matched.next());
        self.told_commit = self.told_commit.min(self.matched);
        self.paused = paused;
    }

    pub(crate) fn await_snapshot(&mut self) {
        self.change(ReplicationState::Snapshot);
    }

    fn change(&mut self, state: ReplicationState) {
        self.state = state;
        (self.paused, self.ping) = (false, false);
        self.window.clear();
    }

    /// The follower holds everything up to `matched`. `base` is the newest entry that is gone from memory.
    /// Returns whether that is news.
    pub(crate) fn accepted(&mut self, matched: Index, base: Index) -> bool {
        let news = self.matched < matched;
        self.matched = self.matched.max(matched);
        self.window.free(self.matched);
        match self.state {
            // An answer to the probe says that the follower holds at least what the probe was sent after. What says less
            // is older, or answers a message of an older term: the probe is still open.
            ReplicationState::Probe if self.next.prev() <= matched => self.stream(),
            ReplicationState::Snapshot if base <= self.matched => self.stream(),
            _ => self.next = self.next.max(self.matched.next()),
        }
        news
    }

    fn stream(&mut self) {
        self.change(ReplicationState::Replicate);
        self.next = self.matched.next();
    }

    /// The follower does not hold `prev_index`; the logs may agree at `hint`. Returns false for a stale answer.
    pub(crate) fn rejected(&mut self, prev_index: Index, hint: Index) -> bool {
        let current = match self.state {
            ReplicationState::Probe => prev_index.next() == self.next,
            ReplicationState::Replicate => self.matched < prev_index && prev_index < self.next,
            ReplicationState::Snapshot => false,
        };
        if current {
            self.probe(prev_index.min(hint.next()), false);
        }
        current
    }

    /// It is alive: whatever waits for an answer that may be lost tries again.
    pub(crate) fn alive(&mut self) {
        self.paused = false;
        self.ping = self.state == ReplicationState::Replicate && self.matched.next() < self.next;
    }

    /// A message to it was lost.
    pub(crate) fn unreachable(&mut self) {
        if self.state == ReplicationState::Replicate {
            // Paused until it shows life: a dead link is not asked again at every turn.
            self.probe(self.matched.next(), true);
        }
    }
}

/// Appends with entries that were sent and not yet accepted: the last index and the bytes of each.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Window {
    messages: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Window {
    pub(crate) fn is_full(&self, max_messages: usize, max_bytes: usize) -> bool {
        self.messages.len() >= max_messages || self.bytes >= max_bytes
    }

    pub(crate) fn add(&mut self, last: Index, bytes: usize) {
        debug_assert!(self.messages.back().is_none_or(|&(newest, _)| newest < last));
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// Forgets every message that ends at or before `matched`.
    pub(crate) fn free(&mut self, matched: Index) {
        while let Some(&(last, bytes)) = self.messages.front()
            && last <= matched
        {
            self.messages.pop_front();
            self.bytes -= bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the obvious model: a list of (last, bytes), summed anew each time.
        #[test]
        fn window_counts_what_is_not_accepted(
            steps in prop::collection::vec((any::<bool>(), 1u64..20, 0usize..100), 0..60),
            max_messages in 1usize..8,
            max_bytes in 1usize..300,
        ) {
            let (mut window, mut model, mut last) = (Window::default(), Vec::<(u64, usize)>::new(), 0);
            for (add, by, bytes) in steps {
                if add {
                    last += by;
                    window.add(Index(last), bytes);
                    model.push((last, bytes));
                } else {
                    let matched = last.saturating_sub(by);
                    window.free(Index(matched));
                    model.retain(|&(last, _)| matched < last);
                }
                let sum: usize = model.iter().map(|&(_, bytes)| bytes).sum();
                prop_assert_eq!(window.bytes, sum);
                prop_assert_eq!(window.is_full(max_messages, max_bytes), model.len() >= max_messages || sum >= max_bytes);
            }
            window.free(Index(last));
            prop_assert_eq!((window.messages.len(), window.bytes), (0, 0), "returns to zero");
        }

        /// Whatever answers arrive, in whatever order: `matched` grows, `next` stays after it, the window is in between.
        #[test]
        fn progress_never_goes_back(answers in prop::collection::vec((0u8..6, 0u64..30, 0u64..30), 0..80)) {
            let (mut progress, last, base) = (Progress::new(Index(30)), Index(40), Index(5));
            let mut before = Index(0);
            for (kind, a, b) in answers {
                match kind {
                    0 | 1 => _ = progress.accepted(Index(a), base),
                    2 => _ = progress.rejected(Index(a), Index(b)),
                    3 => progress.alive(),
                    4 => progress.unreachable(),
                    _ if progress.next <= base => progress.await_snapshot(),
                    _ if progress.state == ReplicationState::Replicate && progress.next < last => {
                        progress.window.add(progress.next, 1);
                        progress.next = progress.next.next();
                    }
                    _ => {}
                }
                prop_assert!(before <= progress.matched);
                prop_assert!(progress.matched < progress.next);
                for &(end, _) in &progress.window.messages {
                    prop_assert!(progress.matched < end && end < progress.next);
                }
                before = progress.matched;
            }
        }
    }
}
