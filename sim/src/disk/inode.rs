//! One file: its two images and the changes that are in the first but not yet in the second.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::image::Image;

/// What a crash can tear: the unit in which a write reaches the medium.
pub(super) const SECTOR_BYTES: u64 = 512;

/// A change of a file's bytes.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Written at `offset`; on the medium it goes to `lands_at` (the same place, unless misdirected).
    Write { offset: u64, lands_at: u64, data: Bytes },
    /// Cut or grown.
    SetLen(u64),
}

impl Change {
    /// Changes the cached image.
    pub fn show(&self, view: &mut Image) {
        match self {
            Change::Write { offset, data, .. } => view.write(*offset, data),
            Change::SetLen(len) => view.set_len(*len),
        }
    }

    /// Changes the medium.
    pub fn land(&self, durable: &mut Image) {
        match self {
            Change::Write { lands_at, data, .. } => durable.write(*lands_at, data),
            Change::SetLen(len) => durable.set_len(*len),
        }
    }

    /// Where it is on the medium, when bytes were written.
    fn landed(&self) -> Option<Range<u64>> {
        match self {
            Change::Write { lands_at, data, .. } => Some(*lands_at..*lands_at + data.len() as u64),
            Change::SetLen(_) => None,
        }
    }

    /// Changes the medium by those sectors for which `keep` says so. True when a sector was left out.
    pub fn land_torn(&self, durable: &mut Image, mut keep: impl FnMut() -> bool) -> bool {
        let Change::Write { lands_at, data, .. } = self else {
            self.land(durable);
            return false;
        };
        let (mut at, mut torn) = (0, false);
        while at < data.len() {
            let place = lands_at + at as u64;
            let count = ((SECTOR_BYTES - place % SECTOR_BYTES) as usize).min(data.len() - at);
            if keep() {
                durable.write(place, &data[at..at + count]);
            } else {
                torn = true;
            }
            at += count;
        }
        torn
    }

    fn touches(&self, range: &Range<u64>) -> bool {
        match self {
            Change::Write { offset, data, .. } => *offset < range.end && range.start < *offset + data.len() as u64,
            Change::SetLen(len) => *len < range.end,
        }
    }
}

/// A change and its place in the order of all changes of the disk.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub seq: u64,
    pub change: Change,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub durable: Image,
    pub view: Image,
    pub pending: VecDeque<Op>,
    /// Where the last write began that was more than zeros. What lies before it was there already.
    pub last_write: u64,
    /// The images may differ although nothing is pending: a sync failed or a write went astray.
    pub astray: bool,
    pub handles: u32,
}

impl Inode {
    pub fn change(&mut self, seq: u64, change: Change) {
        change.show(&mut self.view);
        self.pending.push_back(Op { seq, change });
    }

    /// Makes everything up to `upto` durable; returns how many changes that was.
    pub fn sync(&mut self, upto: u64) -> usize {
        let mut count = 0;
        while let Some(op) = self.pending.pop_front_if(|op| op.seq <= upto) {
            op.change.land(&mut self.durable);
            op.change.landed().into_iter().for_each(|range| self.durable.share(&self.view, range));
            count += 1;
        }
        count
    }

    /// Forgets that everything up to `upto` should become durable.
    pub fn forget(&mut self, upto: u64) {
        while self.pending.pop_front_if(|op| op.seq <= upto).is_some() {
            self.astray = true;
        }
    }

    /// True when all of `range` would be read back after a power loss, whatever it keeps.
    pub fn is_durable(&self, range: Range<u64>) -> bool {
        if self.durable.len() < range.end || self.pending.iter().any(|op| op.change.touches(&range)) {
            return false;
        }
        !self.astray || self.durable.same(&self.view, range)
    }
}
