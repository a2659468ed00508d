//! The real disk: a data directory on the file system. The only file that names `std::fs`.
//!
//! One thread per disk does all writes and syncs, in the order in which they were asked for; reads and metadata calls
//! run on the caller's thread, since they mostly hit the page cache. A read of bytes whose write still waits in the
//! queue waits for that write (not for its sync).
//!
//! Directories get mode 0700, files 0600. A lock on the file `lock` keeps a second process out.

// The seam itself: everyone else goes through `Disk`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fs::{self, DirBuilder, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::{fmt, io, thread};

use bytes::Bytes;
use futures_channel::oneshot;

use crate::disk::{Disk, File, OpenMode, Pending};

/// Jobs that may wait for the I/O thread; more make the caller wait.
const JOBS_MAX: usize = 1024;

/// Why a data directory could not be taken into use.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system refused.
    Io {
        /// The path.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { dir } => write!(
                f,
                "data directory {} is in use by another process: stop that one, or choose another --data-dir",
                dir.display()
            ),
            OpenError::Io { path, source } => {
                write!(f, "cannot use {}: {source}. Check its owner and permissions, or choose another --data-dir", {
                    path.display()
                })
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// A data directory, locked for this process.
pub struct RealDisk {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    jobs: SyncSender<Job>,
    unsafe_no_fsync: bool,
    /// Held for as long as anyone can write.
    _lock: fs::File,
}

type Job = Box<dyn FnOnce() + Send>;

impl RealDisk {
    /// Takes a directory into use; creates it when it is absent. With `unsafe_no_fsync`, nothing survives a power loss.
    pub fn open(root: impl AsRef<Path>, unsafe_no_fsync: bool) -> Result<RealDisk, OpenError> {
        let root = root.as_ref().to_owned();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        create_dirs(&root).map_err(failed(&root))?;
        let lock_path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::Locked { dir: root }),
            Err(fs::TryLockError::Error(source)) => return Err(OpenError::Io { path: lock_path, source }),
        }
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let io_thread = thread::Builder::new().name("disk".to_owned()).spawn(move || run(queue));
        io_thread.map_err(failed(&root))?;
        Ok(RealDisk { shared: Arc::new(Shared { root, jobs, unsafe_no_fsync, _lock: lock }) })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.shared.root.join(path)
    }
}

/// Waits until all that was asked for is done: after that, and when no file is open any more, the directory is free.
impl Drop for RealDisk {
    fn drop(&mut self) {
        let (done, all_done) = sync_channel(1);
        let marker = Box::new(move || {
            let _ = done.send(());
        });
        if self.shared.jobs.send(marker).is_ok() {
            let _ = all_done.recv();
        }
    }
}

fn run(queue: Receiver<Job>) {
    for job in queue {
        job();
    }
}

fn create_dirs(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

impl Shared {
    /// Has the I/O thread do `work`.
    fn submit(self: &Arc<Shared>, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Pending {
        let (done, outcome) = oneshot::channel();
        // The job keeps the lock, and with it the directory, until it is done.
        let shared = self.clone();
        let job = Box::new(move || {
            let result = work();
            drop(shared);
            // Nobody may wait any more.
            let _ = done.send(result);
        });
        let queued = self.jobs.send(job);
        Box::pin(async move {
            let gone = || io::Error::other("the disk thread is gone");
            queued.map_err(|_| gone())?;
            outcome.await.unwrap_or_else(|_| Err(gone()))
        })
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        if self.unsafe_no_fsync { Ok(()) } else { file.sync_data() }
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        create_dirs(&self.path(dir))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let writable = mode != OpenMode::Read;
        let create = mode == OpenMode::Create;
        let file = OpenOptions::new().read(true).write(writable).create(create).mode(0o600).open(self.path(path))?;
        let inner = Arc::new(Inner { file, queued: Mutex::default(), written: Condvar::new() });
        Ok(Arc::new(RealFile { shared: self.shared.clone(), inner }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn sync_dir(&self, dir: &str) -> Pending {
        let (shared, path) = (self.shared.clone(), self.path(dir));
        self.shared.submit(move || if shared.unsafe_no_fsync { Ok(()) } else { fs::File::open(path)?.sync_all() })
    }
}

struct RealFile {
    shared: Arc<Shared>,
    inner: Arc<Inner>,
}

struct Inner {
    file: fs::File,
    /// Where queued writes will change the file.
    queued: Mutex<Vec<Range<u64>>>,
    /// A queued write was done.
    written: Condvar,
}

impl Inner {
    fn queue(&self, range: Range<u64>) {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner).push(range);
    }

    fn done(&self, range: &Range<u64>) {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = queued.iter().position(|other| other == range) {
            queued.remove(at);
        }
        self.written.notify_all();
    }

    /// Waits until no queued write touches `range`.
    fn settle(&self, range: Range<u64>) {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        while queued.iter().any(|other| other.start < range.end && range.start < other.end) {
            queued = self.written.wait(queued).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl RealFile {
    fn change(
        &self,
        range: Range<u64>,
        sync: bool,
        work: impl FnOnce(&fs::File) -> io::Result<()> + Send + 'static,
    ) -> Pending {
        self.inner.queue(range.clone());
        let (shared, inner) = (self.shared.clone(), self.inner.clone());
        self.shared.submit(move || {
            let result = work(&inner.file);
            inner.done(&range);
            result?;
            if sync { shared.sync(&inner.file) } else { Ok(()) }
        })
    }

    fn write(&self, offset: u64, data: Bytes, sync: bool) -> Pending {
        let range = offset..offset + data.len() as u64;
        self.change(range, sync, move |file| file.write_all_at(&data, offset))
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.settle(0..u64::MAX);
        Ok(self.inner.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.settle(offset..offset + buffer.len() as u64);
        self.inner.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, data: Bytes) -> Pending {
        self.write(offset, data, false)
    }

    fn set_len(&self, len: u64) -> Pending {
        self.change(0..u64::MAX, false, move |file| file.set_len(len))
    }

    fn sync(&self) -> Pending {
        self.change(0..0, true, |_| Ok(()))
    }

    fn write_at_and_sync(&self, offset: u64, data: Bytes) -> Pending {
        self.write(offset, data, true)
    }
}
