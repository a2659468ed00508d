use evenkeel_storage::value_crc;
use prost::Message;

use super::*;

const SEGMENT: u32 = 7;
const PAYLOAD_AT: u32 = 4_000;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn pb_put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

fn pb_op(request: PbOp) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// Encodes a request as a log entry and decodes it again, as apply does.
fn logged(request: &pb::InternalRaftRequest) -> (Bytes, pb::InternalRaftRequest, Place) {
    let payload = Bytes::from_owner(request.encode_to_vec());
    let decoded = pb::InternalRaftRequest::decode(payload.clone()).expect("just encoded");
    let place = Place { segment: SEGMENT, offset: PAYLOAD_AT, len: payload.len() as u32 };
    (payload, decoded, place)
}

/// Visits every value that a log entry carries.
fn for_each_value(request: &pb::InternalRaftRequest, mut visit: impl FnMut(&Bytes)) {
    if let Some(put) = &request.put {
        visit(&put.value);
    }
    if let Some(txn) = &request.txn {
        for_each_value_in(txn, &mut visit);
    }
}

fn for_each_value_in(request: &pb::TxnRequest, visit: &mut impl FnMut(&Bytes)) {
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(PbOp::RequestPut(put)) => visit(&put.value),
            Some(PbOp::RequestTxn(nested)) => for_each_value_in(nested, visit),
            _ => {}
        }
    }
}

/// Every value of `request` is found at its place in the payload.
#[track_caller]
fn check_places(request: pb::InternalRaftRequest, expected: &[&str]) {
    let (payload, decoded, place) = logged(&request);
    let mut found = Vec::new();
    for_each_value(&decoded, |value| {
        let at = value_ref(place, &payload, value);
        if at.is_empty() {
            return found.push(String::new());
        }
        assert_eq!(at.segment, SEGMENT);
        let start = (at.offset - PAYLOAD_AT) as usize;
        let there = &payload[start..start + at.len as usize];
        assert_eq!(at.crc, value_crc(there));
        found.push(String::from_utf8(there.to_vec()).unwrap());
    });
    assert_eq!(found, expected);
}

#[test]
fn a_puts_value_is_found_in_its_payload() {
    check_places(pb::InternalRaftRequest { put: Some(pb_put("k", "value")), ..Default::default() }, &["value"]);
}

#[test]
fn an_empty_value_has_no_place() {
    check_places(pb::InternalRaftRequest { put: Some(pb_put("k", "")), ..Default::default() }, &[""]);
}

#[test]
fn values_in_nested_transactions_are_found() {
    let nested = pb::TxnRequest { success: vec![pb_op(PbOp::RequestPut(pb_put("c", "three")))], ..Default::default() };
    let txn = pb::TxnRequest {
        success: vec![pb_op(PbOp::RequestPut(pb_put("a", "one"))), pb_op(PbOp::RequestTxn(nested))],
        failure: vec![pb_op(PbOp::RequestPut(pb_put("b", "two")))],
        ..Default::default()
    };
    check_places(pb::InternalRaftRequest { txn: Some(txn), ..Default::default() }, &["one", "three", "two"]);
}

#[test]
#[should_panic(expected = "a value is a slice of its payload")]
fn a_copied_value_has_no_place() {
    let payload = bytes("payload");
    value_ref(Place { segment: SEGMENT, offset: PAYLOAD_AT, len: 7 }, &payload, &bytes("load"));
}

#[track_caller]
fn check_command(request: pb::InternalRaftRequest, expected: Option<Command>) {
    let (payload, decoded, place) = logged(&request);
    assert_eq!(command(&decoded, |value| value_ref(place, &payload, value)), expected);
}

#[test]
fn each_request_about_keys_and_leases_is_a_command() {
    let none = pb::InternalRaftRequest::default;
    check_command(
        pb::InternalRaftRequest {
            delete_range: Some(pb::DeleteRangeRequest { key: bytes("a"), range_end: bytes("c"), prev_kv: true }),
            ..none()
        },
        Some(Command::DeleteRange(DeleteRange { interval: Interval::from_wire(b"a", b"c"), prev_kv: true })),
    );
    check_command(
        pb::InternalRaftRequest { compaction: Some(pb::CompactionRequest { revision: 9, physical: true }), ..none() },
        Some(Command::Compact { revision: Revision(9) }),
    );
    check_command(
        pb::InternalRaftRequest { lease_grant: Some(pb::LeaseGrantRequest { ttl: 60, id: -3 }), ..none() },
        Some(Command::LeaseGrant { id: LeaseId(-3), ttl_seconds: 60 }),
    );
    check_command(
        pb::InternalRaftRequest { lease_revoke: Some(pb::LeaseRevokeRequest { id: 5 }), ..none() },
        Some(Command::LeaseRevoke { id: LeaseId(5), granted_at: None }),
    );
    let checkpoint = pb::LeaseCheckpoint { id: 5, remaining_ttl: 30, granted_at: 9 };
    check_command(
        pb::InternalRaftRequest {
            lease_checkpoint: Some(pb::LeaseCheckpointRequest { checkpoints: vec![checkpoint] }),
            ..none()
        },
        Some(Command::LeaseCheckpoint(vec![LeaseCheckpoint {
            id: LeaseId(5),
            remaining_seconds: 30,
            granted_at: Some(9),
        }])),
    );
}

#[test]
fn requests_about_the_cluster_are_not_commands() {
    check_command(pb::InternalRaftRequest::default(), None);
    check_command(pb::InternalRaftRequest { alarm: Some(pb::AlarmRequest::default()), ..Default::default() }, None);
}

#[test]
fn what_has_no_meaning_is_refused_by_the_store() {
    for op in [
        pb::RequestOp { request: None },
        pb_op(PbOp::RequestRange(pb::RangeRequest { key: bytes("k"), sort_order: 9, ..Default::default() })),
    ] {
        let txn = pb::TxnRequest { success: vec![op], ..Default::default() };
        let command = command(&pb::InternalRaftRequest { txn: Some(txn), ..Default::default() }, unplaced).unwrap();
        let Command::Put(put) = command else { panic!("not a put: {command:?}") };
        assert_eq!(evenkeel_mvcc::Store::check_put(&put), Err(Error::EmptyKey));
    }
}

#[test]
fn every_field_of_a_range_arrives() {
    let request = pb::RangeRequest {
        key: bytes("a"),
        range_end: bytes("\0"),
        limit: 3,
        revision: 4,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 5,
        max_mod_revision: 6,
        min_create_revision: 7,
        max_create_revision: 8,
    };
    let expected = RangeQuery {
        interval: Interval::from_wire(b"a", b"\0"),
        revision: 4,
        limit: 3,
        order: SortOrder::Descend,
        target: SortTarget::Value,
        keys_only: true,
        count_only: true,
        min_mod: 5,
        max_mod: 6,
        min_create: 7,
        max_create: 8,
    };
    assert_eq!(range_query(&request), Ok(expected));
}

#[test]
fn a_range_is_checked_key_first() {
    let request = |key: &str, sort_order, sort_target| pb::RangeRequest {
        key: bytes(key),
        sort_order,
        sort_target,
        ..Default::default()
    };
    for (request, error) in [
        (request("", 0, 0), Error::EmptyKey),
        (request("", 9, 0), Error::EmptyKey),
        (request("k", 9, 0), Error::InvalidSort),
        (request("k", -1, 0), Error::InvalidSort),
        (request("k", 0, 5), Error::InvalidSort),
    ] {
        assert_eq!(range_query(&request), Err(error), "{request:?}");
    }
}

#[test]
fn comparisons_keep_target_operand_and_result() {
    let wire = |result, target, target_union| pb::Compare {
        result,
        target,
        key: bytes("k"),
        range_end: Bytes::new(),
        target_union,
    };
    for (request, result, target) in [
        (wire(0, 0, Some(TargetUnion::Version(3))), CompareResult::Equal, CompareTarget::Version(3)),
        (wire(1, 1, Some(TargetUnion::CreateRevision(4))), CompareResult::Greater, CompareTarget::Create(4)),
        (wire(2, 2, Some(TargetUnion::ModRevision(5))), CompareResult::Less, CompareTarget::Mod(5)),
        (
            wire(3, 3, Some(TargetUnion::Value(bytes("v")))),
            CompareResult::NotEqual,
            CompareTarget::Value(b"v".to_vec()),
        ),
        (wire(0, 4, Some(TargetUnion::Lease(6))), CompareResult::Equal, CompareTarget::Lease(6)),
        (wire(0, 2, None), CompareResult::Equal, CompareTarget::Mod(0)),
        (wire(0, 2, Some(TargetUnion::Version(9))), CompareResult::Equal, CompareTarget::Mod(0)),
    ] {
        let expected = Compare { interval: Interval::from_wire(b"k", b""), result, target };
        assert_eq!(compare(&request), expected, "{request:?}");
    }
}

#[test]
fn a_transaction_is_serializable_when_all_its_ranges_are() {
    let range = |serializable| {
        pb_op(PbOp::RequestRange(pb::RangeRequest { key: bytes("k"), serializable, ..Default::default() }))
    };
    let txn = |success, failure| pb::TxnRequest { success, failure, ..Default::default() };
    for (request, expected) in [
        (txn(vec![], vec![]), true),
        (txn(vec![range(true)], vec![range(true)]), true),
        (txn(vec![range(true)], vec![range(false)]), false),
        (txn(vec![range(false)], vec![]), false),
    ] {
        assert_eq!(is_serializable(&request), expected, "{request:?}");
    }
}

#[test]
fn a_put_anywhere_in_a_transaction_is_seen() {
    let put = || pb_op(PbOp::RequestPut(pb_put("k", "v")));
    let nested = |op| pb_op(PbOp::RequestTxn(pb::TxnRequest { failure: vec![op], ..Default::default() }));
    let delete = || pb_op(PbOp::RequestDeleteRange(pb::DeleteRangeRequest::default()));
    for (op, expected) in [(put(), true), (nested(put()), true), (delete(), false), (nested(delete()), false)] {
        let request = pb::TxnRequest { success: vec![op], ..Default::default() };
        assert_eq!(has_put(&request), expected, "{request:?}");
    }
}
