//! Waiting linearizable reads, answered in batches: one confirmation of leadership serves all that waited for it.
//!
//! At most one context is in flight. A context is never used twice, so that late answers to an earlier round can
//! never confirm a newer read.

use std::time::Duration;

use evenkeel_raft::Index;
use evenkeel_raft::message::ReadContext;
use evenkeel_raft::ready::ReadState;
use tokio::sync::oneshot;

use crate::error::RequestError;

/// Reads that may wait.
const WAITING_MAX: usize = 65_536;

type Reply = oneshot::Sender<Result<Index, RequestError>>;

struct Waiting {
    reply: Reply,
    since: Duration,
}

/// See the module's text.
#[derive(Default)]
pub struct Reads {
    last_context: u64,
    in_flight: Option<(ReadContext, Duration)>,
    asked: Vec<Waiting>,
    waiting: Vec<Waiting>,
    dropped: bool,
}

impl Reads {
    /// Contexts begin somewhere behind `base`: a late answer to an earlier life of this process must not meet them.
    pub fn starting_at(base: u64) -> Reads {
        Reads { last_context: base >> 1, ..Reads::default() }
    }

    /// Adds a read. It is asked for with the next batch.
    pub fn add(&mut self, reply: Reply, now: Duration) {
        if self.waiting.len() + self.asked.len() >= WAITING_MAX {
            let _ = reply.send(Err(RequestError::TooManyRequests));
            return;
        }
        self.waiting.push(Waiting { reply, since: now });
    }

    fn begin(&mut self, now: Duration) -> Option<ReadContext> {
        assert!(self.asked.is_empty(), "a batch is in flight");
        if self.waiting.is_empty() {
            return None;
        }
        self.last_context += 1;
        let context = ReadContext(self.last_context);
        self.in_flight = Some((context, now));
        std::mem::swap(&mut self.asked, &mut self.waiting);
        Some(context)
    }

    /// Takes the core's answer.
    pub fn resolve(&mut self, state: ReadState) {
        let (ReadState::Confirmed { context, .. } | ReadState::Dropped { context }) = state;
        if self.in_flight.is_none_or(|(current, _)| current != context) {
            return; // an answer to a batch already asked for again
        }
        self.in_flight = None;
        match state {
            ReadState::Confirmed { index, .. } => {
                for waiting in self.asked.drain(..) {
                    let _ = waiting.reply.send(Ok(index));
                }
            }
            ReadState::Dropped { .. } => {
                // Asked again with the next tick: at once would spin while there is no leader.
                self.waiting.append(&mut self.asked);
                self.dropped = true;
            }
        }
    }

    /// The next batch, if any reads wait and none is in flight.
    pub fn next_batch(&mut self, now: Duration) -> Option<ReadContext> {
        if self.in_flight.is_some() || self.dropped { None } else { self.begin(now) }
    }

    /// There is somebody to ask: what was dropped need not wait for the next tick.
    pub fn leader_known(&mut self) {
        self.dropped = false;
    }

    /// With each tick: a batch that was dropped, or not answered for `patience`, under a new context.
    pub fn retry(&mut self, now: Duration, patience: Duration) -> Option<ReadContext> {
        match self.in_flight {
            Some((_, since)) if now < since + patience => return None,
            Some(_) => {
                self.in_flight = None;
                self.waiting.append(&mut self.asked);
            }
            None if !self.dropped => return None,
            None => {}
        }
        self.dropped = false;
        self.begin(now)
    }

    /// Gives up on reads older than `limit`.
    pub fn expire(&mut self, now: Duration, limit: Duration) {
        for queue in [&mut self.asked, &mut self.waiting] {
            if queue.iter().any(|w| w.since + limit <= now) {
                let (old, young) = std::mem::take(queue).into_iter().partition(|w| w.since + limit <= now);
                *queue = young;
                let old: Vec<Waiting> = old;
                for waiting in old {
                    let _ = waiting.reply.send(Err(RequestError::Timeout));
                }
            }
            queue.retain(|w| !w.reply.is_closed());
        }
    }
}
