//! A client's watch: opened, read at its own pace, resumed on another member when its stream breaks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_check::history::*;
use evenkeel_check::observation::Observation;
use evenkeel_check::{MemberId, Revision, StreamId, WatchKey};
use evenkeel_proto::etcdserverpb as pb;
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;

use super::client::Client;
use super::wire;

/// A stream that neither answers nor breaks for so long is given up: a cut link is silent.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// Between two progress requests, which double as pings.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Times a watch is resumed before its client gives it up.
const RESUMES_MAX: u32 = 50;

/// How one stream of a watch ended.
enum End {
    /// The client wanted it.
    Wanted,
    /// The server cancelled it: its history is gone.
    Cancelled,
    /// It broke.
    Broken,
}

/// Keeps one watch for a while.
pub async fn keep(client: Client) {
    let newest = client.shared.newest.load(Ordering::Relaxed);
    let start = match client.below("watch", 4) {
        0 => Revision(0),
        1 => Revision(newest + client.at("watch-ahead", &client.group.knobs.watch_ahead).round().max(1.0) as i64),
        _ => Revision((newest - client.below("watch", 30) as i64).max(1)),
    };
    let request = WatchRequest {
        keys: if client.chance("watch", 0.4) { KeyRange::one(client.key()) } else { client.keys() },
        start,
        filters: WatchFilters { no_put: client.chance("watch", 0.05), no_delete: client.chance("watch", 0.1) },
        prev_kv: client.chance("watch", 0.3),
        progress_notify: client.chance("watch", 0.3),
        fragment: client.chance("watch", 0.2),
    };
    let until = client.shared.feed.now() + client.between("watch", Duration::from_secs(3), Duration::from_secs(40));
    follow(&client, request, until, None).await;
    client.kept[0].fetch_sub(1, Ordering::Relaxed);
}

/// Follows everything until the load ends. Where members do not tell what they apply, this tells what each revision
/// did: an operation whose answer was lost is found there, not guessed.
pub async fn record(client: Client) {
    let request = WatchRequest {
        keys: KeyRange::all(),
        start: Revision(1),
        filters: WatchFilters { no_put: false, no_delete: false },
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    };
    follow(&client, request, Duration::MAX, None).await;
}

/// Follows one watch, resumed whenever it breaks; at first on the member `first`, if there is one.
pub async fn follow(client: &Client, mut request: WatchRequest, until: Duration, first: Option<MemberId>) {
    let mut before = None;
    for _ in 0..RESUMES_MAX {
        let key = WatchKey(1 + client.shared.watches.fetch_add(1, Ordering::Relaxed));
        let stream = StreamId(key.0);
        let member = first.filter(|_| before.is_none()).unwrap_or_else(|| client.member());
        client.shared.feed.aside("watching", || json!({"watch": key.0, "client": client.id.0}));
        client.shared.feed.observe(Observation::WatchOpen {
            watch: key,
            stream,
            member,
            request: request.clone(),
            resumes: before,
        });
        let mut follow = Follow { client, key, stream, next: request.start };
        let end = follow.run(member.0, &request, until).await;
        client.shared.feed.observe(Observation::WatchClosed { watch: key });
        match end {
            End::Wanted | End::Cancelled => break,
            End::Broken if client.stopped() || until <= client.shared.feed.now() => break,
            End::Broken => {
                before = Some(key);
                request.start = follow.next;
                client.shared.feed.happened("watch_resumed", None);
                client.pause(Duration::from_millis(100)).await;
            }
        }
    }
}

struct Follow<'a> {
    client: &'a Client,
    key: WatchKey,
    stream: StreamId,
    /// Where a resumed watch has to begin; 0 while nothing is known.
    next: Revision,
}

impl Follow<'_> {
    async fn run(&mut self, member: u64, request: &WatchRequest, until: Duration) -> End {
        let shared = &self.client.shared;
        let time = shared.feed.time();
        let (requests, mut queue) = mpsc::channel::<pb::WatchRequest>(8);
        let outgoing = stream::poll_fn(move |cx| queue.poll_recv(cx));
        let mut stub = shared.connections[member as usize - 1].watch();
        if requests.try_send(create(request)).is_err() {
            return End::Broken;
        }
        let opened = tokio::select! {
            biased;
            opened = stub.watch(outgoing) => opened,
            () = time.sleep(SILENCE_MAX) => return End::Broken,
        };
        let Ok(opened) = opened else { return End::Broken };
        let mut incoming = opened.into_inner();
        let mut heard = shared.feed.now();
        let mut ping = shared.feed.now() + PING_INTERVAL;
        let mut stop = shared.stop.clone();
        loop {
            let now = shared.feed.now();
            if until <= now {
                return End::Wanted;
            }
            let alarm = ping.min(heard + SILENCE_MAX).min(until);
            tokio::select! {
                biased;
                () = async { let _ = stop.wait_for(|stop| *stop).await.is_ok(); } => return End::Wanted,
                message = incoming.message() => match message {
                    Ok(Some(message)) => {
                        heard = shared.feed.now();
                        if let Some(end) = self.take(message) {
                            return end;
                        }
                        if self.client.chance("slow-watch", 0.02) {
                            time.sleep(Duration::from_millis(500)).await;
                        }
                    }
                    Ok(None) | Err(_) => return End::Broken,
                },
                () = time.alarm(alarm) => {
                    let now = shared.feed.now();
                    if heard + SILENCE_MAX <= now {
                        return End::Broken;
                    }
                    if ping <= now {
                        ping = now + PING_INTERVAL;
                        let progress = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                        let _ = requests.try_send(pb::WatchRequest { request_union: Some(progress) });
                    }
                }
            }
        }
    }

    /// Records one response. Tells when the watch has ended with it.
    fn take(&mut self, message: pb::WatchResponse) -> Option<End> {
        let feed = &self.client.shared.feed;
        let names = &self.client.shared.names;
        let header = wire::header(message.header.as_ref(), |id| names.member(id));
        if message.created && !message.canceled {
            feed.observe(Observation::WatchCreated { watch: self.key, watch_id: message.watch_id, header });
            if self.next.0 == 0 {
                self.next = header.revision.next();
            }
            return None;
        }
        if message.canceled {
            feed.observe(Observation::WatchCanceled {
                watch: self.key,
                compact_revision: Revision(message.compact_revision),
                reason: message.cancel_reason,
            });
            return Some(End::Cancelled);
        }
        if message.events.is_empty() {
            let watch = (message.watch_id != -1).then_some(self.key);
            feed.observe(Observation::WatchProgress { stream: self.stream, watch, header });
            self.next = self.next.max(header.revision.next());
            return None;
        }
        let events: Vec<Event> = message.events.into_iter().map(wire::event).collect();
        if let Some(last) = events.last() {
            let seen = if message.fragment { last.kv.modified } else { last.kv.modified.next() };
            self.next = self.next.max(seen);
        }
        feed.observe(Observation::WatchEvents { watch: self.key, header, events, fragment: message.fragment });
        None
    }
}

fn create(request: &WatchRequest) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let mut filters = Vec::new();
    if request.filters.no_put {
        filters.push(FilterType::Noput as i32);
    }
    if request.filters.no_delete {
        filters.push(FilterType::Nodelete as i32);
    }
    let create = pb::WatchCreateRequest {
        key: request.keys.key.clone(),
        range_end: request.keys.end.clone(),
        start_revision: request.start.0,
        progress_notify: request.progress_notify,
        filters,
        prev_kv: request.prev_kv,
        watch_id: 0,
        fragment: request.fragment,
    };
    pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
}
