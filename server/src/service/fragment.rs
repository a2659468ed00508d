//! Cuts a large watch response into pieces for clients that asked for it.
//!
//! Every piece but the last says that more follows. A piece stays below the limit unless it holds one event only.

use evenkeel_proto::etcdserverpb as pb;
use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};

/// Field number of the events in a watch response.
const EVENTS_FIELD: u32 = 11;

/// `response` in pieces of fewer than `limit_bytes` each.
pub(super) fn fragments(response: pb::WatchResponse, limit_bytes: usize) -> Vec<pb::WatchResponse> {
    if response.events.len() < 2 || response.encoded_len() < limit_bytes {
        return vec![response];
    }
    let pb::WatchResponse { events, .. } = response;
    let empty = pb::WatchResponse { fragment: true, events: Vec::new(), ..response };
    let empty_bytes = empty.encoded_len();

    let mut pieces = Vec::new();
    let mut piece = empty.clone();
    let mut piece_bytes = empty_bytes;
    for event in events {
        let len = event.encoded_len();
        let event_bytes = key_len(EVENTS_FIELD) + encoded_len_varint(len as u64) + len;
        if !piece.events.is_empty() && limit_bytes <= piece_bytes + event_bytes {
            pieces.push(std::mem::replace(&mut piece, empty.clone()));
            piece_bytes = empty_bytes;
        }
        piece.events.push(event);
        piece_bytes += event_bytes;
    }
    piece.fragment = false;
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use evenkeel_proto::mvccpb;

    use super::*;

    fn event(value_bytes: usize) -> mvccpb::Event {
        let kv = mvccpb::KeyValue {
            key: Bytes::from_static(b"k"),
            mod_revision: 7,
            value: Bytes::from(vec![b'v'; value_bytes]),
            ..Default::default()
        };
        mvccpb::Event { r#type: 0, kv: Some(kv), prev_kv: None }
    }

    fn response(values: &[usize]) -> pb::WatchResponse {
        let header = Some(pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 7, raft_term: 3 });
        pb::WatchResponse {
            header,
            watch_id: 5,
            events: values.iter().copied().map(event).collect(),
            ..Default::default()
        }
    }

    /// The sizes of the values in each piece.
    #[track_caller]
    fn check(values: &[usize], limit_bytes: usize, expected: &[&[usize]]) {
        let whole = response(values);
        let pieces = fragments(whole.clone(), limit_bytes);
        let sizes = |piece: &pb::WatchResponse| -> Vec<usize> {
            piece.events.iter().map(|e| e.kv.as_ref().unwrap().value.len()).collect()
        };
        assert_eq!(pieces.iter().map(sizes).collect::<Vec<_>>(), expected);
        for (i, piece) in pieces.iter().enumerate() {
            assert_eq!(piece.fragment, i + 1 < pieces.len(), "piece {i} of {}", pieces.len());
            assert_eq!((&piece.header, piece.watch_id), (&whole.header, whole.watch_id));
            assert!(piece.events.len() == 1 || piece.encoded_len() < limit_bytes || pieces.len() == 1);
        }
        let events: Vec<_> = pieces.into_iter().flat_map(|piece| piece.events).collect();
        assert_eq!(events, whole.events, "nothing is lost, repeated or reordered");
    }

    #[test]
    fn small_responses_stay_whole() {
        check(&[10, 10], 1_000, &[&[10, 10]]);
        check(&[], 1, &[&[]]);
    }

    #[test]
    fn one_event_is_never_cut() {
        check(&[5_000], 1_000, &[&[5_000]]);
    }

    #[test]
    fn pieces_are_filled_up_to_the_limit() {
        check(&[300, 300, 300, 300, 300], 1_000, &[&[300, 300, 300], &[300, 300]]);
    }

    #[test]
    fn an_event_above_the_limit_goes_alone() {
        check(&[10, 5_000, 10, 10], 1_000, &[&[10], &[5_000], &[10, 10]]);
    }

    #[test]
    fn a_piece_of_exactly_the_limit_is_too_large() {
        let two = pb::WatchResponse { fragment: true, ..response(&[100, 100]) }.encoded_len();
        check(&[100, 100, 100], two, &[&[100], &[100], &[100]]);
        check(&[100, 100, 100], two + 1, &[&[100, 100], &[100]]);
    }
}
