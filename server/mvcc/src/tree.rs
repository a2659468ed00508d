//! A copy-on-write B+ tree whose nodes know a summary of what is below them.
//!
//! *Copy on write*: a clone shares every node (one reference count), and a change copies only the nodes on its path
//! that somebody else still holds. A pinned clone is a consistent snapshot for as long as it is kept.
//!
//! *Summaries*: a parent keeps, per child, the [`Summary`] of the child's entries (for keys: how many live, how recently
//! changed, how early compactable). So questions like "how many live keys are in this interval" or "which keys changed
//! since revision r" cost the depth of the tree plus the answer, not a walk over everything.
//!
//! Invariants, checked by [`Tree::check`] in tests:
//! - entries are in strictly ascending key order;
//! - `Child::first` separates: for i > 0, every key of child i is at least its `first`, every key of child i - 1 is
//!   below it. That of child 0 says nothing: its lower limit is that of its parent;
//! - every leaf is at the same depth, no node but the root is empty, none is larger than its maximum;
//! - each child's summary is the join of its entries' summaries.
//!
//! Small nodes are merged with a neighbour when both fit in one, never refilled: that bounds waste to about one half,
//! and an append to a full node starts a new one instead of splitting, which keeps ascending inserts dense.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::mem;
use core::ops::Bound;

mod build;
mod change;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use build::Builder;

/// Most entries of a leaf. Small, since copying a leaf touches the reference count of every key in it. Tests have
/// tiny nodes, so that few keys make a deep tree.
const LEAF_MAX: usize = if cfg!(test) { 4 } else { 32 };
/// Most children of an inner node.
const INNER_MAX: usize = if cfg!(test) { 4 } else { 16 };
/// Room is taken in steps of this many entries: memory follows the content, not the maximum.
const GROWTH: usize = 4;

/// What a parent knows about a set of entries. Joining is associative and commutative, `empty` is its neutral element.
pub(crate) trait Summary: Clone + PartialEq {
    /// The summary of no entries.
    fn empty() -> Self;
    /// Adds the entries summarised by `other`.
    fn join(&mut self, other: &Self);
    /// Replaces one entry's share; false when that cannot be told without looking at all entries again.
    fn replace(&mut self, old: &Self, new: &Self) -> bool;
}

/// A value that can be summarised.
pub(crate) trait Summarize {
    type Summary: Summary;
    fn summarize(&self) -> Self::Summary;
}

impl Summary for () {
    fn empty() {}
    fn join(&mut self, _: &()) {}
    fn replace(&mut self, _: &(), _: &()) -> bool {
        true
    }
}

impl Summarize for () {
    type Summary = ();
    fn summarize(&self) {}
}

#[derive(Clone)]
enum Node<K, V: Summarize> {
    Leaf(Vec<(K, V)>),
    Inner(Vec<Child<K, V>>),
}

#[derive(Clone)]
struct Child<K, V: Summarize> {
    first: K,
    summary: V::Summary,
    node: Arc<Node<K, V>>,
}

/// The tree. Cloning is O(1).
pub(crate) struct Tree<K, V: Summarize> {
    root: Arc<Node<K, V>>,
    len: usize,
}

impl<K, V: Summarize> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Tree { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V: Summarize> Node<K, V> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn summary(&self) -> V::Summary {
        let mut summary = V::Summary::empty();
        match self {
            Node::Leaf(entries) => entries.iter().for_each(|(_, value)| summary.join(&value.summarize())),
            Node::Inner(children) => children.iter().for_each(|child| summary.join(&child.summary)),
        }
        summary
    }
}

/// The child a key belongs to.
fn child_of<K: Borrow<Q>, V: Summarize, Q: Ord + ?Sized>(children: &[Child<K, V>], key: &Q) -> usize {
    // The first child takes what is below the second, whatever its own `first` says. One by one, not by halves: the
    // processor looks ahead and fetches several keys at once.
    let others = &children[1..];
    others.iter().position(|child| key < child.first.borrow()).unwrap_or(others.len())
}

/// The place of a key in a leaf, or where it would be.
fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    for (place, (found, _)) in entries.iter().enumerate() {
        match key.cmp(found.borrow()) {
            Ordering::Greater => {}
            Ordering::Equal => return Ok(place),
            Ordering::Less => return Err(place),
        }
    }
    Err(entries.len())
}

fn is_past<Q: Ord + ?Sized>(key: &Q, to: Bound<&Q>) -> bool {
    match to {
        Bound::Unbounded => false,
        Bound::Included(to) => to < key,
        Bound::Excluded(to) => to <= key,
    }
}

impl<K: Ord + Clone, V: Summarize + Clone> Tree<K, V> {
    pub fn new() -> Self {
        Tree { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The summary of all entries.
    pub fn summary(&self) -> V::Summary {
        self.root.summary()
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entry(key).map(|(_, value)| value)
    }

    /// The value of a key, and the key as it is stored.
    pub fn entry<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => node = &children[child_of(children, key)].node,
                Node::Leaf(entries) => {
                    let found = find(entries, key).ok()?;
                    let (key, value) = &entries[found];
                    return Some((key, value));
                }
            }
        }
    }

    pub fn first(&self) -> Option<(&K, &V)> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => node = &children[0].node,
                Node::Leaf(entries) => return entries.first().map(|(key, value)| (key, value)),
            }
        }
    }

    pub fn last(&self) -> Option<(&K, &V)> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => node = &children[children.len() - 1].node,
                Node::Leaf(entries) => return entries.last().map(|(key, value)| (key, value)),
            }
        }
    }

    /// The entry with the largest key that is at most `key`.
    pub fn floor<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        fn floor<'a, K: Borrow<Q>, V: Summarize, Q: Ord + ?Sized>(
            node: &'a Node<K, V>,
            key: &Q,
        ) -> Option<(&'a K, &'a V)> {
            match node {
                Node::Leaf(entries) => {
                    let after = entries.partition_point(|(k, _)| k.borrow() <= key);
                    entries[..after].last().map(|(key, value)| (key, value))
                }
                // Removals can leave a separator below its child's smallest key; then the answer is further left.
                Node::Inner(children) => {
                    children[..=child_of(children, key)].iter().rev().find_map(|child| floor(&child.node, key))
                }
            }
        }
        floor(&self.root, key)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.scan::<K, _>(None, Bound::Unbounded, |_| true)
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn insert(&mut self, key: K, value: V) {
        self.upsert::<K, ()>(&key.clone(), |slot| match slot {
            Some(old) => {
                *old = value;
                (None, ())
            }
            None => (Some((key, value)), ()),
        });
    }

    /// Changes the value of `key`; `None` when there is no such key.
    pub fn update<Q: Ord + ?Sized, R>(&mut self, key: &Q, change: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
    {
        self.upsert(key, |slot| (None, slot.map(change)))
    }
}
