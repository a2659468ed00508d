//! Reading intervals: walks that skip subtrees by their summary, and folds that take them whole.

use super::*;

/// Entries of an interval in key order, without the subtrees whose summary was not admitted.
pub(crate) struct Scan<'a, K, V: Summarize, Q: ?Sized, F> {
    inner: Vec<core::slice::Iter<'a, Child<K, V>>>,
    leaf: core::slice::Iter<'a, (K, V)>,
    to: Bound<&'a Q>,
    admit: F,
}

impl<K: Ord + Clone, V: Summarize + Clone> Tree<K, V> {
    /// Walks the entries from `from` to `to`, skipping every subtree whose summary `admit` refuses. The entries of an
    /// admitted leaf all come, so the caller looks at each for itself.
    pub fn scan<'a, Q: Ord + ?Sized, F: Fn(&V::Summary) -> bool>(
        &'a self,
        from: Option<&Q>,
        to: Bound<&'a Q>,
        admit: F,
    ) -> Scan<'a, K, V, Q, F>
    where
        K: Borrow<Q>,
    {
        let mut scan = Scan { inner: Vec::new(), leaf: [].iter(), to, admit };
        scan.enter(&self.root, from);
        scan
    }

    /// Visits an interval. A subtree that is wholly inside is offered to `whole` first, which returns true when its
    /// summary was all it needed; the other entries go to `entry`, one by one.
    pub fn fold<Q: Ord + ?Sized, B>(
        &self,
        from: Option<&Q>,
        to: Bound<&Q>,
        state: &mut B,
        whole: impl Fn(&mut B, &V::Summary) -> bool,
        entry: impl Fn(&mut B, &K, &V),
    ) where
        K: Borrow<Q>,
    {
        fold(&self.root, from, to, state, &whole, &entry);
    }
}

fn fold<K: Borrow<Q>, V: Summarize, Q: Ord + ?Sized, B>(
    node: &Node<K, V>,
    from: Option<&Q>,
    to: Bound<&Q>,
    state: &mut B,
    whole: &impl Fn(&mut B, &V::Summary) -> bool,
    entry: &impl Fn(&mut B, &K, &V),
) {
    match node {
        Node::Leaf(entries) => {
            let start = from.map_or(0, |from| entries.partition_point(|(key, _)| key.borrow() < from));
            for (key, value) in &entries[start..] {
                if is_past(key.borrow(), to) {
                    return;
                }
                entry(state, key, value);
            }
        }
        Node::Inner(children) => {
            let start = from.map_or(0, |from| child_of(children, from));
            for at in start..children.len() {
                if start < at && is_past(children[at].first.borrow(), to) {
                    return;
                }
                // A limit is passed on only to the children it cuts through.
                let from = if at == start { from } else { None };
                let next_is_inside = children.get(at + 1).is_some_and(|next| !is_past(next.first.borrow(), to));
                let to = if next_is_inside { Bound::Unbounded } else { to };
                let inside = from.is_none() && matches!(to, Bound::Unbounded);
                if !(inside && whole(state, &children[at].summary)) {
                    fold(&children[at].node, from, to, state, whole, entry);
                }
            }
        }
    }
}

impl<'a, K: Borrow<Q>, V: Summarize, Q: Ord + ?Sized, F: Fn(&V::Summary) -> bool> Scan<'a, K, V, Q, F> {
    /// Goes down to the first leaf of a subtree with keys from `from` on; not into what is not admitted.
    fn enter(&mut self, mut node: &'a Node<K, V>, from: Option<&Q>) {
        loop {
            match node {
                Node::Leaf(entries) => {
                    let start = from.map_or(0, |from| entries.partition_point(|(key, _)| key.borrow() < from));
                    self.leaf = entries[start..].iter();
                    return;
                }
                Node::Inner(children) => {
                    let start = from.map_or(0, |from| child_of(children, from));
                    self.inner.push(children[start + 1..].iter());
                    if !(self.admit)(&children[start].summary) {
                        return;
                    }
                    node = &children[start].node;
                }
            }
        }
    }
}

impl<'a, K: Borrow<Q>, V: Summarize, Q: Ord + ?Sized, F: Fn(&V::Summary) -> bool> Iterator for Scan<'a, K, V, Q, F> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                if is_past(key.borrow(), self.to) {
                    self.leaf = [].iter();
                    self.inner.clear();
                    return None;
                }
                return Some((key, value));
            }
            let Some(child) = self.inner.last_mut()?.next() else {
                self.inner.pop();
                continue;
            };
            if is_past(child.first.borrow(), self.to) {
                self.inner.clear();
                return None;
            }
            if (self.admit)(&child.summary) {
                self.enter(&child.node, None);
            }
        }
    }
}
