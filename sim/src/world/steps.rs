//! The script of a run: each step waits for its trigger in a task of its own, then acts on the world.
//!
//! Steps that only a simulated world can play are in `faults`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_check::observation::Observation;
use evenkeel_scenario::expr::{ExprNode, STEP_EVENT};
use evenkeel_scenario::step::{Step, Trigger};
use evenkeel_scenario::verb::{Action, Boot, RestartKind};
use evenkeel_scenario::{Event, Nanos, Selector, Spread, Watch, Word};
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
use crate::net::RuleId;

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A request that a step makes is given up after this.
pub(super) const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// How long a step that needs a leader waits for one.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long it lets the new one settle.
const LEADER_SETTLES: Duration = Duration::from_millis(500);

/// The property of a restart that says how the member goes down.
pub const KIND: &str = "kind";

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
    /// Members that were removed, and since when they can find that out.
    pub(super) leaving: Mutex<BTreeMap<u64, Duration>>,
    /// The machine that is being added, as long as nobody knows what came of it.
    pub(super) joining: Mutex<Option<u64>>,
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
        let (troubles, subjects, operator, leaving, joining) = Default::default();
        let power = Mutex::new(power);
        Stage { cluster, feed, draws, connections, bound, view, power, troubles, subjects, operator, leaving, joining }
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
    #[cfg(madsim)]
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

    /// Ends all faults: links, disks, clocks' drift, and members that are down or paused.
    pub fn quiesce(&self) {
        let rules = {
            let mut troubles = self.troubles.lock().expect("one thread");
            troubles.calm = true;
            std::mem::take(&mut troubles.rules)
        };
        self.heal_all(rules);
        self.feed.healed();
        for machine in &self.cluster.machines {
            self.cluster.resume(machine.number);
            if let Some(since) = self.leaving.lock().expect("one thread").get_mut(&machine.number) {
                *since = self.feed.now();
            } else if self.is_joining(machine.number) {
                // The change may be in a log, and then the machine is needed for a quorum: who asked for it decides.
            } else if !self.cluster.names.present().contains(&machine.number) {
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

    /// Starts again who has ended by itself, as whoever runs a server would. After `quiesce` only: before it, the
    /// scenario says who runs.
    pub fn revive(&self) {
        if !self.is_calm() {
            return;
        }
        let joining = self.cluster.machines.iter().filter(|machine| self.is_joining(machine.number));
        for machine in self.cluster.members().chain(joining) {
            if machine.is_meant_to_run() && !machine.is_up() {
                self.cluster.kill(machine.number, Crash::Kill);
                self.cluster.rejoin(machine.number);
                self.cluster.start(machine.number);
            }
        }
    }

    fn is_joining(&self, number: u64) -> bool {
        *self.joining.lock().expect("one thread") == Some(number)
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
                stage.feed.note(Event {
                    name: "restart".to_owned(),
                    at: stage.feed.nanos(),
                    until: Some(stage.feed.nanos()),
                    node: Some(number),
                    step: None,
                    fields: [(KIND.to_owned(), evenkeel_scenario::Value::Text(kind.name().to_owned()))].into(),
                });
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
                if !stage.is_calm() {
                    stage.feed.time().sleep(down).await;
                }
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
        match action {
            Action::Restart(restart) => self.restart(restart, id).await,
            Action::Pause(pause) => {
                let members = self.members(&pause.node, id, &[]);
                self.trouble();
                members.iter().for_each(|n| self.cluster.pause(*n));
                self.feed.time().sleep(pause.hold.to_std()).await;
                members.iter().for_each(|n| self.cluster.resume(*n));
                self.relief();
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
                    if self.is_calm() {
                        return;
                    }
                    self.trouble();
                    self.cluster.stop(number).await;
                    // It was still up when everybody was started.
                    if self.is_calm() {
                        self.cluster.start(number);
                    }
                }
            }
            Action::Compact(compact) => self.compact(compact.keep).await,
            Action::Mark(_) => {}
            Action::Transfer(step) => self.transfer(step, id).await,
            Action::Member(step) => self.member(step, id).await,
            Action::Roll(step) => self.roll(step, id).await,
            Action::Downgrade(step) => self.downgrade(step, id).await,
            Action::Defrag(step) => self.defrag(step, id).await,
            Action::Attrition(step) => self.attrition(step, id).await,
            fault => self.fault(fault, id).await,
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
                .call(&request, REQUEST_PATIENCE, &move |header| names.signer(header))
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
            self.feed.coverage().begins(verb);
            self.act(&step.action, &step.id).await;
            self.feed.coverage().ends(verb);
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
