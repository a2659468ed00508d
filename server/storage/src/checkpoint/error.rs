//! Why a checkpoint could not be written or read.

use std::{fmt, io};

/// Why a checkpoint could not be written or read.
#[derive(Debug)]
pub enum CheckpointError {
    /// The disk refused.
    Io {
        /// The file or directory.
        file: String,
        /// What was being done.
        doing: &'static str,
        /// The disk's reason.
        source: io::Error,
    },
    /// The file is not what had been made durable. An older checkpoint may still do, if the log reaches back.
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The checkpoint belongs to another cluster or member.
    Foreign {
        /// The file.
        file: String,
        /// Whose it is.
        what: String,
    },
}

impl CheckpointError {
    pub(super) fn io(file: &str, doing: &'static str) -> impl FnOnce(io::Error) -> CheckpointError {
        let file = file.to_owned();
        move |source| CheckpointError::Io { file, doing, source }
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Io { file, doing, source } => {
                write!(f, "{file}: {doing} failed: {source}. Check the disk, then restart the member")
            }
            CheckpointError::Damaged { file, offset, what } => {
                write!(f, "{file}: damaged at offset {offset}: {what}. Remove this member's data directory and let ")?;
                f.write_str("it rejoin the cluster (its peers hold the data), or restore a snapshot")
            }
            CheckpointError::Foreign { file, what } => {
                write!(f, "{file}: {what}. Point this member to its own data directory, or to an empty one")
            }
        }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CheckpointError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
