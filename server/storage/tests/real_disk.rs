//! The same log and checkpoints on a real file system.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "looks behind the seam")]

mod common;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use common::{IDENTITY, entry, options, run};
use evenkeel_raft::{Index, Term};
use evenkeel_storage::checkpoint::newest;
use evenkeel_storage::real::{OpenError, RealDisk};
use evenkeel_storage::{Batch, CheckpointHeader, CheckpointWriter, Disk, OpenMode, Release, Wal};

fn open(dir: &tempfile::TempDir) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(dir.path().join("data"), false).unwrap())
}

#[test]
fn log_and_checkpoint_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (1..=200).map(|index| entry(1, index, 900, 0)).collect();
    let start = run(async {
        let mut wal = Wal::create(open(&dir), options(64 << 10)).await.unwrap();
        for entry in &entries {
            wal.commit(Batch { entries: std::slice::from_ref(entry), ..Batch::default() }).await.unwrap();
        }
        wal.values().log_start(Index(150), Term(1))
    });
    run(async {
        let disk = open(&dir);
        let mut writer =
            CheckpointWriter::create(disk.clone(), CheckpointHeader { identity: IDENTITY, start }).await.unwrap();
        assert!(!writer.push(1, b"record"));
        writer.finish().await.unwrap();
    });
    run(async {
        let disk = open(&dir);
        let found = newest(&*disk, IDENTITY).unwrap().reader.unwrap().header().start;
        assert_eq!(found, start);
        let (mut wal, recovered) = Wal::open(disk, options(64 << 10), found).await.unwrap();
        let base = recovered.base.0.0 as usize;
        let found: Vec<_> = recovered.entries.into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(found, entries[base..]);
        let unused = wal.values().unused_segments();
        let released = wal.release(Release { keep_from: Index(151), start, unused: &unused }).await.unwrap();
        assert!(!released.recycled.is_empty());
    });
    let files = open(&dir).list("wal").unwrap();
    assert!(files.iter().all(|file| file.ends_with(".seg") || file.ends_with(".spare")), "{files:?}");
}

#[test]
fn second_user_of_a_directory_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir);
    let second = RealDisk::open(dir.path().join("data"), false).map(|_| ()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }));
    let text = second.to_string();
    assert!(text.contains("data is in use by another process: stop that one, or choose another --data-dir"), "{text}");
    drop(first);
    drop(open(&dir));
}

#[test]
fn unusable_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let error = RealDisk::open(dir.path().join("file/data"), false).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("file/data"), "{error}");
}

#[test]
fn nobody_else_may_read_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(&dir);
    disk.create_dir_all("a/b").unwrap();
    disk.open("a/b/file", OpenMode::Create).unwrap();
    for (path, mode) in [("data", 0o700), ("data/a", 0o700), ("data/a/b", 0o700), ("data/a/b/file", 0o600)] {
        let found = std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}: {found:o}");
    }
}

#[test]
fn writes_are_seen_at_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(&dir);
    disk.create_dir_all("d").unwrap();
    let file = disk.open("d/f", OpenMode::Create).unwrap();
    let mut pending = Vec::new();
    for round in 0..50u8 {
        pending.push(file.write_at_and_sync(0, Bytes::from(vec![round; 4096])));
        pending.push(file.write_at(4096 * u64::from(round), Bytes::from(vec![round; 4096])));
        let mut buffer = [0; 4096];
        file.read_at(0, &mut buffer).unwrap();
        assert_eq!(buffer, [round; 4096]);
        assert_eq!(file.len().unwrap(), 4096 * (u64::from(round) + 1));
    }
    pending.push(file.set_len(10));
    assert_eq!(file.len().unwrap(), 10);
    assert_eq!(file.read_at(5, &mut [0; 6]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    pending.reverse();
    run(async {
        for pending in pending {
            pending.await.unwrap();
        }
        file.sync().await.unwrap();
        disk.sync_dir("d").await.unwrap();
        disk.sync_dir("").await.unwrap();
    });
}

#[test]
fn names_behave() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(&dir);
    assert_eq!(disk.list("d").unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dir_all("d/sub").unwrap();
    assert_eq!(disk.open("d/f", OpenMode::Write).map(|_| ()).unwrap_err().kind(), ErrorKind::NotFound);
    for name in ["d/b", "d/a", "d/c"] {
        disk.open(name, OpenMode::Create).unwrap();
    }
    disk.rename("d/c", "d/a").unwrap();
    assert_eq!(disk.list("d").unwrap(), ["a", "b"]);
    disk.remove("d/b").unwrap();
    assert_eq!(disk.list("d").unwrap(), ["a"]);
    let file = disk.open("d/a", OpenMode::Read).unwrap();
    assert!(run(file.write_at(0, Bytes::from_static(b"x"))).is_err());
}
