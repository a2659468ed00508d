//! What can be wrong with a request whatever the store holds. Asked before a request is proposed.
//!
//! The duplicate-key rule follows etcd 3.7: in one branch a key may be put once and not also be deleted, looking into
//! nested transactions, whose own two branches may share keys with each other. The order of looking is etcd's too,
//! with its gaps: an open-ended delete is not seen, and neither is a delete in a nested transaction after a nested
//! put. Such a transaction is well defined, its operations run in order.

use crate::command::{DeleteRange, Op, Put, Txn};
use crate::error::Error;
use crate::interval::End;
use crate::revision::LeaseId;
use crate::store::Store;
use alloc::collections::{BTreeMap, BTreeSet};

/// How deep transactions nest: the outer one counts as one. A deeper one has too many operations.
pub const TXN_DEPTH_MAX: usize = 8;

impl Store {
    /// What is wrong with a put.
    pub fn check_put(put: &Put) -> Result<(), Error> {
        if put.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        if put.ignore_value && !put.value.is_empty() {
            return Err(Error::ValueProvided);
        }
        if put.ignore_lease && put.lease != LeaseId::NONE {
            return Err(Error::LeaseProvided);
        }
        Ok(())
    }

    /// What is wrong with a deletion.
    pub fn check_delete(delete: &DeleteRange) -> Result<(), Error> {
        if delete.interval.start.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
    }

    /// What is wrong with a transaction. Each level may have `max_ops` operations in any of its lists, less what the
    /// levels around it have used up.
    pub fn check_txn(txn: &Txn, max_ops: usize) -> Result<(), Error> {
        check_lists(txn, max_ops, 0)?;
        changes(&txn.success)?;
        changes(&txn.failure)?;
        Ok(())
    }
}

fn check_lists(txn: &Txn, max_ops: usize, depth: usize) -> Result<(), Error> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let left = max_ops.checked_sub(ops).ok_or(Error::TooManyOps)?;
    if TXN_DEPTH_MAX <= depth {
        return Err(Error::TooManyOps);
    }
    if txn.compare.iter().any(|compare| compare.interval.start.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(query) => Store::check_range(query)?,
            Op::Put(put) => Store::check_put(put)?,
            Op::DeleteRange(delete) => Store::check_delete(delete)?,
            Op::Txn(nested) => check_lists(nested, left, depth + 1)?,
        }
    }
    Ok(())
}

/// The keys a branch may put and the keys it may delete.
#[derive(Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a [u8]>,
    /// Deleted one by one.
    points: BTreeSet<&'a [u8]>,
    /// Deleted from start up to an end, joined where they overlap.
    spans: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Changes<'a> {
    fn delete(&mut self, delete: &'a DeleteRange) {
        let start = &*delete.interval.start;
        match &delete.interval.end {
            End::Single => drop(self.points.insert(start)),
            End::Before(end) if start < &**end => self.delete_span(start, end),
            // Nothing, or an open end: see above.
            End::Before(_) | End::Open => {}
        }
    }

    fn delete_span(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        // Spans never overlap or touch, so each one joined here is gone for good: near linear in all.
        while let Some((&other_start, &other_end)) = self.spans.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.spans.remove(other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.spans.insert(start, end);
    }

    fn deletes(&self, key: &[u8]) -> bool {
        self.points.contains(key) || self.spans.range(..=key).next_back().is_some_and(|(_, end)| key < *end)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if self.deletes(key) || !self.puts.insert(key) { Err(Error::DuplicateKey) } else { Ok(()) }
    }
}

/// Collects what a list of operations changes; an error when two of them change the same key.
fn changes(ops: &[Op]) -> Result<Changes<'_>, Error> {
    let mut all = Changes::default();
    for op in ops {
        if let Op::DeleteRange(delete) = op {
            all.delete(delete);
        }
    }
    for op in ops {
        if let Op::Txn(nested) = op {
            let success = changes(&nested.success)?;
            let failure = changes(&nested.failure)?;
            success.puts.iter().try_for_each(|key| all.put(key))?;
            // Only one of the two branches runs, so what both put is put once; both see the same deletions.
            failure.puts.difference(&success.puts).try_for_each(|key| all.put(key))?;
            for branch in [success, failure] {
                all.points.extend(branch.points);
                branch.spans.into_iter().for_each(|(start, end)| all.delete_span(start, end));
            }
        }
    }
    for op in ops {
        if let Op::Put(put) = op {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}
