//! Records as compact bytes, for checkpoints and snapshots.
//!
//! Numbers are LEB128 varints, signed ones zigzag; a key is its length and its bytes; a checksum is four bytes, little
//! endian. Records carry no length, kind or checksum of their own: the file they are in does. Decoding takes a record
//! off the front of its input; whatever the input, it answers with a record or an error and never asks for more memory
//! than the input is long.
//!
//! ```text
//! header   revision compacted applied_index applied_term
//! lease    id ttl_seconds remaining_seconds granted_at
//! version  key main sub kind …
//!            kind 0  tombstone
//!            kind 1  first version without a lease: value
//!            kind 2  any other put: create version lease value
//! value    segment offset len crc
//! ```

use crate::dump::{Header, LeaseRecord, VersionRow};
use crate::history::VersionKind;
use crate::interval::Key;
use crate::revision::{LeaseId, Revision};
use crate::value::ValueRef;
use alloc::vec::Vec;
use core::fmt;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The input ends inside the record.
    Truncated,
    /// A number does not fit its field.
    TooLarge,
    /// Unknown kind of version.
    UnknownKind,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CodecError::Truncated => "the record is cut short",
            CodecError::TooLarge => "a number is too large for its field",
            CodecError::UnknownKind => "the kind of version is unknown",
        })
    }
}

impl core::error::Error for CodecError {}

const TOMBSTONE: u8 = 0;
const PUT_FIRST: u8 = 1;
const PUT: u8 = 2;

/// Appends a header.
pub fn encode_header(header: &Header, out: &mut Vec<u8>) {
    signed(header.revision.0, out);
    signed(header.compacted.0, out);
    unsigned(header.applied_index, out);
    unsigned(header.applied_term, out);
}

/// Takes a header off the front.
pub fn decode_header(input: &mut &[u8]) -> Result<Header, CodecError> {
    Ok(Header {
        revision: Revision(take_signed(input)?),
        compacted: Revision(take_signed(input)?),
        applied_index: take_unsigned(input)?,
        applied_term: take_unsigned(input)?,
    })
}

/// Appends a lease.
pub fn encode_lease(lease: &LeaseRecord, out: &mut Vec<u8>) {
    signed(lease.id.0, out);
    signed(lease.ttl_seconds, out);
    signed(lease.remaining_seconds, out);
    unsigned(lease.granted_at, out);
}

/// Appends a lease as stores keep it that do not keep its remaining time.
pub fn encode_lease_without_time(lease: &LeaseRecord, out: &mut Vec<u8>) {
    signed(lease.id.0, out);
    signed(lease.ttl_seconds, out);
    unsigned(lease.granted_at, out);
}

/// Takes such a lease off the front.
pub fn decode_lease_without_time(input: &mut &[u8]) -> Result<LeaseRecord, CodecError> {
    Ok(LeaseRecord {
        id: LeaseId(take_signed(input)?),
        ttl_seconds: take_signed(input)?,
        remaining_seconds: 0,
        granted_at: take_unsigned(input)?,
    })
}

/// Takes a lease off the front.
pub fn decode_lease(input: &mut &[u8]) -> Result<LeaseRecord, CodecError> {
    Ok(LeaseRecord {
        id: LeaseId(take_signed(input)?),
        ttl_seconds: take_signed(input)?,
        remaining_seconds: take_signed(input)?,
        granted_at: take_unsigned(input)?,
    })
}

/// Appends a version.
pub fn encode_version(row: &VersionRow, out: &mut Vec<u8>) {
    unsigned(row.key.len() as u64, out);
    out.extend_from_slice(&row.key);
    signed(row.main.0, out);
    unsigned(u64::from(row.sub), out);
    match row.kind {
        VersionKind::Tombstone => out.push(TOMBSTONE),
        VersionKind::Put(value) if row.version == 1 && row.create == row.main && row.lease == LeaseId::NONE => {
            out.push(PUT_FIRST);
            encode_value(&value, out);
        }
        VersionKind::Put(value) => {
            out.push(PUT);
            signed(row.create.0, out);
            signed(row.version, out);
            signed(row.lease.0, out);
            encode_value(&value, out);
        }
    }
}

/// Takes a version off the front.
pub fn decode_version(input: &mut &[u8]) -> Result<VersionRow, CodecError> {
    let len = usize::try_from(take_unsigned(input)?).map_err(|_| CodecError::TooLarge)?;
    let key = Key::from(input.split_off(..len).ok_or(CodecError::Truncated)?);
    let main = Revision(take_signed(input)?);
    let sub = take_u32(input)?;
    let (create, version, lease, kind) = match *input.split_off_first().ok_or(CodecError::Truncated)? {
        TOMBSTONE => (Revision(0), 0, LeaseId::NONE, VersionKind::Tombstone),
        PUT_FIRST => (main, 1, LeaseId::NONE, VersionKind::Put(decode_value(input)?)),
        PUT => {
            let (create, version) = (Revision(take_signed(input)?), take_signed(input)?);
            (create, version, LeaseId(take_signed(input)?), VersionKind::Put(decode_value(input)?))
        }
        _ => return Err(CodecError::UnknownKind),
    };
    Ok(VersionRow { key, main, sub, create, version, lease, kind })
}

fn encode_value(value: &ValueRef, out: &mut Vec<u8>) {
    unsigned(u64::from(value.segment), out);
    unsigned(u64::from(value.offset), out);
    unsigned(u64::from(value.len), out);
    out.extend_from_slice(&value.crc.to_le_bytes());
}

fn decode_value(input: &mut &[u8]) -> Result<ValueRef, CodecError> {
    let (segment, offset, len) = (take_u32(input)?, take_u32(input)?, take_u32(input)?);
    let crc = input.split_off(..4).and_then(|crc| crc.try_into().ok()).ok_or(CodecError::Truncated)?;
    Ok(ValueRef { segment, offset, len, crc: u32::from_le_bytes(crc) })
}

fn unsigned(mut number: u64, out: &mut Vec<u8>) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn signed(number: i64, out: &mut Vec<u8>) {
    unsigned(((number << 1) ^ (number >> 63)).cast_unsigned(), out);
}

fn take_unsigned(input: &mut &[u8]) -> Result<u64, CodecError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *input.split_off_first().ok_or(CodecError::Truncated)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(CodecError::TooLarge);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(CodecError::TooLarge)
}

fn take_signed(input: &mut &[u8]) -> Result<i64, CodecError> {
    let number = take_unsigned(input)?;
    Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
}

fn take_u32(input: &mut &[u8]) -> Result<u32, CodecError> {
    u32::try_from(take_unsigned(input)?).map_err(|_| CodecError::TooLarge)
}
