//! Results in the order in which their runs began, whichever ends first.

use std::collections::BTreeMap;

/// Results that wait for those before them.
#[derive(Debug)]
pub struct InOrder<T> {
    begun: u64,
    next: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> InOrder<T> {
        InOrder { begun: 0, next: 0, waiting: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// The number of a run that begins.
    pub fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.begun - 1
    }

    /// So many have begun and were not handed on.
    pub fn open(&self) -> u64 {
        self.begun - self.next
    }

    /// A run has ended.
    pub fn put(&mut self, number: u64, result: T) {
        self.waiting.insert(number, result);
    }

    /// The next result, if its run has ended.
    pub fn pop(&mut self) -> Option<T> {
        let result = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_early_waits() {
        let mut order = InOrder::default();
        let numbers: Vec<u64> = (0..3).map(|_| order.begin()).collect();
        order.put(numbers[2], 'c');
        assert_eq!((order.pop(), order.open()), (None, 3));
        order.put(numbers[0], 'a');
        assert_eq!((order.pop(), order.pop()), (Some('a'), None));
        order.put(numbers[1], 'b');
        assert_eq!((order.pop(), order.pop(), order.open()), (Some('b'), Some('c'), 0));
    }
}
