//! Between the history's words and the wire's: what a client asks, and what it is told.

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::{LeaseId, MemberId, Revision, Term};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::mvccpb;

/// A range read on the wire.
pub fn range(range: &Range) -> pb::RangeRequest {
    let mut request = pb::RangeRequest {
        key: range.keys.key.clone(),
        range_end: range.keys.end.clone(),
        limit: range.limit,
        revision: range.revision.0,
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: range.min_modified.0,
        max_mod_revision: range.max_modified.0,
        min_create_revision: range.min_created.0,
        max_create_revision: range.max_created.0,
        ..Default::default()
    };
    use pb::range_request::{SortOrder as O, SortTarget as T};
    request.set_sort_order(match range.sort_order {
        SortOrder::None => O::None,
        SortOrder::Ascend => O::Ascend,
        SortOrder::Descend => O::Descend,
    });
    request.set_sort_target(match range.sort_target {
        SortTarget::Key => T::Key,
        SortTarget::Version => T::Version,
        SortTarget::Created => T::Create,
        SortTarget::Modified => T::Mod,
        SortTarget::Value => T::Value,
    });
    request
}

/// A put on the wire.
pub fn put(put: &Put) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.clone(),
        value: put.value.clone(),
        lease: put.lease.0,
        prev_kv: put.prev_kv,
        ..Default::default()
    }
}

/// A delete on the wire.
pub fn delete(delete: &DeleteRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: delete.keys.key.clone(), range_end: delete.keys.end.clone(), prev_kv: delete.prev_kv }
}

/// A transaction on the wire.
pub fn txn(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(op).collect(),
        failure: txn.failure.iter().map(op).collect(),
    }
}

fn op(op: &TxnOp) -> pb::RequestOp {
    use pb::request_op::Request as R;
    let request = match op {
        TxnOp::Put(p) => R::RequestPut(put(p)),
        TxnOp::Range(r) => R::RequestRange(range(r)),
        TxnOp::DeleteRange(d) => R::RequestDeleteRange(delete(d)),
        TxnOp::Txn(t) => R::RequestTxn(txn(t)),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult as R, CompareTarget as K, TargetUnion as U};
    let (kind, value) = match &compare.target {
        Target::Version(v) => (K::Version, U::Version(*v)),
        Target::Created(v) => (K::Create, U::CreateRevision(v.0)),
        Target::Modified(v) => (K::Mod, U::ModRevision(v.0)),
        Target::Value(v) => (K::Value, U::Value(v.clone())),
        Target::Lease(v) => (K::Lease, U::Lease(v.0)),
    };
    let result = match compare.relation {
        Relation::Equal => R::Equal,
        Relation::Greater => R::Greater,
        Relation::Less => R::Less,
        Relation::NotEqual => R::NotEqual,
    };
    pb::Compare {
        result: result as i32,
        target: kind as i32,
        key: compare.keys.key.clone(),
        range_end: compare.keys.end.clone(),
        target_union: Some(value),
    }
}

/// A key and its value from the wire.
pub fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        created: Revision(kv.create_revision),
        modified: Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId(kv.lease),
    }
}

/// A read's answer from the wire.
pub fn range_reply(reply: pb::RangeResponse) -> RangeReply {
    RangeReply { kvs: reply.kvs.into_iter().map(key_value).collect(), more: reply.more, count: reply.count }
}

/// A put's answer from the wire.
pub fn put_reply(reply: pb::PutResponse) -> PutReply {
    PutReply { prev_kv: reply.prev_kv.map(key_value) }
}

/// A delete's answer from the wire.
pub fn delete_reply(reply: pb::DeleteRangeResponse) -> DeleteReply {
    DeleteReply { deleted: reply.deleted, prev_kvs: reply.prev_kvs.into_iter().map(key_value).collect() }
}

/// A transaction's answer from the wire; none when a part is missing.
pub fn txn_reply(reply: pb::TxnResponse) -> Option<TxnReply> {
    use pb::response_op::Response as R;
    let mut replies = Vec::with_capacity(reply.responses.len());
    for op in reply.responses {
        replies.push(match op.response? {
            R::ResponsePut(r) => TxnOpReply::Put(put_reply(r)),
            R::ResponseRange(r) => TxnOpReply::Range(range_reply(r)),
            R::ResponseDeleteRange(r) => TxnOpReply::DeleteRange(delete_reply(r)),
            R::ResponseTxn(r) => TxnOpReply::Txn(txn_reply(r)?),
        });
    }
    Some(TxnReply { succeeded: reply.succeeded, replies })
}

/// A watch event from the wire.
pub fn event(event: mvccpb::Event) -> Event {
    let deleted = event.r#type() == mvccpb::event::EventType::Delete;
    Event { deleted, kv: event.kv.map(key_value).unwrap_or_default(), prev_kv: event.prev_kv.map(key_value) }
}

/// A header from the wire. `member` tells the number of the member that signed it.
pub fn header(header: Option<&pb::ResponseHeader>, member: impl Fn(&pb::ResponseHeader) -> MemberId) -> Header {
    let header = header.cloned().unwrap_or_default();
    let (revision, term) = (Revision(header.revision), Term(header.raft_term));
    Header { member: member(&header), id: header.member_id, revision, term }
}

/// How an error ends an operation: most leave the client in doubt, few are certain to have had no effect.
pub fn failed(status: &tonic::Status) -> Outcome {
    use tonic::Code;
    let text = status.message();
    if std::error::Error::source(status).is_some() {
        // Not the member's words: the connection to it could not be made, or broke.
        return Outcome::Unknown(Doubt::ConnectionReset);
    }
    match status.code() {
        Code::OutOfRange if text.contains("compacted") => Outcome::DefinitelyNot(Refusal::Compacted),
        Code::OutOfRange if text.contains("future revision") => Outcome::DefinitelyNot(Refusal::FutureRevision),
        Code::NotFound if text.contains("lease not found") => Outcome::DefinitelyNot(Refusal::LeaseNotFound),
        Code::FailedPrecondition if text.contains("lease already exists") => {
            Outcome::DefinitelyNot(Refusal::LeaseExists)
        }
        Code::FailedPrecondition if text.contains("not supported for learner") => {
            Outcome::DefinitelyNot(Refusal::NotAllowed)
        }
        Code::InvalidArgument => Outcome::DefinitelyNot(Refusal::Invalid),
        Code::ResourceExhausted => Outcome::DefinitelyNot(Refusal::Overloaded),
        Code::Unavailable if text.contains("leader changed") => Outcome::Unknown(Doubt::LeaderChanged),
        Code::Unavailable if text.contains("timed out") => Outcome::Unknown(Doubt::Timeout),
        Code::Unavailable if text.contains("stopped") => Outcome::Unknown(Doubt::Stopped),
        Code::Unavailable if text.contains("connection reset") => Outcome::Unknown(Doubt::ConnectionReset),
        Code::Unavailable => Outcome::Unknown(Doubt::Unavailable),
        // Not the member's words either: a stream of answers broke.
        Code::Unknown if text.starts_with("error reading a body from connection") => {
            Outcome::Unknown(Doubt::ConnectionReset)
        }
        Code::DeadlineExceeded => Outcome::Unknown(Doubt::Timeout),
        Code::Cancelled => Outcome::Unknown(Doubt::Cancelled),
        _ => Outcome::Unknown(Doubt::Other),
    }
}

/// A value that occurs once in a run and names its writer.
pub fn unique_value(client: u64, sequence: u64, size: usize) -> Bytes {
    let mut value = format!("c{client}:{sequence}").into_bytes();
    value.resize(value.len().max(size), b'.');
    value.into()
}
