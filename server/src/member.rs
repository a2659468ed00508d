//! The handle of a running member: what services, tasks and the front share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use evenkeel_mvcc::{Error, Response};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::message::Message;
use evenkeel_raft::ready::Role;
use evenkeel_raft::{Index, Mutant, NodeId, Standing};
use prost::Message as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{oneshot, watch};

use crate::ask::Asks;
use crate::config::Config;
use crate::contacts::Contacts;
use crate::env::{Env, Event, point};
use crate::error::RequestError;
use crate::lease::Leases;
use crate::leaving::Leaving;
use crate::membership::change::Changes;
use crate::membership::own::Own;
use crate::metrics::Metrics;
use crate::node::Input;
use crate::peer;
use crate::places::Places;
use crate::queue::Sender;
use crate::quota::Quota;
use crate::reader::{Pin, Reader};
use crate::service::watch_hub::WatchHub;
use crate::snapshot_send::Transfers;
use crate::state::State;
use crate::version::storage::Storage;
use crate::version::{Release, level};
use crate::waiters::{Answer, Waiters};

mod holding;

pub use holding::StoreSize;

/// Committed entries not yet applied, above which new requests are refused (etcd's limit).
const APPLY_BACKLOG_MAX: u64 = 5_000;
/// etcd's base for the time a request may take.
const REQUEST_TIMEOUT_BASE: Duration = Duration::from_secs(5);

/// Who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The cluster.
    pub cluster: u64,
    /// This member.
    pub member: u64,
}

/// The answer to an applied request.
#[derive(Debug)]
pub struct Reply {
    /// What the state machine said.
    pub result: Result<Response, Error>,
    /// The revision after it.
    pub revision: i64,
    /// What it shows can be read as long as this lives, whatever compaction frees.
    pub pin: Option<Pin>,
}

impl Reply {
    /// Says that it is done, and shows nothing.
    pub(crate) fn done(revision: i64) -> Reply {
        Reply { result: Ok(Response::Compact), revision, pin: None }
    }
}

/// Where the member stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// The leader's id, 0 when unknown.
    pub leader: u64,
    /// The term.
    pub term: u64,
    /// Commit index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// Last entry in the log.
    pub last_index: u64,
    /// It does not vote.
    pub is_learner: bool,
}

/// See the module's text.
pub struct Member {
    own: Weak<Member>,
    quota: Quota,
    config: Config,
    ids: Ids,
    env: Env,
    metrics: Metrics,
    state: RwLock<State>,
    values: Reader,
    watches: WatchHub,
    leases: Leases,
    asks: Asks,
    transfers: Transfers,
    changes: Changes,
    membership: Own,
    places: Places,
    waiters: Waiters,
    contacts: Contacts,
    leaving: Leaving,
    transferring: watch::Sender<Option<NodeId>>,
    next_request: AtomicU64,
    next_lease: AtomicU64,
    inputs: Sender<Input>,
    standing: watch::Sender<Standing>,
    applied: watch::Sender<Index>,
    committed: AtomicU64,
    last_index: AtomicU64,
    stop: watch::Sender<Option<Result<(), String>>>,
    ready: watch::Sender<bool>,
    newest_checkpoint: tokio::sync::Mutex<Index>,
    checkpoint_wanted: AtomicBool,
    storage: Storage,
}

impl Member {
    /// A member with this state. `inputs` leads to its driver.
    pub fn new(
        config: Config,
        ids: Ids,
        env: Env,
        state: State,
        storage: Release,
        values: Reader,
        inputs: Sender<Input>,
    ) -> Arc<Member> {
        let applied = Index(state.store.applied().0);
        let mut seeds = SplitMix(env.seed);
        // Ids of this process life must not meet those of an earlier one that is still in the log.
        let first_request = (ids.member << 48) | (seeds.next() >> 16);
        let watches = WatchHub::new(&state.store, config.watch_limits);
        Arc::new_cyclic(|own| Member {
            own: own.clone(),
            quota: Quota::default(),
            metrics: Metrics::new(),
            watches,
            leases: Leases::default(),
            asks: Asks::seeded(env.seed),
            transfers: Transfers::default(),
            changes: Changes::default(),
            membership: Own::new(&state, ids.member),
            places: Places::default(),
            waiters: Waiters::default(),
            contacts: Contacts::new(config.election_timeout),
            leaving: Leaving::default(),
            transferring: watch::Sender::new(None),
            next_request: AtomicU64::new(first_request),
            next_lease: AtomicU64::new(seeds.next()),
            inputs,
            standing: watch::Sender::new(Standing::default()),
            applied: watch::Sender::new(applied),
            committed: AtomicU64::new(applied.0),
            last_index: AtomicU64::new(applied.0),
            stop: watch::Sender::new(None),
            ready: watch::Sender::new(false),
            newest_checkpoint: tokio::sync::Mutex::new(applied),
            checkpoint_wanted: AtomicBool::new(false),
            storage: Storage::new(storage, applied),
            state: RwLock::new(state),
            values,
            config,
            ids,
            env,
        })
    }

    /// The handle that everybody shares; none while it is being dropped.
    pub fn handle(&self) -> Option<Arc<Member>> {
        self.own.upgrade()
    }

    /// The state of its space alarm.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who it is.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// Its world.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The values in its log.
    pub fn values(&self) -> &Reader {
        &self.values
    }

    /// Its watchers.
    pub fn watches(&self) -> &WatchHub {
        &self.watches
    }

    /// Lease deadlines, meaningful while it leads.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Open questions to other members.
    pub fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Requests that wait for their entry.
    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Since when the others have been heard.
    pub fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// How far it has come in stopping.
    pub(crate) fn leave_taking(&self) -> &Leaving {
        &self.leaving
    }

    /// Whom leadership is being transferred to.
    pub(crate) fn transferring(&self) -> &watch::Sender<Option<NodeId>> {
        &self.transferring
    }

    /// Snapshots on their way to other members.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// Changes of membership that it was asked for as the leader.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// How the cluster knows it.
    pub(crate) fn own(&self) -> &Own {
        &self.membership
    }

    /// Places of durable entries not yet applied.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The entry after which the newest durable checkpoint was taken; held while one is written.
    pub fn newest_checkpoint(&self) -> &tokio::sync::Mutex<Index> {
        &self.newest_checkpoint
    }

    /// The level of its stored data.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// A checkpoint would let log segments go.
    pub(crate) fn want_checkpoint(&self) {
        self.checkpoint_wanted.store(true, Ordering::Relaxed);
    }

    /// Whether one is wanted.
    pub(crate) fn checkpoint_wanted(&self) -> &AtomicBool {
        &self.checkpoint_wanted
    }

    /// The driver's queue.
    pub fn inputs(&self) -> &Sender<Input> {
        &self.inputs
    }

    /// Monotonic time.
    pub fn now(&self) -> Duration {
        self.env.clock.monotonic()
    }

    /// The time that lease deadlines are in: monotonic, but for a planted bug.
    pub fn lease_now(&self) -> Duration {
        if self.config.mutants.on(Mutant::LeaseByWallClock) { self.env.clock.wall() } else { self.now() }
    }

    /// How long a request may take: 5 s and two election timeouts.
    pub fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT_BASE + 2 * self.config.election_timeout
    }

    /// Term, role and leader.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Follows term, role and leader.
    pub(crate) fn follow_standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Whether it leads, and in which term.
    pub fn reign(&self) -> Option<u64> {
        let standing = self.standing();
        (standing.role == Role::Leader).then_some(standing.term.0)
    }

    /// A response header with this revision.
    pub fn header(&self, revision: i64) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.ids.cluster,
            member_id: self.ids.member,
            revision,
            raft_term: self.standing().term.0,
        }
    }

    /// Where it stands in the log.
    pub fn raft_status(&self) -> RaftStatus {
        let standing = self.standing();
        RaftStatus {
            leader: standing.leader.map_or(0, |id| id.0),
            term: standing.term.0,
            committed: self.committed.load(Ordering::Relaxed),
            applied: self.applied.borrow().0,
            last_index: self.last_index.load(Ordering::Relaxed),
            is_learner: self.is_learner(),
        }
    }

    /// An id for a lease whose client left the choice to us: positive, 63 bits.
    pub fn next_lease_id(&self) -> i64 {
        let drawn = self.next_lease.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let id = (SplitMix(drawn).next() >> 1) as i64;
        if id == 0 { 1 } else { id }
    }

    /// Proposes a request and waits until this member has applied it.
    pub async fn propose(&self, request: pb::InternalRaftRequest) -> Answer {
        self.propose_in(request, None).await
    }

    /// As [`Member::propose`], but only while this member leads in `only_in_term`.
    pub async fn propose_in(&self, mut request: pb::InternalRaftRequest, only_in_term: Option<u64>) -> Answer {
        let committed = self.committed.load(Ordering::Relaxed);
        if committed > self.applied.borrow().0 + APPLY_BACKLOG_MAX {
            return Err(RequestError::TooManyRequests);
        }
        self.check_quota(&request)?;
        let id = self.next_request_id();
        let header = request.header.get_or_insert_default();
        header.id = id;
        if level::PROPOSER <= Release::turned_on_by(self.cluster_version()) {
            header.requester_member_id = self.ids.member;
        }
        let data = request.encode_to_vec();
        if data.len() > self.config.max_request_bytes {
            return Err(RequestError::RequestTooLarge);
        }
        let awaited = self.await_answer(id);
        let standing = self.standing();
        point!(&self.env, "propose.before");
        self.hand_in(Input::Propose { data: data.into(), only_in_term, id })?;
        let outcome = tokio::select! {
            biased;
            answer = awaited.answer => answer.unwrap_or(Err(RequestError::Stopped)),
            () = self.stopping() => Err(RequestError::Stopped),
            () = self.env.clock.sleep(self.request_timeout()) => {
                let lost = self.standing().leader.is_none() || self.standing().leader != standing.leader;
                Err(if lost { RequestError::TimeoutLeaderFail } else { RequestError::Timeout })
            }
        };
        point!(&self.env, "propose.answered");
        if outcome.is_err() {
            self.metrics.proposal_failed();
        }
        outcome
    }

    pub(crate) fn hand_in(&self, input: Input) -> Result<(), RequestError> {
        self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::TooManyRequests,
            TrySendError::Closed(_) => RequestError::Stopped,
        })
    }

    /// An id that no other request has.
    pub(crate) fn next_request_id(&self) -> u64 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins to wait for the request `id`.
    pub(crate) fn await_answer(&self, id: u64) -> Awaited<'_> {
        let answer = self.waiters.add(id);
        self.metrics.proposal_pending(1);
        Awaited { answer, _waiting: Waiting { member: self, id } }
    }

    /// Whether somebody waits for this request.
    pub fn awaits(&self, id: u64) -> bool {
        self.waiters.awaits(id)
    }

    /// Answers whoever waits for a request.
    pub fn answer(&self, id: u64, answer: Answer) {
        self.waiters.answer(id, answer);
    }

    /// Resolves once this member has applied everything that was acknowledged anywhere before the call.
    pub async fn read_barrier(&self) -> Result<(), RequestError> {
        if self.config.mutants.on(Mutant::ReadThroughLog) {
            return self.propose(pb::InternalRaftRequest::default()).await.map(|_| ());
        }
        let (reply, index) = oneshot::channel();
        point!(&self.env, "read.before_index");
        self.hand_in(Input::Read { reply })?;
        let index = tokio::select! {
            biased;
            index = index => index.unwrap_or(Err(RequestError::Stopped))?,
            () = self.stopping() => return Err(RequestError::Stopped),
        };
        point!(&self.env, "read.confirmed");
        self.wait_applied(index, self.now() + self.request_timeout()).await
    }

    /// Resolves once this member has applied `index`.
    pub(crate) async fn wait_applied(&self, index: Index, deadline: Duration) -> Result<(), RequestError> {
        if self.applied.borrow().0 >= index.0 {
            return Ok(());
        }
        let mut applied = self.applied.subscribe();
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| applied.0 >= index.0) => {
                reached.map(|_| ()).map_err(|_| RequestError::Stopped)
            }
            () = self.stopping() => Err(RequestError::Stopped),
            () = self.env.clock.sleep(deadline.saturating_sub(self.now())) => Err(RequestError::Timeout),
        }
    }

    /// Follows the applied index.
    pub fn applied(&self) -> watch::Receiver<Index> {
        self.applied.subscribe()
    }

    /// Resolves once there has been no leader for three election timeouts.
    pub async fn leader_lost(&self) {
        let mut standing = self.standing.subscribe();
        loop {
            let gone = standing.wait_for(|s| s.leader.is_none()).await.is_err();
            if gone {
                return std::future::pending().await;
            }
            let gone = tokio::select! {
                biased;
                gone = async { standing.wait_for(|s| s.leader.is_some()).await.is_err() } => gone,
                () = self.env.clock.sleep(3 * self.config.election_timeout) => return,
            };
            if gone {
                return std::future::pending().await;
            }
        }
    }

    /// Resolves once a leader is known.
    pub async fn leader_known(&self) {
        let mut standing = self.standing.subscribe();
        let gone = standing.wait_for(|s| s.leader.is_some()).await.is_err();
        if gone {
            std::future::pending().await
        }
    }

    /// Encodes and sends messages of the core.
    pub fn send_all(&self, messages: Vec<(NodeId, Message)>) {
        let urls = self.peer_urls();
        for (to, message) in messages {
            let (kind, bytes) = peer::encode_raft(self.ids, &urls, to, message);
            self.env.network.send(to, kind, bytes);
        }
    }

    pub(crate) fn publish_standing(&self, standing: Standing) {
        let before = self.standing.send_replace(standing);
        self.metrics.standing(standing.role == Role::Leader, standing.leader.map(|l| l.0), before.leader.map(|l| l.0));
        if standing.role != Role::Leader {
            self.leases.deposed();
        }
        self.env.observer.observe(Event::Standing(standing));
    }

    pub(crate) fn publish_progress(&self, committed: Index, last_index: Index) {
        let before = self.committed.swap(committed.0, Ordering::Relaxed);
        self.last_index.store(last_index.0, Ordering::Relaxed);
        if before != committed.0 {
            self.metrics.committed(committed.0);
            self.env.observer.observe(Event::Committed { index: committed });
        }
    }

    pub(crate) fn publish_applied(&self, index: Index) {
        self.applied.send_replace(index);
    }

    pub(crate) fn became_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Resolves when it serves clients, or stops before it could.
    pub async fn ready(&self) {
        tokio::select! {
            biased;
            () = self.stopping() => {}
            _ = async { self.ready.subscribe().wait_for(|ready| *ready).await.map(|_| ()) } => {}
        }
    }

    /// Stops the member in good order.
    pub fn stop(&self) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(Ok(()));
            first
        });
    }

    /// Stops the member because it cannot go on: its disk or its state cannot be trusted.
    pub fn fail(&self, reason: String) {
        let first = self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert_with(|| Err(reason.clone()));
            first
        });
        if first {
            tracing::error!(%reason, "the member stops");
            self.env.observer.observe(Event::Fatal { reason: &reason });
        }
    }

    /// Stops the member because it does not belong to the cluster any more.
    pub(crate) fn expelled(&self, reason: &str) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert_with(|| Err(reason.to_owned()));
            first
        });
    }

    /// Resolves when the member stops, for whatever reason.
    pub async fn stopping(&self) {
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// As [`Member::stopping`], for a task that holds the handle itself.
    pub async fn stopping_owned(self: Arc<Self>) {
        self.stopping().await;
    }

    /// How it ended, once it has.
    pub fn ended(&self) -> Option<Result<(), String>> {
        self.stop.borrow().clone()
    }
}

/// A request that is waited for.
pub(crate) struct Awaited<'a> {
    pub(crate) answer: oneshot::Receiver<Answer>,
    _waiting: Waiting<'a>,
}

/// Forgets a waiting request when its caller is gone, for whatever reason.
struct Waiting<'a> {
    member: &'a Member,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.member.waiters.forget(self.id);
        self.member.metrics.proposal_pending(-1);
    }
}

/// A small generator for ids (Steele, Lea, Flood 2014).
pub(crate) struct SplitMix(pub u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
