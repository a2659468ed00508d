//! Opening a log after a stop of any kind.
//!
//! Segments before the last one were complete before their successor got its name; the successor's header says
//! where they end. Anything unreadable in them is damage. In the last segment, reading stops at the first place
//! without an intact batch. That place is *torn*, and is repaired, unless an intact later batch header says that
//! everything before it had been synced: then it is *damage*, and opening is refused. Since only one batch is on
//! its way at any time, a crash can leave no such header behind the batch it tore, whatever parts of it arrived.
//!
//! A batch that arrived whole without being acknowledged is kept; it is written again and synced before the log is
//! used. After a mere process crash it may exist in the page cache only, and after a sync that failed the cache has
//! forgotten that it still has to be written: then syncing alone would succeed and change nothing.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_raft::{Entry, HardState, Index, Mutant, Payload, Term};

use super::config_bytes;
use super::format::{Record, SegmentHeader};
use super::scan::{BatchReader, RawBatch};
use super::{
    Batch, Current, FIRST_SEGMENT, Health, LogStart, Options, Place, Recovered, Repair, Spares, WAL_DIR, Wal, WalError,
    segment,
};
use crate::disk::{Disk, OpenMode};
use crate::value_log::{SegmentEntry, ValueLog};

/// How far behind the end of the log leftovers of a torn batch are overwritten, at least. Correctness does not
/// need it (leftovers never count as batches); it keeps what the next crash leaves easy to explain.
const REPAIR_BYTES: u64 = 4 << 20;

impl Wal {
    /// Makes a new log. Fails with [`WalError::Exists`] when there is one.
    pub async fn create(disk: Arc<dyn Disk>, options: Options) -> Result<Wal, WalError> {
        options.check();
        disk.create_dir_all(WAL_DIR).map_err(WalError::io(WAL_DIR, "creating"))?;
        let listing = segment::list(&*disk)?;
        if !listing.segments.is_empty() {
            return Err(WalError::Exists);
        }
        segment::remove_spares(&*disk, &listing).await?;
        disk.sync_dir("").await.map_err(WalError::io(WAL_DIR, "syncing the parent directory"))?;
        let values = Arc::new(ValueLog::new(disk.clone(), options.cache_bytes));
        let mut spares = Spares::new(options.segment_bytes);
        let identity = options.identity;
        let header = SegmentHeader {
            segment: FIRST_SEGMENT,
            identity,
            file_bytes: options.segment_bytes,
            recycled: false,
            seed: SegmentHeader::next_seed(identity.cluster_id ^ identity.member_id.rotate_left(32), 0, FIRST_SEGMENT),
            next_index: Index(1),
            previous_term: Term(0),
            hard_state: HardState::default(),
            previous_end: 0,
            previous_chain: 0,
        };
        let spare = spares.take(&*disk, u64::from(options.segment_bytes)).await?;
        let current = Wal::activate(&*disk, &values, spare, header).await?;
        Ok(Wal {
            disk,
            options,
            values,
            spares,
            current,
            hard_state: HardState::default(),
            last: (Index(0), Term(0)),
            health: Health::Good,
            unsynced: false,
        })
    }

    /// Removes what a crash while founding left: a log to which nothing was ever committed. Refuses any other one.
    pub async fn discard(disk: &dyn Disk) -> Result<(), WalError> {
        let listing = segment::list(disk)?;
        if listing.segments.is_empty() && listing.spares.is_empty() {
            return Ok(());
        }
        for &segment in &listing.segments {
            let mut reader = BatchReader::new(segment::open(disk, segment, OpenMode::Read)?);
            if segment != FIRST_SEGMENT || reader.step_open_ended()?.is_some() {
                return Err(WalError::NotEmpty { file: segment::path(segment) });
            }
        }
        for &segment in &listing.segments {
            let name = segment::path(segment);
            disk.remove(&name).map_err(WalError::io(&name, "removing"))?;
        }
        segment::remove_spares(disk, &listing).await
    }

    /// Opens a log, given the checkpoint's start (or [`LogStart::BEGINNING`]), and repairs what a crash tore.
    ///
    /// When the log ends before the checkpoint, or disagrees with it about the checkpoint's last entry, the
    /// checkpoint came from another member and the crash happened before the log's snapshot marker was written:
    /// the log's entries are dropped and the marker is written now.
    pub async fn open(disk: Arc<dyn Disk>, options: Options, start: LogStart) -> Result<(Wal, Recovered), WalError> {
        options.check();
        let listing = segment::list(&*disk)?;
        let last_segment = last_of_run(&listing.segments, start.segment)?;
        let values = Arc::new(ValueLog::new(disk.clone(), options.cache_bytes));
        register_all(&*disk, &values, &listing.segments, &options)?;

        let mut log = Log::default();
        let mut reader = BatchReader::new(segment::open(&*disk, start.segment, OpenMode::Write)?);
        log.begin(reader.header());
        for next in start.segment + 1..=last_segment {
            let next = BatchReader::new(segment::open(&*disk, next, OpenMode::Write)?);
            let (end, chain) = (next.header().previous_end, next.header().previous_chain);
            while let Some(batch) = reader.step_until(end)? {
                log.add(&reader, &batch)?;
            }
            if reader.chain() != chain {
                return Err(reader.damaged(end, "the segment does not end in the batch that its successor names"));
            }
            log.check_against(&next)?;
            reader = next;
        }
        let mut newest = None;
        loop {
            let batch = match reader.step_open_ended() {
                Ok(Some(batch)) => batch,
                Err(WalError::Damaged { .. }) if options.mutants.on(Mutant::MidlogAsTorn) => break,
                end => break end.map(|_| ())?,
            };
            log.add(&reader, &batch)?;
            newest = Some(u64::from(batch.offset())..u64::from(reader.offset()));
        }
        let last = (log.last(), log.last_term());
        let disagrees = log.settle(start)?;

        if let Some(newest) = newest {
            write_again(&mut reader, newest).await?;
        }
        let repaired = repair(&mut reader).await?;
        segment::remove_spares(&*disk, &listing).await?;
        let header = reader.header();
        values.set_used(header.segment, reader.offset());
        let current = Current {
            file: reader.file().clone(),
            name: reader.name().to_owned(),
            segment: header.segment,
            seed: header.seed,
            file_bytes: header.file_bytes,
            end: reader.offset(),
            chain: reader.chain(),
        };
        let spares = Spares::new(options.segment_bytes);
        let hard_state = log.hard_state;
        let mut wal =
            Wal { disk, options, values, spares, current, hard_state, last, health: Health::Good, unsynced: false };
        if disagrees {
            wal.commit(Batch { snapshot: Some((start.index, start.term)), ..Batch::default() }).await?;
        }
        let (base, term) = log.base;
        let base = (base, term.expect("settled"));
        Ok((wal, Recovered { hard_state, base, entries: log.entries, repaired }))
    }
}

/// The last segment, when there is an unbroken run up to it from `first`.
fn last_of_run(segments: &[u32], first: u32) -> Result<u32, WalError> {
    let run = match segments.binary_search(&first) {
        Ok(at) => &segments[at..],
        Err(_) => return Err(WalError::MissingSegment { file: segment::path(first) }),
    };
    for (expected, &found) in (first..).zip(run) {
        if expected != found {
            return Err(WalError::MissingSegment { file: segment::path(expected) });
        }
    }
    Ok(run[run.len() - 1])
}

/// Makes all segments known to the value log, the old ones by their headers alone.
fn register_all(disk: &dyn Disk, values: &ValueLog, segments: &[u32], options: &Options) -> Result<(), WalError> {
    let mut before = None;
    for &segment in segments {
        let opened = segment::open(disk, segment, OpenMode::Read)?;
        segment::check_identity(&opened.name, opened.header.identity, options.identity)?;
        if before == segment.checked_sub(1) && before.is_some() {
            values.set_used(segment - 1, opened.header.previous_end);
        }
        before = Some(segment);
        values.add_segment(
            segment,
            SegmentEntry {
                file: None,
                file_bytes: opened.header.file_bytes,
                used: opened.header.file_bytes,
                next_index: opened.header.next_index,
                live_bytes: 0,
            },
        );
    }
    Ok(())
}

/// Writes the newest batch of the log once more, as it is. Every earlier one was synced before this one began.
async fn write_again(reader: &mut BatchReader, batch: Range<u64>) -> Result<(), WalError> {
    let bytes = Bytes::copy_from_slice(reader.window(batch.start, batch.end - batch.start)?);
    reader.file().write_at(batch.start, bytes).await.map_err(WalError::io(reader.name(), "writing again"))
}

/// Overwrites what lies behind the last batch, as far as a torn batch may reach, and syncs the segment.
async fn repair(reader: &mut BatchReader) -> Result<Option<Repair>, WalError> {
    const STEP: u64 = 64 << 10;
    let from = u64::from(reader.offset());
    // In a recycled file the earlier life lies behind the end as well: only a batch header of this life is news.
    let torn = !reader.header().recycled || reader.header_here()?;
    let until = u64::from(reader.header().file_bytes).min(from + REPAIR_BYTES);
    let mut overwritten = 0;
    let mut at = from;
    while at < until {
        let len = STEP.min(until - at);
        if reader.window(at, len)?.iter().any(|&byte| byte != 0) {
            let zeros = Bytes::from(vec![0; len as usize]);
            reader.file().write_at(at, zeros).await.map_err(WalError::io(reader.name(), "repairing"))?;
            overwritten += len;
        }
        at += len;
    }
    reader.file().sync().await.map_err(WalError::io(reader.name(), "syncing"))?;
    let repair = Repair { file: reader.name().to_owned(), offset: from, bytes: overwritten };
    Ok((torn && overwritten > 0).then_some(repair))
}

/// The log as read so far.
#[derive(Default)]
struct Log {
    hard_state: HardState,
    /// The entry before the first; its term may be unknown when a later leader replaced entries before the first
    /// segment read.
    base: (Index, Option<Term>),
    entries: Vec<(Entry, Place)>,
}

impl Log {
    fn begin(&mut self, header: &SegmentHeader) {
        self.hard_state = header.hard_state;
        self.base = (header.next_index.prev(), Some(header.previous_term));
    }

    fn last(&self) -> Index {
        Index(self.base.0.0 + self.entries.len() as u64)
    }

    fn last_term(&self) -> Term {
        self.entries.last().map_or(self.base.1.unwrap_or_default(), |(entry, _)| entry.term)
    }

    fn add(&mut self, reader: &BatchReader, batch: &RawBatch) -> Result<(), WalError> {
        for record in batch.records() {
            let (place, record) = record.map_err(|what| reader.damaged(batch.offset(), what))?;
            match record {
                Record::HardState(state) => self.hard_state = state,
                Record::Snapshot(index, term) => {
                    self.entries.clear();
                    self.base = (index, Some(term));
                }
                Record::Entry { .. } | Record::Config { .. } => {
                    let (term, index, payload) = match record {
                        Record::Entry { term, index, payload: None } => (term, index, Payload::Empty),
                        Record::Entry { term, index, payload: Some(data) } => (term, index, Payload::Data(data.into())),
                        Record::Config { term, index, body } => {
                            let config = config_bytes::decode(body).ok_or("a configuration that cannot be");
                            let config = config.map_err(|what| reader.damaged(batch.offset(), what))?;
                            (term, index, Payload::Config(config.into()))
                        }
                        _ => unreachable!("matched above"),
                    };
                    let last = self.last();
                    if index.0 == 0 || last.next() < index {
                        let what = format!("entry {index} follows entry {last}");
                        return Err(reader.damaged(batch.offset(), what));
                    }
                    if index <= self.base.0 {
                        self.entries.clear();
                        self.base = (index.prev(), None);
                    }
                    self.entries.truncate((index.0 - self.base.0.0 - 1) as usize);
                    self.entries.push((Entry { term, index, payload }, place));
                }
                Record::Carry(_) => {}
            }
        }
        Ok(())
    }

    /// A segment header repeats what its predecessors add up to.
    fn check_against(&self, next: &BatchReader) -> Result<(), WalError> {
        let header = next.header();
        let found = (self.last().next(), self.last_term(), self.hard_state);
        let said = (header.next_index, header.previous_term, header.hard_state);
        if found == said {
            return Ok(());
        }
        Err(next.damaged(0, format!("the header says {said:?}, but the segments before it add up to {found:?}")))
    }

    /// Fits the log to the checkpoint. Returns whether all of it had to be dropped for that.
    fn settle(&mut self, start: LogStart) -> Result<bool, WalError> {
        let (base, base_term) = self.base;
        if start.index < base {
            return Err(WalError::Gap { checkpoint: start.index, first: base.next() });
        }
        let covered = (start.index.0 - base.0) as usize;
        let term = match covered.checked_sub(1) {
            None => Some(base_term.unwrap_or(start.term)),
            Some(at) => self.entries.get(at).map(|(entry, _)| entry.term),
        };
        let disagrees = term != Some(start.term);
        if disagrees {
            self.entries.clear();
        } else if base_term.is_none() {
            self.entries.drain(..covered);
        }
        if disagrees || base_term.is_none() {
            self.base = (start.index, Some(start.term));
        }
        Ok(disagrees)
    }
}
