//! The counters that order everything: revisions, positions inside a revision, lease ids.

/// A main revision: the store's one counter. Every command that changes a key moves it by one.
///
/// The empty store is at 1, so the first write makes 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision of a store that was never written.
    pub const EMPTY_STORE: Revision = Revision(1);
    /// The compaction floor of a store that was never compacted. Every revision is above it.
    pub const NEVER_COMPACTED: Revision = Revision(-1);
    /// The last revision there can be: the one after it is still a number.
    pub const MAX: Revision = Revision(i64::MAX - 1);
}

/// Names a lease. Any sign is a valid id; 0 means "no lease".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// No lease at all.
    pub const NONE: LeaseId = LeaseId(0);
}

/// Where a version stands in the history of the store: the `sub`-th change of revision `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub main: i64,
    pub sub: u32,
}

impl At {
    /// The last position a revision can have.
    pub fn end_of(main: i64) -> At {
        At { main, sub: u32::MAX }
    }

    /// The first position of a revision.
    pub fn start_of(main: i64) -> At {
        At { main, sub: 0 }
    }
}
