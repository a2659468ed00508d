//! Which watchers an event may be for.
//!
//! Watchers of one key are found by that key. The others are kept in order of their start, in a tree whose summaries
//! say how far the watchers below reach: an interval tree, so a key finds those around it without asking all.

use super::WatcherId;
use crate::interval::{End, Interval, Key};
use crate::tree::{Summarize, Summary, Tree};
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

/// How far intervals reach. In order: nowhere, up to a key, to the end of all keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Nowhere,
    Before(Key),
    Everywhere,
}

impl Reach {
    fn is_past(&self, key: &[u8]) -> bool {
        match self {
            Reach::Nowhere => false,
            Reach::Before(end) => *key < **end,
            Reach::Everywhere => true,
        }
    }
}

impl Summary for Reach {
    fn empty() -> Reach {
        Reach::Nowhere
    }

    fn join(&mut self, other: &Reach) {
        if *self < *other {
            *self = other.clone();
        }
    }

    fn replace(&mut self, old: &Reach, new: &Reach) -> bool {
        if *self <= *new {
            *self = new.clone();
            return true;
        }
        *old < *self
    }
}

impl Summarize for Reach {
    type Summary = Reach;
    fn summarize(&self) -> Reach {
        self.clone()
    }
}

/// The watchers by what they watch.
pub(super) struct Index {
    single: BTreeMap<Key, BTreeSet<WatcherId>>,
    wide: Tree<(Key, WatcherId), Reach>,
}

impl Default for Index {
    fn default() -> Self {
        Index { single: BTreeMap::new(), wide: Tree::new() }
    }
}

impl Index {
    pub fn insert(&mut self, interval: &Interval, id: WatcherId) {
        let start = Key::clone(&interval.start);
        let reach = match &interval.end {
            End::Single => {
                self.single.entry(start).or_default().insert(id);
                return;
            }
            End::Open => Reach::Everywhere,
            End::Before(end) => Reach::Before(Key::clone(end)),
        };
        self.wide.insert((start, id), reach);
    }

    pub fn remove(&mut self, interval: &Interval, id: WatcherId) {
        if interval.end != End::Single {
            self.wide.remove(&(Key::clone(&interval.start), id));
        } else if let Some(watchers) = self.single.get_mut(&interval.start) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.single.remove(&interval.start);
            }
        }
    }

    /// Calls `found` for each watcher whose interval contains `key`.
    pub fn each(&self, key: &Key, mut found: impl FnMut(WatcherId)) {
        self.single.get(key).into_iter().flatten().copied().for_each(&mut found);
        let last = (Key::clone(key), WatcherId(u64::MAX));
        let scan = self.wide.scan(None, Bound::Included(&last), |reach| reach.is_past(key));
        scan.filter(|(_, reach)| reach.is_past(key)).for_each(|((_, id), _)| found(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval() -> impl Strategy<Value = Interval> {
        let key = prop::collection::vec(0..4u8, 1..3);
        let end = prop_oneof![Just(Vec::new()), Just(std::vec![0]), prop::collection::vec(0..4u8, 1..3)];
        (key, end).prop_map(|(key, end)| Interval::from_wire(&key, &end))
    }

    proptest! {
        #[test]
        fn finds_exactly_the_watchers_around_a_key(
            intervals in prop::collection::vec((interval(), any::<bool>()), 0..120),
            key in prop::collection::vec(0..4u8, 1..3),
        ) {
            let mut index = Index::default();
            for (id, (interval, _)) in (0..).zip(&intervals) {
                index.insert(interval, WatcherId(id));
            }
            for (id, (interval, stays)) in (0..).zip(&intervals) {
                if !stays {
                    index.remove(interval, WatcherId(id));
                }
            }
            index.wide.check();
            let mut found = Vec::new();
            index.each(&Key::from(key.as_slice()), |id| found.push(id.0));
            found.sort_unstable();
            let expected: Vec<u64> = (0..)
                .zip(&intervals)
                .filter(|(_, (interval, stays))| *stays && interval.contains(&key))
                .map(|(id, _)| id)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
