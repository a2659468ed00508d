//! What a crash may and may not take, and what each fault does.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_scenario::Decisions;
use evenkeel_storage::OpenMode;

use super::*;
use crate::draw::Draws;

const SYNC: Duration = Duration::from_millis(2);

/// A disk with one directory and one file, both durable, and a clock of its own.
struct Bench {
    store: Store,
    now: Duration,
    file: Handle,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let mut store = Store::new("n1", &Draws::new(Decisions::new(seed)), SYNC..SYNC);
        store.create_dir_all(0, "wal").unwrap();
        let file = store.open(0, "wal/1", OpenMode::Create).unwrap();
        let mut bench = Bench { store, now: Duration::ZERO, file };
        bench.sync_dir("");
        bench.sync_dir("wal");
        bench.sync().unwrap();
        bench
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.store.write(&self.file.clone(), offset, Bytes::copy_from_slice(data))
    }

    fn wait(&mut self, ticket: Ticket) -> std::io::Result<()> {
        loop {
            match self.store.poll_sync(self.now, ticket) {
                SyncState::Done(result) => return result,
                SyncState::Wait(due) => self.now = due.expect("the disk is not stuck"),
            }
        }
    }

    fn sync(&mut self) -> std::io::Result<()> {
        let id = self.store.begin_sync(self.now, &self.file)?;
        self.wait(id)
    }

    fn sync_dir(&mut self, dir: &str) {
        let id = self.store.begin_sync_dir(self.now, self.store.epoch(), dir).unwrap();
        self.wait(id).unwrap();
    }

    fn crash(&mut self, crash: Crash) -> CrashReport {
        let report = self.store.crash(self.now, crash);
        if let Ok(file) = self.store.open(self.store.epoch(), "wal/1", OpenMode::Write) {
            self.file = file;
        }
        report
    }

    fn content(&mut self) -> Vec<u8> {
        let file = self.file.clone();
        let mut all = vec![0; self.store.len(&file).unwrap() as usize];
        self.store.read(&file, 0, &mut all).unwrap();
        all
    }

    fn durable(&mut self, offset: u64, len: u64) -> bool {
        self.store.is_durable(self.now, "wal/1", offset, len)
    }
}

#[test]
fn a_killed_process_loses_no_write_and_a_power_loss_may_lose_all() {
    let mut bench = Bench::new(1);
    bench.write(0, b"kept").unwrap();
    bench.sync().unwrap();
    bench.write(4, b"+cached").unwrap();
    assert!(bench.durable(0, 4));
    assert!(!bench.durable(0, 5));
    bench.crash(Crash::Kill);
    assert_eq!(bench.content(), b"kept+cached");
    let report = bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(report, CrashReport { pending: 1, kept: 0, torn: 0 });
    assert_eq!(bench.content(), b"kept");
}

#[test]
fn a_sync_covers_what_was_written_before_it_was_called_once_it_is_over() {
    let mut bench = Bench::new(1);
    bench.write(0, b"aa").unwrap();
    let id = bench.store.begin_sync(bench.now, &bench.file).unwrap();
    bench.write(2, b"bb").unwrap();
    assert!(!bench.durable(0, 2), "the sync takes time");
    bench.wait(id).unwrap();
    assert!(bench.durable(0, 2));
    assert!(!bench.durable(2, 2));
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(bench.content(), b"aa");
}

#[test]
fn a_sync_that_was_under_way_at_the_crash_counts_only_if_it_was_due() {
    for (wait, content) in [(SYNC / 2, &b""[..]), (SYNC, b"aa")] {
        let mut bench = Bench::new(1);
        bench.write(0, b"aa").unwrap();
        bench.store.begin_sync(bench.now, &bench.file).unwrap();
        bench.now += wait;
        bench.crash(Crash::PowerLoss(Keep::Nothing));
        assert_eq!(bench.content(), content);
    }
}

#[test]
fn a_prefix_keeps_the_oldest_writes_of_the_whole_disk() {
    let mut seen = Vec::new();
    for seed in 0..60 {
        let mut bench = Bench::new(seed);
        for i in 0..4u8 {
            bench.write(u64::from(i), &[b'a' + i]).unwrap();
        }
        let report = bench.crash(Crash::PowerLoss(Keep::Prefix));
        let content = bench.content();
        assert!(b"abcd".starts_with(&content), "{content:?}");
        assert!(report.kept.abs_diff(content.len()) <= report.torn, "{report:?} {content:?}");
        seen.push(content.len());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn a_torn_write_lands_sector_by_sector() {
    let (mut whole, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..60 {
        let mut bench = Bench::new(seed);
        bench.store.set_len(&bench.file.clone(), 4096).unwrap();
        bench.sync().unwrap();
        bench.write(100, &[7; 3000]).unwrap();
        bench.crash(Crash::PowerLoss(Keep::Subset));
        let content = bench.content();
        assert_eq!(content.len(), 4096);
        for (at, sector) in content.chunks(512).enumerate() {
            let inside: Vec<u8> = sector
                .iter()
                .copied()
                .enumerate()
                .filter(|(i, _)| (100..3100).contains(&(at * 512 + i)))
                .map(|(_, byte)| byte)
                .collect();
            assert!(inside.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: sector {at} is mixed");
        }
        match content.iter().filter(|byte| **byte == 7).count() {
            0 => lost += 1,
            3000 => whole += 1,
            _ => torn += 1,
        }
    }
    assert!(whole > 5);
    assert!(lost > 5);
    assert!(torn > 5);
}

#[test]
fn a_name_is_durable_only_after_its_directory_was_synced() {
    let mut bench = Bench::new(1);
    bench.write(0, b"data").unwrap();
    bench.sync().unwrap();
    bench.store.rename(0, "wal/1", "wal/2").unwrap();
    assert!(!bench.store.is_durable(bench.now, "wal/2", 0, 4));
    bench.store.open(0, "wal/3", OpenMode::Create).unwrap();
    assert_eq!(bench.store.list(0, "wal").unwrap(), ["2", "3"]);
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(bench.store.list(1, "wal").unwrap(), ["1"]);

    bench.store.rename(1, "wal/1", "wal/2").unwrap();
    bench.sync_dir("wal");
    assert!(bench.store.is_durable(bench.now, "wal/2", 0, 4));
    bench.store.remove(1, "wal/2").unwrap();
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(bench.store.files(), [("wal/2".to_owned(), 4)]);
}

#[test]
fn a_directory_that_was_never_synced_takes_its_files_along() {
    let mut bench = Bench::new(1);
    bench.store.create_dir_all(0, "new/sub").unwrap();
    bench.store.open(0, "new/sub/f", OpenMode::Create).unwrap();
    bench.sync_dir("new/sub");
    assert!(!bench.store.is_durable(bench.now, "new/sub/f", 0, 0));
    bench.sync_dir("new");
    bench.sync_dir("");
    assert!(bench.store.is_durable(bench.now, "new/sub/f", 0, 0));

    bench.store.create_dir_all(0, "lost").unwrap();
    bench.store.open(0, "lost/f", OpenMode::Create).unwrap();
    bench.sync_dir("lost");
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    let paths: Vec<String> = bench.store.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["new/sub/f", "wal/1"]);
}

#[test]
fn handles_of_a_dead_process_change_nothing() {
    let mut bench = Bench::new(1);
    let (old, id) = (bench.file.clone(), bench.store.begin_sync(bench.now, &bench.file).unwrap());
    bench.crash(Crash::Kill);
    assert!(bench.store.write(&old, 0, Bytes::from_static(b"late")).is_err());
    assert!(bench.store.read(&old, 0, &mut []).is_err());
    assert!(matches!(bench.store.poll_sync(bench.now, id), SyncState::Done(Err(_))));
    bench.store.close(&old);
    assert!(bench.store.open(0, "wal/1", OpenMode::Read).is_err());
    assert_eq!(bench.content(), b"");
}

#[test]
fn after_a_failed_sync_the_bytes_are_seen_but_never_become_durable() {
    let mut bench = Bench::new(1);
    bench.store.set_faults(bench.now, |faults| faults.sync_error = 1.0);
    bench.write(0, b"gone").unwrap();
    assert!(bench.sync().is_err());
    bench.store.set_faults(bench.now, |faults| faults.sync_error = 0.0);
    bench.sync().unwrap();
    assert_eq!(bench.content(), b"gone");
    assert!(!bench.durable(0, 4));
    bench.write(0, b"anew").unwrap();
    bench.sync().unwrap();
    assert!(bench.durable(0, 4));
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(bench.content(), b"anew");
}

#[test]
fn each_fault_fails_what_it_should_and_nothing_else() {
    let mut bench = Bench::new(1);
    bench.write(0, &[1; 100]).unwrap();

    bench.store.set_faults(bench.now, |faults| faults.full = true);
    assert_eq!(bench.write(90, &[2; 20]).unwrap_err().kind(), ErrorKind::StorageFull);
    bench.write(80, &[2; 20]).unwrap();
    assert_eq!(bench.store.open(0, "wal/x", OpenMode::Create).unwrap_err().kind(), ErrorKind::StorageFull);

    bench.store.set_faults(bench.now, |faults| (faults.full, faults.write_error) = (false, 1.0));
    assert!(bench.write(0, b"x").is_err());
    bench.sync().unwrap();

    bench.store.set_faults(bench.now, |faults| (faults.write_error, faults.fuse) = (0.0, Some(1)));
    bench.write(0, b"x").unwrap();
    assert!(bench.write(1, b"y").is_err());
    assert!(bench.sync().is_err());
    bench.crash(Crash::Kill);
    assert_eq!(bench.content()[..2], [b'x', 1]);
}

#[test]
fn a_stuck_disk_holds_syncs_up_until_it_is_not() {
    let mut bench = Bench::new(1);
    bench.write(0, b"a").unwrap();
    let id = bench.store.begin_sync(bench.now, &bench.file).unwrap();
    bench.store.set_faults(bench.now, |faults| faults.stuck = true);
    bench.now += Duration::from_secs(60);
    assert!(matches!(bench.store.poll_sync(bench.now, id), SyncState::Wait(None)));
    assert!(!bench.durable(0, 1));
    bench.store.set_faults(bench.now, |faults| faults.stuck = false);
    bench.wait(id).unwrap();
    assert!(bench.durable(0, 1));
}

#[test]
fn a_slow_disk_finishes_the_syncs_of_one_file_in_order() {
    let mut bench = Bench::new(1);
    bench.store.set_faults(bench.now, |faults| faults.slow_sync = Some(SYNC * 50..SYNC * 50));
    bench.write(0, b"a").unwrap();
    let slow = bench.store.begin_sync(bench.now, &bench.file).unwrap();
    bench.store.set_faults(bench.now, |faults| faults.slow_sync = None);
    bench.write(1, b"b").unwrap();
    let start = bench.now;
    bench.sync().unwrap();
    assert_eq!(bench.now - start, SYNC * 50);
    assert!(matches!(bench.store.poll_sync(bench.now, slow), SyncState::Done(Ok(()))));
}

#[test]
fn a_lying_sync_is_told_apart_by_the_truth_about_durability() {
    let mut bench = Bench::new(1);
    bench.store.set_faults(bench.now, |faults| faults.lying_sync = Some(1));
    bench.write(0, b"lie").unwrap();
    bench.sync().unwrap();
    assert!(!bench.durable(0, 3));
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(bench.content(), b"");
}

#[test]
fn rot_is_read_back_and_a_stray_write_shows_after_the_cache_is_gone() {
    let mut bench = Bench::new(1);
    bench.write(0, &[1; 2048]).unwrap();
    bench.sync().unwrap();
    assert!(bench.store.rot("wal/1", 5, 0x80));
    assert!(!bench.store.rot("wal/1", 5000, 1));
    assert_eq!(bench.content()[4..7], [1, 0x81, 1]);

    bench.store.set_faults(bench.now, |faults| faults.misdirect = Some(512));
    bench.write(512, &[9; 4]).unwrap();
    bench.sync().unwrap();
    assert_eq!(bench.content()[512..516], [9; 4]);
    assert!(!bench.durable(512, 4));
    bench.crash(Crash::PowerLoss(Keep::Nothing));
    assert_eq!(bench.content()[512..516], [1; 4]);
    assert_eq!(bench.content()[1024..1028], [9; 4]);
}

#[test]
fn files_that_nobody_can_reach_are_freed() {
    let mut bench = Bench::new(1);
    bench.store.remove(0, "wal/1").unwrap();
    bench.sync_dir("wal");
    bench.write(0, b"still open").unwrap();
    assert_eq!(bench.content(), b"still open");
    bench.store.close(&bench.file);
    assert_eq!(bench.store.inodes.len(), 0);
}

#[test]
fn equal_seeds_crash_alike() {
    let run = |seed| {
        let mut bench = Bench::new(seed);
        for i in 0..50u64 {
            bench.write(i * 300, &[i as u8 + 1; 900]).unwrap();
        }
        let report = bench.crash(Crash::PowerLoss(Keep::Drawn));
        (report, bench.content())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
