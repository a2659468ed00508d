//! A client's watches: opened, read at their own pace, resumed on another member when their stream breaks.
//!
//! One stream carries one watch or a few. A reader may be slow, and asks for progress at a pace of its own. It may cancel
//! a watch, and open another one on the same stream. Watches
//! outlive the load: whether an event is still missing when all is quiet is judged at the end of the run.
//!
//! An *audit* is a watch of everything, on one member, for the whole run. Where members' own word does not count, it is
//! what names the operations whose answers were lost.

use std::collections::VecDeque;
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
/// The longest time between two progress requests, which double as pings.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// And the shortest.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Between two streams of one watch.
const RESUME_PAUSE: Duration = Duration::from_millis(100);
/// Times a stream is resumed before its client gives it up.
const RESUMES_MAX: u32 = 50;
/// Watches that share a stream, at most.
const SHARED_MAX: u64 = 4;
/// Watches that are opened on one stream in place of cancelled ones, at most.
const OPENED_LATER_MAX: u64 = 6;
/// A reader pauses so long at most, and of all streams of one chain together: who never reads gets nothing, and that is
/// nobody's fault.
const PAUSE_MAX: Duration = Duration::from_millis(700);
/// Of all streams of one chain together.
pub const PAUSES_MAX: Duration = Duration::from_secs(2);

/// The id that stands for all watches of a stream.
const ALL: i64 = -1;

/// How a stream ended.
enum End {
    /// The client wanted it.
    Wanted,
    /// The server cancelled every watch on it: their history is gone.
    Cancelled,
    /// It broke.
    Broken,
}

/// How a client reads its stream.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Share of responses after which it pauses.
    pauses: f64,
    /// How long.
    pause: Duration,
    /// Between two progress requests.
    ping: Duration,
    /// How long it may still pause in all.
    left: Duration,
}

impl Pace {
    /// Hardly ever late.
    pub const STEADY: Pace =
        Pace { pauses: 0.02, pause: Duration::from_millis(500), ping: PING_INTERVAL, left: PAUSES_MAX };

    fn draw(client: &Client) -> Pace {
        let ping = client.between("watch-pace", PING_INTERVAL_MIN, PING_INTERVAL);
        if client.chance("watch-pace", 0.75) {
            return Pace { ping, ..Pace::STEADY };
        }
        let pause = client.between("watch-pace", Duration::ZERO, PAUSE_MAX);
        Pace { pauses: 0.5, pause, ping, left: PAUSES_MAX }
    }
}

/// Keeps a stream of watches for a while.
pub async fn keep(client: Client) {
    let count = if client.chance("watch-shared", 0.3) { 2 + client.below("watch-shared", SHARED_MAX - 1) } else { 1 };
    let requests = (0..count).map(|_| draw(&client)).collect();
    let until = client.shared.feed.now() + client.between("watch", Duration::from_secs(3), Duration::from_secs(40));
    follow(&client, requests, Pace::draw(&client), until, None).await;
    client.kept[0].fetch_sub(1, Ordering::Relaxed);
}

/// From now on, from the future, from the past, or from where history may be gone.
fn draw(client: &Client) -> WatchRequest {
    let newest = client.shared.newest.load(Ordering::Relaxed);
    let compacted = client.shared.compacted.load(Ordering::Relaxed);
    let start = match client.below("watch", 10) {
        0..2 => Revision(0),
        2..4 => Revision(newest + client.at("watch-ahead", &client.group.knobs.watch_ahead).round().max(1.0) as i64),
        4 => Revision((compacted + client.below("watch", 5) as i64 - 2).max(1)),
        _ => Revision((newest - client.below("watch", 30) as i64).max(1)),
    };
    WatchRequest {
        keys: if client.chance("watch", 0.4) { KeyRange::one(client.key()) } else { client.keys() },
        start,
        filters: WatchFilters { no_put: client.chance("watch", 0.05), no_delete: client.chance("watch", 0.1) },
        prev_kv: client.chance("watch", 0.3),
        progress_notify: client.chance("watch", 0.3),
        fragment: client.chance("watch", 0.2),
    }
}

/// Watches everything on one member until the run ends.
pub async fn audit(client: Client, member: MemberId) {
    let mut request = WatchRequest { keys: KeyRange::all(), start: Revision(1), ..WatchRequest::default() };
    let mut before = None;
    while !client.finished() {
        let mut follow = Follow::new(&client, Pace::STEADY, true);
        follow.open(member, &[(request.clone(), before.take())]);
        let end = follow.run(member.0, Duration::MAX).await;
        let line = &follow.lines[0];
        if !line.cancelled {
            client.shared.feed.observe(Observation::WatchClosed { watch: line.key });
        }
        match end {
            End::Cancelled => request.start = follow.compacted.max(Revision(1)),
            End::Wanted | End::Broken => (request.start, before) = (line.next, Some(line.key)),
        }
        client.shared.feed.time().sleep(RESUME_PAUSE).await;
    }
}

/// Follows the watches of one stream, resumed together whenever it breaks; at first on the member `first`, if there is
/// one.
pub async fn follow(
    client: &Client,
    requests: Vec<WatchRequest>,
    pace: Pace,
    until: Duration,
    first: Option<MemberId>,
) {
    let mut follow = Follow::new(client, pace, false);
    let mut wanted: Vec<(WatchRequest, Option<WatchKey>)> =
        requests.into_iter().map(|request| (request, None)).collect();
    for round in 0..RESUMES_MAX {
        let member = first.filter(|_| round == 0).unwrap_or_else(|| client.member());
        follow.open(member, &wanted);
        let end = follow.run(member.0, until).await;
        for line in follow.lines.iter().filter(|line| !line.cancelled) {
            client.shared.feed.observe(Observation::WatchClosed { watch: line.key });
        }
        match end {
            End::Wanted | End::Cancelled => break,
            End::Broken if client.finished() || until <= client.shared.feed.now() => break,
            End::Broken => {
                let left = follow.lines.iter().filter(|line| !line.cancelled && !line.unwanted);
                let again = |line: &Line| (WatchRequest { start: line.next, ..line.request.clone() }, Some(line.key));
                wanted = left.map(again).collect();
                if wanted.is_empty() {
                    break;
                }
                client.shared.feed.happened("watch_resumed", None);
                client.shared.feed.time().sleep(RESUME_PAUSE).await;
            }
        }
    }
}

/// One watch of a stream.
struct Line {
    key: WatchKey,
    request: WatchRequest,
    /// The server's name for it, once it is created.
    id: Option<i64>,
    /// Where a resumed watch has to begin; 0 while nothing is known.
    next: Revision,
    /// Its client asked for its end.
    unwanted: bool,
    cancelled: bool,
}

struct Follow<'a> {
    client: &'a Client,
    stream: StreamId,
    /// Whom it is to.
    member: MemberId,
    pace: Pace,
    /// It reads as fast as it can, and what it saw is noted.
    audits: bool,
    lines: Vec<Line>,
    /// Those the server has not named yet, in the order in which they were asked for.
    created: VecDeque<usize>,
    /// The last that the server said when it cancelled.
    compacted: Revision,
    /// What the client says on the stream.
    requests: Option<mpsc::Sender<pb::WatchRequest>>,
    opened_later: u64,
    /// A response came in pieces.
    fragmented: bool,
}

impl<'a> Follow<'a> {
    fn new(client: &'a Client, pace: Pace, audits: bool) -> Follow<'a> {
        Follow {
            client,
            stream: StreamId(0),
            member: MemberId(0),
            pace,
            audits,
            lines: Vec::new(),
            created: VecDeque::new(),
            compacted: Revision(0),
            requests: None,
            opened_later: 0,
            fragmented: false,
        }
    }

    fn open(&mut self, member: MemberId, wanted: &[(WatchRequest, Option<WatchKey>)]) {
        self.lines.clear();
        self.created.clear();
        self.member = member;
        for (request, resumes) in wanted {
            self.note_open(request.clone(), *resumes);
        }
    }

    fn note_open(&mut self, request: WatchRequest, resumes: Option<WatchKey>) {
        let shared = &self.client.shared;
        let watch = WatchKey(1 + shared.watches.fetch_add(1, Ordering::Relaxed));
        if self.lines.is_empty() {
            self.stream = StreamId(watch.0);
        }
        let (stream, member) = (self.stream, self.member);
        shared.feed.aside("watching", || json!({"watch": watch.0, "client": self.client.id.0}));
        shared.feed.observe(Observation::WatchOpen { watch, stream, member, request: request.clone(), resumes });
        self.created.push_back(self.lines.len());
        let next = request.start;
        self.lines.push(Line { key: watch, request, id: None, next, unwanted: false, cancelled: false });
    }

    /// Asks for the end of a watch, now and then.
    fn cancel_some(&mut self) {
        let share = self.client.group.knobs.watch_cancels.0;
        if self.audits || share <= 0.0 || !self.client.chance("watch-cancel", share) {
            return;
        }
        let place = self.client.below("watch-cancel", self.lines.len() as u64) as usize;
        let line = &mut self.lines[place];
        let (Some(watch_id), Some(requests)) = (line.id, &self.requests) else { return };
        if !line.unwanted && !line.cancelled && requests.try_send(cancel_request(watch_id)).is_ok() {
            line.unwanted = true;
            self.client.shared.feed.observe(Observation::WatchCancel { watch: line.key });
        }
    }

    /// Opens another watch on the stream, sometimes, for one that its client cancelled.
    fn open_another(&mut self) {
        let Some(requests) = self.requests.clone() else { return };
        if self.opened_later == OPENED_LATER_MAX || !self.client.chance("watch-again", 0.7) {
            return;
        }
        let request = draw(self.client);
        if requests.try_send(create(&request)).is_ok() {
            self.opened_later += 1;
            self.note_open(request, None);
        }
    }

    async fn run(&mut self, member: u64, until: Duration) -> End {
        let shared = &self.client.shared;
        let time = shared.feed.time();
        let (requests, mut queue) = mpsc::channel::<pb::WatchRequest>(8 + SHARED_MAX as usize);
        let outgoing = stream::poll_fn(move |cx| queue.poll_recv(cx));
        let mut stub = shared.connections[member as usize - 1].watch();
        if self.lines.iter().any(|line| requests.try_send(create(&line.request)).is_err()) {
            return End::Broken;
        }
        self.requests = Some(requests.clone());
        // Some ask at once how far they are, before they have what they missed.
        let from_the_past = self.lines.iter().any(|line| line.request.start.0 != 0);
        if !self.audits && from_the_past && self.client.chance("eager-progress", 0.25) {
            let _ = requests.try_send(progress_request());
        }
        let opened = tokio::select! {
            biased;
            opened = stub.watch(outgoing) => opened,
            () = time.sleep(SILENCE_MAX) => return End::Broken,
        };
        let Ok(opened) = opened else { return End::Broken };
        let mut incoming = opened.into_inner();
        let mut heard = shared.feed.now();
        let mut ping = shared.feed.now() + self.pace.ping;
        let mut finish = shared.finish.clone();
        loop {
            let now = shared.feed.now();
            if until <= now {
                return End::Wanted;
            }
            let alarm = ping.min(heard + SILENCE_MAX).min(until);
            tokio::select! {
                biased;
                () = async { let _ = finish.wait_for(|finish| *finish).await.is_ok(); } => return End::Wanted,
                message = incoming.message() => match message {
                    Ok(Some(message)) => {
                        heard = shared.feed.now();
                        if let Some(end) = self.take(message) {
                            return end;
                        }
                        let may_pause = !self.audits && self.pace.pause <= self.pace.left;
                        if may_pause && self.client.chance("slow-watch", self.pace.pauses) {
                            self.pace.left -= self.pace.pause;
                            time.sleep(self.pace.pause).await;
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
                        ping = now + self.pace.ping;
                        let _ = requests.try_send(progress_request());
                        self.cancel_some();
                    }
                }
            }
        }
    }

    /// The watch that the server calls this.
    fn line(&mut self, id: i64) -> Option<&mut Line> {
        self.lines.iter_mut().rev().find(|line| line.id == Some(id))
    }

    /// Nobody asked for this.
    fn stray(&self, message: &pb::WatchResponse) -> Option<End> {
        let (stream, member, watch_id) = (self.stream, self.member, message.watch_id);
        let what = kind_of(message);
        self.client.shared.feed.observe(Observation::WatchStray { stream, member, watch_id, what });
        None
    }

    /// Records one response. Tells when the stream has ended with it.
    fn take(&mut self, message: pb::WatchResponse) -> Option<End> {
        let end = self.note(message);
        if self.audits {
            self.client.shared.audited.fetch_max(self.lines[0].next.0, Ordering::Relaxed);
        }
        end
    }

    fn note(&mut self, message: pb::WatchResponse) -> Option<End> {
        let client = self.client;
        let (feed, names) = (&client.shared.feed, &client.shared.names);
        let header = wire::header(message.header.as_ref(), |header| names.signer(header));
        if message.created
            && let Some(place) = self.created.pop_front()
        {
            self.lines[place].id = Some(message.watch_id);
        }
        if self.line(message.watch_id).is_none() && message.watch_id != ALL {
            return self.stray(&message);
        }
        if message.created && !message.canceled {
            let Some(line) = self.line(message.watch_id) else { return self.stray(&message) };
            feed.observe(Observation::WatchCreated { watch: line.key, watch_id: message.watch_id, header });
            if line.next.0 == 0 {
                line.next = header.revision.next();
            }
            return None;
        }
        if message.canceled {
            let Some(line) = self.line(message.watch_id) else { return self.stray(&message) };
            line.cancelled = true;
            let (key, unwanted) = (line.key, line.unwanted);
            self.compacted = Revision(message.compact_revision);
            feed.observe(Observation::WatchCanceled {
                watch: key,
                compact_revision: Revision(message.compact_revision),
                reason: message.cancel_reason,
            });
            feed.observe(Observation::WatchClosed { watch: key });
            if unwanted {
                self.open_another();
            }
            return self.lines.iter().all(|line| line.cancelled).then_some(End::Cancelled);
        }
        if message.events.is_empty() {
            let mut watch = None;
            if message.watch_id == ALL {
                let alive = self.lines.iter_mut().filter(|line| line.id.is_some() && !line.cancelled);
                alive.for_each(|line| line.next = line.next.max(header.revision.next()));
            } else {
                let line = self.line(message.watch_id)?;
                line.next = line.next.max(header.revision.next());
                watch = Some(line.key);
            }
            feed.observe(Observation::WatchProgress { stream: self.stream, watch, header });
            return None;
        }
        if self.line(message.watch_id).is_none() {
            return self.stray(&message);
        }
        if message.fragment && !std::mem::replace(&mut self.fragmented, true) {
            feed.happened("watch_fragment", None);
        }
        let events: Vec<Event> = message.events.into_iter().map(wire::event).collect();
        let line = self.line(message.watch_id)?;
        if let Some(last) = events.last() {
            let seen = if message.fragment { last.kv.modified } else { last.kv.modified.next() };
            line.next = line.next.max(seen);
        }
        feed.observe(Observation::WatchEvents { watch: line.key, header, events, fragment: message.fragment });
        None
    }
}

/// What a message is, in words.
fn kind_of(message: &pb::WatchResponse) -> &'static str {
    match (message.created, message.canceled, message.events.is_empty()) {
        (true, ..) => "the creation",
        (_, true, _) => "the end",
        (.., true) => "a bookmark",
        _ => "events",
    }
}

fn progress_request() -> pb::WatchRequest {
    let progress = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    pb::WatchRequest { request_union: Some(progress) }
}

fn cancel_request(watch_id: i64) -> pb::WatchRequest {
    let cancel = pb::watch_request::RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
    pb::WatchRequest { request_union: Some(cancel) }
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
