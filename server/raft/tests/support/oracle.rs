//! What must hold over all members and all time, whatever the schedule. Remembers the first violation.
//!
//! | Claim | Checked when |
//! |---|---|
//! | one leader in a term | somebody leads |
//! | leader completeness: a leader's log holds what was delivered in earlier terms | somebody leads |
//! | state machine safety: one entry per index, for ever | entries are delivered |
//! | log matching | asked for |
//! | a read index covers what was delivered anywhere before the read began | a read is confirmed |
//! | ledger: a vote or an acceptance is on the disk before it leaves | a message is sent |

use std::collections::BTreeMap;

use evenkeel_raft::*;

use super::{Disk, show_entry};

#[derive(Default)]
pub struct Oracle {
    pub violation: Option<String>,
    /// Leaves out the ledger, so that only consequences count.
    pub consequences_only: bool,
    leaders: BTreeMap<Term, NodeId>,
    /// Each delivered entry, and the term of the member that delivered it first.
    decided: BTreeMap<Index, (Entry, Term)>,
    /// The newest entry delivered anywhere when the read began.
    reads: BTreeMap<(NodeId, ReadContext), Index>,
    pub reads_confirmed: usize,
}

impl Oracle {
    fn claim(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(otherwise());
        }
    }

    pub fn decided(&self) -> Index {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }

    /// Configurations decided.
    pub fn configurations(&self) -> usize {
        self.decided.values().filter(|(entry, _)| matches!(entry.payload, Payload::Config(_))).count()
    }

    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    pub fn stands(&mut self, id: NodeId, standing: Standing, raft: &Raft) {
        let Standing { term, leader, .. } = standing;
        if leader != Some(id) {
            return;
        }
        let first = *self.leaders.entry(term).or_insert(id);
        self.claim(first == id, || format!("two leaders in term {term}: n{first} and n{id}"));
        let lost = self.decided.iter().find(|(index, (entry, at))| {
            *at < term && raft.first_index() <= **index && raft.term_at(**index) != Some(entry.term)
        });
        let lost = lost.map(|(_, (entry, _))| show_entry(entry));
        self.claim(lost.is_none(), || format!("leader n{id} of term {term} lacks {}", lost.unwrap()));
    }

    pub fn delivers(&mut self, id: NodeId, term: Term, entries: &[Entry]) {
        for entry in entries {
            let (decided, _) = self.decided.entry(entry.index).or_insert_with(|| (entry.clone(), term));
            let (decided, shown) = (decided == entry, show_entry(decided));
            self.claim(decided, || format!("n{id} applies {}, but {shown} was decided", show_entry(entry)));
        }
    }

    pub fn sends(&mut self, from: NodeId, to: NodeId, message: &Message, disk: &Disk) {
        if self.consequences_only {
            return;
        }
        let HardState { term, vote } = disk.hard_state;
        match message.body {
            Body::AppendAccepted { matched } if message.term == term => {
                let last = disk.last();
                self.claim(matched <= last, || format!("ledger: n{from} accepts {matched}, its disk ends at {last}"));
            }
            Body::VoteResponse { pre_vote: false, granted: true } => {
                let durable = message.term < term || (message.term == term && vote == Some(to));
                self.claim(durable, || {
                    format!("ledger: n{from} votes for n{to} in term {}, not durably", message.term)
                });
            }
            _ => {}
        }
    }

    pub fn read_began(&mut self, id: NodeId, context: ReadContext) {
        self.reads.insert((id, context), self.decided());
    }

    pub fn read_confirmed(&mut self, id: NodeId, context: ReadContext, index: Index) {
        self.reads_confirmed += 1;
        let floor = self.reads.remove(&(id, context));
        self.claim(floor.is_some(), || format!("n{id} confirms read {} that nobody waits for", context.0));
        let floor = floor.unwrap_or_default();
        self.claim(floor <= index, || {
            format!("stale read {} at n{id}: index {index}, but {floor} was applied before it began", context.0)
        });
    }

    pub fn reads_end(&mut self, id: NodeId) {
        self.reads.retain(|(reader, _), _| *reader != id);
    }

    /// Two logs that agree at an index agree everywhere before it.
    pub fn logs_match<'a>(&mut self, rafts: impl Iterator<Item = &'a Raft> + Clone) {
        for (at, a) in rafts.clone().enumerate() {
            for b in rafts.clone().skip(at + 1) {
                let first = a.first_index().max(b.first_index());
                let last = a.last_index().min(b.last_index());
                let same = |index: &u64| a.term_at(Index(*index)) == b.term_at(Index(*index));
                let Some(agree) = (first.0..=last.0).rev().find(same) else { continue };
                for index in first.0..=agree {
                    let (ours, theirs) = (a.entry(Index(index)), b.entry(Index(index)));
                    self.claim(ours == theirs, || {
                        format!("logs agree at {agree}, but not at {index}: {ours:?} {theirs:?}")
                    });
                }
            }
        }
    }
}
