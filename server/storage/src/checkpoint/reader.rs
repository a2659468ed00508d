//! Finding, verifying and reading checkpoints.

use std::sync::Arc;

use evenkeel_raft::Index;

use super::blocks::{Block, BlockDecoder};
use super::{CheckpointError, CheckpointHeader, KIND_HEADER, list, path};
use crate::disk::{Disk, File, OpenMode};
use crate::wal::Identity;

const READ_BYTES: u64 = 1 << 20;

/// A checkpoint that cannot be used.
#[derive(Debug)]
pub struct Rejected {
    /// The entry it was taken after.
    pub index: Index,
    /// Why not.
    pub error: CheckpointError,
}

/// What [`newest`] found.
pub struct Newest {
    /// The newest intact checkpoint.
    pub reader: Option<CheckpointReader>,
    /// Damaged ones that are newer, newest first. Worth a loud warning: what they covered must come from the log.
    pub rejected: Vec<Rejected>,
}

/// Finds the newest intact checkpoint. One of another cluster or member, or a disk error, ends the search.
pub fn newest(disk: &dyn Disk, identity: Identity) -> Result<Newest, CheckpointError> {
    let mut rejected = Vec::new();
    for &index in list(disk)?.checkpoints.iter().rev() {
        match open(disk, index, identity) {
            Ok(reader) => return Ok(Newest { reader: Some(reader), rejected }),
            Err(error @ CheckpointError::Damaged { .. }) => rejected.push(Rejected { index, error }),
            Err(error) => return Err(error),
        }
    }
    Ok(Newest { reader: None, rejected })
}

/// Whose directory it is, as the newest checkpoint with an intact header says. `None` when there is no checkpoint.
pub fn stored_identity(disk: &dyn Disk) -> Result<Option<Identity>, CheckpointError> {
    let mut failure = None;
    for &index in list(disk)?.checkpoints.iter().rev() {
        let name = path(index);
        let file = disk.open(&name, OpenMode::Read).map_err(CheckpointError::io(&name, "opening"))?;
        match Blocks::new(file, &name, index)?.header() {
            Ok(header) => return Ok(Some(header.identity)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Opens one checkpoint and verifies it from end to end.
pub fn open(disk: &dyn Disk, index: Index, identity: Identity) -> Result<CheckpointReader, CheckpointError> {
    let name = path(index);
    let file = disk.open(&name, OpenMode::Read).map_err(CheckpointError::io(&name, "opening"))?;
    let header = Blocks::new(file.clone(), &name, index)?.header()?;
    if header.start.index != index {
        return Err(CheckpointError::Damaged { file: name, offset: 0, what: "the header names another entry" });
    }
    let found = header.identity;
    if found != identity {
        let what = format!(
            "this checkpoint belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}",
            found.member_id, found.cluster_id, identity.member_id, identity.cluster_id
        );
        return Err(CheckpointError::Foreign { file: name, what });
    }
    let mut verify = Blocks::new(file.clone(), &name, index)?;
    while verify.next()?.is_some() {}
    let mut blocks = Blocks::new(file, &name, index)?;
    blocks.header()?;
    Ok(CheckpointReader { header, blocks })
}

/// A verified checkpoint.
pub struct CheckpointReader {
    header: CheckpointHeader,
    blocks: Blocks,
}

impl CheckpointReader {
    /// Whose state it is, and where the log goes on.
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The file's length.
    pub fn file_bytes(&self) -> u64 {
        self.blocks.len
    }

    /// The next records, or `None` at the end.
    pub fn next_block(&mut self) -> Result<Option<Block>, CheckpointError> {
        self.blocks.next()
    }
}

/// The blocks of a file.
struct Blocks {
    file: Arc<dyn File>,
    name: String,
    len: u64,
    at: u64,
    chunk: Vec<u8>,
    decoder: BlockDecoder,
}

impl Blocks {
    fn new(file: Arc<dyn File>, name: &str, index: Index) -> Result<Blocks, CheckpointError> {
        let len = file.len().map_err(CheckpointError::io(name, "asking for the length"))?;
        Ok(Blocks { file, name: name.to_owned(), len, at: 0, chunk: Vec::new(), decoder: BlockDecoder::new(index.0) })
    }

    fn header(&mut self) -> Result<CheckpointHeader, CheckpointError> {
        let bad = |file: &str, what| CheckpointError::Damaged { file: file.to_owned(), offset: 0, what };
        let Some(block) = self.next()? else { return Err(bad(&self.name, "there is no header")) };
        let mut records = block.records();
        match (records.next(), records.next()) {
            (Some((KIND_HEADER, header)), None) => {
                CheckpointHeader::decode(header).map_err(|what| bad(&self.name, what))
            }
            _ => Err(bad(&self.name, "the first block is not a header")),
        }
    }

    fn next(&mut self) -> Result<Option<Block>, CheckpointError> {
        loop {
            let block = self.decoder.next_block();
            let damaged = |offset, what| CheckpointError::Damaged { file: self.name.clone(), offset, what };
            if let Some(block) = block.map_err(|error| damaged(error.offset, error.what))? {
                return Ok(Some(block));
            }
            if self.at == self.len {
                let whole = self.decoder.ended();
                return if whole { Ok(None) } else { Err(damaged(self.len, "the file is cut short")) };
            }
            self.chunk.resize(READ_BYTES.min(self.len - self.at) as usize, 0);
            self.file.read_at(self.at, &mut self.chunk).map_err(CheckpointError::io(&self.name, "reading"))?;
            self.at += self.chunk.len() as u64;
            self.decoder.feed(&self.chunk);
        }
    }
}
