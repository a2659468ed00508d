//! Why the log could not be opened or written, and what to do about it.

use std::{fmt, io};

use evenkeel_raft::Index;

/// Why the log could not be opened or written. Each is final: the caller stops the node.
#[derive(Debug)]
pub enum WalError {
    /// The disk refused. What it holds now is unknown, so nothing is retried.
    Io {
        /// The file or directory.
        file: String,
        /// What was being done.
        doing: &'static str,
        /// The disk's reason.
        source: io::Error,
    },
    /// Bytes that had once been durable are gone or changed.
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The log belongs to another cluster or member.
    Foreign {
        /// The file.
        file: String,
        /// Whose it is.
        what: String,
    },
    /// A segment needed from the checkpoint on is not there.
    MissingSegment {
        /// The file.
        file: String,
    },
    /// The log begins after the checkpoint ends: entries between them are gone.
    Gap {
        /// The last entry in the checkpoint.
        checkpoint: Index,
        /// The first entry the log could give.
        first: Index,
    },
    /// There is a log already; [`create`](super::Wal::create) would overwrite it.
    Exists,
    /// The log holds records, so it is not what a crash while founding left.
    NotEmpty {
        /// Where they are.
        file: String,
    },
    /// A record is longer than [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX). Nothing was written.
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// An earlier write failed or was abandoned.
    Poisoned {
        /// How it failed.
        cause: String,
    },
}

impl WalError {
    pub(crate) fn io(file: &str, doing: &'static str) -> impl FnOnce(io::Error) -> WalError {
        let file = file.to_owned();
        move |source| WalError::Io { file, doing, source }
    }
}

const REBUILD: &str = "This member cannot trust its log. Remove its data directory and let it rejoin the cluster \
                       (its peers hold the data), or restore a snapshot";

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalError::Io { file, doing, source } => {
                write!(f, "{file}: {doing} failed: {source}. Check the disk, then restart the member")
            }
            WalError::Damaged { file, offset, what } => {
                write!(f, "{file}: damaged at offset {offset}: {what}. {REBUILD}")
            }
            WalError::Foreign { file, what } => {
                write!(f, "{file}: {what}. Point this member to its own data directory, or to an empty one")
            }
            WalError::MissingSegment { file } => {
                write!(f, "{file}: missing, but the checkpoint needs the log from there on. {REBUILD}")
            }
            WalError::Gap { checkpoint, first } => {
                write!(f, "the checkpoint ends at entry {checkpoint}, but the log begins at {first}. {REBUILD}")
            }
            WalError::Exists => f.write_str("the data directory holds a log already: open it, or use an empty one"),
            WalError::NotEmpty { file } => {
                write!(f, "{file}: the log holds records, but no checkpoint says where it begins. {REBUILD}")
            }
            WalError::TooLarge { bytes } => {
                write!(f, "a record of {bytes} bytes is longer than the log takes ({})", crate::RECORD_BYTES_MAX)
            }
            WalError::Poisoned { cause } => {
                write!(f, "the log takes no more writes after a failure ({cause}). Restart the member")
            }
        }
    }
}

impl std::error::Error for WalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WalError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
