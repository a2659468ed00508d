//! Strict serializability, checked in the order the revisions give.
//!
//! Every effective write owns a revision, revisions grow by exactly one, and every answer says which revision it saw.
//! So the order is *given* and checking is verification, not search:
//!
//! 1. **Real time**, at the moment an answer comes: nothing lands below what somebody had already seen when it was
//!    called (`order.rs`). This alone finds stale reads, lost and reordered writes, and revisions that go back.
//! 2. **Uniqueness**: two operations never own one revision.
//! 3. **Replay** (`replay.rs`): the sequential [`Model`] recomputes each answer, field by field. Since the model can
//!    be read at any past revision, an answer is checked as soon as both it and its revision are known.
//! 4. **Gaps** (`gaps.rs`): a revision whose owner did not answer belongs to exactly one operation with unknown
//!    outcome, or to a lease that ended. Evidence, best first: the white box's word ([`Applied`]), unique values in
//!    later reads and watch events, the only candidate left, and at the end a bounded search (`search.rs`).
//!    An unknown operation that fills no gap had no effect; nothing has to be guessed about it.
//! 5. **Compaction** by interval rules (`compaction.rs`).
//!
//! Reads marked serializable are checked as reads of *some* earlier state: the content must be that of their
//! revision, which must exist. Real time binds them only in that later operations must not see less.
//!
//! What is compacted and far behind is forgotten (`forget.rs`).
//!
//! Not covered: compaction's, keep-alive's, time-to-live's and the lease list's header revisions are not taken atomically with the
//! operation, so these answers only show that the revision exists.

mod compaction;
mod forget;
mod gaps;
mod order;
mod replay;
mod search;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::history::*;
use crate::ids::*;
use crate::model::Model;
use crate::observation::{Applied, Cause};
use crate::violation::{Related, Verdict, Violation};

use compaction::Compactions;
pub use gaps::Cover;
use order::{Floor, Position, Side, Sightings};
use replay::{Past, Slot};

/// The oracle's name.
pub const NAME: &str = "linearizable";

/// Evaluations the final search may spend before it gives up as inconclusive.
pub const SEARCH_BUDGET: u32 = 200_000;

/// Final reads are operations from here on.
pub const FINAL_READS: u64 = 1 << 63;

/// A called operation.
#[derive(Clone, Debug)]
struct Op {
    id: OpId,
    request: Request,
    called: Moment,
    /// The highest position anyone had seen when it was called.
    floor: Floor,
    /// History below this was certainly gone when it was called.
    compacted: Revision,
}

/// An answered operation.
#[derive(Clone, Debug)]
struct Done {
    op: Op,
    revision: Revision,
    body: Body,
    returned: Moment,
}

/// A read of the whole key space on one member after everything else has ended.
#[derive(Clone, Debug)]
pub struct FinalRead {
    /// The header.
    pub header: Header,
    /// All rows.
    pub kvs: Vec<KeyValue>,
}

/// The oracle.
#[derive(Clone, Debug)]
pub struct Linearizable {
    model: Model,
    floor: Floor,
    sightings: Sightings,
    compactions: Compactions,
    /// Called, not returned.
    open: BTreeMap<OpId, Op>,
    /// May have taken effect, may yet. Only operations that write.
    unknown: BTreeMap<OpId, Op>,
    /// Certainly without effect. Only operations that write.
    refused: BTreeSet<OpId>,
    /// Who puts this value.
    writers: BTreeMap<Bytes, OpId>,
    /// Values of operations that have ended, and the newest revision then.
    spoken_for: VecDeque<(Revision, Bytes)>,
    /// What is known about revisions above the model's head.
    slots: BTreeMap<Revision, Slot>,
    /// Who made the revisions the model has, beginning after its oldest state.
    past: VecDeque<Past>,
    /// Operations found to own a revision before they answered, if they ever do.
    spent: BTreeMap<OpId, Revision>,
    /// Answers that wait for the model to reach their revision.
    parked: BTreeMap<Revision, Vec<Done>>,
    /// Replayed deletes whose owner is still open.
    unattributed: gaps::Unattributed,
    /// The newest revision a member has applied, if members report.
    applied: Revision,
    /// The first gap has several candidates; only more evidence or the final search helps.
    ambiguous: bool,
    /// Earliest end of each lease anybody asked for; of one that was granted several times, of the first.
    lease_ends: BTreeMap<LeaseId, u64>,
    fast_ppm: u64,
}

impl Linearizable {
    /// An empty cluster. Leases may end early by this clock rate error, in parts per million.
    pub fn new(fast_ppm: u64) -> Self {
        Linearizable {
            model: Model::default(),
            floor: Floor::new(),
            sightings: Sightings::default(),
            compactions: Compactions::default(),
            open: BTreeMap::new(),
            unknown: BTreeMap::new(),
            refused: BTreeSet::new(),
            writers: BTreeMap::new(),
            spoken_for: VecDeque::new(),
            slots: BTreeMap::new(),
            past: VecDeque::new(),
            spent: BTreeMap::new(),
            parked: BTreeMap::new(),
            unattributed: gaps::Unattributed::default(),
            applied: Revision::default(),
            ambiguous: false,
            lease_ends: BTreeMap::new(),
            fast_ppm,
        }
    }

    /// The replayed truth, for oracles that compare with it.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// When this revision, or a later one, was first seen.
    pub fn first_seen(&self, revision: Revision) -> Moment {
        self.sightings.first(revision)
    }

    /// The newest revision anyone has seen.
    pub fn newest_seen(&self) -> Revision {
        self.sightings.newest()
    }

    /// The newest revision anyone had seen before that moment.
    pub fn newest_seen_at(&self, at: Moment) -> Revision {
        self.sightings.newest_at(at)
    }

    /// History below this may be gone.
    pub fn possibly_compacted(&self) -> Revision {
        self.compactions.possible()
    }

    /// History below this is certainly gone.
    pub fn certainly_compacted(&self) -> Revision {
        self.compactions.certain()
    }

    /// A client sends a request.
    pub fn call(&mut self, at: Moment, id: OpId, request: Request) -> Verdict {
        match request {
            Request::Compact { revision } => self.compactions.called(revision),
            Request::LeaseGrant { lease, ttl } if lease != LeaseId::NONE => self.lease_lives(lease, at, ttl),
            _ => {}
        }
        let mut twice = None;
        request.visit_puts(&mut |put| {
            if self.writers.insert(put.value.clone(), id).is_some_and(|other| other != id) {
                twice = Some(put.value.clone());
            }
        });
        if let Some(value) = twice {
            return Err(fail(at, format!("testbed: {id} puts value {value:?}, which was put before")));
        }
        let op = Op { id, request, called: at, floor: self.floor, compacted: self.compactions.certain() };
        match self.open.insert(id, op) {
            None => Ok(()),
            Some(_) => Err(fail(at, format!("testbed: {id} was called twice"))),
        }
    }

    /// The client learns how it ended.
    pub fn returned(&mut self, at: Moment, id: OpId, outcome: Outcome) -> Verdict {
        let Some(op) = self.open.remove(&id) else {
            return Err(fail(at, format!("testbed: {id} returned without having been called")));
        };
        if !matches!(outcome, Outcome::Unknown(_)) {
            let newest = self.sightings.newest();
            op.request.visit_puts(&mut |put| self.spoken_for.push_back((newest, put.value.clone())));
        }
        match outcome {
            Outcome::Unknown(_) => {
                if op.request.may_write() {
                    self.unknown.insert(id, op);
                }
            }
            Outcome::DefinitelyNot(refusal) => self.refused(at, op, refusal)?,
            Outcome::Ok(header, body) => self.answered(Done { op, revision: header.revision, body, returned: at })?,
        }
        self.advance(at)
    }

    /// A watch shows that a revision exists, and what it changed.
    pub fn watched(&mut self, at: Moment, revision: Revision, events: &[Event]) -> Verdict {
        self.saw(at, revision, None);
        for event in events {
            let kv = &event.kv;
            self.saw(at, kv.modified, None);
            self.witness(at, kv.modified, &kv.key, (!event.deleted).then_some(&kv.value))?;
        }
        self.advance(at)
    }

    /// A member applied an entry (white box).
    pub fn applied(&mut self, at: Moment, applied: &Applied) -> Verdict {
        let revision = applied.revision;
        self.applied = self.applied.max(revision);
        let writes = applied.writes.as_deref().unwrap_or_default();
        if revision <= self.model.head() {
            if !writes.is_empty() && self.model.oldest() < revision && writes != self.model.writes(revision) {
                let known = self.model.writes(revision);
                let message =
                    format!("{revision} changed {} on one member and {} on another", show(&writes), show(&known));
                return Err(fail(at, message).with([Related::Revision(revision), Related::Index(applied.index)]));
            }
            return Ok(());
        }
        self.saw(at, revision, None);
        if !writes.is_empty() {
            self.slots.entry(revision).or_default().writes = Some(writes.to_vec());
        }
        match applied.cause {
            Cause::Operation(id) => self.name(at, revision, id)?,
            Cause::LeaseRevoked(lease) => self.slots.entry(revision).or_default().ended = Some(lease),
            Cause::Unknown => {}
        }
        self.advance(at)
    }

    /// The run is over: nothing more will return. The final reads were called after everything else had ended.
    pub fn finish(&mut self, at: Moment, finals: &[FinalRead]) -> Verdict {
        for (id, op) in std::mem::take(&mut self.open) {
            if op.request.may_write() {
                self.unknown.insert(id, op);
            }
        }
        for read in finals {
            let position = (read.header.revision, Side::Saw);
            if position < self.floor.position {
                let message = format!(
                    "the final read on {} sees {} although {} was seen before it",
                    read.header.member, read.header.revision, self.floor.position.0
                );
                return Err(fail(at, message).with(self.floor.by.map(Related::Op)));
            }
            for kv in &read.kvs {
                self.witness(at, kv.modified, &kv.key, Some(&kv.value))?;
            }
        }
        for (n, read) in finals.iter().enumerate() {
            self.saw(at, read.header.revision, None);
            let request = Request::Range(Range::of(KeyRange::all()));
            let body = Body::Range(RangeReply { kvs: read.kvs.clone(), more: false, count: read.kvs.len() as i64 });
            let id = OpId(FINAL_READS + n as u64);
            let op = Op { id, request, called: at, floor: self.floor, compacted: self.compactions.certain() };
            let done = Done { op, revision: read.header.revision, body, returned: at };
            if done.revision <= self.model.head() {
                self.check_seen(&done)?;
            } else {
                self.parked.entry(done.revision).or_default().push(done);
            }
        }
        self.advance(at)?;
        self.search(at)?;
        self.attribute(at, true)
    }

    /// A revision exists: nobody called later may see less.
    fn saw(&mut self, at: Moment, revision: Revision, by: Option<OpId>) {
        self.sightings.saw(revision, at);
        self.floor.raise((revision, Side::Saw), at, by);
    }

    fn answered(&mut self, done: Done) -> Verdict {
        let (at, id, revision) = (done.returned, done.op.id, done.revision);
        if self.applied != Revision::default() && self.applied < revision {
            let message = format!("{id} answers {revision}, which no member has applied");
            return Err(fail(at, message).with([Related::Op(id)]));
        }
        let side = match (&done.op.request, &done.body) {
            (Request::Put(_), Body::Put(_)) => Side::Made,
            (Request::DeleteRange(_), Body::DeleteRange(delete)) if delete.deleted > 0 => Side::Made,
            (Request::Txn(_), Body::Txn(txn)) if txn.wrote() => Side::Made,
            (Request::DeleteRange(_), Body::DeleteRange(_)) | (Request::Txn(_), Body::Txn(_)) => Side::Saw,
            (Request::Range(_), Body::Range(_)) | (Request::LeaseRevoke { .. }, Body::LeaseRevoke) => Side::Saw,
            (Request::LeaseGrant { .. }, Body::LeaseGrant { lease, ttl }) => {
                self.lease_lives(*lease, done.op.called, *ttl);
                Side::Saw
            }
            (Request::Compact { revision: wanted }, Body::Compact) => {
                self.compact_answered(&done, *wanted)?;
                self.saw(at, revision, Some(id));
                return Ok(());
            }
            (Request::LeaseKeepAlive { .. }, Body::LeaseKeepAlive { .. })
            | (Request::LeaseTimeToLive { .. }, Body::LeaseTimeToLive { .. })
            | (Request::LeaseLeases, Body::LeaseLeases { .. }) => {
                self.saw(at, revision, Some(id));
                return Ok(());
            }
            (request, body) => {
                let message = format!("testbed: {id} asked {request} and was answered {}", show(body));
                return Err(fail(at, message));
            }
        };
        let serializable = done.op.request.is_serializable();
        if !serializable {
            self.in_real_time(&done.op, (revision, side), at)?;
            self.reads_above_compaction(&done)?;
        }
        self.sightings.saw(revision, at);
        self.floor.raise((revision, side), at, Some(id));
        self.witness_body(&done)?;
        match (&done.op.request, side) {
            (Request::LeaseGrant { .. }, _) => Ok(()),
            (_, Side::Made) => self.made(done),
            (_, Side::Saw) if revision <= self.model.head() => self.verify_seen(&done),
            (_, Side::Saw) => {
                self.parked.entry(revision).or_default().push(done);
                Ok(())
            }
        }
    }

    /// A lease that was asked for then does not end by itself before it has had its time.
    fn lease_lives(&mut self, lease: LeaseId, called: Moment, ttl: i64) {
        let lived = (ttl.max(0) as u64 * NANOS_PER_SECOND) / 1_000_000 * (1_000_000 - self.fast_ppm);
        let end = called.nanos.saturating_add(lived);
        self.lease_ends.entry(lease).and_modify(|known| *known = end.min(*known)).or_insert(end);
    }

    /// `op` lands at `position`: was something later seen before it was called?
    fn in_real_time(&self, op: &Op, position: Position, at: Moment) -> Verdict {
        if op.floor.position <= position {
            return Ok(());
        }
        let (newer, _) = op.floor.position;
        let id = op.id;
        let verb = if position.1 == Side::Made { "made" } else { "saw" };
        let who = op.floor.by.map_or("an event".to_string(), |by| by.to_string());
        let message = format!(
            "{id} {verb} {}, but {who} had shown {newer} at {}, before {id} was called at {}: {}",
            position.0, op.floor.seen, op.called, op.request
        );
        let related = [Some(Related::Op(id)), op.floor.by.map(Related::Op), Some(Related::Moment(op.floor.seen))];
        Err(fail(at, message).with(related.into_iter().flatten()))
    }
}

fn fail(at: Moment, message: String) -> Box<Violation> {
    Violation::new(NAME, at, message)
}

fn impossible(at: Moment, id: OpId, revision: Revision) -> Box<Violation> {
    let message = format!("{id} was refused as certainly without effect, yet it made {revision}");
    fail(at, message).with([Related::Op(id), Related::Revision(revision)])
}

/// A short text of anything.
fn show(thing: &dyn std::fmt::Debug) -> String {
    const SHOWN_CHARS_MAX: usize = 300;
    let text = format!("{thing:?}");
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
