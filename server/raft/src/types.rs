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
    /// A new configuration, in force from the moment the entry is in a member's log.
    Config(Arc<ConfigEntry>),
}

/// The whole configuration an entry puts in force, and what it tells the state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfigEntry {
    /// Who takes part from here on.
    pub configuration: Configuration,
    /// Opaque to Raft; empty when the leader leaves a joint configuration by itself.
    pub data: Arc<[u8]>,
}

impl Payload {
    /// Bytes this payload counts for in every size limit.
    pub fn size_bytes(&self) -> usize {
        match self {
            Payload::Empty => 0,
            Payload::Data(data) => data.len(),
            Payload::Config(entry) => entry.configuration.size_bytes() + entry.data.len(),
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

/// Who takes part. *Joint* while `outgoing` is not empty: then every decision needs a majority of `voters` and one of
/// `outgoing` (Raft paper, section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// Members that vote and count for commit.
    pub voters: BTreeSet<NodeId>,
    /// While joint: the voters before, whose majority is needed too.
    pub outgoing: BTreeSet<NodeId>,
    /// Members that receive the log only. One that is in `outgoing` as well votes until the joint configuration ends.
    pub learners: BTreeSet<NodeId>,
}

impl Configuration {
    /// Two majorities are needed.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// It votes, in either half.
    pub fn is_voter(&self, member: NodeId) -> bool {
        self.voters.contains(&member) || self.outgoing.contains(&member)
    }

    /// It takes part.
    pub fn contains(&self, member: NodeId) -> bool {
        self.is_voter(member) || self.learners.contains(&member)
    }

    /// Everybody who takes part, each once, in order.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// What follows a joint configuration.
    #[must_use]
    pub fn left(&self) -> Configuration {
        Configuration { outgoing: BTreeSet::new(), ..self.clone() }
    }

    /// Whether a correct cluster can have it: somebody votes, nobody is both voter and learner, 0 is nobody.
    pub fn is_possible(&self) -> bool {
        !self.voters.is_empty() && self.voters.is_disjoint(&self.learners) && !self.contains(NodeId(0))
    }

    fn size_bytes(&self) -> usize {
        8 * (self.voters.len() + self.outgoing.len() + self.learners.len())
    }
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
