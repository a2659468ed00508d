use evenkeel_proto::etcdserverpb::auth_server::Auth;
use evenkeel_proto::etcdserverpb::cluster_server::Cluster;
use evenkeel_proto::etcdserverpb::kv_server::Kv;
use evenkeel_proto::etcdserverpb::maintenance_server::Maintenance;
use evenkeel_proto::health::health_server::Health;
use evenkeel_proto::{etcdserverpb as pb, health, mvccpb};
use futures_util::StreamExt;
use pb::request_op::Request as Op;
use pb::response_op::Response as OpResponse;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request};

use super::rig::{self, Rig, bytes};

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn delete(key: &str, range_end: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: bytes(key), range_end: bytes(range_end), prev_kv: true }
}

fn kv_text(kv: &mvccpb::KeyValue) -> String {
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let (key, value) = (text(&kv.key), text(&kv.value));
    format!("{key}={value} c{} m{} v{}", kv.create_revision, kv.mod_revision, kv.version)
}

#[tokio::test]
async fn keys_are_written_read_and_deleted() {
    let rig = Rig::start().await;
    let kv = &rig.services.kv;
    let first = kv.put(Request::new(rig::put("a", "1"))).await.unwrap().into_inner();
    let header = first.header.unwrap();
    assert_eq!((header.revision, header.member_id), (2, rig.member.ids().member));
    assert_eq!((header.cluster_id, header.raft_term), (rig.member.ids().cluster, rig.member.standing().term.0));
    assert_eq!(first.prev_kv, None);

    let again = pb::PutRequest { prev_kv: true, ..rig::put("a", "2") };
    let again = kv.put(Request::new(again)).await.unwrap().into_inner();
    assert_eq!(kv_text(&again.prev_kv.unwrap()), "a=1 c2 m2 v1");

    kv.put(Request::new(rig::put("b", ""))).await.unwrap();
    let both = pb::RangeRequest { limit: 1, ..rig::range("a", "\0") };
    let both = kv.range(Request::new(both)).await.unwrap().into_inner();
    assert_eq!(both.kvs.iter().map(kv_text).collect::<Vec<_>>(), ["a=2 c2 m3 v2"]);
    assert_eq!((both.count, both.more, both.header.unwrap().revision), (2, true, 4));
    let old = pb::RangeRequest { revision: 2, serializable: true, ..rig::range("a", "") };
    let old = kv.range(Request::new(old)).await.unwrap().into_inner();
    assert_eq!(kv_text(&old.kvs[0]), "a=1 c2 m2 v1");
    assert_eq!(old.header.unwrap().revision, 4, "the store's, not the one read at");

    let gone = kv.delete_range(Request::new(delete("a", "\0"))).await.unwrap().into_inner();
    assert_eq!((gone.deleted, gone.prev_kvs.len(), gone.header.unwrap().revision), (2, 2, 5));
    let nothing = kv.delete_range(Request::new(delete("a", "\0"))).await.unwrap().into_inner();
    assert_eq!((nothing.deleted, nothing.header.unwrap().revision), (0, 5));
    rig.stop();
}

#[tokio::test]
async fn a_transaction_answers_for_each_operation() {
    let rig = Rig::start().await;
    let nested = pb::TxnRequest { success: vec![op(Op::RequestPut(rig::put("n", "3")))], ..Default::default() };
    let txn = pb::TxnRequest {
        compare: vec![pb::Compare { target: 2, key: bytes("a"), ..Default::default() }],
        success: vec![
            op(Op::RequestPut(rig::put("a", "1"))),
            op(Op::RequestRange(rig::range("a", "\0"))),
            op(Op::RequestTxn(nested)),
        ],
        failure: vec![op(Op::RequestRange(rig::range("a", "")))],
    };
    let done = rig.services.kv.txn(Request::new(txn.clone())).await.unwrap().into_inner();
    assert!(done.succeeded);
    assert_eq!(done.header.unwrap().revision, 2);
    let answers: Vec<_> = done.responses.into_iter().map(|op| op.response.unwrap()).collect();
    let [OpResponse::ResponsePut(put), OpResponse::ResponseRange(range), OpResponse::ResponseTxn(nested)] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    let revision_only = pb::ResponseHeader { revision: 2, ..Default::default() };
    assert_eq!(put.header, Some(revision_only));
    assert_eq!(range.kvs.iter().map(kv_text).collect::<Vec<_>>(), ["a=1 c2 m2 v1"]);
    assert_eq!(nested.header, Some(pb::ResponseHeader::default()));

    let otherwise = rig.services.kv.txn(Request::new(txn)).await.unwrap().into_inner();
    assert!(!otherwise.succeeded);
    assert_eq!(otherwise.header.unwrap().revision, 2);
    rig.stop();
}

#[tokio::test]
async fn a_transaction_that_only_reads_leaves_the_log_alone() {
    let rig = Rig::start().await;
    let before = rig.member.raft_status().last_index;
    let txn = pb::TxnRequest { success: vec![op(Op::RequestRange(rig::range("a", "")))], ..Default::default() };
    assert!(rig.services.kv.txn(Request::new(txn)).await.unwrap().into_inner().succeeded);
    rig.services.kv.range(Request::new(rig::range("a", ""))).await.unwrap();
    assert_eq!(rig.member.raft_status().last_index, before);
    rig.stop();
}

#[tokio::test]
async fn bad_requests_are_refused_with_etcds_texts_and_log_nothing() {
    let rig = Rig::start_with(|config| config.max_txn_ops = 2).await;
    let kv = &rig.services.kv;
    let before = rig.member.raft_status().last_index;
    for (request, text) in [
        (rig::range("", ""), "etcdserver: key is not provided"),
        (pb::RangeRequest { sort_order: 7, ..rig::range("a", "") }, "etcdserver: invalid sort option"),
        (
            pb::RangeRequest { revision: 9, ..rig::range("a", "") },
            "etcdserver: mvcc: required revision is a future revision",
        ),
    ] {
        assert_eq!(kv.range(Request::new(request)).await.unwrap_err().message(), text);
    }
    for (request, text) in [
        (rig::put("", "v"), "etcdserver: key is not provided"),
        (pb::PutRequest { ignore_value: true, ..rig::put("a", "v") }, "etcdserver: value is provided"),
        (pb::PutRequest { ignore_lease: true, lease: 3, ..rig::put("a", "v") }, "etcdserver: lease is provided"),
    ] {
        assert_eq!(kv.put(Request::new(request)).await.unwrap_err().message(), text);
    }
    let error = kv.delete_range(Request::new(delete("", ""))).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: key is not provided");
    let txn = |success| pb::TxnRequest { success, ..Default::default() };
    let put = |key| op(Op::RequestPut(rig::put(key, "v")));
    for (request, text) in [
        (txn(vec![put("a"), put("b"), put("c")]), "etcdserver: too many operations in txn request"),
        (txn(vec![put("a"), put("a")]), "etcdserver: duplicate key given in txn request"),
        (
            txn(vec![put("a"), op(Op::RequestDeleteRange(delete("a", "b")))]),
            "etcdserver: duplicate key given in txn request",
        ),
        (txn(vec![pb::RequestOp { request: None }]), "etcdserver: key not found"),
        (txn(vec![put("")]), "etcdserver: key is not provided"),
    ] {
        assert_eq!(kv.txn(Request::new(request)).await.unwrap_err().message(), text);
    }
    let large = rig::put("a", &"x".repeat(rig.member.config().max_request_bytes));
    assert_eq!(kv.put(Request::new(large)).await.unwrap_err().message(), "etcdserver: request is too large");
    assert_eq!(rig.member.raft_status().last_index, before);

    // What depends on the store is refused when it is applied.
    for (request, text) in [
        (pb::PutRequest { ignore_value: true, ..rig::put("a", "") }, "etcdserver: key not found"),
        (pb::PutRequest { lease: 404, ..rig::put("a", "v") }, "etcdserver: requested lease not found"),
    ] {
        assert_eq!(kv.put(Request::new(request)).await.unwrap_err().message(), text);
    }
    let compact = kv.compact(Request::new(pb::CompactionRequest { revision: 9, physical: false })).await.unwrap_err();
    assert_eq!(compact.code(), Code::OutOfRange);
    rig.stop();
}

#[tokio::test]
async fn what_an_answer_shows_outlives_compaction_until_it_is_sent() {
    let rig = Rig::start_with(|config| {
        config.wal_segment_bytes = 16 << 10;
        config.value_cache_bytes = 0;
        (config.snapshot_count, config.snapshot_catchup_entries) = (10, 0);
    })
    .await;
    let (kv, member) = (&rig.services.kv, &rig.member);
    let segments = || member.values().log().segments().into_iter().map(|known| known.segment).collect::<Vec<u32>>();
    let goes_on = async || {
        kv.answer_put(rig::put("b", &"x".repeat(2_000))).await.unwrap();
        let revision = member.view().revision().0;
        kv.answer_compact(pb::CompactionRequest { revision, physical: false }).await.unwrap();
    };
    kv.answer_put(rig::put("a", "before")).await.unwrap();
    let put = pb::PutRequest { prev_kv: true, ..rig::put("a", "now") };
    let reply = member.propose(pb::InternalRaftRequest { put: Some(put), ..Default::default() }).await.unwrap();
    let Ok(evenkeel_mvcc::Response::Put { prev: Some(row) }) = &reply.result else { panic!("{reply:?}") };
    let segment = row.value.segment;
    // What replaced it lies in the same segment, and would keep that.
    kv.answer_delete(delete("a", "")).await.unwrap();

    // Nobody needs the value but the answer: later segments go, its own stays.
    let mut later = None;
    for round in 0.. {
        assert!(round < 1_000, "the log never shrinks");
        goes_on().await;
        later = later.or_else(|| segments().into_iter().find(|known| segment < *known));
        if later.is_some_and(|later| !segments().contains(&later)) {
            break;
        }
    }
    assert!(segments().contains(&segment));
    assert_eq!(&super::compose::key_value(row, &**member).unwrap().value[..], b"before");
    drop(reply);
    for round in 0.. {
        assert!(round < 1_000, "the segment is never freed");
        goes_on().await;
        if !segments().contains(&segment) {
            break;
        }
    }
    rig.stop();
}

#[tokio::test]
async fn a_range_in_pieces_is_the_same_range() {
    let rig = Rig::start().await;
    for n in 0..100 {
        rig.services.kv.answer_put(rig::put(&format!("k{n:02}"), "v")).await.unwrap();
    }
    // Without a limit, and with one that ends inside the second piece.
    for (limit, sizes, more) in
        [(0, vec![10, 20, 40, 30], false), (25, vec![10, 15], true), (100, vec![10, 20, 40, 30], false)]
    {
        let request = pb::RangeRequest { limit, ..rig::range("k", "l") };
        let whole = rig.services.kv.answer_range(request.clone()).await.unwrap();
        let stream = rig.services.kv.range_stream(Request::new(request)).await.unwrap().into_inner();
        let pieces: Vec<_> = stream.map(|piece| piece.unwrap().range_response.unwrap()).collect().await;
        assert_eq!(pieces.iter().map(|piece| piece.kvs.len()).collect::<Vec<_>>(), sizes);
        let (last, others) = pieces.split_last().unwrap();
        assert_eq!((last.count, last.more, &last.header), (100, more, &whole.header));
        assert!(others.iter().all(|piece| piece.header.is_none() && piece.count == 0 && !piece.more));
        assert_eq!(pieces.into_iter().flat_map(|piece| piece.kvs).collect::<Vec<_>>(), whole.kvs);
    }
    for (request, pieces) in [
        (pb::RangeRequest { count_only: true, ..rig::range("k", "l") }, 1),
        (rig::range("k07", ""), 1),
        (rig::range("absent", ""), 1),
    ] {
        let stream = rig.services.kv.range_stream(Request::new(request)).await.unwrap().into_inner();
        assert_eq!(stream.count().await, pieces);
    }
    let sorted = pb::RangeRequest { sort_order: 2, ..rig::range("k", "l") };
    let error = rig.services.kv.range_stream(Request::new(sorted)).await.err().unwrap();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Unimplemented, "RangeStream does not support custom sort orders")
    );
    rig.stop();
}

#[tokio::test]
async fn metadata_is_looked_at_before_the_request() {
    let rig = Rig::start().await;
    let mut request = Request::new(rig::range("a", ""));
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    request.metadata_mut().insert("client-api-version", "3.7.3".parse().unwrap());
    rig.services.kv.range(request).await.unwrap();
    let mut request = Request::new(rig::range("a", ""));
    let not_text = AsciiMetadataValue::try_from(&[0xff, 0xfe][..]).unwrap();
    request.metadata_mut().insert("client-api-version", not_text);
    let error = rig.services.kv.range(request).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: invalid client api version");
    rig.stop();
}

#[tokio::test]
async fn a_member_tells_its_status() {
    let rig = Rig::start().await;
    rig.services.kv.answer_put(rig::put("a", "1")).await.unwrap();
    let maintenance = &rig.services.maintenance;
    let status = maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner();
    assert_eq!((status.version.as_str(), status.leader), ("3.7.3", rig.member.ids().member));
    assert_eq!(status.header.unwrap().revision, 2);
    assert!(0 < status.db_size_in_use && status.db_size_in_use <= status.db_size);
    assert!(status.raft_applied_index <= status.raft_index && 0 < status.raft_term);
    assert_eq!((status.db_size_quota, status.is_learner, status.errors), (2 << 30, false, vec![]));

    let hash = maintenance.hash_kv(Request::new(pb::HashKvRequest { revision: 0 })).await.unwrap().into_inner();
    assert_eq!((hash.compact_revision, hash.hash_revision), (-1, 2));
    maintenance.hash(Request::new(pb::HashRequest {})).await.unwrap();
    maintenance.defragment(Request::new(pb::DefragmentRequest {})).await.unwrap();
    rig.stop();
}

#[tokio::test]
async fn alarms_are_raised_listed_and_cleared() {
    let rig = Rig::start().await;
    let (get, activate, deactivate) = (0, 1, 2);
    let (none, nospace, corrupt) = (0, 1, 2);
    let alarm = async |action, alarm| {
        let request = Request::new(pb::AlarmRequest { action, member_id: 5, alarm });
        rig.services.maintenance.alarm(request).await.unwrap().into_inner().alarms
    };
    let raised = vec![pb::AlarmMember { member_id: 5, alarm: nospace }];
    assert_eq!(alarm(activate, nospace).await, raised);
    assert_eq!(alarm(activate, none).await, []);
    assert_eq!(alarm(get, none).await, raised);
    assert_eq!(alarm(get, corrupt).await, []);
    let error = rig.services.kv.answer_put(rig::put("a", "1")).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: mvcc: database space exceeded");
    let status = rig.services.maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner();
    assert_eq!(status.errors, ["memberID:5 alarm:NOSPACE "]);
    assert_eq!(alarm(deactivate, nospace).await, raised);
    assert_eq!(alarm(deactivate, nospace).await, []);
    assert_eq!(alarm(get, none).await, []);
    rig.stop();
}

#[tokio::test]
async fn the_smaller_services_answer() {
    let rig = Rig::start().await;
    let list = Request::new(pb::MemberListRequest { linearizable: true });
    let list = rig.services.cluster.member_list(list).await.unwrap().into_inner();
    assert_eq!((list.members.len(), list.header.unwrap().revision), (1, 0));
    let error = rig.services.cluster.member_add(Request::new(pb::MemberAddRequest::default())).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: given member URLs are invalid");
    let auth = rig.services.auth.auth_status(Request::new(pb::AuthStatusRequest {})).await.unwrap().into_inner();
    assert_eq!((auth.enabled, auth.auth_revision), (false, 1));
    let error = rig.services.auth.role_list(Request::new(pb::AuthRoleListRequest {})).await.unwrap_err();
    assert_eq!(error.message(), "evenkeel: authentication is not supported yet");
    let check =
        |service: &str| rig.services.health.check(Request::new(health::HealthCheckRequest { service: service.into() }));
    assert_eq!(check("").await.unwrap().into_inner().status, 1);
    assert_eq!(check("other").await.unwrap_err().code(), Code::NotFound);
    let watch = Request::new(health::HealthCheckRequest { service: String::new() });
    let mut watch = rig.services.health.watch(watch).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    rig.stop();
}

/// With one thread for all tasks: without another one for them meanwhile, nothing else would happen until the entry is
/// applied, and no heartbeat be sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[allow(clippy::disallowed_methods, reason = "a thread that holds the state")]
async fn who_waits_for_a_long_entry_keeps_no_other_task_waiting() {
    let rig = Rig::start().await;
    let (held, is_held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let member = rig.member.clone();
    let applying = std::thread::spawn(move || {
        member.change(|_| {
            held.send(()).unwrap();
            released.recv().unwrap();
        });
    });
    is_held.recv().unwrap();
    let (begins, has_begun) = tokio::sync::oneshot::channel();
    let member = rig.member.clone();
    let reader = tokio::spawn(async move {
        begins.send(()).unwrap();
        member.view().revision()
    });
    has_begun.await.unwrap();
    let other = tokio::spawn(async {});
    tokio::time::timeout(std::time::Duration::from_secs(30), other).await.expect("it does not wait").unwrap();
    assert!(!reader.is_finished());
    release.send(()).unwrap();
    assert!(reader.await.unwrap().0 >= 1);
    applying.join().unwrap();
    rig.stop();
}
