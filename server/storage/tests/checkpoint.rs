//! Checkpoints: the old one or the new one after a crash at any step, and rot is never read.

mod common;

use std::io::ErrorKind;

use common::{Chance, IDENTITY, Keep, TestDisk, noise, run};
use evenkeel_raft::{Index, Term};
use evenkeel_storage::checkpoint::{BlockDecoder, BlockEncoder, BlockError, CheckpointError, newest, prune};
use evenkeel_storage::wal::Identity;
use evenkeel_storage::{CheckpointHeader, CheckpointWriter, Disk, LogStart};
use proptest::prelude::*;

type Records = Vec<(u8, Vec<u8>)>;

fn header(index: u64) -> CheckpointHeader {
    let start = LogStart { segment: 3, index: Index(index), term: Term(2) };
    CheckpointHeader { identity: IDENTITY, start }
}

fn records(seed: u64, count: u64) -> Records {
    let mut chance = Chance::new(seed);
    (0..count).map(|n| (chance.below(4) as u8, noise(chance.below(3000) as usize, seed + n).to_vec())).collect()
}

async fn write(disk: &TestDisk, index: u64, records: &Records) -> Result<(), CheckpointError> {
    let mut writer = CheckpointWriter::create(disk.shared(), header(index)).await?;
    for (kind, record) in records {
        if writer.push(*kind, record) {
            writer.flush().await?;
        }
    }
    let bytes = writer.finish().await?;
    assert_eq!(bytes, disk.bytes(&path(index)).len() as u64);
    Ok(())
}

fn path(index: u64) -> String {
    format!("checkpoint/{index:016x}.ckpt")
}

/// The newest intact checkpoint with its records, and the rejected ones.
fn read(disk: &TestDisk) -> (Option<(u64, Records)>, Vec<u64>) {
    let found = newest(disk, IDENTITY).unwrap();
    let intact = found.reader.map(|mut reader| {
        let index = reader.header().start.index.0;
        assert_eq!(*reader.header(), header(index));
        let mut records = Records::new();
        while let Some(block) = reader.next_block().unwrap() {
            records.extend(block.records().map(|(kind, record)| (kind, record.to_vec())));
        }
        (index, records)
    });
    (intact, found.rejected.iter().map(|rejected| rejected.index.0).collect())
}

#[test]
fn no_checkpoint_is_no_error() {
    assert_eq!(read(&TestDisk::new()), (None, vec![]));
}

#[test]
fn what_was_written_is_read() {
    for count in [0, 1, 2, 100, 2000] {
        let disk = TestDisk::new();
        let records = records(count, count);
        run(write(&disk, 7, &records)).unwrap();
        disk.crash(Keep::None, &mut Chance::new(1));
        assert_eq!(read(&disk), (Some((7, records)), vec![]));
    }
}

#[test]
fn crash_at_any_step_leaves_the_old_or_the_new_one() {
    let (old, new) = (records(1, 200), records(2, 1000));
    let mut seen = [0; 2];
    for fuse in 0..20 {
        for seed in 0..8 {
            let disk = TestDisk::new();
            run(write(&disk, 7, &old)).unwrap();
            disk.set_fuse(fuse, ErrorKind::Other);
            let finished = run(async {
                write(&disk, 9, &new).await?;
                prune(&disk, &[Index(9)]).await
            });
            disk.crash(Keep::Some, &mut Chance::new(seed));
            let (found, rejected) = read(&disk);
            assert_eq!(rejected, [0; 0]);
            let (index, found) = found.expect("one is left");
            assert_eq!(found, if index == 7 { &old[..] } else { &new[..] });
            assert!(finished.is_err() || index == 9, "a durable checkpoint was lost");
            seen[usize::from(index == 9)] += 1;
            run(prune(&disk, &[Index(index)])).unwrap();
            assert_eq!(disk.list("checkpoint").unwrap().len(), 1, "something was left over");
        }
    }
    assert!(seen.iter().all(|&times| 0 < times), "{seen:?}");
}

#[test]
fn rotten_newest_gives_way_to_an_older_one_and_says_so() {
    let disk = TestDisk::new();
    let old = records(1, 200);
    run(write(&disk, 7, &old)).unwrap();
    run(write(&disk, 9, &records(2, 200))).unwrap();
    disk.edit(&path(9), |bytes| bytes[90_000] ^= 4);
    assert_eq!(read(&disk), (Some((7, old)), vec![9]));
    let error = newest(&disk, IDENTITY).unwrap().rejected.remove(0).error.to_string();
    assert!(error.starts_with("checkpoint/0000000000000009.ckpt: damaged at offset "), "{error}");
}

#[test]
fn checkpoint_under_another_name_is_refused() {
    let disk = TestDisk::new();
    run(write(&disk, 7, &records(1, 20))).unwrap();
    disk.rename(&path(7), &path(8)).unwrap();
    assert_eq!(read(&disk), (None, vec![8]));
}

#[test]
fn checkpoint_of_another_member_is_an_error() {
    let disk = TestDisk::new();
    run(write(&disk, 7, &records(1, 20))).unwrap();
    let error = newest(&disk, Identity { member_id: 1, ..IDENTITY }).map(|_| ()).unwrap_err();
    assert!(matches!(error, CheckpointError::Foreign { .. }), "{error}");
}

fn decode(bytes: &[u8], salt: u64, mut pieces: impl FnMut() -> usize) -> Result<(Records, bool), BlockError> {
    let mut decoder = BlockDecoder::new(salt);
    let mut records = Records::new();
    let mut rest = bytes;
    loop {
        while let Some(block) = decoder.next_block()? {
            records.extend(block.records().map(|(kind, record)| (kind, record.to_vec())));
        }
        if rest.is_empty() {
            return Ok((records, decoder.ended()));
        }
        let (piece, after) = rest.split_at(pieces().clamp(1, rest.len()));
        decoder.feed(piece);
        rest = after;
    }
}

fn encode(records: &Records, salt: u64) -> Vec<u8> {
    let mut encoder = BlockEncoder::new(salt);
    let mut out = Vec::new();
    for (n, (kind, record)) in records.iter().enumerate() {
        encoder.push(*kind, record);
        if n % 50 == 0 {
            out.extend_from_slice(&encoder.take());
        }
    }
    out.extend_from_slice(&encoder.finish());
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stream_in_pieces_of_any_size_gives_the_same_records(seed in any::<u64>(), count in 0..150u64, piece in 1..100_000u64) {
        let records = records(seed >> 1, count);
        let bytes = encode(&records, 5);
        let mut chance = Chance::new(seed);
        let decoded = decode(&bytes, 5, || 1 + chance.below(piece) as usize);
        prop_assert_eq!(decoded, Ok((records, true)));
    }

    #[test]
    fn changed_stream_is_refused_or_unfinished(seed in any::<u64>(), at in any::<prop::sample::Index>(), what in 0..5) {
        let records = records(seed >> 1, 60);
        let mut bytes = encode(&records, 5);
        let at = at.index(bytes.len());
        match what {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, 0),
            2 => drop(bytes.remove(at)),
            3 => bytes.push(0),
            _ => bytes[at] ^= 1 << (seed % 8),
        }
        let decoded = decode(&bytes, 5, || 1 << 20);
        prop_assert!(!matches!(decoded, Ok((_, true))), "a changed stream was taken");
    }

    #[test]
    fn stream_with_another_salt_is_refused(seed in any::<u64>()) {
        let bytes = encode(&records(seed >> 1, 3), 5);
        prop_assert!(decode(&bytes, 6, || 1 << 20).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = decode(&bytes, 5, || 700);
        let disk = TestDisk::new();
        run(write(&disk, 7, &records(1, 3))).unwrap();
        disk.edit(&path(7), |file| *file = bytes);
        prop_assert_eq!(read(&disk), (None, vec![7]));
    }
}
