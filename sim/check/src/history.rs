//! Operations as the client saw them: what was asked, what came back, or that nothing is known.
//!
//! The shapes follow etcd's messages with the fields that matter to a checker. Nested headers are left out: only the
//! top-level header carries a promise. Every value put is unique in the run (`client:sequence`), which names the
//! writer of whatever is read later.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::ids::*;

/// Writes bytes as text, for traces a person reads.
fn text<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&String::from_utf8_lossy(bytes))
}

/// Writes a list of bytes as texts.
fn texts<S: Serializer>(list: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|bytes| String::from_utf8_lossy(bytes)))
}

/// Keys in etcd's convention: no end is one key, an end of one zero byte is everything from `key` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KeyRange {
    /// The first key.
    #[serde(serialize_with = "text")]
    pub key: Bytes,
    /// The first key after the range, empty, or one zero byte.
    #[serde(serialize_with = "text")]
    pub end: Bytes,
}

impl KeyRange {
    /// One key.
    pub fn one(key: impl Into<Bytes>) -> Self {
        KeyRange { key: key.into(), end: Bytes::new() }
    }
    /// `[key, end)`.
    pub fn span(key: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        KeyRange { key: key.into(), end: end.into() }
    }
    /// Every key.
    pub fn all() -> Self {
        KeyRange::span(&b"\0"[..], &b"\0"[..])
    }
    /// Whether the range has no upper end.
    pub fn is_open(&self) -> bool {
        self.end.as_ref() == b"\0"
    }
    /// Whether the key lies inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.end.is_empty() {
            return self.key == key;
        }
        self.key.as_ref() <= key && (self.is_open() || key < self.end.as_ref())
    }
}

/// A key and what is stored under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyValue {
    /// The key.
    #[serde(serialize_with = "text")]
    pub key: Bytes,
    /// The value.
    #[serde(serialize_with = "text")]
    pub value: Bytes,
    /// Revision of the put that created this generation of the key.
    pub created: Revision,
    /// Revision of the newest put.
    pub modified: Revision,
    /// Puts in this generation.
    pub version: i64,
    /// The attached lease.
    pub lease: LeaseId,
}

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
}

/// The header of a successful answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The member that answered.
    pub member: MemberId,
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

/// Which events a watch leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WatchFilters {
    /// No puts.
    pub no_put: bool,
    /// No deletes.
    pub no_delete: bool,
}

/// A request to create a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WatchRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// First wanted revision; 0 is "after now".
    pub start: Revision,
    /// Which events to leave out.
    pub filters: WatchFilters,
    /// Events carry what was there before.
    pub prev_kv: bool,
    /// Send bookmarks when idle.
    pub progress_notify: bool,
    /// Large responses may be split.
    pub fragment: bool,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// A delete; otherwise a put.
    pub deleted: bool,
    /// The new state; for a delete only key and `modified`.
    pub kv: KeyValue,
    /// The state before, if asked for and not compacted.
    pub prev_kv: Option<KeyValue>,
}
