//! What a command or a read can be refused with.

use crate::revision::Revision;
use core::fmt;

/// Why a request was refused. A refused command changes nothing, on every member alike.
///
/// Closed on purpose: the texts and codes clients see are chosen by whoever speaks to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A key is missing where one is needed.
    EmptyKey,
    /// A put that keeps the old value or lease names a key that does not exist.
    KeyNotFound,
    /// The revision is below the compaction floor.
    Compacted {
        /// The floor: the oldest revision that can still be read.
        compacted: Revision,
    },
    /// The revision has not happened yet.
    FutureRevision {
        /// The newest revision.
        current: Revision,
    },
    /// No lease has this id.
    LeaseNotFound,
    /// A lease with this id exists already.
    LeaseExists,
    /// The time to live is above the maximum.
    LeaseTtlTooLarge,
    /// One transaction branch changes a key twice.
    DuplicateKey,
    /// A transaction has too many operations, or nests too deep.
    TooManyOps,
    /// A put says to keep the old value and brings one.
    ValueProvided,
    /// A put says to keep the old lease and brings one.
    LeaseProvided,
    /// Unknown sort order or sort target.
    InvalidSort,
    /// The revision counter is at its maximum; the store is read-only from here on.
    RevisionsExhausted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::EmptyKey => f.write_str("a key is missing"),
            Error::KeyNotFound => f.write_str("the key does not exist"),
            Error::Compacted { compacted } => write!(f, "the revision is below the compaction floor {}", compacted.0),
            Error::FutureRevision { current } => write!(f, "the revision is above the current one, {}", current.0),
            Error::LeaseNotFound => f.write_str("the lease does not exist"),
            Error::LeaseExists => f.write_str("the lease exists already"),
            Error::LeaseTtlTooLarge => f.write_str("the time to live is too large"),
            Error::DuplicateKey => f.write_str("one branch changes a key twice"),
            Error::TooManyOps => f.write_str("too many operations in one transaction"),
            Error::ValueProvided => f.write_str("a value is given where the old one is to be kept"),
            Error::LeaseProvided => f.write_str("a lease is given where the old one is to be kept"),
            Error::InvalidSort => f.write_str("unknown sort order or target"),
            Error::RevisionsExhausted => f.write_str("the revision counter is at its maximum"),
        }
    }
}

impl core::error::Error for Error {}
