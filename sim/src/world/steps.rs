//! The script of a run: each step waits for its trigger in a task of its own, then acts on the world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_check::observation::Observation;
use evenkeel_scenario::expr::{ExprNode, STEP_EVENT};
use evenkeel_scenario::step::{Step, Trigger};
use evenkeel_scenario::verb::{Action, Boot, DiskError, RestartKind};
use evenkeel_scenario::{Event, Link, Messages, Nanos, Selector, Spread, Watch, Word};
use serde_json::json;
use tokio::sync::oneshot;

use super::cluster::Cluster;
use super::connection::Connection;
use super::feed::Feed;
use super::points::{self, Arrived};
use super::view::View;
use crate::chain::Value;
use crate::disk::{Crash, Keep};
use crate::draw::Draws;
use crate::net::{Effect, Kinds, Rule, RuleId};

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long a step that needs a leader waits for one.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long it lets the new one settle.
const LEADER_SETTLES: Duration = Duration::from_millis(500);

/// What selectors in conditions draw under.
const WHEN: &str = "when";
/// What selectors in events draw under.
const AFTER: &str = "after";

/// What steps act on.
pub struct Stage {
    /// The members.
    pub cluster: Arc<Cluster>,
    /// The record.
    pub feed: Feed,
    /// The run's choices.
    pub draws: Draws,
    /// For steps that are requests.
    pub connections: Vec<Connection>,
    /// Names given by `bind`.
    pub bound: Arc<Mutex<BTreeMap<String, u64>>>,
    /// What expressions see.
    pub view: View,
    /// Whether a power loss loses and tears, per the scenario.
    pub power: Mutex<Power>,
    troubles: Mutex<Troubles>,
    /// The members at which steps were triggered.
    subjects: Mutex<BTreeMap<String, u64>>,
    /// Held by the step that operates the cluster.
    pub(super) operator: tokio::sync::Mutex<()>,
}

/// What a power loss does.
#[derive(Clone, Copy, Debug)]
pub struct Power {
    /// Unsynced bytes may be lost.
    pub lose_unsynced: bool,
    /// The last write may be torn.
    pub torn: bool,
}

/// The faults going on.
#[derive(Default)]
struct Troubles {
    rules: Vec<RuleId>,
    count: u64,
    calm: bool,
}

impl Stage {
    /// A calm stage.
    pub fn new(
        cluster: Arc<Cluster>,
        feed: Feed,
        draws: Draws,
        connections: Vec<Connection>,
        bound: Arc<Mutex<BTreeMap<String, u64>>>,
        view: View,
        power: Power,
    ) -> Stage {
        let (troubles, subjects, operator) = Default::default();
        let power = Mutex::new(power);
        Stage { cluster, feed, draws, connections, bound, view, power, troubles, subjects, operator }
    }

    /// A fault begins.
    pub(super) fn trouble(&self) {
        let mut troubles = self.troubles.lock().expect("one thread");
        troubles.count += 1;
        if troubles.count == 1 {
            self.feed.observe(Observation::Disturbed);
        }
    }

    /// A fault ends.
    pub(super) fn relief(&self) {
        let mut troubles = self.troubles.lock().expect("one thread");
        troubles.count = troubles.count.saturating_sub(1);
        let all_run = self.cluster.members().all(super::cluster::Machine::is_meant_to_run);
        if troubles.count == 0 && all_run {
            self.feed.observe(Observation::Calm);
        }
    }

    /// Rules to be taken back by `quiesce`.
    pub(super) fn remember(&self, rules: &[RuleId]) {
        self.troubles.lock().expect("one thread").rules.extend(rules);
    }

    /// Whether `quiesce` has ended all faults for good.
    pub fn is_calm(&self) -> bool {
        self.troubles.lock().expect("one thread").calm
    }

    /// The members a selector means now. `others` are those not in `against`.
    pub fn members(&self, selector: &Selector, label: &str, against: &[u64]) -> Vec<u64> {
        let all: Vec<u64> = self.cluster.numbers().collect();
        let leader = self.cluster.leader();
        let followers = || all.iter().copied().filter(|n| Some(*n) != leader).collect::<Vec<u64>>();
        let draw = |mut from: Vec<u64>, count: usize| {
            let label = self.draws.label(&format!("step/{label}/members"));
            let mut chosen = Vec::new();
            while chosen.len() < count && !from.is_empty() {
                chosen.push(from.remove(self.draws.below(label, from.len() as u64) as usize));
            }
            chosen.sort_unstable();
            chosen
        };
        let members = match selector {
            Selector::Node(number) => vec![*number],
            Selector::Leader => leader.into_iter().collect(),
            Selector::Follower => followers().into_iter().take(1).collect(),
            Selector::Followers => followers(),
            Selector::Others => all.into_iter().filter(|n| !against.contains(n)).collect(),
            Selector::All => all,
            Selector::Any => draw(all, 1),
            Selector::SelfNode => self.subjects.lock().expect("one thread").get(label).copied().into_iter().collect(),
            Selector::Random(count) => draw(all, *count as usize),
            Selector::RandomFollower => draw(followers(), 1),
            Selector::Minority => {
                let count = self.cluster.names.voters().len().saturating_sub(1) / 2;
                draw(all, count)
            }
            Selector::Bound(name) => self.bound.lock().expect("one thread").get(name).copied().into_iter().collect(),
        };
        self.chosen(label, selector, &members);
        members
    }

    /// Tells whom a step is about.
    fn chosen(&self, label: &str, selector: &Selector, members: &[u64]) {
        if [WHEN, AFTER].contains(&label) {
            return;
        }
        let (selector, members) = (selector.to_string(), members.iter().map(|n| format!("n{n}")).collect::<Vec<_>>());
        let fields = [
            ("step", Value::Text(label)),
            ("selector", Value::Text(&selector)),
            ("members", Value::Text(&members.join(" "))),
        ];
        self.feed.log("chosen", &fields);
    }

    fn links(&self, link: &Link, label: &str) -> Vec<(u64, u64)> {
        let (from, to) = if link.from == Selector::Others {
            let to = self.members(&link.to, label, &[]);
            (self.members(&link.from, label, &to), to)
        } else {
            let from = self.members(&link.from, label, &[]);
            let to = self.members(&link.to, label, &from);
            (from, to)
        };
        let mut links = Vec::new();
        for a in &from {
            for b in to.iter().filter(|b| *b != a) {
                links.push((*a, *b));
                if link.both {
                    links.push((*b, *a));
                }
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }

    /// Begins a trouble on a link and ends it after `hold`.
    async fn network(
        &self,
        link: &Link,
        matching: Option<&Messages>,
        effect: Effect,
        hold: Option<Duration>,
        label: &str,
    ) {
        let kinds = match matching {
            None => Kinds::ALL,
            Some(Messages(kinds)) => {
                let names = kinds.iter().map(|kind| kind.name()).filter(|name| *name != "client");
                Kinds::named(names).expect("the language and the network know the same kinds")
            }
        };
        let rules: Vec<RuleId> = self
            .links(link, label)
            .into_iter()
            .map(|(from, to)| {
                let (from, to) = (self.cluster.station(from), self.cluster.station(to));
                self.cluster.net.add_rule(Rule { from, to, kinds, effect: effect.clone() })
            })
            .collect();
        self.trouble();
        self.remember(&rules);
        if let Some(hold) = hold {
            self.feed.time().sleep(hold).await;
            if self.is_calm() {
                return;
            }
            for rule in rules {
                self.cluster.net.remove_rule(rule);
            }
            self.relief();
            self.feed.happened("heal", None);
        }
    }

    /// Ends all faults: links, disks, clocks' drift, and members that are down or paused.
    pub fn quiesce(&self) {
        let rules = {
            let mut troubles = self.troubles.lock().expect("one thread");
            troubles.calm = true;
            std::mem::take(&mut troubles.rules)
        };
        for rule in rules {
            self.cluster.net.remove_rule(rule);
        }
        for machine in &self.cluster.machines {
            machine.disk.set_faults(|faults| *faults = Default::default());
            self.feed.aside("disk_relief", || json!({"node": machine.number}));
            machine.clock.set_drift(0);
            self.cluster.resume(machine.number);
            if !self.cluster.names.present().contains(&machine.number) {
                self.cluster.kill(machine.number, Crash::Kill);
            } else if !machine.is_meant_to_run() {
                self.cluster.start(machine.number);
            } else if !machine.is_up() {
                // Its disk had failed under it: an operator would start it again.
                self.cluster.kill(machine.number, Crash::Kill);
                self.cluster.start(machine.number);
            }
        }
        self.feed.observe(Observation::Calm);
    }

    fn crash(&self, kind: RestartKind) -> Crash {
        let power = *self.power.lock().expect("one thread");
        match kind {
            RestartKind::PowerLoss if power.lose_unsynced && power.torn => Crash::PowerLoss(Keep::Drawn),
            RestartKind::PowerLoss if power.lose_unsynced => Crash::PowerLoss(Keep::Nothing),
            RestartKind::PowerLoss => Crash::PowerLoss(Keep::Everything),
            RestartKind::Kill | RestartKind::Clean => Crash::Kill,
        }
    }

    /// The release a member comes back with, when a roll is under way.
    fn boot(&self, boot: Boot, number: u64, id: &str) {
        let Some((from, to)) = self.cluster.machine(number).rolling() else { return };
        let (old, new) = (from.min(to), from.max(to));
        let release = match boot {
            Boot::Same => return,
            Boot::Old => old,
            Boot::New => new,
            Boot::Either if self.draws.chance(self.draws.label(&format!("step/{id}/n{number}/boot")), 0.5) => old,
            Boot::Either => new,
        };
        // Nobody starts a release that cannot open what is there.
        let release = if boot == Boot::Either && !self.may_run(number, release) { new } else { release };
        self.cluster.set_release(number, release);
    }

    pub(super) async fn restart(self: &Arc<Self>, restart: &evenkeel_scenario::verb::Restart, id: &str) {
        let mut after = Duration::ZERO;
        let mut tasks = Vec::new();
        for number in self.members(&restart.node, id, &[]) {
            let draw = |what: &str, spread: &Spread<Nanos>| {
                self.draws.with(|d| spread.draw(d, &format!("step/{id}/n{number}/{what}"))).to_std()
            };
            let down = draw("down", &restart.down);
            let (stage, kind, begin, boot) = (Arc::clone(self), restart.kind, after, restart.boot);
            let id = id.to_owned();
            after += draw("stagger", &restart.stagger);
            tasks.push(tokio::spawn(async move {
                stage.feed.time().sleep(begin).await;
                if stage.is_calm() {
                    return;
                }
                stage.trouble();
                stage.feed.happened("restart", Some(number));
                let fields = [
                    ("step", Value::Text(&id)),
                    ("node", Value::U64(number)),
                    ("kind", Value::Text(kind.name())),
                    ("begin_ns", Value::U64(begin.as_nanos() as u64)),
                    ("down_ns", Value::U64(down.as_nanos() as u64)),
                ];
                stage.feed.log("down", &fields);
                match kind {
                    RestartKind::Clean => stage.cluster.stop(number).await,
                    kind => stage.cluster.kill(number, stage.crash(kind)),
                }
                stage.feed.time().sleep(down).await;
                if !stage.cluster.machine(number).is_meant_to_run() {
                    stage.boot(boot, number, &id);
                    stage.cluster.start(number);
                }
                stage.relief();
            }));
        }
        for task in tasks {
            let _ = task.await;
        }
    }

    async fn act(self: &Arc<Self>, action: &Action, id: &str) {
        let hold = action.hold().map(|hold| hold.to_std());
        match action {
            Action::Cut(cut) => self.network(&cut.link, cut.matching.as_ref(), Effect::Cut, hold, id).await,
            Action::Slow(slow) => {
                let effect = Effect::Slow(slow.add.low.to_std()..slow.add.high.to_std());
                self.network(&slow.link, slow.matching.as_ref(), effect, hold, id).await;
            }
            Action::Drop(drop) => {
                let effect = Effect::Drop(drop.share.0);
                self.network(&drop.link, drop.matching.as_ref(), effect, hold, id).await;
            }
            Action::Dup(dup) => {
                let effect = Effect::Duplicate(dup.share.0);
                self.network(&dup.link, dup.matching.as_ref(), effect, hold, id).await;
            }
            Action::Reorder(reorder) => {
                let effect = Effect::Reorder(reorder.share.0, reorder.by.low.to_std()..reorder.by.high.to_std());
                self.network(&reorder.link, reorder.matching.as_ref(), effect, hold, id).await;
            }
            Action::Reset(reset) => {
                for (from, to) in self.links(&reset.link, id) {
                    let (from, to) = (self.cluster.station(from), self.cluster.station(to));
                    self.cluster.net.break_connection(from, to);
                    if reset.refused {
                        self.cluster.net.refuse_connection(from, to);
                    }
                }
            }
            Action::Restart(restart) => self.restart(restart, id).await,
            Action::Pause(pause) => {
                let members = self.members(&pause.node, id, &[]);
                self.trouble();
                members.iter().for_each(|n| self.cluster.pause(*n));
                self.feed.time().sleep(pause.hold.to_std()).await;
                members.iter().for_each(|n| self.cluster.resume(*n));
                self.relief();
            }
            Action::DiskStep(disk) => self.disk(disk, hold, id).await,
            Action::ClockStep(clock) => {
                let members = self.members(&clock.node, id, &[]);
                for number in &members {
                    let machine = self.cluster.machine(*number);
                    let told =
                        || json!({"node": number, "offset_ns": clock.offset.map(|by| by.0), "drift": clock.drift});
                    self.feed.aside("clock", told);
                    if let Some(offset) = clock.offset {
                        machine.clock.jump(offset.0);
                    }
                    if let Some(drift) = clock.drift {
                        machine.clock.set_drift((drift * 1e6) as i32);
                    }
                }
                if let (Some(hold), Some(_)) = (hold, clock.drift) {
                    self.feed.time().sleep(hold).await;
                    members.iter().for_each(|n| self.cluster.machine(*n).clock.set_drift(0));
                }
            }
            Action::Quiesce(_) => self.quiesce(),
            Action::Bind(bind) => {
                for (name, selector) in &bind.names {
                    if let Some(number) = self.members(selector, id, &[]).first() {
                        self.bound.lock().expect("one thread").insert(name.clone(), *number);
                        self.feed.aside("bound", || json!({"node": number, "name": name}));
                    }
                }
            }
            Action::Stop(stop) => {
                for number in self.members(&stop.node, id, &[]) {
                    self.trouble();
                    self.cluster.stop(number).await;
                }
            }
            Action::Compact(compact) => self.compact(compact.keep).await,
            Action::Mark(_) => {}
            Action::Transfer(step) => self.transfer(step, id).await,
            Action::Member(step) => self.member(step, id).await,
            Action::Roll(step) => self.roll(step, id).await,
            Action::Downgrade(step) => self.downgrade(step, id).await,
            Action::Defrag(step) => self.defrag(step, id).await,
            Action::Swizzle(step) => self.swizzle(step, id).await,
            Action::Attrition(step) => self.attrition(step, id).await,
        }
    }

    async fn disk(&self, step: &evenkeel_scenario::verb::DiskStep, hold: Option<Duration>, id: &str) {
        let members = self.members(&step.node, id, &[]);
        self.trouble();
        {
            let mut power = self.power.lock().expect("one thread");
            power.torn = step.torn.unwrap_or(power.torn);
            power.lose_unsynced = step.lose_unsynced.unwrap_or(power.lose_unsynced);
        }
        for number in &members {
            let machine = self.cluster.machine(*number);
            let mut told = String::new();
            machine.disk.set_faults(|faults| {
                if let Some(fsync) = &step.fsync {
                    faults.slow_sync = Some(fsync.low.to_std()..fsync.high.to_std());
                }
                match step.error {
                    Some(DiskError::Eio) => (faults.write_error, faults.sync_error) = (step.share.0, step.share.0),
                    Some(DiskError::Enospc) => faults.full = true,
                    None => {}
                }
                told = faults.to_string();
            });
            self.feed.aside("disk_trouble", || json!({"node": number, "what": told}));
            if step.wiped == Some(true) {
                self.cluster.kill(*number, Crash::Kill);
                machine.disk.wipe();
                self.cluster.start(*number);
            }
        }
        if let Some(hold) = hold {
            self.feed.time().sleep(hold).await;
            if self.is_calm() {
                return;
            }
            for number in &members {
                let machine = self.cluster.machine(*number);
                machine.disk.set_faults(|faults| *faults = Default::default());
                self.feed.aside("disk_relief", || json!({"node": number}));
                if machine.is_meant_to_run() && !machine.is_up() {
                    self.cluster.kill(*number, Crash::Kill);
                    self.cluster.start(*number);
                }
            }
            self.relief();
            self.feed.happened("heal", None);
        }
    }

    async fn compact(&self, keep: u64) {
        use evenkeel_check::history::Request;
        let newest = self.cluster.members().map(|m| m.look.with(|seen| seen.revision)).max().unwrap_or(0);
        let revision = newest - keep as i64;
        if revision > 1
            && let Some(leader) = self.cluster.leader()
        {
            let request = Request::Compact { revision: evenkeel_check::Revision(revision) };
            let op = self.feed.call(0, evenkeel_check::ClientId(0), evenkeel_check::MemberId(leader), &request);
            let names = self.cluster.names.clone();
            let outcome = self.connections[leader as usize - 1]
                .call(&request, Duration::from_secs(5), &move |id| names.member(id))
                .await;
            self.feed.returned(op, outcome);
        }
    }

    /// Waits for a step's trigger, then acts, as often as it says.
    pub fn play(self: Arc<Self>, step: Step) -> impl Future<Output = ()> + Send {
        let stage = Arc::clone(&self);
        let members = Box::new(move |selector: &Selector| stage.members(selector, WHEN, &[]));
        let arrival = self.feed.points().arm(&step.trigger, members);
        self.run(step, arrival)
    }

    async fn run(self: Arc<Self>, step: Step, arrival: Option<oneshot::Receiver<Arrived>>) {
        match arrival {
            None => self.wait_for(&step.trigger, &step.id).await,
            Some(arrival) => self.wait_for_arrival(arrival, &step).await,
        }
        let times = step.repeat.as_ref().map_or(1, |repeat| repeat.times);
        for round in 0..times {
            if self.is_calm() {
                return;
            }
            self.wait_for_leader(&step.action).await;
            if self.is_calm() {
                return;
            }
            let began = self.feed.now();
            let verb = step.action.verb();
            let mut event = Event {
                name: verb.to_owned(),
                at: self.feed.nanos(),
                until: None,
                node: None,
                step: Some(step.id.clone()),
                fields: BTreeMap::new(),
            };
            let own_events = matches!(step.action, Action::Restart(_));
            let first = (!own_events).then(|| self.feed.note(event.clone()));
            event.name = STEP_EVENT.to_owned();
            let second = self.feed.note(event);
            let arguments = step.action.arguments();
            let fields =
                [("step", Value::Text(&step.id)), ("verb", Value::Text(verb)), ("arguments", Value::Text(&arguments))];
            self.feed.log("acts", &fields);
            self.act(&step.action, &step.id).await;
            first.into_iter().chain([second]).for_each(|place| self.feed.ended(place));
            if let Some(repeat) = &step.repeat
                && round + 1 < times
            {
                let next = began + repeat.every.to_std();
                self.feed.time().alarm(next).await;
            }
        }
    }

    /// A step that is about a leader, or about who is none, waits until there is one, but not for ever.
    async fn wait_for_leader(&self, action: &Action) {
        let needs = |selector: &Selector| {
            use Selector::{Follower, Followers, Leader, RandomFollower};
            matches!(selector, Leader | Follower | Followers | RandomFollower)
        };
        if self.cluster.leader().is_some() || !action.selectors().into_iter().any(needs) {
            return;
        }
        let give_up = self.feed.now() + LEADER_PATIENCE;
        while self.cluster.leader().is_none() && self.feed.now() < give_up && !self.is_calm() {
            self.feed.time().sleep(LOOK_INTERVAL).await;
        }
        // Not in the moment of its election: the story is about a leader that leads.
        self.feed.time().sleep(LEADER_SETTLES).await;
    }

    fn subject(&self, id: &str, node: Option<u64>) {
        if let Some(node) = node {
            self.subjects.lock().expect("one thread").insert(id.to_owned(), node);
        }
    }

    /// The member stands at the point until the step has begun.
    async fn wait_for_arrival(&self, arrival: oneshot::Receiver<Arrived>, step: &Step) {
        let Ok(arrived) = arrival.await else { return std::future::pending().await };
        self.subject(&step.id, Some(arrived.node));
        let Trigger::When { delay, .. } = &step.trigger else { return };
        let time = self.feed.time().clone();
        if delay.0 > 0 {
            drop(arrived);
            return time.sleep(delay.to_std()).await;
        }
        tokio::spawn(async move {
            time.sleep(points::HOLD).await;
            drop(arrived);
        });
    }

    async fn wait_for(&self, trigger: &Trigger, id: &str) {
        let time = self.feed.time();
        match trigger {
            Trigger::At(at) => time.alarm(at.to_std()).await,
            Trigger::After(filter, delay) => {
                loop {
                    let found = self.feed.lock().happenings.iter().find_map(|event| {
                        let meant = event.until.is_some()
                            && filter.matches(event, |selector| self.members(selector, AFTER, &[]));
                        meant.then_some(event.node)
                    });
                    if let Some(node) = found {
                        self.subject(id, node);
                        break;
                    }
                    time.sleep(LOOK_INTERVAL).await;
                }
                time.sleep(delay.to_std()).await;
            }
            Trigger::When { condition: wanted, nth, delay } => {
                let mut watch = Watch::new(wanted, *nth);
                while !matches!(watch.observe(&self.view), Ok(true)) {
                    time.sleep(LOOK_INTERVAL).await;
                }
                if let ExprNode::Event(filter) = &wanted.node {
                    self.subject(id, self.view.last_at(filter));
                }
                time.sleep(delay.to_std()).await;
            }
        }
    }
}
