//! The state as a stream of records: what a checkpoint file and a snapshot on the wire have in common.
//!
//! A checkpoint refers to values by their place in this member's log. A snapshot for another member carries them
//! along, and the receiver puts its own places in.

use std::fmt;

use bytes::{BufMut, Bytes};
use evenkeel_mvcc::codec;
use evenkeel_mvcc::{Header, LeaseRecord, Restore, ValueRef, VersionKind, VersionRow};
use evenkeel_proto::store as storepb;
use evenkeel_storage::{Place, ValueError, value_crc};
use prost::Message;

use crate::reader::Reader;
use crate::state::{Cluster, State};
use crate::version::release::Version;
use crate::version::{Release, level};

const CLUSTER: u8 = 1;
const HEADER: u8 = 2;
const LEASE: u8 = 3;
const VERSION: u8 = 4;
/// A version with its value behind it: length of the version's record (4 bytes), that record, the value.
const VERSION_AND_VALUE: u8 = 5;
/// A lease as 3.5 stores it.
const LEASE_WITHOUT_TIME: u8 = 6;

/// Why a stream of records is not a state.
#[derive(Debug)]
pub struct BadRecords(String);

impl fmt::Display for BadRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRecords {}

fn bad(text: impl fmt::Display) -> BadRecords {
    BadRecords(text.to_string())
}

/// One record about to be written.
pub struct Record<'a> {
    part: Part<'a>,
    level: Release,
}

enum Part<'a> {
    Cluster(&'a State),
    Header(Header),
    Lease(LeaseRecord),
    Version(VersionRow),
}

/// All records of a state as a level stores them, in the order in which they are read back. Never lower than the
/// cluster version: what that stores would be lost.
pub fn of(state: &State, level: Release) -> impl Iterator<Item = Record<'_>> {
    assert!(state.cluster().level() <= level, "a level stores what the cluster version turns on");
    let head = [Part::Cluster(state), Part::Header(state.store.header())];
    let leases = state.store.lease_records().map(Part::Lease);
    let versions = state.store.versions().map(Part::Version);
    head.into_iter().chain(leases).chain(versions).map(move |part| Record { part, level })
}

impl Record<'_> {
    /// Encodes the record with values by their place. Returns its kind.
    pub fn encode(&self, out: &mut Vec<u8>) -> u8 {
        match &self.part {
            Part::Cluster(state) => {
                let mut meta = state.cluster().to_proto();
                if level::STORAGE_VERSION <= self.level {
                    meta.storage_version = self.level.cluster().to_owned();
                }
                meta.state_hash = Bytes::copy_from_slice(&state.hash().to_le_bytes());
                meta.encode(out).expect("a vector has room");
                CLUSTER
            }
            Part::Header(header) => {
                codec::encode_header(header, out);
                HEADER
            }
            Part::Lease(lease) if level::LEASE_TIME <= self.level => {
                codec::encode_lease(lease, out);
                LEASE
            }
            Part::Lease(lease) => {
                codec::encode_lease_without_time(lease, out);
                LEASE_WITHOUT_TIME
            }
            Part::Version(row) => {
                codec::encode_version(row, out);
                VERSION
            }
        }
    }

    /// Encodes the record with the value in it. Returns its kind.
    pub fn encode_with_value(&self, values: &Reader, out: &mut Vec<u8>) -> Result<u8, ValueError> {
        let Part::Version(row) = &self.part else { return Ok(self.encode(out)) };
        let at = out.len();
        out.put_u32_le(0);
        codec::encode_version(row, out);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        if let VersionKind::Put(value) = &row.kind {
            out.extend_from_slice(&values.bytes_once(value)?);
        }
        Ok(VERSION_AND_VALUE)
    }
}

/// A state being put together from its records.
#[derive(Default)]
pub struct Rebuild {
    cluster: Option<storepb::CheckpointMeta>,
    restore: Option<Restore>,
    /// Versions held back since the first of them whose value waits for a place.
    held: Vec<VersionRow>,
    /// The values that wait, in the order of their versions.
    values: Vec<Bytes>,
}

impl Rebuild {
    /// Takes one record.
    pub fn take(&mut self, kind: u8, mut record: &[u8]) -> Result<(), BadRecords> {
        let input = &mut record;
        match kind {
            CLUSTER => self.cluster = Some(storepb::CheckpointMeta::decode(record).map_err(bad)?),
            HEADER => self.restore = Some(Restore::new(codec::decode_header(input).map_err(bad)?).map_err(bad)?),
            LEASE => {
                let lease = codec::decode_lease(input).map_err(bad)?;
                self.restore()?.lease(lease).map_err(bad)?;
            }
            LEASE_WITHOUT_TIME => {
                let lease = codec::decode_lease_without_time(input).map_err(bad)?;
                self.restore()?.lease(lease).map_err(bad)?;
            }
            VERSION => {
                let row = codec::decode_version(input).map_err(bad)?;
                self.version(row)?;
            }
            VERSION_AND_VALUE => self.version_and_value(record)?,
            kind => return Err(bad(format!("a record of unknown kind {kind}"))),
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<&mut Restore, BadRecords> {
        self.restore.as_mut().ok_or_else(|| bad("a record before the header"))
    }

    fn version(&mut self, row: VersionRow) -> Result<(), BadRecords> {
        if self.values.is_empty() {
            self.restore()?.version(row).map_err(bad)
        } else {
            self.held.push(row);
            Ok(())
        }
    }

    fn version_and_value(&mut self, record: &[u8]) -> Result<(), BadRecords> {
        let short = || bad("a version record is cut short");
        let (length, rest) = record.split_at_checked(4).ok_or_else(short)?;
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let (mut version, value) = rest.split_at_checked(length).ok_or_else(short)?;
        let row = codec::decode_version(&mut version).map_err(bad)?;
        if let VersionKind::Put(at) = &row.kind {
            if at.len as usize != value.len() || (at.len > 0 && value_crc(value) != at.crc) {
                return Err(bad("a value is not the one its version names"));
            }
            if at.len > 0 {
                self.values.push(Bytes::copy_from_slice(value));
            }
        }
        self.version(row)
    }

    /// The values that came along since the last call; each needs a place in our log.
    pub fn values(&self) -> &[Bytes] {
        &self.values
    }

    /// The places of [`Rebuild::values`], in their order.
    pub fn placed(&mut self, places: &[Place]) -> Result<(), BadRecords> {
        assert_eq!(places.len(), self.values.len(), "a place for each value");
        self.values.clear();
        let mut places = places.iter();
        for mut row in std::mem::take(&mut self.held) {
            if let VersionKind::Put(at) = &mut row.kind
                && at.len > 0
            {
                let place = places.next().expect("a place for each value");
                assert_eq!(at.len, place.len, "a place of the value's length");
                *at = ValueRef { segment: place.segment, offset: place.offset, ..*at };
            }
            self.version(row)?;
        }
        Ok(())
    }

    /// The storage version that the records were written at.
    pub fn storage(&self) -> Result<Version, BadRecords> {
        let cluster = self.cluster.as_ref().ok_or_else(|| bad("no record about the cluster"))?;
        match cluster.storage_version.as_str() {
            "" => Ok(Release::V3_5.version()),
            text => text.parse().map_err(|_| bad(format!("storage version {text:?} is none"))),
        }
    }

    /// The state, when it is whole and its hash is the one it was written with.
    pub fn finish(self) -> Result<State, BadRecords> {
        let cluster = self.cluster.ok_or_else(|| bad("no record about the cluster"))?;
        let restore = self.restore.ok_or_else(|| bad("no header record"))?;
        let said = cluster.state_hash.clone();
        let state = State::new(restore.finish().map_err(bad)?, Cluster::from_proto(cluster));
        if said[..] != state.hash().to_le_bytes() {
            return Err(bad("the state's hash is not the one it was written with"));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests;
