//! Power loss at any moment: what was acknowledged comes back, nothing else does, and opening never refuses.

mod common;

use std::collections::BTreeMap;
use std::io::ErrorKind;

use bytes::Bytes;
use common::{Chance, Keep, TestDisk, entry, noise, options, payload, run};
use evenkeel_raft::{Entry, HardState, Index, NodeId, Term};
use evenkeel_storage::{Batch, LogStart, Place, Recovered, Release, Wal, WalError, value_crc};
use proptest::prelude::*;

/// What one batch asked for, owned.
#[derive(Clone, Debug, Default)]
struct Owned {
    hard_state: Option<HardState>,
    snapshot: Option<(Index, Term)>,
    entries: Vec<Entry>,
    carries: Vec<Bytes>,
}

/// The log as it must be.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    hard_state: HardState,
    base: (Index, Term),
    entries: Vec<Entry>,
}

impl Model {
    fn last(&self) -> u64 {
        self.base.0.0 + self.entries.len() as u64
    }
    fn snapshot(&mut self, at: (Index, Term)) {
        self.base = at;
        self.entries.clear();
    }
    fn append(&mut self, entry: &Entry) {
        self.entries.truncate((entry.index.0 - 1 - self.base.0.0) as usize);
        self.entries.push(entry.clone());
    }
    fn term_at(&self, index: u64) -> Term {
        match index - self.base.0.0 {
            0 => self.base.1,
            n => self.entries[n as usize - 1].term,
        }
    }
    /// All states that a crash during `batch` may leave.
    fn prefixes(&self, batch: &Owned) -> Vec<Model> {
        let mut states = vec![self.clone()];
        let mut state = self.clone();
        if let Some(hard_state) = batch.hard_state {
            state.hard_state = hard_state;
            states.push(state.clone());
        }
        if let Some(at) = batch.snapshot {
            state.snapshot(at);
            states.push(state.clone());
        }
        for entry in &batch.entries {
            state.append(entry);
            states.push(state.clone());
        }
        states
    }
    /// What opening makes of it, given the checkpoint: what the log holds after the checkpoint.
    fn opened(&self, start: LogStart) -> (HardState, Vec<Entry>) {
        let known = self.base.0 <= start.index && start.index.0 <= self.last();
        let after = if known && self.term_at(start.index.0) == start.term {
            self.entries[(start.index.0 - self.base.0.0) as usize..].to_vec()
        } else {
            Vec::new()
        };
        (self.hard_state, after)
    }
}

struct Run {
    disk: TestDisk,
    chance: Chance,
    segment_bytes: u32,
    model: Model,
    start: LogStart,
    /// Values the index points to as of now, with their bytes.
    live: BTreeMap<Place, Bytes>,
    /// The same as of the checkpoint.
    live_at_start: BTreeMap<Place, Bytes>,
    salt: u64,
    in_flight: Owned,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut chance = Chance::new(seed);
        let segment_bytes = 4096 << chance.below(3);
        let model = Model { hard_state: HardState::default(), base: (Index(0), Term(0)), entries: Vec::new() };
        Run {
            disk: TestDisk::new(),
            chance,
            segment_bytes,
            model,
            start: LogStart::BEGINNING,
            live: BTreeMap::new(),
            live_at_start: BTreeMap::new(),
            salt: 0,
            in_flight: Owned::default(),
        }
    }

    fn random_batch(&mut self) -> Owned {
        let chance = &mut self.chance;
        let mut batch = Owned::default();
        let mut term = self.model.hard_state.term.0.max(1);
        if chance.one_in(4) {
            term += chance.below(2);
            let vote = Some(NodeId(1 + chance.below(3))).filter(|_| chance.one_in(2));
            batch.hard_state = Some(HardState { term: Term(term), vote });
        }
        let (low, last) = (self.start.index.0.max(self.model.base.0.0), self.model.last());
        let back = if chance.one_in(5) { chance.below(last - low + 1) } else { 0 };
        for n in 0..chance.below(6) {
            self.salt += 1;
            let len = match chance.below(20) {
                0..3 => 0,
                3 => 5_000 + chance.below(20_000),
                4..8 => chance.below(3_000),
                _ => 1 + chance.below(100),
            };
            batch.entries.push(entry(term, last - back + 1 + n, len as usize, self.salt));
        }
        for _ in 0..chance.below(20).saturating_sub(17) {
            self.salt += 1;
            batch.carries.push(noise(1 + chance.below(500) as usize, self.salt));
        }
        batch
    }

    async fn commit(&mut self, wal: &mut Wal, batch: Owned) -> Result<(), WalError> {
        self.in_flight = batch;
        let Owned { hard_state, snapshot, entries, carries } = &self.in_flight;
        let done = wal.commit(Batch { hard_state: *hard_state, snapshot: *snapshot, entries, carries }).await?;
        assert_eq!((done.places.len(), done.carry_places.len()), (entries.len(), carries.len()));
        for (place, carry) in done.carry_places.iter().zip(carries) {
            if self.chance.one_in(2) {
                wal.values().add_live(place.segment, u64::from(place.len)).unwrap();
                self.live.insert(*place, carry.clone());
            }
            self.check_value(wal, *place, carry);
        }
        for (place, entry) in done.places.iter().zip(entries) {
            self.check_value(wal, *place, payload(entry));
        }
        self.model = self.model.prefixes(&self.in_flight).pop().unwrap();
        self.in_flight = Owned::default();
        Ok(())
    }

    fn check_value(&self, wal: &Wal, place: Place, bytes: &[u8]) {
        let read = wal.values().read(place.segment, place.offset, place.len, value_crc(bytes));
        assert_eq!(read.unwrap_or_else(|error| panic!("{error}")), bytes);
    }

    /// A checkpoint somewhere in the log, after which segments are released.
    async fn checkpoint(&mut self, wal: &mut Wal) -> Result<(), WalError> {
        let low = self.start.index.0.max(self.model.base.0.0);
        let index = low + self.chance.below(self.model.last() - low + 1);
        self.start = wal.values().log_start(Index(index), self.model.term_at(index));
        self.live_at_start = self.live.clone();
        let unused = wal.values().unused_segments();
        self.drop_some_live(wal);
        let release = Release { keep_from: Index(index + 1), start: self.start, unused: &unused };
        wal.release(release).await?;
        Ok(())
    }

    fn drop_some_live(&mut self, wal: &Wal) {
        let mut gone = self.live.clone();
        gone.retain(|_, _| self.chance.one_in(3));
        for place in gone.keys() {
            self.live.remove(place);
            wal.values().sub_live(place.segment, u64::from(place.len));
        }
    }

    /// A snapshot from another member: its checkpoint first, then the log's marker.
    async fn install(&mut self, wal: &mut Wal) -> Result<(), WalError> {
        let index = Index(self.model.last() + 1 + self.chance.below(50));
        let term = self.model.hard_state.term.max(Term(1));
        self.start = wal.values().log_start(index, term);
        self.live_at_start = self.live.clone();
        if self.chance.one_in(2) {
            self.commit(wal, Owned { snapshot: Some((index, term)), ..Owned::default() }).await
        } else {
            Err(WalError::Poisoned { cause: "the power failed between checkpoint and marker".to_owned() })
        }
    }

    async fn life(&mut self, wal: &mut Wal) -> Result<(), WalError> {
        for _ in 0..1 + self.chance.below(30) {
            match self.chance.below(20) {
                0..3 => self.checkpoint(wal).await?,
                3 if self.chance.one_in(3) => self.install(wal).await?,
                _ => {
                    let batch = self.random_batch();
                    self.commit(wal, batch).await?;
                }
            }
        }
        Ok(())
    }

    fn check_recovered(&mut self, wal: &Wal, recovered: &Recovered) {
        let base = recovered.base.0;
        assert!(base <= self.start.index, "the log begins at {base}, after the checkpoint");
        let after: Vec<Entry> =
            recovered.entries.iter().map(|(entry, _)| entry.clone()).filter(|e| self.start.index < e.index).collect();
        let found = (recovered.hard_state, after);
        let allowed = self.model.prefixes(&self.in_flight);
        let state = allowed.iter().find(|state| state.opened(self.start) == found);
        let Some(state) = state else {
            let allowed: Vec<_> = allowed.iter().map(|state| state.opened(self.start)).collect();
            panic!("recovered {found:?}\nallowed {allowed:?}")
        };
        for (n, (entry, place)) in recovered.entries.iter().enumerate() {
            assert_eq!(entry.index.0, base.0 + 1 + n as u64);
            self.check_value(wal, *place, payload(entry));
            if state.base.0 < entry.index && entry.index.0 <= state.last() {
                assert_eq!(*entry, state.entries[(entry.index.0 - state.base.0.0 - 1) as usize]);
            }
        }
        let mut state = state.clone();
        let (_, after) = state.opened(self.start);
        if state.last() != self.start.index.0 + after.len() as u64 {
            // The log was dropped in favour of the checkpoint.
            state.snapshot((self.start.index, self.start.term));
        }
        assert_eq!(wal.last().0.0, state.last());
        self.model = state;
        self.in_flight = Owned::default();
    }

    fn reopen(&mut self) -> Wal {
        loop {
            if !Wal::exists(&self.disk).unwrap() {
                return run(Wal::create(self.disk.shared(), options(self.segment_bytes))).unwrap();
            }
            let interrupted = self.chance.one_in(4);
            if interrupted {
                self.disk.set_fuse(self.chance.below(6), ErrorKind::Other);
            }
            match run(Wal::open(self.disk.shared(), options(self.segment_bytes), self.start)) {
                Ok((wal, recovered)) => {
                    self.disk.clear_fuse();
                    self.check_recovered(&wal, &recovered);
                    self.live = self.live_at_start.clone();
                    for (place, bytes) in &self.live {
                        wal.values().add_live(place.segment, u64::from(place.len)).unwrap();
                        self.check_value(&wal, *place, bytes);
                    }
                    return wal;
                }
                Err(WalError::Io { .. }) if interrupted => self.crash(),
                Err(error) => panic!("opening was refused: {error}"),
            }
        }
    }

    fn crash(&mut self) {
        let keep = match self.chance.below(4) {
            // Only the process died: the unsynced is there, and still unsynced.
            0 => return self.disk.clear_fuse(),
            1 => Keep::None,
            _ => Keep::Some,
        };
        self.disk.crash(keep, &mut self.chance);
    }
}

fn check(seed: u64) {
    let mut test = Run::new(seed);
    // A crash while the log is being made leaves none, or a whole one.
    test.disk.set_fuse(test.chance.below(12), ErrorKind::Other);
    let _ = run(Wal::create(test.disk.shared(), options(test.segment_bytes)));
    test.crash();
    for _ in 0..6 {
        let mut wal = test.reopen();
        test.disk.set_fuse(test.chance.below(120), ErrorKind::Other);
        let _ = run(test.life(&mut wal));
        drop(wal);
        test.crash();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_writes_survive_any_power_loss(seed in any::<u64>()) {
        check(seed);
    }
}
