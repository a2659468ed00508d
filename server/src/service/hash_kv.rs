//! etcd's `HashKV`: one number for the whole history between the last compaction and a revision.
//!
//! CRC32C over the word `key` (the bucket's name) and then, in revision order, the bytes etcd's bucket would hold:
//! an 8-byte big-endian main revision, `_`, an 8-byte sub revision (and `t` for a tombstone), followed by the
//! encoded `mvccpb.KeyValue` (key alone for a tombstone). Equal histories give equal numbers on any etcd.
//!
//! Of what the last compaction left behind, only versions that still live at the revision asked for count, and its
//! tombstones never do. When nothing lives at that revision, etcd forgets the first rule and counts everything;
//! so do we. Absent: etcd's memory of the last ten compactions' numbers, which answers for a compacted revision as
//! if the compaction had not happened, until the member restarts.

use evenkeel_mvcc::{Interval, RangeQuery, Revision, Store, Values, VersionKind, VersionRow};
use evenkeel_proto::mvccpb;
use prost::Message;

use super::compose::{self, Fetch};
use crate::error::RequestError;

/// Versions hashed between two moments at which other tasks get their turn.
const VERSIONS_PER_TURN: usize = 256;

const BUCKET: &[u8] = b"key";
const TOMBSTONE: u8 = b't';

/// A hash, and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashKv {
    pub hash: u32,
    pub compacted: Revision,
    pub revision: Revision,
}

/// The hash of the history of `store` up to `revision`, the current one when that is 0.
pub(super) async fn hash_kv(store: &Store, revision: i64, values: &impl Fetch) -> Result<HashKv, RequestError> {
    let compacted = store.compacted();
    if 0 < revision && revision < compacted.0 {
        return Err(RequestError::Compacted);
    }
    if store.revision().0 < revision {
        return Err(RequestError::FutureRevision);
    }
    let revision = if revision == 0 { store.revision() } else { Revision(revision) };
    let nothing_lives = live_keys(store, revision) == 0;
    let mut hasher = Hasher::new();
    for (seen, version) in store.versions_by_revision(Revision(0), revision).enumerate() {
        if seen > 0 && seen.is_multiple_of(VERSIONS_PER_TURN) {
            tokio::task::yield_now().await;
        }
        let counts = match version.kind {
            VersionKind::Tombstone => compacted < version.main,
            VersionKind::Put(_) => compacted < version.main || nothing_lives || lives(store, &version, revision),
        };
        if counts {
            hasher.version(&version, values)?;
        }
    }
    Ok(HashKv { hash: hasher.crc, compacted, revision })
}

/// The version is the newest of its key at `revision`.
fn lives(store: &Store, version: &VersionRow, revision: Revision) -> bool {
    store.get(&version.key, revision.0).is_some_and(|row| row.modified == version.main)
}

fn live_keys(store: &Store, revision: Revision) -> i64 {
    let everything = RangeQuery::all(Interval::from_wire(b"\0", b"\0"));
    let query = RangeQuery { revision: revision.0, count_only: true, ..everything };
    match store.range(&query, &NoValues) {
        Ok(Ok(result)) => result.count,
        Ok(Err(error)) => unreachable!("the revision was checked: {error}"),
        Err(never) => match never {},
    }
}

/// Counting looks at no value.
struct NoValues;

impl Values for NoValues {
    type Error = std::convert::Infallible;

    fn load(&self, at: &evenkeel_mvcc::ValueRef) -> Result<Vec<u8>, Self::Error> {
        unreachable!("counting looks at no value, not at {at:?}")
    }
}

/// The running hash.
struct Hasher {
    crc: u32,
    buffer: Vec<u8>,
}

impl Hasher {
    fn new() -> Hasher {
        Hasher { crc: crc32c::crc32c(BUCKET), buffer: Vec::new() }
    }

    fn version(&mut self, version: &VersionRow, values: &impl Fetch) -> Result<(), RequestError> {
        let mut kv = mvccpb::KeyValue { key: compose::key(&version.key), ..Default::default() };
        self.buffer.clear();
        self.buffer.extend_from_slice(&version.main.0.to_be_bytes());
        self.buffer.push(b'_');
        self.buffer.extend_from_slice(&i64::from(version.sub).to_be_bytes());
        match &version.kind {
            VersionKind::Tombstone => self.buffer.push(TOMBSTONE),
            VersionKind::Put(at) => {
                kv.create_revision = version.create.0;
                kv.mod_revision = version.main.0;
                kv.version = version.version;
                kv.value = values.fetch(&version.key, version.main, at)?;
                kv.lease = version.lease.0;
            }
        }
        kv.encode(&mut self.buffer).expect("a Vec grows");
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
