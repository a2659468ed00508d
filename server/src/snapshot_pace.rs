//! How fast snapshots may leave this member: so many bytes per second over all transfers together.
//!
//! Whoever sends books its bytes and is told when it may send them. Nothing is saved up while nobody sends, so there
//! are no bursts beyond one piece per transfer.

use std::sync::Mutex;
use std::time::Duration;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Pace {
    free_from: Mutex<Duration>,
}

impl Pace {
    /// Books `bytes` at `rate` bytes per second (0: no limit), and says when they may be sent.
    pub fn book(&self, bytes: usize, rate: u64, now: Duration) -> Duration {
        if rate == 0 {
            return now;
        }
        let mut free_from = self.free_from.lock().expect("not poisoned");
        let begin = now.max(*free_from);
        *free_from = begin + Duration::from_nanos((bytes as u128 * 1_000_000_000 / u128::from(rate)) as u64);
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_all_who_send() {
        let pace = Pace::default();
        let second = Duration::from_secs;
        assert_eq!(pace.book(2_000, 1_000, second(5)), second(5));
        assert_eq!(pace.book(1_000, 1_000, second(5)), second(7));
        assert_eq!(pace.book(500, 1_000, second(9)), second(9), "silence is not saved up");
        assert_eq!(pace.book(u32::MAX as usize, 0, second(9)), second(9), "no limit");
        assert_eq!(pace.book(1, 1_000, second(9)), Duration::from_millis(9_500));
    }
}
