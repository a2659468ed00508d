//! Rot: refused with file and offset, or a read error; never served, never a panic. Torn by a crash: repaired.

mod common;

use bytes::Bytes;
use common::{Chance, IDENTITY, Keep, TestDisk, entry, noise, options, payload, run};
use evenkeel_raft::{Entry, HardState, Index, NodeId, Term};
use evenkeel_storage::wal::Identity;
use evenkeel_storage::{Batch, Disk, LogStart, Options, Place, ValueError, Wal, WalError, value_crc};
use proptest::prelude::*;

const SEGMENT_BYTES: u32 = 8192;
const BEGINNING: LogStart = LogStart::BEGINNING;

fn path(segment: u32) -> String {
    format!("wal/{segment:016x}.seg")
}

/// A log of a few segments, and where its batches begin.
struct Built {
    disk: TestDisk,
    entries: Vec<(Entry, Place)>,
    /// Segment, begin and end of every batch.
    batches: Vec<(u32, u32, u32)>,
}

fn build(batches: u64) -> Built {
    let disk = TestDisk::new();
    let mut built = Built { disk: disk.clone(), entries: Vec::new(), batches: Vec::new() };
    run(async {
        let mut wal = Wal::create(disk.shared(), options(SEGMENT_BYTES)).await.unwrap();
        for n in 0..batches {
            let first = 2 * n + 1;
            let entries = [entry(1, first, 700, 0), entry(1, first + 1, (n % 3) as usize * 300, 0)];
            let hard_state = (n == 0).then_some(HardState { term: Term(1), vote: Some(NodeId(1)) });
            let done = wal.commit(Batch { hard_state, entries: &entries, ..Batch::default() }).await.unwrap();
            let end = wal.values().segments().last().unwrap().used_bytes;
            built.batches.push((wal.current_segment(), end - done.bytes_written as u32, end));
            built.entries.extend(entries.into_iter().zip(done.places));
        }
    });
    built
}

fn open(disk: &TestDisk, start: LogStart) -> Result<(Wal, evenkeel_storage::Recovered), WalError> {
    run(Wal::open(disk.shared(), options(SEGMENT_BYTES), start))
}

#[track_caller]
fn expect_damaged(disk: &TestDisk, segment: u32, offset: u32) -> String {
    match open(disk, BEGINNING).map(|_| ()) {
        Err(error @ WalError::Damaged { .. }) => {
            let text = error.to_string();
            let place = format!("{}: damaged at offset {offset}: ", path(segment));
            assert!(text.starts_with(&place), "expected {place:?}, got {text:?}");
            assert!(text.contains("restore a snapshot"), "no advice: {text:?}");
            text
        }
        other => panic!("expected damage at {offset} in segment {segment}, got {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bit_in_any_batch_but_the_last_is_refused(which in any::<prop::sample::Index>(), at in any::<u32>(), bit in 0..8u8) {
        let built = build(14);
        let batches = &built.batches[..built.batches.len() - 1];
        let &(segment, begin, end) = which.get(batches);
        let at = begin + at % (end - begin);
        built.disk.edit(&path(segment), |bytes| bytes[at as usize] ^= 1u8 << bit);
        expect_damaged(&built.disk, segment, begin);
    }

    #[test]
    fn flipped_bit_in_a_segment_header_is_refused(segment in 1..=3u32, at in 0..512usize, bit in 0..8u8) {
        let built = build(14);
        built.disk.edit(&path(segment), |bytes| bytes[at] ^= 1u8 << bit);
        expect_damaged(&built.disk, segment, 0);
    }

    #[test]
    fn flipped_bit_in_a_value_is_a_read_error(which in any::<prop::sample::Index>(), at in any::<u32>(), bit in 0..8u8) {
        let built = build(14);
        // As after a restart: old segments are not read at start, and nothing is cached.
        let last = built.batches.last().unwrap().0;
        let start = LogStart { segment: last, ..open(&built.disk, BEGINNING).unwrap().0.values().log_start(Index(20), Term(1)) };
        let old: Vec<_> = built.entries.iter().filter(|(e, p)| p.segment < last && !payload(e).is_empty()).collect();
        let (entry, place) = which.get(&old);
        let at = place.offset + at % place.len;
        built.disk.edit(&path(place.segment), |bytes| bytes[at as usize] ^= 1u8 << bit);
        let (wal, _) = open(&built.disk, LogStart { index: Index(1000), ..start }).unwrap();
        match wal.values().read(place.segment, place.offset, place.len, value_crc(payload(entry))) {
            Err(ValueError::Damaged { file, offset, .. }) => prop_assert_eq!((file, offset), (path(place.segment), place.offset)),
            other => panic!("expected a read error, got {other:?}"),
        }
        let mut scan = wal.values().scan(place.segment).unwrap();
        let scanned = loop {
            match scan.next_batch() {
                Ok(Some(_)) => {}
                other => break other.map(|_| ()),
            }
        };
        prop_assert!(matches!(scanned, Err(WalError::Damaged { .. })), "{:?}", scanned);
    }

    #[test]
    fn arbitrary_bytes_never_panic(seed in any::<u64>(), edits in 1..8) {
        let built = build(14);
        let mut chance = Chance::new(seed);
        for _ in 0..edits {
            let segment = 1 + chance.below(3) as u32;
            let (from, len) = (chance.below(8192) as usize, chance.below(8192) as usize);
            let junk = noise(len, seed);
            built.disk.edit(&path(segment), |bytes| match chance.below(6) {
                0 => bytes.truncate(from),
                1 => bytes.extend_from_slice(&junk),
                2 => bytes.fill(0),
                _ => {
                    let to = bytes.len().min(from + len);
                    let from = from.min(to);
                    bytes[from..to].copy_from_slice(&junk[..to - from]);
                }
            });
        }
        if let Ok((wal, recovered)) = open(&built.disk, BEGINNING) {
            for (entry, place) in &recovered.entries {
                prop_assert!(built.entries.iter().any(|(known, at)| (known, at) == (entry, place)));
            }
            drop(wal);
        }
    }
}

#[test]
fn cut_or_missing_segment_is_refused() {
    let built = build(14);
    built.disk.edit(&path(2), |bytes| bytes.truncate(4096));
    expect_damaged(&built.disk, 2, 0);

    let built = build(14);
    built.disk.remove_quietly(&path(2));
    let error = open(&built.disk, BEGINNING).map(|_| ()).unwrap_err();
    assert!(matches!(&error, WalError::MissingSegment { file } if *file == path(2)), "{error}");
}

#[test]
fn swapped_segments_are_refused() {
    let built = build(14);
    let (one, two) = (built.disk.bytes(&path(1)), built.disk.bytes(&path(2)));
    built.disk.edit(&path(1), |bytes| *bytes = two);
    built.disk.edit(&path(2), |bytes| *bytes = one);
    expect_damaged(&built.disk, 1, 0);
}

#[test]
fn misdirected_batch_is_refused() {
    let built = build(14);
    let [(segment, begin, end), (_, to, _), ..] = built.batches[..] else { panic!() };
    built.disk.edit(&path(segment), |bytes| bytes.copy_within(begin as usize..end as usize, to as usize));
    expect_damaged(&built.disk, segment, to);
}

#[test]
fn rot_is_told_from_a_torn_tail_even_when_both_happen() {
    let built = build(14);
    let [.., (segment, bad, _), (last_segment, torn, torn_end)] = built.batches[..] else { panic!() };
    assert_eq!(segment, last_segment);
    built.disk.edit(&path(segment), |bytes| {
        bytes[bad as usize + 100] ^= 1;
        // Only the first sector of the last batch arrived.
        bytes[torn as usize + 512..torn_end as usize].fill(0);
    });
    let text = expect_damaged(&built.disk, segment, bad);
    assert!(text.contains(&format!("offset {torn} says that it was durable")), "{text}");
}

#[test]
fn torn_last_batch_is_repaired_whatever_arrived_of_it() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = Wal::create(disk.shared(), options(SEGMENT_BYTES)).await.unwrap();
        let entries = [entry(1, 1, 600, 0)];
        wal.commit(Batch { entries: &entries, ..Batch::default() }).await.unwrap();
    });
    let before = disk.bytes(&path(1));
    let after = {
        let copy = disk.copy();
        run(async {
            let (mut wal, _) = Wal::open(copy.shared(), options(SEGMENT_BYTES), BEGINNING).await.unwrap();
            let entries = [entry(1, 2, 2300, 0)];
            wal.commit(Batch { entries: &entries, ..Batch::default() }).await.unwrap();
        });
        copy.bytes(&path(1))
    };
    let (from, until) = (512 + 1024, 512 + 1024 + 2560);
    assert_ne!(before[from..until], after[from..until]);
    assert_eq!(before[until..], after[until..]);
    for arrived in 0..1u32 << 5 {
        let disk = disk.copy();
        disk.edit(&path(1), |bytes| {
            for sector in (0..5).filter(|sector| arrived & (1 << sector) != 0) {
                let at = from + 512 * sector;
                bytes[at..at + 512].copy_from_slice(&after[at..at + 512]);
            }
        });
        let (_, recovered) = open(&disk, BEGINNING).unwrap();
        let whole = arrived == 31;
        assert_eq!(recovered.entries.len(), if whole { 2 } else { 1 });
        assert_eq!(recovered.repaired.is_some(), !whole && arrived != 0, "{arrived:b}");
        if let Some(repair) = recovered.repaired {
            assert_eq!((repair.file, repair.offset), (path(1), from as u64));
            assert_eq!(disk.bytes(&path(1))[from..], before[from..], "leftovers stayed");
        }
    }
}

#[test]
fn log_of_another_member_is_refused() {
    let built = build(2);
    for identity in [Identity { cluster_id: 1, ..IDENTITY }, Identity { member_id: 1, ..IDENTITY }] {
        let options = Options { identity, ..options(SEGMENT_BYTES) };
        let error = run(Wal::open(built.disk.shared(), options, BEGINNING)).map(|_| ()).unwrap_err();
        assert!(matches!(error, WalError::Foreign { .. }), "{error}");
    }
}

/// A life of the member. Lives are alike before entry `parting`; `salt` tells the rest of their payloads apart.
fn history(salt: u64, parting: u64) -> Built {
    let disk = TestDisk::new();
    let mut built = Built { disk: disk.clone(), entries: Vec::new(), batches: Vec::new() };
    run(async {
        let mut wal = Wal::create(disk.shared(), options(SEGMENT_BYTES)).await.unwrap();
        for index in 1..=12 {
            let entries = [entry(1, index, 1200, if index < parting { 0 } else { salt })];
            let batch = wal.commit(Batch { entries: &entries, ..Batch::default() }).await.unwrap().batches[0];
            built.batches.push((batch.segment, batch.offset, batch.offset + batch.len));
        }
    });
    built
}

#[test]
fn intact_batch_of_another_history_is_refused() {
    let in_first_segment = history(1, 1).batches.iter().filter(|(segment, ..)| *segment == 1).count();
    for n in 0..in_first_segment {
        let [own, other] = [1, 2].map(|salt| history(salt, n as u64 + 1));
        let (segment, begin, end) = own.batches[n];
        let stranger = other.disk.bytes(&path(segment));
        let range = begin as usize..end as usize;
        own.disk.edit(&path(segment), |bytes| bytes[range.clone()].copy_from_slice(&stranger[range]));
        // It looks right in its place; what follows it does not.
        let text = expect_damaged(&own.disk, segment, end);
        assert_eq!(text.contains("its successor names"), n == in_first_segment - 1, "{text}");
    }
}

/// A client that knows the format stores bytes that look like later batches; then its batch is torn.
#[test]
fn value_that_imitates_batches_does_not_block_recovery() {
    let stored = history(2, 1).disk.bytes(&path(2));
    let disk = TestDisk::new();
    let torn = run(async {
        let mut wal = Wal::create(disk.shared(), options(SEGMENT_BYTES)).await.unwrap();
        for index in 1..=6 {
            wal.commit(Batch { entries: &[entry(1, index, 1200, 1)], ..Batch::default() }).await.unwrap();
        }
        assert_eq!(wal.current_segment(), 2);
        // Each sector lies where it lay in the file it was copied from.
        let end = wal.values().segments()[1].used_bytes;
        let carry = Bytes::copy_from_slice(&stored[end as usize + 48..]);
        let done = wal.commit(Batch { carries: &[carry], ..Batch::default() }).await.unwrap();
        assert_eq!((done.batches[0].offset, done.carry_places[0].offset), (end, end + 48));
        end as usize
    });
    disk.edit(&path(2), |bytes| bytes[torn..torn + 512].fill(0));
    let (_, recovered) = open(&disk, BEGINNING).unwrap();
    assert_eq!((recovered.entries.len(), recovered.repaired.unwrap().offset), (6, torn as u64));
}

#[test]
fn batches_of_a_files_earlier_life_never_count() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = Wal::create(disk.shared(), options(SEGMENT_BYTES)).await.unwrap();
        let mut last = 0;
        while wal.current_segment() < 6 {
            last += 1;
            wal.commit(Batch { entries: &[entry(1, last, 400, 0)], ..Batch::default() }).await.unwrap();
            let start = wal.values().log_start(Index(last), Term(1));
            let unused = wal.values().unused_segments();
            let keep = evenkeel_storage::Release { keep_from: Index(last), start, unused: &unused };
            wal.release(keep).await.unwrap();
        }
        let start = wal.values().log_start(Index(last), Term(1));
        let used = wal.values().segments().last().unwrap().used_bytes as usize;
        assert!(disk.bytes(&path(6))[used..].iter().any(|&byte| byte != 0), "the file was not recycled");
        drop(wal);
        disk.crash(Keep::None, &mut Chance::new(1));
        let (wal, recovered) = Wal::open(disk.shared(), options(SEGMENT_BYTES), start).await.unwrap();
        assert_eq!(recovered.repaired, None);
        assert_eq!(wal.last(), (Index(last), Term(1)));
        let files = disk.list("wal").unwrap();
        assert!(files.len() <= 4, "released segments stay on the disk: {files:?}");
    });
}
