//! The write-ahead log, which is also the value log: every entry is written here, once.
//!
//! Words: a *segment* is a file of fixed length, written through once (zeros, or its earlier life) before it is
//! used, so that a sync never has to store a file length. A *batch* is what one [`Wal::commit`] writes and syncs;
//! it survives a crash whole or not at all. A *record* is a hard state, a snapshot marker, an entry, or a *carry*:
//! bytes of the caller that belong to no entry (values moved by garbage collection or received in a snapshot).
//! An entry whose index the log has already replaces that one and all after it.
//!
//! Invariants:
//! - Only one batch is on its way to the disk at any time. Whatever precedes a batch was durable before it was
//!   written; recovery rests on this.
//! - A file gets its final name only when its header is durable, and its first batch only when the name is.
//!   So a `.seg` file with a bad header is damage, never a crash.
//! - After a failed or abandoned write nothing is written any more ([`WalError::Poisoned`]).
//! - Segments are freed only by [`Wal::release`], and never while an entry or value in them may be asked for.
//!
//! The bytes are described in `format.rs`, the rules of recovery in `recovery.rs`.

mod config_bytes;
mod error;
pub(crate) mod format;
mod recovery;
mod release;
pub(crate) mod scan;
pub(crate) mod segment;
mod spares;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_raft::{Entry, HardState, Index, Mutants, Term};

pub use error::WalError;
pub use release::{Release, Released};

use crate::disk::{Disk, File};
use crate::value_log::ValueLog;
use spares::Spares;

/// The log's directory.
pub const WAL_DIR: &str = "wal";

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
}

/// How to keep the log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Length of a segment file. A record that does not fit gets a longer one of its own.
    pub segment_bytes: u32,
    /// Whose log it is.
    pub identity: Identity,
    /// How many bytes of values are kept in memory.
    pub cache_bytes: usize,
    /// Planted bugs (testbed builds only).
    pub mutants: Mutants,
}

impl Options {
    /// 64 MiB segments, 32 MiB of cached values.
    pub fn new(identity: Identity) -> Options {
        Options { segment_bytes: 64 << 20, identity, cache_bytes: 32 << 20, mutants: Mutants::NONE }
    }

    fn check(&self) {
        assert!(self.segment_bytes >= 4096, "a segment of {} bytes is too short", self.segment_bytes);
        assert!(self.segment_bytes <= 1 << 30, "a segment of {} bytes is too long", self.segment_bytes);
        assert_eq!(self.segment_bytes % format::SECTOR, 0, "a segment is a whole number of sectors");
    }
}

/// Where a restart begins to read the log. A checkpoint stores it; see [`ValueLog::log_start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// The first segment to read.
    pub segment: u32,
    /// The last entry the checkpoint covers.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
}

impl LogStart {
    /// The start of a log without a checkpoint.
    pub const BEGINNING: LogStart = LogStart { segment: FIRST_SEGMENT, index: Index(0), term: Term(0) };
}

const FIRST_SEGMENT: u32 = 1;

/// Where bytes lie. A value inside a payload is at the payload's offset plus its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The segment.
    pub segment: u32,
    /// Offset in the segment's file.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// What one [`Wal::commit`] makes durable, in this order. Several of Raft's hand-overs may be concatenated; one
/// with a snapshot begins a new batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Term and vote, when they changed.
    pub hard_state: Option<HardState>,
    /// The log restarts after this entry. Its checkpoint must be durable already.
    pub snapshot: Option<(Index, Term)>,
    /// Entries to append or to replace.
    pub entries: &'a [Entry],
    /// Bytes that belong to no entry.
    pub carries: &'a [Bytes],
}

/// What became durable.
#[derive(Debug, Default)]
pub struct Committed {
    /// Where each entry's payload lies; of length 0 for an empty one.
    pub places: Vec<Place>,
    /// Where each carry lies.
    pub carry_places: Vec<Place>,
    /// Where each batch lies, header and padding included. There is one, unless it was too long.
    pub batches: Vec<Place>,
    /// Bytes written, headers and padding included.
    pub bytes_written: u64,
}

/// What a restart found.
#[derive(Debug)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The entry before the first of `entries`, with its term. Never after [`LogStart::index`]: entries up to that
    /// one are covered by the checkpoint and are given for followers that lag.
    pub base: (Index, Term),
    /// The log after `base`, without gaps, each entry with the place of its payload.
    pub entries: Vec<(Entry, Place)>,
    /// What was repaired.
    pub repaired: Option<Repair>,
}

/// A batch torn by a crash was removed. It had not been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The file.
    pub file: String,
    /// Where the torn batch began.
    pub offset: u64,
    /// How many bytes were overwritten with zeros.
    pub bytes: u64,
}

/// The log, open for writing.
pub struct Wal {
    disk: Arc<dyn Disk>,
    options: Options,
    values: Arc<ValueLog>,
    spares: Spares,
    current: Current,
    hard_state: HardState,
    last: (Index, Term),
    health: Health,
    /// Batches are written and not synced ([`Wal::write_planted`]).
    unsynced: bool,
}

/// The segment being written.
struct Current {
    file: Arc<dyn File>,
    name: String,
    segment: u32,
    seed: u64,
    file_bytes: u32,
    /// Where the next batch goes.
    end: u32,
    /// The header checksum of the last batch.
    chain: u32,
}

#[derive(Debug)]
enum Health {
    Good,
    /// A write is on its way. Seen at the start of a call, it means that the write's future was dropped.
    Busy,
    Failed(String),
}

impl Wal {
    /// Whether `disk` holds a log.
    pub fn exists(disk: &dyn Disk) -> Result<bool, WalError> {
        Ok(!segment::list(disk)?.segments.is_empty())
    }

    /// The shared reader of values.
    pub fn values(&self) -> Arc<ValueLog> {
        self.values.clone()
    }

    /// The last entry and its term.
    pub fn last(&self) -> (Index, Term) {
        self.last
    }

    /// The segment being written.
    pub fn current_segment(&self) -> u32 {
        self.current.segment
    }

    /// Bytes of all files of the log, spare ones included.
    pub fn disk_bytes(&self) -> u64 {
        self.values.segments().iter().map(|segment| u64::from(segment.file_bytes)).sum::<u64>() + self.spares.bytes()
    }

    /// Runs one write; a failure, or a dropped future, is the log's last act.
    fn begin(&mut self) -> Result<(), WalError> {
        match &self.health {
            Health::Good => {
                self.health = Health::Busy;
                Ok(())
            }
            Health::Busy => Err(WalError::Poisoned { cause: "a write was abandoned half-way".to_owned() }),
            Health::Failed(cause) => Err(WalError::Poisoned { cause: cause.clone() }),
        }
    }

    fn end<T>(&mut self, result: Result<T, WalError>) -> Result<T, WalError> {
        self.health = match &result {
            Ok(_) => Health::Good,
            Err(error) => Health::Failed(error.to_string()),
        };
        result
    }
}
