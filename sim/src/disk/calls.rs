//! The calls of the `Disk` seam, without waiting: names, reads, writes.

use std::io;

use bytes::Bytes;
use evenkeel_storage::OpenMode;

use super::image::all_zero;
use super::inode::{Change, Inode};
use super::names::{Ino, NameChange, Target, ancestors, normal, parent};
use super::store::Store;

/// Reads of at least so many bytes may meet rot: scans do, reads of single values are too short.
const ROT_READ_BYTES: usize = 32 << 10;

/// An open file of one process.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) ino: Ino,
    pub(super) path: String,
    pub(super) epoch: u64,
    writable: bool,
}

impl Store {
    /// Creates a directory and its parents. Names of directories are durable like all names.
    pub fn create_dir_all(&mut self, epoch: u64, dir: &str) -> io::Result<()> {
        self.enter(epoch, dir)?;
        let dir = normal(dir);
        let mut missing: Vec<&str> = ancestors(dir).filter(|path| self.names.get(path).is_none()).collect();
        missing.reverse();
        for path in missing {
            let seq = self.next_seq();
            self.names.change(seq, NameChange::Link { path: path.to_owned(), target: Target::Dir });
        }
        Ok(())
    }

    /// The plain file names in `dir`, sorted.
    pub fn list(&mut self, epoch: u64, dir: &str) -> io::Result<Vec<String>> {
        self.enter(epoch, dir)?;
        match self.names.get(normal(dir)) {
            Some(Target::Dir) => Ok(self.names.files_in(normal(dir))),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens a file.
    pub fn open(&mut self, epoch: u64, path: &str, mode: OpenMode) -> io::Result<Handle> {
        self.enter(epoch, path)?;
        let path = normal(path);
        let ino = match (self.names.get(path), mode) {
            (Some(Target::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Target::File(ino)), _) => ino,
            (None, OpenMode::Create) if self.names.get(parent(path)) == Some(Target::Dir) => {
                if self.faults.full {
                    return Err(self.fail(path, libc::ENOSPC));
                }
                self.last_ino += 1;
                let (ino, seq) = (Ino(self.last_ino), self.next_seq());
                self.inodes.insert(ino, Inode::default());
                self.names.change(seq, NameChange::Link { path: path.to_owned(), target: Target::File(ino) });
                ino
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        self.inode(ino).handles += 1;
        Ok(Handle { ino, path: path.to_owned(), epoch, writable: mode != OpenMode::Read })
    }

    /// Ends the use of a handle.
    pub fn close(&mut self, handle: &Handle) {
        if handle.epoch == self.epoch {
            self.inode(handle.ino).handles -= 1;
            self.collect(handle.ino);
        }
    }

    /// Renames a file, replacing the target.
    pub fn rename(&mut self, epoch: u64, from: &str, to: &str) -> io::Result<()> {
        self.enter(epoch, from)?;
        let (from, to) = (normal(from), normal(to));
        let target @ Target::File(_) = self.names.get(from).ok_or(io::ErrorKind::NotFound)? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        match self.names.get(to) {
            Some(Target::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            _ if self.names.get(parent(to)) != Some(Target::Dir) => return Err(io::ErrorKind::NotFound.into()),
            _ => {}
        }
        let seq = self.next_seq();
        self.names.change(seq, NameChange::Rename { from: from.to_owned(), to: to.to_owned(), target });
        Ok(())
    }

    /// Removes a name; the file stays while it is open.
    pub fn remove(&mut self, epoch: u64, path: &str) -> io::Result<()> {
        self.enter(epoch, path)?;
        self.file_of(path).ok_or(io::ErrorKind::NotFound)?;
        let seq = self.next_seq();
        self.names.change(seq, NameChange::Unlink { path: normal(path).to_owned() });
        Ok(())
    }

    /// The file's length, writes not yet durable included.
    pub fn len(&mut self, handle: &Handle) -> io::Result<u64> {
        self.enter(handle.epoch, &handle.path)?;
        Ok(self.inode(handle.ino).view.len())
    }

    /// Fills `buffer` from `offset`.
    pub fn read(&mut self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.enter(handle.epoch, &handle.path)?;
        self.counters.reads += 1;
        self.counters.read_bytes += buffer.len() as u64;
        if !self.inode(handle.ino).view.read(offset, buffer) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let old = self.inode(handle.ino).last_write.saturating_sub(offset).min(buffer.len() as u64);
        let long = ROT_READ_BYTES <= buffer.len() && 0 < old;
        if long && self.draws.chance(self.labels.rot, self.faults.rot) {
            let bit = self.draws.below(self.labels.rot, 8 * old);
            buffer[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        Ok(())
    }

    /// Writes `data` at `offset`; seen at once, durable after a sync.
    pub fn write(&mut self, handle: &Handle, offset: u64, data: Bytes) -> io::Result<()> {
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        self.admit_change(handle, end)?;
        self.counters.written_bytes += data.len() as u64;
        let lands_at = match self.faults.misdirect.take() {
            Some(shift) => offset.saturating_add_signed(shift),
            None => offset,
        };
        let seq = self.next_seq();
        let inode = self.inode(handle.ino);
        inode.astray |= lands_at != offset;
        if !all_zero(&data) {
            inode.last_write = offset;
        }
        inode.change(seq, Change::Write { offset, lands_at, data });
        Ok(())
    }

    /// Cuts or grows the file.
    pub fn set_len(&mut self, handle: &Handle, len: u64) -> io::Result<()> {
        self.admit_change(handle, len)?;
        let seq = self.next_seq();
        self.inode(handle.ino).change(seq, Change::SetLen(len));
        Ok(())
    }

    /// The gate of every call: dead processes and blown fuses end here.
    pub(super) fn enter(&mut self, epoch: u64, path: &str) -> io::Result<()> {
        if epoch != self.epoch {
            return Err(dead());
        }
        match &mut self.faults.fuse {
            Some(0) => Err(self.fail(path, libc::EIO)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn admit_change(&mut self, handle: &Handle, end: u64) -> io::Result<()> {
        self.enter(handle.epoch, &handle.path)?;
        if !handle.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if self.draws.chance(self.labels.error, self.faults.write_error) {
            return Err(self.fail(&handle.path, libc::EIO));
        }
        if self.faults.full && self.inode(handle.ino).view.len() < end {
            return Err(self.fail(&handle.path, libc::ENOSPC));
        }
        self.counters.writes += 1;
        Ok(())
    }
}

pub(super) fn dead() -> io::Error {
    io::Error::other("the process that opened this is dead")
}
