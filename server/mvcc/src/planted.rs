//! What only planted bugs do to a store. Nothing of the server comes here unless a bug is switched on, and a release
//! has no switch.

use crate::command::{Op, Txn};
use crate::history::History;
use crate::interval::Key;
use crate::store::Store;
use alloc::vec::Vec;
use core::ops::Bound;

impl Store {
    /// Drops the tombstones of the compaction floor itself, which a watcher from there has to see (etcd 18089). Gives
    /// how many there were.
    pub fn drop_tombstones_of_floor(&mut self) -> usize {
        let floor = self.compacted;
        let is_due = |history: &History| {
            let mut versions = history.all();
            let first = versions.next().expect("a history is not empty");
            first.at.main == floor
                && !first.version.is_live()
                && versions.next().is_none_or(|next| next.at.main > floor)
        };
        let all = self.keys.scan::<[u8], _>(None, Bound::Unbounded, |_| true);
        let due: Vec<Key> = all.filter(|(_, history)| is_due(history)).map(|(key, _)| Key::clone(key)).collect();
        for key in &due {
            let (dead, left) = self.keys.update(&**key, |history| history.compact(floor + 1)).expect("just found");
            for (stored, _) in &dead {
                self.count_out(key, stored);
            }
            if !left {
                self.keys.remove(&**key);
            }
        }
        due.len()
    }

    /// Takes the newest put for the newest revision (etcd 17780). True when there was a newer one.
    pub fn overlook_tombstones(&mut self) -> bool {
        let all = self.keys.scan::<[u8], _>(None, Bound::Unbounded, |_| true);
        let puts = all.flat_map(|(_, history)| history.all().filter(|stored| stored.version.is_live()));
        let newest = puts.map(|stored| stored.at.main).max().unwrap_or(1).max(self.compacted).max(1);
        newest < core::mem::replace(&mut self.revision, newest)
    }

    /// Claims to be the state after another entry.
    pub fn misname(&mut self, index: u64, term: u64) {
        self.applied = (index, term);
    }
}

impl Txn {
    /// It has operations of both kinds: without the reads it still does something.
    pub fn reads_and_writes(&self) -> bool {
        let all = || self.success.iter().chain(&self.failure);
        all().any(|op| matches!(op, Op::Range(_))) && all().any(|op| !matches!(op, Op::Range(_)))
    }

    /// Leaves out what only reads, and the errors that come with it (etcd 18667).
    pub fn strip_reads(&mut self) {
        for ops in [&mut self.success, &mut self.failure] {
            ops.retain(|op| !matches!(op, Op::Range(_)));
            for op in ops {
                if let Op::Txn(nested) = op {
                    nested.strip_reads();
                }
            }
        }
    }
}
