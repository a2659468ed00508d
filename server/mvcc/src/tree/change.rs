//! Insert, change, remove: one descent each, copying what is shared, mending summaries on the way back.

use super::*;

/// What one change did to the entry it touched, for the summaries above it.
struct Delta<S> {
    old: S,
    new: S,
    /// A new right neighbour of the node, when it was split.
    split: bool,
}

impl<K: Ord + Clone, V: Summarize + Clone> Tree<K, V> {
    /// Shows `change` the value of `key`, to be changed in place, or `None`; then it may return an entry to insert,
    /// whose key must be equal to `key`.
    pub fn upsert<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        change: impl FnOnce(Option<&mut V>) -> (Option<(K, V)>, R),
    ) -> R
    where
        K: Borrow<Q>,
    {
        let mut inserted = false;
        let (right, _, result) = upsert(&mut self.root, key, change, &mut inserted);
        self.len += usize::from(inserted);
        if let Some(right) = right {
            let left = mem::replace(&mut self.root, Arc::new(Node::Inner(Vec::new())));
            let left = child(left);
            self.root = Arc::new(Node::Inner(alloc::vec![left, right]));
        }
        result
    }

    /// Removes `key` and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?; // An absent key must not copy a path.
        let removed = remove(&mut self.root, key);
        self.len -= 1;
        while let Node::Inner(children) = &*self.root {
            match children.len() {
                0 => self.root = Arc::new(Node::Leaf(Vec::new())),
                1 => self.root = Arc::clone(&children[0].node),
                _ => break,
            }
        }
        Some(removed)
    }
}

/// A child for a node that has just been made.
fn child<K: Clone, V: Summarize>(node: Arc<Node<K, V>>) -> Child<K, V> {
    let first = match &*node {
        Node::Leaf(entries) => entries[0].0.clone(),
        Node::Inner(children) => children[0].first.clone(),
    };
    Child { first, summary: node.summary(), node }
}

type Upserted<K, V, R> = (Option<Child<K, V>>, Delta<<V as Summarize>::Summary>, R);

fn upsert<K: Ord + Clone + Borrow<Q>, V: Summarize + Clone, Q: Ord + ?Sized, R>(
    node: &mut Arc<Node<K, V>>,
    key: &Q,
    change: impl FnOnce(Option<&mut V>) -> (Option<(K, V)>, R),
    inserted: &mut bool,
) -> Upserted<K, V, R> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => match find(entries, key) {
            Ok(found) => {
                let value = &mut entries[found].1;
                let old = value.summarize();
                let (_, result) = change(Some(value));
                (None, Delta { old, new: value.summarize(), split: false }, result)
            }
            Err(place) => {
                let (entry, result) = change(None);
                let Some(entry) = entry else {
                    return (None, Delta { old: V::Summary::empty(), new: V::Summary::empty(), split: false }, result);
                };
                debug_assert!(entry.0.borrow() == key, "an entry is inserted under its own key");
                *inserted = true;
                let new = entry.1.summarize();
                let right = insert_at(entries, place, entry, LEAF_MAX).map(|right| child(Arc::new(Node::Leaf(right))));
                let split = right.is_some();
                (right, Delta { old: V::Summary::empty(), new, split }, result)
            }
        },
        Node::Inner(children) => {
            let at = child_of(children, key);
            let below = &mut children[at];
            let (right, delta, result) = upsert(&mut below.node, key, change, inserted);
            if delta.split || !below.summary.replace(&delta.old, &delta.new) {
                below.summary = below.node.summary();
            }
            let delta = Delta { split: false, ..delta };
            let Some(right) = right else { return (None, delta, result) };
            match insert_at(children, at + 1, right, INNER_MAX) {
                None => (None, delta, result),
                Some(right) => (Some(child(Arc::new(Node::Inner(right)))), Delta { split: true, ..delta }, result),
            }
        }
    }
}

/// Inserts at `place`; when the node is full, returns its new right neighbour.
fn insert_at<T>(items: &mut Vec<T>, place: usize, item: T, max: usize) -> Option<Vec<T>> {
    if items.len() < max {
        reserve(items);
        items.insert(place, item);
        return None;
    }
    if place == items.len() {
        let mut right = Vec::with_capacity(GROWTH);
        right.push(item);
        return Some(right);
    }
    let mut right = items.split_off(max / 2);
    items.shrink_to(items.len() + GROWTH);
    let (half, place) = if place <= max / 2 { (items, place) } else { (&mut right, place - max / 2) };
    reserve(half);
    half.insert(place, item);
    Some(right)
}

fn reserve<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact(GROWTH);
    }
}

/// Removes a key that is there.
fn remove<K: Ord + Clone + Borrow<Q>, V: Summarize + Clone, Q: Ord + ?Sized>(node: &mut Arc<Node<K, V>>, key: &Q) -> V {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let found = find(entries, key).expect("the key was found before");
            let (_, value) = entries.remove(found);
            entries.shrink_to(entries.len() + GROWTH);
            value
        }
        Node::Inner(children) => {
            let at = child_of(children, key);
            let below = &mut children[at];
            let removed = remove(&mut below.node, key);
            if !below.summary.replace(&removed.summarize(), &V::Summary::empty()) {
                below.summary = below.node.summary();
            }
            mend(children, at);
            removed
        }
    }
}

/// Drops a child that became empty; merges one that became small with a neighbour when both fit in one node.
fn mend<K: Ord + Clone, V: Summarize + Clone>(children: &mut Vec<Child<K, V>>, at: usize) {
    let len = children[at].node.len();
    if len == 0 {
        children.remove(at);
        return;
    }
    let max = if matches!(*children[at].node, Node::Leaf(_)) { LEAF_MAX } else { INNER_MAX };
    if max / 4 < len {
        return;
    }
    // Merged nodes keep room for a quarter more, so that the next insert does not split them again.
    let fits = |a: usize, b: usize| children[a].node.len() + children[b].node.len() <= max * 3 / 4;
    if at + 1 < children.len() && fits(at, at + 1) {
        merge(children, at);
    } else if 0 < at && fits(at - 1, at) {
        merge(children, at - 1);
    }
}

/// Moves the entries of child `left + 1` to the end of child `left`.
fn merge<K: Ord + Clone, V: Summarize + Clone>(children: &mut Vec<Child<K, V>>, left: usize) {
    let right = children.remove(left + 1);
    let left = &mut children[left];
    left.summary.join(&right.summary);
    match (Arc::make_mut(&mut left.node), Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(entries), Node::Leaf(more)) => {
            entries.reserve_exact(more.len());
            entries.extend(more);
        }
        (Node::Inner(children), Node::Inner(mut more)) => {
            // The moved first child had no limit of its own; its node's separator becomes it.
            more[0].first = right.first;
            children.reserve_exact(more.len());
            children.extend(more);
        }
        _ => unreachable!("neighbours are at the same depth"),
    }
}
