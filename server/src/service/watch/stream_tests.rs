use futures_core::stream::BoxStream;

use super::super::rig::{self, Asking, Rig};
use super::*;

type Requested = BoxStream<'static, Result<pb::WatchRequest, Status>>;

struct Client {
    asking: Asking<pb::WatchRequest>,
    source: WatchSource<Requested>,
}

impl Client {
    fn of(rig: &Rig) -> Client {
        let (asking, requests) = Asking::new();
        let ending = Ending::new(&rig.member, true);
        let stream = WatchStream::new(Arc::clone(&rig.member));
        Client { asking, source: WatchSource { requests: Some(requests), ending, stream } }
    }

    fn ask(&self, request: RequestUnion) {
        self.asking.ask(pb::WatchRequest { request_union: Some(request) });
    }

    async fn create(&mut self, request: pb::WatchCreateRequest) -> pb::WatchResponse {
        self.ask(RequestUnion::CreateRequest(request));
        self.next().await
    }

    async fn next(&mut self) -> pb::WatchResponse {
        rig::next(&mut self.source).await.expect("no error").expect("no end")
    }

    /// The next events as text: `put a=1@2`, `delete a@3`.
    async fn events(&mut self) -> (i64, Vec<String>) {
        let response = self.next().await;
        assert!(!response.created && !response.canceled, "{response:?}");
        (response.watch_id, response.events.iter().map(event_text).collect())
    }
}

fn event_text(event: &evenkeel_proto::mvccpb::Event) -> String {
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let kv = event.kv.as_ref().expect("every event has a key");
    let after = match event.r#type {
        0 => format!("put {}={}@{}", text(&kv.key), text(&kv.value), kv.mod_revision),
        _ => format!("delete {}@{}", text(&kv.key), kv.mod_revision),
    };
    event.prev_kv.as_ref().map_or(after.clone(), |prev| format!("{after} was {}", text(&prev.value)))
}

fn watch(key: &str, range_end: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: rig::bytes(key), range_end: rig::bytes(range_end), ..Default::default() }
}

async fn put(rig: &Rig, key: &str, value: &str) {
    rig.services.kv.answer_put(rig::put(key, value)).await.expect("a put");
}

async fn delete(rig: &Rig, key: &str) {
    let request = pb::DeleteRangeRequest { key: rig::bytes(key), ..Default::default() };
    rig.services.kv.answer_delete(request).await.expect("a deletion");
}

async fn compact(rig: &Rig, revision: i64) {
    let request = pb::CompactionRequest { revision, physical: true };
    rig.services.kv.answer_compact(request).await.expect("a compaction");
}

#[tokio::test]
async fn created_comes_first_then_every_revision_in_order() {
    let rig = Rig::start().await;
    put(&rig, "a", "1").await;
    let mut client = Client::of(&rig);
    let created = client.create(pb::WatchCreateRequest { start_revision: 2, prev_kv: true, ..watch("a", "") }).await;
    assert!(created.created && !created.canceled && created.events.is_empty());
    assert_eq!((created.watch_id, created.header.unwrap().revision), (0, 2));
    assert_eq!(client.events().await, (0, vec!["put a=1@2".into()]));
    put(&rig, "b", "unseen").await;
    put(&rig, "a", "2").await;
    assert_eq!(client.events().await, (0, vec!["put a=2@4 was 1".into()]));
    delete(&rig, "a").await;
    assert_eq!(client.events().await, (0, vec!["delete a@5 was 2".into()]));
    rig.stop();
}

#[tokio::test]
async fn a_watch_from_the_past_gets_whole_revisions_at_once() {
    let rig = Rig::start().await;
    let op = |key: &str| pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(rig::put(key, "x"))) };
    let txn = pb::TxnRequest { success: vec![op("b"), op("a")], ..Default::default() };
    rig.services.kv.answer_txn(txn).await.expect("a transaction");
    put(&rig, "c", "y").await;
    let mut client = Client::of(&rig);
    client.create(pb::WatchCreateRequest { start_revision: 1, ..watch("a", "\0") }).await;
    assert_eq!(client.events().await, (0, vec!["put b=x@2".into(), "put a=x@2".into(), "put c=y@3".into()]));
    rig.stop();
}

#[tokio::test]
async fn ids_are_chosen_from_zero_around_the_clients_own() {
    let rig = Rig::start().await;
    let mut client = Client::of(&rig);
    let with_id = |watch_id| pb::WatchCreateRequest { watch_id, ..watch("a", "") };
    for (asked, given) in [(1, 1), (0, 0), (0, 2), (-5, -5), (0, 3)] {
        assert_eq!(client.create(with_id(asked)).await.watch_id, given);
    }
    let refused = client.create(with_id(1)).await;
    assert_eq!((refused.watch_id, refused.created, refused.canceled), (-1, true, true));
    assert_eq!(refused.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    assert_eq!(client.create(watch("b", "a")).await.cancel_reason, "mvcc: watcher range is empty");
    rig.stop();
}

#[tokio::test]
async fn a_cancelled_watch_says_so_once_and_its_id_is_free() {
    let rig = Rig::start().await;
    let mut client = Client::of(&rig);
    client.create(pb::WatchCreateRequest { watch_id: 7, ..watch("a", "") }).await;
    let cancel = |watch_id| RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
    client.ask(cancel(8)); // Unknown: no answer.
    client.ask(cancel(7));
    let canceled = client.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled, canceled.cancel_reason.as_str()), (7, true, ""));
    client.ask(cancel(7));
    put(&rig, "a", "1").await;
    assert!(rig::is_quiet(&mut client.source).await);
    assert!(client.create(pb::WatchCreateRequest { watch_id: 7, ..watch("a", "") }).await.created);
    rig.stop();
}

#[tokio::test]
async fn a_compacted_start_is_created_and_then_cancelled_with_the_floor() {
    let rig = Rig::start().await;
    for value in ["1", "2", "3"] {
        put(&rig, "a", value).await;
    }
    compact(&rig, 3).await;
    let mut client = Client::of(&rig);
    assert!(client.create(pb::WatchCreateRequest { start_revision: 2, ..watch("a", "") }).await.created);
    let canceled = client.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled, canceled.compact_revision), (0, true, 3));
    assert_eq!((canceled.header.unwrap().revision, canceled.cancel_reason.as_str()), (0, ""));
    // The floor itself can be watched from.
    client.create(pb::WatchCreateRequest { start_revision: 3, ..watch("a", "") }).await;
    assert_eq!(client.events().await, (1, vec!["put a=2@3".into(), "put a=3@4".into()]));
    rig.stop();
}

#[tokio::test]
async fn filters_drop_events_and_empty_batches_are_not_sent() {
    let rig = Rig::start().await;
    let mut client = Client::of(&rig);
    client.create(pb::WatchCreateRequest { filters: vec![FilterType::Noput as i32], ..watch("a", "") }).await;
    put(&rig, "a", "1").await;
    assert!(rig::is_quiet(&mut client.source).await);
    delete(&rig, "a").await;
    assert_eq!(client.events().await, (0, vec!["delete a@3".into()]));
    rig.stop();
}

#[tokio::test]
async fn progress_for_all_comes_after_the_events_and_not_before_a_future_start() {
    let rig = Rig::start().await;
    let mut client = Client::of(&rig);
    let progress = || RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    client.ask(progress());
    assert!(rig::is_quiet(&mut client.source).await, "no watcher, no progress");
    client.create(watch("a", "")).await;
    put(&rig, "a", "1").await;
    put(&rig, "b", "2").await;
    client.ask(progress());
    assert_eq!(client.events().await, (0, vec!["put a=1@2".into()]));
    let told = client.next().await;
    assert_eq!((told.watch_id, told.events.len(), told.header.unwrap().revision), (-1, 0, 3));
    client.create(pb::WatchCreateRequest { start_revision: 99, ..watch("a", "") }).await;
    client.ask(progress());
    assert!(rig::is_quiet(&mut client.source).await, "a start in the future has seen nothing");
    rig.stop();
}

#[tokio::test]
async fn quiet_watches_that_asked_for_it_hear_of_progress() {
    let rig = Rig::start_with(|config| config.watch_progress_notify_interval = Duration::from_millis(1)).await;
    put(&rig, "b", "x").await;
    let mut client = Client::of(&rig);
    client.create(watch("a", "")).await;
    client.create(pb::WatchCreateRequest { progress_notify: true, ..watch("a", "") }).await;
    for _ in 0..2 {
        let told = client.next().await;
        assert_eq!((told.watch_id, told.events.len(), told.header.unwrap().revision), (1, 0, 2));
    }
    rig.stop();
}

#[tokio::test]
async fn large_revisions_come_in_pieces_to_those_who_asked() {
    let rig = Rig::start_with(|config| config.max_request_bytes = 1_000_000).await;
    let mut client = Client::of(&rig);
    client.create(pb::WatchCreateRequest { fragment: true, start_revision: 2, ..watch("a", "\0") }).await;
    let large = "x".repeat(900_000);
    for key in ["a", "b"] {
        put(&rig, key, &large).await;
    }
    // Both go with one revision: their deletion, with what they were.
    let mut deleting = Client::of(&rig);
    let with_prev = pb::WatchCreateRequest { prev_kv: true, ..watch("a", "\0") };
    deleting.create(pb::WatchCreateRequest { fragment: true, ..with_prev.clone() }).await;
    deleting.create(with_prev).await;
    let request = pb::DeleteRangeRequest { key: rig::bytes("a"), range_end: rig::bytes("\0"), prev_kv: false };
    rig.services.kv.answer_delete(request).await.expect("a deletion");
    let mut shapes = Vec::new();
    for _ in 0..3 {
        let response = deleting.next().await;
        shapes.push((response.watch_id, response.fragment, response.events.len()));
    }
    assert_eq!(shapes, [(0, true, 1), (0, false, 1), (1, false, 2)]);
    rig.stop();
}

#[tokio::test]
async fn a_half_closed_stream_still_gets_events_and_a_broken_one_ends() {
    let rig = Rig::start().await;
    let mut half_closed = Client::of(&rig);
    half_closed.create(watch("a", "")).await;
    let mut broken = Client::of(&rig);
    broken.create(watch("a", "")).await;
    broken.asking.fail();
    let status = rig::next(&mut broken.source).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::Cancelled, "etcdserver: watch canceled"));
    let Client { asking, mut source } = half_closed;
    drop(asking);
    put(&rig, "a", "1").await;
    assert_eq!(rig::next(&mut source).await.unwrap().unwrap().events.len(), 1);
    drop((broken.source, source));
    assert_eq!(rig.member.watches().figures(), Default::default(), "streams take their watchers with them");
    rig.stop();
}

#[tokio::test]
async fn a_stopping_member_ends_its_streams() {
    let rig = Rig::start().await;
    let mut client = Client::of(&rig);
    client.create(watch("a", "")).await;
    rig.stop();
    let status = rig::next(&mut client.source).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: server stopped");
}
