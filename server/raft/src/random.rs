//! The core's own chance: election timeouts, and nothing else, drawn from a seed the shell gives.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, equal seeds give equal draws for ever.

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`. The bias of the remainder is far below what a timeout can show.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn equal_seeds_give_equal_draws_within_bounds() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let draws: [u32; 100] = core::array::from_fn(|_| a.below(10));
        assert_eq!(draws, core::array::from_fn(|_| b.below(10)));
        assert!(draws.iter().all(|&draw| draw < 10));
        assert!((0..10).all(|value| draws.contains(&value)), "every timeout is possible: {draws:?}");
    }
}
