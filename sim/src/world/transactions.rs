//! Transactions of everything that one may hold: guards of all kinds, both branches, reads of the past and of revisions
//! that do not exist, reads that any member may answer alone, deletes, transactions inside transactions, leases.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::{LeaseId, Revision};

use super::client::Client;

/// How deep transactions are nested at most.
const DEPTH_MAX: u32 = 2;
/// Guards at most.
const GUARDS_MAX: u64 = 3;
/// Operations of one branch at most.
const OPERATIONS_MAX: u64 = 4;
/// How far back a read looks.
const BACK_MAX: u64 = 30;
/// A revision that does not exist yet is so far ahead.
const AHEAD: i64 = 1_000_000;

/// The share of transactions that only read, each member for itself.
const LOCAL: f64 = 0.12;

/// What a transaction writes already.
#[derive(Default)]
struct Written {
    keys: BTreeSet<Bytes>,
    spans: Vec<KeyRange>,
}

impl Written {
    /// Whether the key may be written, too.
    fn one(&mut self, key: &Bytes) -> bool {
        !self.spans.iter().any(|span| span.contains(key)) && self.keys.insert(key.clone())
    }

    /// Whether all of these may be.
    fn several(&mut self, keys: &KeyRange) -> bool {
        let free = !self.keys.iter().any(|key| keys.contains(key));
        if free {
            self.spans.push(keys.clone());
        }
        free
    }
}

impl Client {
    /// A transaction of all kinds of things.
    pub(super) fn any_txn(&self) -> Txn {
        if self.chance("any-local", LOCAL) {
            return self.local_txn();
        }
        self.some_txn(DEPTH_MAX, &mut Written::default())
    }

    /// Reads only, and such as any member may answer from what it has.
    fn local_txn(&self) -> Txn {
        let read = || TxnOp::Range(Range { serializable: true, ..self.read_inside() });
        let success = (0..1 + self.below("any-local", OPERATIONS_MAX)).map(|_| read()).collect();
        let compares = (0..self.below("any-local", 2)).map(|_| self.guard()).collect();
        Txn { compares, success, failure: vec![read()] }
    }

    /// `written`: what the transaction writes already; no key may be written twice.
    fn some_txn(&self, depth: u32, written: &mut Written) -> Txn {
        let compares = (0..self.below("any", GUARDS_MAX + 1)).map(|_| self.guard()).collect();
        // Only one of the branches runs, but both are checked together with what is around them.
        let success = self.branch(depth, written);
        let failure = if self.chance("any", 0.5) { self.branch(depth, written) } else { Vec::new() };
        Txn { compares, success, failure }
    }

    fn branch(&self, depth: u32, written: &mut Written) -> Vec<TxnOp> {
        let count = 1 + self.below("any", OPERATIONS_MAX);
        (0..count).filter_map(|_| self.operation_inside(depth, written)).collect()
    }

    fn operation_inside(&self, depth: u32, written: &mut Written) -> Option<TxnOp> {
        Some(match self.below("any", 10) {
            0..4 => {
                let key = Some(self.key()).filter(|key| written.one(key))?;
                let prev_kv = self.chance("any", 0.3);
                TxnOp::Put(Put { key, value: self.value(), lease: self.some_lease(), prev_kv })
            }
            4..7 => TxnOp::Range(self.read_inside()),
            7..9 => {
                let share = self.group.knobs.txn_spans.0;
                let keys = if 0.0 < share && self.chance("any-span", share) {
                    Some(self.keys()).filter(|keys| written.several(keys))?
                } else {
                    KeyRange::one(Some(self.key()).filter(|key| written.one(key))?)
                };
                TxnOp::DeleteRange(DeleteRange { keys, prev_kv: self.chance("any", 0.5) })
            }
            _ if depth > 0 => TxnOp::Txn(Box::new(self.some_txn(depth - 1, written))),
            _ => return None,
        })
    }

    /// Most reads look at what the transaction has made so far; some at the past, which may be compacted, and a few at
    /// what does not exist: then the whole transaction must do nothing.
    fn read_inside(&self) -> Range {
        let newest = self.shared.newest.load(Ordering::Relaxed);
        let revision = match self.below("any", 10) {
            0..3 => Revision((newest - self.below("any", BACK_MAX) as i64).max(1)),
            3 => Revision((self.shared.compacted.load(Ordering::Relaxed) - 1).max(1)),
            4 if self.chance("any", 0.2) => Revision(newest + AHEAD),
            _ => Revision(0),
        };
        let count_only = self.chance("any", 0.1);
        Range { revision, count_only, ..Range::of(self.keys()) }
    }

    fn guard(&self) -> Compare {
        let relations = [Relation::Equal, Relation::Greater, Relation::Less, Relation::NotEqual];
        let newest = self.shared.newest.load(Ordering::Relaxed);
        let recent = Revision((newest - self.below("any", BACK_MAX) as i64).max(0));
        let target = match self.below("any", 6) {
            0 => Target::Version(self.below("any", 4) as i64),
            1 => Target::Created(recent),
            2 => Target::Modified(recent),
            3 => Target::Modified(Revision(0)),
            4 => Target::Value(super::wire::unique_value(self.id.0, self.below("any", 50), 0)),
            _ => Target::Lease(LeaseId::NONE),
        };
        let keys = if self.chance("any", 0.8) { KeyRange::one(self.key()) } else { self.keys() };
        Compare { keys, relation: relations[self.below("any", 4) as usize], target }
    }
}
