//! A state of the whole cluster, and the ways out of it.
//!
//! A step is one input to one member, and everything the member then owes: messages are sent, a write goes to its disk
//! (which finishes it at once, or in a step of its own), committed entries are applied, reads are answered.
//!
//! Left out, because other steps stand for it: a member that is down (nothing is delivered to it: the same), and a
//! partition (nothing is delivered over it).

use std::fmt;
use std::sync::Arc;

use evenkeel_raft::*;

use crate::hash::fingerprint;
use crate::history::History;
use crate::member::Member;
use crate::network::{Fate, Network, Packet};
use crate::scope::{Budget, Luck, Scope};
use crate::show;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See [`Luck::Campaign`].
    Campaign(NodeId),
    /// See [`Luck::Beat`].
    Beat(NodeId),
    /// See [`Luck::Lapse`].
    Lapse(NodeId),
    /// See [`Luck::Propose`].
    Propose(NodeId),
    /// See [`Luck::Read`].
    Read(NodeId),
    /// See [`Luck::Compact`].
    Compact(NodeId),
    /// The oldest write becomes durable, and the member hears of it.
    Persist(NodeId),
    /// See [`Luck::Crash`]. So many writes under way reach the disk all the same.
    Crash(NodeId, u8),
    /// See [`Luck::Unreachable`].
    Unreachable(NodeId, NodeId),
    /// See [`Luck::Change`]: which of the scope's changes.
    Change(NodeId, u8),
    /// See [`Luck::Transfer`].
    Transfer(NodeId, NodeId),
    /// See [`Luck::Suspect`].
    Suspect(NodeId),
    /// The message at this position arrives.
    Deliver(u8, Fate),
}

/// A state.
#[derive(Clone, Debug)]
pub struct World {
    members: Vec<Arc<Member>>,
    network: Network,
    budget: Budget,
    history: Arc<History>,
    /// n2 and n3 may still be exchanged: nothing has happened that tells them apart.
    is_symmetric: bool,
}

/// What a step came to: a claim that does not hold, and for readers what happened.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The first claim that does not hold.
    pub violation: Option<String>,
    /// Filled when asked for.
    pub story: Option<Vec<String>>,
}

impl Outcome {
    /// Tells what happens.
    pub fn told() -> Outcome {
        Outcome { violation: None, story: Some(Vec::new()) }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }

    fn judge(&mut self, claim: Result<(), String>) {
        if let Err(violation) = claim {
            self.violation.get_or_insert(violation);
        }
    }
}

impl World {
    /// Where a scope begins.
    pub fn new(scope: &Scope) -> World {
        let member = |id| Arc::new(Member::new(scope.config(id), scope.known_to(id)));
        let mut world = World {
            members: (1..=scope.members()).map(NodeId).map(member).collect(),
            network: Network::default(),
            budget: Budget::of(&[(Luck::Campaign, 1)]),
            history: Arc::default(),
            is_symmetric: false,
        };
        if let Some(leader) = scope.leader {
            let mut outcome = Outcome::default();
            world.act(scope, Action::Campaign(leader), &mut outcome);
            world.settle(scope, &mut outcome);
            assert_eq!(world.member(leader).role(), Role::Leader);
            assert_eq!(outcome.violation, None, "in the beginning");
        }
        world.budget = scope.budget;
        world.is_symmetric = scope.is_symmetric();
        world
    }

    /// Delivers and persists until all is quiet. False when that never happens.
    pub fn settle(&mut self, scope: &Scope, outcome: &mut Outcome) -> bool {
        const STEPS_MAX: usize = 2000;
        for _ in 0..STEPS_MAX {
            let writes = |id: &NodeId| !self.member(*id).writes.is_empty();
            let action = match self.ids().find(writes) {
                Some(id) => Action::Persist(id),
                None if self.network.is_empty() => return true,
                None => Action::Deliver(0, Fate::InOrder),
            };
            self.act(scope, action, outcome);
        }
        false
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> &Member {
        &self.members[at(id)]
    }

    /// All members.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.members.len() as u64).map(NodeId)
    }

    /// What may still happen.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Gives more.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Equal for states with the same future, and the same past as far as claims look at it.
    pub fn fingerprint(&self) -> u64 {
        let mut words = [0; 12];
        words[0] = self.network.fingerprint();
        words[1] = fingerprint(&(&*self.history, self.budget));
        for (word, member) in words[2..].iter_mut().zip(&self.members) {
            *word = member.fingerprint;
        }
        fingerprint(&words[..2 + self.members.len()])
    }

    /// Whether all that can come after `next`, a step from here, can come after this state as well: the members are the
    /// same, and nothing new is under way.
    pub fn includes(&self, next: &World) -> bool {
        let mut pairs = self.members.iter().zip(&next.members);
        pairs.all(|(ours, theirs)| ours.fingerprint == theirs.fingerprint)
            && next.network.is_part_of(&self.network)
            && *self.history == *next.history
    }

    /// All that may happen next.
    pub fn actions(&self, scope: &Scope) -> Vec<Action> {
        let mut actions = Vec::new();
        let may = |luck| self.budget.left(luck) > 0;
        for at in 0..self.network.len() {
            if self.network.has_equal_before(at) {
                continue;
            }
            actions.push(Action::Deliver(at as u8, Fate::InOrder));
            if may(Luck::Repeat) {
                actions.push(Action::Deliver(at as u8, Fate::Repeats));
            }
            if may(Luck::Overtake) && self.network.has_older(at) {
                actions.push(Action::Deliver(at as u8, Fate::Overtakes));
            }
        }
        // All are alike in the beginning: the first to campaign may as well be called n1.
        let is_untouched = scope.leader.is_none() && self.budget == scope.budget;
        for id in self.ids() {
            let member = self.member(id);
            let leads = member.role() == Role::Leader;
            let mut offer = |luck: Luck, action: Action| {
                if may(luck) {
                    actions.push(action);
                }
            };
            if leads {
                offer(Luck::Beat, Action::Beat(id));
                offer(Luck::Propose, Action::Propose(id));
                for peer in self.ids().filter(|&peer| peer != id) {
                    offer(Luck::Unreachable, Action::Unreachable(id, peer));
                    offer(Luck::Transfer, Action::Transfer(id, peer));
                }
                (0..scope.changes.len() as u8).for_each(|which| offer(Luck::Change, Action::Change(id, which)));
            } else if !is_untouched || id == NodeId(1) {
                offer(Luck::Campaign, Action::Campaign(id));
                offer(Luck::Lapse, Action::Lapse(id));
                offer(Luck::Suspect, Action::Suspect(id));
            }
            offer(Luck::Read, Action::Read(id));
            offer(Luck::Compact, Action::Compact(id));
            if may(Luck::Crash) {
                let writes = member.writes.len() as u8;
                (0..=writes).for_each(|survive| offer(Luck::Crash, Action::Crash(id, survive)));
            }
            if !member.writes.is_empty() {
                actions.push(Action::Persist(id));
            }
        }
        if self.is_symmetric {
            actions.retain(|&action| !self.names(action, NodeId(3)));
        }
        actions
    }

    /// Whether an action is about a member in any way.
    fn names(&self, action: Action, id: NodeId) -> bool {
        match action {
            Action::Deliver(at, _) => {
                let packet = self.network.get(at.into());
                packet.from == id || packet.to == id
            }
            Action::Unreachable(member, other) | Action::Transfer(member, other) => member == id || other == id,
            Action::Campaign(member)
            | Action::Beat(member)
            | Action::Lapse(member)
            | Action::Propose(member)
            | Action::Read(member)
            | Action::Compact(member)
            | Action::Persist(member)
            | Action::Crash(member, _)
            | Action::Change(member, _)
            | Action::Suspect(member) => member == id,
        }
    }

    /// Takes a step.
    pub fn act(&mut self, scope: &Scope, action: Action, outcome: &mut Outcome) {
        outcome.tell(|| format!("{}", Titled(self, action)));
        self.is_symmetric &= !self.names(action, NodeId(2)) && !self.names(action, NodeId(3));
        let mut step = Step { scope, outcome, network: &mut self.network, history: Arc::make_mut(&mut self.history) };
        let id = match action {
            Action::Deliver(position, fate) => {
                let (packet, lost) = step.network.deliver(position.into(), fate);
                match fate {
                    Fate::InOrder => {}
                    Fate::Overtakes => self.budget.spend(Luck::Overtake),
                    Fate::Repeats => self.budget.spend(Luck::Repeat),
                }
                for lost in lost.iter().filter(|lost| is_snapshot(lost)) {
                    let sender = Arc::make_mut(&mut self.members[at(lost.from)]);
                    let input = Input::SnapshotDone { peer: lost.to };
                    step.input(lost.from, sender, input);
                }
                let receiver = Arc::make_mut(&mut self.members[at(packet.to)]);
                let message = packet.message.clone();
                step.input(packet.to, receiver, Input::Message { from: packet.from, message });
                if is_snapshot(&packet) {
                    let sender = Arc::make_mut(&mut self.members[at(packet.from)]);
                    step.input(packet.from, sender, Input::SnapshotDone { peer: packet.to });
                }
                packet.to
            }
            Action::Campaign(id)
            | Action::Beat(id)
            | Action::Lapse(id)
            | Action::Propose(id)
            | Action::Read(id)
            | Action::Compact(id)
            | Action::Persist(id)
            | Action::Crash(id, _)
            | Action::Change(id, _)
            | Action::Transfer(id, _)
            | Action::Suspect(id)
            | Action::Unreachable(id, _) => {
                let member = Arc::make_mut(&mut self.members[at(id)]);
                if let Some(luck) = luck_of(action) {
                    self.budget.spend(luck);
                }
                let nth = |luck| u64::from(scope.budget.left(luck) - self.budget.left(luck));
                match action {
                    Action::Campaign(_) => step.input(id, member, Input::Campaign),
                    Action::Beat(_) => step.input(id, member, Input::Tick),
                    Action::Lapse(_) => {
                        member.lapse();
                        step.drain(id, member);
                    }
                    Action::Propose(_) => {
                        let value = [b'a' - 1 + nth(Luck::Propose) as u8];
                        let _ = member.raft.propose(Data::from(value), false);
                        step.drain(id, member);
                    }
                    Action::Read(_) => {
                        let context = ReadContext(nth(Luck::Read));
                        step.history.read_began(id, context);
                        step.input(id, member, Input::Read { context });
                    }
                    Action::Compact(_) => {
                        member.compact();
                        step.drain(id, member);
                    }
                    Action::Persist(_) => {
                        step.persist(id, member);
                        step.drain(id, member);
                    }
                    Action::Crash(_, survive) => {
                        step.history.crashed(id);
                        member.crash(survive.into());
                        step.drain(id, member);
                    }
                    Action::Unreachable(_, peer) => step.input(id, member, Input::Unreachable { peer }),
                    Action::Change(_, which) => {
                        let changes = scope.changes[usize::from(which)];
                        let _ = member.raft.propose_change(changes, Data::from([]));
                        step.drain(id, member);
                    }
                    Action::Transfer(_, to) => step.input(id, member, Input::Transfer { to }),
                    Action::Suspect(_) => {
                        let peer = member.raft.standing().leader.unwrap_or_default();
                        step.input(id, member, Input::Suspect { peer });
                    }
                    Action::Deliver(..) => unreachable!("above"),
                }
                id
            }
        };
        let Step { outcome, history, .. } = step;
        outcome.judge(history.changed(&self.members, at(id), scope.consequences_only));
        self.network.forget_stale(&self.members);
    }
}

fn at(id: NodeId) -> usize {
    id.0 as usize - 1
}

fn is_snapshot(packet: &Packet) -> bool {
    matches!(packet.message.body, Body::Snapshot { .. })
}

fn luck_of(action: Action) -> Option<Luck> {
    match action {
        Action::Campaign(_) => Some(Luck::Campaign),
        Action::Beat(_) => Some(Luck::Beat),
        Action::Lapse(_) => Some(Luck::Lapse),
        Action::Propose(_) => Some(Luck::Propose),
        Action::Read(_) => Some(Luck::Read),
        Action::Compact(_) => Some(Luck::Compact),
        Action::Crash(..) => Some(Luck::Crash),
        Action::Unreachable(..) => Some(Luck::Unreachable),
        Action::Change(..) => Some(Luck::Change),
        Action::Transfer(..) => Some(Luck::Transfer),
        Action::Suspect(_) => Some(Luck::Suspect),
        Action::Persist(_) | Action::Deliver(..) => None,
    }
}

/// What a member's effects reach while it is being stepped.
struct Step<'a> {
    scope: &'a Scope,
    outcome: &'a mut Outcome,
    network: &'a mut Network,
    history: &'a mut History,
}

impl Step<'_> {
    fn input(&mut self, id: NodeId, member: &mut Member, input: Input) {
        member.raft.step(input);
        self.drain(id, member);
    }

    fn drain(&mut self, id: NodeId, member: &mut Member) {
        while let Some(ready) = member.raft.take_ready() {
            if let Some(standing) = ready.standing {
                self.outcome.tell(|| format!("  n{id} {}", show::standing(&standing)));
            }
            if let Some(configuration) = ready.configuration {
                self.outcome.tell(|| format!("  n{id} acts on {}", show::configuration(&configuration)));
            }
            for (to, message) in ready.messages {
                self.send(id, to, message, member);
            }
            if let Some(write) = ready.write {
                let is_slow = self.scope.slow_disks.contains(&id.0);
                self.outcome.tell(|| {
                    format!("  n{id} {} {}", if is_slow { "begins to write" } else { "writes" }, show::write(&write))
                });
                member.writes.push_back(write);
                if !is_slow {
                    self.persist(id, member);
                }
            }
            if let Some(last) = ready.committed.last().map(|entry| entry.index) {
                self.outcome.tell(|| format!("  n{id} applies {}", show::entries(&ready.committed)));
                member.raft.step(Input::Applied { index: last });
            }
            for read in ready.reads {
                self.outcome.tell(|| format!("  n{id} {}", show::read(&read)));
                self.outcome.judge(self.history.read_ended(id, read));
            }
            for peer in ready.snapshots_wanted {
                let (term, meta) = (member.term(), member.snapshot());
                self.send(id, peer, Message { term, body: Body::Snapshot { meta } }, member);
            }
        }
        member.seal();
    }

    fn persist(&mut self, id: NodeId, member: &mut Member) {
        let Some(write) = member.writes.pop_front() else { return };
        member.disk.perform(&write);
        for (to, message) in write.messages {
            self.send(id, to, message, member);
        }
        member.raft.step(Input::Persisted { write: write.seq });
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message, member: &Member) {
        let packet = Packet { from, to, message };
        self.outcome.tell(|| format!("  {}", show::packet(&packet)));
        let only = self.scope.consequences_only;
        self.outcome.judge(self.history.sends(from, to, &packet.message, &member.disk, only));
        if at(to) < self.scope.members() as usize {
            self.network.send(packet, self.scope.link_max);
        }
    }
}

/// An action as a sentence.
struct Titled<'a>(&'a World, Action);

impl fmt::Display for Titled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Titled(world, action) = self;
        match action {
            Action::Campaign(id) => write!(f, "n{id} loses patience and campaigns"),
            Action::Beat(id) => write!(f, "n{id}'s clock ticks"),
            Action::Lapse(id) => write!(f, "n{id}'s lease on its leader ends"),
            Action::Propose(id) => write!(f, "a client writes to n{id}"),
            Action::Read(id) => write!(f, "a client reads from n{id}"),
            Action::Compact(id) => write!(f, "n{id} takes a checkpoint and forgets its log"),
            Action::Persist(id) => write!(f, "n{id}'s oldest write is durable"),
            Action::Crash(id, 0) => write!(f, "n{id} crashes and starts again"),
            Action::Crash(id, survive) => {
                write!(f, "n{id} crashes with {survive} more write(s) done, and starts again")
            }
            Action::Unreachable(id, peer) => write!(f, "n{id} hears that n{peer} cannot be reached"),
            Action::Change(id, which) => write!(f, "n{id} is asked for change {which}"),
            Action::Transfer(id, to) => write!(f, "n{id} is asked to hand over to n{to}"),
            Action::Suspect(id) => write!(f, "n{id} suspects its leader"),
            Action::Deliver(at, fate) => {
                let how = match fate {
                    Fate::InOrder => "arrives",
                    Fate::Overtakes => "arrives before older ones",
                    Fate::Repeats => "arrives, and will again",
                };
                write!(f, "{how}: {}", show::packet(world.network.get((*at).into())))
            }
        }
    }
}
