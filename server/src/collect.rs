//! Collection of the value log: live values move out of segments that are mostly garbage, so that these can go.
//!
//! A segment goes when its last live value goes; one old value among overwritten ones would hold all of it. So when the
//! log is larger than twice what lives in it and a constant, the values of the emptiest segments are written to its
//! end once more, as carries, and the index points there from then on. That is this member's own business: places are
//! not in the state hash, and nothing of it is replicated.
//!
//! Nothing is lost in a crash: a segment is freed only by a checkpoint in which no value lies there any more, and until
//! then a restart finds the values where the older checkpoint says. Whoever still holds an older place, such as an event
//! or a pinned copy, asks the newest state for the new one (`service/compose.rs`); a snapshot on its way to a member
//! holds its segments.
//!
//! Bounded: `VICTIMS_MAX` segments in a round, `BATCH_BYTES` in memory, `BYTES_PER_SECOND` to the disk.
//!
//! The index is walked to find what lives in a segment: the log does not say whose value a carry is. A walk costs about
//! as much as a checkpoint without its writes, and is made only when there is enough to gain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_mvcc::{Store, ValueRef, VersionKind, VersionRow};
use evenkeel_raft::{Index, Mutant, Term};
use evenkeel_storage::{SegmentUse, ValueError};
use tokio::sync::{mpsc, oneshot};

use crate::env::point;
use crate::member::Member;
use crate::snapshot_pace::Pace;
use crate::wal::LogWork;

/// How often it is looked whether there is enough garbage.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// After a walk that found nothing worth moving, this many looks are left out.
const LOOKS_SKIPPED: u32 = 60;
/// Segments emptied in one round.
const VICTIMS_MAX: usize = 8;
/// The log may always be this many segments larger than twice its live bytes.
const SLACK_SEGMENTS: u64 = 4;
/// Values moved together: bytes, unless one has more, and number.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_VALUES: usize = 1024;
/// How fast values are moved.
const BYTES_PER_SECOND: u64 = 16 * 1024 * 1024;
/// What a carry costs beside its bytes, roughly.
const CARRY_OVERHEAD: u64 = 16;
/// Versions looked at between two turns for others.
const VERSIONS_PER_TURN: usize = 4_096;

/// Collects for as long as the member lives.
pub async fn run(member: Arc<Member>, log: mpsc::WeakSender<LogWork>) {
    let (mut skip, pace) = (0, Pace::default());
    loop {
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.env().clock.sleep(LOOK_INTERVAL) => {}
        }
        if 0 < skip || member.config().mutants.on(Mutant::NoCollection) {
            skip = u32::saturating_sub(skip, 1);
            continue;
        }
        let Some(log) = log.upgrade() else { return };
        let round = Round { member: &member, log, pace: &pace };
        tokio::select! {
            biased;
            () = member.stopping() => return,
            outcome = round.run() => match outcome {
                Ok(Found::Nothing) => {}
                Ok(Found::Vain) => skip = LOOKS_SKIPPED,
                Ok(Found::Moved { values, bytes }) => {
                    tracing::info!(values, bytes, "moved values out of log segments that are mostly garbage");
                    member.want_checkpoint();
                }
                Err(reason) => member.fail(reason),
            }
        }
    }
}

enum Found {
    /// There is not much garbage.
    Nothing,
    /// There is, but moving what lives would not help.
    Vain,
    /// Values were moved.
    Moved { values: u64, bytes: u64 },
}

/// A value to be moved.
struct Move {
    row: VersionRow,
    from: ValueRef,
}

struct Round<'a> {
    member: &'a Member,
    log: mpsc::Sender<LogWork>,
    pace: &'a Pace,
}

impl Round<'_> {
    async fn run(self) -> Result<Found, String> {
        // While a checkpoint is written, it will free something by itself.
        let Ok(newest) = self.member.newest_checkpoint().try_lock().map(|newest| *newest) else {
            return Ok(Found::Nothing);
        };
        let values = self.member.values().log();
        let needed_from = values.log_start(newest, Term(0)).segment;
        let kept = Index(newest.0.saturating_sub(self.member.config().snapshot_catchup_entries));
        let slack = SLACK_SEGMENTS * u64::from(self.member.config().wal_segment_bytes);
        let candidates = candidates(&values.segments(), needed_from, kept, slack);
        if candidates.is_empty() {
            return Ok(Found::Nothing);
        }
        let store = self.member.view();
        let victims = self.worthwhile(&store, candidates).await;
        if victims.is_empty() {
            return Ok(Found::Vain);
        }
        point!(self.member.env(), "collect.before_moves");
        let (mut batch, mut batch_bytes, mut moved, mut bytes) = (Vec::new(), 0, 0, 0);
        for (count, (row, from)) in values_of(&store).enumerate() {
            if victims.contains(&from.segment) {
                batch_bytes += from.len as usize;
                bytes += u64::from(from.len);
                batch.push(Move { row, from });
                if BATCH_BYTES <= batch_bytes || BATCH_VALUES <= batch.len() {
                    moved += self.relocate(std::mem::take(&mut batch), batch_bytes).await?;
                    batch_bytes = 0;
                }
            }
            turn(count).await;
        }
        moved += self.relocate(batch, batch_bytes).await?;
        if self.member.config().mutants.on(Mutant::CollectWithoutCheckpoint) {
            let release = LogWork::Release {
                start: values.log_start(newest, Term(0)),
                keep_from: kept.next(),
                unused: values.unused_segments(),
            };
            let _ = self.log.send(release).await;
        }
        Ok(Found::Moved { values: moved, bytes })
    }

    /// Those of the candidates, emptiest first, whose values need less than half the room as carries.
    async fn worthwhile(&self, store: &Store, candidates: BTreeMap<u32, u64>) -> BTreeSet<u32> {
        let mut needs: BTreeMap<u32, u64> = candidates.keys().map(|segment| (*segment, 0)).collect();
        for (count, (_, at)) in values_of(store).enumerate() {
            if let Some(needs) = needs.get_mut(&at.segment) {
                *needs += u64::from(at.len) + CARRY_OVERHEAD;
            }
            turn(count).await;
        }
        let mut gains: Vec<(u64, u32)> = (needs.into_iter())
            .filter(|(segment, needs)| 2 * needs < candidates[segment])
            .map(|(segment, needs)| (candidates[&segment] - needs, segment))
            .collect();
        gains.sort_unstable_by(|a, b| b.cmp(a));
        gains.into_iter().take(VICTIMS_MAX).map(|(_, segment)| segment).collect()
    }

    /// Writes values to the end of the log, and points the index there. Says how many were still in use.
    async fn relocate(&self, batch: Vec<Move>, batch_bytes: usize) -> Result<u64, String> {
        let clock = &self.member.env().clock;
        let turn = self.pace.book(batch_bytes, BYTES_PER_SECOND, clock.monotonic());
        clock.sleep(turn.saturating_sub(clock.monotonic())).await;
        let reader = self.member.values();
        let (mut moves, mut values): (Vec<Move>, Vec<Bytes>) = Default::default();
        for one in batch {
            match reader.bytes_once(&one.from) {
                Ok(bytes) => {
                    moves.push(one);
                    values.push(bytes);
                }
                // Compacted meanwhile, and its segment freed.
                Err(ValueError::Gone { .. }) => {}
                Err(error) => return Err(format!("a value that was to be moved cannot be read: {error}")),
            }
        }
        if moves.is_empty() {
            return Ok(0);
        }
        let (reply, answer) = oneshot::channel();
        self.log.send(LogWork::Carry { values, reply }).await.map_err(|_| "this member stops")?;
        let (places, pin) = answer.await.map_err(|_| "this member stops")?;
        point!(self.member.env(), "collect.carried");
        let moved = self.member.change(|state| {
            let mut moved = 0;
            for (Move { row, from }, place) in moves.iter().zip(&places) {
                let to = ValueRef { segment: place.segment, offset: place.offset, ..*from };
                if state.store.relocate(&row.key, row.main, row.sub, *from, to) {
                    // Under the state's lock: whoever pins the state sees counts that fit.
                    reader.written(&to);
                    reader.freed([from]);
                    moved += 1;
                }
            }
            moved
        });
        point!(self.member.env(), "collect.moved");
        drop(pin);
        Ok(moved)
    }
}

async fn turn(count: usize) {
    if count % VERSIONS_PER_TURN == VERSIONS_PER_TURN - 1 {
        tokio::task::yield_now().await;
    }
}

/// Every value once, with the first version that has it.
fn values_of(store: &Store) -> impl Iterator<Item = (VersionRow, ValueRef)> {
    let mut before: Option<ValueRef> = None;
    store.versions().filter_map(move |row| {
        let VersionKind::Put(at) = row.kind else {
            before = None;
            return None;
        };
        let shared = before.replace(at) == Some(at);
        (0 < at.len && !shared).then_some((row, at))
    })
}

/// Segments with their lengths that could be emptied: none while the log is small enough. A segment that a restart or a
/// follower may ask for its entries, or that waits for a checkpoint to be freed, is not one.
fn candidates(segments: &[SegmentUse], needed_from: u32, kept: Index, slack: u64) -> BTreeMap<u32, u64> {
    let in_use = || segments.iter().filter(|segment| 0 < segment.live_bytes || needed_from <= segment.segment);
    let total: u64 = in_use().map(|segment| u64::from(segment.file_bytes)).sum();
    let live: u64 = segments.iter().map(|segment| segment.live_bytes).sum();
    if total <= 2 * live + slack {
        return BTreeMap::new();
    }
    (in_use().filter(|segment| segment.segment < needed_from && segment.last_index <= kept))
        .filter(|segment| 2 * segment.live_bytes < u64::from(segment.file_bytes))
        .map(|segment| (segment.segment, u64::from(segment.file_bytes)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(segment: u32, live_bytes: u64) -> SegmentUse {
        SegmentUse {
            segment,
            file_bytes: 100,
            used_bytes: 100,
            live_bytes,
            next_index: Index(u64::from(segment) * 10),
            last_index: Index(u64::from(segment) * 10 + 9),
        }
    }

    #[test]
    fn only_old_half_empty_segments_of_a_large_log_are_emptied() {
        let check = |live: &[u64], slack, expected: &[u32]| {
            let segments: Vec<_> = (1..).zip(live).map(|(number, live)| segment(number, *live)).collect();
            let found = candidates(&segments, 5, Index(39), slack);
            assert_eq!(found.into_keys().collect::<Vec<_>>(), expected, "{live:?}");
        };
        check(&[10, 10, 60, 10, 10], 0, &[1, 2]);
        check(&[10, 10, 60, 10, 10], 300, &[]);
        check(&[90, 90, 90, 90, 0], 0, &[]);
        check(&[0, 0, 0, 0, 0], 0, &[]);
        check(&[0, 1, 0, 0, 0], 0, &[2]);
        check(&[10, 10, 10, 49, 0], 0, &[1, 2, 3]);
    }
}
