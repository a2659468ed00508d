//! One member: the shipped core, its disk, and the writes between them.

use std::collections::VecDeque;

use evenkeel_raft::*;

use crate::hash::fingerprint;

/// What survives a crash.
#[derive(Clone, Debug, Default, Hash)]
pub struct Disk {
    /// Term and vote.
    pub hard_state: HardState,
    /// The state machine's checkpoint.
    pub snapshot: SnapshotMeta,
    /// The log, possibly beginning before the checkpoint's end.
    pub entries: Vec<Entry>,
    /// The term of the entry before the first.
    pub first_prev_term: Term,
}

impl Disk {
    /// Makes a write durable.
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
        assert_eq!(self.last().next(), first, "a gap on the disk");
        if self.entries.is_empty() {
            self.first_prev_term = self.snapshot.term;
        }
        self.entries.extend_from_slice(&write.entries);
    }

    /// The newest durable entry.
    pub fn last(&self) -> Index {
        self.entries.last().map_or(self.snapshot.index, |entry| entry.index).max(self.snapshot.index)
    }

    /// Whether this entry, or a checkpoint of it, is durable.
    pub fn holds(&self, entry: &Entry) -> bool {
        entry.index <= self.snapshot.index || self.entries.contains(entry)
    }

    fn restored(&self) -> Restored {
        let Disk { hard_state, snapshot, entries, first_prev_term } = self.clone();
        let applied = snapshot.index;
        Restored { hard_state, snapshot, entries, first_prev_term, applied }
    }
}

/// One member.
#[derive(Clone, Debug)]
pub struct Member {
    /// The shipped core.
    pub raft: Raft,
    /// What it would start from.
    pub disk: Disk,
    /// Handed over, not yet durable.
    pub writes: VecDeque<Write>,
    /// Stands for all of the above.
    pub fingerprint: u64,
    config: Config,
}

impl Member {
    /// Starts from an empty disk that knows `configuration`.
    pub fn new(config: Config, configuration: Configuration) -> Member {
        let disk = Disk { snapshot: SnapshotMeta { configuration, ..Default::default() }, ..Default::default() };
        let raft = Raft::new(config.clone(), disk.restored());
        let mut member = Member { raft, disk, writes: VecDeque::new(), fingerprint: 0, config };
        member.seal();
        member
    }

    /// After a change, before anybody looks at the fingerprint.
    pub fn seal(&mut self) {
        let writes = self.writes.iter().map(|write| {
            let Write { seq: _, hard_state, snapshot, entries, messages } = write;
            fingerprint(&(hard_state, snapshot, entries, messages))
        });
        let writes: Vec<u64> = writes.collect();
        self.fingerprint = fingerprint(&(&self.raft, &self.disk, writes));
    }

    /// Crashes when the first `survive` of its writes have reached the disk, and starts again.
    pub fn crash(&mut self, survive: usize) {
        self.writes.iter().take(survive).for_each(|write| self.disk.perform(write));
        self.writes.clear();
        self.raft = Raft::new(self.config.clone(), self.disk.restored());
    }

    /// The state machine after applying `index`, as far as Raft knows it.
    fn state_at(&self, index: Index) -> SnapshotMeta {
        let Disk { snapshot, entries, .. } = &self.disk;
        let applied = entries.iter().filter(|entry| snapshot.index < entry.index && entry.index <= index);
        let mut configs = applied.filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some(&config.configuration),
            Payload::Empty | Payload::Data(_) => None,
        });
        let configuration = configs.next_back().unwrap_or(&snapshot.configuration).clone();
        let term = self.raft.term_at(index).expect("in memory until a checkpoint holds it");
        SnapshotMeta { index, term, configuration }
    }

    /// What a member that needs a snapshot is sent: the checkpoint, or what is applied while there is none.
    pub fn snapshot(&self) -> SnapshotMeta {
        match self.disk.snapshot.index {
            Index(0) => self.state_at(self.raft.applied().min(self.disk.last())),
            _ => self.disk.snapshot.clone(),
        }
    }

    /// A checkpoint of everything applied; the log before it is forgotten.
    pub fn compact(&mut self) {
        let index = self.raft.applied().min(self.raft.persisted());
        let replaces = self.writes.iter().any(|write| write.snapshot.is_some());
        if self.disk.snapshot.index < index && !replaces {
            self.disk.snapshot = self.state_at(index);
            self.disk.first_prev_term = self.disk.snapshot.term;
            self.disk.entries.retain(|entry| index < entry.index);
            self.raft.step(Input::Compact { upto: index });
        }
    }

    /// Time passes, and no leader shows life.
    pub fn lapse(&mut self) {
        self.raft.advance_election_clock(self.config.election_ticks);
    }

    /// What it is.
    pub fn role(&self) -> Role {
        self.raft.standing().role
    }

    /// In memory.
    pub fn term(&self) -> Term {
        self.raft.hard_state().term
    }
}
