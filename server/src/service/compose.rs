//! Between the store and the wire: rows, events and answers become messages, with their values read from the log.

use bytes::Bytes;
use evenkeel_mvcc::{Event, EventKind, Key, RangeResult, Response, Revision, Row, ValueRef};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::mvccpb;
use evenkeel_storage::ValueError;
use pb::response_op::Response as PbOp;

use crate::error::RequestError;
use crate::member::Member;

/// Rows composed between two moments at which other tasks get their turn.
const ROWS_PER_TURN: usize = 256;

/// Reads values. What cannot be read is not served.
pub trait Fetch: Sync {
    /// The bytes of the value that `key` got at revision `modified`, last seen at `at`.
    fn fetch(&self, key: &Key, modified: Revision, at: &ValueRef) -> Result<Bytes, RequestError>;
}

impl Fetch for Member {
    /// A pinned state does not pin the log: while it was looked at, the value may have been moved, or dropped by a
    /// compaction. The newest state knows which.
    fn fetch(&self, key: &Key, modified: Revision, at: &ValueRef) -> Result<Bytes, RequestError> {
        let error = match self.values().bytes(at) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        let store = self.view();
        match store.get(key, modified.max(store.compacted()).0) {
            Some(now) if now.modified == modified && now.value != *at => {
                self.values().bytes(&now.value).map_err(|error| unreadable(&error))
            }
            Some(now) if now.modified == modified => Err(unreadable(&error)),
            _ if modified < store.compacted() => Err(RequestError::Compacted),
            _ => Err(unreadable(&error)),
        }
    }
}

/// A value that cannot be read, told to the operator once and to the client as data loss.
pub fn unreadable(error: &ValueError) -> RequestError {
    tracing::error!(%error, "a value cannot be read");
    RequestError::Corrupt
}

/// As [`unreadable`], for a pinned state that is older than the newest: a segment goes only when no stored version
/// needs it, so a compaction has passed that state.
pub fn unreadable_pinned(error: &ValueError) -> RequestError {
    match error {
        ValueError::Gone { .. } => RequestError::Compacted,
        error => unreadable(error),
    }
}

/// A key on its way out.
pub fn key(key: &Key) -> Bytes {
    Bytes::copy_from_slice(key)
}

/// One version of a key.
pub fn key_value(row: &Row, values: &impl Fetch) -> Result<mvccpb::KeyValue, RequestError> {
    Ok(mvccpb::KeyValue {
        key: key(&row.key),
        create_revision: row.create.0,
        mod_revision: row.modified.0,
        version: row.version,
        value: values.fetch(&row.key, row.modified, &row.value)?,
        lease: row.lease.0,
    })
}

fn key_values(rows: &[Row], values: &impl Fetch) -> Result<Vec<mvccpb::KeyValue>, RequestError> {
    rows.iter().map(|row| key_value(row, values)).collect()
}

/// Many versions, without keeping other tasks waiting.
pub async fn key_values_in_turns(rows: &[Row], values: &impl Fetch) -> Result<Vec<mvccpb::KeyValue>, RequestError> {
    let mut kvs = Vec::with_capacity(rows.len());
    for (turn, rows) in rows.chunks(ROWS_PER_TURN).enumerate() {
        if turn > 0 {
            tokio::task::yield_now().await;
        }
        for row in rows {
            kvs.push(key_value(row, values)?);
        }
    }
    Ok(kvs)
}

/// One change of a key.
pub fn event(event: &Event, with_prev: bool, values: &impl Fetch) -> Result<mvccpb::Event, RequestError> {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    let prev = event.prev.as_ref().filter(|_| with_prev);
    Ok(mvccpb::Event {
        r#type: kind as i32,
        kv: Some(key_value(&event.row, values)?),
        prev_kv: prev.map(|row| key_value(row, values)).transpose()?,
    })
}

/// The answer to one operation of a transaction. Its header carries a revision only, a nested transaction's nothing.
fn response_op(response: &Response, revision: Revision, values: &impl Fetch) -> Result<pb::ResponseOp, RequestError> {
    let header = Some(pb::ResponseHeader { revision: revision.0, ..Default::default() });
    let response = match response {
        Response::Range(result) => PbOp::ResponseRange(range(result, header, values)?),
        Response::Put { prev } => PbOp::ResponsePut(put(prev.as_ref(), header, values)?),
        Response::DeleteRange { deleted, prev } => {
            PbOp::ResponseDeleteRange(delete_range(*deleted, prev, header, values)?)
        }
        Response::Txn { succeeded, responses } => {
            PbOp::ResponseTxn(txn(*succeeded, responses, Some(pb::ResponseHeader::default()), values)?)
        }
        other => unreachable!("{other:?} answers no operation of a transaction"),
    };
    Ok(pb::ResponseOp { response: Some(response) })
}

type Header = Option<pb::ResponseHeader>;

fn range(result: &RangeResult, header: Header, values: &impl Fetch) -> Result<pb::RangeResponse, RequestError> {
    Ok(pb::RangeResponse { header, kvs: key_values(&result.rows, values)?, more: result.more, count: result.count })
}

/// The answer to a put.
pub fn put(prev: Option<&Row>, header: Header, values: &impl Fetch) -> Result<pb::PutResponse, RequestError> {
    Ok(pb::PutResponse { header, prev_kv: prev.map(|row| key_value(row, values)).transpose()? })
}

/// The answer to a deletion.
pub fn delete_range(
    deleted: i64,
    prev: &[Row],
    header: Header,
    values: &impl Fetch,
) -> Result<pb::DeleteRangeResponse, RequestError> {
    Ok(pb::DeleteRangeResponse { header, deleted, prev_kvs: key_values(prev, values)? })
}

/// The answer to a transaction.
pub fn txn(
    succeeded: bool,
    responses: &[(Response, Revision)],
    header: Header,
    values: &impl Fetch,
) -> Result<pb::TxnResponse, RequestError> {
    let responses = responses.iter().map(|(response, revision)| response_op(response, *revision, values));
    Ok(pb::TxnResponse { header, succeeded, responses: responses.collect::<Result<_, _>>()? })
}
