//! The leader's half of replication: append, send, count, commit.
//!
//! Sending is lazy: inputs only change what followers *should* have; [`broadcast`](Raft::broadcast) runs once per
//! `take_ready` and sends what is missing. A burst of proposals thus becomes one append per follower.
//!
//! An entry is committed when a majority of the voters holds it *durably*, this member included, and it is of the
//! leader's own term: an older entry on a majority can still be overwritten (Raft paper, figure 8).

use alloc::collections::{BTreeMap, VecDeque};

use crate::Raft;
use crate::message::{Body, Message, Round};
use crate::mutant::Mutant;
use crate::progress::{Progress, ReplicationState};
use crate::quorum;
use crate::read::WaitingRead;
use crate::ready::{Data, ProposeError};
use crate::stand::Stand;
use crate::transfer::Transfer;
use crate::types::{Entry, Index, NodeId, Payload, Term};

/// What only a leader knows.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leading {
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The first entry of its term.
    pub(crate) own_term_start: Index,
    /// Payload bytes after the commit index.
    pub(crate) uncommitted_bytes: usize,
    /// The newest heartbeat round begun.
    pub(crate) round: Round,
    /// Begin another at the next chance.
    pub(crate) round_wanted: bool,
    pub(crate) waiting: VecDeque<WaitingRead>,
    pub(crate) transfer: Option<Transfer>,
}

impl Raft {
    pub(crate) fn become_leader(&mut self) {
        assert_eq!(self.hard_state.vote, Some(self.config.id), "elected without our own vote");
        let next = self.log.last().next();
        let mut followers = self.configuration().members();
        followers.remove(&self.config.id);
        self.take_stand(Stand::Leader(Leading {
            progress: followers.into_iter().map(|member| (member, Progress::new(next))).collect(),
            own_term_start: next,
            uncommitted_bytes: self.log.size_bytes(self.committed.next(), self.log.last()),
            round: Round(0),
            round_wanted: false,
            waiting: VecDeque::new(),
            transfer: None,
        }));
        (self.ticks.leaderless, self.ticks.suspicion) = (0, 0);
        self.append_own(Payload::Empty);
    }

    /// Takes a proposal: a leader appends it, a follower forwards it when `forward` says so. A proposal taken is not
    /// yet committed, and may still be lost with its leader.
    pub fn propose(&mut self, data: Data, forward: bool) -> Result<(), ProposeError> {
        match (&self.stand, self.leader()) {
            (Stand::Leader(Leading { transfer: Some(_), .. }), _) => Err(ProposeError::Transferring),
            (Stand::Leader(leading), _) => {
                let before = leading.uncommitted_bytes;
                if 0 < before && self.config.max_uncommitted_bytes < before.saturating_add(data.len()) {
                    return Err(ProposeError::Busy);
                }
                self.append_own(Payload::Data(data));
                Ok(())
            }
            (_, Some(leader)) if forward => {
                self.send(leader, Body::Propose { data });
                Ok(())
            }
            (_, Some(leader)) => Err(ProposeError::NotLeader { hint: Some(leader) }),
            (_, None) => Err(ProposeError::NoLeader),
        }
    }

    pub(crate) fn append_own(&mut self, payload: Payload) {
        let Stand::Leader(leading) = &mut self.stand else { unreachable!("only a leader makes entries") };
        leading.uncommitted_bytes += payload.size_bytes();
        leading.round_wanted |= self.config.mutants.on(Mutant::BenignExtraHeartbeat);
        let entry = Entry { term: self.hard_state.term, index: self.log.last().next(), payload };
        let reconfigures = matches!(entry.payload, Payload::Config(_));
        self.configurations.appended(&entry);
        self.log.push(entry);
        if reconfigures {
            self.reconfigure();
        }
        if self.counts_unwritten() {
            self.advance_commit();
        }
    }

    /// Planted: this member's own entries count, and are delivered, before its disk has them.
    pub(crate) fn counts_unwritten(&self) -> bool {
        let unwritten = self.hand_overs.persisted() < self.log.last();
        let voters = &self.configuration().voters;
        self.config.mutants.bites(Mutant::AckBeforeFsync, || unwritten)
            || voters.len() == 1
                && voters.contains(&self.config.id)
                && self.config.mutants.bites(Mutant::SingleNodeAck, || unwritten)
    }

    /// Commits what a majority holds.
    pub(crate) fn advance_commit(&mut self) {
        let own = if self.counts_unwritten() { self.log.last() } else { self.hand_overs.persisted() };
        let Stand::Leader(leading) = &mut self.stand else { return };
        let id = self.config.id;
        let matched = |voter: NodeId| match leading.progress.get(&voter) {
            Some(progress) => progress.matched,
            None if voter == id => own,
            // It takes part no more, and is not asked any more.
            None => Index(0),
        };
        let mut held = self.configurations.held(self.committed, matched);
        if self.config.mutants.on(Mutant::JointOneHalf) {
            held = quorum::agreed(&self.configurations.newest().1.left(), matched);
        }
        if self.config.mutants.on(Mutant::LearnerCounts) {
            let mut counted = self.configurations.newest().1.clone();
            counted.voters.append(&mut counted.learners);
            held = quorum::agreed(&counted, matched);
        }
        assert!(held <= self.log.last(), "a quorum holds {held}, past our own log {}", self.log.last());
        let of_own_term = leading.own_term_start <= held;
        if held <= self.committed || !(of_own_term || self.config.mutants.on(Mutant::CommitOldTerm)) {
            return;
        }
        leading.uncommitted_bytes -= self.log.size_bytes(self.committed.next(), held);
        self.committed = held;
        if of_own_term {
            self.index_reads();
        }
        self.configuration_committed();
    }

    /// Sends every follower what it lacks, as far as its state and window allow.
    pub(crate) fn broadcast(&mut self) {
        let Raft { config, hard_state, log, stand, committed, messages, snapshots_wanted, .. } = self;
        let Stand::Leader(leading) = stand else { return };
        let (term, committed) = (hard_state.term, *committed);
        if leading.round_wanted {
            leading.round_wanted = false;
            leading.round.0 += 1;
            for (&peer, progress) in &mut leading.progress {
                let commit = committed.min(progress.matched);
                progress.told_commit = progress.told_commit.max(commit);
                messages.push((peer, Message { term, body: Body::Heartbeat { commit, round: leading.round } }));
            }
        }
        for (&peer, progress) in &mut leading.progress {
            loop {
                let streams = progress.state == ReplicationState::Replicate;
                let is_full = progress.window.is_full(config.max_inflight_messages, config.max_inflight_bytes);
                let more = progress.next <= log.last() && !(streams && is_full);
                let prev_index = progress.next.prev();
                let sends = match progress.state {
                    ReplicationState::Probe => !progress.paused,
                    ReplicationState::Replicate => {
                        more || progress.ping || progress.told_commit < committed.min(prev_index)
                    }
                    ReplicationState::Snapshot => false,
                };
                if !sends {
                    break;
                }
                let Some(prev_term) = log.term_at(prev_index) else {
                    // Forgotten. It showed life just now: nothing else leads here, a silent follower is paused.
                    progress.await_snapshot();
                    snapshots_wanted.push(peer);
                    break;
                };
                let (entries, bytes) = if more {
                    log.slice(progress.next, log.last(), config.max_message_bytes)
                } else {
                    Default::default()
                };
                let last = entries.last().map_or(prev_index, |entry| entry.index);
                progress.told_commit = progress.told_commit.max(committed.min(last));
                if !streams {
                    progress.paused = true;
                } else if prev_index < last {
                    progress.next = last.next();
                    progress.window.add(last, bytes);
                }
                progress.ping = false;
                let body = Body::AppendRequest { prev_index, prev_term, entries, commit: committed };
                messages.push((peer, Message { term, body }));
            }
        }
        if let Some(transfer) = &mut leading.transfer
            && !transfer.told
            && leading.progress.get(&transfer.to).is_some_and(|progress| progress.matched == log.last())
        {
            transfer.told = true;
            messages.push((transfer.to, Message { term, body: Body::TimeoutNow }));
        }
    }

    fn progress_of(&mut self, peer: NodeId) -> Option<&mut Progress> {
        match &mut self.stand {
            Stand::Leader(leading) => leading.progress.get_mut(&peer),
            _ => None,
        }
    }

    /// A message of our term came from `peer`.
    pub(crate) fn show_active(&mut self, peer: NodeId) {
        if let Some(progress) = self.progress_of(peer) {
            progress.active = true;
        }
    }

    pub(crate) fn append_accepted(&mut self, from: NodeId, matched: Index) {
        let (base, last) = (self.log.base(), self.log.last());
        let Some(progress) = self.progress_of(from).filter(|_| matched <= last) else { return };
        if progress.accepted(matched, base) {
            self.advance_commit();
        }
    }

    pub(crate) fn append_rejected(&mut self, from: NodeId, prev_index: Index, hint_index: Index, hint_term: Term) {
        // Both sides skip: the follower named its newest entry that is not of a newer term than ours at `prev_index`;
        // our newest that is not of a newer term than that one is where the logs can agree.
        let hint = match hint_term {
            Term(0) => hint_index,
            _ => self.log.newest_of_term(hint_index, hint_term).0,
        };
        if let Some(progress) = self.progress_of(from) {
            progress.rejected(prev_index, hint);
        }
    }

    pub(crate) fn heartbeat_answered(&mut self, from: NodeId, round: Round) {
        let Stand::Leader(leading) = &mut self.stand else { return };
        let Some(progress) = leading.progress.get_mut(&from).filter(|_| round <= leading.round) else { return };
        progress.alive();
        if let Some(transfer) = &mut leading.transfer
            && transfer.to == from
        {
            transfer.told = false; // It may not have heard.
        }
        if progress.round < round {
            progress.round = round;
            self.answer_reads();
        }
    }

    pub(crate) fn unreachable(&mut self, peer: NodeId) {
        if let Some(progress) = self.progress_of(peer) {
            progress.unreachable();
        }
    }
}
