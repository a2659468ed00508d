//! The last resort: a bounded search over the gaps that evidence has left open.
//!
//! Depth first in increasing revision. Between the gaps everything is forced, and every recomputed answer prunes. A
//! failed (revision, used operations, state) is not tried again.

use std::collections::BTreeSet;

use super::gaps::Candidate;
use super::replay::Past;
use super::{Done, Linearizable, SEARCH_BUDGET, fail};
use crate::history::Request;
use crate::ids::*;
use crate::model::{Mix, Write};
use crate::violation::{Related, Verdict, Violation};

/// One revision on the path.
struct Step {
    /// `None`: the owner has answered or was named.
    candidates: Option<Vec<Candidate>>,
    next: usize,
    used: Option<OpId>,
    past: Past,
}

impl Linearizable {
    /// Replays everything up to the newest revision anyone has seen.
    pub(super) fn search(&mut self, at: Moment) -> Verdict {
        let base = self.model.head();
        let goal = self.sightings.newest().max(self.slots.keys().next_back().copied().unwrap_or_default());
        if goal <= base {
            return self.check_leftovers(at);
        }
        let mut path: Vec<Step> = Vec::new();
        let mut used: Vec<OpId> = Vec::new();
        let mut failed: BTreeSet<(Revision, u64, u64)> = BTreeSet::new();
        let mut deepest: Option<(Revision, Box<Violation>)> = None;
        let mut spent = 0;
        while self.model.head() < goal {
            let revision = self.model.head().next();
            path.push(self.step_at(revision, &used));
            // Try the next way here; without one, step back.
            loop {
                let revision = self.model.head().next();
                let Some(step) = path.last_mut() else {
                    let (_, violation) = deepest.expect("a failed search has failed somewhere");
                    return Err(violation);
                };
                spent += 1;
                if SEARCH_BUDGET < spent {
                    let message = format!("gave up at {revision} after {SEARCH_BUDGET} steps of the gap search");
                    return Err(fail(at, message).with([Related::Revision(revision)]).inconclusive());
                }
                let way = match &step.candidates {
                    None => (step.next == 0).then_some(None),
                    Some(candidates) => candidates.get(step.next).map(|candidate| Some(*candidate)),
                };
                step.next += 1;
                let Some(way) = way else {
                    if step.candidates.as_ref().is_some_and(Vec::is_empty) {
                        let message = format!("{revision} exists, but nothing that was asked for explains it");
                        note(&mut deepest, revision, fail(at, message).with([Related::Revision(revision)]));
                    }
                    path.pop();
                    if let Some(previous) = path.last_mut() {
                        self.model.undo();
                        if previous.used.take().is_some() {
                            used.pop();
                        }
                    }
                    continue;
                };
                match self.attempt(at, revision, way, &used) {
                    Ok((writes, past)) => {
                        self.model.commit(writes);
                        let took = match (past, way) {
                            (Past::Named(id), None | Some(Candidate::Op(_))) => Some(id),
                            _ => None,
                        };
                        used.extend(took);
                        let fits = self.check_parked(revision, past);
                        if let Err(violation) = fits {
                            note(&mut deepest, revision, violation);
                        } else if way.is_none() || failed.insert((revision, digest(&used), self.model.digest())) {
                            let step = path.last_mut().expect("the step just tried");
                            (step.used, step.past) = (took, past);
                            break;
                        }
                        self.model.undo();
                        if took.is_some() {
                            used.pop();
                        }
                    }
                    Err(violation) => note(&mut deepest, revision, violation),
                }
            }
        }
        for (n, step) in path.into_iter().enumerate() {
            let revision = Revision(base.0 + 1 + n as i64);
            self.past.push_back(step.past);
            if step.past == Past::Somebody {
                self.unattributed.push(revision);
            }
            if let Past::Named(id) = step.past {
                self.spent.insert(id, revision);
            }
            self.slots.remove(&revision);
            for done in self.parked.remove(&revision).unwrap_or_default() {
                self.verify_seen(&done)?;
            }
        }
        self.check_leftovers(at)
    }

    fn step_at(&self, revision: Revision, used: &[OpId]) -> Step {
        let forced = self.slots.get(&revision).is_some_and(|slot| slot.known());
        let candidates = (!forced).then(|| self.candidates(revision, used));
        Step { candidates, next: 0, used: None, past: Past::Somebody }
    }

    fn attempt(
        &self,
        at: Moment,
        revision: Revision,
        way: Option<Candidate>,
        used: &[OpId],
    ) -> Verdict<(Vec<Write>, Past)> {
        match way {
            Some(candidate) => Ok(self.fill(revision, candidate)),
            None => {
                let (writes, past) = self.replay_slot(at, revision)?;
                match past {
                    Past::Named(id) if used.contains(&id) || self.spent.contains_key(&id) => {
                        Err(fail(at, format!("{id} took effect twice, the second time at {revision}"))
                            .with([Related::Op(id)]))
                    }
                    _ => Ok((writes, past)),
                }
            }
        }
    }

    /// Whether all that was seen of this revision fits.
    fn check_parked(&self, revision: Revision, past: Past) -> Verdict {
        let check = |done: &Done| match done.op.request {
            Request::LeaseRevoke { lease } => {
                let may_own = past == Past::Ended || past == Past::Named(done.op.id) || past == Past::Somebody;
                if may_own && self.made_by_revoke(done, lease) { Ok(()) } else { self.check_revoked(done, lease) }
            }
            _ => self.check_seen(done),
        };
        self.parked.get(&revision).into_iter().flatten().try_for_each(check)
    }

    fn check_leftovers(&self, at: Moment) -> Verdict {
        match self.parked.values().flatten().next() {
            None => Ok(()),
            Some(done) => {
                let message = format!("{} answers {}, which never existed", done.op.id, done.revision);
                Err(fail(at, message).with([Related::Op(done.op.id)]))
            }
        }
    }
}

/// Keeps the violation furthest in: it says most.
fn note(deepest: &mut Option<(Revision, Box<Violation>)>, revision: Revision, violation: Box<Violation>) {
    if deepest.as_ref().is_none_or(|(at, _)| *at < revision) {
        *deepest = Some((revision, violation));
    }
}

fn digest(used: &[OpId]) -> u64 {
    let mut sorted = used.to_vec();
    sorted.sort_unstable();
    let mut mix = Mix::default();
    sorted.iter().for_each(|id| mix.number(id.0));
    mix.0
}
