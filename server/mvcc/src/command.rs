//! What the store can be told and asked, and what it answers. Plain data; meaning is in the modules that carry it out.

use crate::error::Error;
use crate::event::RevisionEvents;
use crate::history::Row;
use crate::interval::{Interval, Key};
use crate::revision::{LeaseId, Revision};
use crate::value::ValueRef;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A committed entry, as far as it concerns keys and leases.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Give a key a value.
    Put(Put),
    /// Delete the keys of an interval.
    DeleteRange(DeleteRange),
    /// Compare, then do one of two lists of operations, in one revision.
    Txn(Txn),
    /// Raise the compaction floor.
    Compact {
        /// The new floor: the oldest revision that stays readable.
        revision: Revision,
    },
    /// Create a lease.
    LeaseGrant {
        /// Its id. Whoever proposes the command picks one when the client did not.
        id: LeaseId,
        /// Its time to live. Whoever proposes raises it to the minimum.
        ttl_seconds: i64,
    },
    /// Delete a lease and all keys that hang on it.
    LeaseRevoke {
        /// The lease.
        id: LeaseId,
        /// Only the lease that the entry with this index granted, not a later one of the same id.
        granted_at: Option<u64>,
    },
    /// Note how many seconds leases have left. Leases that are gone by now are skipped.
    LeaseCheckpoint(
        /// The leases.
        Vec<LeaseCheckpoint>,
    ),
}

/// How long a lease has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseCheckpoint {
    /// The lease.
    pub id: LeaseId,
    /// The time it has left; 0 is all of it, again.
    pub remaining_seconds: i64,
    /// Only the lease that the entry with this index granted.
    pub granted_at: Option<u64>,
}

/// Give a key a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// The key.
    pub key: Key,
    /// Where the value is in the log.
    pub value: ValueRef,
    /// The lease to hang the key on, or none.
    pub lease: LeaseId,
    /// Answer with the row as it was before.
    pub prev_kv: bool,
    /// Keep the value the key has.
    pub ignore_value: bool,
    /// Keep the lease the key has.
    pub ignore_lease: bool,
}

/// Delete the keys of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteRange {
    /// The interval.
    pub interval: Interval,
    /// Answer with the deleted rows.
    pub prev_kv: bool,
}

/// Which rows of an interval, as of which revision, in which order.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeQuery {
    /// The interval.
    pub interval: Interval,
    /// The revision to read at; the current one when 0 or less.
    pub revision: i64,
    /// The most rows to answer with; no limit when 0 or less.
    pub limit: i64,
    /// The order of the rows.
    pub order: SortOrder,
    /// What the order is by.
    pub target: SortTarget,
    /// Leave out values (and leases, unless sorted by value).
    pub keys_only: bool,
    /// Leave out all rows.
    pub count_only: bool,
    /// Leave out rows modified before this revision; 0 is off. So for the three below.
    pub min_mod: i64,
    /// Leave out rows modified after this revision.
    pub max_mod: i64,
    /// Leave out rows created before this revision.
    pub min_create: i64,
    /// Leave out rows created after this revision.
    pub max_create: i64,
}

impl RangeQuery {
    /// All rows of an interval as they are now, in key order.
    pub fn all(interval: Interval) -> RangeQuery {
        RangeQuery {
            interval,
            revision: 0,
            limit: 0,
            order: SortOrder::None,
            target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            min_mod: 0,
            max_mod: 0,
            min_create: 0,
            max_create: 0,
        }
    }
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOrder {
    /// Key order; ascending when the target is not the key.
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What rows are ordered by. Rows that are equal in it stay in key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The modification revision.
    Mod,
    /// The value's bytes.
    Value,
}

impl SortOrder {
    /// The order with this number on the wire.
    pub fn from_wire(number: i32) -> Result<SortOrder, Error> {
        [SortOrder::None, SortOrder::Ascend, SortOrder::Descend]
            .get(usize::try_from(number).map_err(|_| Error::InvalidSort)?)
            .copied()
            .ok_or(Error::InvalidSort)
    }
}

impl SortTarget {
    /// The target with this number on the wire.
    pub fn from_wire(number: i32) -> Result<SortTarget, Error> {
        [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value]
            .get(usize::try_from(number).map_err(|_| Error::InvalidSort)?)
            .copied()
            .ok_or(Error::InvalidSort)
    }
}

/// Compare, then do one of two lists of operations, in one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    /// All must hold for `success`. Those of nested transactions are decided at the same time, before any operation.
    pub compare: Vec<Compare>,
    /// Done when they hold.
    pub success: Vec<Op>,
    /// Done when they do not.
    pub failure: Vec<Op>,
}

impl Txn {
    /// True when both branches hold ranges only, so that the transaction needs no log entry. A nested transaction
    /// counts as a write, as in etcd.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| matches!(op, Op::Range(_)))
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Read.
    Range(RangeQuery),
    /// Write.
    Put(Put),
    /// Delete.
    DeleteRange(DeleteRange),
    /// A transaction in the transaction.
    Txn(Txn),
}

/// A condition on every key of an interval; on a missing key when none is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// The keys.
    pub interval: Interval,
    /// What the comparison of the key's field with the given one has to result in.
    pub result: CompareResult,
    /// The field and what it is compared with.
    pub target: CompareTarget,
}

/// How a field has to relate to the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// Be equal.
    Equal,
    /// Be greater.
    Greater,
    /// Be less.
    Less,
    /// Not be equal.
    NotEqual,
}

/// The field of a key, and what it is compared with. A missing key has 0 for every number and fails on any value.
#[derive(Clone, Debug, PartialEq)]
pub enum CompareTarget {
    /// The version.
    Version(i64),
    /// The create revision.
    Create(i64),
    /// The modification revision.
    Mod(i64),
    /// The value's bytes.
    Value(Vec<u8>),
    /// The lease.
    Lease(i64),
}

/// The rows of a range.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeResult {
    /// The rows, in the order asked for.
    pub rows: Vec<Row>,
    /// How many keys the interval holds at that revision, whatever limit and filters leave.
    pub count: i64,
    /// True when the limit cut rows off.
    pub more: bool,
    /// The store's revision when it was read, whatever revision was asked for.
    pub revision: Revision,
}

/// The answer to a command, or to one operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Of a put.
    Put {
        /// The row before, when asked for and there was one.
        prev: Option<Row>,
    },
    /// Of a deletion.
    DeleteRange {
        /// How many keys are gone.
        deleted: i64,
        /// Their rows, when asked for.
        prev: Vec<Row>,
    },
    /// Of a range inside a transaction.
    Range(RangeResult),
    /// Of a transaction.
    Txn {
        /// Whether the comparisons held.
        succeeded: bool,
        /// The answers to the operations of the branch, each with the revision it saw.
        responses: Vec<(Response, Revision)>,
    },
    /// Of a compaction.
    Compact,
    /// Of a new lease.
    LeaseGrant {
        /// Its id.
        id: LeaseId,
        /// Its time to live.
        ttl_seconds: i64,
    },
    /// Of a revoked lease.
    LeaseRevoke {
        /// How many keys went with it.
        deleted: i64,
    },
    /// Of a checkpoint of leases.
    LeaseCheckpoint,
}

impl Response {
    /// Calls `each` with every row that the answer shows.
    pub fn each_row(&self, each: &mut impl FnMut(&Row)) {
        match self {
            Response::Put { prev } => prev.iter().for_each(each),
            Response::DeleteRange { prev, .. } => prev.iter().for_each(each),
            Response::Range(result) => result.rows.iter().for_each(each),
            Response::Txn { responses, .. } => responses.iter().for_each(|(response, _)| response.each_row(each)),
            Response::Compact | Response::LeaseGrant { .. } | Response::LeaseRevoke { .. } => {}
            Response::LeaseCheckpoint => {}
        }
    }
}

/// All that came of a command.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer. Refused means: nothing changed.
    pub result: Result<Response, Error>,
    /// The store's revision after it.
    pub revision: Revision,
    /// What changed, when the revision moved.
    pub events: Option<Arc<RevisionEvents>>,
    /// Values no version refers to any more.
    pub freed: Vec<ValueRef>,
}
