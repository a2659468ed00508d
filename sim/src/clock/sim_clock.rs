//! The clocks behind the server's `Clock` seam.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::env::Clock;
use tokio::sync::Notify;

use super::Reading;
use crate::timer::SimTime;

/// One member's clocks. Outlive the member's processes.
#[derive(Clone)]
pub struct SimClock(Arc<Shared>);

struct Shared {
    time: SimTime,
    reading: Mutex<Reading>,
    rate_changed: Notify,
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Reading, Duration) -> T) -> T {
        f(&mut self.reading.lock().expect("no panic while the clock is locked"), self.time.now())
    }
}

impl SimClock {
    /// Clocks that start right, apart from `offset_ns` on the wall clock.
    pub fn new(offset_ns: i64) -> SimClock {
        SimClock(Arc::new(Shared {
            time: SimTime::current(),
            reading: Mutex::new(Reading::new(offset_ns)),
            rate_changed: Notify::new(),
        }))
    }

    /// See [`Reading::set_drift`]. Sleeps under way follow.
    pub fn set_drift(&self, ppm: i32) {
        self.0.with(|reading, now| reading.set_drift(now, ppm));
        self.0.rate_changed.notify_waiters();
    }

    /// See [`Reading::jump`].
    pub fn jump(&self, by_ns: i64) {
        self.0.with(|reading, _| reading.jump(by_ns));
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.0.with(|reading, now| reading.monotonic(now))
    }

    fn wall(&self) -> Duration {
        self.0.with(|reading, now| reading.wall(now))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.0.clone();
        let deadline = clock.with(|reading, now| reading.monotonic(now)) + duration;
        Box::pin(async move {
            loop {
                let rate_changed = clock.rate_changed.notified();
                let (shown, due) = clock.with(|reading, now| (reading.monotonic(now), reading.true_time_of(deadline)));
                if deadline <= shown {
                    return;
                }
                tokio::select! {
                    biased;
                    () = clock.time.alarm(due) => {}
                    () = rate_changed => {}
                }
            }
        })
    }
}
