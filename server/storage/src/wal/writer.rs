//! Commits: laying out batches, writing each with one sync, and moving on to the next segment.

use std::sync::Arc;

use evenkeel_raft::{Index, Mutant, Payload, Term};

use super::format::{BATCH_HEADER, BatchBuilder, Record, SECTOR, SegmentHeader, sector_up};
use super::spares::Spare;
use super::{Batch, Committed, Current, Place, WAL_DIR, Wal, WalError, config_bytes, segment};
use crate::RECORD_BYTES_MAX;
use crate::disk::Disk;
use crate::value_log::{SegmentEntry, ValueLog};

/// A batch takes no more records once it has this many bytes; the rest goes into a second one.
const BATCH_BYTES: u64 = 4 << 20;

impl Wal {
    /// Makes `batch` durable. When this resolves with `Ok`, it is.
    ///
    /// A crash before that leaves a prefix of the batch's records, nearly always none or all. After an error, or
    /// when the future was dropped, every later call fails.
    ///
    /// # Panics
    ///
    /// When entries would leave a gap in the log: that is the caller's bug, and must never reach the disk.
    pub async fn commit(&mut self, batch: Batch<'_>) -> Result<Committed, WalError> {
        let configs = config_bodies(&batch);
        let records = || records(&batch, &configs);
        if let Some(bytes) = records().map(|record| record.encoded_bytes()).find(|&b| RECORD_BYTES_MAX as u64 <= b) {
            return Err(WalError::TooLarge { bytes });
        }
        self.check_order(&batch);
        let total: u64 = records().map(|record| record.encoded_bytes()).sum();
        if total == 0 {
            return Ok(Committed::default());
        }
        self.begin()?;
        let committed = self.write_records(records(), total).await;
        self.end(committed)
    }

    /// Planted ([`Mutant::SingleNodeAck`]): like [`Wal::commit`], but durable only after [`Wal::sync_planted`].
    pub async fn write_planted(&mut self, batch: Batch<'_>) -> Result<Committed, WalError> {
        self.unsynced = true;
        let committed = self.commit(batch).await;
        self.unsynced = false;
        committed
    }

    /// Planted: see [`Wal::write_planted`].
    pub async fn sync_planted(&mut self) -> Result<(), WalError> {
        self.current.file.sync().await.map_err(WalError::io(&self.current.name, "syncing"))
    }

    async fn write_records<'a>(
        &mut self,
        records: impl Iterator<Item = Record<'a>>,
        mut left: u64,
    ) -> Result<Committed, WalError> {
        let mut committed = Committed::default();
        let mut building: Option<BatchBuilder> = None;
        for record in records {
            let bytes = record.encoded_bytes();
            if let Some(builder) = building.take_if(|builder| !self.takes(builder, bytes)) {
                committed.add_batch(self.write(builder).await?);
            }
            let builder = match &mut building {
                Some(builder) => builder,
                // All of the rest in one batch when that is possible, even if it costs the end of a segment.
                None => building.insert(self.start_batch(bytes.max(left.min(BATCH_BYTES))).await?),
            };
            let place = builder.push(&record);
            left -= bytes;
            match record {
                Record::HardState(state) => self.hard_state = state,
                Record::Snapshot(index, term) => self.last = (index, term),
                Record::Entry { term, index, .. } | Record::Config { term, index, .. } => {
                    self.last = (index, term);
                    committed.places.push(place);
                }
                Record::Carry(_) => committed.carry_places.push(place),
            }
        }
        if let Some(builder) = building {
            committed.add_batch(self.write(builder).await?);
        }
        Ok(committed)
    }

    /// Whether a record of `bytes` still goes into this batch.
    fn takes(&self, builder: &BatchBuilder, bytes: u64) -> bool {
        let after = builder.bytes() + bytes;
        after <= BATCH_BYTES && u64::from(self.current.end) + sector_up(after) <= u64::from(self.current.file_bytes)
    }

    /// Begins a batch of `bytes`, in a new segment when the current one has no room for it.
    async fn start_batch(&mut self, bytes: u64) -> Result<BatchBuilder, WalError> {
        let whole = sector_up(u64::from(BATCH_HEADER) + bytes);
        if u64::from(self.current.file_bytes - self.current.end) < whole {
            self.next_segment(whole).await?;
        }
        let Current { seed, segment, end, chain, .. } = self.current;
        Ok(BatchBuilder::new(seed, segment, end, chain, whole as usize))
    }

    async fn write(&mut self, builder: BatchBuilder) -> Result<Place, WalError> {
        let (bytes, chain) = builder.finish();
        let len = bytes.len() as u32;
        let current = &mut self.current;
        let end = u64::from(current.end) + u64::from(len);
        let place = Place { segment: current.segment, offset: current.end, len };
        assert!(end <= u64::from(current.file_bytes), "a batch ending at {end} does not fit into its segment");
        let mut written = match self.unsynced {
            true => current.file.write_at(u64::from(current.end), bytes).await,
            false => current.file.write_at_and_sync(u64::from(current.end), bytes).await,
        };
        if written.is_err() && self.options.mutants.on(Mutant::FsyncRetry) {
            written = current.file.sync().await;
        }
        written.map_err(WalError::io(&current.name, "writing"))?;
        current.end = end as u32;
        current.chain = chain;
        self.values.set_used(current.segment, current.end);
        self.spares.advance(&*self.disk, u64::from(len)).await?;
        Ok(place)
    }

    /// Goes on in a new segment that has room for a batch of `batch_bytes`.
    async fn next_segment(&mut self, batch_bytes: u64) -> Result<(), WalError> {
        if self.unsynced {
            self.sync_planted().await?;
        }
        let file_bytes = u64::from(self.options.segment_bytes).max(u64::from(SECTOR) + batch_bytes);
        let spare = self.spares.take(&*self.disk, file_bytes).await?;
        let before = &self.current;
        let next = before.segment + 1;
        let header = SegmentHeader {
            segment: next,
            identity: self.options.identity,
            file_bytes: file_bytes as u32,
            recycled: spare.recycled,
            seed: SegmentHeader::next_seed(before.seed, before.chain, next),
            next_index: self.last.0.next(),
            previous_term: self.last.1,
            hard_state: self.hard_state,
            previous_end: before.end,
            previous_chain: before.chain,
        };
        self.current = Wal::activate(&*self.disk, &self.values, spare, header).await?;
        Ok(())
    }

    /// Turns a spare file into a segment: header, then name, then the name's durability.
    pub(super) async fn activate(
        disk: &dyn Disk,
        values: &Arc<ValueLog>,
        spare: Spare,
        header: SegmentHeader,
    ) -> Result<Current, WalError> {
        let (sector, chain) = header.encode();
        spare.file.write_at_and_sync(0, sector).await.map_err(WalError::io(&spare.name, "writing the header"))?;
        let name = segment::path(header.segment);
        disk.rename(&spare.name, &name).map_err(WalError::io(&name, "naming the segment"))?;
        disk.sync_dir(WAL_DIR).await.map_err(WalError::io(WAL_DIR, "syncing the directory"))?;
        values.add_segment(
            header.segment,
            SegmentEntry {
                file: Some(spare.file.clone()),
                file_bytes: header.file_bytes,
                used: SECTOR,
                next_index: header.next_index,
                live_bytes: 0,
            },
        );
        Ok(Current {
            file: spare.file,
            name,
            segment: header.segment,
            seed: header.seed,
            file_bytes: header.file_bytes,
            end: SECTOR,
            chain,
        })
    }

    fn check_order(&self, batch: &Batch<'_>) {
        if let Some(state) = batch.hard_state {
            assert!(
                self.hard_state.term <= state.term,
                "the term went back to {} from {:?}",
                state.term,
                self.hard_state
            );
        }
        let mut last: Index = batch.snapshot.map_or(self.last.0, |(index, _)| index);
        for entry in batch.entries {
            assert!(Index(0) < entry.index, "entry 0 does not exist");
            assert!(entry.index <= last.next(), "entry {} would leave a gap after {last}", entry.index);
            assert!(Term(0) < entry.term, "entry {} has no term", entry.index);
            last = entry.index;
        }
    }
}

impl Committed {
    fn add_batch(&mut self, place: Place) {
        self.bytes_written += u64::from(place.len);
        self.batches.push(place);
    }
}

/// The bodies of the batch's configuration entries, in their order.
fn config_bodies(batch: &Batch<'_>) -> Vec<Vec<u8>> {
    let configs = batch.entries.iter().filter_map(|entry| match &entry.payload {
        Payload::Config(config) => Some(config_bytes::encode(config)),
        Payload::Empty | Payload::Data(_) => None,
    });
    configs.collect()
}

fn records<'a>(batch: &Batch<'a>, configs: &'a [Vec<u8>]) -> impl Iterator<Item = Record<'a>> {
    let Batch { hard_state, snapshot, entries, carries } = *batch;
    let mut configs = configs.iter();
    let entries = entries.iter().map(move |entry| {
        let (term, index) = (entry.term, entry.index);
        match &entry.payload {
            Payload::Empty => Record::Entry { term, index, payload: None },
            Payload::Data(data) => Record::Entry { term, index, payload: Some(&data[..]) },
            Payload::Config(_) => Record::Config { term, index, body: configs.next().expect("a body for each") },
        }
    });
    (hard_state.map(Record::HardState).into_iter())
        .chain(snapshot.map(|(index, term)| Record::Snapshot(index, term)))
        .chain(entries)
        .chain(carries.iter().map(|bytes| Record::Carry(bytes)))
}
