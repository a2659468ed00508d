//! Alarms on the machine's own time.

use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A moment to wait for.
pub type Alarm = Sleep;

/// The run's clock: time since its start.
#[derive(Clone, Debug)]
pub struct Time {
    start: Instant,
}

impl Time {
    /// A clock that starts now.
    #[allow(clippy::disallowed_methods, reason = "a run in the real world has no other clock")]
    pub fn current() -> Time {
        Time { start: Instant::now() }
    }

    /// Time since the start of the run.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Resolves at `at`, at once when that has passed.
    pub fn alarm(&self, at: Duration) -> Alarm {
        sleep_until(self.start + at)
    }

    /// Resolves after `duration`.
    pub fn sleep(&self, duration: Duration) -> Alarm {
        self.alarm(self.now() + duration)
    }
}
