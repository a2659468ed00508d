//! Building a tree from entries that are in order already: no search, dense nodes.

use super::*;

/// How full built nodes are: room for some inserts before the first split.
const LEAF_FILL: usize = LEAF_MAX - LEAF_MAX / 8;
const INNER_FILL: usize = INNER_MAX - INNER_MAX / 8;

/// Collects entries in strictly ascending key order.
pub(crate) struct Builder<K, V: Summarize> {
    leaves: Vec<Child<K, V>>,
    leaf: Vec<(K, V)>,
    len: usize,
}

impl<K: Ord + Clone, V: Summarize + Clone> Builder<K, V> {
    pub fn new() -> Self {
        Builder { leaves: Vec::new(), leaf: Vec::new(), len: 0 }
    }

    /// Adds an entry; its key must be above every key added before.
    pub fn push(&mut self, key: K, value: V) {
        assert!(self.leaf.last().is_none_or(|(last, _)| *last < key), "entries come in ascending order");
        if self.leaf.len() == LEAF_FILL {
            self.close_leaf();
        }
        if self.leaf.is_empty() {
            self.leaf.reserve_exact(LEAF_FILL);
        }
        self.leaf.push((key, value));
        self.len += 1;
    }

    fn close_leaf(&mut self) {
        let mut leaf = mem::take(&mut self.leaf);
        leaf.shrink_to_fit();
        let first = leaf[0].0.clone();
        let node = Node::Leaf(leaf);
        self.leaves.push(Child { first, summary: node.summary(), node: Arc::new(node) });
    }

    pub fn finish(mut self) -> Tree<K, V> {
        if !self.leaf.is_empty() {
            self.close_leaf();
        }
        let mut level = self.leaves;
        while 1 < level.len() {
            let mut above = Vec::with_capacity(level.len().div_ceil(INNER_FILL));
            let mut rest = level.into_iter();
            loop {
                let children: Vec<_> = rest.by_ref().take(INNER_FILL).collect();
                let Some(first) = children.first() else { break };
                let first = first.first.clone();
                let node = Node::Inner(children);
                above.push(Child { first, summary: node.summary(), node: Arc::new(node) });
            }
            level = above;
        }
        match level.pop() {
            Some(root) => Tree { root: root.node, len: self.len },
            None => Tree::new(),
        }
    }
}
