//! A log whose head may be gone: positions 1, 2, 3 …, of which a prefix is known only to exist.

use std::collections::VecDeque;

/// So many of the newest positions of a log are remembered: a run that goes on for ever needs no more memory for it. What
/// a member says about older ones is believed.
pub(crate) const POSITIONS_KEPT: usize = 1 << 15;

/// Items by position, those up to `base` forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Tail<T> {
    base: u64,
    items: VecDeque<T>,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Tail { base: 0, items: VecDeque::new() }
    }
}

impl<T: Copy> Tail<T> {
    /// The last position.
    pub fn last(&self) -> u64 {
        self.base + self.items.len() as u64
    }

    /// The last forgotten position.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The item, unless forgotten or past the end.
    pub fn get(&self, position: u64) -> Option<T> {
        self.items.get(position.checked_sub(self.base + 1)? as usize).copied()
    }

    /// Puts an item at `position` and drops what came after. `false`: that would leave a hole or touch the forgotten.
    #[must_use]
    pub fn put(&mut self, position: u64, item: T) -> bool {
        if position <= self.base || self.last() + 1 < position {
            return false;
        }
        self.truncate(position - 1);
        self.items.push_back(item);
        true
    }

    /// Drops everything after `position`.
    pub fn truncate(&mut self, position: u64) {
        self.items.truncate(position.saturating_sub(self.base) as usize);
    }

    /// Forgets everything and goes on after `base`.
    pub fn restart(&mut self, base: u64) {
        self.base = base;
        self.items.clear();
    }

    /// Forgets the oldest item when there are more than [`POSITIONS_KEPT`]: what it was.
    pub fn forget(&mut self) -> Option<T> {
        if self.items.len() <= POSITIONS_KEPT {
            return None;
        }
        self.base += 1;
        self.items.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_goes_on_for_ever_remembers_its_end() {
        let mut tail = Tail::default();
        for position in 1..=3 * POSITIONS_KEPT as u64 {
            assert!(tail.put(position, position));
            assert!(tail.forget().is_none_or(|gone| gone + POSITIONS_KEPT as u64 == position));
        }
        let last = 3 * POSITIONS_KEPT as u64;
        assert_eq!((tail.last(), tail.base()), (last, 2 * POSITIONS_KEPT as u64));
        assert_eq!((tail.get(last), tail.get(tail.base())), (Some(last), None));
        assert!(!tail.put(tail.base(), 0), "what is forgotten cannot be replaced");
        tail.truncate(last - 1);
        assert_eq!((tail.last(), tail.get(last)), (last - 1, None));
    }
}
