//! The follower's half of replication: where do the logs agree, what is new, what must go.
//!
//! - Entries are compared one by one, and the log is cut only at the first that *conflicts*: a late or repeated append
//!   that tells nothing new takes nothing away, so an acceptance never becomes untrue.
//! - A committed entry is never cut. An append that asks for it comes from a broken leader and is ignored.
//! - The commit index follows the leader's, but never past the last entry this very append has shown to agree.
//! - A refusal names the newest position that can agree, so that a leader skips whole terms at a time.

use alloc::vec::Vec;

use crate::Raft;
use crate::message::{Body, Round};
use crate::mutant::Mutant;
use crate::types::{Entry, Index, NodeId, Term};

impl Raft {
    pub(crate) fn append_requested(
        &mut self,
        leader: NodeId,
        mut prev_index: Index,
        mut prev_term: Term,
        mut entries: Vec<Entry>,
        commit: Index,
    ) {
        if self.configuration().voters.is_empty() {
            // It joins: what the cluster was founded with is in no entry.
            let (hint_index, hint_term) = (self.log.base(), Term(0));
            return self.send(leader, Body::AppendRejected { prev_index, hint_index, hint_term, needs_snapshot: true });
        }
        let last_new = Index(prev_index.0 + entries.len() as u64);
        if prev_index < self.log.base() {
            // What a checkpoint covers is committed, so it agrees. Go on from the base.
            if last_new <= self.log.base() {
                return self.accept(leader, self.committed);
            }
            let covered = entries.drain(..(self.log.base().0 - prev_index.0) as usize).next_back();
            (prev_index, prev_term) = covered.map_or((prev_index, prev_term), |entry| (entry.index, entry.term));
        }
        if self.log.term_at(prev_index) != Some(prev_term) {
            return self.reject(leader, prev_index, prev_term);
        }
        let mut conflict = entries.iter().position(|entry| self.log.term_at(entry.index) != Some(entry.term));
        let cuts_more = !entries.is_empty() && conflict != Some(0) && last_new < self.log.last();
        if self.config.mutants.bites(Mutant::TruncOnStaleAppend, || cuts_more) {
            conflict = Some(0);
        }
        if let Some(new) = conflict {
            let keep = entries[new].index.prev();
            if keep < self.committed {
                return;
            }
            if keep < self.log.last() {
                self.log.truncate(keep);
                let in_flight = self.hand_overs.attests_after(keep);
                let aba = self.config.mutants.bites(Mutant::AsyncAppendAba, || in_flight);
                self.hand_overs.truncated(keep, !aba);
                self.configurations.truncated(keep);
            }
            for entry in entries.drain(new..) {
                self.configurations.appended(&entry);
                self.log.push(entry);
            }
        }
        self.commit_upto(commit.min(last_new));
        self.accept(leader, self.committed.max(last_new));
    }

    fn reject(&mut self, leader: NodeId, prev_index: Index, prev_term: Term) {
        if prev_index <= self.committed {
            return;
        }
        let (found, found_term) = self.log.newest_of_term(prev_index.min(self.log.last()), prev_term);
        let (hint_index, hint_term) = match self.log.term_at(self.committed) {
            Some(term) if found < self.committed => (self.committed, term),
            _ => (found, found_term),
        };
        self.send(leader, Body::AppendRejected { prev_index, hint_index, hint_term, needs_snapshot: false });
    }

    /// The leader says that everything up to `index` is committed.
    fn commit_upto(&mut self, index: Index) {
        if self.committed < index {
            self.committed = index;
            self.configurations.committed(index);
        }
    }

    /// Tells the leader what we hold, once it is durable.
    pub(crate) fn accept(&mut self, leader: NodeId, matched: Index) {
        let body = Body::AppendAccepted { matched };
        if self.config.mutants.bites(Mutant::AckBeforeFsync, || self.hand_overs.persisted() < matched) {
            self.send(leader, body)
        } else {
            self.promise(leader, body)
        }
    }

    pub(crate) fn heartbeat(&mut self, leader: NodeId, commit: Index, round: Round) {
        // A correct leader names only what it knows we hold.
        if commit <= self.log.last() {
            self.commit_upto(commit);
        }
        self.send(leader, Body::HeartbeatResponse { round });
    }
}
