//! The disk seam: every byte that must survive passes through [`Disk`] and [`File`].
//!
//! Paths are relative to the data directory. Reads and metadata calls are synchronous (they hit the page
//! cache in production and memory in simulation); writes and syncs return futures, because they take time.
//! Nothing is durable before [`File::sync`] resolved, and a created, renamed or removed name is not durable
//! before [`Disk::sync_dir`] of its directory resolved.
//!
//! An error of any call is final for its caller: after a failed write or sync the state of the bytes is
//! unknown, so the node stops. Nothing here is retried.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// The outcome of a write or a sync, when it is there.
pub type Pending<T = ()> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// How [`Disk::open`] treats the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; read only.
    Read,
    /// Must exist; read and write.
    Write,
    /// Created empty when absent, kept as it is when present; read and write.
    Create,
}

/// A member's data directory.
pub trait Disk: Send + Sync {
    /// Creates a directory and its parents; an existing one is fine.
    fn create_dir_all(&self, dir: &str) -> io::Result<()>;
    /// The plain file names in `dir`, sorted. An absent directory is `NotFound`.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing the target. Atomic; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &str) -> Pending;
}

/// One open file. Calls on one file take effect in the order in which they were made, also when their
/// futures are awaited in another order.
pub trait File: Send + Sync {
    /// The file's length in bytes, writes not yet durable included.
    fn len(&self) -> io::Result<u64>;
    /// True when the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes `data` at `offset`, growing the file when needed. Visible to reads at once, durable after `sync`.
    fn write_at(&self, offset: u64, data: Bytes) -> Pending;
    /// Cuts or grows (with zeros) the file. Durable after `sync`.
    fn set_len(&self, len: u64) -> Pending;
    /// Makes the file's bytes and length durable.
    fn sync(&self) -> Pending;
    /// Writes and syncs in one go: one hand-over to the I/O thread instead of two.
    fn write_at_and_sync(&self, offset: u64, data: Bytes) -> Pending;
}
