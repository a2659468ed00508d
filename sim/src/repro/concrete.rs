//! From a run that happened to a scenario that says exactly that: every operation listed, every step at the moment it
//! fired, about the members it chose, for as long as it lasted.
//!
//! Times and choices become those of the log; what the runtime and the network draw stays the seed's. So the new run
//! is near the old one, not equal to it: the shrinker looks for the same failure there.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_scenario::client::ClientKnobs;
use evenkeel_scenario::ops::{Ask, Guard, Of, Op, Ops, Relation, Txn, When};
use evenkeel_scenario::step::{Step, Trigger};
use evenkeel_scenario::{Action, Client, Link, Nanos, Resolved, Selector, Spread};

use super::events::Event;

/// The clients' operations, all in the first group. `None` when there is no group, or nothing was asked.
pub fn listed(resolved: &Resolved, events: &[Event]) -> Option<Resolved> {
    let mut client: Client = resolved.clients.first()?.clone();
    let ops = operations(events);
    if ops.is_empty() {
        return None;
    }
    let plain = ClientKnobs::defaults().expect("every key of a client has a default");
    client.knobs = ClientKnobs { timeout: client.knobs.timeout, ops: Ops(ops), ..plain };
    Some(Resolved { clients: vec![client], ..resolved.clone() })
}

fn operations(events: &[Event]) -> Vec<Op> {
    let answers: BTreeMap<u64, &Event> =
        events.iter().filter(|event| event.kind == "return").map(|event| (event.number("op"), event)).collect();
    let mut lister = Lister::default();
    for event in events {
        match event.kind.as_str() {
            "return" => lister.newest = lister.newest.max(event.signed("revision")),
            "call" if event.number("client") > 0 => {
                let answer = answers.get(&event.number("op")).map_or("", |answer| answer.text("answer"));
                lister.call(event, answer);
            }
            "watch" if event.number("resumes") == 0 => lister.add(event),
            _ => {}
        }
    }
    lister.ops.into_iter().flatten().collect()
}

#[derive(Default)]
struct Lister {
    /// Some are taken out again.
    ops: Vec<Option<Op>>,
    newest: i64,
    /// New names by the servers' numbers.
    leases: BTreeMap<String, String>,
    /// What each client asked last, and where it stands.
    last: BTreeMap<u64, (usize, Ask)>,
}

impl Lister {
    fn add(&mut self, event: &Event) {
        if let Some(ask) = Ask::parse(event.text("what")).ok().and_then(|ask| self.renamed(ask)) {
            let (at, on) = (Nanos(event.at_ns as i64), Selector::Node(event.number("node").max(1)));
            self.ops.push(Some(Op { at, on, ask }));
        }
    }

    fn call(&mut self, event: &Event, answer: &str) {
        let client = event.number("client");
        let Ok(ask) = Ask::parse(event.text("what")) else { return };
        let before = self.last.remove(&client);
        // A read and the transaction that hangs on it are one operation.
        if let Some((key, delete)) = swap(&ask)
            && let Some((place, Ask::Read(read))) = before
            && read.keys.is_one()
            && read.keys.from == key
            && let Some(op) = &mut self.ops[place]
        {
            op.ask = Ask::Cas { key, delete };
            return;
        }
        if let Ask::Grant { ttl, id: wished, .. } = &ask {
            let told = answer.strip_prefix("lease ").and_then(|answer| answer.split(' ').next()).map(str::to_owned);
            let number = if *wished == 0 { told } else { Some(format!("L{wished}")) };
            let Some(number) = number else { return };
            let next = format!("lease{}", self.leases.len() + 1);
            let name = self.leases.entry(number).or_insert(next).clone();
            let (at, on) = (Nanos(event.at_ns as i64), Selector::Node(event.number("node").max(1)));
            self.ops.push(Some(Op { at, on, ask: Ask::Grant { name, ttl: *ttl, id: *wished } }));
            return;
        }
        let place = self.ops.len();
        self.add(event);
        if self.ops.len() > place {
            self.last.insert(client, (place, ask));
        }
    }

    /// With this list's names of leases, and revisions counted from the newest one.
    fn renamed(&self, ask: Ask) -> Option<Ask> {
        let lease = |name: &str| self.leases.get(name).cloned();
        Some(match ask {
            Ask::Put { key, lease: name, size, prev_kv } => {
                Ask::Put { key, lease: name.as_deref().and_then(lease), size, prev_kv }
            }
            Ask::Read(mut read) => {
                read.when = self.relative(read.when);
                Ask::Read(read)
            }
            Ask::Watch(mut watch) => {
                watch.when = self.relative(watch.when);
                Ask::Watch(watch)
            }
            Ask::Compact(when) => Ask::Compact(self.relative(when)),
            Ask::Grant { .. } => return None,
            Ask::KeepAlive(name) => Ask::KeepAlive(lease(&name)?),
            Ask::Revoke(name) => Ask::Revoke(lease(&name)?),
            Ask::TimeToLive(name) => Ask::TimeToLive(lease(&name)?),
            Ask::Txn(txn) => Ask::Txn(self.renamed_txn(txn)),
            other @ (Ask::Delete { .. } | Ask::Cas { .. } | Ask::Leases) => other,
        })
    }

    fn renamed_txn(&self, txn: Txn) -> Txn {
        let each = |asks: Vec<Ask>| asks.into_iter().filter_map(|ask| self.renamed(ask)).collect();
        Txn { guards: txn.guards, then: each(txn.then), otherwise: each(txn.otherwise) }
    }

    fn relative(&self, when: When) -> When {
        match when {
            When::Revision(revision) if revision <= self.newest => When::Back(self.newest - revision),
            When::Revision(revision) => When::Ahead(revision - self.newest),
            when => when,
        }
    }
}

/// The key of a transaction that changes a key if it is as it was read, and whether it deletes it.
fn swap(ask: &Ask) -> Option<(Vec<u8>, bool)> {
    let Ask::Txn(Txn { guards, then, .. }) = ask else { return None };
    let [Guard { key, of: Of::Modified, relation: Relation::Equal, .. }] = guards.as_slice() else { return None };
    match then.as_slice() {
        [Ask::Put { .. }] => Some((key.clone(), false)),
        [Ask::Delete { .. }] => Some((key.clone(), true)),
        _ => None,
    }
}

/// Which steps are taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All.
    All,
    /// Those whose time the scenario says: the others stay as they are, tied to what they wait for.
    Timed,
}

/// The script, one step for each time a step fired and each member or link it was about.
pub fn unrolled(resolved: &Resolved, events: &[Event], taken: Taken) -> Resolved {
    let mut steps = Vec::new();
    let mut ids: BTreeSet<String> = resolved.steps.iter().map(|step| step.id.clone()).collect();
    for step in &resolved.steps {
        if taken == Taken::Timed && !matches!(step.trigger, Trigger::At(_)) {
            steps.push(step.clone());
            continue;
        }
        let mut first = true;
        for (at, action) in firings(step, events) {
            let id = if std::mem::take(&mut first) { step.id.clone() } else { free(&step.id, &ids) };
            ids.insert(id.clone());
            steps.push(Step { id, trigger: Trigger::At(Nanos(at as i64)), repeat: None, action });
        }
    }
    Resolved { steps, ..resolved.clone() }
}

fn free(id: &str, taken: &BTreeSet<String>) -> String {
    let mut names = (2..).map(|number| format!("{id}_{number}"));
    names.find(|name| !taken.contains(name)).expect("some number is free")
}

/// When a step fired, and what it did exactly.
fn firings(step: &Step, events: &[Event]) -> Vec<(u64, Action)> {
    let own: Vec<&Event> = events.iter().filter(|event| event.text("step") == step.id).collect();
    let starts: Vec<usize> = (0..own.len()).filter(|at| own[*at].kind == "acts").collect();
    let mut firings = Vec::new();
    for (place, start) in starts.iter().enumerate() {
        let end = starts.get(place + 1).copied().unwrap_or(own.len());
        let (at, during) = (own[*start].at_ns, &own[*start..end]);
        if let Action::Restart(restart) = &step.action {
            for down in during.iter().filter(|event| event.kind == "down") {
                let mut restart = restart.clone();
                restart.node = Selector::Node(down.number("node"));
                restart.down = Spread::fixed(Nanos(down.number("down_ns") as i64));
                restart.stagger = Spread::fixed(Nanos::ZERO);
                firings.push((down.at_ns, Action::Restart(restart)));
            }
            continue;
        }
        let chosen: Vec<Vec<u64>> =
            during.iter().filter(|event| event.kind == "chosen").map(|event| members(event.text("members"))).collect();
        firings.extend(pinned(&step.action, &chosen).into_iter().map(|action| (at, action)));
    }
    firings
}

fn members(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|name| name.strip_prefix('n')?.parse().ok()).collect()
}

/// One action for each member or link that was chosen.
fn pinned(action: &Action, chosen: &[Vec<u64>]) -> Vec<Action> {
    let mut action = action.clone();
    let of = |place: usize| chosen.get(place).map_or(&[][..], Vec::as_slice);
    let mut each = Vec::new();
    if let Some(Link { from, to, both }) = link_of(&mut action).cloned() {
        let (first, second) = if from == Selector::Others { (1, 0) } else { (0, 1) };
        for from in pin(&from, of(first)) {
            for to in pin(&to, of(second)) {
                let link = link_of(&mut action).expect("it has a link");
                *link = Link { from: from.clone(), to, both };
                each.push(action.clone());
            }
        }
        return each;
    }
    let Some(node) = node_of(&mut action).cloned() else { return vec![action] };
    for selector in pin(&node, of(0)) {
        *node_of(&mut action).expect("it is about members") = selector;
        each.push(action.clone());
    }
    each
}

/// The link of an action.
pub fn link_of(action: &mut Action) -> Option<&mut Link> {
    match action {
        Action::Cut(cut) => Some(&mut cut.link),
        Action::Slow(slow) => Some(&mut slow.link),
        Action::Drop(drop) => Some(&mut drop.link),
        Action::Dup(dup) => Some(&mut dup.link),
        Action::Reorder(reorder) => Some(&mut reorder.link),
        Action::Reset(reset) => Some(&mut reset.link),
        _ => None,
    }
}

/// The members of an action that is about members, each by itself.
pub fn node_of(action: &mut Action) -> Option<&mut Selector> {
    match action {
        Action::Restart(restart) => Some(&mut restart.node),
        Action::Pause(pause) => Some(&mut pause.node),
        Action::DiskStep(disk) => Some(&mut disk.node),
        Action::ClockStep(clock) => Some(&mut clock.node),
        Action::Stop(stop) => Some(&mut stop.node),
        Action::Defrag(defrag) => Some(&mut defrag.node),
        Action::Transfer(transfer) => Some(&mut transfer.to),
        _ => None,
    }
}

fn pin(selector: &Selector, chosen: &[u64]) -> Vec<Selector> {
    match selector {
        Selector::Node(_) | Selector::All | Selector::Others => vec![selector.clone()],
        _ => chosen.iter().map(|number| Selector::Node(*number)).collect(),
    }
}
