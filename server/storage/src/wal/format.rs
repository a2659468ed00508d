//! The bytes of the log. All numbers are little-endian; a sector is 512 bytes.
//!
//! A segment file `wal/SEGMENT.seg` (16 hex digits) has a fixed length from birth to death:
//!
//! ```text
//! sector 0: segment header          sector 1...: batches, each starting on a sector
//!   0  8  magic "EKWALSEG"            0  4  magic
//!   8  4  format version              4  4  header checksum: CRC32C of (seed, bytes 8..40)
//!  12  4  segment id                  8  4  segment id
//!  16  8  cluster id                 12  4  own offset in the file
//!  24  8  member id                  16  4  payload length
//!  32  4  file length                20  4  record count
//!  36  4  flags: 1 = recycled file   24  4  header checksum of the batch before (the segment's for the first)
//!  40  8  seed                       28  4  synced up to: all before this offset was durable
//!  48  8  next index                 32  4  payload checksum: CRC32C of (seed, segment, offset, bytes 40..end)
//!  56  8  term of the entry before   36  4  zero
//!  64  8  hard state: term           40     records, then zeros up to the next sector
//!  72  8  hard state: vote, 0 none
//!  80  4  end of the segment before (0: none)
//!  84  4  header checksum of that segment's last batch
//! 508  4  CRC32C of bytes 0..508
//!
//! record:  0 1 kind   1 3 zero   4 4 body length   8 body
//!   1 hard state  term 8, vote 8              3 empty entry  term 8, index 8
//!   2 snapshot    index 8, term 8             4 entry        term 8, index 8, payload
//!   6 configuration  term 8, index 8, see     5 carry        bytes
//!                    `config_bytes`
//! ```
//!
//! Why each part is there:
//! - The *seed* is mixed into every checksum of its segment and follows from the chain before it, so that neither
//!   a batch of the file's earlier life nor bytes a client stored can pass for a batch of this segment.
//! - A batch's checksum covers its *address* (segment, offset) and the *chain* (the batch before): a misdirected or
//!   stale batch never counts. Padding is covered as well.
//! - The header has a checksum of its own, so that one intact sector of a later batch is enough to prove, by
//!   *synced up to*, that an unreadable place before it had once been durable.
//! - A segment header repeats the hard state, the log position and the end of its predecessor: scanning may begin
//!   at any segment, and a predecessor cut short is noticed.

use bytes::{BufMut, Bytes};
use evenkeel_raft::{HardState, Index, NodeId, Term};

use super::{Identity, Place};
use crate::bytes_in::{take_u8, take_u32, take_u64};

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: u32 = 512;
/// Bytes of a batch before its first record.
pub(crate) const BATCH_HEADER: u32 = 40;
/// Bytes of a record before its body.
pub(crate) const RECORD_HEADER: u32 = 8;
/// Bytes of an entry record's body before the payload.
pub(crate) const ENTRY_HEADER: u32 = 16;

const SEGMENT_MAGIC: [u8; 8] = *b"EKWALSEG";
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"EKwb");
const FORMAT_VERSION: u32 = 1;
const FLAG_RECYCLED: u32 = 1;

const KIND_HARD_STATE: u8 = 1;
const KIND_SNAPSHOT: u8 = 2;
const KIND_ENTRY_EMPTY: u8 = 3;
const KIND_ENTRY: u8 = 4;
const KIND_CARRY: u8 = 5;
const KIND_CONFIG: u8 = 6;

/// The next multiple of a sector.
pub(crate) fn sector_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(u64::from(SECTOR))
}

/// The first sector of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub segment: u32,
    pub identity: Identity,
    pub file_bytes: u32,
    pub recycled: bool,
    pub seed: u64,
    /// The index after the log's last entry when this segment was begun.
    pub next_index: Index,
    /// The term of the entry before `next_index`.
    pub previous_term: Term,
    pub hard_state: HardState,
    /// Where the segment before ends; 0 when there was none.
    pub previous_end: u32,
    /// The header checksum of the last batch before.
    pub previous_chain: u32,
}

impl SegmentHeader {
    /// The header's sector, and the checksum with which the segment's chain begins.
    pub fn encode(&self) -> (Bytes, u32) {
        let mut out = Vec::with_capacity(SECTOR as usize);
        out.put_slice(&SEGMENT_MAGIC);
        out.put_u32_le(FORMAT_VERSION);
        out.put_u32_le(self.segment);
        out.put_u64_le(self.identity.cluster_id);
        out.put_u64_le(self.identity.member_id);
        out.put_u32_le(self.file_bytes);
        out.put_u32_le(if self.recycled { FLAG_RECYCLED } else { 0 });
        out.put_u64_le(self.seed);
        out.put_u64_le(self.next_index.0);
        out.put_u64_le(self.previous_term.0);
        out.put_u64_le(self.hard_state.term.0);
        out.put_u64_le(self.hard_state.vote.map_or(0, |node| node.0));
        out.put_u32_le(self.previous_end);
        out.put_u32_le(self.previous_chain);
        out.resize(SECTOR as usize - 4, 0);
        let chain = crc32c::crc32c(&out);
        out.put_u32_le(chain);
        (out.into(), chain)
    }

    /// Reads a header and the checksum with which the segment's chain begins.
    pub fn decode(sector: &[u8; SECTOR as usize]) -> Result<(SegmentHeader, u32), &'static str> {
        let (mut body, mut tail) = sector.split_at(SECTOR as usize - 4);
        let chain = take_u32(&mut tail).ok_or("short header")?;
        if crc32c::crc32c(body) != chain {
            return Err("the segment header's checksum does not match");
        }
        let fields = &mut body;
        let header = (|| {
            let (magic, rest) = fields.split_first_chunk::<8>()?;
            *fields = rest;
            let version = take_u32(fields)?;
            let segment = take_u32(fields)?;
            let identity = Identity { cluster_id: take_u64(fields)?, member_id: take_u64(fields)? };
            let file_bytes = take_u32(fields)?;
            let flags = take_u32(fields)?;
            let header = SegmentHeader {
                segment,
                identity,
                file_bytes,
                recycled: flags & FLAG_RECYCLED != 0,
                seed: take_u64(fields)?,
                next_index: Index(take_u64(fields)?),
                previous_term: Term(take_u64(fields)?),
                hard_state: HardState { term: Term(take_u64(fields)?), vote: node(take_u64(fields)?) },
                previous_end: take_u32(fields)?,
                previous_chain: take_u32(fields)?,
            };
            Some((*magic, version, header))
        })();
        match header {
            None => Err("short header"),
            Some((magic, ..)) if magic != SEGMENT_MAGIC => Err("this is not a log segment"),
            Some((_, version, _)) if version != FORMAT_VERSION => Err("the segment has a format of another release"),
            Some((_, _, header)) if header.next_index.0 == 0 => Err("the segment header says the log begins at 0"),
            Some((.., header)) => Ok((header, chain)),
        }
    }

    /// The seed of the segment after one with `seed` whose chain ended in `chain`.
    pub fn next_seed(seed: u64, chain: u32, segment: u32) -> u64 {
        // Any mixing function would do: the point is only that no two lives of a file share a seed.
        let mut x = seed ^ (u64::from(chain) << 32 | u64::from(segment)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// The first bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub segment: u32,
    pub offset: u32,
    pub payload_len: u32,
    pub records: u32,
    pub previous_chain: u32,
    pub synced_upto: u32,
    pub payload_crc: u32,
}

impl BatchHeader {
    fn encode(&self, seed: u64) -> ([u8; BATCH_HEADER as usize], u32) {
        let mut out = [0; BATCH_HEADER as usize];
        let mut fields = &mut out[8..];
        fields.put_u32_le(self.segment);
        fields.put_u32_le(self.offset);
        fields.put_u32_le(self.payload_len);
        fields.put_u32_le(self.records);
        fields.put_u32_le(self.previous_chain);
        fields.put_u32_le(self.synced_upto);
        fields.put_u32_le(self.payload_crc);
        let chain = header_crc(seed, &out[8..]);
        let mut fields = &mut out[..8];
        fields.put_u32_le(BATCH_MAGIC);
        fields.put_u32_le(chain);
        (out, chain)
    }

    /// An intact header of a batch at `offset` of `segment`, with its checksum.
    pub fn decode(bytes: &[u8], seed: u64, segment: u32, offset: u32) -> Option<(BatchHeader, u32)> {
        let (header, _) = bytes.split_first_chunk::<{ BATCH_HEADER as usize }>()?;
        let mut fields = &header[..];
        if take_u32(&mut fields)? != BATCH_MAGIC {
            return None;
        }
        let chain = take_u32(&mut fields)?;
        if header_crc(seed, fields) != chain {
            return None;
        }
        let header = BatchHeader {
            segment: take_u32(&mut fields)?,
            offset: take_u32(&mut fields)?,
            payload_len: take_u32(&mut fields)?,
            records: take_u32(&mut fields)?,
            previous_chain: take_u32(&mut fields)?,
            synced_upto: take_u32(&mut fields)?,
            payload_crc: take_u32(&mut fields)?,
        };
        (header.segment == segment && header.offset == offset).then_some((header, chain))
    }

    /// Bytes of the whole batch, padding included.
    pub fn total_bytes(&self) -> u64 {
        sector_up(u64::from(BATCH_HEADER) + u64::from(self.payload_len))
    }

    /// The checksum of everything after the header, up to the end of the last sector.
    pub fn payload_crc(seed: u64, segment: u32, offset: u32, after_header: &[u8]) -> u32 {
        let crc = crc32c::crc32c(&seed.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &segment.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
        crc32c::crc32c_append(crc, after_header)
    }
}

fn header_crc(seed: u64, fields: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&seed.to_le_bytes()), fields)
}

fn node(id: u64) -> Option<NodeId> {
    (id != 0).then_some(NodeId(id))
}

/// One record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    HardState(HardState),
    /// The log restarts after this entry.
    Snapshot(Index, Term),
    /// An entry; no payload when it is empty.
    Entry {
        term: Term,
        index: Index,
        payload: Option<&'a [u8]>,
    },
    /// An entry that changes the configuration.
    Config {
        term: Term,
        index: Index,
        body: &'a [u8],
    },
    Carry(&'a [u8]),
}

impl Record<'_> {
    /// Bytes this record takes in a batch.
    pub fn encoded_bytes(&self) -> u64 {
        let body = match self {
            Record::HardState(_) | Record::Snapshot(..) => 16,
            Record::Entry { payload, .. } => u64::from(ENTRY_HEADER) + payload.map_or(0, <[u8]>::len) as u64,
            Record::Config { body, .. } => u64::from(ENTRY_HEADER) + body.len() as u64,
            Record::Carry(bytes) => bytes.len() as u64,
        };
        u64::from(RECORD_HEADER) + body
    }
}

/// Lays out one batch.
pub(crate) struct BatchBuilder {
    seed: u64,
    segment: u32,
    offset: u32,
    previous_chain: u32,
    records: u32,
    out: Vec<u8>,
}

impl BatchBuilder {
    pub fn new(seed: u64, segment: u32, offset: u32, previous_chain: u32, capacity: usize) -> BatchBuilder {
        assert_eq!(offset % SECTOR, 0, "a batch starts on a sector, not at {offset}");
        let mut out = Vec::with_capacity(capacity);
        out.resize(BATCH_HEADER as usize, 0);
        BatchBuilder { seed, segment, offset, previous_chain, records: 0, out }
    }

    /// Bytes so far, header included.
    pub fn bytes(&self) -> u64 {
        self.out.len() as u64
    }

    /// Adds a record; returns the place of its payload (of the whole body, when it has none).
    pub fn push(&mut self, record: &Record<'_>) -> Place {
        let mut numbers = |kind: u8, body: u64, pair: Option<(u64, u64)>| {
            self.out.put_u8(kind);
            self.out.put_bytes(0, 3);
            self.out.put_u32_le(u32::try_from(body).expect("record lengths are limited"));
            if let Some((first, second)) = pair {
                self.out.put_u64_le(first);
                self.out.put_u64_le(second);
            }
        };
        let body = record.encoded_bytes() - u64::from(RECORD_HEADER);
        let payload: &[u8] = match *record {
            Record::HardState(state) => {
                numbers(KIND_HARD_STATE, body, Some((state.term.0, state.vote.map_or(0, |node| node.0))));
                &[]
            }
            Record::Snapshot(index, term) => {
                numbers(KIND_SNAPSHOT, body, Some((index.0, term.0)));
                &[]
            }
            Record::Entry { term, index, payload: None } => {
                numbers(KIND_ENTRY_EMPTY, body, Some((term.0, index.0)));
                &[]
            }
            Record::Entry { term, index, payload: Some(payload) } => {
                numbers(KIND_ENTRY, body, Some((term.0, index.0)));
                payload
            }
            Record::Config { term, index, body: config } => {
                numbers(KIND_CONFIG, body, Some((term.0, index.0)));
                config
            }
            Record::Carry(bytes) => {
                numbers(KIND_CARRY, body, None);
                bytes
            }
        };
        let place =
            Place { segment: self.segment, offset: self.offset + self.out.len() as u32, len: payload.len() as u32 };
        self.out.put_slice(payload);
        self.records += 1;
        place
    }

    /// The batch's bytes, a multiple of a sector, and its header checksum.
    pub fn finish(mut self) -> (Bytes, u32) {
        let payload_len = self.out.len() as u32 - BATCH_HEADER;
        self.out.resize(sector_up(self.out.len() as u64) as usize, 0);
        let after_header = &self.out[BATCH_HEADER as usize..];
        let header = BatchHeader {
            segment: self.segment,
            offset: self.offset,
            payload_len,
            records: self.records,
            previous_chain: self.previous_chain,
            // Only one batch is ever on its way, so everything before this one is durable.
            synced_upto: self.offset,
            payload_crc: BatchHeader::payload_crc(self.seed, self.segment, self.offset, after_header),
        };
        let (bytes, chain) = header.encode(self.seed);
        self.out[..BATCH_HEADER as usize].copy_from_slice(&bytes);
        (self.out.into(), chain)
    }
}

/// Walks a batch's payload. Yields each record with the position of its payload inside the batch's payload.
pub(crate) struct Records<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub fn new(payload: &'a [u8]) -> Records<'a> {
        Records { whole: payload, rest: payload }
    }

    fn take(&mut self) -> Result<(u32, Record<'a>), &'static str> {
        const SHORT: &str = "a record is cut short";
        let kind = take_u8(&mut self.rest).ok_or(SHORT)?;
        let [0, 0, 0, rest @ ..] = self.rest else { return Err("a record's header is not clean") };
        self.rest = rest;
        let len = take_u32(&mut self.rest).ok_or(SHORT)? as usize;
        let (mut body, rest) = self.rest.split_at_checked(len).ok_or("a record is longer than its batch")?;
        self.rest = rest;
        let mut pair = || Some((take_u64(&mut body)?, take_u64(&mut body)?));
        let record = match kind {
            KIND_CARRY => Record::Carry(body),
            KIND_ENTRY => {
                let (term, index) = pair().ok_or(SHORT)?;
                Record::Entry { term: Term(term), index: Index(index), payload: Some(body) }
            }
            KIND_CONFIG => {
                let (term, index) = pair().ok_or(SHORT)?;
                Record::Config { term: Term(term), index: Index(index), body }
            }
            KIND_HARD_STATE | KIND_SNAPSHOT | KIND_ENTRY_EMPTY => {
                let (first, second) = pair().ok_or(SHORT)?;
                if !body.is_empty() {
                    return Err("a record is longer than its kind allows");
                }
                match kind {
                    KIND_HARD_STATE => Record::HardState(HardState { term: Term(first), vote: node(second) }),
                    KIND_SNAPSHOT => Record::Snapshot(Index(first), Term(second)),
                    _ => Record::Entry { term: Term(first), index: Index(second), payload: None },
                }
            }
            _ => return Err("a record has an unknown kind"),
        };
        let payload_len = match record {
            Record::Entry { payload: Some(payload), .. }
            | Record::Config { body: payload, .. }
            | Record::Carry(payload) => payload.len(),
            _ => 0,
        };
        Ok(((self.whole.len() - self.rest.len() - payload_len) as u32, record))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u32, Record<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.take();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_come_back_with_the_places_they_were_given() {
        let records = [
            Record::HardState(HardState { term: Term(4), vote: Some(NodeId(9)) }),
            Record::Snapshot(Index(7), Term(3)),
            Record::Entry { term: Term(4), index: Index(8), payload: None },
            Record::Entry { term: Term(4), index: Index(9), payload: Some(b"payload") },
            Record::Config { term: Term(4), index: Index(10), body: b"config" },
            Record::Carry(b"carried"),
        ];
        let mut builder = BatchBuilder::new(1, 2, 1024, 3, 0);
        let places: Vec<Place> = records.iter().map(|record| builder.push(record)).collect();
        let total: u64 = records.iter().map(Record::encoded_bytes).sum();
        assert_eq!(builder.bytes(), u64::from(BATCH_HEADER) + total);
        let (bytes, chain) = builder.finish();
        assert_eq!(bytes.len(), 512);
        let (header, decoded_chain) = BatchHeader::decode(&bytes, 1, 2, 1024).expect("intact");
        assert_eq!((header.records, header.previous_chain, header.synced_upto), (6, 3, 1024));
        assert_eq!(chain, decoded_chain);
        let payload = &bytes[BATCH_HEADER as usize..][..header.payload_len as usize];
        let found: Vec<_> = Records::new(payload).map(Result::unwrap).collect();
        for ((at, record), (wrote, place)) in found.iter().zip(records.iter().zip(&places)) {
            assert_eq!(record, wrote);
            assert_eq!(1024 + BATCH_HEADER + at, place.offset);
            if let Record::Carry(value)
            | Record::Config { body: value, .. }
            | Record::Entry { payload: Some(value), .. } = record
            {
                let at = place.offset as usize - 1024;
                assert_eq!(&bytes[at..at + place.len as usize], *value);
            }
        }
        for (seed, segment, offset) in [(0, 2, 1024), (1, 3, 1024), (1, 2, 512)] {
            assert_eq!(BatchHeader::decode(&bytes, seed, segment, offset), None, "a stranger passed for our own");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_records_never_panic(bytes in prop::collection::vec(prop_oneof![3 => 0..7u8, 1 => any::<u8>()], 0..200)) {
            for record in Records::new(&bytes) {
                let Ok((at, record)) = record else { break };
                if let Record::Carry(value) | Record::Config { body: value, .. } | Record::Entry { payload: Some(value), .. } =
                record {
                    prop_assert_eq!(&bytes[at as usize..at as usize + value.len()], value);
                }
            }
        }
    }
}
