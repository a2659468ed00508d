//! What the log does on a good day, and after the first failure.

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;

use bytes::Bytes;
use common::{Chance, Keep, TestDisk, entry, noise, options, payload, run};
use evenkeel_raft::{HardState, Index, NodeId, Term};
use evenkeel_storage::value_log::StoredAs;
use evenkeel_storage::{Batch, Committed, Disk, LogStart, Release, ValueError, Wal, WalError, value_crc};

const BEGINNING: LogStart = LogStart::BEGINNING;

async fn create(disk: &TestDisk) -> Wal {
    Wal::create(disk.shared(), options(8192)).await.unwrap()
}

async fn append(wal: &mut Wal, index: u64, len: usize) -> Committed {
    wal.commit(Batch { entries: &[entry(1, index, len, 0)], ..Batch::default() }).await.unwrap()
}

#[test]
fn what_was_committed_is_recovered_with_its_places() {
    let disk = TestDisk::new();
    run(async {
        let hard_state = HardState { term: Term(3), vote: Some(NodeId(2)) };
        let entries = [entry(2, 1, 0, 0), entry(2, 2, 50, 0), entry(3, 3, 7000, 0), entry(3, 4, 9000, 0)];
        let mut wal = create(&disk).await;
        let done =
            wal.commit(Batch { hard_state: Some(hard_state), entries: &entries, ..Batch::default() }).await.unwrap();
        assert_eq!(done.batches.iter().map(|batch| u64::from(batch.len)).sum::<u64>(), done.bytes_written);
        drop(wal);
        let (wal, recovered) = Wal::open(disk.shared(), options(8192), BEGINNING).await.unwrap();
        assert_eq!(recovered.hard_state, hard_state);
        assert_eq!(recovered.base, (Index(0), Term(0)));
        assert_eq!(recovered.entries, entries.into_iter().zip(done.places).collect::<Vec<_>>());
        assert_eq!(recovered.repaired, None);
        assert_eq!(wal.last(), (Index(4), Term(3)));
    });
}

#[test]
fn batch_is_one_write_and_one_sync() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = Wal::create(disk.shared(), options(1 << 20)).await.unwrap();
        let before = disk.changes();
        let entries: Vec<_> = (1..=20).map(|index| entry(1, index, 30, 0)).collect();
        wal.commit(Batch { entries: &entries, ..Batch::default() }).await.unwrap();
        assert_eq!(disk.changes() - before, 2);
        wal.commit(Batch::default()).await.unwrap();
        assert_eq!(disk.changes() - before, 2, "an empty batch costs nothing");
    });
}

#[test]
fn failed_write_or_sync_is_the_last() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for fuse in 0..8 {
            let disk = TestDisk::new();
            run(async {
                let mut wal = create(&disk).await;
                disk.set_fuse(fuse, kind);
                let mut index = 0;
                let error = loop {
                    index += 1;
                    if let Err(error) =
                        wal.commit(Batch { entries: &[entry(1, index, 3000, 0)], ..Batch::default() }).await
                    {
                        break error;
                    }
                };
                assert!(matches!(&error, WalError::Io { source, .. } if source.kind() == kind), "{error}");
                disk.clear_fuse();
                let before = disk.changes();
                let again = wal.commit(Batch { carries: &[Bytes::from_static(b"x")], ..Batch::default() }).await;
                assert!(matches!(again, Err(WalError::Poisoned { .. })), "{again:?}");
                let unused = BTreeSet::new();
                let release = wal.release(Release { keep_from: Index(9), start: BEGINNING, unused: &unused }).await;
                assert!(matches!(release, Err(WalError::Poisoned { .. })), "{release:?}");
                assert_eq!(disk.changes(), before, "something was retried");
            });
        }
    }
}

#[test]
fn record_that_is_too_long_is_refused_before_anything_is_written() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        let before = disk.changes();
        let huge = Bytes::from(vec![0; evenkeel_storage::RECORD_BYTES_MAX]);
        let refused = wal.commit(Batch { carries: &[huge], ..Batch::default() }).await;
        assert!(matches!(refused, Err(WalError::TooLarge { .. })), "{refused:?}");
        assert_eq!(disk.changes(), before);
        append(&mut wal, 1, 10).await;
    });
}

#[test]
#[should_panic(expected = "would leave a gap")]
fn gap_never_reaches_the_disk() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        append(&mut wal, 2, 10).await;
    });
}

#[test]
fn long_batch_is_cut_into_several() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = Wal::create(disk.shared(), options(64 << 20)).await.unwrap();
        let carries: Vec<Bytes> = (0..10).map(|_| Bytes::from(vec![1; 1 << 20])).collect();
        let done = wal.commit(Batch { carries: &carries, ..Batch::default() }).await.unwrap();
        assert_eq!(done.batches.len(), 4);
        assert_eq!(wal.current_segment(), 1);
    });
}

#[test]
fn next_segment_is_prepared_while_the_current_one_fills() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        let mut index = 0;
        let mut dearest = 0;
        while wal.current_segment() < 6 {
            index += 1;
            let before = disk.changes();
            append(&mut wal, index, 300).await;
            dearest = dearest.max(disk.changes() - before);
        }
        // Batch, header, each with its sync; name, directory; at most one piece of zeros, and a new spare.
        assert!(dearest <= 2 + 2 + 2 + 2 + 1, "a commit made {dearest} changes");
    });
}

#[test]
fn create_refuses_to_overwrite_a_log() {
    let disk = TestDisk::new();
    run(async {
        assert!(!Wal::exists(&disk).unwrap());
        let mut wal = create(&disk).await;
        assert!(Wal::exists(&disk).unwrap());
        Wal::discard(&disk).await.unwrap();
        drop(std::mem::replace(&mut wal, create(&disk).await));
        append(&mut wal, 1, 10).await;
        let again = Wal::create(disk.shared(), options(8192)).await.map(|_| ()).unwrap_err();
        assert!(matches!(again, WalError::Exists), "{again}");
        let discarded = Wal::discard(&disk).await.unwrap_err();
        assert!(matches!(discarded, WalError::NotEmpty { .. }), "{discarded}");
        Wal::open(disk.shared(), options(8192), BEGINNING).await.unwrap();
    });
}

#[test]
fn older_checkpoint_than_the_log_reaches_back_to_is_refused() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        for index in 1..=60 {
            append(&mut wal, index, 500).await;
        }
        let unused = wal.values().unused_segments();
        let start = wal.values().log_start(Index(50), Term(1));
        let released = wal.release(Release { keep_from: Index(51), start, unused: &unused }).await.unwrap();
        assert!(!released.recycled.is_empty() && !released.removed.is_empty(), "{released:?}");
        drop(wal);
        let error = |start| run(Wal::open(disk.shared(), options(8192), start)).map(|_| ()).unwrap_err();
        assert!(matches!(error(BEGINNING), WalError::MissingSegment { .. }));
        let too_old = LogStart { index: Index(10), ..start };
        assert!(matches!(error(too_old), WalError::Gap { checkpoint: Index(10), .. }));
        Wal::open(disk.shared(), options(8192), start).await.unwrap();
    });
}

#[test]
fn segment_stays_while_anything_in_it_is_needed() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        let mut places = Vec::new();
        for index in 1..=60 {
            places.extend(append(&mut wal, index, 500).await.places);
        }
        let values = wal.values();
        let all: BTreeSet<u32> = values.unused_segments();
        let start = values.log_start(Index(60), Term(1));
        let freed = async |wal: &mut Wal, keep_from, start, unused: &BTreeSet<u32>| {
            let released = wal.release(Release { keep_from: Index(keep_from), start, unused }).await.unwrap();
            [released.recycled, released.removed].concat()
        };
        assert_eq!(freed(&mut wal, 1, start, &all).await, [], "entries are needed");
        assert_eq!(freed(&mut wal, 61, BEGINNING, &all).await, [], "the checkpoint begins there");
        assert_eq!(freed(&mut wal, 61, start, &BTreeSet::new()).await, [], "the checkpoint points there");
        values.add_live(places[0].segment, 500).unwrap();
        let gone = freed(&mut wal, 61, start, &all).await;
        assert!(!gone.is_empty() && !gone.contains(&places[0].segment), "a value is needed");
        let dead = places[20];
        assert!(matches!(values.read(dead.segment, dead.offset, dead.len, 0), Err(ValueError::Gone { .. })));
        assert!(matches!(values.add_live(dead.segment, 1), Err(ValueError::Gone { .. })));
        values.sub_live(places[0].segment, 500);
        assert_eq!(freed(&mut wal, 61, start, &all).await, [places[0].segment]);
    });
}

#[test]
fn disk_use_is_bounded_when_everything_is_released() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        for index in 1..=300 {
            append(&mut wal, index, 700).await;
            let values = wal.values();
            let (start, unused) = (values.log_start(Index(index), Term(1)), values.unused_segments());
            wal.release(Release { keep_from: Index(index + 1), start, unused: &unused }).await.unwrap();
            assert!(wal.disk_bytes() <= 4 * 8192, "{} bytes", wal.disk_bytes());
            assert!(disk.list("wal").unwrap().len() <= 4);
        }
    });
}

#[test]
fn values_can_be_moved_out_of_an_old_segment() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        let mut kept = Vec::new();
        for index in 1..=60 {
            kept.extend(append(&mut wal, index, 500).await.places);
        }
        let mut scan = wal.values().scan(1).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = scan.next_batch().unwrap() {
            found.extend(batch);
        }
        for (n, stored) in found.iter().enumerate() {
            assert_eq!(stored.place, kept[n]);
            assert_eq!(stored.stored_as, StoredAs::Entry { term: Term(1), index: Index(n as u64 + 1) });
            assert_eq!(stored.bytes, payload(&entry(1, n as u64 + 1, 500, 0)));
        }
        let carries: Vec<Bytes> = found.iter().map(|stored| stored.bytes.clone()).collect();
        let moved = wal.commit(Batch { carries: &carries, ..Batch::default() }).await.unwrap().carry_places;
        drop(wal);
        disk.crash(Keep::None, &mut Chance::new(1));
        let (wal, _) = Wal::open(disk.shared(), options(8192), BEGINNING).await.unwrap();
        for (place, bytes) in moved.iter().zip(&carries) {
            let read = wal.values().read(place.segment, place.offset, place.len, value_crc(bytes)).unwrap();
            assert_eq!(read, bytes);
        }
    });
}

#[test]
fn part_of_a_payload_is_a_value() {
    let disk = TestDisk::new();
    run(async {
        let mut wal = create(&disk).await;
        let whole = noise(1000, 9);
        let place =
            wal.commit(Batch { carries: std::slice::from_ref(&whole), ..Batch::default() }).await.unwrap().carry_places
                [0];
        let values = wal.values();
        let part = &whole[100..350];
        let (segment, offset) = (place.segment, place.offset + 100);
        for _ in 0..2 {
            assert_eq!(values.read(segment, offset, 250, value_crc(part)).unwrap(), part);
        }
        assert!(matches!(values.read(segment, offset + 1, 250, value_crc(part)), Err(ValueError::Damaged { .. })));
        assert!(matches!(values.read(segment, 8000, u32::MAX, 0), Err(ValueError::Damaged { .. })));
        assert!(matches!(values.read(9, 0, 1, 0), Err(ValueError::Gone { segment: 9 })));
    });
}
