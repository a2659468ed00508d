//! A general linearizability checker for small histories: Wing and Gong's search with Lowe's memory of failed states.
//!
//! It knows nothing of the order the revisions give: it tries every order that real time allows, and an answer's
//! revision is just one more field to match. Slow and simple, it keeps [`crate::linearizable`] honest in tests.
//! Not supported: serializable reads, compaction, and leases that end by themselves.

use std::collections::BTreeSet;

use crate::history::*;
use crate::ids::*;
use crate::model::Model;

/// The largest history it takes.
pub const OPERATIONS_MAX: usize = 60;

/// An operation; `answer` is missing when its outcome is unknown.
#[derive(Clone, Debug)]
pub struct Operation {
    /// When it was called.
    pub called: Moment,
    /// What was asked.
    pub request: Request,
    /// When it returned, with which revision and body.
    pub answer: Option<(Moment, Revision, Body)>,
}

struct Search<'a> {
    history: &'a [Operation],
    /// Operations that must take place.
    answered: u64,
    model: Model,
    failed: BTreeSet<(u64, Revision, u64)>,
}

/// Whether some order of the operations explains all answers, beginning with an empty store.
///
/// # Panics
/// When the history is longer than [`OPERATIONS_MAX`].
pub fn is_linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= OPERATIONS_MAX, "{} operations are too many", history.len());
    let answered = history.iter().enumerate().filter(|(_, op)| op.answer.is_some()).map(|(n, _)| 1 << n).sum();
    Search { history, answered, model: Model::default(), failed: BTreeSet::new() }.from(0)
}

impl Search<'_> {
    fn from(&mut self, done: u64) -> bool {
        if done & self.answered == self.answered {
            return true;
        }
        if !self.failed.insert((done, self.model.head(), self.model.digest())) {
            return false;
        }
        let history = self.history;
        let todo = || history.iter().enumerate().filter(move |(n, _)| done & (1 << n) == 0);
        let first_return = todo().filter_map(|(_, op)| op.answer.as_ref()).map(|(returned, ..)| *returned).min();
        for (n, op) in todo().filter(|(_, op)| first_return.is_none_or(|first| op.called < first)) {
            let head = self.model.head();
            let like = op.answer.as_ref().map(|(_, _, body)| body);
            let Some(effect) = self.model.evaluate(head, &op.request, like) else { continue };
            let revision = if effect.writes.is_empty() { head } else { head.next() };
            match &op.answer {
                Some((_, answered, body)) if (*answered, body) != (revision, &effect.body) => continue,
                None if effect.writes.is_empty() => continue,
                _ => {}
            }
            let wrote = !effect.writes.is_empty();
            if wrote {
                self.model.commit(effect.writes);
            }
            if self.from(done | (1 << n)) {
                return true;
            }
            if wrote {
                self.model.undo();
            }
        }
        false
    }
}
