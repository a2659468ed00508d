//! The log task: owner of the write-ahead log, one group commit at a time, no timers.
//!
//! Whatever was handed over while the last sync ran becomes the next batch: one write and one sync for all of it.
//! Only when that sync is done do the batch's messages (votes, acknowledgements) leave, and is the core told.

use std::sync::Arc;

use std::collections::BTreeSet;

use bytes::Bytes;
use evenkeel_raft::ready::{Write, WriteSeq};
use evenkeel_raft::{Entry, Index, Mutant, Term};
use evenkeel_storage::{Batch, Committed, LogStart, Place, Release, Wal, WalError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::{ApplyWork, Staged};
use crate::checkpoint;
use crate::env::{Event, point};
use crate::member::Member;
use crate::reader::Pin;

/// Hand-overs waiting for the log task. The driver waits when this is full: back-pressure, bounded by the core's
/// limit on uncommitted bytes.
pub const LOG_QUEUE: usize = 4_096;
/// Hand-overs in one group commit.
const BATCH_WORKS_MAX: usize = 4_096;
/// Bytes of entries in one group commit, unless a single hand-over has more.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the log task can be asked.
pub enum LogWork {
    /// Make a hand-over of the core durable.
    Write {
        /// The hand-over.
        write: Write,
        /// The state that its snapshot names.
        staged: Option<Box<Staged>>,
    },
    /// Store values that did not come through the log, durably.
    Carry {
        /// The values.
        values: Vec<Bytes>,
        /// Where they are, counted as in use.
        reply: oneshot::Sender<(Vec<Place>, Pin)>,
    },
    /// A checkpoint is durable; what only older ones needed may go.
    Release {
        /// Where a restart from it begins to read the log.
        start: LogStart,
        /// Entries from here on stay for slow followers.
        keep_from: Index,
        /// Segments without a single value that the checkpoint refers to.
        unused: BTreeSet<u32>,
    },
}

/// The log task's state.
pub struct LogTask {
    /// The log.
    pub wal: Wal,
    /// Whose log it is.
    pub member: Arc<Member>,
    /// Its queue.
    pub works: mpsc::Receiver<LogWork>,
    /// What is durable, for the driver.
    pub persisted: watch::Sender<WriteSeq>,
    /// The apply task.
    pub apply: mpsc::Sender<ApplyWork>,
}

impl LogTask {
    /// Runs until the member stops or the disk fails. A failed write or sync is final: nothing is retried, for
    /// after it nobody knows what the disk holds.
    pub async fn run(mut self) {
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(work) => work,
                None => match self.works.recv().await {
                    Some(work) => work,
                    None => return,
                },
            };
            let outcome = match first {
                LogWork::Write { write, staged: None } => {
                    let mut writes = vec![write];
                    let mut bytes = size(&writes[0]);
                    // Only while one waits behind it: with more, a slow disk would fall behind for ever.
                    let one_waits = || self.works.len() == 1;
                    let small = self.member.config().mutants.bites(Mutant::BenignSmallBatches, one_waits);
                    while !small && writes.len() < BATCH_WORKS_MAX && bytes < BATCH_BYTES_MAX {
                        match self.works.try_recv() {
                            Ok(LogWork::Write { write, staged: None }) => {
                                bytes += size(&write);
                                writes.push(write);
                            }
                            Ok(other) => {
                                left_over = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(writes, None).await.map_err(failed)
                }
                LogWork::Write { write, staged: Some(staged) } => self.install(write, staged).await,
                LogWork::Carry { values, reply } => self.carry(values, reply).await.map_err(failed),
                LogWork::Release { start, keep_from, unused } => {
                    point!(self.member.env(), "wal.before_release");
                    let released = self.wal.release(Release { keep_from, start, unused: &unused }).await;
                    point!(self.member.env(), "wal.released");
                    released.map(|_| ()).map_err(failed)
                }
            };
            if let Err(reason) = outcome {
                self.member.fail(reason);
                return;
            }
        }
    }

    async fn commit(&mut self, writes: Vec<Write>, snapshot: Option<(Index, Term)>) -> Result<(), WalError> {
        let hard_state = writes.iter().rev().find_map(|w| w.hard_state);
        let entries: Vec<Entry> = writes.iter().flat_map(|w| w.entries.iter().cloned()).collect();
        if hard_state.is_some() || snapshot.is_some() || !entries.is_empty() {
            let env = self.member.env();
            point!(env, "wal.before_write");
            let began = env.clock.monotonic();
            let batch = Batch { hard_state, snapshot, entries: &entries, carries: &[] };
            let early = self.member.config().mutants.on(Mutant::SingleNodeAck);
            let committed = match early {
                true => write_planted(&mut self.wal, &self.member, batch).await?,
                false => self.wal.commit(batch).await?,
            };
            let metrics = self.member.metrics();
            metrics.wal_synced(env.clock.monotonic().saturating_sub(began), committed.bytes_written);
            for batch in &committed.batches {
                env.observer.observe(Event::Placed {
                    segment: batch.segment,
                    offset: u64::from(batch.offset),
                    len: u64::from(batch.len),
                    hard_state,
                    entries: &entries,
                    snapshot,
                });
            }
            point!(env, "wal.synced");
            if !early {
                self.member.places().put(entries.iter().map(|e| e.index), &committed.places);
            }
        }
        self.finished(writes);
        point!(self.member.env(), "wal.told");
        Ok(())
    }

    fn finished(&mut self, writes: Vec<Write>) {
        let newest = writes.last().expect("a batch is not empty").seq;
        for write in writes {
            self.member.send_all(write.messages);
        }
        self.persisted.send_replace(newest);
    }

    /// Replaces log and state by a snapshot. The rename of its checkpoint is the one moment at which it happens;
    /// the marker in the log only repeats it.
    async fn install(&mut self, write: Write, staged: Box<Staged>) -> Result<(), String> {
        let marker = (staged.meta.index, staged.meta.term);
        // First the term: a checkpoint must never name a newer one than the log.
        if write.hard_state.is_some() {
            let batch = Batch { hard_state: write.hard_state, ..Batch::default() };
            self.wal.commit(batch).await.map_err(failed)?;
            point!(self.member.env(), "snapshot.term_written");
        }
        let swapped = self.member.config().mutants.on(Mutant::SnapWalOrder);
        if swapped {
            let batch = Batch { snapshot: Some(marker), ..Batch::default() };
            self.wal.commit(batch).await.map_err(failed)?;
        }
        point!(self.member.env(), "snapshot.before_install");
        let written = checkpoint::write(&self.member, &staged.state).await;
        written.map_err(|error| format!("a received snapshot could not be stored: {error}"))?;
        point!(self.member.env(), "snapshot.installed");
        if self.apply.send(ApplyWork::Install(staged)).await.is_err() {
            return Err("a received snapshot could not be applied".into());
        }
        point!(self.member.env(), "snapshot.handed_over");
        self.commit(vec![write], (!swapped).then_some(marker)).await.map_err(failed)
    }

    async fn carry(&mut self, values: Vec<Bytes>, reply: oneshot::Sender<(Vec<Place>, Pin)>) -> Result<(), WalError> {
        point!(self.member.env(), "wal.before_carry");
        let committed = self.wal.commit(Batch { carries: &values, ..Batch::default() }).await?;
        point!(self.member.env(), "wal.carried");
        // Here, for the next work may free segments that nobody uses.
        let pin = self.member.values().pin(&committed.carry_places);
        let _ = reply.send((committed.carry_places, pin));
        Ok(())
    }
}

/// Planted: whoever votes alone applies entries as soon as their places are known.
async fn write_planted(wal: &mut Wal, member: &Member, batch: Batch<'_>) -> Result<Committed, WalError> {
    let committed = wal.write_planted(batch).await?;
    member.places().put(batch.entries.iter().map(|e| e.index), &committed.places);
    wal.sync_planted().await?;
    Ok(committed)
}

fn failed(error: WalError) -> String {
    format!("the log failed: {error}")
}

fn size(write: &Write) -> usize {
    write.entries.iter().map(|e| e.payload.size_bytes()).sum()
}
