//! The tree against the standard map, with every invariant checked after every step.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// How many, and the largest: one part that adds up and one that does not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Totals {
    count: u64,
    max: u32,
}

impl Summary for Totals {
    fn empty() -> Self {
        Totals { count: 0, max: 0 }
    }
    fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.max = self.max.max(other.max);
    }
    fn replace(&mut self, old: &Self, new: &Self) -> bool {
        self.count = self.count - old.count + new.count;
        if self.max <= new.max {
            self.max = new.max;
            return true;
        }
        old.max < self.max
    }
}

impl Summarize for u32 {
    type Summary = Totals;
    fn summarize(&self) -> Totals {
        Totals { count: u64::from(self % 2), max: *self }
    }
}

impl<K: Ord + Clone + core::fmt::Debug, V: Summarize + Clone> Tree<K, V>
where
    V::Summary: core::fmt::Debug,
{
    /// Asserts every invariant of the tree.
    pub(crate) fn check(&self) {
        fn check<K: Ord + core::fmt::Debug, V: Summarize>(
            node: &Node<K, V>,
            lower: Option<&K>,
            upper: Option<&K>,
            root: bool,
        ) -> (usize, usize)
        where
            V::Summary: core::fmt::Debug,
        {
            assert!(root || 0 < node.len());
            match node {
                Node::Leaf(entries) => {
                    assert!(entries.len() <= LEAF_MAX);
                    assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
                    assert!(entries.iter().all(|(key, _)| lower.is_none_or(|lower| lower <= key)), "{lower:?}");
                    assert!(entries.iter().all(|(key, _)| upper.is_none_or(|upper| key < upper)), "{upper:?}");
                    (1, entries.len())
                }
                Node::Inner(children) => {
                    assert!(children.len() <= INNER_MAX);
                    assert!(!root || 2 <= children.len(), "a root has a choice to make");
                    let (mut depth, mut len) = (0, 0);
                    for (at, child) in children.iter().enumerate() {
                        let lower = if at == 0 { lower } else { Some(&child.first) };
                        let upper = children.get(at + 1).map_or(upper, |next| Some(&next.first));
                        let (below, more) = check(&child.node, lower, upper, false);
                        assert!(at == 0 || depth == below, "leaves are at one depth");
                        assert_eq!(child.summary, child.node.summary());
                        depth = below;
                        len += more;
                    }
                    (depth + 1, len)
                }
            }
        }
        let (depth, len) = check(&self.root, None, None, true);
        assert_eq!(len, self.len);
        assert!(depth < 20, "depth {depth} for {len} entries");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u32),
    /// A run of neighbours, as a prefix being filled.
    Fill(u16, u16),
    Update(u16, u32),
    Remove(u16),
    /// Removes a whole stretch.
    Clear(u16, u16),
    Pin,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2000u16, any::<u32>()).prop_map(|(k, v)| Step::Insert(k, v)),
        2 => (0..2000u16, 1..150u16).prop_map(|(k, n)| Step::Fill(k, n)),
        4 => (0..2000u16, any::<u32>()).prop_map(|(k, v)| Step::Update(k, v)),
        8 => (0..2000u16).prop_map(Step::Remove),
        2 => (0..2000u16, 1..400u16).prop_map(|(k, n)| Step::Clear(k, n)),
        1 => Just(Step::Pin),
    ]
}

fn totals<'a>(entries: impl Iterator<Item = (&'a u16, &'a u32)>) -> Totals {
    let mut totals = Totals::empty();
    entries.for_each(|(_, value)| totals.join(&value.summarize()));
    totals
}

fn compare(tree: &Tree<u16, u32>, map: &BTreeMap<u16, u32>, bounds: &[(u16, u16)]) {
    tree.check();
    assert_eq!(tree.len(), map.len());
    assert!(tree.iter().eq(map.iter()));
    assert_eq!(tree.first(), map.first_key_value());
    assert_eq!(tree.last(), map.last_key_value());
    assert_eq!(tree.summary(), totals(map.iter()));
    for &(from, width) in bounds {
        let to = from.saturating_add(width);
        assert_eq!(tree.get(&from), map.get(&from));
        assert_eq!(tree.floor(&from), map.range(..=from).next_back());
        for bound in [Bound::Excluded(&to), Bound::Included(&to), Bound::Unbounded] {
            let expected = || map.range((Bound::Included(&from), bound));
            assert!(tree.scan(Some(&from), bound, |_| true).eq(expected()));
            // What a pruned walk leaves out must be even-numbered values only: subtrees without an odd one.
            let odd = |entry: &(&u16, &u32)| entry.1 % 2 == 1;
            let pruned = tree.scan(Some(&from), bound, |totals| 0 < totals.count);
            assert!(pruned.filter(odd).eq(expected().filter(odd)));
            let mut measured = Totals::empty();
            let whole = |all: &mut Totals, some: &Totals| {
                all.join(some);
                true
            };
            let entry = |all: &mut Totals, _: &u16, value: &u32| all.join(&value.summarize());
            tree.fold(Some(&from), bound, &mut measured, whole, entry);
            assert_eq!(measured, totals(expected()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn behaves_as_a_sorted_map(
        steps in prop::collection::vec(step(), 1..120),
        bounds in prop::collection::vec((0..2100u16, 0..700u16), 1..6),
    ) {
        let (mut tree, mut map) = (Tree::<u16, u32>::new(), BTreeMap::new());
        let mut pinned = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key, value) => {
                    tree.insert(key, value);
                    map.insert(key, value);
                }
                Step::Fill(from, count) => for key in from..from + count {
                    tree.insert(key, u32::from(key));
                    map.insert(key, u32::from(key));
                },
                Step::Update(key, value) => {
                    let changed = tree.update(&key, |old| mem::replace(old, value));
                    let expected = map.get_mut(&key).map(|old| mem::replace(old, value));
                    prop_assert_eq!(changed, expected);
                }
                Step::Remove(key) => prop_assert_eq!(tree.remove(&key), map.remove(&key)),
                Step::Clear(from, count) => for key in from..from + count {
                    prop_assert_eq!(tree.remove(&key), map.remove(&key));
                },
                Step::Pin => pinned.push((tree.clone(), map.clone())),
            }
            tree.check();
        }
        pinned.push((tree, map));
        for (tree, map) in &pinned {
            compare(tree, map, &bounds);
        }
    }

    #[test]
    fn building_in_order_is_inserting(keys in prop::collection::btree_set(any::<u16>(), 0..3000)) {
        let map: BTreeMap<u16, u32> = keys.iter().map(|&key| (key, u32::from(key))).collect();
        let mut builder = Builder::new();
        map.iter().for_each(|(&key, &value)| builder.push(key, value));
        let mut tree = builder.finish();
        compare(&tree, &map, &[(0, 100), (1000, 30000)]);
        for key in keys.iter().step_by(3) {
            tree.remove(key);
            tree.check();
        }
    }
}

#[test]
fn ascending_inserts_leave_full_nodes() {
    let mut tree = Tree::<u32, u32>::new();
    (0..10_000).for_each(|key| tree.insert(key, key));
    fn leaves<K, V: Summarize>(node: &Node<K, V>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(children) => children.iter().map(|child| leaves(&child.node)).sum(),
        }
    }
    assert_eq!(leaves(&tree.root), 10_000usize.div_ceil(LEAF_MAX));
}

#[test]
fn keys_below_every_separator_are_found() {
    let (mut tree, mut map) = (Tree::<u16, u32>::new(), BTreeMap::new());
    for key in (0..300).rev().chain(300..600) {
        tree.insert(key, 1);
        map.insert(key, 1);
        compare(&tree, &map, &[(key, 50)]);
    }
    for key in (0..600).step_by(7).chain((0..600).rev()) {
        assert_eq!(tree.remove(&key), map.remove(&key));
        tree.check();
    }
}

#[test]
fn a_clone_does_not_see_later_changes() {
    let mut tree = Tree::<u16, u32>::new();
    (0..500).for_each(|key| tree.insert(key, 1));
    let pinned = tree.clone();
    (0..500).for_each(|key| assert_eq!(tree.remove(&key), Some(1)));
    assert_eq!(tree.len(), 0);
    assert_eq!(pinned.len(), 500);
    assert!(pinned.iter().all(|(_, value)| *value == 1));
}
