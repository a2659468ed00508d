use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;

use super::*;

/// Every sleep is over at once; it counts them.
#[derive(Default)]
struct Hasty(AtomicU32);

impl Clock for Hasty {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn wall(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        assert_eq!(duration, POLL_INTERVAL);
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn ticks_pass_at_once_alone_or_with_two_others_connected_within_five_seconds() {
    // Members, the flag, from which look on so many are connected: ticks, and looks taken.
    for (members, flag, connected, ticks, looks) in [
        (1, true, (0, 0), Some(9), 0),
        (1, false, (0, 0), Some(9), 0),
        (2, true, (1, 1), None, 100),
        (3, true, (1, 2), Some(8), 1),
        (3, true, (7, 2), Some(8), 7),
        (3, true, (100, 2), Some(8), 100),
        (3, true, (101, 2), None, 100),
        (3, true, (1, 1), None, 100),
        (3, false, (1, 2), None, 0),
        (5, true, (1, 2), Some(8), 1),
        (5, true, (3, 4), Some(8), 3),
    ] {
        let config = Config {
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            initial_election_tick_advance: flag,
            ..Config::default()
        };
        let clock = Arc::new(Hasty::default());
        let mut first = FirstTicks::new(&config, clock.clone(), members);
        let (from, count) = connected;
        let now = || if from <= clock.0.load(Ordering::Relaxed) { count } else { 0 };
        assert_eq!(first.due(now).now_or_never(), ticks, "{members} {flag} {connected:?}");
        assert_eq!(clock.0.load(Ordering::Relaxed), looks, "{members} {flag} {connected:?}");
        assert!(first.are_over());
        assert_eq!(first.due(now).now_or_never(), None, "once only");
    }
}

#[test]
fn the_first_tick_comes_after_one_interval_and_a_part_that_differs_between_members() {
    let tick = Duration::from_millis(100);
    let phases: Vec<Duration> = (0..1_000).map(|seed| first(seed, tick)).collect();
    assert!(phases.iter().all(|phase| (tick..tick * 2).contains(phase)));
    let early = phases.iter().filter(|phase| **phase < tick * 3 / 2).count();
    assert!((400..600).contains(&early), "{early}");
}
