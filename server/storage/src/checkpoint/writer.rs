//! Writing a checkpoint, a little at a time.

use std::sync::Arc;

use evenkeel_raft::Index;

use super::blocks::BlockEncoder;
use super::{CHECKPOINT_DIR, CheckpointError, CheckpointHeader, KIND_HEADER, path, temporary_path};
use crate::disk::{Disk, File, OpenMode};

/// Blocks are written, and synced, in pieces of about this size: commits of the log never wait for a long sync.
const WRITE_BYTES: usize = 1 << 20;

/// A checkpoint being written. Dropped before [`CheckpointWriter::finish`], it leaves a temporary file for
/// [`prune`](super::prune).
pub struct CheckpointWriter {
    disk: Arc<dyn Disk>,
    index: Index,
    file: Arc<dyn File>,
    name: String,
    written: u64,
    encoder: BlockEncoder,
}

impl CheckpointWriter {
    /// Begins a checkpoint.
    pub async fn create(disk: Arc<dyn Disk>, header: CheckpointHeader) -> Result<CheckpointWriter, CheckpointError> {
        let index = header.start.index;
        disk.create_dir_all(CHECKPOINT_DIR).map_err(CheckpointError::io(CHECKPOINT_DIR, "creating"))?;
        disk.sync_dir("").await.map_err(CheckpointError::io(CHECKPOINT_DIR, "syncing the parent directory"))?;
        let name = temporary_path(index);
        let file = disk.open(&name, OpenMode::Create).map_err(CheckpointError::io(&name, "creating"))?;
        file.set_len(0).await.map_err(CheckpointError::io(&name, "emptying"))?;
        let mut encoder = BlockEncoder::new(index.0);
        encoder.push(KIND_HEADER, &header.encode());
        encoder.close_block();
        Ok(CheckpointWriter { disk, index, file, name, written: 0, encoder })
    }

    /// Adds a record. When it returns true, [`CheckpointWriter::flush`] is due: without it, memory use grows.
    #[must_use]
    pub fn push(&mut self, kind: u8, record: &[u8]) -> bool {
        assert_ne!(kind, KIND_HEADER, "this kind is the header's");
        self.encoder.push(kind, record);
        WRITE_BYTES <= self.encoder.ready_bytes()
    }

    /// Writes what is complete.
    pub async fn flush(&mut self) -> Result<(), CheckpointError> {
        let bytes = self.encoder.take();
        let at = self.written;
        self.written += bytes.len() as u64;
        self.file.write_at_and_sync(at, bytes).await.map_err(CheckpointError::io(&self.name, "writing"))
    }

    /// Makes the checkpoint durable and visible. Returns its length in bytes.
    pub async fn finish(self) -> Result<u64, CheckpointError> {
        self.seal().await?.publish().await
    }

    /// Makes the records durable. The checkpoint does not exist before [`Sealed::publish`].
    pub async fn seal(mut self) -> Result<Sealed, CheckpointError> {
        let at = self.written;
        let encoder = std::mem::replace(&mut self.encoder, BlockEncoder::new(0));
        let bytes = encoder.finish();
        let total = at + bytes.len() as u64;
        self.file.write_at_and_sync(at, bytes).await.map_err(CheckpointError::io(&self.name, "writing"))?;
        Ok(Sealed { disk: self.disk, index: self.index, name: self.name, total })
    }
}

/// A checkpoint that is complete and durable under its temporary name.
pub struct Sealed {
    disk: Arc<dyn Disk>,
    index: Index,
    name: String,
    total: u64,
}

impl Sealed {
    /// Makes it exist: renames it, durably. Returns its length in bytes.
    pub async fn publish(self) -> Result<u64, CheckpointError> {
        let name = path(self.index);
        self.disk.rename(&self.name, &name).map_err(CheckpointError::io(&name, "naming the checkpoint"))?;
        let synced = self.disk.sync_dir(CHECKPOINT_DIR).await;
        synced.map_err(CheckpointError::io(CHECKPOINT_DIR, "syncing the directory"))?;
        Ok(self.total)
    }
}
