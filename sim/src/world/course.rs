//! The course of a run: boot, load and script, calm, last reads, verdict.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_check::hash_kv::HashKv;
use evenkeel_check::history::{Body, KeyRange, Outcome, Range, Request};
use evenkeel_check::linearizable::FinalRead;
use evenkeel_check::observation::Observation;
use evenkeel_check::suite::{Config as OracleConfig, Finish};
use evenkeel_check::{MemberId, Oracles, Revision, Violation};
use evenkeel_scenario::cluster::Cluster as Settings;
use evenkeel_scenario::expr::{Expr, eval};
use evenkeel_scenario::step::Step;
use evenkeel_scenario::{Action, Decisions, Monitor, Resolved, RunLength, Selector, Value, monitor};

use serde_json::json;

use super::client::{self, Client, Shared};
use super::cluster::{self, Cluster, Ground};
use super::connection::{Connection, doors};
use super::coverage::Stands;
use super::feed::Feed;
use super::figures;
use super::names::Names;
use super::operate;
use super::scripted;
use super::steps::{self, Power, Stage};
use super::view::View;
use super::watcher;
use crate::draw::Draws;
use crate::report::{INCONCLUSIVE, SharedRecorder};
use crate::timer::Time;

/// How often expectations and oracles are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Members that ended by themselves are started again so often, once the cluster must work.
const REVIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last reads may take in all.
const LAST_READS_MAX: Duration = Duration::from_secs(30);
/// A client that waits for an answer gives up so much later than it meant to, at most.
const LATE_AT_MOST: Duration = Duration::from_secs(1);
/// With no load, so long at most until all watches have caught up and all leases have ended.
const QUIET_MAX: Duration = Duration::from_secs(12);
/// Rounds of last reads: the longest lease is over before the last of them.
const LAST_ROUNDS: usize = 60;
/// How long one of them may take.
const LAST_READ_PATIENCE: Duration = Duration::from_secs(8);
/// After the load has ended, answers may still come for so long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// An operator who is at work at the end of a run has so long to find out what came of it.
const LAST_OPERATION: Duration = Duration::from_secs(100);

/// Members that are watched through the whole run where members' own word does not count.
const AUDITS_MAX: usize = 3;
/// How long the last events may take to arrive.
const LAST_EVENTS_MAX: Duration = Duration::from_secs(5);

/// A removed member's process does not end.
const OVERSTAYS: &str = "overstays";

/// A promise of the system, or an expectation of the scenario, that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The oracle or expectation.
    pub what: String,
    /// When it was noticed.
    pub at: Duration,
    /// One sentence.
    pub message: String,
}

impl Broken {
    /// What an oracle says. A search that gave up is a failure of the testbed, and of no promise.
    fn by(violation: &Violation) -> Broken {
        Broken {
            what: if violation.inconclusive { INCONCLUSIVE } else { violation.oracle }.to_owned(),
            at: Duration::from_nanos(violation.at.nanos),
            message: violation.to_string(),
        }
    }
}

/// What is known at the end of a run.
#[derive(Debug)]
pub struct Ended {
    /// The first broken promise.
    pub broken: Option<Broken>,
    /// Simulated time that went by.
    pub simulated: Duration,
    /// What the run says about each expectation.
    pub outcomes: Vec<(String, monitor::Outcome)>,
    /// Values for comparisons between cells.
    pub metrics: BTreeMap<String, Value>,
    /// Whatever is worth counting.
    pub counters: BTreeMap<String, u64>,
    /// Where it came.
    pub coverage: Vec<u32>,
}

/// Plays one resolved scenario to its end.
pub async fn run(
    resolved: Resolved,
    metrics: Vec<(String, Expr)>,
    decisions: Decisions,
    recorder: SharedRecorder,
    ground: Ground,
) -> Ended {
    if let Some(what) = not_simulated(&resolved) {
        return Ended {
            broken: Some(Broken { what: "not simulated yet".into(), at: Duration::ZERO, message: what }),
            simulated: Duration::ZERO,
            outcomes: Vec::new(),
            metrics: BTreeMap::new(),
            counters: BTreeMap::new(),
            coverage: Vec::new(),
        };
    }
    let mut course = Course::begin(resolved, Draws::new(decisions), recorder, &ground);
    let broken = course.play().await;
    let broken = match broken {
        Some(broken) => Some(broken),
        None => course.close().await,
    };
    let cluster = Arc::clone(&course.cluster);
    let ended = course.end(broken, metrics);
    cluster.end().await;
    ended
}

struct Course {
    resolved: Resolved,
    feed: Feed,
    cluster: Arc<Cluster>,
    stage: Arc<Stage>,
    view: View,
    shared: Arc<Shared>,
    stop: tokio::sync::watch::Sender<bool>,
    finish: tokio::sync::watch::Sender<bool>,
    load: Vec<tokio::task::JoinHandle<()>>,
    monitors: Vec<Monitor>,
    /// When `quiesce` was first seen to have ended all faults.
    calm_since: Option<Duration>,
    /// When the load ended.
    loaded: Option<Duration>,
}

impl Course {
    fn begin(resolved: Resolved, draws: Draws, recorder: SharedRecorder, ground: &Ground) -> Course {
        let time = Time::current();
        let oracles = Oracles::new(&oracle_config(&resolved)).expect("no oracle is switched off");
        let feed = Feed::new(recorder, oracles, resolved.clients.len().max(1), time.clone());
        feed.points().learn(&resolved);
        for (index, group) in resolved.clients.iter().enumerate() {
            feed.lock().stats.will_ask(index, client::asks(group));
        }
        let doors = doors(resolved.clients.iter().map(|group| group.knobs.rate).sum());
        let joiners = operate::joiners(&resolved.steps);
        let cluster = Arc::new(Cluster::new(&resolved.cluster, joiners, doors, &feed, &draws, ground));
        let connections: Vec<Connection> = (cluster.machines.iter())
            .map(|machine| machine.number)
            .map(|number| Connection::lazy(&cluster.client_urls(number), time.clone()))
            .collect();
        let bound = Arc::new(Mutex::new(BTreeMap::new()));
        let view = View {
            cluster: Arc::clone(&cluster),
            feed: feed.clone(),
            bound: Arc::clone(&bound),
            groups: Arc::new(resolved.clients.iter().map(|group| group.id.clone()).collect()),
        };
        let disk = &resolved.cluster.disk;
        let power = Power { lose_unsynced: disk.lose_unsynced, torn: disk.torn };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (finish, finished) = tokio::sync::watch::channel(false);
        let shared = Arc::new(Shared {
            feed: feed.clone(),
            names: cluster.names.clone(),
            draws: draws.clone(),
            connections: connections.clone(),
            looks: cluster.machines.iter().map(|machine| machine.look.clone()).collect(),
            stop: stopped,
            finish: finished,
            watches: Default::default(),
            newest: 1.into(),
            compacted: Default::default(),
            audited: Default::default(),
            leases: Default::default(),
        });
        let stage = Arc::new(Stage::new(
            Arc::clone(&cluster),
            feed.clone(),
            draws.clone(),
            connections,
            bound,
            view.clone(),
            power,
        ));
        let monitors = resolved.default_expects().iter().chain(&resolved.expects).map(Monitor::new).collect();
        let load = Vec::new();
        let (calm_since, loaded) = Default::default();
        Course { resolved, feed, cluster, stage, view, shared, stop, finish, load, monitors, calm_since, loaded }
    }

    /// Runs load and script for the scenario's time, or until something is broken.
    async fn play(&mut self) -> Option<Broken> {
        // Before the members: a step may wait for a point of their very first steps.
        // On the clients' machine: some steps are requests.
        let play = |step: &Step| self.cluster.spawn(Arc::clone(&self.stage).play(step.clone()));
        let mut script: Vec<_> = self.resolved.steps.iter().map(play).collect();
        for number in self.cluster.numbers() {
            self.cluster.start(number);
        }
        self.feed.observe(Observation::Calm);
        let mut next_client = 1;
        for (index, group) in self.resolved.clients.iter().enumerate() {
            let group = Arc::new(group.clone());
            let (ops, leases) = (&group.knobs.ops.0, scripted::Leases::default());
            for (place, op) in (0..).zip(ops) {
                let client = Client::new(Arc::clone(&self.shared), Arc::clone(&group), index, next_client, place);
                next_client += 1;
                self.load.push(self.cluster.spawn(scripted::play(client, op.clone(), leases.clone())));
            }
            if !ops.is_empty() {
                continue;
            }
            for place in 0..group.knobs.count {
                let client = Client::new(Arc::clone(&self.shared), Arc::clone(&group), index, next_client, place);
                next_client += 1;
                self.load.push(self.cluster.spawn(client.run()));
            }
        }
        if self.is_audited()
            && let Some(group) = self.resolved.clients.first()
        {
            let group = Arc::new(group.clone());
            for number in self.cluster.numbers().take(AUDITS_MAX) {
                let (shared, place) = (Arc::clone(&self.shared), group.knobs.count);
                let client = Client::new(shared, Arc::clone(&group), 0, next_client, place);
                next_client += 1;
                self.cluster.spawn(watcher::audit(client, MemberId(number)));
            }
        }
        let mut script_done_at = None;
        let mut revived = Duration::ZERO;
        let mut drawn = BTreeMap::new();
        loop {
            self.feed.time().sleep(LOOK_INTERVAL).await;
            self.tell_draws(&mut drawn);
            if let Some(broken) = self.look() {
                return Some(broken);
            }
            self.note_state();
            let now = self.feed.now();
            if revived + REVIVE_INTERVAL <= now {
                self.stage.revive();
                revived = now;
            }
            script.retain(|task| !task.is_finished());
            if script.is_empty() {
                script_done_at.get_or_insert(now);
            }
            let over = match self.resolved.run {
                RunLength::For(length) => length.to_std() <= now,
                RunLength::Settled { after_last, at_least, at_most } => {
                    let settled = script_done_at.is_some_and(|done| done + after_last.to_std() <= now);
                    at_most.to_std() <= now || (settled && at_least.to_std() <= now)
                }
            };
            if over || self.settled(now) {
                return None;
            }
        }
    }

    fn note_state(&self) {
        let stands = |machine: &cluster::Machine| {
            let up = machine.is_up();
            machine.look.with(|seen| Stands {
                up,
                role: seen.standing.role,
                term: seen.standing.term.0,
                committed: seen.committed,
                applied: seen.applied,
                release: seen.release,
            })
        };
        self.feed.coverage().state(self.cluster.members().map(stands));
    }

    /// Calm has lasted as long as the scenario asks for at least, and nothing has still to come true.
    fn settled(&mut self, now: Duration) -> bool {
        let Some(settle) = self.resolved.settle else { return false };
        if !self.stage.is_calm() {
            return false;
        }
        let since = *self.calm_since.get_or_insert(now);
        let waits = self.monitors.iter().any(Monitor::waits) || self.stage.anybody_leaves() || self.stage.is_operated();
        since + settle.to_std() <= now && !waits
    }

    /// Which choices were made since it was told last, for who wants to change one of them.
    fn tell_draws(&self, before: &mut BTreeMap<String, u64>) {
        self.feed.aside("draws", || {
            self.stage.draws.with(|decisions| {
                let new = decisions.drawn().filter(|(label, count)| before.get(*label) != Some(count));
                let new: BTreeMap<String, u64> = new.map(|(label, count)| (label.to_owned(), count)).collect();
                before.extend(new.clone());
                json!({"count": decisions.count(), "labels": new})
            })
        });
    }

    fn look(&mut self) -> Option<Broken> {
        if let Some((oracle, message)) = self.cluster.broken() {
            return Some(Broken { what: oracle.to_owned(), at: self.feed.now(), message });
        }
        if let Some((stray, cluster)) = self.shared.names.stray() {
            let message = format!("an answer is signed by the cluster {stray:x}, and the first one was by {cluster:x}");
            return Some(Broken { what: "cluster id".into(), at: self.feed.now(), message });
        }
        if let Some(violation) = self.feed.violation() {
            return Some(Broken::by(&violation));
        }
        // A value that cannot be read is not served.
        let rots = |step: &Step| matches!(&step.action, Action::DiskStep(disk) if disk.rot.is_some());
        let told = self.shared.connections.iter().find_map(Connection::odd);
        if let Some((code, message)) = told
            && !(code == tonic::Code::DataLoss && self.resolved.steps.iter().any(rots))
        {
            return Some(Broken { what: "answers".into(), at: self.feed.now(), message });
        }
        if let Some(message) = self.stage.overstays() {
            return Some(Broken { what: OVERSTAYS.to_owned(), at: self.feed.now(), message });
        }
        for monitor in &mut self.monitors {
            match monitor.observe(&self.view) {
                Ok(None) => {}
                Ok(Some(violation)) => {
                    let at = violation.at.to_std();
                    return Some(Broken { what: violation.expect, at, message: violation.message });
                }
                Err(error) => {
                    let what = monitor.id().to_owned();
                    return Some(Broken { what, at: self.feed.now(), message: error.to_string() });
                }
            }
        }
        None
    }

    /// Ends the load, heals everything, reads everything once more on each member.
    async fn close(&mut self) -> Option<Broken> {
        let _ = self.stop.send(true);
        let now = self.feed.now();
        self.loaded = Some(now);
        self.feed.lock().stats.stopped(now);
        if !self.stage.is_calm() {
            self.stage.quiesce();
        }
        let give_up = self.feed.now() + LAST_ANSWERS;
        while !self.load.iter().all(|task| task.is_finished()) && self.feed.now() < give_up {
            self.feed.time().sleep(LOOK_INTERVAL).await;
        }
        // Who is asked depends on who belongs.
        let give_up = self.feed.now() + LAST_OPERATION;
        while self.stage.is_operated() && self.feed.now() < give_up {
            self.stage.revive();
            self.feed.time().sleep(LOOK_INTERVAL).await;
        }
        self.quiet().await;
        let (reads, hashes) = match self.last_reads().await {
            Ok(answers) => answers,
            Err(message) => return Some(Broken { what: "availability".into(), at: self.feed.now(), message }),
        };
        let now = self.feed.now();
        let mut inner = self.feed.lock();
        let moment = inner.moment(now);
        let timeouts = self.resolved.clients.iter().map(|group| group.knobs.timeout.to_std());
        let longest = timeouts.fold(steps::REQUEST_PATIENCE, Duration::max);
        // Real machines have more to do than to look at the clock.
        let patience_nanos = (!cluster::FROM_OUTSIDE).then_some((longest + LATE_AT_MOST).as_nanos() as u64);
        let report = inner.oracles.finish(moment, &Finish { reads, hashes, patience_nanos });
        drop(inner);
        let _ = self.finish.send(true);
        report.violations.first().map(Broken::by)
    }

    /// Waits until it can be said whether watches catch up and leases end. It costs little: nobody asks for anything.
    /// Real machines would have to be waited for.
    async fn quiet(&self) {
        if cluster::FROM_OUTSIDE {
            return;
        }
        let latest = self.feed.now() + QUIET_MAX;
        loop {
            let judged = self.feed.lock().oracles.judged_from(latest.as_nanos() as u64);
            let judged = judged.map_or(Duration::ZERO, Duration::from_nanos).min(latest);
            if judged <= self.feed.now() {
                return;
            }
            self.stage.revive();
            self.feed.time().sleep((judged - self.feed.now()).min(REVIVE_INTERVAL)).await;
        }
    }

    /// Members' own word does not count: watches tell what each revision did, so that an operation whose answer was
    /// lost is found, not guessed.
    fn is_audited(&self) -> bool {
        cluster::FROM_OUTSIDE || self.resolved.is_black_box()
    }

    /// The newest revision that any member has applied.
    fn newest(&self) -> i64 {
        self.cluster.members().map(|machine| machine.look.with(|seen| seen.revision)).max().unwrap_or_default()
    }

    /// Waits, within limits, until a watch has shown everything up to a revision.
    async fn last_events(&self, newest: i64) {
        let give_up = self.feed.now() + LAST_EVENTS_MAX;
        while self.shared.audited.load(Ordering::Relaxed) <= newest && self.feed.now() < give_up {
            self.feed.time().sleep(LOOK_INTERVAL).await;
        }
    }

    /// One read of everything on each member, all at the same revision (leases may still end and move it), and a hash of
    /// the history.
    async fn last_reads(&self) -> Result<(Vec<FinalRead>, Vec<HashKv>), String> {
        for _ in 0..LAST_ROUNDS {
            let mut reads = Vec::new();
            for number in self.cluster.names.voters() {
                reads.push(self.last_read(number).await?);
            }
            let newest = self.newest();
            if reads.iter().all(|read| read.header.revision.0 == newest) {
                let mut hashes = Vec::new();
                for number in self.cluster.names.voters() {
                    hashes.push(self.last_hash(number).await?);
                }
                if self.is_audited() {
                    self.last_events(newest).await;
                }
                if self.newest() == newest {
                    return Ok((reads, hashes));
                }
            }
            self.feed.time().sleep(Duration::from_millis(500)).await;
        }
        Err("with all faults healed and no load, the revision does not come to rest".into())
    }

    async fn last_read(&self, number: u64) -> Result<FinalRead, String> {
        // Not part of the history: the order of these reads is no client's, and leases may end between them.
        let outcome = self.last_answer(number, |connection, names| async move {
            let everything = Request::Range(Range::of(KeyRange::all()));
            match connection.call(&everything, LAST_READ_PATIENCE, &move |header| names.signer(header)).await {
                Outcome::Ok(header, Body::Range(reply)) => Ok(FinalRead { header, kvs: reply.kvs }),
                other => Err(format!("{other:?}")),
            }
        });
        outcome.await
    }

    async fn last_hash(&self, number: u64) -> Result<HashKv, String> {
        let member = MemberId(number);
        let outcome = self.last_answer(number, move |connection, _| async move {
            let answer = connection.hash_kv(LAST_READ_PATIENCE).await?;
            let (revision, compacted) = (Revision(answer.hash_revision), Revision(answer.compact_revision));
            Ok(HashKv { member, revision, compacted, hash: answer.hash })
        });
        outcome.await
    }

    /// Asks a member, from the clients' machine, until it answers or patience is over.
    async fn last_answer<T: Send + 'static, F: Future<Output = Result<T, String>> + Send + 'static>(
        &self,
        number: u64,
        ask: impl Fn(Connection, Names) -> F,
    ) -> Result<T, String> {
        let give_up = self.feed.now() + LAST_READS_MAX;
        let mut last = String::new();
        while self.feed.now() < give_up {
            let connection = self.shared.connections[number as usize - 1].clone();
            let call = self.cluster.spawn(ask(connection, self.cluster.names.clone()));
            match call.await.map_err(|error| error.to_string())? {
                Ok(answer) => return Ok(answer),
                Err(reason) => last = reason,
            }
            self.stage.revive();
            self.feed.time().sleep(Duration::from_millis(200)).await;
        }
        let reason = self.cluster.machine(number).look.with(|seen| seen.fatal.clone());
        let why = reason.map_or_else(String::new, |reason| format!("; it stopped: {reason}"));
        Err(format!("with all faults healed, n{number} does not answer a read: {last}{why}"))
    }

    fn end(mut self, mut broken: Option<Broken>, metrics: Vec<(String, Expr)>) -> Ended {
        let mut outcomes = Vec::new();
        for monitor in &mut self.monitors {
            let id = monitor.id().to_owned();
            match monitor.finish(&self.view) {
                Ok(outcome) => {
                    if let monitor::Outcome::Violated(violation) = &outcome
                        && broken.is_none()
                    {
                        let at = violation.at.to_std();
                        broken = Some(Broken { what: id.clone(), at, message: violation.message.clone() });
                    }
                    outcomes.push((id, outcome));
                }
                Err(error) if broken.is_none() => {
                    broken = Some(Broken { what: id, at: self.feed.now(), message: error.to_string() });
                }
                Err(_) => {}
            }
        }
        if let Some(Broken { what, at, message }) = &broken {
            self.feed.broken(what, *at, message);
        }
        let mut memory = eval::Memory::default();
        let values = metrics
            .into_iter()
            .map(|(name, expr)| (name, eval::value(&expr, &self.view, &mut memory).unwrap_or(Value::Missing)));
        let metrics = values.collect();
        let simulated = self.feed.now();
        let counters = self.counters();
        let coverage = self.feed.coverage().places();
        Ended { broken, simulated, outcomes, metrics, counters, coverage }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for machine in &self.cluster.machines {
            *counters.entry("syncs".to_owned()).or_default() += machine.syncs();
        }
        counters.extend(self.feed.points().visits().into_iter().map(|(name, count)| (format!("point {name}"), count)));
        let inner = self.feed.lock();
        let until = self.loaded.unwrap_or_else(|| self.feed.now());
        counters.extend(figures::figures(&inner.happenings, &inner.stats, self.resolved.clients.len(), until));
        for event in &inner.happenings {
            *counters.entry(format!("event {}", event.name)).or_default() += 1;
        }
        counters
    }
}

/// What the language knows and this simulator does not do: a run that left it out in silence would claim too much.
fn not_simulated(resolved: &Resolved) -> Option<String> {
    use evenkeel_scenario::{Action, MessageKind};
    if resolved.swarm.is_some() {
        return Some("[swarm]: nothing is generated from it".into());
    }
    for plant in resolved.cluster.mutants.0.iter().chain(&resolved.cluster.switches.0) {
        if !matches!(plant.on, Selector::All | Selector::Node(_)) {
            return Some(format!(
                "{}: a bug is planted in all members or in one such as n2, not in {}",
                plant.name, plant.on
            ));
        }
    }
    resolved.steps.iter().find_map(|step| {
        let matching = match &step.action {
            Action::Cut(cut) => &cut.matching,
            Action::Slow(slow) => &slow.matching,
            Action::Drop(drop) => &drop.matching,
            Action::Dup(dup) => &dup.matching,
            Action::Reorder(reorder) => &reorder.matching,
            _ => return None,
        };
        let clients = matching.as_ref().is_some_and(|messages| messages.0.contains(&MessageKind::Client));
        clients.then(|| format!("step {}: links between clients and members are not cut or slowed", step.id))
    })
}

/// The oracle behind a default expectation.
fn oracle_of(expect: &str) -> Option<&'static str> {
    use evenkeel_check::{availability, lease, ledger, linearizable, raft, state_hash, watch};
    Some(match expect {
        "linearizable" => linearizable::NAME,
        "watch_ok" => watch::NAME,
        "lease_ok" => lease::NAME,
        "hash_agree" => state_hash::NAME,
        "ledger" => ledger::NAME,
        "heals" => availability::NAME,
        "leaders_per_term" | "log_match" | "committed_never_lost" => raft::NAME,
        _ => return None,
    })
}

fn oracle_config(resolved: &Resolved) -> OracleConfig {
    let Settings { nodes, tick, election_ticks, clock, check_quorum, watch_progress, .. } = &resolved.cluster;
    let steps_drift = resolved.steps.iter().filter_map(|step| match &step.action {
        evenkeel_scenario::Action::ClockStep(step) => step.drift,
        _ => None,
    });
    let drifts: Vec<f64> = steps_drift.chain([clock.drift.low, clock.drift.high]).collect();
    // From outside nobody knows whether a voter that was added has come up, and without it there may be no quorum.
    let joins = resolved.steps.iter().any(|step| matches!(&step.action, Action::Member(_)));
    let unseen = (resolved.is_black_box() && joins).then_some(evenkeel_check::availability::NAME);
    let farthest = |sign: f64| drifts.iter().map(|drift| sign * drift).fold(0.0, f64::max);
    cluster::oracles(OracleConfig {
        voters: *nodes as usize,
        election_timeout_nanos: tick.times(*election_ticks as f64).0 as u64,
        fast_ppm: (farthest(1.0) * 1e6) as u64,
        slow_ppm: (farthest(-1.0) * 1e6) as u64,
        watch_reader_nanos: watcher::PAUSES_MAX.as_nanos() as u64,
        watch_progress_nanos: watch_progress.0 as u64,
        black_box_only: resolved.is_black_box(),
        off: resolved.opt_out.iter().filter_map(|out| oracle_of(out)).chain(unseen).map(str::to_owned).collect(),
        stale_leader_nanos: if *check_quorum { OracleConfig::default().stale_leader_nanos } else { u64::MAX / 4 },
        ..OracleConfig::default()
    })
}
