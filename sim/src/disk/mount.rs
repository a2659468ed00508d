//! The store behind the server's `Disk` seam. One mount per life of a process; a crash ends it.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_storage::{Disk, File, OpenMode, Pending};
use tokio::sync::Notify;

use super::calls::Handle;
use super::crash::{Crash, CrashReport};
use super::fault::Faults;
use super::store::{Counters, DiskEvent, Store};
use super::syncs::{SyncState, Ticket};
use crate::draw::Draws;
use crate::timer::SimTime;

type Tap = Box<dyn Fn(&DiskEvent) + Send + Sync>;

struct Shared {
    store: Mutex<Store>,
    time: SimTime,
    /// Syncs without an end in sight look again.
    unstuck: Notify,
    tap: Option<Tap>,
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Store, Duration) -> T) -> T {
        let mut store = self.store.lock().expect("no panic while the disk is locked");
        let result = f(&mut store, self.time.now());
        if let Some(tap) = &self.tap {
            let events = store.take_events();
            drop(store);
            events.iter().for_each(tap);
        }
        result
    }
}

/// A member's disk. Outlives the member's processes.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

impl SimDisk {
    /// An empty disk; see [`Store::new`]. Everything that happens to it is told to `tap`.
    pub fn new(name: &str, draws: &Draws, sync_time: Range<Duration>, tap: Option<Tap>) -> SimDisk {
        let mut store = Store::new(name, draws, sync_time);
        if tap.is_some() {
            store.listen();
        }
        SimDisk(Arc::new(Shared { store: Mutex::new(store), time: SimTime::current(), unstuck: Notify::new(), tap }))
    }

    /// The disk as a process sees it that starts now.
    pub fn mount(&self) -> Arc<dyn Disk> {
        Arc::new(Mount { disk: self.0.clone(), epoch: self.0.with(|store, _| store.epoch()) })
    }

    /// Crashes the machine: call it before the process is killed, so that destructors cannot write any more.
    pub fn crash(&self, crash: Crash) -> CrashReport {
        let report = self.0.with(|store, now| store.crash(now, crash));
        self.0.unstuck.notify_waiters();
        report
    }

    /// Loses everything, as a new disk in the place of a broken one: call it when no process runs.
    pub fn wipe(&self) {
        self.0.with(|store, _| store.wipe());
    }

    /// Changes the faults.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        self.0.with(|store, now| store.set_faults(now, change));
        self.0.unstuck.notify_waiters();
    }

    /// See [`Store::is_durable`].
    pub fn is_durable(&self, path: &str, offset: u64, len: u64) -> bool {
        self.0.with(|store, now| store.is_durable(now, path, offset, len))
    }

    /// See [`Store::rot`].
    pub fn rot(&self, path: &str, offset: u64, mask: u8) -> bool {
        self.0.with(|store, _| store.rot(path, offset, mask))
    }

    /// See [`Store::files`].
    pub fn files(&self) -> Vec<(String, u64)> {
        self.0.with(|store, _| store.files())
    }

    /// See [`Store::used_len`].
    pub fn used_len(&self, path: &str) -> u64 {
        self.0.with(|store, _| store.used_len(path))
    }

    /// What the disk did so far.
    pub fn counters(&self) -> Counters {
        self.0.with(|store, _| store.counters())
    }
}

struct Mount {
    disk: Arc<Shared>,
    epoch: u64,
}

impl Disk for Mount {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.disk.with(|store, _| store.create_dir_all(self.epoch, dir))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.with(|store, _| store.list(self.epoch, dir))
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let handle = self.disk.with(|store, _| store.open(self.epoch, path, mode))?;
        Ok(Arc::new(OpenFile { disk: self.disk.clone(), handle }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.with(|store, _| store.rename(self.epoch, from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.with(|store, _| store.remove(self.epoch, path))
    }

    fn sync_dir(&self, dir: &str) -> Pending {
        finish(&self.disk, self.disk.with(|store, now| store.begin_sync_dir(now, self.epoch, dir)))
    }
}

struct OpenFile {
    disk: Arc<Shared>,
    handle: Handle,
}

impl OpenFile {
    fn begin_sync(&self) -> io::Result<Ticket> {
        self.disk.with(|store, now| store.begin_sync(now, &self.handle))
    }
}

impl File for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.with(|store, _| store.len(&self.handle))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.with(|store, _| store.read(&self.handle, offset, buffer))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> Pending {
        let result = self.disk.with(|store, _| store.write(&self.handle, offset, data));
        Box::pin(std::future::ready(result))
    }

    fn set_len(&self, len: u64) -> Pending {
        let result = self.disk.with(|store, _| store.set_len(&self.handle, len));
        Box::pin(std::future::ready(result))
    }

    fn sync(&self) -> Pending {
        finish(&self.disk, self.begin_sync())
    }

    fn write_at_and_sync(&self, offset: u64, data: Bytes) -> Pending {
        let written = self.disk.with(|store, _| store.write(&self.handle, offset, data));
        finish(&self.disk, written.and_then(|()| self.begin_sync()))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // After a panic under the lock there is nothing left to keep tidy.
        if let Ok(mut store) = self.disk.store.lock() {
            store.close(&self.handle);
        }
    }
}

/// Waits for the end of a sync.
fn finish(disk: &Arc<Shared>, begun: io::Result<Ticket>) -> Pending {
    let ticket = match begun {
        Ok(ticket) => ticket,
        Err(error) => return Box::pin(std::future::ready(Err(error))),
    };
    let disk = disk.clone();
    Box::pin(async move {
        loop {
            let changed = disk.unstuck.notified();
            match disk.with(|store, now| store.poll_sync(now, ticket)) {
                SyncState::Done(result) => return result,
                SyncState::Wait(Some(due)) => disk.time.alarm(due).await,
                SyncState::Wait(None) => changed.await,
            }
        }
    })
}
