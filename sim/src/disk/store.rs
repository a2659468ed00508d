//! The state of one disk. Told the time with every call; never waits.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_scenario::Label;
use evenkeel_storage::OpenMode;

use super::fault::Faults;
use super::inode::{Change, Inode};
use super::names::{Ino, NameChange, Names, Target, ancestors, normal, parent};
use crate::draw::Draws;

/// Names one sync under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncId(u64);

/// What a disk did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Writes and changes of length.
    pub writes: u64,
    /// Bytes in them.
    pub written_bytes: u64,
    /// Syncs of files begun.
    pub syncs: u64,
    /// Syncs of directories begun.
    pub dir_syncs: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes in them.
    pub read_bytes: u64,
    /// Calls that failed by a fault.
    pub errors: u64,
}

/// What a disk tells its tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// A sync of a file or directory ended.
    Synced {
        /// Its path.
        path: String,
        /// Changes that became durable.
        changes: usize,
        /// What the caller is told.
        ok: bool,
    },
    /// A call failed by a fault.
    Failed {
        /// The path it was about.
        path: String,
        /// The error's kind.
        error: io::ErrorKind,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SyncFate {
    Honest,
    Lie,
    Error,
}

#[derive(Clone, Debug)]
struct InFlight {
    id: SyncId,
    target: Target,
    path: String,
    /// Covers the changes up to here.
    upto: u64,
    /// Not known while the disk is stuck.
    due: Option<Duration>,
    fate: SyncFate,
}

pub(super) struct Labels {
    sync: Label,
    error: Label,
    pub keep: Label,
    pub prefix: Label,
    pub tear: Label,
    pub op: Label,
    pub sector: Label,
}

/// An open file, as the store knows it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub ino: Ino,
    pub path: String,
    pub epoch: u64,
    pub writable: bool,
}

/// All files and names of one disk.
pub struct Store {
    pub(super) names: Names,
    pub(super) inodes: BTreeMap<Ino, Inode>,
    pub(super) draws: Draws,
    pub(super) labels: Labels,
    in_flight: Vec<InFlight>,
    usual_sync: Range<Duration>,
    faults: Faults,
    counters: Counters,
    epoch: u64,
    last_seq: u64,
    last_ino: u64,
    last_sync: u64,
    events: Vec<DiskEvent>,
    listening: bool,
}

impl Store {
    /// An empty disk. `name` is the middle of its decision labels; a healthy sync takes `sync_time`.
    pub fn new(name: &str, draws: &Draws, sync_time: Range<Duration>) -> Store {
        let label = |what: &str| draws.label(&format!("disk/{name}/{what}"));
        Store {
            names: Names::default(),
            inodes: BTreeMap::new(),
            labels: Labels {
                sync: label("sync"),
                error: label("error"),
                keep: label("keep"),
                prefix: label("prefix"),
                tear: label("tear"),
                op: label("op"),
                sector: label("sector"),
            },
            draws: draws.clone(),
            in_flight: Vec::new(),
            usual_sync: sync_time,
            faults: Faults::default(),
            counters: Counters::default(),
            epoch: 0,
            last_seq: 0,
            last_ino: 0,
            last_sync: 0,
            events: Vec::new(),
            listening: false,
        }
    }

    /// Grows with every crash; a handle of an older epoch belongs to a dead process.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The faults at this moment.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Changes the faults; syncs held up by a stuck disk go on when it is no longer stuck.
    pub fn set_faults(&mut self, now: Duration, change: impl FnOnce(&mut Faults)) {
        self.settle(now);
        change(&mut self.faults);
        let stuck = self.faults.stuck;
        for at in 0..self.in_flight.len() {
            self.in_flight[at].due = match self.in_flight[at].due {
                _ if stuck => None,
                Some(due) => Some(due),
                None => Some(now + self.draw_sync_time()),
            };
        }
    }

    /// What the disk did so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Collects events from now on, for [`Store::take_events`].
    pub fn listen(&mut self) {
        self.listening = true;
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<DiskEvent> {
        std::mem::take(&mut self.events)
    }

    /// Every file and its length, in the order of the paths.
    pub fn files(&self) -> Vec<(String, u64)> {
        self.names.files().map(|(path, ino)| (path.to_owned(), self.inodes[&ino].view.len())).collect()
    }

    /// The end of the last byte of `path` that is not zero: where bit rot can hit something.
    pub fn used_len(&self, path: &str) -> u64 {
        self.file_of(path).map_or(0, |ino| self.inodes[&ino].view.used_len())
    }

    /// True when these bytes of `path`, as reads see them now, would survive a power loss whatever it keeps.
    pub fn is_durable(&mut self, now: Duration, path: &str, offset: u64, len: u64) -> bool {
        self.settle(now);
        self.file_of(path).is_some_and(|ino| {
            self.names.is_durable(normal(path)) && self.inodes[&ino].is_durable(offset..offset + len)
        })
    }

    /// Flips the bits of `mask` at `offset`, in the cache and on the medium; false when there is no such byte.
    pub fn rot(&mut self, path: &str, offset: u64, mask: u8) -> bool {
        let Some(inode) = self.file_of(path).and_then(|ino| self.inodes.get_mut(&ino)) else { return false };
        let mut hit = false;
        for image in [&mut inode.view, &mut inode.durable] {
            let mut byte = [0];
            if image.read(offset, &mut byte) {
                image.write(offset, &[byte[0] ^ mask]);
                hit = true;
            }
        }
        hit
    }

    fn file_of(&self, path: &str) -> Option<Ino> {
        match self.names.get(normal(path)) {
            Some(Target::File(ino)) => Some(ino),
            _ => None,
        }
    }

    // --- the calls of the seam -----------------------------------------------------------------------------------

    pub(super) fn create_dir_all(&mut self, epoch: u64, dir: &str) -> io::Result<()> {
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

    pub(super) fn list(&mut self, epoch: u64, dir: &str) -> io::Result<Vec<String>> {
        self.enter(epoch, dir)?;
        match self.names.get(normal(dir)) {
            Some(Target::Dir) => Ok(self.names.files_in(normal(dir))),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn open(&mut self, epoch: u64, path: &str, mode: OpenMode) -> io::Result<Handle> {
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

    pub(super) fn close(&mut self, handle: &Handle) {
        if handle.epoch == self.epoch {
            self.inode(handle.ino).handles -= 1;
            self.collect(handle.ino);
        }
    }

    pub(super) fn rename(&mut self, epoch: u64, from: &str, to: &str) -> io::Result<()> {
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

    pub(super) fn remove(&mut self, epoch: u64, path: &str) -> io::Result<()> {
        self.enter(epoch, path)?;
        self.file_of(path).ok_or(io::ErrorKind::NotFound)?;
        let seq = self.next_seq();
        self.names.change(seq, NameChange::Unlink { path: normal(path).to_owned() });
        Ok(())
    }

    pub(super) fn len(&mut self, handle: &Handle) -> io::Result<u64> {
        self.enter(handle.epoch, &handle.path)?;
        Ok(self.inode(handle.ino).view.len())
    }

    pub(super) fn read(&mut self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.enter(handle.epoch, &handle.path)?;
        self.counters.reads += 1;
        self.counters.read_bytes += buffer.len() as u64;
        if self.inode(handle.ino).view.read(offset, buffer) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    pub(super) fn write(&mut self, handle: &Handle, offset: u64, data: Bytes) -> io::Result<()> {
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
        inode.change(seq, Change::Write { offset, lands_at, data });
        Ok(())
    }

    pub(super) fn set_len(&mut self, handle: &Handle, len: u64) -> io::Result<()> {
        self.admit_change(handle, len)?;
        let seq = self.next_seq();
        self.inode(handle.ino).change(seq, Change::SetLen(len));
        Ok(())
    }

    pub(super) fn begin_sync(&mut self, now: Duration, handle: &Handle) -> io::Result<SyncId> {
        self.enter(handle.epoch, &handle.path)?;
        self.counters.syncs += 1;
        Ok(self.begin(now, Target::File(handle.ino), &handle.path))
    }

    pub(super) fn begin_sync_dir(&mut self, now: Duration, epoch: u64, dir: &str) -> io::Result<SyncId> {
        self.enter(epoch, dir)?;
        let dir = normal(dir);
        if self.names.get(dir) != Some(Target::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.counters.dir_syncs += 1;
        Ok(self.begin(now, Target::Dir, dir))
    }

    /// How a sync ended, or until when to wait for it (no time: until the faults change).
    pub(super) fn poll_sync(&mut self, now: Duration, epoch: u64, id: SyncId, fails: bool) -> Poll {
        if epoch != self.epoch {
            return Poll::Done(Err(dead()));
        }
        self.settle(now);
        match self.in_flight.iter().find(|sync| sync.id == id) {
            Some(sync) => Poll::Wait(sync.due),
            None if fails => Poll::Done(Err(io::Error::from_raw_os_error(libc::EIO))),
            None => Poll::Done(Ok(())),
        }
    }

    /// True when this sync will report an error once it is over.
    pub(super) fn sync_fails(&self, id: SyncId) -> bool {
        self.in_flight.iter().any(|sync| sync.id == id && sync.fate == SyncFate::Error)
    }

    // --- inside ----------------------------------------------------------------------------------------------------

    /// Ends every sync that is due.
    pub(super) fn settle(&mut self, now: Duration) {
        let due = |sync: &InFlight| sync.due.is_some_and(|due| due <= now);
        while let Some(at) = (0..self.in_flight.len())
            .filter(|at| due(&self.in_flight[*at]))
            .min_by_key(|at| (self.in_flight[*at].due, self.in_flight[*at].id.0))
        {
            let sync = self.in_flight.remove(at);
            self.finish(sync);
        }
    }

    fn finish(&mut self, sync: InFlight) {
        let mut changes = 0;
        match (sync.fate, sync.target) {
            (SyncFate::Honest, Target::Dir) => {
                self.names.sync(&sync.path, sync.upto);
                let gone: Vec<Ino> =
                    self.inodes.iter().filter(|(_, inode)| inode.handles == 0).map(|(ino, _)| *ino).collect();
                gone.into_iter().for_each(|ino| self.collect(ino));
            }
            (SyncFate::Honest, Target::File(ino)) => {
                changes = self.inodes.get_mut(&ino).map_or(0, |inode| inode.sync(sync.upto));
            }
            (SyncFate::Error, Target::File(ino)) => {
                if let Some(inode) = self.inodes.get_mut(&ino) {
                    inode.forget(sync.upto);
                }
            }
            (SyncFate::Error, Target::Dir) | (SyncFate::Lie, _) => {}
        }
        if self.listening {
            self.events.push(DiskEvent::Synced { path: sync.path, changes, ok: sync.fate != SyncFate::Error });
        }
    }

    fn begin(&mut self, now: Duration, target: Target, path: &str) -> SyncId {
        self.settle(now);
        self.last_sync += 1;
        let id = SyncId(self.last_sync);
        let lies = self.faults.lying_sync.is_some_and(|every| self.last_sync.is_multiple_of(every.max(1)));
        let fate = match () {
            () if self.draws.chance(self.labels.error, self.faults.sync_error) => SyncFate::Error,
            () if lies => SyncFate::Lie,
            () => SyncFate::Honest,
        };
        let mut due = (!self.faults.stuck).then(|| now + self.draw_sync_time());
        let ahead = self.in_flight.iter().filter(|sync| sync.target == target && sync.path == path);
        if let Some(last) = ahead.map(|sync| sync.due).next_back() {
            due = due.zip(last).map(|(due, last)| due.max(last));
        }
        if fate == SyncFate::Error {
            self.counters.errors += 1;
        }
        self.in_flight.push(InFlight { id, target, path: path.to_owned(), upto: self.last_seq, due, fate });
        id
    }

    fn draw_sync_time(&self) -> Duration {
        self.draws.within(self.labels.sync, self.faults.slow_sync.as_ref().unwrap_or(&self.usual_sync))
    }

    /// The gate of every call: dead processes and blown fuses end here.
    fn enter(&mut self, epoch: u64, path: &str) -> io::Result<()> {
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

    fn fail(&mut self, path: &str, errno: i32) -> io::Error {
        let error = io::Error::from_raw_os_error(errno);
        self.counters.errors += 1;
        if self.listening {
            self.events.push(DiskEvent::Failed { path: path.to_owned(), error: error.kind() });
        }
        error
    }

    fn inode(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("an open file has an inode")
    }

    /// Frees a file that nobody can reach any more.
    fn collect(&mut self, ino: Ino) {
        if self.inodes.get(&ino).is_some_and(|inode| inode.handles == 0) && !self.names.mentions(ino) {
            self.inodes.remove(&ino);
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    pub(super) fn new_epoch(&mut self) {
        self.epoch += 1;
        self.faults.fuse = None;
        self.inodes.values_mut().for_each(|inode| inode.handles = 0);
    }

    pub(super) fn forget_syncs(&mut self) {
        self.in_flight.clear();
    }
}

/// The state of a sync.
pub(super) enum Poll {
    Done(io::Result<()>),
    Wait(Option<Duration>),
}

fn dead() -> io::Error {
    io::Error::other("the process that opened this is dead")
}
