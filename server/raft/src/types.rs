//! The words of the protocol: terms, indexes, entries, and who takes part.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::fmt;

/// A member of the cluster. 0 is nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A leader's reign. 0 is before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// Position in the log. The first entry is 1; 0 means "before the log".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Term {
    /// The term after this one.
    pub const fn next(self) -> Term {
        Term(self.0 + 1)
    }
}
impl Index {
    /// The index after this one.
    pub const fn next(self) -> Index {
        Index(self.0 + 1)
    }
    /// The index before this one; 0 stays 0.
    pub const fn prev(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A new leader's first entry: it lets entries of earlier terms commit.
    Empty,
    /// A command for the state machine, opaque to Raft.
    Data(Arc<[u8]>),
}

impl Payload {
    /// Bytes this payload counts for in every size limit.
    pub fn size_bytes(&self) -> usize {
        match self {
            Payload::Empty => 0,
            Payload::Data(data) => data.len(),
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// What it says.
    pub payload: Payload,
}

/// What a member must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// Whom this member voted for in `term`.
    pub vote: Option<NodeId>,
}

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// Members that vote and count for commit.
    pub voters: BTreeSet<NodeId>,
    /// Members that receive the log only.
    pub learners: BTreeSet<NodeId>,
}

/// Names a snapshot: the state after applying `index`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotMeta {
    /// The last entry the snapshot contains.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// The configuration as of `index`.
    pub configuration: Configuration,
}
