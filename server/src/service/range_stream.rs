//! One range at one revision, in pieces.
//!
//! The store is pinned with the first piece, so the pieces fit together whatever is written meanwhile. Its values are
//! held for that piece only, which therefore cannot be compacted away; a later one can. The first piece has ten keys; after that a piece that was much smaller than the largest request is followed by one of
//! twice as many keys, a much larger one by half as many. Header, count and "more" come with the last piece only.

use std::sync::Arc;

use evenkeel_mvcc::{Interval, Key, RangeQuery, SortOrder, SortTarget, Store};
use evenkeel_proto::etcdserverpb as pb;
use prost::Message;
use tonic::Status;

use super::compose;
use super::rpc::Source;
use crate::error::RequestError;
use crate::member::Member;

/// Keys in the first piece.
const FIRST_PIECE_KEYS: i64 = 10;

/// How many keys come after a piece of `keys` keys and `bytes` bytes, aiming at `target_bytes`.
fn next_piece_keys(keys: i64, bytes: usize, target_bytes: usize) -> i64 {
    if bytes < target_bytes / 2 {
        keys.saturating_mul(2)
    } else if target_bytes.saturating_mul(2) < bytes {
        (keys / 2).max(1)
    } else {
        keys
    }
}

/// What is left to send.
pub(super) struct RangeStream {
    member: Arc<Member>,
    /// Pinned with the first piece.
    store: Option<Store>,
    query: RangeQuery,
    piece_keys: i64,
    /// How many keys the client still wants; `None` is all.
    wanted: Option<i64>,
    /// Keys in the whole range, once known.
    count: Option<i64>,
    done: bool,
}

impl RangeStream {
    /// What cannot be sent in pieces.
    pub(super) fn check(query: &RangeQuery) -> Result<(), RequestError> {
        let in_key_order = match query.order {
            SortOrder::None => true,
            SortOrder::Ascend => query.target == SortTarget::Key,
            SortOrder::Descend => false,
        };
        if !in_key_order {
            return Err(RequestError::Unsupported("RangeStream does not support custom sort orders"));
        }
        if [query.min_mod, query.max_mod, query.min_create, query.max_create].iter().any(|bound| *bound != 0) {
            return Err(RequestError::Unsupported("RangeStream does not support revision filters"));
        }
        Ok(())
    }

    /// A stream of the answer to `query`, which [`RangeStream::check`] has accepted.
    pub(super) fn new(member: Arc<Member>, query: RangeQuery) -> RangeStream {
        let wanted = Some(query.limit).filter(|limit| 0 < *limit);
        // The order "none" sorts by its target, but only what the limit leaves; in pieces there is key order only.
        let query = RangeQuery { target: SortTarget::Key, ..query };
        RangeStream { member, store: None, query, piece_keys: FIRST_PIECE_KEYS, wanted, count: None, done: false }
    }
}

impl Source for RangeStream {
    type Answer = pb::RangeStreamResponse;

    async fn next(&mut self) -> Result<Option<pb::RangeStreamResponse>, Status> {
        if self.done {
            return Ok(None);
        }
        let mut _hold = None;
        if self.store.is_none() {
            let (store, hold) = self.member.held_view();
            (self.store, _hold) = (Some(store), Some(hold));
        }
        let store = self.store.as_ref().expect("pinned with the first piece");
        let limit = self.wanted.map_or(self.piece_keys, |wanted| wanted.min(self.piece_keys));
        self.query.limit = limit;
        let values = self.member.values();
        let result = store.range(&self.query, values).map_err(|error| compose::unreadable_pinned(&error))?;
        let result = result.map_err(RequestError::from)?;
        let kvs = compose::key_values_in_turns(&result.rows, &*self.member).await?;
        let mut response = pb::RangeResponse { kvs, ..Default::default() };

        let count = *self.count.get_or_insert(result.count);
        self.wanted = self.wanted.map(|wanted| wanted - result.rows.len() as i64);
        match result.rows.last() {
            Some(last) if result.more && self.wanted != Some(0) => {
                self.query.interval = after(&self.query.interval, &last.key);
                let target_bytes = self.member.config().max_request_bytes;
                self.piece_keys = next_piece_keys(limit, response.encoded_len(), target_bytes);
            }
            _ => {
                self.done = true;
                response.header = Some(self.member.header(result.revision.0));
                response.more = result.more;
                response.count = count;
            }
        }
        Ok(Some(pb::RangeStreamResponse { range_response: Some(response) }))
    }
}

/// What is left of an interval after `key`.
fn after(interval: &Interval, key: &Key) -> Interval {
    let start: Vec<u8> = key.iter().copied().chain([0]).collect();
    Interval { start: Key::from(start), end: interval.end.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_grows_below_half_and_shrinks_above_twice_the_target() {
        for (keys, bytes, next) in [
            (10, 0, 20),
            (10, 499, 20),
            (10, 500, 10),
            (10, 1_000, 10),
            (10, 2_000, 10),
            (10, 2_001, 5),
            (3, 9_000, 1),
            (1, 9_000, 1),
            (i64::MAX, 0, i64::MAX),
        ] {
            assert_eq!(next_piece_keys(keys, bytes, 1_000), next, "{keys} keys, {bytes} bytes");
        }
    }

    #[test]
    fn the_rest_begins_right_after_the_last_key() {
        let rest = after(&Interval::from_wire(b"a", b"c"), &Key::from(&b"b"[..]));
        assert_eq!(rest, Interval::from_wire(b"b\0", b"c"));
        assert!(!rest.contains(b"b"));
        assert!(rest.contains(b"b\0"));
    }

    #[test]
    fn only_key_order_without_filters_comes_in_pieces() {
        let plain = RangeQuery::all(Interval::from_wire(b"a", b"\0"));
        let sorted = |order, target| RangeQuery { order, target, ..plain.clone() };
        for (query, text) in [
            (plain.clone(), None),
            (sorted(SortOrder::Ascend, SortTarget::Key), None),
            (sorted(SortOrder::None, SortTarget::Value), None),
            (sorted(SortOrder::Descend, SortTarget::Key), Some("RangeStream does not support custom sort orders")),
            (sorted(SortOrder::Ascend, SortTarget::Mod), Some("RangeStream does not support custom sort orders")),
            (RangeQuery { min_mod: 1, ..plain.clone() }, Some("RangeStream does not support revision filters")),
            (RangeQuery { max_create: 1, ..plain.clone() }, Some("RangeStream does not support revision filters")),
        ] {
            assert_eq!(RangeStream::check(&query).err().map(RequestError::text), text, "{query:?}");
        }
    }
}
