//! Requests that wait for their entry to be applied, and what is known of the way it went.
//!
//! A proposal handed to the leader of term *t*, by message or by this member's own core, can enter a log in term *t*
//! alone: the core drops a forwarded one of another term. Committed entries have ever growing terms. So when this
//! member has applied an entry of a later term, and not the proposal's, **the proposal is lost for certain**, and may
//! be proposed again without ever being applied twice. That is how a request survives the death of its leader: it
//! waits for the next one, and nobody has to guess.
//!
//! A snapshot applies entries without showing them: what was proposed until its last entry's term stays in doubt, and
//! its client hears of a time-out.

use std::collections::BTreeMap;
use std::sync::Mutex;

use evenkeel_raft::{Data, Term};
use tokio::sync::oneshot;

use crate::error::RequestError;
use crate::member::Reply;

/// What the client of a request gets.
pub type Answer = Result<Reply, RequestError>;

struct Waiter {
    reply: oneshot::Sender<Answer>,
    proposed: Option<Proposed>,
}

struct Proposed {
    /// To the leader of this term.
    term: Term,
    /// None: it is for one term only, and not to be tried again.
    again: Option<Data>,
}

/// A proposal that will never be applied.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    /// The request.
    pub id: u64,
    /// To be proposed again; none for one that was meant for that term only.
    pub again: Option<Data>,
}

/// See the module's text.
#[derive(Default)]
pub struct Waiters(Mutex<BTreeMap<u64, Waiter>>);

impl Waiters {
    /// Somebody waits for request `id`.
    pub fn add(&self, id: u64) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.open().insert(id, Waiter { reply, proposed: None });
        answer
    }

    /// Nobody waits any more.
    pub fn forget(&self, id: u64) {
        self.open().remove(&id);
    }

    /// Whether somebody waits.
    pub fn awaits(&self, id: u64) -> bool {
        self.open().contains_key(&id)
    }

    /// Answers whoever waits.
    pub fn answer(&self, id: u64, answer: Answer) {
        if let Some(waiter) = self.open().remove(&id) {
            let _ = waiter.reply.send(answer);
        }
    }

    /// It was given to the leader of `term`.
    pub fn proposed(&self, id: u64, term: Term, again: Option<Data>) {
        if let Some(waiter) = self.open().get_mut(&id) {
            waiter.proposed = Some(Proposed { term, again });
        }
    }

    /// An entry of `term` was applied: names the proposals of earlier terms that still wait. Each once.
    pub fn lost_before(&self, term: Term) -> Vec<Lost> {
        self.take_proposed(|of| of < term)
    }

    /// A snapshot takes the place of entries up to `term`: nobody can say of the proposals until then.
    pub fn in_doubt_until(&self, term: Term) {
        self.take_proposed(|of| of <= term);
    }

    fn take_proposed(&self, of: impl Fn(Term) -> bool) -> Vec<Lost> {
        let mut open = self.open();
        let waiters = open.iter_mut();
        waiters
            .filter_map(|(id, waiter)| {
                let lost = waiter.proposed.take_if(|proposed| of(proposed.term))?;
                Some(Lost { id: *id, again: lost.again })
            })
            .collect()
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waiter>> {
        self.0.lock().expect("not poisoned")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(terms: &[u64]) -> (Waiters, Vec<oneshot::Receiver<Answer>>) {
        let waiters = Waiters::default();
        let ids = 1..=terms.len() as u64;
        let answers = ids.clone().map(|id| waiters.add(id)).collect();
        ids.zip(terms).for_each(|(id, term)| waiters.proposed(id, Term(*term), Some([id as u8].into())));
        (waiters, answers)
    }

    fn lost(waiters: &Waiters, term: u64) -> Vec<u64> {
        waiters.lost_before(Term(term)).into_iter().map(|lost| lost.id).collect()
    }

    #[test]
    fn a_proposal_is_lost_once_and_only_when_a_later_term_was_applied() {
        let (waiters, _answers) = proposed(&[3, 4, 5]);
        assert!(lost(&waiters, 3).is_empty());
        assert_eq!(lost(&waiters, 5), [1, 2]);
        assert!(lost(&waiters, 5).is_empty());
        waiters.proposed(1, Term(5), Some([1].into()));
        assert_eq!(lost(&waiters, 6), [1, 3]);
    }

    #[test]
    fn what_was_answered_or_never_left_is_not_lost() {
        let (waiters, _answers) = proposed(&[3, 3]);
        let _parked = waiters.add(9);
        waiters.answer(1, Err(RequestError::NotLeader));
        waiters.forget(2);
        assert!(lost(&waiters, 9).is_empty());
        assert!(waiters.awaits(9) && !waiters.awaits(1) && !waiters.awaits(2));
    }

    #[test]
    fn what_a_snapshot_may_hold_is_never_tried_again() {
        let (waiters, _answers) = proposed(&[3, 4, 5]);
        waiters.in_doubt_until(Term(4));
        assert_eq!(lost(&waiters, 9), [3]);
        assert!(waiters.awaits(1));
    }
}
