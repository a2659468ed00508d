//! Files waiting to become segments: freed segments, or new files being filled with zeros bit by bit.
//!
//! Filling 64 MiB at once would stall the commits behind it. So a new spare is filled while the current segment
//! is, twice as fast and in chunks, each synced on its own; once two segments were recycled this never happens again.

use std::sync::Arc;

use bytes::Bytes;

use super::WalError;
use super::segment::spare_path;
use crate::disk::{Disk, File, OpenMode, Pending};

/// How many freed segments are kept for later use.
pub(crate) const SPARES_MAX: usize = 2;
const CHUNK_BYTES_MIN: u64 = 64 << 10;
const CHUNK_BYTES_MAX: u64 = 1 << 20;

/// A file written through to its full length.
pub(crate) struct Spare {
    pub file: Arc<dyn File>,
    pub name: String,
    pub recycled: bool,
}

struct Filling {
    file: Arc<dyn File>,
    name: String,
    filled: u64,
    /// The chunk on its way.
    pending: Option<Pending>,
}

pub(crate) struct Spares {
    segment_bytes: u64,
    next_number: u64,
    ready: Vec<Spare>,
    filling: Option<Filling>,
    /// Zeros owed for bytes committed.
    owed: u64,
}

impl Spares {
    pub fn new(segment_bytes: u32) -> Spares {
        Spares { segment_bytes: u64::from(segment_bytes), next_number: 0, ready: Vec::new(), filling: None, owed: 0 }
    }

    pub fn bytes(&self) -> u64 {
        self.ready.len() as u64 * self.segment_bytes + self.filling.as_ref().map_or(0, |filling| filling.filled)
    }

    /// How many more freed segments are welcome.
    pub fn room(&self) -> usize {
        SPARES_MAX - self.ready.len()
    }

    pub fn next_name(&mut self) -> String {
        self.next_number += 1;
        spare_path(self.next_number)
    }

    /// Takes in a freed segment, renamed already.
    pub fn add(&mut self, spare: Spare) {
        assert!(0 < self.room(), "more than {SPARES_MAX} spare segments");
        self.ready.push(spare);
    }

    /// After a commit of `bytes`: fills a new spare a little further, when there is none.
    pub async fn advance(&mut self, disk: &dyn Disk, bytes: u64) -> Result<(), WalError> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        self.owed = self.owed.saturating_add(2 * bytes);
        if self.owed < CHUNK_BYTES_MIN.min(self.segment_bytes / 4) {
            return Ok(());
        }
        if self.filling.is_none() {
            self.filling = Some(self.start(disk)?);
        }
        let chunk = self.owed.min(CHUNK_BYTES_MAX);
        self.owed = 0;
        let filling = self.filling.as_mut().expect("started above");
        filling.wait().await?;
        filling.write(chunk.min(self.segment_bytes - filling.filled));
        Ok(())
    }

    /// A file of `file_bytes` to make a segment of.
    pub async fn take(&mut self, disk: &dyn Disk, file_bytes: u64) -> Result<Spare, WalError> {
        if file_bytes == self.segment_bytes {
            if let Some(spare) = self.ready.pop() {
                return Ok(spare);
            }
            if let Some(filling) = self.filling.take() {
                return filling.finish(file_bytes).await;
            }
        }
        self.start(disk)?.finish(file_bytes).await
    }

    fn start(&mut self, disk: &dyn Disk) -> Result<Filling, WalError> {
        let name = self.next_name();
        let file = disk.open(&name, OpenMode::Create).map_err(WalError::io(&name, "creating"))?;
        Ok(Filling { file, name, filled: 0, pending: None })
    }
}

impl Filling {
    async fn wait(&mut self) -> Result<(), WalError> {
        match self.pending.take() {
            Some(pending) => pending.await.map_err(WalError::io(&self.name, "filling")),
            None => Ok(()),
        }
    }

    fn write(&mut self, bytes: u64) {
        if bytes > 0 {
            static ZEROS: [u8; CHUNK_BYTES_MAX as usize] = [0; CHUNK_BYTES_MAX as usize];
            let chunk = Bytes::from_static(&ZEROS[..bytes as usize]);
            self.pending = Some(self.file.write_at_and_sync(self.filled, chunk));
            self.filled += bytes;
        }
    }

    async fn finish(mut self, file_bytes: u64) -> Result<Spare, WalError> {
        self.wait().await?;
        while self.filled < file_bytes {
            self.write((file_bytes - self.filled).min(CHUNK_BYTES_MAX));
            self.wait().await?;
        }
        Ok(Spare { file: self.file, name: self.name, recycled: false })
    }
}
