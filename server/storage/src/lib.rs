//! Everything a member must not forget: its log, its values, its checkpoints.
//!
//! - [`disk`]: the seam. Production brings [`real::RealDisk`], the simulator its own.
//! - [`wal`]: the write-ahead log, written in batches, one sync each. It holds every entry exactly once, so it is
//!   the value log as well.
//! - [`value_log`]: reads values back out of log segments, through a bounded cache, and knows which segments
//!   hold how much garbage.
//! - [`checkpoint`]: the state machine's index and meta state as of one applied index, in one file.
//!
//! Restart = newest valid checkpoint + the log from the segment that checkpoint names ([`LogStart`]).
//!
//! What is promised: after a power loss at any moment, and with any part of what was not yet synced lost or torn,
//! everything acknowledged is read back and opening never refuses. Rot of anything acknowledged is refused with
//! file and offset, or is a read error; it is never served. The one exception is the log's very last batch: rot
//! there looks like a write torn by a crash, and a single disk cannot tell the two apart.
//!
//! Deliberately absent: knowledge of what a payload means, retries (an I/O error is final), threads outside
//! [`real`], and any state that differs between production and simulation.

pub mod checkpoint;
pub mod disk;
pub mod real;
pub mod value_log;
pub mod wal;

mod bytes_in;
mod cache;

pub use checkpoint::{CheckpointHeader, CheckpointReader, CheckpointWriter};
pub use disk::{Disk, File, OpenMode, Pending};
pub use value_log::{Hold, SegmentUse, ValueError, ValueLog, value_crc};
pub use wal::{Batch, Committed, LogStart, Options, Place, Recovered, Release, Wal, WalError};

/// The longest single record, in the log and in a checkpoint: 256 MiB.
pub const RECORD_BYTES_MAX: usize = 256 << 20;
