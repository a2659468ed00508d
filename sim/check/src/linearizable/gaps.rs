//! Who made the revisions that nobody claims.
//!
//! Candidates for a gap are the operations with unknown outcome that would change something there, and the ends of
//! leases. They are complete once everything called before the gap was first seen has returned: the gap is *settled*.
//! When its writes are known but consist of deletes only, the state is exact whoever did it; what remains is to give
//! every such gap an operation of its own. That is a bipartite matching, solved by augmenting paths, not a search.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::order::Side;
use super::replay::{Past, Slot, two_owners};
use super::{Done, Linearizable, fail, impossible};
use crate::history::*;
use crate::ids::*;
use crate::model::Write;
use crate::violation::{Related, Verdict};

/// Replayed gaps with deletes only, and the operations matched with them so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Unattributed {
    waiting: BTreeSet<Revision>,
    /// Settled gaps and who could have made them.
    candidates: BTreeMap<Revision, Vec<OpId>>,
    matched: BTreeMap<OpId, Revision>,
}

impl Unattributed {
    pub fn push(&mut self, revision: Revision) {
        self.waiting.insert(revision);
    }

    /// The owner has answered.
    pub fn remove(&mut self, revision: Revision) {
        self.waiting.remove(&revision);
        self.candidates.remove(&revision);
        self.matched.retain(|_, matched| *matched != revision);
    }

    /// Revisions up to this one are forgotten: what was found for them stands.
    pub fn forget(&mut self, oldest: Revision) {
        self.waiting = self.waiting.split_off(&oldest.next());
        self.candidates = self.candidates.split_off(&oldest.next());
        self.matched.retain(|_, matched| oldest < *matched);
    }

    /// Finds an operation for `revision`, moving earlier choices if that helps.
    fn augment(&mut self, revision: Revision, visited: &mut BTreeSet<OpId>) -> bool {
        for id in self.candidates.get(&revision).cloned().unwrap_or_default() {
            if !visited.insert(id) {
                continue;
            }
            let free = match self.matched.get(&id).copied() {
                None => true,
                Some(other) => self.augment(other, visited),
            };
            if free {
                self.matched.insert(id, revision);
                return true;
            }
        }
        false
    }
}

/// Revisions a cover may speak of; one that claims more is no evidence but a fault, and is judged elsewhere.
pub const COVER_REVISIONS_MAX: i64 = 100_000;

/// What a watch has shown in full: the wanted changes of all revisions in `from..=upto`.
#[derive(Clone, Debug)]
pub struct Cover {
    /// Which keys.
    pub keys: KeyRange,
    /// Which changes were left out.
    pub filters: WatchFilters,
    /// The first revision.
    pub from: Revision,
    /// The last.
    pub upto: Revision,
}

impl Cover {
    /// Whether the watch shows this change.
    pub fn wants(&self, write: &Write) -> bool {
        let filtered = if write.live.is_some() { self.filters.no_put } else { self.filters.no_delete };
        !filtered && self.keys.contains(&write.key)
    }
}

/// A way to fill a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// An operation without an answer.
    Op(OpId),
    /// A revoke that answered with this revision: the n-th parked there.
    Revoke(usize),
    /// The server ended a lease.
    Ended(LeaseId),
}

impl Linearizable {
    /// A put value or a delete was seen in a revision above the head.
    pub(super) fn witness(&mut self, at: Moment, revision: Revision, key: &Bytes, value: Option<&Bytes>) -> Verdict {
        if revision <= self.model.head() {
            return Ok(());
        }
        let slot = self.slots.entry(revision).or_default();
        if slot.writes.is_none() && !slot.seen.iter().any(|(seen, _)| seen == key) {
            slot.seen.push((key.clone(), value.cloned()));
            self.ambiguous = false;
        }
        let Some(value) = value else { return Ok(()) };
        match self.writers.get(value) {
            Some(&id) => self.name(at, revision, id),
            None => {
                let message = format!("{key:?} at {revision} holds the value {value:?}, which nobody put");
                Err(fail(at, message).with([Related::Revision(revision)]))
            }
        }
    }

    /// A watch has shown all of its changes in some revisions: evidence of what did *not* happen there.
    pub fn covered(&mut self, cover: Cover, events: &[Event]) {
        let from = cover.from.max(self.model.head().next());
        if COVER_REVISIONS_MAX < cover.upto.0 - from.0 {
            return;
        }
        let cover = Arc::new(cover);
        for revision in (from.0..=cover.upto.0).map(Revision) {
            let slot = self.slots.entry(revision).or_default();
            if slot.known() {
                continue;
            }
            let here = events.iter().filter(|event| event.kv.modified == revision);
            let here = here.map(|event| (event.kv.key.clone(), event.deleted)).collect();
            slot.covers.push((cover.clone(), here));
            self.ambiguous = false;
        }
    }

    /// All rows an answer shows are evidence of who made their revisions.
    pub(super) fn witness_body(&mut self, done: &Done) -> Verdict {
        if self.slots.is_empty() && done.revision <= self.model.head() {
            return Ok(());
        }
        match (&done.body, &done.op.request) {
            (Body::Range(reply), Request::Range(range)) if !range.keys_only => {
                for kv in &reply.kvs {
                    self.witness(done.returned, kv.modified, &kv.key, Some(&kv.value))?;
                }
                Ok(())
            }
            (Body::Put(PutReply { prev_kv: Some(kv) }), _) => {
                self.witness(done.returned, kv.modified, &kv.key, Some(&kv.value))
            }
            (Body::DeleteRange(reply), _) => {
                for kv in &reply.prev_kvs {
                    self.witness(done.returned, kv.modified, &kv.key, Some(&kv.value))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// This operation must have made this revision.
    pub(super) fn name(&mut self, at: Moment, revision: Revision, id: OpId) -> Verdict {
        let slot = self.slots.entry(revision).or_default();
        let owner = slot.answered.as_ref().map(|done| done.op.id).or(slot.named);
        match owner {
            Some(owner) if owner == id => return Ok(()),
            Some(owner) => return Err(two_owners(at, revision, id, owner)),
            None => {}
        }
        if self.refused.contains(&id) {
            return Err(impossible(at, id, revision));
        }
        // One that has answered owns its own revision; if that is another one, replay will show the difference.
        if self.open.contains_key(&id) || self.unknown.contains_key(&id) {
            slot.named = Some(id);
            self.ambiguous = false;
        }
        Ok(())
    }

    /// Everyone who may have made this revision has returned.
    fn is_settled(&self, revision: Revision) -> bool {
        let first = self.sightings.first(revision);
        self.open.values().all(|op| first < op.called || !op.request.may_write())
    }

    /// The ways to fill the gap right after the model's head.
    pub(super) fn candidates(&self, revision: Revision, used: &[OpId]) -> Vec<Candidate> {
        let empty = Slot::default();
        let slot = self.slots.get(&revision).unwrap_or(&empty);
        let before = revision.prev();
        let fits = |writes: &[Write]| !writes.is_empty() && slot.agrees(writes) && slot.covered(writes);
        let mut found = Vec::new();
        for op in self.unknown.values() {
            if self.spent.contains_key(&op.id) || used.contains(&op.id) || (revision, Side::Made) < op.floor.position {
                continue;
            }
            if self.model.evaluate(before, &op.request, None).is_some_and(|effect| fits(&effect.writes)) {
                found.push(Candidate::Op(op.id));
            }
        }
        let ends = |lease: LeaseId| {
            let effect = self.model.evaluate(before, &Request::LeaseRevoke { lease }, None);
            effect.is_some_and(|effect| fits(&effect.writes))
        };
        for (n, done) in self.parked.get(&revision).into_iter().flatten().enumerate() {
            if let Request::LeaseRevoke { lease } = done.op.request
                && ends(lease)
            {
                found.push(Candidate::Revoke(n));
            }
        }
        let seen = self.sightings.first(revision).nanos;
        for lease in self.model.attached_leases(before) {
            // A lease nobody saw granted (its grant's outcome is unknown) may end at any time.
            let due = self.lease_ends.get(&lease).is_none_or(|end| *end <= seen);
            if due && ends(lease) {
                found.push(Candidate::Ended(lease));
            }
        }
        found
    }

    /// Fills the next revision if it is settled and only one way is left. `false`: it is not.
    pub(super) fn fill_only_candidate(&mut self, at: Moment, revision: Revision) -> Verdict<bool> {
        if !self.is_settled(revision) {
            return Ok(false);
        }
        match self.candidates(revision, &[])[..] {
            [] => Err(fail(at, format!("{revision} exists, but nothing that was asked for explains it"))
                .with([Related::Revision(revision), Related::Moment(self.sightings.first(revision))])),
            [candidate] => {
                let (writes, past) = self.fill(revision, candidate);
                self.settle(at, revision, writes, past)?;
                Ok(true)
            }
            _ => {
                self.ambiguous = true;
                Ok(false)
            }
        }
    }

    /// What a candidate of `candidates` writes.
    pub(super) fn fill(&self, revision: Revision, candidate: Candidate) -> (Vec<Write>, Past) {
        let revoke;
        let (request, past) = match candidate {
            Candidate::Op(id) => (&self.unknown[&id].request, Past::Named(id)),
            Candidate::Revoke(n) => {
                let done = &self.parked[&revision][n];
                (&done.op.request, Past::Named(done.op.id))
            }
            Candidate::Ended(lease) => {
                revoke = Request::LeaseRevoke { lease };
                (&revoke, Past::Ended)
            }
        };
        let effect = self.model.evaluate(revision.prev(), request, None).expect("a candidate can be evaluated");
        (effect.writes, past)
    }

    /// Gives settled gaps with known deletes an operation each.
    pub(super) fn attribute(&mut self, at: Moment, finished: bool) -> Verdict {
        while let Some(&revision) = self.unattributed.waiting.first() {
            if !finished && !self.is_settled(revision) {
                break;
            }
            self.unattributed.waiting.remove(&revision);
            let before = revision.prev();
            let writes = self.model.writes(revision);
            let made = |request: &Request| {
                self.model.evaluate(before, request, None).is_some_and(|effect| effect.writes == writes)
            };
            let seen = self.sightings.first(revision).nanos;
            let mut leases = self.model.attached_leases(before);
            if leases.any(|lease| {
                self.lease_ends.get(&lease).is_none_or(|end| *end <= seen) && made(&Request::LeaseRevoke { lease })
            }) {
                continue;
            }
            drop(leases);
            let candidates = self
                .unknown
                .values()
                .filter(|op| !self.spent.contains_key(&op.id) && op.floor.position <= (revision, Side::Made))
                .filter(|op| made(&op.request))
                .map(|op| op.id)
                .collect();
            self.unattributed.candidates.insert(revision, candidates);
            if !self.unattributed.augment(revision, &mut BTreeSet::new()) {
                let message = format!("{revision} deletes {:?}, but nobody asked for that", writes[0].key);
                return Err(fail(at, message).with([Related::Revision(revision)]));
            }
        }
        Ok(())
    }
}
