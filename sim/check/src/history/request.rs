//! What clients ask.

use bytes::Bytes;
use serde::Serialize;

use super::{KeyRange, TxnOpReply, TxnReply, text};
use crate::ids::*;

/// A put.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Put {
    /// Where.
    #[serde(serialize_with = "text")]
    pub key: Bytes,
    /// What; unique in the run.
    #[serde(serialize_with = "text")]
    pub value: Bytes,
    /// Attach to this lease.
    pub lease: LeaseId,
    /// Answer with what was there before.
    pub prev_kv: bool,
}

/// What a range is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// Puts in this generation.
    Version,
    /// Revision of creation.
    Created,
    /// Revision of the newest put.
    Modified,
    /// The value.
    Value,
}

/// In which direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum SortOrder {
    /// The store's own order by key; ascending for every other target.
    #[default]
    None,
    /// Small to large.
    Ascend,
    /// Large to small.
    Descend,
}

/// A range read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Which keys.
    pub keys: KeyRange,
    /// At most so many rows; 0 is no limit.
    pub limit: i64,
    /// At this revision; 0 is the newest.
    pub revision: Revision,
    /// Order of rows.
    pub sort_order: SortOrder,
    /// Sorted by.
    pub sort_target: SortTarget,
    /// May be answered from a member's local state.
    pub serializable: bool,
    /// Leave values out.
    pub keys_only: bool,
    /// Answer with the count only.
    pub count_only: bool,
    /// Rows modified at or after this; 0 is off.
    pub min_modified: Revision,
    /// Rows modified at or before this; 0 is off.
    pub max_modified: Revision,
    /// Rows created at or after this; 0 is off.
    pub min_created: Revision,
    /// Rows created at or before this; 0 is off.
    pub max_created: Revision,
}

impl Range {
    /// A plain linearizable read of these keys.
    pub fn of(keys: KeyRange) -> Self {
        Range { keys, ..Range::default() }
    }
}

/// A delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeleteRange {
    /// Which keys.
    pub keys: KeyRange,
    /// Answer with what was deleted.
    pub prev_kv: bool,
}

/// What a comparison looks at, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Target {
    /// Puts in this generation; 0 for a missing key.
    Version(i64),
    /// Revision of creation; 0 for a missing key.
    Created(Revision),
    /// Revision of the newest put; 0 for a missing key.
    Modified(Revision),
    /// The value; false for a missing key.
    Value(#[serde(serialize_with = "text")] Bytes),
    /// The lease; 0 for a missing key.
    Lease(LeaseId),
}

/// How a comparison compares: "the stored one is ... than the given one".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Relation {
    /// The same.
    #[default]
    Equal,
    /// Larger.
    Greater,
    /// Smaller.
    Less,
    /// Not the same.
    NotEqual,
}

/// One guard of a transaction; holds when all keys of its range satisfy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compare {
    /// Which keys.
    pub keys: KeyRange,
    /// Stored against given.
    pub relation: Relation,
    /// What is looked at.
    pub target: Target,
}

/// One operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum TxnOp {
    /// A put.
    Put(Put),
    /// A range read.
    Range(Range),
    /// A delete.
    DeleteRange(DeleteRange),
    /// A transaction inside the transaction.
    Txn(Box<Txn>),
}

/// A transaction: guards, then one of two branches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Txn {
    /// All must hold for `success`.
    pub compares: Vec<Compare>,
    /// Runs when all guards hold.
    pub success: Vec<TxnOp>,
    /// Runs otherwise.
    pub failure: Vec<TxnOp>,
}

impl Txn {
    /// The oldest revision that the branch which ran read at, nested ones included; none when all was at the newest.
    pub fn oldest_read(&self, reply: &TxnReply) -> Option<Revision> {
        let ran = if reply.succeeded { &self.success } else { &self.failure };
        let read = |(op, reply): (&TxnOp, &TxnOpReply)| match (op, reply) {
            (TxnOp::Range(range), _) => Some(range.revision).filter(|revision| 0 < revision.0),
            (TxnOp::Txn(txn), TxnOpReply::Txn(reply)) => txn.oldest_read(reply),
            _ => None,
        };
        ran.iter().zip(&reply.replies).filter_map(read).min()
    }

    /// Every operation of both branches, nested ones included.
    pub fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&'a TxnOp)) {
        for op in self.success.iter().chain(&self.failure) {
            visitor(op);
            if let TxnOp::Txn(txn) = op {
                txn.visit(visitor);
            }
        }
    }
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Request {
    /// A put.
    Put(Put),
    /// A range read.
    Range(Range),
    /// A delete.
    DeleteRange(DeleteRange),
    /// A transaction.
    Txn(Txn),
    /// Forget history below this revision.
    Compact {
        /// The oldest revision that stays readable.
        revision: Revision,
    },
    /// A new lease.
    LeaseGrant {
        /// The wished id; 0 lets the server pick.
        lease: LeaseId,
        /// Seconds to live.
        ttl: i64,
    },
    /// End a lease and delete its keys.
    LeaseRevoke {
        /// The lease.
        lease: LeaseId,
    },
    /// Keep a lease alive.
    LeaseKeepAlive {
        /// The lease.
        lease: LeaseId,
    },
    /// How long a lease still has.
    LeaseTimeToLive {
        /// The lease.
        lease: LeaseId,
        /// Answer with the attached keys.
        keys: bool,
    },
    /// Which leases there are.
    LeaseLeases,
}

/// What a member cannot do alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Asked {
    /// A put.
    Put,
    /// A linearizable read of the newest state.
    Read,
}

impl Asked {
    /// Both.
    pub const ALL: [Asked; 2] = [Asked::Put, Asked::Read];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Asked::Put => "put",
            Asked::Read => "linearizable read",
        }
    }
}

impl Request {
    /// Whether it could change a key.
    pub fn may_write(&self) -> bool {
        match self {
            Request::Put(_) | Request::DeleteRange(_) | Request::LeaseRevoke { .. } => true,
            Request::Txn(txn) => {
                let mut writes = false;
                txn.visit(&mut |op| writes |= matches!(op, TxnOp::Put(_) | TxnOp::DeleteRange(_)));
                writes
            }
            _ => false,
        }
    }

    /// Whether any member may answer it from its own, possibly old, state.
    pub fn is_serializable(&self) -> bool {
        match self {
            Request::Range(range) => range.serializable,
            Request::Txn(txn) => {
                let mut all = true;
                txn.visit(&mut |op| all &= matches!(op, TxnOp::Range(range) if range.serializable));
                all
            }
            _ => false,
        }
    }

    /// What of a majority this asks for, if it is one of the plain cases: what only a majority can give.
    pub fn asks(&self) -> Option<Asked> {
        match self {
            Request::Put(_) => Some(Asked::Put),
            Request::Range(range) if !range.serializable && range.revision.0 <= 0 => Some(Asked::Read),
            _ => None,
        }
    }

    /// Calls back for every put, nested ones included.
    pub fn visit_puts<'a>(&'a self, visitor: &mut dyn FnMut(&'a Put)) {
        match self {
            Request::Put(put) => visitor(put),
            Request::Txn(txn) => txn.visit(&mut |op| {
                if let TxnOp::Put(put) = op {
                    visitor(put);
                }
            }),
            _ => {}
        }
    }

    /// Calls back for every range read, nested ones included.
    pub fn visit_ranges<'a>(&'a self, visitor: &mut dyn FnMut(&'a Range)) {
        match self {
            Request::Range(range) => visitor(range),
            Request::Txn(txn) => txn.visit(&mut |op| {
                if let TxnOp::Range(range) = op {
                    visitor(range);
                }
            }),
            _ => {}
        }
    }
}
