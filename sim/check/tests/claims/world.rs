//! A tiny sequential store with concurrent clients, doubts, leases, compaction and watches: makes right histories.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::linearizable::FinalRead;
use evenkeel_check::model::{Model, Write};
use evenkeel_check::observation::{Applied, Cause};
use evenkeel_check::*;

/// A small deterministic generator.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A fault of the store itself, to be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The n-th put is acknowledged but does nothing.
    LostWrite(u64),
    /// After n writes a key vanishes by itself.
    PhantomDelete(u64),
    /// The n-th unknown put that takes effect does so twice.
    AppliedTwice,
    /// The end of a lease leaves its last key behind.
    LeaseKeyStays,
}

#[derive(Clone, Copy)]
pub struct Shape {
    pub operations: u64,
    pub clients: u64,
    pub keys: u64,
    pub unknown_percent: u64,
    /// Members report what they apply.
    pub white_box: bool,
    /// They report who asked, too.
    pub causes: bool,
    /// Leases, compaction, serializable reads.
    pub rich: bool,
    pub watches: u64,
    pub bug: Option<Bug>,
}

pub const RICH: Shape = Shape {
    operations: 250,
    clients: 5,
    keys: 8,
    unknown_percent: 8,
    white_box: false,
    causes: false,
    rich: true,
    watches: 4,
    bug: None,
};

pub struct History {
    pub events: Vec<(Moment, Observation)>,
    pub model: Model,
    pub finals: Vec<FinalRead>,
    pub end: Moment,
}

struct Client {
    busy: bool,
}

enum Todo {
    Think(u64),
    Effect(u64),
    Return(u64),
    Expire,
    Deliver(u64),
}

struct Running {
    client: u64,
    member: MemberId,
    request: Request,
    outcome: Option<Outcome>,
    unknown: bool,
}

struct Watcher {
    stream: StreamId,
    request: WatchRequest,
    /// Everything up to here was delivered.
    sent: Revision,
    member: MemberId,
}

struct World {
    rng: Rng,
    shape: Shape,
    now: u64,
    seq: u64,
    todo: BTreeMap<(u64, u64), Todo>,
    events: Vec<(Moment, Observation)>,
    model: Model,
    clients: Vec<Client>,
    running: BTreeMap<u64, Running>,
    next_op: u64,
    next_lease: i64,
    leases: BTreeMap<LeaseId, (u64, u64)>,
    ended: BTreeSet<LeaseId>,
    compacted: Revision,
    watchers: BTreeMap<u64, Watcher>,
    puts: u64,
    writes: u64,
    bug_done: bool,
    index: u64,
}

pub const TTL_SECONDS: i64 = 2;
const MILLI: u64 = 1_000_000;

pub fn key(n: u64) -> Bytes {
    Bytes::from(format!("k{n:02}"))
}

pub fn generate(seed: u64, shape: Shape) -> History {
    let world = World {
        rng: Rng(seed),
        shape,
        now: 0,
        seq: 0,
        todo: BTreeMap::new(),
        events: Vec::new(),
        model: Model::default(),
        clients: (0..shape.clients).map(|_| Client { busy: false }).collect(),
        running: BTreeMap::new(),
        next_op: 0,
        next_lease: 100,
        leases: BTreeMap::new(),
        ended: BTreeSet::new(),
        compacted: Revision(0),
        watchers: BTreeMap::new(),
        puts: 0,
        writes: 0,
        bug_done: false,
        index: 0,
    };
    world.run()
}

impl World {
    fn moment(&mut self) -> Moment {
        self.seq += 1;
        Moment::new(self.now, self.seq)
    }

    fn emit(&mut self, observation: Observation) {
        let at = self.moment();
        self.events.push((at, observation));
    }

    fn later(&mut self, nanos: u64, todo: Todo) {
        self.seq += 1;
        self.todo.insert((self.now + nanos, self.seq), todo);
    }

    fn run(mut self) -> History {
        self.emit(Observation::Elected { member: MemberId(1), term: Term(1) });
        self.emit(Observation::Calm);
        for client in 0..self.shape.clients {
            self.later(client * MILLI, Todo::Think(client));
        }
        for watch in 0..self.shape.watches {
            self.open_watch(watch);
        }
        while let Some(((now, _), todo)) = self.todo.pop_first() {
            self.now = now;
            match todo {
                Todo::Think(client) => self.think(client),
                Todo::Effect(op) => self.effect(op),
                Todo::Return(op) => self.give_back(op),
                Todo::Expire => self.expire(),
                Todo::Deliver(watch) => self.deliver(watch, false),
            }
        }
        for watch in 0..self.shape.watches {
            self.deliver(watch, true);
        }
        self.now += 4_000 * MILLI;
        let end = self.moment();
        let head = self.model.head();
        let rows: Vec<KeyValue> =
            self.model.rows(&KeyRange::all(), head).map(|(key, modified, live)| live.row(key, modified)).collect();
        let read = |member| FinalRead {
            header: Header { member: MemberId(member), revision: head, term: Term(1), ..Header::default() },
            kvs: rows.clone(),
        };
        History { events: self.events, finals: (1..=3).map(read).collect(), model: self.model, end }
    }

    fn think(&mut self, client: u64) {
        if self.next_op == self.shape.operations || self.clients[client as usize].busy {
            return;
        }
        let op = self.next_op;
        self.next_op += 1;
        let request = self.request(op);
        let unknown = self.rng.chance(self.shape.unknown_percent);
        let member = MemberId(1 + self.rng.below(3));
        self.emit(Observation::Call { op: OpId(op), client: ClientId(client), member, request: request.clone() });
        self.running.insert(op, Running { client, member, request, outcome: None, unknown });
        self.clients[client as usize].busy = true;
        let (there, back) = (self.rng.below(5) * MILLI, self.rng.below(5) * MILLI);
        if !unknown {
            self.later(there, Todo::Effect(op));
            self.later(there + back, Todo::Return(op));
            return;
        }
        // In time, after the client gave up, or never.
        match self.rng.below(3) {
            0 => self.later(there, Todo::Effect(op)),
            1 => self.later(there + back + self.shape.operations.min(40) * MILLI, Todo::Effect(op)),
            _ => {}
        }
        self.later(there + back, Todo::Return(op));
    }

    fn request(&mut self, op: u64) -> Request {
        let head = self.model.head().0 as u64;
        let dice = self.rng.below(if self.shape.rich { 100 } else { 70 });
        match dice {
            0..25 => Request::Put(self.put(op, 0)),
            25..40 => Request::Range(self.range(head)),
            40..50 => Request::DeleteRange(self.delete()),
            50..70 => Request::Txn(self.txn(op, 0)),
            70..76 => {
                self.next_lease += 1;
                Request::LeaseGrant { lease: LeaseId(self.next_lease), ttl: TTL_SECONDS }
            }
            76..79 => Request::LeaseRevoke { lease: self.lease() },
            79..84 => Request::LeaseKeepAlive { lease: self.lease() },
            84..86 => Request::LeaseTimeToLive { lease: self.lease(), keys: true },
            86..94 => Request::Range(Range { serializable: true, ..self.range(head) }),
            _ => Request::Compact { revision: Revision(1 + self.rng.below(head + 2) as i64) },
        }
    }

    fn lease(&mut self) -> LeaseId {
        let span = (self.next_lease - 100).min(6) as u64;
        LeaseId(self.next_lease - self.rng.below(span + 1) as i64)
    }

    fn put(&mut self, op: u64, n: u64) -> Put {
        let lease = if self.shape.rich && self.rng.chance(30) { self.lease() } else { LeaseId::NONE };
        Put {
            key: key(self.rng.below(self.shape.keys)),
            value: Bytes::from(format!("{op}:{n}")),
            lease,
            prev_kv: self.rng.chance(50),
        }
    }

    fn keys(&mut self) -> KeyRange {
        let n = self.rng.below(self.shape.keys);
        match self.rng.below(4) {
            0 => KeyRange::all(),
            1 => KeyRange::span(key(n), key(n + 1 + self.rng.below(4))),
            _ => KeyRange::one(key(n)),
        }
    }

    fn delete(&mut self) -> DeleteRange {
        let mut keys = self.keys();
        if keys.is_open() && self.rng.chance(80) {
            keys = KeyRange::one(key(0));
        }
        DeleteRange { keys, prev_kv: self.rng.chance(50) }
    }

    fn range(&mut self, head: u64) -> Range {
        let mut range = Range::of(self.keys());
        if !self.shape.rich {
            return range;
        }
        range.limit = if self.rng.chance(30) { 1 + self.rng.below(3) as i64 } else { 0 };
        range.revision = if self.rng.chance(20) { Revision(1 + self.rng.below(head + 1) as i64) } else { Revision(0) };
        range.count_only = self.rng.chance(10);
        range.keys_only = self.rng.chance(10);
        if self.rng.chance(30) {
            range.sort_target =
                [SortTarget::Key, SortTarget::Version, SortTarget::Created, SortTarget::Modified, SortTarget::Value]
                    [self.rng.below(5) as usize];
            range.sort_order = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][self.rng.below(3) as usize];
        }
        if self.rng.chance(10) {
            range.min_modified = Revision(self.rng.below(head) as i64);
            range.max_created = Revision(self.rng.below(head + 5) as i64);
        }
        range
    }

    fn txn(&mut self, op: u64, depth: u64) -> Txn {
        let mut compares = Vec::new();
        for _ in 0..self.rng.below(3) {
            let head = self.model.head().0 as u64;
            let keys = self.keys();
            let relation = [Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::Less];
            let relation = relation[self.rng.below(4) as usize];
            let target = match self.rng.below(5) {
                0 => Target::Version(self.rng.below(3) as i64),
                1 => Target::Created(Revision(self.rng.below(head + 1) as i64)),
                2 => Target::Modified(Revision(self.rng.below(head + 1) as i64)),
                3 => Target::Value(Bytes::from(format!("{}:0", self.rng.below(op + 1)))),
                _ => Target::Lease(LeaseId::NONE),
            };
            compares.push(Compare { keys, relation, target });
        }
        let base = depth * 10;
        let mut success = self.branch(op, depth, base);
        let failure = self.branch(op, depth, base + 5);
        if success.is_empty() && failure.is_empty() {
            // An empty txn counts as serializable: it may be stale.
            success.push(TxnOp::Range(Range::of(KeyRange::all())));
        }
        Txn { compares, success, failure }
    }

    fn branch(&mut self, op: u64, depth: u64, base: u64) -> Vec<TxnOp> {
        let (mut ops, mut taken) = (Vec::new(), BTreeSet::new());
        for n in 0..self.rng.below(3) {
            match self.rng.below(4) {
                0 => ops.push(TxnOp::Range(Range::of(self.keys()))),
                1 if taken.is_empty() => ops.push(TxnOp::DeleteRange(self.delete())),
                2 if depth == 0 && self.shape.rich => ops.push(TxnOp::Txn(Box::new(self.txn(op, 1)))),
                _ => {
                    let put = self.put(op, base + n);
                    if taken.insert(put.key.clone()) {
                        ops.push(TxnOp::Put(put));
                    }
                }
            }
        }
        ops
    }

    fn commit(&mut self, writes: Vec<Write>, cause: Cause) {
        self.writes += 1;
        self.model.commit(writes);
        let revision = self.model.head();
        self.report(revision, cause);
        if self.shape.bug == Some(Bug::PhantomDelete(self.writes)) && !self.bug_done {
            let first = self.model.rows(&KeyRange::all(), revision).next().map(|(key, ..)| key.clone());
            if let Some(key) = first {
                self.bug_done = true;
                self.model.commit(vec![Write { key, live: None }]);
                self.report(revision.next(), Cause::Unknown);
            }
        }
    }

    fn report(&mut self, revision: Revision, cause: Cause) {
        if self.shape.white_box {
            self.index += 1;
            let cause =
                if self.shape.causes || matches!(cause, Cause::LeaseRevoked(_)) { cause } else { Cause::Unknown };
            let writes = Some(self.model.writes(revision).to_vec());
            let applied = Applied { index: Index(self.index), term: Term(1), revision, hash: None, cause, writes };
            self.emit(Observation::Applied { member: MemberId(1), applied });
        }
    }

    fn header(&self, member: MemberId, revision: Revision) -> Header {
        Header { member, revision, term: Term(1), ..Header::default() }
    }

    fn effect(&mut self, op: u64) {
        let Some(Running { member, request, unknown, .. }) = self.running.get(&op) else { return };
        let (member, request, unknown) = (*member, request.clone(), *unknown);
        let outcome = self.perform(op, member, &request, unknown);
        let running = self.running.get_mut(&op).expect("just seen");
        running.outcome = Some(outcome);
        if running.unknown && !self.clients[running.client as usize].busy {
            self.running.remove(&op);
        }
    }

    fn perform(&mut self, op: u64, member: MemberId, request: &Request, unknown: bool) -> Outcome {
        let refuse = Outcome::DefinitelyNot;
        let mut head = self.model.head();
        let ok = |world: &Self, body| Outcome::Ok(world.header(member, world.model.head()), body);
        let mut refusal = None;
        request.visit_puts(&mut |put| {
            if put.lease != LeaseId::NONE && !self.leases.contains_key(&put.lease) {
                refusal = Some(Refusal::LeaseNotFound);
            }
        });
        if request.is_serializable() {
            head = Revision(head.0 - self.rng.below(3.min(head.0 as u64)) as i64);
        }
        request.visit_ranges(&mut |range| {
            if head < range.revision {
                refusal = Some(Refusal::FutureRevision);
            } else if 0 < range.revision.0 && range.revision < self.compacted {
                refusal = Some(Refusal::Compacted);
            }
        });
        if let Some(refusal) = refusal {
            return refuse(refusal);
        }
        match request {
            Request::LeaseGrant { lease, ttl } => {
                self.leases.insert(*lease, (self.now, 0));
                self.later(*ttl as u64 * 1_000 * MILLI, Todo::Expire);
                return ok(self, Body::LeaseGrant { lease: *lease, ttl: *ttl });
            }
            Request::LeaseKeepAlive { lease } => {
                let Some(entry) = self.leases.get_mut(lease) else { return ok(self, Body::LeaseKeepAlive { ttl: 0 }) };
                entry.0 = self.now;
                self.later(TTL_SECONDS as u64 * 1_000 * MILLI, Todo::Expire);
                return ok(self, Body::LeaseKeepAlive { ttl: TTL_SECONDS });
            }
            Request::LeaseTimeToLive { lease, .. } => {
                let known = self.leases.contains_key(lease);
                let keys = if known { self.model.attached(*lease, head).cloned().collect() } else { Vec::new() };
                let (ttl, granted) = if known { (1, TTL_SECONDS) } else { (-1, 0) };
                return ok(self, Body::LeaseTimeToLive { ttl, granted, keys });
            }
            Request::LeaseRevoke { lease } if self.leases.remove(lease).is_none() => {
                return refuse(Refusal::LeaseNotFound);
            }
            Request::Compact { revision } => {
                if *revision <= self.compacted {
                    return refuse(Refusal::Compacted);
                }
                if head < *revision {
                    return refuse(Refusal::FutureRevision);
                }
                self.compacted = *revision;
                return ok(self, Body::Compact);
            }
            _ => {}
        }
        let effect = self.model.evaluate(head, request, None).expect("checked above");
        self.puts += u64::from(matches!(request, Request::Put(_)));
        if self.shape.bug == Some(Bug::LostWrite(self.puts)) && !self.bug_done && !effect.writes.is_empty() && !unknown
        {
            self.bug_done = true;
            return Outcome::Ok(self.header(member, head.next()), effect.body);
        }
        if effect.writes.is_empty() {
            return Outcome::Ok(self.header(member, head), effect.body);
        }
        let cause = match request {
            Request::LeaseRevoke { lease } if self.rng.chance(50) => Cause::LeaseRevoked(*lease),
            _ => Cause::Operation(OpId(op)),
        };
        self.commit(effect.writes, cause);
        let done = ok(self, effect.body);
        if self.shape.bug == Some(Bug::AppliedTwice) && !self.bug_done && unknown && matches!(request, Request::Put(_))
        {
            self.bug_done = true;
            let again = self.model.evaluate(self.model.head(), request, None).expect("a put");
            self.commit(again.writes, Cause::Operation(OpId(op)));
        }
        done
    }

    fn give_back(&mut self, op: u64) {
        let running = self.running.get(&op).expect("running");
        let client = running.client;
        let outcome = if running.unknown { None } else { running.outcome.clone() };
        if !running.unknown || running.outcome.is_some() {
            self.running.remove(&op);
        }
        self.emit(Observation::Return { op: OpId(op), outcome: outcome.unwrap_or(Outcome::Unknown(Doubt::Timeout)) });
        self.clients[client as usize].busy = false;
        let long = self.rng.chance(5);
        let pause = self.rng.below(if long { 1_000 } else { 20 }) * MILLI;
        self.later(pause, Todo::Think(client));
    }

    fn expire(&mut self) {
        let due = |since: u64| since + TTL_SECONDS as u64 * 1_000 * MILLI <= self.now;
        let over: Vec<LeaseId> =
            self.leases.iter().filter(|(_, (since, _))| due(*since)).map(|(lease, _)| *lease).collect();
        for lease in over {
            self.leases.remove(&lease);
            self.ended.insert(lease);
            let revoke = Request::LeaseRevoke { lease };
            let mut writes = self.model.evaluate(self.model.head(), &revoke, None).expect("a revoke").writes;
            if self.shape.bug == Some(Bug::LeaseKeyStays) && writes.len() > 1 && !self.bug_done {
                self.bug_done = true;
                writes.pop();
            }
            if !writes.is_empty() {
                self.commit(writes, Cause::LeaseRevoked(lease));
            } else {
                self.report_end(lease);
            }
        }
    }

    fn report_end(&mut self, lease: LeaseId) {
        if self.shape.white_box {
            self.index += 1;
            let applied = Applied {
                index: Index(self.index),
                term: Term(1),
                revision: self.model.head(),
                cause: Cause::LeaseRevoked(lease),
                ..Applied::default()
            };
            self.emit(Observation::Applied { member: MemberId(1), applied });
        }
    }

    fn open_watch(&mut self, n: u64) {
        let request = WatchRequest {
            keys: if n == 0 { KeyRange::all() } else { self.keys() },
            start: if n == 1 { Revision(0) } else { Revision(1) },
            filters: WatchFilters { no_put: n % 4 == 3, no_delete: n % 4 == 2 },
            prev_kv: n.is_multiple_of(2),
            progress_notify: false,
            fragment: n == 0,
        };
        let (watch, stream, member) = (WatchKey(n), StreamId(n / 2), MemberId(1 + n / 2 % 3));
        self.emit(Observation::WatchOpen { watch, stream, member, request: request.clone(), resumes: None });
        let header = self.header(member, self.model.head());
        self.emit(Observation::WatchCreated { watch, watch_id: n as i64, header });
        let sent = if request.start.0 == 0 { header.revision } else { request.start.prev() };
        self.watchers.insert(n, Watcher { stream, request, sent, member });
        self.later(20 * MILLI, Todo::Deliver(n));
    }

    fn deliver(&mut self, n: u64, last: bool) {
        let head = self.model.head();
        let watcher = &self.watchers[&n];
        let behind = (head.0 - watcher.sent.0) as u64;
        let (stream, member, request) = (watcher.stream, watcher.member, watcher.request.clone());
        let upto = Revision(head.0 - if last { 0 } else { self.rng.below(behind.min(3) + 1) as i64 });
        let mut events = Vec::new();
        for revision in (self.watchers[&n].sent.0 + 1).max(2)..=upto.0 {
            let revision = Revision(revision);
            for write in self.model.writes(revision) {
                let filtered = if write.live.is_some() { request.filters.no_put } else { request.filters.no_delete };
                if filtered || !request.keys.contains(&write.key) {
                    continue;
                }
                let kv = write.live.as_ref().map_or_else(
                    || KeyValue { key: write.key.clone(), modified: revision, ..KeyValue::default() },
                    |live| live.row(&write.key, revision),
                );
                let before = self.model.get(&write.key, revision.prev());
                let prev = before.map(|(modified, live)| live.row(&write.key, modified));
                let prev_kv = if request.prev_kv { prev } else { None };
                events.push(Event { deleted: write.live.is_none(), kv, prev_kv });
            }
        }
        let header = self.header(member, head);
        let watch = WatchKey(n);
        if !events.is_empty() {
            if request.fragment && events.len() > 1 {
                let rest = events.split_off(1);
                self.emit(Observation::WatchEvents { watch, header, events, fragment: true });
                events = rest;
            }
            self.emit(Observation::WatchEvents { watch, header, events, fragment: false });
        } else if self.rng.chance(20) || last {
            let header = self.header(member, upto);
            self.emit(Observation::WatchProgress { stream, watch: Some(watch), header });
        }
        self.watchers.get_mut(&n).expect("open").sent = upto;
        let idle = self.todo.values().all(|todo| matches!(todo, Todo::Deliver(_)));
        if !last && !idle {
            let pause = 1 + self.rng.below(60);
            self.later(pause * MILLI, Todo::Deliver(n));
        }
    }
}

/// Feeds a history to all oracles.
pub fn check(history: &History, config: &Config) -> Vec<Violation> {
    let mut oracles = Oracles::new(config).expect("known names");
    for (at, observation) in &history.events {
        oracles.observe(*at, observation.clone());
    }
    oracles.finish(history.end, &Finish { reads: history.finals.clone(), ..Finish::default() }).violations
}

pub fn config(shape: Shape) -> Config {
    // The world has no log, so nobody commits anything.
    let off = vec!["raft".to_string(), "ledger".to_string()];
    Config { lease_slack_nanos: 2 * NANOS_PER_SECOND, off, black_box_only: !shape.white_box, ..Config::default() }
}

pub fn must_pass(seed: u64, shape: Shape) {
    let history = generate(seed, shape);
    let violations = check(&history, &config(shape));
    if let Some(violation) = violations.first() {
        let near = history.events.iter().filter(|(at, _)| at.seq <= violation.at.seq);
        for (at, event) in near.rev().take(12) {
            eprintln!("{at} {event:?}");
        }
        panic!("seed {seed}: {violation}");
    }
}
