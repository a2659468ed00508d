//! The bytes on the wire are etcd's. Each line is a message and its encoding, worked out by hand from the field
//! numbers: tag = number * 8 + wire type (0 varint, 2 length-delimited).

use evenkeel_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use evenkeel_proto::etcdserverpb::*;
use evenkeel_proto::{membershippb, mvccpb, peer};
use prost::Message;

fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, hex: &str) {
    let bytes: String = message.encode_to_vec().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(bytes, hex.replace(' ', ""), "{message:?}");
    let again = M::decode(message.encode_to_vec().as_slice()).expect("decodes what it encoded");
    assert_eq!(again, *message);
}

#[test]
fn key_values() {
    let kv = mvccpb::KeyValue {
        key: "k".into(),
        create_revision: 2,
        mod_revision: 300,
        version: 1,
        value: "v".into(),
        lease: -1,
    };
    check(&kv, "0a016b 1002 18ac02 2001 2a0176 30ffffffffffffffffff01");
    let delete = mvccpb::Event { r#type: 1, kv: Some(mvccpb::KeyValue::default()), prev_kv: Some(kv) };
    check(&delete, "0801 1200 1a18 0a016b 1002 18ac02 2001 2a0176 30ffffffffffffffffff01");
}

#[test]
fn ranges() {
    let all = RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 1,
        revision: 2,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    };
    check(&all, "0a0161 120162 1801 2002 2802 3004 3801 4001 4801 5003 5804 6005 6806");
}

#[test]
fn transactions() {
    let compare = Compare {
        result: CompareResult::NotEqual.into(),
        target: CompareTarget::Lease.into(),
        key: "k".into(),
        range_end: "l".into(),
        target_union: Some(TargetUnion::Lease(7)),
    };
    check(&compare, "0803 1004 1a016b 4007 8204016c");
    let nested = RequestOp { request: Some(request_op::Request::RequestTxn(TxnRequest::default())) };
    check(&TxnRequest { compare: vec![], success: vec![], failure: vec![nested] }, "1a02 2200");
}

#[test]
fn watches() {
    let create = WatchCreateRequest {
        key: "k".into(),
        start_revision: 5,
        progress_notify: true,
        filters: vec![1],
        prev_kv: true,
        watch_id: 9,
        fragment: true,
        ..WatchCreateRequest::default()
    };
    check(&create, "0a016b 1805 2001 2a0101 3001 3809 4001");
    let canceled = WatchResponse {
        watch_id: -1,
        canceled: true,
        compact_revision: 8,
        cancel_reason: "x".into(),
        events: vec![mvccpb::Event::default()],
        ..WatchResponse::default()
    };
    check(&canceled, "10ffffffffffffffffff01 2001 2808 320178 5a00");
}

#[test]
fn log_entries() {
    let put = InternalRaftRequest {
        id: 1,
        header: Some(RequestHeader { id: 1, username: "u".into(), auth_revision: 2, requester_member_id: 0 }),
        put: Some(PutRequest { key: "k".into(), value: "v".into(), lease: 3, ..PutRequest::default() }),
        ..InternalRaftRequest::default()
    };
    check(&put, "0801 2208 0a016b 120176 1803 a20607 0801 120175 1802");
    let attributes = InternalRaftRequest {
        cluster_member_attr_set: Some(membershippb::ClusterMemberAttrSetRequest {
            member_id: 5,
            member_attributes: Some(membershippb::Attributes { name: "a".into(), client_urls: vec!["b".into()] }),
        }),
        ..InternalRaftRequest::default()
    };
    check(&attributes, "aa510a 0805 1206 0a0161 120162");
}

#[test]
fn a_log_entry_is_small_in_memory() {
    let size = size_of::<InternalRaftRequest>();
    assert!(size <= 1024, "{size} bytes: keep rare requests behind a pointer");
}

#[test]
fn peer_messages() {
    let heartbeat = peer::Envelope {
        cluster_id: 1,
        from: 2,
        to: 3,
        from_urls: Vec::new(),
        body: Some(peer::envelope::Body::Raft(peer::Raft {
            term: 4,
            body: Some(peer::raft::Body::Heartbeat(peer::Heartbeat { commit: 5, round: 6 })),
        })),
    };
    check(&heartbeat, "0801 1002 1803 2208 0804 3a04 0805 1006");
}
