//! What comes back.

use bytes::Bytes;
use serde::Serialize;

use super::{KeyValue, texts};
use crate::ids::*;

/// The answer to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PutReply {
    /// What was there before, if asked for.
    pub prev_kv: Option<KeyValue>,
}

/// The answer to a range read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RangeReply {
    /// The rows.
    pub kvs: Vec<KeyValue>,
    /// The limit cut rows off.
    pub more: bool,
    /// Keys in the range, whatever limit and filters say.
    pub count: i64,
}

/// The answer to a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeleteReply {
    /// Keys deleted.
    pub deleted: i64,
    /// What was deleted, if asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// The answer to one operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum TxnOpReply {
    /// A put.
    Put(PutReply),
    /// A range read.
    Range(RangeReply),
    /// A delete.
    DeleteRange(DeleteReply),
    /// A nested transaction.
    Txn(TxnReply),
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TxnReply {
    /// Which branch ran.
    pub succeeded: bool,
    /// One answer per operation of that branch.
    pub replies: Vec<TxnOpReply>,
}

impl TxnReply {
    /// Whether the answers say that some key changed.
    pub fn wrote(&self) -> bool {
        self.replies.iter().any(|reply| match reply {
            TxnOpReply::Put(_) => true,
            TxnOpReply::Range(_) => false,
            TxnOpReply::DeleteRange(delete) => delete.deleted > 0,
            TxnOpReply::Txn(txn) => txn.wrote(),
        })
    }
}

/// The body of a successful answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Body {
    /// To a put.
    Put(PutReply),
    /// To a range read.
    Range(RangeReply),
    /// To a delete.
    DeleteRange(DeleteReply),
    /// To a transaction.
    Txn(TxnReply),
    /// To a compaction.
    Compact,
    /// To a grant.
    LeaseGrant {
        /// The lease.
        lease: LeaseId,
        /// Granted seconds.
        ttl: i64,
    },
    /// To a revoke.
    LeaseRevoke,
    /// To a keep-alive; a TTL of 0 or less means there is no such lease.
    LeaseKeepAlive {
        /// Seconds.
        ttl: i64,
    },
    /// To a time-to-live; a TTL below 0 means there is no such lease.
    LeaseTimeToLive {
        /// Seconds left.
        ttl: i64,
        /// Granted seconds.
        granted: i64,
        /// The attached keys, if asked for.
        #[serde(serialize_with = "texts")]
        keys: Vec<Bytes>,
    },
    /// To a list of all leases: those that the answering member knows of, which may lag.
    LeaseLeases {
        /// The leases.
        leases: Vec<LeaseId>,
    },
}

/// The header of a successful answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The member that answered.
    pub member: MemberId,
    /// The id that it calls itself by.
    pub id: u64,
    /// The store revision it saw.
    pub revision: Revision,
    /// The term it was in.
    pub term: Term,
}

/// Why a request certainly had no effect. Keep this list tiny: an operation wrongly put here hides bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Refusal {
    /// A wanted revision is compacted.
    Compacted,
    /// A wanted revision lies above the head.
    FutureRevision,
    /// The lease to attach to or revoke does not exist.
    LeaseNotFound,
    /// The lease to grant exists.
    LeaseExists,
    /// The request is malformed, too large, or breaks a rule of its kind.
    Invalid,
    /// The caller may not.
    NotAllowed,
    /// The API layer is busy or out of quota.
    Overloaded,
}

/// Why nothing is known about an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Doubt {
    /// No answer in time.
    Timeout,
    /// `Unavailable`, no leader included.
    Unavailable,
    /// The connection broke.
    ConnectionReset,
    /// The leader changed meanwhile.
    LeaderChanged,
    /// The server was stopping.
    Stopped,
    /// The client gave up.
    Cancelled,
    /// Any answer nobody expects.
    Other,
}

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Answered.
    Ok(Header, Body),
    /// May or may not have taken effect, now or later.
    Unknown(Doubt),
    /// Certainly had no effect.
    DefinitelyNot(Refusal),
}
