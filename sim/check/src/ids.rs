//! Names and numbers that never mix: moments, members, operations, revisions, terms.

use std::fmt;

use serde::Serialize;

/// A point of simulated time. The sequence number is global, so no two moments are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Moment {
    /// Nanoseconds since the run began.
    pub nanos: u64,
    /// Position among all events of the run.
    pub seq: u64,
}

impl Moment {
    /// After everything.
    pub const NEVER: Moment = Moment { nanos: u64::MAX, seq: u64::MAX };

    /// A moment.
    pub const fn new(nanos: u64, seq: u64) -> Self {
        Moment { nanos, seq }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s#{}", self.nanos / NANOS_PER_SECOND, self.nanos % NANOS_PER_SECOND / 1_000, self.seq)
    }
}

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

macro_rules! number {
    ($(#[doc = $doc:literal])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number! {
    /// One operation of one client. Unique in the run.
    OpId(u64), "op"
}
number! {
    /// One logical client.
    ClientId(u64), "c"
}
number! {
    /// One member of the cluster.
    MemberId(u64), "n"
}
number! {
    /// One gRPC watch stream. Unique in the run.
    StreamId(u64), "stream"
}
number! {
    /// One create request on a watch stream. Unique in the run; not etcd's `watch_id`.
    WatchKey(u64), "watch"
}
number! {
    /// A store revision. An empty store is at 1.
    Revision(i64), "r"
}
number! {
    /// A lease. 0 is none.
    LeaseId(i64), "lease"
}
number! {
    /// A leader's reign.
    Term(u64), "t"
}
number! {
    /// A position in the raft log. The first entry is 1.
    Index(u64), "i"
}

impl Revision {
    /// The revision of an empty store.
    pub const FIRST: Revision = Revision(1);

    /// The revision after this one.
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
    /// The revision before this one.
    pub const fn prev(self) -> Revision {
        Revision(self.0 - 1)
    }
}

impl MemberId {
    /// Whoever had this name before its disk was lost.
    pub const fn before(self) -> MemberId {
        MemberId(self.0 + BEFORE)
    }
}

/// Above the number of any machine.
const BEFORE: u64 = 1_000;

impl LeaseId {
    /// No lease.
    pub const NONE: LeaseId = LeaseId(0);
}
