//! Records in checksummed blocks: the body of a checkpoint file, and of a snapshot on its way to another member.
//!
//! ```text
//! block:  0 4 magic   4 4 CRC32C of (salt, bytes 8..end)   8 4 block number   12 1 kind   13 3 zero
//!        16 4 record count   20 4 payload length   24 payload
//! data block (kind 1): records, each  0 1 kind   1 4 length   5 bytes
//! end block (kind 2):  0 8 records in all   8 4 checksum: CRC32C of all blocks' checksums
//! ```
//!
//! A stream is data blocks 0, 1, ... and one end block; anything else is refused. The salt is the reader's
//! knowledge of which stream this must be, so that a block of another one never counts.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::RECORD_BYTES_MAX;
use crate::bytes_in::{take_u8, take_u32, take_u64};

/// A block is closed once it has this many bytes.
pub const BLOCK_BYTES: usize = 64 << 10;

const MAGIC: u32 = u32::from_le_bytes(*b"EKcb");
const HEADER: usize = 24;
const RECORD_HEADER: usize = 5;
const KIND_DATA: u8 = 1;
const KIND_END: u8 = 2;

fn block_crc(salt: u64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), rest)
}

/// Puts records into blocks.
#[derive(Debug)]
pub struct BlockEncoder {
    salt: u64,
    /// Closed blocks, then the open one.
    out: BytesMut,
    open_at: usize,
    open_records: u32,
    blocks: u32,
    records: u64,
    all_crc: u32,
}

impl BlockEncoder {
    /// An empty stream. The decoder needs the same salt.
    pub fn new(salt: u64) -> BlockEncoder {
        let mut out = BytesMut::with_capacity(2 * BLOCK_BYTES);
        out.put_bytes(0, HEADER);
        BlockEncoder { salt, out, open_at: 0, open_records: 0, blocks: 0, records: 0, all_crc: 0 }
    }

    /// Adds a record.
    ///
    /// # Panics
    ///
    /// When it is longer than [`RECORD_BYTES_MAX`].
    pub fn push(&mut self, kind: u8, record: &[u8]) {
        assert!(record.len() <= RECORD_BYTES_MAX, "a record of {} bytes is too long", record.len());
        self.out.put_u8(kind);
        self.out.put_u32_le(record.len() as u32);
        self.out.put_slice(record);
        self.open_records += 1;
        self.records += 1;
        if BLOCK_BYTES <= self.out.len() - self.open_at {
            self.close_block();
        }
    }

    /// Closes the open block, so that what was pushed can be taken. Nothing happens when it is empty.
    pub fn close_block(&mut self) {
        if 0 < self.open_records {
            self.seal(KIND_DATA);
        }
    }

    /// Bytes of closed blocks not taken yet.
    pub fn ready_bytes(&self) -> usize {
        self.open_at
    }

    /// Takes the closed blocks.
    pub fn take(&mut self) -> Bytes {
        let ready = self.out.split_to(self.open_at);
        self.open_at = 0;
        ready.freeze()
    }

    /// Closes the stream; returns what was not taken yet.
    pub fn finish(mut self) -> Bytes {
        self.close_block();
        self.out.put_u64_le(self.records);
        self.out.put_u32_le(self.all_crc);
        self.seal(KIND_END);
        self.take()
    }

    fn seal(&mut self, kind: u8) {
        let block = &mut self.out[self.open_at..];
        let payload_len = (block.len() - HEADER) as u32;
        let mut header = &mut block[8..HEADER];
        header.put_u32_le(self.blocks);
        header.put_u8(kind);
        header.put_bytes(0, 3);
        header.put_u32_le(self.open_records);
        header.put_u32_le(payload_len);
        let crc = block_crc(self.salt, &block[8..]);
        let mut header = &mut block[..8];
        header.put_u32_le(MAGIC);
        header.put_u32_le(crc);
        self.all_crc = crc32c::crc32c_append(self.all_crc, &crc.to_le_bytes());
        self.blocks += 1;
        self.open_records = 0;
        self.open_at = self.out.len();
        self.out.put_bytes(0, HEADER);
    }
}

/// These bytes are no intact stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockError {
    /// Offset of the bad block in the stream.
    pub offset: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the block at offset {} is damaged: {}", self.offset, self.what)
    }
}

impl std::error::Error for BlockError {}

/// A verified block's records.
#[derive(Clone, Debug)]
pub struct Block {
    payload: Bytes,
}

impl Block {
    /// Each record with its kind.
    pub fn records(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &self.payload[..];
        std::iter::from_fn(move || take_record(&mut rest))
    }
}

fn take_record<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let kind = take_u8(rest)?;
    let len = take_u32(rest)? as usize;
    let (record, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some((kind, record))
}

/// Gets records out of blocks that arrive in pieces of any size.
#[derive(Debug)]
pub struct BlockDecoder {
    salt: u64,
    input: BytesMut,
    offset: u64,
    blocks: u32,
    records: u64,
    all_crc: u32,
    ended: bool,
}

impl BlockDecoder {
    /// A decoder of the stream with this salt.
    pub fn new(salt: u64) -> BlockDecoder {
        BlockDecoder { salt, input: BytesMut::new(), offset: 0, blocks: 0, records: 0, all_crc: 0, ended: false }
    }

    /// Hands in the stream's next bytes. Call [`BlockDecoder::next_block`] until it has none before handing in more:
    /// then no more than one block is kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether the end block was seen. A stream that stops before is cut short.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next verified block, or `None` when more bytes are needed or the stream has ended.
    pub fn next_block(&mut self) -> Result<Option<Block>, BlockError> {
        if self.ended {
            return if self.input.is_empty() { Ok(None) } else { Err(self.bad("there are bytes after the end")) };
        }
        let Some((crc, header)) = self.header()? else { return Ok(None) };
        let total = HEADER + header.payload_len;
        if self.input.len() < total {
            return Ok(None);
        }
        if block_crc(self.salt, &self.input[8..total]) != crc {
            return Err(self.bad("its checksum does not match"));
        }
        if header.number != self.blocks {
            return Err(self.bad("it is not the next one"));
        }
        let payload = &self.input[HEADER..total];
        match header.kind {
            KIND_DATA => {
                let mut rest = payload;
                let records = std::iter::from_fn(|| take_record(&mut rest)).count();
                if !rest.is_empty() || records != header.records as usize {
                    return Err(self.bad("its records are malformed"));
                }
            }
            KIND_END => {
                let mut rest = payload;
                let said = (take_u64(&mut rest), take_u32(&mut rest));
                if said != (Some(self.records), Some(self.all_crc)) || !rest.is_empty() {
                    return Err(self.bad("the totals do not match"));
                }
                self.ended = true;
            }
            _ => return Err(self.bad("it has an unknown kind")),
        }
        self.blocks += 1;
        self.records += u64::from(header.records);
        self.all_crc = crc32c::crc32c_append(self.all_crc, &crc.to_le_bytes());
        self.offset += total as u64;
        let mut block = self.input.split_to(total);
        if self.ended {
            return self.next_block();
        }
        block.advance(HEADER);
        Ok(Some(Block { payload: block.freeze() }))
    }

    /// The header of the next block, as far as it can be judged before the block is complete.
    fn header(&self) -> Result<Option<(u32, Header)>, BlockError> {
        let Some(mut fields) = self.input.get(..HEADER) else { return Ok(None) };
        let read = (|| {
            let magic = take_u32(&mut fields)?;
            let crc = take_u32(&mut fields)?;
            let number = take_u32(&mut fields)?;
            let kind = take_u32(&mut fields)?;
            let records = take_u32(&mut fields)?;
            let payload_len = take_u32(&mut fields)? as usize;
            Some((magic, crc, Header { number, kind: u8::try_from(kind).unwrap_or(0), records, payload_len }))
        })();
        let (magic, crc, header) = read.expect("the header is complete");
        if magic != MAGIC {
            return Err(self.bad("no block begins here"));
        }
        if BLOCK_BYTES + RECORD_HEADER + RECORD_BYTES_MAX < header.payload_len {
            return Err(self.bad("it is too long"));
        }
        Ok(Some((crc, header)))
    }

    fn bad(&self, what: &'static str) -> BlockError {
        BlockError { offset: self.offset, what }
    }
}

struct Header {
    number: u32,
    kind: u8,
    records: u32,
    payload_len: usize,
}
