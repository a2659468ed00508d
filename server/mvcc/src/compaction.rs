//! Compaction: raising the floor, and dropping the versions below it that nothing can read any more.
//!
//! The floor is raised at once. The dropping is done in bounded steps, each finding its work by the summaries of the
//! index (the lowest floor at which a subtree has something to drop), so it costs what it drops, not the size of the
//! store. All steps run inside the command that raised the floor: the state hash covers every stored version, so when
//! a version goes must be part of the replicated state, and "at once" is the simplest answer that is.

use crate::command::{Outcome, Response};
use crate::error::Error;
use crate::interval::Key;
use crate::revision::Revision;
use crate::store::Store;
use crate::value::ValueRef;
use alloc::vec::Vec;
use core::ops::Bound;

/// Keys one step looks at.
const STEP_KEYS: usize = 1024;

impl Store {
    pub(crate) fn apply_compact(&mut self, revision: Revision) -> Outcome {
        if revision <= self.compacted() {
            return self.refused(Error::Compacted { compacted: self.compacted() });
        }
        if self.revision() < revision {
            return self.refused(Error::FutureRevision { current: self.revision() });
        }
        self.compacted = revision.0;
        let mut freed = Vec::new();
        while self.step(STEP_KEYS, &mut freed) {}
        let mut outcome = self.done(Response::Compact, None);
        outcome.freed = freed;
        outcome
    }

    /// Drops what is dead in at most `limit` keys. False when nothing is left to drop.
    fn step(&mut self, limit: usize, freed: &mut Vec<ValueRef>) -> bool {
        let floor = self.compacted;
        let scan = self.keys.scan::<[u8], _>(None, Bound::Unbounded, |keys| keys.dead_at <= floor);
        let with_dead = scan.filter(|(_, history)| history.dead_at() <= floor);
        let keys: Vec<Key> = with_dead.take(limit).map(|(key, _)| Key::clone(key)).collect();
        for key in &keys {
            let (dead, left) = self.keys.update(&**key, |history| history.compact(floor)).expect("just found");
            assert!(!dead.is_empty(), "a key is visited when it has dead versions");
            for (stored, frees_value) in &dead {
                self.count_out(key, stored);
                freed.extend(frees_value.then(|| stored.version.value()));
            }
            if !left {
                self.keys.remove(&**key);
            }
        }
        keys.len() == limit
    }
}
