//! What was handed to the disk, and what the disk has confirmed.
//!
//! Each [`Write`] brings the disk from one state of memory to a later one, and the disk performs them in order. A
//! *promise* is a message whose truth rests on the state of memory when it was made (an acceptance, a granted vote, a
//! candidate's request, which tells of its vote for itself): it travels inside the first `Write` made after it, so it
//! leaves only when that state, or a later one, is durable. A crash therefore always returns to a state at least as
//! new as every promise sent: seen from outside, each step was atomic and durable, and only the network was slow.
//!
//! A completion names a hand-over by number, never by (index, term). Each hand-over in flight remembers the last index
//! it covers, and truncating the log clamps all of them: a completion can never attest bytes that are being overwritten
//! (the ABA of asynchronous appends), and none is ever ignored, so nothing waits for an answer that came too early.
//!
//! Bounded: at most [`WRITES_IN_FLIGHT_MAX`] hand-overs; beyond that work gathers in memory and goes as one. Promises
//! are at most one of each kind per peer: a newer one replaces an older one, which is then merely a lost message.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem;

use crate::log::Log;
use crate::message::{Body, Message};
use crate::ready::{Write, WriteSeq};
use crate::types::{HardState, Index, NodeId, SnapshotMeta, Term};

/// Hand-overs the disk may have before it; past it they are joined.
pub const WRITES_IN_FLIGHT_MAX: usize = 64;

#[derive(Clone, Debug)]
struct InFlight {
    seq: WriteSeq,
    /// Once this one is durable, so is our log up to here.
    covers: Index,
    /// The term in which this member's durable vote is then its own.
    own_vote: Option<Term>,
}

#[derive(Clone, Debug)]
pub(crate) struct HandOvers {
    last_seq: WriteSeq,
    /// Entries up to here were handed over.
    handed: Index,
    /// Entries up to here are durable.
    persisted: Index,
    hard_state: HardState,
    snapshot: Option<SnapshotMeta>,
    promises: Vec<(NodeId, Message)>,
    in_flight: VecDeque<InFlight>,
}

/// Numbers tell hand-overs apart, nothing else: only how old one is plays a part.
impl Hash for HandOvers {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let HandOvers { last_seq, handed, persisted, hard_state, snapshot, promises, in_flight } = self;
        (handed, persisted, hard_state, snapshot, promises).hash(hasher);
        for InFlight { seq, covers, own_vote } in in_flight {
            (last_seq.0 - seq.0, covers, own_vote).hash(hasher);
        }
        in_flight.len().hash(hasher);
    }
}

impl HandOvers {
    /// Everything up to `last` and `hard_state` are on the disk already.
    pub(crate) fn new(last: Index, hard_state: HardState) -> HandOvers {
        HandOvers {
            last_seq: WriteSeq(0),
            handed: last,
            persisted: last,
            hard_state,
            snapshot: None,
            promises: Vec::new(),
            in_flight: VecDeque::new(),
        }
    }

    pub(crate) fn handed(&self) -> Index {
        self.handed
    }

    pub(crate) fn persisted(&self) -> Index {
        self.persisted
    }

    /// A hand-over on its way covers entries after `keep`.
    pub(crate) fn attests_after(&self, keep: Index) -> bool {
        self.in_flight.iter().any(|hand_over| keep < hand_over.covers)
    }

    /// The log was cut after `keep`. Not to `clamp` what is in flight is a planted bug.
    pub(crate) fn truncated(&mut self, keep: Index, clamp: bool) {
        self.handed = self.handed.min(keep);
        if clamp {
            self.clamp(keep);
        } else {
            self.persisted = self.persisted.min(keep);
        }
    }

    /// The log was replaced by a snapshot; of the old one only `common` and before is known to be part of the new.
    pub(crate) fn pending_snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    pub(crate) fn replaced(&mut self, common: Index, snapshot: SnapshotMeta) {
        self.clamp(common);
        self.handed = snapshot.index;
        self.snapshot = Some(snapshot);
    }

    fn clamp(&mut self, keep: Index) {
        self.persisted = self.persisted.min(keep);
        for hand_over in &mut self.in_flight {
            hand_over.covers = hand_over.covers.min(keep);
        }
    }

    pub(crate) fn promise(&mut self, to: NodeId, message: Message) {
        let kind = mem::discriminant(&message.body);
        let same = |(peer, old): &&mut (NodeId, Message)| *peer == to && mem::discriminant(&old.body) == kind;
        match self.promises.iter_mut().find(same) {
            Some((_, old)) => *old = newer_promise(old, message),
            None => self.promises.push((to, message)),
        }
    }

    /// Takes the work owed to the disk. Promises that need none go to `at_once`.
    pub(crate) fn take(
        &mut self,
        id: NodeId,
        hard_state: HardState,
        log: &Log,
        at_once: &mut Vec<(NodeId, Message)>,
    ) -> Option<Write> {
        let has_work = self.handed < log.last() || self.hard_state != hard_state || self.snapshot.is_some();
        if !has_work && self.in_flight.is_empty() {
            at_once.append(&mut self.promises);
            return None;
        }
        if (!has_work && self.promises.is_empty()) || self.in_flight.len() >= WRITES_IN_FLIGHT_MAX {
            return None;
        }
        let entries = if self.handed < log.last() { log.suffix(self.handed.next()) } else { Vec::new() };
        self.handed = log.last();
        self.last_seq.0 += 1;
        let own_vote = (hard_state.vote == Some(id)).then_some(hard_state.term);
        self.in_flight.push_back(InFlight { seq: self.last_seq, covers: self.handed, own_vote });
        Some(Write {
            seq: self.last_seq,
            hard_state: (mem::replace(&mut self.hard_state, hard_state) != hard_state).then_some(hard_state),
            snapshot: self.snapshot.take(),
            entries,
            messages: mem::take(&mut self.promises),
        })
    }

    /// Everything up to `seq` is durable. Returns the newest term in which our vote for ourselves became durable.
    pub(crate) fn completed(&mut self, seq: WriteSeq) -> Option<Term> {
        assert!(seq <= self.last_seq, "completion {seq:?} was never handed over");
        let mut own_vote = None;
        while let Some(hand_over) = self.in_flight.pop_front_if(|hand_over| hand_over.seq <= seq) {
            // (A hand-over never covers more than was handed over; the planted bug may.)
            self.persisted = self.persisted.max(hand_over.covers.min(self.handed));
            own_vote = own_vote.max(hand_over.own_vote);
        }
        own_vote
    }

    pub(crate) fn check(&self, log: &Log) {
        assert!(self.persisted <= self.handed, "persisted {} > handed over {}", self.persisted, self.handed);
        assert!(self.handed <= log.last(), "handed over {} > last {}", self.handed, log.last());
        assert!(self.in_flight.len() <= WRITES_IN_FLIGHT_MAX);
    }
}

fn newer_promise(old: &Message, new: Message) -> Message {
    match (&old.body, &new.body) {
        (Body::AppendAccepted { matched: before }, Body::AppendAccepted { matched }) if old.term == new.term => {
            Message { term: new.term, body: Body::AppendAccepted { matched: *before.max(matched) } }
        }
        _ => new,
    }
}
