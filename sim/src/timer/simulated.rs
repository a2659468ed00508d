//! Exact alarms on simulated time.
//!
//! The runtime's own `sleep` lasts at least a millisecond and adds one timer for every poll; a sleep that sits in a
//! busy `select!` fills the timer queue. An [`Alarm`] goes off at its nanosecond and adds one timer per waker.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use madsim::time::{Sleep, TimeHandle};

/// The run's clock: time since its start.
#[derive(Clone)]
pub struct SimTime(TimeHandle);

impl SimTime {
    /// The clock of the run that is going on in this thread.
    pub fn current() -> SimTime {
        SimTime(TimeHandle::current())
    }

    /// Time since the start of the run.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Resolves at `at`, at once when that has passed.
    pub fn alarm(&self, at: Duration) -> Alarm {
        let now = self.now();
        let deadline = self.0.now_instant() + at.saturating_sub(now);
        let mut sleep = self.0.sleep(Duration::ZERO);
        Pin::new(&mut sleep).reset(deadline);
        Alarm { sleep, waker: None }
    }

    /// Resolves after `duration`.
    pub fn sleep(&self, duration: Duration) -> Alarm {
        self.alarm(self.now() + duration)
    }
}

/// A moment to wait for.
#[must_use = "futures do nothing unless polled"]
pub struct Alarm {
    sleep: Sleep,
    waker: Option<Waker>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_elapsed() {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        Pin::new(&mut self.sleep).poll(cx)
    }
}
