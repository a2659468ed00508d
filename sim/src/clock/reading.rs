//! The arithmetic of a clock that runs at its own rate. Told the true time; never reads one.

use std::time::Duration;

/// Wall clocks start here: 2026-01-01, 00:00 UTC.
const WALL_START: Duration = Duration::from_secs(1_767_225_600);

const MILLION: i128 = 1_000_000;

/// No run is so long.
const NEVER: Duration = Duration::from_nanos(u64::MAX);

/// How fast a clock may be wrong: it always runs forward, and at most twice as fast.
const DRIFT_PPM_MAX: i32 = 999_999;

/// The state of one member's clocks.
#[derive(Clone, Debug)]
pub struct Reading {
    /// True time at which the rate last changed, and what the monotonic clock showed then.
    since: Duration,
    shown: Duration,
    drift_ppm: i32,
    /// Wall clock minus monotonic clock, in nanoseconds.
    wall_ahead: i128,
}

impl Reading {
    /// Clocks that start right, apart from `offset_ns` on the wall clock.
    pub fn new(offset_ns: i64) -> Reading {
        Reading {
            since: Duration::ZERO,
            shown: Duration::ZERO,
            drift_ppm: 0,
            wall_ahead: WALL_START.as_nanos() as i128 + i128::from(offset_ns),
        }
    }

    /// From `now` on a second of this clock takes `1 / (1 + ppm / 10⁶)` true seconds.
    pub fn set_drift(&mut self, now: Duration, ppm: i32) {
        self.shown = self.monotonic(now);
        self.since = now;
        self.drift_ppm = ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
    }

    /// Moves the wall clock.
    pub fn jump(&mut self, by_ns: i64) {
        self.wall_ahead += i128::from(by_ns);
    }

    /// What the monotonic clock shows at true time `now`.
    pub fn monotonic(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since);
        if self.drift_ppm == 0 {
            return self.shown + passed; // Almost always, and a division of 128 bits less.
        }
        let passed = passed.as_nanos() as i128;
        let shown = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        self.shown + Duration::from_nanos(u64::try_from(shown).expect("a run is shorter than 500 years"))
    }

    /// What the wall clock shows at true time `now`.
    pub fn wall(&self, now: Duration) -> Duration {
        let nanos = self.monotonic(now).as_nanos() as i128 + self.wall_ahead;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// The first true time at which the monotonic clock shows `shown`, if the rate stays.
    pub fn true_time_of(&self, shown: Duration) -> Duration {
        let left = shown.saturating_sub(self.shown);
        if self.drift_ppm == 0 {
            return self.since + left.min(NEVER);
        }
        let left = left.as_nanos() as i128 * MILLION;
        let rate = MILLION + i128::from(self.drift_ppm);
        let needed = (left + rate - 1) / rate;
        self.since + u64::try_from(needed).map_or(NEVER, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fast_clock_gains_and_a_slow_clock_loses() {
        for (ppm, shown_ms) in [(0, 10_000), (100_000, 11_000), (-100_000, 9_000), (i32::MAX, 19_999), (i32::MIN, 0)] {
            let mut clock = Reading::new(0);
            clock.set_drift(Duration::ZERO, ppm);
            assert_eq!(clock.monotonic(SECOND * 10).as_millis(), shown_ms, "{ppm} ppm");
        }
    }

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let mut clock = Reading::new(250_000_000);
        assert_eq!(clock.wall(SECOND), WALL_START + SECOND + Duration::from_millis(250));
        clock.jump(-3_600_000_000_000);
        assert_eq!(clock.monotonic(SECOND), SECOND);
        assert_eq!(clock.wall(SECOND), WALL_START + SECOND + Duration::from_millis(250) - SECOND * 3600);
    }

    proptest! {
        #[test]
        fn the_monotonic_clock_never_goes_back_and_sleeps_end_when_due(
            changes in prop::collection::vec((0u64..5_000_000_000, -400_000i32..400_000), 1..8),
            sleep in 1u64..10_000_000_000,
        ) {
            let (mut clock, mut now, mut last) = (Reading::new(0), Duration::ZERO, Duration::ZERO);
            for (step, ppm) in changes {
                now += Duration::from_nanos(step);
                prop_assert!(last <= clock.monotonic(now));
                last = clock.monotonic(now);
                clock.set_drift(now, ppm);
                prop_assert_eq!(clock.monotonic(now), last);
            }
            let deadline = last + Duration::from_nanos(sleep);
            let at = clock.true_time_of(deadline);
            prop_assert!(deadline <= clock.monotonic(at));
            prop_assert!(clock.monotonic(at - Duration::from_nanos(2)) < deadline);
        }
    }
}
