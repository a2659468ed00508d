//! Queues that are bounded in number and in bytes: a few large messages fill them as well as many small ones.
//!
//! What weighs more than the whole queue goes alone, so that nothing waits for ever. What weighs nothing is bounded in
//! number only. Bytes are given back when an item is taken out, or when the queue goes with its receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::error::{SendError, TryRecvError, TrySendError};
use tokio::sync::mpsc::{self, channel};

/// What an item adds to its queue.
pub trait Weigh {
    /// The bytes it holds on to.
    fn weight_bytes(&self) -> usize;
}

/// How much a queue holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items.
    pub items: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// A queue that is empty.
pub fn queue<T: Weigh>(limits: Limits) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel(limits.items);
    (Sender { queue: sender, held: Arc::default(), bytes_max: limits.bytes }, Receiver(receiver))
}

/// Puts in.
pub struct Sender<T> {
    queue: mpsc::Sender<Held<T>>,
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { queue: self.queue.clone(), held: Arc::clone(&self.held), bytes_max: self.bytes_max }
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("held_bytes", &self.held_bytes()).finish_non_exhaustive()
    }
}

impl<T: Weigh> Sender<T> {
    /// Puts it in if there is room.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let Some(weight) = Weight::take(&self.held, item.weight_bytes(), self.bytes_max) else {
            return Err(TrySendError::Full(item));
        };
        self.queue.try_send(Held { item, _weight: weight }).map_err(|refused| match refused {
            TrySendError::Full(held) => TrySendError::Full(held.item),
            TrySendError::Closed(held) => TrySendError::Closed(held.item),
        })
    }

    /// Puts it in as soon as there is a place. For what weighs nothing.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        assert_eq!(item.weight_bytes(), 0, "who waits for a place does not wait for bytes");
        let weight = Weight { held: Arc::clone(&self.held), bytes: 0 };
        self.queue.send(Held { item, _weight: weight }).await.map_err(|SendError(held)| SendError(held.item))
    }
}

impl<T> Sender<T> {
    /// The bytes in it.
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Takes out, oldest first.
pub struct Receiver<T>(mpsc::Receiver<Held<T>>);

impl<T> Receiver<T> {
    /// The oldest item, once there is one; none when all senders are gone.
    pub async fn recv(&mut self) -> Option<T> {
        self.0.recv().await.map(|held| held.item)
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The oldest item, if there is one.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map(|held| held.item)
    }
}

struct Held<T> {
    item: T,
    _weight: Weight,
}

/// Bytes taken, until it is dropped.
struct Weight {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weight {
    fn take(held: &Arc<AtomicUsize>, bytes: usize, max: usize) -> Option<Weight> {
        let more = |now: usize| {
            let fits = bytes == 0 || now == 0 || now.saturating_add(bytes) <= max;
            fits.then(|| now.saturating_add(bytes))
        };
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Weight { held: Arc::clone(held), bytes })
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for usize {
        fn weight_bytes(&self) -> usize {
            *self
        }
    }

    fn is_full(sender: &Sender<usize>, item: usize) -> bool {
        matches!(sender.try_send(item), Err(TrySendError::Full(back)) if back == item)
    }

    #[test]
    fn both_limits_hold_and_what_is_taken_out_makes_room() {
        let (sender, mut receiver) = queue(Limits { items: 3, bytes: 10 });
        sender.try_send(6).unwrap();
        assert!(is_full(&sender, 5));
        sender.try_send(4).unwrap();
        sender.try_send(0).unwrap();
        assert!(is_full(&sender, 0), "it holds three");
        assert_eq!(sender.held_bytes(), 10, "what was refused weighs nothing");
        assert_eq!((receiver.try_recv().unwrap(), sender.held_bytes()), (6, 4));
        sender.try_send(6).unwrap();
        while receiver.try_recv().is_ok() {}
        assert_eq!(sender.held_bytes(), 0);
    }

    #[test]
    fn what_is_larger_than_the_queue_goes_alone() {
        let (sender, mut receiver) = queue(Limits { items: 3, bytes: 10 });
        sender.try_send(11).unwrap();
        assert!(is_full(&sender, 1));
        assert_eq!(receiver.try_recv().unwrap(), 11);
        sender.try_send(1).unwrap();
        assert!(is_full(&sender, 11));
    }

    #[test]
    fn the_bytes_go_with_the_receiver() {
        let (sender, receiver) = queue(Limits { items: 3, bytes: 10 });
        sender.try_send(7).unwrap();
        drop(receiver);
        assert!(matches!(sender.try_send(1), Err(TrySendError::Closed(1))));
        assert_eq!(sender.held_bytes(), 0);
    }
}
