//! The state of one disk. Told the time with every call; never waits.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use evenkeel_scenario::Label;

use super::fault::Faults;
use super::inode::Inode;
use super::names::{Ino, Names, Target, normal};
use super::syncs::InFlight;
use crate::draw::Draws;

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

/// The decisions of a disk.
pub(super) struct Labels {
    pub sync: Label,
    pub error: Label,
    pub keep: Label,
    pub prefix: Label,
    pub tear: Label,
    pub op: Label,
    pub sector: Label,
    pub rot: Label,
}

/// All files and names of one disk.
pub struct Store {
    pub(super) names: Names,
    pub(super) inodes: BTreeMap<Ino, Inode>,
    pub(super) draws: Draws,
    pub(super) labels: Labels,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) usual_sync: Range<Duration>,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    pub(super) epoch: u64,
    pub(super) last_seq: u64,
    pub(super) last_ino: u64,
    pub(super) last_sync: u64,
    pub(super) events: Vec<DiskEvent>,
    pub(super) listening: bool,
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
                rot: label("rot"),
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
        self.reschedule(now);
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

    pub(super) fn file_of(&self, path: &str) -> Option<Ino> {
        match self.names.get(normal(path)) {
            Some(Target::File(ino)) => Some(ino),
            _ => None,
        }
    }

    /// An error by a fault: counted, and told.
    pub(super) fn fail(&mut self, path: &str, errno: i32) -> io::Error {
        let error = io::Error::from_raw_os_error(errno);
        self.counters.errors += 1;
        if self.listening {
            self.events.push(DiskEvent::Failed { path: path.to_owned(), error: error.kind() });
        }
        error
    }

    pub(super) fn inode(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("an open file has an inode")
    }

    /// Frees a file that nobody can reach any more.
    pub(super) fn collect(&mut self, ino: Ino) {
        if self.inodes.get(&ino).is_some_and(|inode| inode.handles == 0) && !self.names.mentions(ino) {
            self.inodes.remove(&ino);
        }
    }

    pub(super) fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Every handle becomes that of a dead process.
    /// Loses everything.
    pub fn wipe(&mut self) {
        self.new_epoch();
        self.names = Names::default();
        self.inodes.clear();
        self.in_flight.clear();
    }

    pub(super) fn new_epoch(&mut self) {
        self.epoch += 1;
        self.faults.fuse = None;
        self.inodes.values_mut().for_each(|inode| inode.handles = 0);
    }
}
