//! An unmodified client from the outside world, the crate `etcd-client`, against real processes: KV, Txn, Watch, Lease.
//!
//! Each claim is made of a single member and of three, where every step may meet another member.
#![cfg(not(madsim))]

mod support;

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LeaseTimeToLiveOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, WatchOptions, WatchResponse, WatchStream,
};
use support::{Cluster, PATIENCE};
use tokio::time::timeout;

/// Defines a claim over one member and over three.
macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        mod one_member { $(#[tokio::test] async fn $name() { super::$name(&super::Clients::of(1).await).await; })* }
        mod three_members { $(#[tokio::test] async fn $name() { super::$name(&super::Clients::of(3).await).await; })* }
    };
}

claims! {
    keys_are_put_read_and_deleted,
    ranges_are_limited_sorted_and_counted,
    old_revisions_are_read_until_compacted,
    transactions_compare_and_branch,
    a_watch_delivers_history_and_news_in_order,
    a_compacted_watch_is_cancelled_and_says_where_history_begins,
    keys_of_a_revoked_lease_are_deleted,
    a_lease_expires_unless_it_is_kept_alive,
}

/// A running cluster with a client of each member.
struct Clients {
    each: Vec<Client>,
    _cluster: Cluster,
}

impl Clients {
    async fn of(size: usize) -> Clients {
        let cluster = Cluster::serving(size);
        let mut each = Vec::new();
        for endpoint in cluster.endpoints() {
            each.push(Client::connect([endpoint], None).await.expect("a serving member accepts connections"));
        }
        Clients { each, _cluster: cluster }
    }

    /// A client of the `index`th member, counted around.
    fn at(&self, index: usize) -> Client {
        self.each[index % self.each.len()].clone()
    }
}

/// The text of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::GRpcStatus(status)) => status.message().to_owned(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn next(stream: &mut WatchStream) -> WatchResponse {
    let response = timeout(PATIENCE, stream.message()).await.expect("a watch answers in time");
    response.expect("the stream is sound").expect("the stream is open")
}

/// The next `count` events as (type, key, value, revision).
async fn events(stream: &mut WatchStream, count: usize) -> Vec<(EventType, String, String, i64)> {
    let mut events = Vec::new();
    while events.len() < count {
        let response = next(stream).await;
        assert!(!response.canceled(), "{}", response.cancel_reason());
        events.extend(response.events().iter().map(|event| {
            let kv = event.kv().expect("an event has its key");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the test writes text");
            (event.event_type(), text(kv.key()), text(kv.value()), kv.mod_revision())
        }));
    }
    events
}

async fn keys_are_put_read_and_deleted(clients: &Clients) {
    let put = clients.at(0).put("k", "1", None).await.unwrap();
    let first = put.header().unwrap().revision();
    let put = clients.at(1).put("k", "2", Some(PutOptions::new().with_prev_key())).await.unwrap();
    assert_eq!(put.prev_key().unwrap().value(), b"1");
    let got = clients.at(2).get("k", None).await.unwrap();
    let kv = &got.kvs()[0];
    assert_eq!((kv.value(), kv.create_revision(), kv.mod_revision(), kv.version()), (&b"2"[..], first, first + 1, 2));
    let deleted = clients.at(0).delete("k", Some(DeleteOptions::new().with_prev_key())).await.unwrap();
    assert_eq!((deleted.deleted(), deleted.prev_kvs()[0].value()), (1, &b"2"[..]));
    assert!(clients.at(1).get("k", None).await.unwrap().kvs().is_empty());
    assert_eq!(clients.at(2).delete("k", None).await.unwrap().deleted(), 0);
    assert_eq!(refusal(clients.at(0).put("", "x", None).await), "etcdserver: key is not provided");
}

async fn ranges_are_limited_sorted_and_counted(clients: &Clients) {
    for (index, value) in ["c", "a", "b"].into_iter().enumerate() {
        clients.at(index).put(format!("p/{index}"), value, None).await.unwrap();
    }
    clients.at(0).put("q", "outside", None).await.unwrap();
    let prefix = GetOptions::new().with_prefix();
    let by_value = prefix.clone().with_sort(SortTarget::Value, SortOrder::Descend).with_limit(2);
    let page = clients.at(1).get("p/", Some(by_value)).await.unwrap();
    let values: Vec<&[u8]> = page.kvs().iter().map(|kv| kv.value()).collect();
    assert_eq!(values, [b"c", b"b"]);
    assert!(page.more());
    assert_eq!(page.count(), 3);
    let count = clients.at(2).get("p/", Some(prefix.clone().with_count_only())).await.unwrap();
    assert_eq!((count.count(), count.kvs().len()), (3, 0));
    let keys = clients.at(0).get("p/", Some(prefix.with_keys_only())).await.unwrap();
    assert!(keys.kvs().len() == 3 && keys.kvs().iter().all(|kv| kv.value().is_empty()));
}

async fn old_revisions_are_read_until_compacted(clients: &Clients) {
    let mut revisions = Vec::new();
    for value in ["1", "2", "3"] {
        revisions.push(clients.at(0).put("k", value, None).await.unwrap().header().unwrap().revision());
    }
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    let old = clients.at(1).get("k", at(revisions[0])).await.unwrap();
    assert_eq!(old.kvs()[0].value(), b"1");
    clients.at(2).compact(revisions[1], None).await.unwrap();
    let kept = clients.at(0).get("k", at(revisions[1])).await.unwrap();
    assert_eq!(kept.kvs()[0].value(), b"2");
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(refusal(clients.at(0).get("k", at(revisions[0])).await), compacted);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(refusal(clients.at(1).get("k", at(revisions[2] + 1_000)).await), future);
}

async fn transactions_compare_and_branch(clients: &Clients) {
    let create = |value: &str| {
        Txn::new()
            .when([Compare::create_revision("k", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("k", value, None)])
            .or_else([TxnOp::get("k", None)])
    };
    let created = clients.at(0).txn(create("first")).await.unwrap();
    assert!(created.succeeded());
    let refused = clients.at(1).txn(create("second")).await.unwrap();
    assert!(!refused.succeeded());
    match &refused.op_responses()[..] {
        [etcd_client::TxnOpResponse::Get(got)] => assert_eq!(got.kvs()[0].value(), b"first"),
        other => panic!("{other:?}"),
    }
    let nested = Txn::new().and_then([
        TxnOp::put("a", "1", None),
        TxnOp::txn(Txn::new().and_then([TxnOp::put("b", "2", None)])),
        TxnOp::delete("k", None),
    ]);
    let revision = clients.at(2).txn(nested).await.unwrap().header().unwrap().revision();
    for key in ["a", "b"] {
        let got = clients.at(0).get(key, None).await.unwrap();
        assert_eq!(got.kvs()[0].mod_revision(), revision, "a transaction is one revision");
    }
    let twice = Txn::new().and_then([TxnOp::put("x", "1", None), TxnOp::put("x", "2", None)]);
    assert_eq!(refusal(clients.at(1).txn(twice).await), "etcdserver: duplicate key given in txn request");
}

async fn a_watch_delivers_history_and_news_in_order(clients: &Clients) {
    let start = clients.at(0).put("w/1", "old", None).await.unwrap().header().unwrap().revision();
    clients.at(1).put("other", "x", None).await.unwrap();
    let options = WatchOptions::new().with_prefix().with_start_revision(start).with_prev_key();
    let (_watcher, mut stream) = clients.at(2).watch("w/", Some(options)).await.unwrap();
    assert_eq!(
        events(&mut stream, 1).await,
        [(EventType::Put, "w/1".into(), "old".into(), start)],
        "history from the start revision"
    );
    clients.at(0).put("w/2", "new", None).await.unwrap();
    clients.at(1).delete("w/1", None).await.unwrap();
    assert_eq!(
        events(&mut stream, 2).await,
        [
            (EventType::Put, "w/2".into(), "new".into(), start + 2),
            (EventType::Delete, "w/1".into(), String::new(), start + 3)
        ],
        "then what happens"
    );
}

async fn a_compacted_watch_is_cancelled_and_says_where_history_begins(clients: &Clients) {
    for value in ["1", "2", "3"] {
        clients.at(0).put("k", value, None).await.unwrap();
    }
    let now = clients.at(0).put("k", "4", None).await.unwrap().header().unwrap().revision();
    clients.at(0).compact(now, None).await.unwrap();
    // The member that answers the watch has applied the compaction once it answers a linearizable read.
    clients.at(1).get("k", None).await.unwrap();
    let options = WatchOptions::new().with_start_revision(now - 2);
    let (_watcher, mut stream) = clients.at(1).watch("k", Some(options)).await.unwrap();
    let mut response = next(&mut stream).await;
    while !response.canceled() {
        assert!(response.events().is_empty(), "no event is delivered past a gap");
        response = next(&mut stream).await;
    }
    assert_eq!(response.compact_revision(), now);
}

async fn keys_of_a_revoked_lease_are_deleted(clients: &Clients) {
    let lease = clients.at(0).lease_grant(600, None).await.unwrap();
    assert_eq!(lease.ttl(), 600);
    for key in ["a", "b"] {
        clients.at(1).put(key, "x", Some(PutOptions::new().with_lease(lease.id()))).await.unwrap();
    }
    let keys = Some(LeaseTimeToLiveOptions::new().with_keys());
    let left = clients.at(2).lease_time_to_live(lease.id(), keys).await.unwrap();
    assert_eq!(left.keys(), [b"a", b"b"]);
    assert!((1..=600).contains(&left.ttl()) && left.granted_ttl() == 600, "{left:?}");
    assert!(clients.at(0).leases().await.unwrap().leases().iter().any(|status| status.id() == lease.id()));
    clients.at(1).lease_revoke(lease.id()).await.unwrap();
    assert!(clients.at(2).get("a", None).await.unwrap().kvs().is_empty());
    assert_eq!(refusal(clients.at(0).lease_revoke(lease.id()).await), "etcdserver: requested lease not found");
}

async fn a_lease_expires_unless_it_is_kept_alive(clients: &Clients) {
    let mut client = clients.at(0);
    let (kept, left) =
        (client.lease_grant(3, None).await.unwrap().id(), client.lease_grant(3, None).await.unwrap().id());
    let mut written = 0;
    for (key, lease) in [("kept", kept), ("left", left)] {
        let put = client.put(key, "x", Some(PutOptions::new().with_lease(lease))).await.unwrap();
        written = put.header().unwrap().revision();
    }
    // The other member may not have applied the last put yet, and would show it.
    let since = WatchOptions::new().with_start_revision(written + 1);
    let (_watcher, mut stream) = clients.at(1).watch("left", Some(since)).await.unwrap();
    let (mut keeper, mut answers) = clients.at(2).lease_keep_alive(kept).await.unwrap();
    let expired = async { events(&mut stream, 1).await };
    let keep = async {
        loop {
            keeper.keep_alive().await.unwrap();
            let answer = timeout(PATIENCE, answers.message()).await.expect("answers in time").unwrap().unwrap();
            assert_eq!(answer.ttl(), 3, "the lease lives while it is kept alive");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        biased;
        events = expired => assert_eq!(events[0].0, EventType::Delete),
        () = keep => unreachable!("it goes on"),
    }
    let got = clients.at(0).get("kept", None).await.unwrap();
    assert_eq!(got.kvs().len(), 1, "only the lease that nobody kept alive is gone");
}
