//! Values, read back out of log segments.
//!
//! Shared by everyone who reads: all methods take `&self`, and reads are synchronous (a cache hit, or one `pread`).
//! A value is served only if its CRC32C is the one its index entry carries; a mismatch is an error with file and
//! offset, and the caller stops the node.
//!
//! It also knows per segment how many bytes the index still points to (*live*), so that segments without any can be
//! freed and segments with few can be rewritten. The counts are the caller's: they start at 0 at every start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use evenkeel_raft::{Index, Term};

use crate::cache::Cache;
use crate::disk::{Disk, File, OpenMode};
use crate::wal::format::Record;
use crate::wal::scan::{BatchReader, RawBatch};
use crate::wal::{LogStart, Place, WalError, segment};

/// The checksum that an index entry carries for its value.
pub fn value_crc(value: &[u8]) -> u32 {
    crc32c::crc32c(value)
}

/// Why a value could not be read.
#[derive(Debug)]
pub enum ValueError {
    /// No such segment: it was freed, or never there. Pointing to it is a bug, or an index older than the log.
    Gone {
        /// The segment.
        segment: u32,
    },
    /// The bytes are not the value: the disk lost or changed them. Stop the node.
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u32,
        /// How long the value should be.
        len: u32,
    },
    /// The disk refused. Stop the node.
    Io {
        /// The file.
        file: String,
        /// Where in it.
        offset: u32,
        /// The disk's reason.
        source: io::Error,
    },
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::Gone { segment } => write!(f, "{}: this log segment is gone", segment::path(*segment)),
            ValueError::Damaged { file, offset, len } => {
                write!(
                    f,
                    "{file}: the value of {len} bytes at offset {offset} is damaged. Remove this member's data "
                )?;
                f.write_str("directory and let it rejoin the cluster, or restore a snapshot")
            }
            ValueError::Io { file, offset, source } => write!(f, "{file}: reading at offset {offset} failed: {source}"),
        }
    }
}

impl std::error::Error for ValueError {}

/// How a segment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    /// The segment.
    pub segment: u32,
    /// Length of its file.
    pub file_bytes: u32,
    /// Bytes written to it (the file's length, when that is not known).
    pub used_bytes: u32,
    /// Bytes of values the index points to.
    pub live_bytes: u64,
    /// The log's next entry when the segment was begun.
    pub next_index: Index,
    /// No entry in it that still counts lies after this one.
    pub last_index: Index,
}

pub(crate) struct SegmentEntry {
    pub file: Option<Arc<dyn File>>,
    pub file_bytes: u32,
    pub used: u32,
    pub next_index: Index,
    pub live_bytes: u64,
}

/// Reader and bookkeeper of the values in the log.
pub struct ValueLog {
    disk: Arc<dyn Disk>,
    segments: Mutex<BTreeMap<u32, SegmentEntry>>,
    cache: Mutex<Cache>,
    holds: Mutex<Holds>,
}

/// What is held: by number, the newest segment that existed when the hold was taken.
#[derive(Default)]
struct Holds {
    next: u64,
    upto: BTreeMap<u64, u32>,
}

/// As long as it lives, no segment is freed that existed when it was taken: see [`ValueLog::hold`].
#[must_use = "nothing is held once it is dropped"]
pub struct Hold {
    log: Arc<ValueLog>,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.log.holds).upto.remove(&self.number);
    }
}

/// A panic while a lock was held has ended the work it guarded; the tables themselves are whole after every call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ValueLog {
    pub(crate) fn new(disk: Arc<dyn Disk>, cache_bytes: usize) -> ValueLog {
        ValueLog {
            disk,
            segments: Mutex::default(),
            cache: Mutex::new(Cache::new(cache_bytes)),
            holds: Mutex::default(),
        }
    }

    /// Reads a value and verifies it.
    pub fn read(&self, segment: u32, offset: u32, len: u32, crc: u32) -> Result<Bytes, ValueError> {
        if let Some(value) = self.cached(segment, offset, len) {
            return Ok(value);
        }
        let value = self.read_stored(segment, offset, len, crc)?;
        lock(&self.cache).insert((segment, offset), value.clone());
        Ok(value)
    }

    /// As [`ValueLog::read`], for a value that is not likely to be read again soon: the cache is left to others.
    pub fn read_once(&self, segment: u32, offset: u32, len: u32, crc: u32) -> Result<Bytes, ValueError> {
        self.cached(segment, offset, len).map_or_else(|| self.read_stored(segment, offset, len, crc), Ok)
    }

    fn cached(&self, segment: u32, offset: u32, len: u32) -> Option<Bytes> {
        if len == 0 {
            return Some(Bytes::new());
        }
        lock(&self.cache).get((segment, offset)).filter(|value| value.len() == len as usize)
    }

    fn read_stored(&self, segment: u32, offset: u32, len: u32, crc: u32) -> Result<Bytes, ValueError> {
        let (file, used) = self.file(segment)?;
        let damaged = || ValueError::Damaged { file: segment::path(segment), offset, len };
        if u64::from(used) < u64::from(offset) + u64::from(len) {
            return Err(damaged());
        }
        let mut buffer = BytesMut::zeroed(len as usize);
        let read = file.read_at(u64::from(offset), &mut buffer);
        if !lock(&self.segments).contains_key(&segment) {
            // Freed meanwhile, and perhaps overwritten.
            return Err(ValueError::Gone { segment });
        }
        read.map_err(|source| ValueError::Io { file: segment::path(segment), offset, source })?;
        if value_crc(&buffer) != crc {
            return Err(damaged());
        }
        Ok(buffer.freeze())
    }

    /// Keeps every segment there is now, whatever is released, for somebody who goes on reading an older state.
    pub fn hold(self: &Arc<Self>) -> Hold {
        let newest = lock(&self.segments).keys().next_back().copied().unwrap_or(0);
        let mut holds = lock(&self.holds);
        holds.next += 1;
        let number = holds.next;
        holds.upto.insert(number, newest);
        Hold { log: Arc::clone(self), number }
    }

    pub(crate) fn is_held(&self, segment: u32) -> bool {
        lock(&self.holds).upto.values().any(|upto| segment <= *upto)
    }

    /// Keeps a copy of a value just written, which is likely to be read soon.
    pub fn remember(&self, segment: u32, offset: u32, value: &[u8]) {
        lock(&self.cache).insert((segment, offset), Bytes::copy_from_slice(value));
    }

    /// The index points to `bytes` more in this segment.
    pub fn add_live(&self, segment: u32, bytes: u64) -> Result<(), ValueError> {
        let mut segments = lock(&self.segments);
        segments.get_mut(&segment).ok_or(ValueError::Gone { segment })?.live_bytes += bytes;
        Ok(())
    }

    /// The index points to `bytes` less in this segment.
    ///
    /// # Panics
    ///
    /// When more is taken away than was added: then the index and the log disagree, and a segment in use might be
    /// freed.
    pub fn sub_live(&self, segment: u32, bytes: u64) {
        let mut segments = lock(&self.segments);
        let entry = segments.get_mut(&segment).unwrap_or_else(|| panic!("segment {segment:x} lost bytes it never had"));
        let left = entry.live_bytes.checked_sub(bytes);
        entry.live_bytes =
            left.unwrap_or_else(|| panic!("{bytes} bytes less than {} in {segment:x}", entry.live_bytes));
    }

    /// All segments in order.
    pub fn segments(&self) -> Vec<SegmentUse> {
        let segments = lock(&self.segments);
        // What the log had reached when the next segment was begun, no entry of this one lies behind.
        let next = segments.values().skip(1).map(|entry| entry.next_index.prev()).chain([Index(u64::MAX)]);
        (segments.iter().zip(next))
            .map(|((&segment, entry), last_index)| SegmentUse {
                segment,
                file_bytes: entry.file_bytes,
                used_bytes: entry.used,
                live_bytes: entry.live_bytes,
                next_index: entry.next_index,
                last_index,
            })
            .collect()
    }

    /// Segments that hold no live value at this moment, and will not: the one being written is none of them. Take it
    /// together with a checkpoint's state.
    pub fn unused_segments(&self) -> BTreeSet<u32> {
        let segments = lock(&self.segments);
        let finished = segments.iter().rev().skip(1);
        finished.filter(|(_, entry)| entry.live_bytes == 0).map(|(&segment, _)| segment).collect()
    }

    /// Where a restart from a checkpoint of the state after `index` has to begin: the last segment begun when the
    /// log had not yet gone past `index`. All that follows `index` was written there or later.
    pub fn log_start(&self, index: Index, term: Term) -> LogStart {
        let segments = lock(&self.segments);
        let begun_before = |entry: &SegmentEntry| entry.next_index <= index.next();
        let found = segments.iter().rev().find(|(_, entry)| begun_before(entry)).map(|(&segment, _)| segment);
        let segment = found.or(segments.keys().next().copied()).expect("a log has a segment");
        LogStart { segment, index, term }
    }

    /// Everything stored in one segment, batch by batch, for garbage collection. The segment being written may be
    /// scanned up to its last durable batch.
    pub fn scan(&self, segment: u32) -> Result<SegmentScan, WalError> {
        let missing = || WalError::MissingSegment { file: segment::path(segment) };
        let end = {
            let segments = lock(&self.segments);
            let used = segments.get(&segment).ok_or_else(missing)?.used;
            let is_last = segments.range(segment + 1..).next().is_none();
            let end_known = is_last || segments.contains_key(&(segment + 1));
            end_known.then_some(used)
        };
        let reader = BatchReader::new(segment::open(&*self.disk, segment, OpenMode::Read)?);
        Ok(SegmentScan { reader, end })
    }

    fn file(&self, segment: u32) -> Result<(Arc<dyn File>, u32), ValueError> {
        let mut segments = lock(&self.segments);
        let entry = segments.get_mut(&segment).ok_or(ValueError::Gone { segment })?;
        if entry.file.is_none() {
            let path = segment::path(segment);
            let opened = self.disk.open(&path, OpenMode::Read);
            entry.file = Some(opened.map_err(|source| ValueError::Io { file: path, offset: 0, source })?);
        }
        let file = entry.file.clone().expect("opened above");
        Ok((file, entry.used))
    }

    pub(crate) fn add_segment(&self, segment: u32, entry: SegmentEntry) {
        let before = lock(&self.segments).insert(segment, entry);
        assert!(before.is_none(), "segment {segment:x} exists already");
    }

    pub(crate) fn remove_segment(&self, segment: u32) {
        let removed = lock(&self.segments).remove(&segment).expect("only known segments are freed");
        assert_eq!(removed.live_bytes, 0, "segment {segment:x} is in use");
        lock(&self.cache).forget(segment);
    }

    pub(crate) fn set_used(&self, segment: u32, used: u32) {
        let mut segments = lock(&self.segments);
        segments.get_mut(&segment).expect("only known segments grow").used = used;
    }
}

/// What a stored value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredAs {
    /// The payload of this entry. It may have been replaced by a later entry of the same index.
    Entry {
        /// Its term.
        term: Term,
        /// Its place in the log.
        index: Index,
    },
    /// A carry.
    Carry,
}

/// Bytes stored in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where they lie.
    pub place: Place,
    /// What they belong to.
    pub stored_as: StoredAs,
    /// The bytes.
    pub bytes: Bytes,
}

/// A walk through one segment; see [`ValueLog::scan`].
pub struct SegmentScan {
    reader: BatchReader,
    /// Where the segment's last batch ends, when that is known.
    end: Option<u32>,
}

impl SegmentScan {
    /// The payloads and carries of the next batch, or `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Vec<Stored>>, WalError> {
        let batch = match self.end {
            Some(end) => self.reader.step_until(end)?,
            None => self.reader.step_open_ended()?,
        };
        batch.map(|batch| self.stored(&batch)).transpose()
    }

    fn stored(&self, batch: &RawBatch) -> Result<Vec<Stored>, WalError> {
        let mut all = Vec::new();
        for record in batch.records() {
            let (place, record) = record.map_err(|what| self.reader.damaged(batch.offset(), what))?;
            let stored_as = match record {
                Record::Entry { term, index, payload: Some(_) } => StoredAs::Entry { term, index },
                Record::Carry(_) => StoredAs::Carry,
                _ => continue,
            };
            all.push(Stored { place, stored_as, bytes: batch.bytes(place) });
        }
        Ok(all)
    }
}
