//! The Watch service: one stream, any number of watchers.
//!
//! - `created` is the first thing a watcher's client hears; `canceled` the last.
//! - Whole revisions, in order, without gap or repeat; split only for clients that asked for fragments.
//! - Progress is told between events, by the same stream, and only when nothing is waiting: it never overtakes.
//! - Nothing is queued for a slow client: the next response is made when the transport asks for it. Meanwhile its
//!   watchers are cursors; when compaction passes one, its client is told so and the watcher is gone.
//!
//! A client that only stops asking (a half-close) keeps its events, as with etcd; an error on its side, a member
//! that stops, and, if the client wants a leader, three election timeouts without one end the stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_mvcc::{Interval, Revision, WatchSpec, WatcherId};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::watch_server::Watch;
use evenkeel_raft::Mutant;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

use super::catch_up::{CatchUp, Turn};
use super::fragment::fragments;
use super::rpc::{self, Answers, Ending, Method, Source};
use super::watch_hub::{Delivery, Progress, StreamId};
use super::{compose, watch_hub};
use crate::config::REQUEST_OVERHEAD_BYTES;
use crate::env::point;
use crate::error::RequestError;
use crate::member::{Member, SplitMix};

const SERVICE: &str = "etcdserverpb.Watch";

/// The id in answers that concern no watcher, or all of them.
const NO_WATCH: i64 = -1;
/// The id in a request that leaves the choice to us.
const CHOOSE_ID: i64 = 0;
/// Progress is not told more often than this.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

const REASON_EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const REASON_DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const REASON_TOO_MANY: &str = "evenkeel: too many watchers";

/// `etcdserverpb.Watch`.
#[derive(Clone)]
pub struct WatchService {
    member: Arc<Member>,
}

impl WatchService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> WatchService {
        WatchService { member }
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let method = Method::bidi_stream(SERVICE, "Watch");
        let member = Arc::clone(&self.member);
        rpc::streaming(&self.member, method, request, |requests, ending| async move {
            Ok(WatchSource { requests: Some(requests), ending, stream: WatchStream::new(member) })
        })
        .await
    }
}

/// A stream between its client and its watchers.
struct WatchSource<R> {
    /// `None` once the client asks nothing more.
    requests: Option<R>,
    ending: Ending,
    stream: WatchStream,
}

/// What a client asks, one after the other.
trait Requests: Stream<Item = Result<pb::WatchRequest, Status>> + Send + Unpin + 'static {}

impl<R: Stream<Item = Result<pb::WatchRequest, Status>> + Send + Unpin + 'static> Requests for R {}

impl<R: Requests> Source for WatchSource<R> {
    type Answer = pb::WatchResponse;

    async fn next(&mut self) -> Result<Option<pb::WatchResponse>, Status> {
        loop {
            if let Some(response) = self.stream.outbox.pop_front() {
                return Ok(Some(response));
            }
            // Requests and events by turns, so that neither can starve the other.
            if self.stream.requests_turn()
                && let Some(request) = next_request(&mut self.requests).now_or_never()
            {
                self.take(request)?;
                continue;
            }
            point!(self.stream.member.env(), "watch.before_delivery");
            match self.stream.deliver()? {
                Delivered::Something => continue,
                Delivered::Pause => {
                    point!(self.stream.member.env(), "watch.catching_up");
                    tokio::task::yield_now().await;
                    continue;
                }
                Delivered::Nothing => {}
            }
            let WatchSource { requests, ending, stream } = self;
            tokio::select! {
                biased;
                ended = ending.reached() => return Err(ended.into()),
                request = next_request(requests) => self.take(request)?,
                () = stream.wake.notified() => {}
                () = &mut stream.progress_timer => self.stream.progress_due(),
            }
        }
    }
}

impl<R> WatchSource<R> {
    fn take(&mut self, request: Option<Result<pb::WatchRequest, Status>>) -> Result<(), Status> {
        match request {
            Some(Ok(request)) => self.stream.request(request),
            Some(Err(_)) => return Err(RequestError::WatchCanceled.into()),
            None => self.requests = None,
        }
        Ok(())
    }
}

async fn next_request<R: Requests>(requests: &mut Option<R>) -> Option<Result<pb::WatchRequest, Status>> {
    match requests {
        Some(requests) => requests.next().await,
        None => std::future::pending().await,
    }
}

/// What came of a look at what is to be sent.
enum Delivered {
    /// Something was put out, or may be with the next look.
    Something,
    /// As before, but let others run first.
    Pause,
    /// There is nothing.
    Nothing,
}

/// One of the stream's watchers.
struct Watching {
    id: i64,
    watcher: WatcherId,
    prev_kv: bool,
    fragment: bool,
    /// Whether to tell progress, and if so whether it is due at the next occasion.
    progress: Option<bool>,
}

/// The watchers of one stream and what is to be told about them.
struct WatchStream {
    member: Arc<Member>,
    hub_stream: StreamId,
    wake: Arc<Notify>,
    by_id: BTreeMap<i64, WatcherId>,
    watching: BTreeMap<WatcherId, Watching>,
    next_auto_id: i64,
    /// Responses that belong together, on their way out: those to one request, the pieces of one batch, or one
    /// round of progress.
    outbox: VecDeque<pb::WatchResponse>,
    requests_turn: bool,
    /// Of its watchers that are far behind.
    catch_up: CatchUp,
    /// The client asked for the progress of the whole stream.
    progress_asked: bool,
    progress_interval: Duration,
    progress_timer: BoxFuture<'static, ()>,
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.member.watches().close(self.hub_stream);
    }
}

impl WatchStream {
    fn new(member: Arc<Member>) -> WatchStream {
        let (hub_stream, wake) = member.watches().open();
        let interval = member.config().watch_progress_notify_interval.max(PROGRESS_INTERVAL_MIN);
        let progress_interval = interval + jitter(interval, member.env().seed ^ hub_stream.0);
        WatchStream {
            hub_stream,
            wake,
            by_id: BTreeMap::new(),
            watching: BTreeMap::new(),
            next_auto_id: 0,
            outbox: VecDeque::new(),
            requests_turn: false,
            catch_up: CatchUp::new(member.watches().large_slices()),
            progress_asked: false,
            progress_interval,
            progress_timer: member.env().clock.sleep(progress_interval),
            member,
        }
    }

    fn requests_turn(&mut self) -> bool {
        self.requests_turn = !self.requests_turn;
        self.requests_turn
    }

    fn header(&self, revision: Revision) -> Option<pb::ResponseHeader> {
        Some(self.member.header(revision.0))
    }

    fn request(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request),
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.progress_wanted(),
            None => {} // As etcd: an empty request is not worth ending the stream.
        }
    }

    fn progress_wanted(&mut self) {
        let behind = self.member.watches().progress_all(self.hub_stream) == Progress::Behind;
        if self.member.config().mutants.bites(Mutant::ProgressUnsynced, || behind) {
            self.progress(NO_WATCH, self.member.watches().head());
        } else {
            self.progress_asked = true;
        }
    }

    fn create(&mut self, request: pb::WatchCreateRequest) {
        let wanted_id = request.watch_id;
        let spec = match watch_spec(&request) {
            Ok(_) if wanted_id != CHOOSE_ID && self.by_id.contains_key(&wanted_id) => {
                return self.refuse(REASON_DUPLICATE_ID);
            }
            Ok(spec) if self.member.config().mutants.on(Mutant::WatchFromNow) => {
                WatchSpec { start_revision: 0, ..spec }
            }
            Ok(spec) => spec,
            Err(reason) => return self.refuse(reason),
        };
        let (prev_kv, fragment, progress) = (spec.prev_kv, spec.fragment, spec.progress_notify.then_some(true));
        let Ok((watcher, revision)) = self.member.watches().create(self.hub_stream, spec) else {
            return self.refuse(REASON_TOO_MANY);
        };
        let id = if wanted_id == CHOOSE_ID { self.auto_id() } else { wanted_id };
        self.by_id.insert(id, watcher);
        self.watching.insert(watcher, Watching { id, watcher, prev_kv, fragment, progress });
        let header = self.header(revision);
        self.outbox.push_back(pb::WatchResponse { header, watch_id: id, created: true, ..Default::default() });
    }

    /// The smallest id not chosen before and not used by the client.
    fn auto_id(&mut self) -> i64 {
        while self.by_id.contains_key(&self.next_auto_id) {
            self.next_auto_id += 1;
        }
        self.next_auto_id += 1;
        self.next_auto_id - 1
    }

    fn refuse(&mut self, reason: &str) {
        self.outbox.push_back(pb::WatchResponse {
            header: self.header(self.member.watches().head()),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..Default::default()
        });
    }

    fn cancel(&mut self, id: i64) {
        let Some(watcher) = self.by_id.remove(&id) else { return };
        self.watching.remove(&watcher);
        self.catch_up.forget(watcher);
        self.member.watches().cancel(self.hub_stream, watcher);
        let header = self.header(self.member.watches().head());
        self.outbox.push_back(pb::WatchResponse { header, watch_id: id, canceled: true, ..Default::default() });
    }

    /// Puts out what comes next without waiting.
    fn deliver(&mut self) -> Result<Delivered, RequestError> {
        let member = Arc::clone(&self.member);
        if let Some((watcher, delivery)) =
            member.watches().pull(self.hub_stream, || member.view(), member.config().mutants)
        {
            match delivery {
                Delivery::Batch(batch) => self.events(watcher, &batch)?,
                Delivery::Missed(spec, missed) => {
                    let view = || member.view();
                    match self.catch_up.turn(member.watches(), watcher, (spec, missed), view) {
                        Turn::Done(Some(batch)) => self.events(watcher, &batch)?,
                        Turn::Done(None) => {}
                        Turn::Pause => return Ok(Delivered::Pause),
                    }
                }
                Delivery::Compacted { compact_revision } => self.compacted(watcher, compact_revision),
            }
            return Ok(Delivered::Something);
        }
        if !self.progress_asked {
            return Ok(Delivered::Nothing);
        }
        match member.watches().progress_all(self.hub_stream) {
            Progress::Synced(revision) => self.progress(NO_WATCH, revision),
            Progress::Behind => return Ok(Delivered::Something), // Published just now: pull it first.
            Progress::None => {}
        }
        self.progress_asked = false;
        Ok(if self.outbox.is_empty() { Delivered::Nothing } else { Delivered::Something })
    }

    fn events(&mut self, watcher: WatcherId, batch: &evenkeel_mvcc::Batch) -> Result<(), RequestError> {
        let watching = self.watching.get_mut(&watcher).expect("the hub knows the stream's watchers only");
        let events = batch.revisions.iter().flat_map(|revision| revision.events());
        let composed: Result<Vec<_>, _> =
            events.map(|event| compose::event(event, watching.prev_kv, &*self.member)).collect();
        let events = match composed {
            // Compaction passed while the events were on their way here.
            Err(RequestError::Compacted) => {
                let compacted = self.member.view().compacted();
                self.member.watches().cancel(self.hub_stream, watcher);
                self.compacted(watcher, compacted);
                return Ok(());
            }
            composed => composed?,
        };
        watching.progress = watching.progress.map(|_| false);
        let (watch_id, fragment) = (watching.id, watching.fragment);
        let response = pb::WatchResponse { header: self.header(batch.head), watch_id, events, ..Default::default() };
        if fragment {
            let config = self.member.config();
            let usual_bytes = || config.max_request_bytes + REQUEST_OVERHEAD_BYTES;
            let limit_bytes = config.watch_fragment_bytes.unwrap_or_else(usual_bytes);
            self.outbox.extend(fragments(response, limit_bytes));
        } else {
            self.outbox.push_back(response);
        }
        Ok(())
    }

    fn compacted(&mut self, watcher: WatcherId, compacted: Revision) {
        let watching = self.watching.remove(&watcher).expect("the hub knows the stream's watchers only");
        self.catch_up.forget(watcher);
        self.by_id.remove(&watching.id);
        self.outbox.push_back(pb::WatchResponse {
            header: self.header(Revision(0)),
            watch_id: watching.id,
            canceled: true,
            compact_revision: compacted.0,
            ..Default::default()
        });
    }

    fn progress(&mut self, watch_id: i64, revision: Revision) {
        let header = self.header(revision);
        self.outbox.push_back(pb::WatchResponse { header, watch_id, ..Default::default() });
    }

    /// Tells the progress of watchers that heard nothing since the last time.
    fn progress_due(&mut self) {
        self.progress_timer = self.member.env().clock.sleep(self.progress_interval);
        let mut quiet = Vec::new();
        for watching in self.watching.values_mut() {
            if let Some(due) = &mut watching.progress
                && std::mem::replace(due, true)
            {
                quiet.push((watching.id, watching.watcher));
            }
        }
        let told = !quiet.is_empty();
        if self.member.config().mutants.bites(Mutant::NoPeriodicProgress, || told) {
            return;
        }
        for (id, watcher) in quiet {
            if let Some(revision) = self.member.watches().progress(watcher) {
                self.progress(id, revision);
            }
        }
    }
}

/// Spreads streams that were opened together over a tenth of the interval.
fn jitter(interval: Duration, seed: u64) -> Duration {
    let tenth = u64::try_from(interval.as_nanos() / 10).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(SplitMix(seed).next() % tenth)
}

/// What a request wants to see, or why it cannot.
fn watch_spec(request: &pb::WatchCreateRequest) -> Result<WatchSpec, &'static str> {
    if request.start_revision < 0 {
        return Err(RequestError::Compacted.text());
    }
    // No key means the smallest one.
    let key: &[u8] = if request.key.is_empty() { &[0] } else { &request.key };
    let interval = Interval::from_wire(key, &request.range_end);
    if interval.is_empty() {
        return Err(REASON_EMPTY_RANGE);
    }
    let filtered = |filter: FilterType| request.filters.contains(&(filter as i32));
    Ok(WatchSpec {
        interval,
        start_revision: request.start_revision,
        no_put: filtered(FilterType::Noput),
        no_delete: filtered(FilterType::Nodelete),
        prev_kv: request.prev_kv,
        progress_notify: request.progress_notify,
        fragment: request.fragment,
    })
}

const _: () = assert!(watch_hub::STREAM_WATCHERS_MAX <= watch_hub::MEMBER_WATCHERS_MAX);

#[cfg(all(test, not(madsim)))]
mod stream_tests;
#[cfg(test)]
mod tests;
