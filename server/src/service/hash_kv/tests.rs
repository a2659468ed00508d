use std::cell::RefCell;

use bytes::Bytes;
use evenkeel_mvcc::{Command, DeleteRange, Key, LeaseId, Put, ValueRef};

use super::*;

/// A store whose values are in memory.
struct Rig {
    store: Store,
    values: Memory,
}

#[derive(Default)]
struct Memory(std::sync::Mutex<Vec<Vec<u8>>>);

impl Memory {
    fn add(&self, value: &[u8]) -> ValueRef {
        let mut values = self.0.lock().unwrap();
        values.push(value.to_vec());
        ValueRef { segment: 0, offset: values.len() as u32 - 1, len: value.len() as u32, crc: crc32c::crc32c(value) }
    }
}

impl Fetch for Memory {
    fn fetch(&self, _: &Key, _: Revision, at: &ValueRef) -> Result<Bytes, RequestError> {
        if at.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(Bytes::copy_from_slice(&self.0.lock().unwrap()[at.offset as usize]))
    }
}

impl Rig {
    fn new() -> Rig {
        Rig { store: Store::new(), values: Memory::default() }
    }

    fn apply(&mut self, command: Command) {
        let (index, term) = self.store.applied();
        let Ok(outcome) = self.store.apply(index + 1, term, &command, &NoValues);
        outcome.result.expect("the command is fine");
    }

    fn put(&mut self, key: &str, value: &str) {
        let put = Put {
            key: Key::from(key.as_bytes()),
            value: self.values.add(value.as_bytes()),
            lease: LeaseId::NONE,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        self.apply(Command::Put(put));
    }

    fn delete(&mut self, key: &str) {
        let interval = Interval::from_wire(key.as_bytes(), b"");
        self.apply(Command::DeleteRange(DeleteRange { interval, prev_kv: false }));
    }

    fn compact(&mut self, revision: i64) {
        self.apply(Command::Compact { revision: Revision(revision) });
    }

    fn hash(&self, revision: i64) -> Result<HashKv, RequestError> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut hashing = std::pin::pin!(hash_kv(&self.store, revision, &self.values));
        loop {
            // It gives way to other tasks now and then; there are none here.
            if let std::task::Poll::Ready(hash) = hashing.as_mut().poll(&mut context) {
                return hash;
            }
        }
    }
}

/// CRC32C, bit by bit.
fn crc32c_by_hand(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[track_caller]
fn check(rig: &Rig, revision: i64, pieces: &[&[u8]]) {
    assert_eq!(rig.hash(revision).map(|found| found.hash), Ok(crc32c_by_hand(&pieces.concat())));
}

const FOO_AT_2: &[u8] = b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0\x0a\x03foo\x10\x02\x18\x02\x20\x01\x2a\x03bar";
const FOO_AT_3: &[u8] = b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0\x0a\x03foo\x10\x02\x18\x03\x20\x02\x2a\x03baz";
const FOO_GONE_AT_4: &[u8] = b"\0\0\0\0\0\0\0\x04_\0\0\0\0\0\0\0\0t\x0a\x03foo";
const BAR_AT_5: &[u8] = b"\0\0\0\0\0\0\0\x05_\0\0\0\0\0\0\0\0\x0a\x03bar\x10\x05\x18\x05\x20\x01\x2a\x01x";

fn history() -> Rig {
    let mut rig = Rig::new();
    rig.put("foo", "bar");
    rig.put("foo", "baz");
    rig.delete("foo");
    rig.put("bar", "x");
    rig
}

#[test]
fn an_empty_store_hashes_the_buckets_name() {
    check(&Rig::new(), 0, &[b"key"]);
}

#[test]
fn versions_and_tombstones_are_hashed_as_etcd_stores_them() {
    let rig = history();
    check(&rig, 2, &[b"key", FOO_AT_2]);
    check(&rig, 4, &[b"key", FOO_AT_2, FOO_AT_3, FOO_GONE_AT_4]);
    check(&rig, 0, &[b"key", FOO_AT_2, FOO_AT_3, FOO_GONE_AT_4, BAR_AT_5]);
}

#[test]
fn what_died_since_the_compaction_counts_only_when_nothing_lives() {
    let mut rig = history();
    rig.compact(3);
    check(&rig, 3, &[b"key", FOO_AT_3]);
    check(&rig, 4, &[b"key", FOO_AT_3, FOO_GONE_AT_4]);
    check(&rig, 5, &[b"key", FOO_GONE_AT_4, BAR_AT_5]);
}

#[test]
fn the_tombstone_of_the_compacted_revision_is_skipped() {
    let mut rig = history();
    rig.compact(4);
    check(&rig, 5, &[b"key", BAR_AT_5]);
}

#[test]
fn revisions_out_of_reach_are_refused() {
    let mut rig = history();
    assert_eq!(rig.hash(0).map(|found| (found.compacted, found.revision)), Ok((Revision(-1), Revision(5))));
    rig.compact(3);
    assert_eq!(rig.hash(2), Err(RequestError::Compacted));
    assert_eq!(rig.hash(6), Err(RequestError::FutureRevision));
    assert_eq!(rig.hash(3).map(|found| found.compacted), Ok(Revision(3)));
}

/// Keys of etcd's own test, `TestHashByRevValue` in `server/storage/mvcc`.
fn etcds_key(i: i64) -> &'static str {
    match (i % 142, i % 71) {
        (30, _) => "zenek",
        (_, 30) => "xavery",
        _ => ["alice", "bob", "celine", "dominik", "eve", "frederica", "gorge"][(i % 7) as usize],
    }
}

/// Puts 72 keys at a time and hashes and compacts after each round, as etcd's test does; the last round is longer.
fn etcds_rounds(hashed_at: impl Fn(i64, i64) -> i64) -> Vec<(u32, i64, i64)> {
    const ROUND: i64 = 71;
    const TOTAL: i64 = 1_210;
    let rig = RefCell::new(Rig::new());
    let round = |from: i64, count: i64| {
        let mut rig = rig.borrow_mut();
        for i in from..=from + count {
            rig.put(etcds_key(i), &i.to_string());
        }
        let at = match hashed_at(from, count) {
            0 => rig.store.revision().0,
            at => at,
        };
        let found = rig.hash(at).expect("within reach");
        rig.compact(at);
        (found.hash, found.compacted.0, found.revision.0)
    };
    let rounds = TOTAL / ROUND + 1;
    let mut found: Vec<_> = (0..rounds).map(|n| round(n * ROUND, ROUND)).collect();
    found.push(round(rounds * ROUND, TOTAL));
    found
}

#[test]
fn etcds_golden_hashes_in_the_middle_of_history() {
    let found = etcds_rounds(|from, count| from + count / 2);
    let hashes: Vec<u32> = found.iter().map(|(hash, ..)| *hash).collect();
    let expected = [
        4082599214, 2279933401, 3284231217, 126286495, 900108730, 2475485232, 1226296507, 2503661030, 4155130747,
        106915399, 406914006, 1882211381, 806177088, 664311366, 1496914449, 2434525091, 3988652253, 1122462288,
        724436716,
    ];
    assert_eq!(hashes, expected);
    assert_eq!((found[0].1, found[0].2), (-1, 35));
    assert_eq!((found[18].1, found[18].2), (1_242, 1_883));
}

#[test]
fn etcds_golden_hashes_at_the_newest_revision() {
    let found = etcds_rounds(|_, _| 0);
    let hashes: Vec<u32> = found.iter().map(|(hash, ..)| *hash).collect();
    let expected = [
        1913897190, 224860069, 1565167519, 1566261620, 2037173024, 691659396, 2713730748, 3919322507, 769967540,
        2909194793, 1576921157, 4067701532, 2226384237, 2923408134, 2680329256, 1546717673, 2713657846, 1046575299,
        2017735779,
    ];
    assert_eq!(hashes, expected);
    assert_eq!((found[18].1, found[18].2), (1_297, 2_508));
}
