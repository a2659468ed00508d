//! A log whose head may be gone: positions 1, 2, 3 …, of which a prefix is known only to exist.

/// Items by position, those up to `base` forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Tail<T> {
    base: u64,
    items: Vec<T>,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Tail { base: 0, items: Vec::new() }
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
        self.items.push(item);
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
}
