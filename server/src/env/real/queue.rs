//! What waits to be sent on one lane: bounded in messages and bytes, filled by anybody, drained by one stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use evenkeel_proto::peer::Frame;
use futures_core::Stream;

/// Room for waiting messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// A message was refused, and none has been taken since.
    overflowed: bool,
    drain: Option<Waker>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// It waits.
    Queued,
    /// There was no room; the first such refusal since the queue last moved.
    FirstDropped,
    /// There was no room, again.
    Dropped,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Arc<Queue> {
        Arc::new(Queue { limits, waiting: Mutex::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("not poisoned")
    }

    /// Queues one message. A message larger than the whole queue still goes when it is alone.
    pub(super) fn push(&self, frame: Bytes) -> Push {
        let mut waiting = self.waiting();
        let full = waiting.frames.len() >= self.limits.messages || waiting.bytes + frame.len() > self.limits.bytes;
        if full && !waiting.frames.is_empty() {
            let first = !std::mem::replace(&mut waiting.overflowed, true);
            return if first { Push::FirstDropped } else { Push::Dropped };
        }
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        let drain = waiting.drain.take();
        drop(waiting);
        if let Some(drain) = drain {
            drain.wake();
        }
        Push::Queued
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&self) {
        let mut waiting = self.waiting();
        waiting.frames.clear();
        waiting.bytes = 0;
        waiting.overflowed = false;
    }

    /// The stream that drains it. One at a time: an older one falls silent.
    pub(super) fn drain(self: &Arc<Self>) -> Drain {
        Drain { queue: Arc::clone(self) }
    }
}

/// Hands out what waits, in order.
pub(super) struct Drain {
    queue: Arc<Queue>,
}

impl Stream for Drain {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut waiting = self.queue.waiting();
        match waiting.frames.pop_front() {
            Some(envelope) => {
                waiting.bytes -= envelope.len();
                waiting.overflowed = false;
                Poll::Ready(Some(Frame { envelope }))
            }
            None => {
                waiting.drain = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(drain: &mut Drain) -> Option<Bytes> {
        match Pin::new(drain).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame.map(|frame| frame.envelope),
            Poll::Pending => None,
        }
    }

    #[test]
    fn both_limits_hold_and_the_first_drop_is_told() {
        let queue = Queue::new(Limits { messages: 2, bytes: 10 });
        let mut drain = queue.drain();
        assert_eq!(queue.push(Bytes::from_static(b"a")), Push::Queued);
        assert_eq!(queue.push(Bytes::from_static(b"0123456789")), Push::FirstDropped);
        assert_eq!(queue.push(Bytes::from_static(b"b")), Push::Queued);
        assert_eq!(queue.push(Bytes::from_static(b"c")), Push::Dropped);
        assert_eq!(next(&mut drain).as_deref(), Some(&b"a"[..]));
        assert_eq!(queue.push(Bytes::from_static(b"0123456789")), Push::FirstDropped);
        assert_eq!(next(&mut drain).as_deref(), Some(&b"b"[..]));
        assert_eq!(next(&mut drain), None);
    }

    #[test]
    fn a_message_larger_than_the_queue_goes_alone() {
        let queue = Queue::new(Limits { messages: 2, bytes: 4 });
        assert_eq!(queue.push(Bytes::from_static(b"01234")), Push::Queued);
        assert_eq!(queue.push(Bytes::from_static(b"5")), Push::FirstDropped);
        queue.clear();
        assert_eq!(queue.push(Bytes::from_static(b"6")), Push::Queued);
    }
}
