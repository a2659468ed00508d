//! Freeing segments: nobody may still ask for an entry or a value in them, now or after a restart.

use std::collections::BTreeSet;

use evenkeel_raft::Index;

use super::spares::Spare;
use super::{LogStart, WAL_DIR, Wal, WalError, segment};
use crate::disk::OpenMode;

/// What must be kept. A restart may go back to any checkpoint still on the disk, so all of this is about the
/// *oldest* one kept, not about the state in memory.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Entries from here on stay (for followers that lag).
    pub keep_from: Index,
    /// The start of the oldest checkpoint kept.
    pub start: LogStart,
    /// The segments that held no value when that checkpoint's state was taken:
    /// [`ValueLog::unused_segments`](crate::ValueLog::unused_segments) at that moment.
    pub unused: &'a BTreeSet<u32>,
}

/// What was freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Segments kept as files for later use.
    pub recycled: Vec<u32>,
    /// Segments whose files are gone.
    pub removed: Vec<u32>,
}

impl Wal {
    /// Frees the segments that nobody needs any more.
    pub async fn release(&mut self, keep: Release<'_>) -> Result<Released, WalError> {
        self.begin()?;
        let released = self.release_segments(keep).await;
        self.end(released)
    }

    async fn release_segments(&mut self, keep: Release<'_>) -> Result<Released, WalError> {
        let mut released = Released::default();
        let mut spares = Vec::new();
        for segment in self.values.segments() {
            let needed = keep.start.segment <= segment.segment
                || keep.keep_from <= segment.last_index
                || 0 < segment.live_bytes
                || self.values.is_held(segment.segment)
                || !keep.unused.contains(&segment.segment);
            if needed {
                continue;
            }
            assert_ne!(segment.segment, self.current.segment, "the segment being written is never freed");
            let name = segment::path(segment.segment);
            let room = spares.len() < self.spares.room();
            self.values.remove_segment(segment.segment);
            if room && segment.file_bytes == self.options.segment_bytes {
                let file = self.disk.open(&name, OpenMode::Write).map_err(WalError::io(&name, "opening"))?;
                let spare = self.spares.next_name();
                self.disk.rename(&name, &spare).map_err(WalError::io(&name, "recycling"))?;
                spares.push(Spare { file, name: spare, recycled: true });
                released.recycled.push(segment.segment);
            } else {
                self.disk.remove(&name).map_err(WalError::io(&name, "removing"))?;
                released.removed.push(segment.segment);
            }
        }
        if released != Released::default() {
            // A spare may be overwritten only when its old name cannot come back.
            self.disk.sync_dir(WAL_DIR).await.map_err(WalError::io(WAL_DIR, "syncing the directory"))?;
        }
        for spare in spares {
            self.spares.add(spare);
        }
        Ok(released)
    }
}
