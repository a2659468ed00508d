//! Short hashes along a run, close enough to each other to say where two runs parted, and never many.

use serde::{Deserialize, Serialize};

use super::hash::Hash128;

/// Events between two marks, at first.
const EVERY: u64 = 16;
/// So many marks at most: one more, and every second one goes.
const MARKS_MAX: usize = 1024;

/// The chain's hash after every so many events, shortened to 32 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Events between two marks: 16, doubled as often as it took.
    pub every: u64,
    /// The hashes.
    pub hashes: Vec<u32>,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { every: EVERY, hashes: Vec::new() }
    }
}

impl Marks {
    /// Takes the hash after so many events.
    pub fn take(&mut self, events: u64, hash: impl FnOnce() -> Hash128) {
        if !events.is_multiple_of(self.every) {
            return;
        }
        self.hashes.push(hash().0 as u32);
        if MARKS_MAX < self.hashes.len() {
            *self = self.coarser(2 * self.every);
        }
    }

    /// In how many events from the first on two runs are the same, as far as marks know, and after how many they are
    /// not any more; none when every mark that both have is equal.
    pub fn parting(&self, other: &Marks) -> Option<(u64, u64)> {
        let every = self.every.max(other.every);
        let (a, b) = (self.coarser(every), other.coarser(every));
        let same = a.hashes.iter().zip(&b.hashes).take_while(|(a, b)| a == b).count() as u64;
        let is_parted = same < a.hashes.len().min(b.hashes.len()) as u64;
        is_parted.then_some((same * every, (same + 1) * every))
    }

    /// How many events equal marks speak for, when those of the shorter run are all equal.
    pub fn reach(&self, other: &Marks) -> u64 {
        let every = self.every.max(other.every);
        every * self.coarser(every).hashes.len().min(other.coarser(every).hashes.len()) as u64
    }

    fn coarser(&self, every: u64) -> Marks {
        let step = (every / self.every.max(1)).max(1) as usize;
        Marks { every, hashes: self.hashes.iter().skip(step - 1).step_by(step).copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: u64, parted_at: u64) -> Marks {
        let mut marks = Marks::default();
        for event in 1..=events {
            marks.take(event, || Hash128(u128::from(if parted_at <= event { !event } else { event })));
        }
        marks
    }

    #[test]
    fn marks_stay_few_and_say_where_two_runs_part_whatever_their_lengths() {
        for events in [0, 15, 16, 1_000, 16_384, 16_400, 1_000_000] {
            let marks = of(events, u64::MAX);
            assert!(marks.hashes.len() <= MARKS_MAX, "{events}");
            assert_eq!(marks.hashes.len() as u64, events / marks.every, "{events}");
            assert_eq!(marks.parting(&of(20_000, u64::MAX)), None, "{events}");
        }
        assert_eq!((of(16_384, u64::MAX).every, of(16_400, u64::MAX).every), (16, 32));
        assert_eq!(of(1_000, u64::MAX).parting(&of(1_000, 100)), Some((96, 112)));
        assert_eq!(of(1_000, u64::MAX).parting(&of(40_000, 100)), Some((64, 128)));
        assert_eq!(of(1_000, u64::MAX).reach(&of(40_000, u64::MAX)), 960);
    }
}
