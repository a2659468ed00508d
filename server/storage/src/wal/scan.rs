//! Reading one segment's batches in order, and looking for proof behind the first unreadable one.

use std::sync::Arc;

use bytes::Bytes;

use super::format::{BATCH_HEADER, BatchHeader, Record, Records, SECTOR, SegmentHeader};
use super::segment::Opened;
use super::{Place, WalError};
use crate::disk::File;

const CHUNK_BYTES: u64 = 1 << 20;

/// An intact batch.
pub(crate) struct RawBatch {
    segment: u32,
    /// Where the payload begins in the file.
    payload_at: u32,
    payload: Bytes,
}

impl RawBatch {
    /// Each record with the place of its payload.
    pub fn records(&self) -> impl Iterator<Item = Result<(Place, Record<'_>), &'static str>> {
        Records::new(&self.payload).map(|record| {
            let (at, record) = record?;
            let len = match record {
                Record::Entry { payload: Some(payload), .. }
                | Record::Config { body: payload, .. }
                | Record::Carry(payload) => payload.len() as u32,
                _ => 0,
            };
            Ok((Place { segment: self.segment, offset: self.payload_at + at, len }, record))
        })
    }

    /// The bytes at a place inside this batch, shared.
    pub fn bytes(&self, place: Place) -> Bytes {
        let at = (place.offset - self.payload_at) as usize;
        self.payload.slice(at..at + place.len as usize)
    }

    /// Where the batch begins in the file.
    pub fn offset(&self) -> u32 {
        self.payload_at - BATCH_HEADER
    }
}

/// What lies at the reader's position.
pub(crate) enum Step {
    Batch(RawBatch),
    /// No intact batch, and why.
    Nothing(&'static str),
}

/// Reads a segment from its first batch on.
pub(crate) struct BatchReader {
    file: Arc<dyn File>,
    name: String,
    header: SegmentHeader,
    chain: u32,
    offset: u32,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl BatchReader {
    pub fn new(opened: Opened) -> BatchReader {
        let Opened { file, name, header, chain } = opened;
        BatchReader { file, name, header, chain, offset: SECTOR, chunk: Vec::new(), chunk_at: 0 }
    }

    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }
    /// Where the next batch should begin.
    pub fn offset(&self) -> u32 {
        self.offset
    }
    /// The header checksum of the last batch.
    pub fn chain(&self) -> u32 {
        self.chain
    }

    /// Reads the batch at the reader's position and moves behind it.
    pub fn step(&mut self) -> Result<Step, WalError> {
        let (at, segment, seed) = (self.offset, self.header.segment, self.header.seed);
        let room = u64::from(self.header.file_bytes - at);
        if room == 0 {
            return Ok(Step::Nothing("the segment is full"));
        }
        let sector = self.window(u64::from(at), u64::from(SECTOR))?;
        let Some((batch, chain)) = BatchHeader::decode(sector, seed, segment, at) else {
            return Ok(Step::Nothing("no batch begins here"));
        };
        if batch.total_bytes() > room {
            return Ok(Step::Nothing("the batch is longer than its segment"));
        }
        if batch.previous_chain != self.chain {
            return Ok(Step::Nothing("the batch does not follow the one before it"));
        }
        let whole = self.window(u64::from(at), batch.total_bytes())?;
        let after_header = &whole[BATCH_HEADER as usize..];
        if BatchHeader::payload_crc(seed, segment, at, after_header) != batch.payload_crc {
            return Ok(Step::Nothing("the batch's checksum does not match"));
        }
        let payload = Bytes::copy_from_slice(&after_header[..batch.payload_len as usize]);
        self.chain = chain;
        self.offset = at + batch.total_bytes() as u32;
        let raw = RawBatch { segment, payload_at: at + BATCH_HEADER, payload };
        if Records::new(&raw.payload).filter(|record| record.is_ok()).count() != batch.records as usize {
            // The checksums are right, so a crash did not do this.
            return Err(self.damaged(at, "the batch's records are malformed"));
        }
        Ok(Step::Batch(raw))
    }

    /// Reads the next batch of a segment known to end at `end`.
    pub fn step_until(&mut self, end: u32) -> Result<Option<RawBatch>, WalError> {
        if self.offset == end {
            return Ok(None);
        }
        match self.step()? {
            Step::Batch(batch) if self.offset <= end => Ok(Some(batch)),
            Step::Batch(batch) => Err(self.damaged(batch.offset(), "a batch crosses the end of its segment")),
            Step::Nothing(why) => Err(self.damaged(self.offset, why)),
        }
    }

    /// Reads the next batch of a segment whose end is not known. The end is where no batch begins and no later
    /// batch proves that one should.
    pub fn step_open_ended(&mut self) -> Result<Option<RawBatch>, WalError> {
        match self.step()? {
            Step::Batch(batch) => Ok(Some(batch)),
            Step::Nothing(why) => match self.proof_behind()? {
                None => Ok(None),
                Some(later) => {
                    let what = format!("{why}, though the batch at offset {later} says that it was durable");
                    Err(self.damaged(self.offset, what))
                }
            },
        }
    }

    /// Looks behind the reader's position for a batch of this segment that was written after whatever belongs
    /// here had become durable.
    fn proof_behind(&mut self) -> Result<Option<u32>, WalError> {
        let (segment, seed, bad) = (self.header.segment, self.header.seed, self.offset);
        let mut at = u64::from(bad) + u64::from(SECTOR);
        while at < u64::from(self.header.file_bytes) {
            let sector = self.window(at, u64::from(SECTOR))?;
            if let Some((batch, _)) = BatchHeader::decode(sector, seed, segment, at as u32)
                && bad < batch.synced_upto
            {
                return Ok(Some(at as u32));
            }
            at += u64::from(SECTOR);
        }
        Ok(None)
    }

    /// Whether an intact batch header of this segment's life lies at the reader's position.
    pub fn header_here(&mut self) -> Result<bool, WalError> {
        let (segment, seed, at) = (self.header.segment, self.header.seed, self.offset);
        if at == self.header.file_bytes {
            return Ok(false);
        }
        Ok(BatchHeader::decode(self.window(u64::from(at), u64::from(SECTOR))?, seed, segment, at).is_some())
    }

    pub fn damaged(&self, offset: u32, what: impl Into<String>) -> WalError {
        WalError::Damaged { file: self.name.clone(), offset: u64::from(offset), what: what.into() }
    }

    /// `len` bytes at `at`, which lie inside the file.
    pub fn window(&mut self, at: u64, len: u64) -> Result<&[u8], WalError> {
        let file_bytes = u64::from(self.header.file_bytes);
        assert!(at + len <= file_bytes, "{len} bytes at {at} reach past the file's {file_bytes}");
        let inside = self.chunk_at <= at && at + len <= self.chunk_at + self.chunk.len() as u64;
        if !inside {
            let want = len.max(CHUNK_BYTES.min(file_bytes - at));
            self.chunk.resize(want as usize, 0);
            self.chunk_at = at;
            if let Err(error) = self.file.read_at(at, &mut self.chunk) {
                self.chunk.clear();
                return Err(WalError::io(&self.name, "reading")(error));
            }
        }
        let from = (at - self.chunk_at) as usize;
        Ok(&self.chunk[from..from + len as usize])
    }
}
