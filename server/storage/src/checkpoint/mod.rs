//! Checkpoints: the state machine's index and meta state as of one applied entry, in one file.
//!
//! `checkpoint/INDEX.ckpt` (16 hex digits) is a stream of [`blocks`] whose salt is the index in its name; the first
//! block holds the [`CheckpointHeader`], the others the caller's records, opaque here. The file is written under a
//! temporary name, synced, renamed, and the directory synced: a crash at any moment leaves the old state or the new.
//!
//! A checkpoint is verified from end to end before a record of it is used. When the newest one is damaged,
//! [`newest`] falls back to an older one and says so; whether that will do is for the log to say
//! ([`WalError::Gap`](crate::WalError::Gap) or `MissingSegment` when it does not reach back so far).

pub mod blocks;
mod error;
mod reader;
mod writer;

use bytes::BufMut;
use evenkeel_raft::{Index, Term};

pub use blocks::{Block, BlockDecoder, BlockEncoder, BlockError};
pub use error::CheckpointError;
pub use reader::{CheckpointReader, Newest, Rejected, newest, open, stored_identity};
pub use writer::{CheckpointWriter, Sealed};

use crate::bytes_in::{take_u32, take_u64};
use crate::disk::Disk;
use crate::wal::{Identity, LogStart};

/// The checkpoints' directory.
pub const CHECKPOINT_DIR: &str = "checkpoint";

const FORMAT_VERSION: u32 = 1;
/// The kind of the header's record; callers use the others.
const KIND_HEADER: u8 = 255;

/// Whose state it is, and where the log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Whose state it is.
    pub identity: Identity,
    /// The last applied entry, its term, and the log segment where a restart begins to read.
    pub start: LogStart,
}

impl CheckpointHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32_le(FORMAT_VERSION);
        out.put_u64_le(self.identity.cluster_id);
        out.put_u64_le(self.identity.member_id);
        out.put_u64_le(self.start.index.0);
        out.put_u64_le(self.start.term.0);
        out.put_u32_le(self.start.segment);
        out
    }

    fn decode(mut bytes: &[u8]) -> Result<CheckpointHeader, &'static str> {
        const SHORT: &str = "the header is cut short";
        if take_u32(&mut bytes).ok_or(SHORT)? != FORMAT_VERSION {
            return Err("the checkpoint has a format of another release");
        }
        let mut number = || take_u64(&mut bytes).ok_or(SHORT);
        let identity = Identity { cluster_id: number()?, member_id: number()? };
        let (index, term) = (Index(number()?), Term(number()?));
        let segment = take_u32(&mut bytes).ok_or(SHORT)?;
        Ok(CheckpointHeader { identity, start: LogStart { segment, index, term } })
    }
}

fn path(index: Index) -> String {
    format!("{CHECKPOINT_DIR}/{:016x}.ckpt", index.0)
}

fn temporary_path(index: Index) -> String {
    format!("{CHECKPOINT_DIR}/{:016x}.tmp", index.0)
}

#[derive(Default)]
struct Listing {
    /// Oldest first.
    checkpoints: Vec<Index>,
    temporary: Vec<String>,
}

fn list(disk: &dyn Disk) -> Result<Listing, CheckpointError> {
    let names = match disk.list(CHECKPOINT_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Listing::default()),
        Err(error) => return Err(CheckpointError::io(CHECKPOINT_DIR, "listing")(error)),
    };
    let mut listing = Listing::default();
    for name in names {
        if name.ends_with(".tmp") {
            listing.temporary.push(format!("{CHECKPOINT_DIR}/{name}"));
        } else if let Some(hex) = name.strip_suffix(".ckpt")
            && let Ok(index) = u64::from_str_radix(hex, 16)
            && format!("{index:016x}") == hex
        {
            listing.checkpoints.push(Index(index));
        }
    }
    listing.checkpoints.sort_unstable();
    Ok(listing)
}

/// Removes all checkpoints but those of `keep`, and what unfinished writers left. Not while one is writing.
///
/// The log may be released only up to the oldest one kept.
pub async fn prune(disk: &dyn Disk, keep: &[Index]) -> Result<(), CheckpointError> {
    let listing = list(disk)?;
    let old = listing.checkpoints.iter().filter(|index| !keep.contains(index)).map(|&index| path(index));
    let gone: Vec<String> = old.chain(listing.temporary).collect();
    for file in &gone {
        disk.remove(file).map_err(CheckpointError::io(file, "removing"))?;
    }
    if gone.is_empty() {
        return Ok(());
    }
    disk.sync_dir(CHECKPOINT_DIR).await.map_err(CheckpointError::io(CHECKPOINT_DIR, "syncing the directory"))
}
