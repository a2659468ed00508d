//! Syncs under way. They end by themselves when their time has come, whether or not anybody waits.

use std::io;
use std::time::Duration;

use super::calls::{Handle, dead};
use super::names::{Ino, Target, normal};
use super::store::{DiskEvent, Store};

/// A sync under way, as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    id: u64,
    epoch: u64,
    fails: bool,
}

/// Where a sync stands.
#[derive(Debug)]
pub enum SyncState {
    /// It has ended.
    Done(io::Result<()>),
    /// It ends at this time; nobody knows when, while the disk is stuck.
    Wait(Option<Duration>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Honest,
    Lie,
    Error,
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    id: u64,
    target: Target,
    path: String,
    /// Covers the changes up to here.
    upto: u64,
    /// Not known while the disk is stuck.
    due: Option<Duration>,
    fate: Fate,
}

impl Store {
    /// Begins to make the bytes and the length of a file durable, as they are now.
    pub fn begin_sync(&mut self, now: Duration, handle: &Handle) -> io::Result<Ticket> {
        self.enter(handle.epoch, &handle.path)?;
        self.counters.syncs += 1;
        Ok(self.begin(now, Target::File(handle.ino), &handle.path))
    }

    /// Begins to make the names in a directory durable, as they are now.
    pub fn begin_sync_dir(&mut self, now: Duration, epoch: u64, dir: &str) -> io::Result<Ticket> {
        self.enter(epoch, dir)?;
        let dir = normal(dir);
        if self.names.get(dir) != Some(Target::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.counters.dir_syncs += 1;
        Ok(self.begin(now, Target::Dir, dir))
    }

    /// Where a sync stands.
    pub fn poll_sync(&mut self, now: Duration, ticket: Ticket) -> SyncState {
        if ticket.epoch != self.epoch {
            return SyncState::Done(Err(dead()));
        }
        self.settle(now);
        match self.in_flight.iter().find(|sync| sync.id == ticket.id) {
            Some(sync) => SyncState::Wait(sync.due),
            None if ticket.fails => SyncState::Done(Err(io::Error::from_raw_os_error(libc::EIO))),
            None => SyncState::Done(Ok(())),
        }
    }

    /// Ends every sync that is due.
    pub(super) fn settle(&mut self, now: Duration) {
        let due = |sync: &InFlight| sync.due.is_some_and(|due| due <= now);
        while let Some(at) = (0..self.in_flight.len())
            .filter(|at| due(&self.in_flight[*at]))
            .min_by_key(|at| (self.in_flight[*at].due, self.in_flight[*at].id))
        {
            let sync = self.in_flight.remove(at);
            self.finish(sync);
        }
    }

    fn finish(&mut self, sync: InFlight) {
        let mut changes = 0;
        match (sync.fate, sync.target) {
            (Fate::Honest, Target::Dir) => {
                self.names.sync(&sync.path, sync.upto);
                let gone: Vec<Ino> =
                    self.inodes.iter().filter(|(_, inode)| inode.handles == 0).map(|(ino, _)| *ino).collect();
                gone.into_iter().for_each(|ino| self.collect(ino));
            }
            (Fate::Honest, Target::File(ino)) => {
                changes = self.inodes.get_mut(&ino).map_or(0, |inode| inode.sync(sync.upto));
            }
            (Fate::Error, Target::File(ino)) => {
                if let Some(inode) = self.inodes.get_mut(&ino) {
                    inode.forget(sync.upto);
                }
            }
            (Fate::Error, Target::Dir) | (Fate::Lie, _) => {}
        }
        if self.listening {
            self.events.push(DiskEvent::Synced { path: sync.path, changes, ok: sync.fate != Fate::Error });
        }
    }

    /// Follows a change of faults: a stuck disk has no end times, one that is no longer stuck has new ones.
    pub(super) fn reschedule(&mut self, now: Duration) {
        for at in 0..self.in_flight.len() {
            self.in_flight[at].due = match self.in_flight[at].due {
                _ if self.faults.stuck => None,
                Some(due) => Some(due),
                None => Some(now + self.draw_sync_time()),
            };
        }
    }

    fn begin(&mut self, now: Duration, target: Target, path: &str) -> Ticket {
        self.settle(now);
        self.last_sync += 1;
        let id = self.last_sync;
        let lies = self.faults.lying_sync.is_some_and(|every| self.last_sync.is_multiple_of(every.max(1)));
        let fate = match () {
            () if self.draws.chance(self.labels.error, self.faults.sync_error) => Fate::Error,
            () if lies => Fate::Lie,
            () => Fate::Honest,
        };
        let mut due = (!self.faults.stuck).then(|| now + self.draw_sync_time());
        let ahead = self.in_flight.iter().filter(|sync| sync.target == target && sync.path == path);
        if let Some(last) = ahead.map(|sync| sync.due).next_back() {
            due = due.zip(last).map(|(due, last)| due.max(last));
        }
        if fate == Fate::Error {
            self.counters.errors += 1;
        }
        self.in_flight.push(InFlight { id, target, path: path.to_owned(), upto: self.last_seq, due, fate });
        Ticket { id, epoch: self.epoch, fails: fate == Fate::Error }
    }

    fn draw_sync_time(&self) -> Duration {
        self.draws.within(self.labels.sync, self.faults.slow_sync.as_ref().unwrap_or(&self.usual_sync))
    }
}
