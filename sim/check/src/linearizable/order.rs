//! The order the revisions give, and the only real-time rule there is.
//!
//! Slot by revision; inside a slot first the operation that made the revision, then those that saw it. A pair is wrong
//! if and only if `x` stands before `y` but `y` had returned before `x` was called. When `x` is called, all such `y`
//! are known: the highest position anyone has seen by then is the *floor* of `x`, and `x` must not land below it.

use std::collections::VecDeque;

use crate::ids::*;

/// Where in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Made the revision.
    Made,
    /// Saw it.
    Saw,
}

/// A place in the order.
pub(super) type Position = (Revision, Side);

/// The highest position known, and who showed it when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub position: Position,
    pub seen: Moment,
    pub by: Option<OpId>,
}

impl Floor {
    pub fn new() -> Self {
        Floor { position: (Revision::FIRST, Side::Saw), seen: Moment::default(), by: None }
    }

    pub fn raise(&mut self, position: Position, seen: Moment, by: Option<OpId>) {
        if self.position < position {
            *self = Floor { position, seen, by };
        }
    }
}

/// When each revision, or a later one, was first seen by anyone.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings(VecDeque<(Revision, Moment)>);

impl Sightings {
    pub fn saw(&mut self, revision: Revision, at: Moment) {
        if self.newest() < revision {
            self.0.push_back((revision, at));
        }
    }

    /// The newest revision seen.
    pub fn newest(&self) -> Revision {
        self.0.back().map_or(Revision::FIRST, |(revision, _)| *revision)
    }

    /// The newest revision seen before that moment.
    pub fn newest_at(&self, at: Moment) -> Revision {
        let n = self.0.partition_point(|(_, seen)| *seen < at);
        n.checked_sub(1).map_or(Revision::FIRST, |n| self.0[n].0)
    }

    /// Forgets when revisions before this one were first seen: later is said of them then.
    pub fn forget(&mut self, oldest: Revision) {
        let upto = self.0.partition_point(|(seen, _)| *seen < oldest);
        self.0.drain(..upto);
    }

    /// Whoever made this revision was called before that moment.
    pub fn first(&self, revision: Revision) -> Moment {
        let n = self.0.partition_point(|(seen, _)| *seen < revision);
        self.0.get(n).map_or(Moment::NEVER, |(_, at)| *at)
    }
}
