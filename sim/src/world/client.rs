//! Clients: each a task that sends one request at a time through the real service code, at its group's rate.
//!
//! Watches and leases live beside the requests, in tasks of their own ([`super::watcher`], [`super::leases`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::{ClientId, MemberId, OpId, Revision};
use evenkeel_scenario::client::{Client as Group, KeyForm, KeyShape, Operation, ValueForm};
use evenkeel_scenario::decision::unit;
use evenkeel_scenario::{Label, Scalar, Selector, Spread};

use super::connection::Connection;
use super::feed::Feed;
use super::look::Look;
use super::names::Names;
use super::{keys, leases, watcher};
use crate::draw::Draws;

/// Watches that one client keeps open at most.
const WATCHES_MAX: u64 = 3;
/// Share of operations after which a client turns to another member without a reason.
const MOVES: f64 = 0.05;
/// An answer that takes longer than this is no longer waited for before the next request.
const LATE_AFTER: Duration = Duration::from_millis(50);
/// So many requests of one group at most are unanswered; shared out among its clients.
const LATE_MAX: u64 = 64;
/// Times a read is sent again.
const RETRIES_MAX: u32 = 5;
/// So long after it has failed, about.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Between the numbers of a client that goes on as another one.
const LINE: u64 = 10_000;

/// What all clients of a run share.
pub struct Shared {
    /// The record.
    pub feed: Feed,
    /// Who is who.
    pub names: Names,
    /// The run's choices.
    pub draws: Draws,
    /// One per member, n1 first.
    pub connections: Vec<Connection>,
    /// One per member, n1 first.
    pub looks: Vec<Arc<Look>>,
    /// Set when clients are to end.
    pub stop: tokio::sync::watch::Receiver<bool>,
    /// Set when watches are to end, too.
    pub finish: tokio::sync::watch::Receiver<bool>,
    /// Watch streams and watches so far.
    pub watches: AtomicU64,
    /// The newest revision any client has seen.
    pub newest: AtomicI64,
    /// The newest revision below which a client asked to compact.
    pub compacted: AtomicI64,
    /// The first revision that no audit has come to.
    pub audited: AtomicI64,
    /// Leases that somebody was granted, the last ones.
    pub leases: leases::Known,
}

/// What a group can be counted on to ask for, sooner or later; and then it does so when it is told to.
pub fn asks(group: &Group) -> Vec<Asked> {
    let wants = |operations: &[Operation]| {
        group.knobs.mix.0.iter().any(|(operation, weight)| 0.0 < *weight && operations.contains(operation))
    };
    let mut asks = Vec::new();
    if group.knobs.ops.0.is_empty() {
        asks.extend(wants(&[Operation::Put]).then_some(Asked::Put));
        let reads = group.knobs.serializable.0 < 1.0 && wants(&[Operation::Get, Operation::Range]);
        asks.extend(reads.then_some(Asked::Read));
    }
    asks
}

/// One client.
#[derive(Clone)]
pub struct Client {
    /// The common part.
    pub shared: Arc<Shared>,
    /// Its group and the group's place in the scenario.
    pub group: Arc<Group>,
    /// See `group`.
    pub group_index: usize,
    /// Its number in the run.
    pub id: ClientId,
    /// What its labels begin with.
    pub label: Arc<str>,
    /// Its unique values so far.
    pub values: Arc<AtomicU64>,
    /// Watches and leases it keeps.
    pub kept: Arc<[AtomicU64; 2]>,
    /// Operations whose answer it no longer waits for.
    late: Arc<AtomicU64>,
    labels: Arc<Mutex<BTreeMap<&'static str, Label>>>,
}

impl Client {
    /// A client of a group.
    pub fn new(shared: Arc<Shared>, group: Arc<Group>, group_index: usize, id: u64, place: u64) -> Client {
        let label = format!("client/{}/{place}", group.id).into();
        let (values, kept, late, labels) = Default::default();
        Client { shared, group, group_index, id: ClientId(id), label, values, kept, late, labels }
    }

    /// The label of this client's own choices about `what`.
    fn about(&self, what: &'static str) -> Label {
        let mut labels = self.labels.lock().expect("one thread");
        *labels.entry(what).or_insert_with(|| self.shared.draws.label(&format!("{}/{what}", self.label)))
    }

    /// A number below `count`, from this client's own choices about `what`.
    pub fn below(&self, what: &'static str, count: u64) -> u64 {
        self.shared.draws.below(self.about(what), count)
    }

    /// True with this probability.
    pub fn chance(&self, what: &'static str, share: f64) -> bool {
        self.shared.draws.chance(self.about(what), share)
    }

    /// A duration between both.
    pub fn between(&self, what: &'static str, low: Duration, high: Duration) -> Duration {
        self.shared.draws.within(self.about(what), &(low..high))
    }

    /// One value of a spread, from this client's own choices about `what`.
    pub fn at<T: Scalar>(&self, what: &'static str, spread: &Spread<T>) -> T {
        spread.at(self.shared.draws.draw(self.about(what)))
    }

    /// Whether the run's load has ended.
    pub fn stopped(&self) -> bool {
        *self.shared.stop.borrow()
    }

    /// Whether the run has ended.
    pub fn finished(&self) -> bool {
        *self.shared.finish.borrow()
    }

    /// Waits, but not past the end of the load.
    pub async fn pause(&self, duration: Duration) {
        let mut stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.shared.feed.time().sleep(duration) => {}
        }
    }

    /// A key of the group's.
    pub fn key(&self) -> Bytes {
        let keys = self.group.knobs.keys;
        let place = match self.group.knobs.key_shape {
            KeyShape::Uniform => self.below("key", keys),
            KeyShape::Skewed => self.below("key", keys).min(self.below("key", keys)).min(self.below("key", keys)),
            KeyShape::Sequential => self.values.load(Ordering::Relaxed) % keys,
            KeyShape::Clustered => {
                let home = self.values.load(Ordering::Relaxed) / 8;
                (home * 7 + self.below("key", 3)) % keys
            }
        };
        keys::name(self.group.knobs.key_form, place)
    }

    /// Some neighbouring keys, or all.
    pub fn keys(&self) -> KeyRange {
        let keys = self.group.knobs.keys;
        match self.below("span", 4) {
            0 => KeyRange::all(),
            1 => keys::between(self.group.knobs.key_form, 0, keys),
            _ => {
                let from = self.below("span", keys);
                let width = 1 + self.below("span", keys.min(8));
                if self.group.knobs.key_form != KeyForm::Plain && self.chance("beginning", 0.4) {
                    return keys::beginning_with(&keys::name(self.group.knobs.key_form, from));
                }
                keys::between(self.group.knobs.key_form, from, from + width)
            }
        }
    }

    /// A value that nobody else writes.
    pub fn value(&self) -> Bytes {
        let sequence = self.values.fetch_add(1, Ordering::Relaxed);
        let size = self.group.knobs.value_size.at(self.shared.draws.draw(self.about("size"))).0;
        let value = super::wire::unique_value(self.id.0, sequence, size as usize);
        match self.group.knobs.value_form {
            ValueForm::Dots => value,
            ValueForm::Bytes => keys::noisy(&value, self.shared.draws.draw(self.about("noise"))),
        }
    }

    /// A member to talk to.
    pub fn member(&self) -> MemberId {
        match &self.group.knobs.on {
            Selector::Node(number) => MemberId(*number),
            Selector::Leader => self.leader().unwrap_or_else(|| self.any_voter()),
            _ => self.any_voter(),
        }
    }

    /// Learners refuse clients.
    pub(super) fn any_voter(&self) -> MemberId {
        let voters = self.shared.names.voters();
        MemberId(voters[self.below("member", voters.len() as u64) as usize])
    }

    pub(super) fn leader(&self) -> Option<MemberId> {
        let leads = |look: &&Arc<Look>| look.standing().role == evenkeel_raft::ready::Role::Leader;
        let leaders = self.shared.looks.iter().zip(1..).filter(|(look, _)| leads(look));
        leaders.max_by_key(|(look, _)| look.standing().term).map(|(_, number)| MemberId(number))
    }

    /// Sends a request and records it.
    pub async fn call(&self, member: MemberId, request: Request) -> (OpId, Outcome) {
        let shared = &self.shared;
        let op = shared.feed.call(self.group_index, self.id, member, &request);
        shared.names.called(op, &request);
        let connection = &shared.connections[member.0 as usize - 1];
        let patience = self.group.knobs.timeout.to_std();
        let outcome = connection.call(&request, patience, &|header| shared.names.signer(header)).await;
        if let Outcome::Ok(_, Body::LeaseGrant { lease, .. }) = &outcome {
            shared.leases.granted(*lease);
        }
        if let Outcome::Ok(header, _) = &outcome {
            shared.newest.fetch_max(header.revision.0, Ordering::Relaxed);
        }
        shared.feed.returned(op, outcome.clone());
        (op, outcome)
    }

    /// Sends requests until the load ends.
    pub async fn run(mut self) {
        let per_second = self.group.knobs.rate / self.group.knobs.count as f64;
        let interval = Duration::from_secs_f64(1.0 / per_second);
        let mut member = self.member();
        self.pause(self.between("start", Duration::ZERO, interval)).await;
        let mut due = self.shared.feed.now();
        while !self.stopped() {
            due += self.between("pace", interval / 2, interval * 3 / 2);
            let moves = match self.answered(member).await {
                Some(ended) => matches!(ended, Outcome::Unknown(_)) || self.chance("move", MOVES),
                None => {
                    self.id = ClientId(self.id.0 + LINE);
                    true
                }
            };
            if moves || self.group.knobs.on == Selector::Leader {
                member = self.member();
            }
            let now = self.shared.feed.now();
            if due < now {
                due = now; // a slow answer is not made up for by a burst
            }
            self.pause(due.saturating_sub(now)).await;
        }
    }

    /// Does one operation. When its answer takes long, it is waited for in the background, and the client goes on as
    /// another one, up to a limit: load does not stop because one member is silent.
    async fn answered(&self, member: MemberId) -> Option<Outcome> {
        let client = self.clone();
        let mut step = Box::pin(async move { client.step(member).await });
        if self.late.load(Ordering::Relaxed) < LATE_MAX / self.group.knobs.count {
            tokio::select! {
                biased;
                ended = &mut step => return Some(ended),
                () = self.shared.feed.time().sleep(LATE_AFTER) => {}
            }
            let late = Arc::clone(&self.late);
            late.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                step.await;
                late.fetch_sub(1, Ordering::Relaxed);
            });
            return None;
        }
        Some(step.await)
    }

    fn operation(&self) -> Operation {
        let mix = &self.group.knobs.mix.0;
        let total: f64 = mix.iter().map(|(_, weight)| weight).sum();
        let drawn = unit(self.shared.draws.draw(self.about("op")));
        let mut left = drawn * total;
        for (operation, weight) in mix {
            left -= weight;
            if left < 0.0 {
                return *operation;
            }
        }
        mix.last().expect("a mix is not empty").0
    }

    async fn step(&self, member: MemberId) -> Outcome {
        let prev_kv = self.chance("prev_kv", 0.2);
        // With all faults over, what must work is tried first.
        match self.shared.feed.owed(self.group_index) {
            Some(Asked::Put) => return self.call(member, Request::Put(self.put(prev_kv))).await.1,
            Some(Asked::Read) => {
                let read = Request::Range(Range::of(KeyRange::one(self.key())));
                return self.call_again(member, read).await;
            }
            None => {}
        }
        let request = match self.operation() {
            Operation::Put => Request::Put(self.put(prev_kv)),
            Operation::Get => Request::Range(self.read(KeyRange::one(self.key()))),
            Operation::Range => Request::Range(self.range()),
            Operation::Txn => Request::Txn(self.txn()),
            Operation::TxnAny => Request::Txn(self.any_txn()),
            Operation::TxnCas => return self.compare_and_swap(member).await,
            Operation::Delete => Request::DeleteRange(DeleteRange { keys: KeyRange::one(self.key()), prev_kv }),
            Operation::DeleteRange => Request::DeleteRange(DeleteRange { keys: self.keys(), prev_kv }),
            Operation::Compact => match self.compaction() {
                Some(revision) => Request::Compact { revision },
                None => Request::Range(self.range()),
            },
            Operation::Watch => {
                if self.kept[0].fetch_add(1, Ordering::Relaxed) < WATCHES_MAX {
                    tokio::spawn(watcher::keep(self.clone()));
                } else {
                    self.kept[0].fetch_sub(1, Ordering::Relaxed);
                }
                Request::Range(self.read(KeyRange::one(self.key())))
            }
            Operation::Lease => {
                if self.kept[1].fetch_add(1, Ordering::Relaxed) < self.group.knobs.leases {
                    tokio::spawn(leases::keep(self.clone()));
                } else {
                    self.kept[1].fetch_sub(1, Ordering::Relaxed);
                }
                Request::Range(self.read(KeyRange::one(self.key())))
            }
            Operation::LeaseAny => self.about_leases(),
        };
        self.call_again(member, request).await
    }

    /// As clients usually do: a read that a member does not answer goes to others, for a while. Of a write nobody knows
    /// whether it was done, so it is not sent again. Each attempt is an operation of its own.
    async fn call_again(&self, member: MemberId, request: Request) -> Outcome {
        let mut outcome = self.call(member, request.clone()).await.1;
        if !self.group.knobs.retry || !matches!(request, Request::Range(_)) {
            return outcome;
        }
        for _ in 0..RETRIES_MAX {
            let gone = matches!(&outcome, Outcome::Unknown(doubt) if !matches!(doubt, Doubt::Timeout | Doubt::Other));
            if !gone || self.stopped() {
                break;
            }
            self.pause(self.between("retry", RETRY_AFTER / 2, RETRY_AFTER * 3 / 2)).await;
            outcome = self.call(self.member(), request.clone()).await.1;
        }
        outcome
    }

    fn put(&self, prev_kv: bool) -> Put {
        Put { key: self.key(), value: self.value(), lease: self.some_lease(), prev_kv }
    }

    fn read(&self, keys: KeyRange) -> Range {
        let serializable = self.chance("serializable", self.group.knobs.serializable.0);
        Range { serializable, ..Range::of(keys) }
    }

    /// A read of several keys, with one of the many things a range can be asked.
    fn range(&self) -> Range {
        let mut range = self.read(self.keys());
        let newest = self.shared.newest.load(Ordering::Relaxed);
        let past = |depth: u64| Revision((newest - depth as i64).max(0));
        match self.below("range", 10) {
            0 => range.limit = 1 + self.below("range", 4) as i64,
            1 => range.revision = past(self.below("range", 20)),
            2 => range.count_only = true,
            3 => range.keys_only = true,
            4 => {
                range.sort_order = SortOrder::Descend;
                range.sort_target = SortTarget::Modified;
            }
            5 => range.min_modified = past(self.below("range", 30)),
            6 => range.max_created = past(self.below("range", 30)),
            7 => self.sorted(&mut range),
            8 => {
                range.max_modified = past(self.below("range-bound", 30));
                range.min_created = past(self.below("range-bound", 60));
                range.limit = self.below("range-bound", 3) as i64;
            }
            _ => {}
        }
        range
    }

    /// In any order, and sometimes cut off: but not without an order, for then the limit comes before the target.
    fn sorted(&self, range: &mut Range) {
        use SortTarget::*;
        range.sort_order = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][self.below("sort", 3) as usize];
        range.sort_target = [Key, Version, Created, Modified, Value][self.below("sort", 5) as usize];
        let limit = self.below("sort", 4) as i64;
        range.limit = if range.sort_order == SortOrder::None { 0 } else { limit };
        range.keys_only = self.chance("sort", 0.2);
    }

    fn txn(&self) -> Txn {
        let (a, b) = (self.key(), self.key());
        let mut success = vec![TxnOp::Put(Put { key: a.clone(), value: self.value(), ..Put::default() })];
        if a != b {
            success.push(TxnOp::Put(Put { key: b.clone(), value: self.value(), ..Put::default() }));
        }
        // Some look back so far that compaction may have been there.
        let back = if self.chance("txn-past", 0.25) { self.below("txn-past", 25) as i64 } else { 0 };
        let past = if back == 0 { 0 } else { (self.shared.newest.load(Ordering::Relaxed) - back).max(1) };
        success.push(TxnOp::Range(Range { revision: Revision(past), ..Range::of(self.keys()) }));
        if self.chance("nested", 0.2) {
            let inner = Txn {
                compares: vec![Compare {
                    keys: KeyRange::one(b),
                    relation: Relation::Greater,
                    target: Target::Version(1),
                }],
                success: vec![TxnOp::Range(Range::of(KeyRange::one(a)))],
                failure: vec![],
            };
            success.push(TxnOp::Txn(Box::new(inner)));
        }
        Txn { compares: vec![], success, failure: vec![] }
    }

    async fn compare_and_swap(&self, member: MemberId) -> Outcome {
        let key = self.key();
        let (_, seen) = self.call(member, Request::Range(Range::of(KeyRange::one(key.clone())))).await;
        let Outcome::Ok(_, Body::Range(reply)) = &seen else { return seen };
        let modified = reply.kvs.first().map_or(Revision(0), |kv| kv.modified);
        let change = if modified.0 > 0 && self.chance("cas", 0.2) {
            TxnOp::DeleteRange(DeleteRange { keys: KeyRange::one(key.clone()), prev_kv: false })
        } else {
            TxnOp::Put(Put { key: key.clone(), value: self.value(), ..Put::default() })
        };
        let compares = vec![Compare {
            keys: KeyRange::one(key.clone()),
            relation: Relation::Equal,
            target: Target::Modified(modified),
        }];
        let failure = vec![TxnOp::Range(Range::of(KeyRange::one(key)))];
        self.call(member, Request::Txn(Txn { compares, success: vec![change], failure })).await.1
    }

    fn compaction(&self) -> Option<Revision> {
        let newest = self.shared.newest.load(Ordering::Relaxed);
        // Often at the head, so that nothing but the present is left.
        let revision = newest - self.below("compact", 20).saturating_sub(6) as i64;
        let before = self.shared.compacted.fetch_max(revision, Ordering::Relaxed);
        (before < revision && revision > 1).then_some(Revision(revision))
    }
}
