//! Raft without I/O: inputs go in, effects owed come out.
//!
//! A [`Raft`] is one member. It takes one [`Input`] at a time ([`Raft::step`]) and owes effects
//! ([`Raft::take_ready`]). It cannot wait, fail, draw chance or look at a clock: time is a tick, chance a seed, and
//! the disk a hand-over whose completion is an input. Equal inputs give equal effects.
//!
//! # What the caller owes
//!
//! 1. After any number of inputs, call `take_ready` until it returns `None`, and do each [`Ready`] in its own order.
//! 2. `Ready::messages` may leave at once: the leader sends entries before its own disk has them. `Write::messages`
//!    leave when that write is durable, not before.
//! 3. Writes are performed in order; then [`Input::Persisted`] names the newest durable one. Several may be in flight.
//! 4. Committed entries are applied in order, each once; then [`Input::Applied`].
//! 5. Every [`ReadContext`] is used once, over all lives of the process: begin the numbers somewhere new each time.
//! 6. A member that cannot make a write durable must stop.
//!
//! Messages may be lost, repeated, delayed and reordered. No message a peer can send makes a step panic; what no
//! correct member would send is dropped. Assertions fail only when the caller breaks the above, or the core is wrong.
//!
//! # What it promises
//!
//! At most one leader in a term; an entry handed out as committed is in the log of every later leader and is the same
//! everywhere; a read index covers every entry handed out anywhere before the read began.
//!
//! # Words
//!
//! *persisted*: on this member's disk, confirmed. *committed*: decided for ever. *delivered*: handed out in
//! [`Ready::committed`]. *applied*: confirmed by the caller. *base*: the last entry forgotten, covered by a checkpoint.
//!
//! # Not here
//!
//! Reads by lease are absent on purpose: they would rest on clocks.
#![cfg_attr(not(test), no_std)]
extern crate alloc;

mod append;
mod check;
mod config;
pub mod configuration;
mod election;
mod fingerprint;
mod handover;
mod log;
pub mod message;
pub mod mutant;
mod progress;
pub mod quorum;
mod random;
mod read;
pub mod ready;
mod receive;
mod replication;
mod snapshot;
mod stand;
pub mod transfer;
pub mod types;

use alloc::vec::Vec;
use core::mem;

pub use config::{Config, Restored};
pub use configuration::{ChangeError, MemberChange};
pub use handover::WRITES_IN_FLIGHT_MAX;
pub use message::{Body, Message, ReadContext, Round};
pub use mutant::{Mutant, Mutants};
pub use progress::{ProgressView, ReplicationState};
pub use ready::{Data, Input, ProposeError, ReadState, Ready, Role, Standing, Write, WriteSeq};
pub use types::{ConfigEntry, Configuration, Entry, HardState, Index, NodeId, Payload, SnapshotMeta, Term};

use configuration::Configurations;
use handover::HandOvers;
use log::Log;
use random::Random;
use stand::{Stand, Ticks};

/// One member of a cluster.
#[derive(Clone, Debug)]
pub struct Raft {
    config: Config,
    configurations: Configurations,
    hard_state: HardState,
    stand: Stand,
    ticks: Ticks,
    random: Random,

    log: Log,
    hand_overs: HandOvers,
    committed: Index,
    /// Handed out in `Ready::committed`.
    delivered: Index,
    applied: Index,

    // Owed to the world.
    messages: Vec<(NodeId, Message)>,
    read_states: Vec<ReadState>,
    snapshots_wanted: Vec<NodeId>,
    /// The standing the world knows.
    told: Standing,
}

impl Raft {
    /// Starts a member from what its disk remembers. Panics when that is not the state of a member: a gap in the log, a
    /// term before the log's last.
    pub fn new(config: Config, restored: Restored) -> Raft {
        config.check();
        let Restored { hard_state, snapshot, entries, first_prev_term, applied } = restored;
        assert_eq!(applied, snapshot.index, "the state machine starts from the checkpoint");
        let log = match (entries.first().map(|entry| entry.index), entries.last().map(|entry| entry.index)) {
            (Some(first), Some(last)) if snapshot.index <= last => {
                assert!(first <= snapshot.index.next(), "a gap between checkpoint {} and log {first}", snapshot.index);
                Log::new(first.prev(), first_prev_term, entries)
            }
            // None, or all of them older than the checkpoint: a snapshot was installed, the old log not yet removed.
            _ => Log::new(snapshot.index, snapshot.term, Vec::new()),
        };
        assert_eq!(log.term_at(applied), Some(snapshot.term), "checkpoint and log disagree at {applied}");
        let mut configurations = Configurations::new(snapshot.index, snapshot.configuration);
        (snapshot.index.next().0..=log.last().0).filter_map(|index| log.get(Index(index))).for_each(|entry| {
            configurations.appended(entry);
        });
        let mut raft = Raft {
            random: Random::new(config.seed),
            config,
            configurations,
            hard_state,
            stand: Stand::follower(None),
            ticks: Ticks::default(),
            hand_overs: HandOvers::new(log.last(), hard_state),
            log,
            committed: applied,
            delivered: applied,
            applied,
            messages: Vec::new(),
            read_states: Vec::new(),
            snapshots_wanted: Vec::new(),
            told: Standing { term: hard_state.term, ..Standing::default() },
        };
        raft.restart_election_clock();
        raft.check();
        raft
    }

    /// Takes one input. Never fails.
    pub fn step(&mut self, input: Input) {
        match input {
            Input::Tick => self.tick(),
            Input::Message { from, message } => self.receive(from, message),
            Input::Read { context } => self.read(context),
            Input::Persisted { write } => {
                let own_vote = self.hand_overs.completed(write);
                if let Some(term) = own_vote {
                    self.own_vote_persisted(term);
                }
                self.advance_commit();
            }
            Input::Applied { index } => {
                assert!(index <= self.delivered, "applied {index}, but only {} was delivered", self.delivered);
                self.applied = self.applied.max(index);
            }
            Input::Compact { upto } => self.compact(upto),
            Input::Unreachable { peer } => self.unreachable(peer),
            Input::SnapshotDone { peer } => self.snapshot_done(peer),
            Input::Campaign => self.campaign(),
            Input::Suspect { peer } => self.suspect(peer),
            Input::Transfer { to } => self.transfer(to),
        }
        self.check();
    }

    /// Hands out what is owed; `None` when nothing is.
    pub fn take_ready(&mut self) -> Option<Ready> {
        self.broadcast();
        let mut messages = mem::take(&mut self.messages);
        let write = self.hand_overs.take(self.config.id, self.hard_state, &self.log, &mut messages);
        let committed = self.deliver();
        let standing = self.standing();
        let stands_anew = mem::replace(&mut self.told, standing) != standing;
        let reconfigured = self.configurations.take_news();
        let owes = stands_anew
            || reconfigured
            || !messages.is_empty()
            || write.is_some()
            || !committed.is_empty()
            || !self.read_states.is_empty()
            || !self.snapshots_wanted.is_empty();
        if !owes {
            return None;
        }
        self.check();
        Some(Ready {
            standing: stands_anew.then_some(standing),
            configuration: reconfigured.then(|| self.configuration().clone()),
            messages,
            write,
            committed,
            reads: mem::take(&mut self.read_states),
            snapshots_wanted: mem::take(&mut self.snapshots_wanted),
        })
    }

    /// The next committed entries, none before it is durable here: what is applied must survive a crash of this member.
    fn deliver(&mut self) -> Vec<Entry> {
        let durable = if self.counts_unwritten() { self.log.last() } else { self.hand_overs.persisted() };
        let upto = self.committed.min(durable);
        let (entries, _) = self.log.slice(self.delivered.next(), upto, self.config.max_committed_batch_bytes);
        self.delivered = entries.last().map_or(self.delivered, |entry| entry.index);
        entries
    }

    /// To leave at once.
    fn send(&mut self, to: NodeId, body: Body) {
        self.messages.push((to, Message { term: self.hard_state.term, body }));
    }

    /// To leave when the state as of now is durable.
    fn promise(&mut self, to: NodeId, body: Body) {
        self.hand_overs.promise(to, Message { term: self.hard_state.term, body });
    }

    /// Lets `ticks` go by on the election clock alone: a member that just started need not wait out a whole timeout.
    /// A leader does not notice; a campaign begins with the next tick at the earliest.
    pub fn advance_election_clock(&mut self, ticks: u32) {
        if !matches!(self.stand, Stand::Leader(_)) {
            self.ticks.elapsed = self.ticks.elapsed.saturating_add(ticks);
        }
    }

    /// Ticks since a leader showed life, over any number of failed campaigns; 0 for a leader.
    pub fn elapsed_since_leader_ticks(&self) -> u32 {
        if matches!(self.stand, Stand::Leader(_)) { 0 } else { self.ticks.leaderless }
    }

    /// Decided for ever up to here.
    pub fn committed(&self) -> Index {
        self.committed
    }

    /// On this member's disk up to here.
    pub fn persisted(&self) -> Index {
        self.hand_overs.persisted()
    }

    /// Applied by the state machine up to here.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The newest entry.
    pub fn last_index(&self) -> Index {
        self.log.last()
    }

    /// The oldest entry in memory; one past the last when there is none.
    pub fn first_index(&self) -> Index {
        self.log.first()
    }

    /// Payload bytes of the entries in memory.
    pub fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// The oldest index after which the entries in memory hold at most `max_bytes`: forgetting up to there is enough.
    pub fn newest_within(&self, max_bytes: usize) -> Index {
        self.log.newest_within(max_bytes)
    }

    /// The term of the entry at `index`, known from just before the first in memory to the last.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// The entry at `index`, when it is in memory.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.get(index)
    }

    /// The snapshot that replaces the log, while its write has not been handed out.
    pub fn pending_snapshot(&self) -> Option<&SnapshotMeta> {
        self.hand_overs.pending_snapshot()
    }

    /// Term and vote as in memory; the disk may be one hand-over behind.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Payload bytes a leader waits to see committed; 0 for others.
    pub fn uncommitted_bytes(&self) -> usize {
        match &self.stand {
            Stand::Leader(leading) => leading.uncommitted_bytes,
            _ => 0,
        }
    }

    /// A leader's view of the others; nothing for others.
    pub fn progress(&self) -> impl Iterator<Item = (NodeId, ProgressView)> {
        let leading = match &self.stand {
            Stand::Leader(leading) => Some(leading),
            _ => None,
        };
        leading.into_iter().flat_map(|leading| leading.progress.iter().map(|(&peer, progress)| (peer, progress.view())))
    }
}
