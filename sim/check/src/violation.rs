//! What an oracle says when a promise was broken.

use std::fmt;

use serde::Serialize;

use crate::ids::*;

/// Something the reader of a violation wants to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Related {
    /// A client operation.
    Op(OpId),
    /// A watch.
    Watch(WatchKey),
    /// A member.
    Member(MemberId),
    /// A lease.
    Lease(LeaseId),
    /// A store revision.
    Revision(Revision),
    /// A log position.
    Index(Index),
    /// Another moment of the run.
    Moment(Moment),
}

impl fmt::Display for Related {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Related::Op(id) => id.fmt(f),
            Related::Watch(id) => id.fmt(f),
            Related::Member(id) => id.fmt(f),
            Related::Lease(id) => id.fmt(f),
            Related::Revision(id) => id.fmt(f),
            Related::Index(id) => id.fmt(f),
            Related::Moment(id) => id.fmt(f),
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The oracle that noticed.
    pub oracle: &'static str,
    /// When it could be noticed first.
    pub at: Moment,
    /// One sentence for a reader.
    pub message: String,
    /// The operations, members and revisions that explain it.
    pub related: Vec<Related>,
    /// The oracle could not decide. Counts as a failure of the testbed, never as a pass.
    pub inconclusive: bool,
}

/// Nothing, or the first broken promise. An oracle that has answered `Err` is not asked again.
pub type Verdict<T = ()> = Result<T, Box<Violation>>;

impl Violation {
    /// A violation as an error value.
    pub fn new(oracle: &'static str, at: Moment, message: String) -> Box<Violation> {
        Box::new(Violation { oracle, at, message, related: Vec::new(), inconclusive: false })
    }

    /// Adds what to look at.
    #[must_use]
    pub fn with(mut self: Box<Self>, related: impl IntoIterator<Item = Related>) -> Box<Self> {
        self.related.extend(related);
        self
    }

    /// Says that the oracle gave up.
    #[must_use]
    pub fn inconclusive(mut self: Box<Self>) -> Box<Self> {
        self.inconclusive = true;
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}", self.oracle, self.at, self.message)?;
        for (n, related) in self.related.iter().enumerate() {
            write!(f, "{}{related}", if n == 0 { " (see " } else { ", " })?;
        }
        f.write_str(if self.related.is_empty() { "" } else { ")" })
    }
}
