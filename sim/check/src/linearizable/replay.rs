//! Replay: the model goes from revision to revision, and every answer is recomputed.

use std::sync::Arc;

use bytes::Bytes;

use super::gaps::Cover;
use super::order::Side;
use super::{Done, Linearizable, Op, fail, impossible, show};
use crate::history::*;
use crate::ids::*;
use crate::model::{Effect, Write};
use crate::violation::{Related, Verdict, Violation};

/// Keys, and whether each was deleted.
type Changes = Vec<(Bytes, bool)>;

/// What is known about a revision above the head.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// The operation that answered with it.
    pub answered: Option<Box<Done>>,
    /// The operation that must have made it although it has not answered (so).
    pub named: Option<OpId>,
    /// The lease whose end made it.
    pub ended: Option<LeaseId>,
    /// Everything it changed.
    pub writes: Option<Vec<Write>>,
    /// Some of what it changed: a value put, or `None` for a delete.
    pub seen: Vec<(Bytes, Option<Bytes>)>,
    /// Everything it changed inside the range of some watch: key and whether it was deleted.
    pub covers: Vec<(Arc<Cover>, Changes)>,
}

/// Who made a replayed revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// This operation, and it has said so.
    Answered(OpId),
    /// This operation, which has not answered (so).
    Named(OpId),
    /// Deletes only: this revoke, it seems. Its answer fits as well if somebody else deleted those keys just before it.
    Revoked(OpId),
    /// The end of a lease.
    Ended,
    /// Deletes only: one of several.
    Somebody,
}

impl Slot {
    /// Whether these writes are no more than watches have shown, too.
    pub fn covered(&self, writes: &[Write]) -> bool {
        self.covers.iter().all(|(cover, events)| {
            let wanted = writes.iter().filter(|write| cover.wants(write));
            wanted.map(|write| (&write.key, write.live.is_none())).eq(events.iter().map(|(key, gone)| (key, *gone)))
        })
    }

    /// Whether these writes agree with all that was seen of the revision.
    pub fn agrees(&self, writes: &[Write]) -> bool {
        if let Some(known) = &self.writes {
            return known == writes;
        }
        self.seen.iter().all(|(key, value)| {
            // A txn may put and delete a key in one revision; a watch shows both.
            let mut changes = writes.iter().filter(|write| write.key == key);
            changes.any(|write| write.live.as_ref().map(|live| &live.value) == value.as_ref())
        })
    }
}

impl Linearizable {
    /// Replays as far as the owners are known.
    pub fn advance(&mut self, at: Moment) -> Verdict {
        loop {
            let revision = self.model.head().next();
            if self.slots.get(&revision).is_some_and(|slot| slot.known()) {
                let (writes, past) = self.replay_slot(at, revision)?;
                self.settle(at, revision, writes, past)?;
            } else if self.ambiguous || self.sightings.newest() < revision || !self.fill_only_candidate(at, revision)? {
                break;
            }
        }
        self.attribute(at, false)?;
        self.forget();
        Ok(())
    }

    /// Makes a revision part of the past.
    pub(super) fn settle(&mut self, at: Moment, revision: Revision, writes: Vec<Write>, past: Past) -> Verdict {
        self.model.commit(writes);
        self.past.push_back(past);
        self.slots.remove(&revision);
        self.ambiguous = false;
        match past {
            Past::Named(id) => {
                if let Some(other) = self.spent.insert(id, revision) {
                    let message = format!("{id} took effect twice, at {other} and at {revision}");
                    return Err(fail(at, message).with([Related::Op(id), Related::Revision(revision)]));
                }
            }
            Past::Somebody => self.unattributed.push(revision),
            Past::Answered(_) | Past::Revoked(_) | Past::Ended => {}
        }
        for done in self.parked.remove(&revision).unwrap_or_default() {
            self.verify_seen(&done)?;
        }
        Ok(())
    }

    /// What the next revision writes, its owner known or its writes.
    pub(super) fn replay_slot(&self, at: Moment, revision: Revision) -> Verdict<(Vec<Write>, Past)> {
        let slot = &self.slots[&revision];
        if let Some(done) = &slot.answered {
            let writes = self.replay_answer(at, slot, done)?;
            return Ok((writes, Past::Answered(done.op.id)));
        }
        if let Some(id) = slot.named {
            return Ok((self.replay_unanswered(at, revision, slot, id)?, Past::Named(id)));
        }
        if let Some(lease) = slot.ended {
            let effect = self.model.evaluate(revision.prev(), &Request::LeaseRevoke { lease }, None);
            let writes = effect.map(|effect| effect.writes).unwrap_or_default();
            if writes.is_empty() || !slot.agrees(&writes) {
                let message = format!(
                    "the end of {lease} at {revision} deletes {}, but should delete {}",
                    show(&slot.writes),
                    show(&writes)
                );
                return Err(fail(at, message).with([Related::Lease(lease), Related::Revision(revision)]));
            }
            return Ok((writes, Past::Ended));
        }
        let writes = slot.writes.as_ref().expect("a known slot has an owner or writes");
        let Some(value) = writes.iter().find_map(|write| write.live.as_ref()).map(|live| &live.value) else {
            return Ok((writes.clone(), Past::Somebody));
        };
        let Some(&id) = self.writers.get(value) else {
            let message = format!("{revision} holds the value {value:?}, which nobody put");
            return Err(fail(at, message).with([Related::Revision(revision)]));
        };
        Ok((self.replay_unanswered(at, revision, slot, id)?, Past::Named(id)))
    }

    /// Recomputes the answer of the operation that made a revision.
    pub(super) fn replay_answer(&self, at: Moment, slot: &Slot, done: &Done) -> Verdict<Vec<Write>> {
        let effect = self.check_body(done, done.revision.prev())?;
        if effect.writes.is_empty() || !slot.agrees(&effect.writes) {
            let message = format!(
                "{} made {} and should have changed {}, but it changed {}",
                done.op.id,
                done.revision,
                show(&effect.writes),
                slot.writes.as_ref().map_or_else(|| show(&slot.seen), |writes| show(writes))
            );
            return Err(fail(at, message).with([Related::Op(done.op.id), Related::Revision(done.revision)]));
        }
        Ok(effect.writes)
    }

    /// Recomputes the effect of an operation that has not answered but must have made `revision`.
    pub(super) fn replay_unanswered(
        &self,
        at: Moment,
        revision: Revision,
        slot: &Slot,
        id: OpId,
    ) -> Verdict<Vec<Write>> {
        let related = [Related::Op(id), Related::Revision(revision)];
        let Some(op) = self.unanswered(id) else {
            if self.refused.contains(&id) {
                return Err(impossible(at, id, revision));
            }
            let message = format!("{revision} was made by {id}, which answered with another revision");
            return Err(fail(at, message).with(related));
        };
        self.in_real_time(op, (revision, Side::Made), at)?;
        let writes = self.model.evaluate(revision.prev(), &op.request, None).map(|effect| effect.writes);
        match writes {
            Some(writes) if !writes.is_empty() && slot.agrees(&writes) => Ok(writes),
            writes => {
                let message = format!(
                    "{revision} was made by {id}, which should have changed {}, but it changed {}",
                    show(&writes),
                    slot.writes.as_ref().map_or_else(|| show(&slot.seen), |writes| show(writes))
                );
                Err(fail(at, message).with(related))
            }
        }
    }

    /// An operation whose answer is not known (yet).
    pub(super) fn unanswered(&self, id: OpId) -> Option<&Op> {
        self.open.get(&id).or_else(|| self.unknown.get(&id))
    }

    /// An operation says that it made a revision.
    pub(super) fn made(&mut self, done: Done) -> Verdict {
        let (at, id, revision) = (done.returned, done.op.id, done.revision);
        if let Some(other) = self.spent.remove(&id)
            && other != revision
        {
            let message = format!("{id} made {other} but answers {revision}");
            return Err(fail(at, message).with([Related::Op(id), Related::Revision(other)]));
        }
        if revision <= Revision::FIRST {
            return Err(fail(at, format!("{id} answers {revision}, which no write can make")).with([Related::Op(id)]));
        }
        if self.model.head() < revision {
            let slot = self.slots.entry(revision).or_default();
            let other = slot.answered.as_ref().map(|other| other.op.id).or(slot.named.filter(|named| *named != id));
            if let Some(other) = other {
                return Err(two_owners(at, revision, id, other));
            }
            slot.answered = Some(Box::new(done));
            return Ok(());
        }
        let Some(place) = self.place(revision) else { return Ok(()) };
        let past = &mut self.past[place];
        match *past {
            Past::Named(other) | Past::Answered(other) if other != id => {
                return Err(two_owners(at, revision, id, other));
            }
            Past::Ended => {
                let message = format!("{id} answers {revision}, which the end of a lease made");
                return Err(fail(at, message).with([Related::Op(id), Related::Revision(revision)]));
            }
            Past::Somebody => self.unattributed.remove(revision),
            Past::Named(_) | Past::Answered(_) | Past::Revoked(_) => {}
        }
        *past = Past::Answered(id);
        let effect = self.check_body(&done, revision.prev())?;
        if effect.writes != self.model.writes(revision) {
            let message = format!(
                "{id} made {revision} and should have changed {}, but it changed {}",
                show(&effect.writes),
                show(&self.model.writes(revision))
            );
            return Err(fail(at, message).with([Related::Op(id), Related::Revision(revision)]));
        }
        Ok(())
    }

    /// An operation saw a replayed revision and changed nothing.
    pub(super) fn verify_seen(&mut self, done: &Done) -> Verdict {
        if done.revision < self.model.oldest() {
            return Ok(()); // forgotten
        }
        if let Request::LeaseRevoke { lease } = done.op.request {
            return self.verify_revoke(done, lease);
        }
        self.check_seen(done)
    }

    /// The same, without side effects.
    pub(super) fn check_seen(&self, done: &Done) -> Verdict {
        if done.revision < self.model.oldest() {
            return Ok(()); // forgotten
        }
        let effect = self.check_body(done, done.revision)?;
        if effect.writes.is_empty() {
            return Ok(());
        }
        let message = format!("{} changed nothing at {}, but should have", done.op.id, done.revision);
        Err(fail(done.returned, message).with([Related::Op(done.op.id)]))
    }

    /// A revoke's answer does not say whether keys went: either it made its revision, or there was nothing to delete.
    fn verify_revoke(&mut self, done: &Done, lease: LeaseId) -> Verdict {
        let (revision, id) = (done.revision, done.op.id);
        if self.made_by_revoke(done, lease)
            && let Some(place) = self.place(revision)
        {
            let past = &mut self.past[place];
            if matches!(*past, Past::Somebody | Past::Ended) || *past == Past::Named(id) {
                let is_certain = *past != Past::Somebody;
                if !is_certain {
                    self.unattributed.remove(revision);
                }
                *past = if is_certain { Past::Answered(id) } else { Past::Revoked(id) };
                self.spent.remove(&id);
                return Ok(());
            }
        }
        self.check_revoked(done, lease)
    }

    /// Whether the revision is what this revoke would do.
    pub(super) fn made_by_revoke(&self, done: &Done, lease: LeaseId) -> bool {
        let revision = done.revision;
        let too_late = (revision, Side::Made) < done.op.floor.position;
        if too_late || revision <= Revision::FIRST || self.model.attached(lease, revision.prev()).next().is_none() {
            return false;
        }
        let effect = self.model.evaluate(revision.prev(), &Request::LeaseRevoke { lease }, None);
        effect.is_some_and(|effect| effect.writes == self.model.writes(revision))
    }

    pub(super) fn check_revoked(&self, done: &Done, lease: LeaseId) -> Verdict {
        let Some(key) = self.model.attached(lease, done.revision).next() else { return Ok(()) };
        let (id, revision) = (done.op.id, done.revision);
        let message = format!("{id} revoked {lease} by {revision}, but {key:?} is still attached to it there");
        Err(fail(done.returned, message).with([Related::Op(id), Related::Lease(lease)]))
    }

    /// Recomputes an answer in the state after `before`.
    fn check_body(&self, done: &Done, before: Revision) -> Verdict<Effect> {
        match self.model.evaluate(before, &done.op.request, Some(&done.body)) {
            Some(effect) if effect.body == done.body => Ok(effect),
            effect => {
                let id = done.op.id;
                let message = format!(
                    "{id} answered at {}: {}; it asked {}",
                    done.revision,
                    difference(effect.as_ref().map(|effect| &effect.body), &done.body),
                    done.op.request
                );
                Err(fail(done.returned, message).with([Related::Op(id), Related::Revision(done.revision)]))
            }
        }
    }
}

impl Slot {
    pub fn known(&self) -> bool {
        self.answered.is_some() || self.named.is_some() || self.ended.is_some() || self.writes.is_some()
    }
}

pub(super) fn two_owners(at: Moment, revision: Revision, one: OpId, other: OpId) -> Box<Violation> {
    let message = format!("{one} and {other} both made {revision}");
    fail(at, message).with([Related::Op(one), Related::Op(other), Related::Revision(revision)])
}

/// How a received answer differs from the computed one.
pub(super) fn difference(expected: Option<&Body>, got: &Body) -> String {
    match (expected, got) {
        (None, _) => "the store would have refused it".to_string(),
        (Some(Body::Range(expected)), Body::Range(got)) => {
            if expected.count != got.count {
                return format!("count {} instead of {}", got.count, expected.count);
            }
            if expected.more != got.more {
                return format!("more {} instead of {}", got.more, expected.more);
            }
            let n = expected.kvs.iter().zip(&got.kvs).take_while(|(a, b)| a == b).count();
            format!("row {n} is {} instead of {}", show(&got.kvs.get(n)), show(&expected.kvs.get(n)))
        }
        (Some(expected), got) => format!("{} instead of {}", show(got), show(expected)),
    }
}
