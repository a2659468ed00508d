//! A cluster in one process for the tests: members, their disks, and the packets between them.
//!
//! Nothing happens by itself: the caller delivers each packet and completes each write. Every effect passes the
//! [`oracle`] on its way.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod oracle;
pub mod schedule;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use evenkeel_raft::*;
use oracle::Oracle;

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub hard_state: HardState,
    /// The state machine's checkpoint.
    pub snapshot: SnapshotMeta,
    /// The log, possibly beginning before the checkpoint's end.
    pub entries: Vec<Entry>,
    pub first_prev_term: Term,
}

impl Disk {
    pub fn perform(&mut self, write: &Write) {
        if let Some(hard_state) = write.hard_state {
            assert!(self.hard_state.term <= hard_state.term, "a durable term goes back");
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = &write.snapshot {
            self.entries.clear();
            self.snapshot = snapshot.clone();
        }
        let Some(first) = write.entries.first().map(|entry| entry.index) else { return };
        self.entries.retain(|entry| entry.index < first);
        match self.entries.last() {
            Some(last) => assert_eq!(last.index.next(), first, "a gap on the disk"),
            None => assert_eq!(self.snapshot.index.next(), first, "a gap after the checkpoint"),
        }
        if self.entries.is_empty() {
            self.first_prev_term = self.snapshot.term;
        }
        self.entries.extend_from_slice(&write.entries);
    }

    pub fn last(&self) -> Index {
        self.entries.last().map_or(self.snapshot.index, |entry| entry.index).max(self.snapshot.index)
    }

    /// The state machine after applying `index`, as far as Raft knows it.
    pub fn state_at(&self, index: Index, term: Term) -> SnapshotMeta {
        let configs = self.entries.iter().filter(|entry| self.snapshot.index < entry.index && entry.index <= index);
        let mut newest = configs.filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some(config.configuration.clone()),
            Payload::Empty | Payload::Data(_) => None,
        });
        let configuration = newest.next_back().unwrap_or_else(|| self.snapshot.configuration.clone());
        SnapshotMeta { index, term, configuration }
    }

    /// A checkpoint at `index`; keeps `keep` older entries. Returns the newest entry forgotten.
    pub fn checkpoint(&mut self, index: Index, term: Term, keep: u64) -> Index {
        self.snapshot = self.state_at(index, term);
        let base = Index(index.0.saturating_sub(keep));
        if let Some(at) = self.entries.iter().position(|entry| entry.index == base) {
            self.first_prev_term = self.entries[at].term;
            self.entries.drain(..=at);
        }
        base
    }
}

pub struct Member {
    pub config: Config,
    /// `None` while crashed.
    pub raft: Option<Raft>,
    pub disk: Disk,
    /// Handed over, not yet durable.
    pub writes: VecDeque<Write>,
    /// Writes wait for [`Cluster::persist`] instead of completing at once.
    pub holds_writes: bool,
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub from: NodeId,
    pub to: NodeId,
    pub message: Message,
}

pub struct Cluster {
    pub members: BTreeMap<NodeId, Member>,
    pub packets: VecDeque<Packet>,
    pub oracle: Oracle,
    /// What happened, for scripts.
    pub events: Vec<String>,
}

impl Cluster {
    pub fn new(voters: u64, learners: u64, config: impl Fn(NodeId) -> Config) -> Cluster {
        let configuration = Configuration {
            voters: (1..=voters).map(NodeId).collect(),
            learners: (voters + 1..=voters + learners).map(NodeId).collect(),
            ..Default::default()
        };
        let snapshot = SnapshotMeta { configuration, ..Default::default() };
        let member = |id| {
            let disk = Disk { snapshot: snapshot.clone(), ..Default::default() };
            let member = Member { config: config(id), raft: None, disk, writes: VecDeque::new(), holds_writes: false };
            (id, member)
        };
        let mut cluster = Cluster {
            members: (1..=voters + learners).map(|id| member(NodeId(id))).collect(),
            packets: VecDeque::new(),
            oracle: Oracle::default(),
            events: Vec::new(),
        };
        for id in cluster.ids() {
            cluster.restart(id);
        }
        cluster
    }

    /// Starts a member that knows nothing.
    pub fn join(&mut self, id: NodeId) {
        let config = Config { id, seed: id.0, ..self.members.values().next().expect("a member").config.clone() };
        let member = Member { config, raft: None, disk: Disk::default(), writes: VecDeque::new(), holds_writes: false };
        self.members.insert(id, member);
        self.restart(id);
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    pub fn member(&mut self, id: NodeId) -> &mut Member {
        self.members.get_mut(&id).expect("a member")
    }

    pub fn raft(&self, id: NodeId) -> Option<&Raft> {
        self.members[&id].raft.as_ref()
    }

    fn event(&mut self, id: NodeId, what: impl std::fmt::Display) {
        self.events.push(format!("n{id} {what}"));
    }

    /// One input; its effects stay inside until [`drain`](Self::drain).
    pub fn step_only(&mut self, id: NodeId, input: Input) {
        if let Input::Read { context } = input {
            self.oracle.read_began(id, context);
        }
        if let Some(raft) = &mut self.member(id).raft {
            raft.step(input);
        }
    }

    pub fn step(&mut self, id: NodeId, input: Input) {
        self.step_only(id, input);
        self.drain(id);
    }

    pub fn propose(&mut self, id: NodeId, data: &[u8], forward: bool) -> Option<Result<(), ProposeError>> {
        self.member(id).raft.as_mut().map(|raft| raft.propose(Arc::from(data), forward))
    }

    /// Does what a member owes.
    pub fn drain(&mut self, id: NodeId) {
        while let Some(ready) = self.member(id).raft.as_mut().and_then(Raft::take_ready) {
            self.perform(id, ready);
        }
    }

    fn perform(&mut self, id: NodeId, ready: Ready) {
        if let Some(configuration) = ready.configuration
            && self.raft(id).is_some_and(|raft| Index(0) < raft.configuration_index())
        {
            self.event(id, format_args!("configuration {}", show_configuration(&configuration)));
        }
        if let Some(standing) = ready.standing {
            self.event(id, describe(&standing));
            let raft = self.members[&id].raft.as_ref().expect("alive");
            self.oracle.stands(id, standing, raft);
        }
        for (to, message) in ready.messages {
            self.send(id, to, message);
        }
        if let Some(write) = ready.write {
            if let Some(snapshot) = &write.snapshot {
                self.event(id, format_args!("installs snapshot {}", snapshot.index));
            }
            self.member(id).writes.push_back(write);
        }
        if let Some(last) = ready.committed.last().map(|entry| entry.index) {
            for entry in &ready.committed {
                self.event(id, format_args!("applies {}", show_entry(entry)));
            }
            let term = self.raft(id).expect("alive").standing().term;
            self.oracle.delivers(id, term, &ready.committed);
            self.member(id).raft.as_mut().expect("alive").step(Input::Applied { index: last });
        }
        for read in ready.reads {
            match read {
                ReadState::Confirmed { context, index } => {
                    self.event(id, format_args!("read {} confirmed at {index}", context.0));
                    self.oracle.read_confirmed(id, context, index);
                }
                ReadState::Dropped { context } => self.event(id, format_args!("read {} dropped", context.0)),
            }
        }
        for peer in ready.snapshots_wanted {
            let Member { disk, raft, .. } = &self.members[&id];
            let applied = raft.as_ref().expect("alive").applied().min(disk.last());
            let meta = match disk.snapshot.index {
                Index(0) => disk.state_at(applied, raft.as_ref().and_then(|raft| raft.term_at(applied)).expect("kept")),
                _ => disk.snapshot.clone(),
            };
            self.event(id, format_args!("sends snapshot {} to n{peer}", meta.index));
            let term = self.raft(id).expect("alive").standing().term;
            let message = Message { term, body: Body::Snapshot { meta } };
            self.packets.push_back(Packet { from: id, to: peer, message });
        }
        if !self.members[&id].holds_writes {
            self.persist(id, usize::MAX);
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.oracle.sends(from, to, &message, &self.members[&from].disk);
        self.packets.push_back(Packet { from, to, message });
    }

    /// Completes up to `count` writes, then reports the last of them.
    pub fn persist(&mut self, id: NodeId, count: usize) {
        let mut newest = None;
        for _ in 0..count {
            let member = self.member(id);
            let Some(write) = member.writes.pop_front() else { break };
            member.disk.perform(&write);
            newest = Some(write.seq);
            for (to, message) in write.messages {
                self.send(id, to, message);
            }
        }
        if let Some(write) = newest {
            self.step_only(id, Input::Persisted { write });
            self.drain(id);
        }
    }

    /// Delivers a packet taken from the network.
    pub fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, message } = packet;
        let is_snapshot = matches!(message.body, Body::Snapshot { .. });
        self.step(to, Input::Message { from, message });
        if is_snapshot {
            self.step(from, Input::SnapshotDone { peer: to });
        }
    }

    /// Loses a packet; only a snapshot's sender hears of it.
    pub fn lose(&mut self, packet: Packet) {
        if matches!(packet.message.body, Body::Snapshot { .. }) {
            self.step(packet.from, Input::SnapshotDone { peer: packet.to });
        }
    }

    /// Stops a member at once. The first `survive` of its pending writes reach the disk all the same.
    pub fn crash(&mut self, id: NodeId, survive: usize) {
        let member = self.member(id);
        member.raft = None;
        let Member { disk, writes, .. } = member;
        writes.iter().take(survive).for_each(|write| disk.perform(write));
        writes.clear();
        self.oracle.reads_end(id);
    }

    pub fn restart(&mut self, id: NodeId) {
        let Member { config, raft, disk, .. } = self.member(id);
        if raft.is_none() {
            config.seed = config.seed.wrapping_add(1000);
            let Disk { hard_state, snapshot, entries, first_prev_term } = disk.clone();
            let applied = snapshot.index;
            let restored = Restored { hard_state, snapshot, entries, first_prev_term, applied };
            *raft = Some(Raft::new(config.clone(), restored));
        }
    }

    /// Takes a checkpoint at `index`, or of all that is applied and durable, and forgets but `keep` entries before it.
    pub fn compact(&mut self, id: NodeId, index: Option<Index>, keep: u64) {
        let Member { raft: Some(raft), disk, writes, .. } = self.member(id) else { return };
        let index = index.unwrap_or(raft.applied()).min(raft.applied()).min(raft.persisted());
        let replaces = writes.iter().any(|write| write.snapshot.is_some());
        if disk.snapshot.index < index && !replaces {
            let term = raft.term_at(index).expect("applied entries are in memory until a checkpoint holds them");
            let upto = disk.checkpoint(index, term, keep);
            self.step(id, Input::Compact { upto });
        }
    }
}

pub fn describe(standing: &Standing) -> String {
    let Standing { term, role, leader } = standing;
    match (role, leader) {
        (Role::Follower, Some(leader)) => format!("term {term}: follows n{leader}"),
        (role, _) => format!("term {term}: {}", format!("{role:?}").to_lowercase()),
    }
}

/// `{1 2 3}`, `{1 2 3}<-{1 4}` while joint, with ` +{5}` for learners.
pub fn show_configuration(configuration: &Configuration) -> String {
    let list = |ids: &std::collections::BTreeSet<NodeId>| {
        format!("{{{}}}", ids.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" "))
    };
    let mut text = list(&configuration.voters);
    if configuration.is_joint() {
        text += &format!("<-{}", list(&configuration.outgoing));
    }
    if !configuration.learners.is_empty() {
        text += &format!(" +{}", list(&configuration.learners));
    }
    text
}

pub fn show_entry(entry: &Entry) -> String {
    let Entry { term, index, payload } = entry;
    match payload {
        Payload::Empty => format!("{index}@{term}"),
        Payload::Data(data) => format!("{index}@{term}:{}", String::from_utf8_lossy(data)),
        Payload::Config(config) => format!("{index}@{term}:{}", show_configuration(&config.configuration)),
    }
}
