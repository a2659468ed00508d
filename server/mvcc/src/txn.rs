//! Transactions: decide, check, do.
//!
//! 1. *Decide*: all comparisons are evaluated against the store as it is, those of nested transactions too. What an
//!    earlier operation of the same transaction writes does not change a decision.
//! 2. *Check*: the operations of the decided branches are checked against the same state, in order; the first that
//!    cannot be done refuses the transaction.
//! 3. *Do*: in order, each operation seeing what those before it did, all in one revision. What the check cannot
//!    foresee (an operation that takes away what a later one needs) refuses the transaction here, and the [`Writer`]
//!    undoes what was done.
//!
//! Every step is a function of the state and the transaction, so all members refuse and accept alike.

use crate::command::{Compare, CompareResult, CompareTarget, Op, Outcome, Response, Txn};
use crate::error::Error;
use crate::history::Row;
use crate::revision::Revision;
use crate::store::Store;
use crate::txn_check::TXN_DEPTH_MAX;
use crate::value::{self, Values};
use crate::write::Writer;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// For each transaction, in the order in which they are met, whether its comparisons hold.
struct Decisions {
    all: Vec<bool>,
    next: usize,
}

impl Decisions {
    fn rewind(&mut self) -> &mut Decisions {
        self.next = 0;
        self
    }

    /// Takes the decision of the transaction that is met now, and with it the branch.
    fn branch<'a>(&mut self, txn: &'a Txn) -> (bool, &'a [Op]) {
        let succeeded = self.all[self.next];
        self.next += 1;
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }
}

impl Store {
    /// Answers a transaction of ranges without changing anything: the same answer as applying it would give. Writes
    /// in it are answered as if they were done, and forgotten.
    pub fn read_only_txn<V: Values>(&self, txn: &Txn, values: &V) -> Result<Result<Response, Error>, V::Error> {
        let mut store = self.clone();
        let mut writer = Writer::begin(&mut store);
        writer.txn(txn, values)
    }

    pub(crate) fn apply_txn<V: Values>(&mut self, txn: &Txn, values: &V) -> Result<Outcome, V::Error> {
        let mut writer = Writer::begin(self);
        let result = writer.txn(txn, values);
        match result {
            Ok(Ok(response)) => {
                let events = writer.commit();
                Ok(self.done(response, events))
            }
            Ok(Err(error)) => {
                writer.rollback();
                Ok(self.refused(error))
            }
            Err(error) => {
                writer.rollback();
                Err(error)
            }
        }
    }

    fn decide<V: Values>(
        &self,
        txn: &Txn,
        depth: usize,
        decisions: &mut Decisions,
        values: &V,
    ) -> Result<Result<(), Error>, V::Error> {
        if TXN_DEPTH_MAX <= depth {
            return Ok(Err(Error::TooManyOps));
        }
        let mut succeeded = true;
        for compare in &txn.compare {
            succeeded = succeeded && self.holds(compare, values)?;
        }
        decisions.all.push(succeeded);
        for op in if succeeded { &txn.success } else { &txn.failure } {
            if let Op::Txn(nested) = op
                && let Err(error) = self.decide(nested, depth + 1, decisions, values)?
            {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Whether a condition holds for every key of its interval now.
    fn holds<V: Values>(&self, compare: &Compare, values: &V) -> Result<bool, V::Error> {
        let interval = &compare.interval;
        let scan = self.keys.scan(Some(&*interval.start), interval.upper(), |keys| 0 < keys.live);
        let mut empty = true;
        for (key, history) in scan {
            let Some(row) = history.latest().row(key) else { continue };
            empty = false;
            if !compare.holds_for(&row, values)? {
                return Ok(false);
            }
        }
        Ok(!empty || compare.holds_for_none())
    }

    /// Finds the first operation that cannot be done with the store as it is.
    fn check_ops(&self, txn: &Txn, decisions: &mut Decisions) -> Result<(), Error> {
        let (_, ops) = decisions.branch(txn);
        for op in ops {
            match op {
                Op::Range(query) => {
                    Store::check_range(query)?;
                    // Stricter than a range on its own: below zero is "now" there, and below the floor here.
                    if query.revision != 0 && query.revision < self.compacted {
                        return Err(Error::Compacted { compacted: self.compacted() });
                    }
                    self.readable(query.revision, self.revision)?;
                }
                Op::Put(put) => {
                    self.check_put_now(put)?;
                    if (put.ignore_value || put.ignore_lease) && self.row(&put.key, self.revision).is_none() {
                        return Err(Error::KeyNotFound);
                    }
                }
                Op::DeleteRange(delete) => Store::check_delete(delete)?,
                Op::Txn(nested) => self.check_ops(nested, decisions)?,
            }
        }
        Ok(())
    }
}

impl Compare {
    fn holds_for<V: Values>(&self, row: &Row, values: &V) -> Result<bool, V::Error> {
        let ordering = match &self.target {
            CompareTarget::Version(version) => row.version.cmp(version),
            CompareTarget::Create(revision) => row.create.0.cmp(revision),
            CompareTarget::Mod(revision) => row.modified.0.cmp(revision),
            CompareTarget::Lease(lease) => row.lease.0.cmp(lease),
            CompareTarget::Value(bytes) => {
                // A length tells values apart without reading them.
                let equality_only = matches!(self.result, CompareResult::Equal | CompareResult::NotEqual);
                if equality_only && row.value.len as usize != bytes.len() {
                    return Ok(self.result == CompareResult::NotEqual);
                }
                (*value::load(values, &row.value)?).cmp(bytes)
            }
        };
        Ok(self.result.accepts(ordering))
    }

    fn holds_for_none(&self) -> bool {
        match self.target {
            CompareTarget::Version(number)
            | CompareTarget::Create(number)
            | CompareTarget::Mod(number)
            | CompareTarget::Lease(number) => self.result.accepts(0.cmp(&number)),
            CompareTarget::Value(_) => false,
        }
    }
}

impl CompareResult {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            CompareResult::Equal => ordering.is_eq(),
            CompareResult::NotEqual => ordering.is_ne(),
            CompareResult::Greater => ordering.is_gt(),
            CompareResult::Less => ordering.is_lt(),
        }
    }
}

impl Writer<'_> {
    /// Decides, checks and does. After an error the writer must be rolled back.
    fn txn<V: Values>(&mut self, txn: &Txn, values: &V) -> Result<Result<Response, Error>, V::Error> {
        let mut decisions = Decisions { all: Vec::new(), next: 0 };
        if let Err(error) = self.store.decide(txn, 0, &mut decisions, values)? {
            return Ok(Err(error));
        }
        if let Err(error) = self.store.check_ops(txn, decisions.rewind()) {
            return Ok(Err(error));
        }
        self.ops(txn, decisions.rewind(), values)
    }

    fn ops<V: Values>(
        &mut self,
        txn: &Txn,
        decisions: &mut Decisions,
        values: &V,
    ) -> Result<Result<Response, Error>, V::Error> {
        let (succeeded, ops) = decisions.branch(txn);
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            let response = match op {
                Op::Range(query) => self.store.range_seen(query, self.seen(), values)?.map(Response::Range),
                Op::Put(put) => self.put(put),
                Op::DeleteRange(delete) => self.delete_range(delete),
                Op::Txn(nested) => self.ops(nested, decisions, values)?,
            };
            match response {
                Ok(response) => responses.push((response, Revision(self.seen()))),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(Response::Txn { succeeded, responses }))
    }
}
