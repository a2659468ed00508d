//! Checkpoints of the state: when to take one, and how to come back from it.
//!
//! A checkpoint is taken in the background from a pinned copy, every `snapshot_count` applied entries, or earlier when
//! they are large. Only when it is durable may older log segments go. What is in memory does not wait for it: see
//! `retention`.
//!
//! The background task ends with the task that applies, and that one with the server: a successor in the same directory
//! never meets it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use evenkeel_raft::{Index, Mutant, Mutants, Term};
use evenkeel_storage::checkpoint::{CheckpointError, Sealed, newest as newest_file, prune};
use evenkeel_storage::wal::Identity;
use evenkeel_storage::{CheckpointHeader, CheckpointWriter, Disk, LogStart};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::env::{Event, point};
use crate::member::{Ids, Member};
use crate::records::{self, Rebuild};
use crate::state::State;
use crate::version::Release;
use crate::version::release::Version;
use crate::wal::LogWork;

/// A checkpoint that is wanted to free segments comes after this part of the usual distance.
const EARLIER_MAX: u64 = 8;
/// Records between two pauses of a background writer.
const RECORDS_PER_TURN: usize = 4_096;

/// A state read back, and where the log goes on behind it.
pub struct Found {
    /// The state.
    pub state: State,
    /// Where a restart reads the log from.
    pub start: LogStart,
    /// The storage version.
    pub storage: Version,
}

/// The newest checkpoint that can be read, if there is any.
pub fn newest(disk: &dyn Disk, identity: Identity, mutants: Mutants) -> Result<Option<Found>, String> {
    let found = newest_file(disk, identity).map_err(|e| e.to_string())?;
    for rejected in &found.rejected {
        tracing::error!(index = rejected.index.0, error = %rejected.error, "a checkpoint cannot be used");
    }
    let Some(mut reader) = found.reader else {
        return match found.rejected.into_iter().next() {
            None => Ok(None),
            Some(rejected) => Err(rejected.error.to_string()),
        };
    };
    let start = reader.header().start;
    let mut rebuild = Rebuild::default();
    while let Some(block) = reader.next_block().map_err(|e| e.to_string())? {
        for (kind, record) in block.records() {
            rebuild.take(kind, record).map_err(|e| e.to_string())?;
        }
    }
    let storage = rebuild.storage().map_err(|e| e.to_string())?;
    let mut state = rebuild.finish().map_err(|e| e.to_string())?;
    if state.store.applied() != (start.index.0, start.term.0) {
        return Err(format!("the checkpoint of entry {} holds the state after another one", start.index));
    }
    mutants.bites(Mutant::RevDecrease, || state.store.overlook_tombstones());
    Ok(Some(Found { state, start, storage }))
}

/// Writes the checkpoint of a new cluster's empty state: from then on the directory counts as initialised.
pub async fn found(disk: &Arc<dyn Disk>, ids: Ids, state: &State, start: LogStart) -> Result<(), CheckpointError> {
    let sealed = seal_at(disk, ids, state, start, state.cluster().level()).await?;
    sealed.publish().await.map(|_| ())
}

/// Writes a checkpoint of `state` and removes older ones. None when one that is as new exists already.
pub async fn write(member: &Member, state: &State) -> Result<Option<LogStart>, CheckpointError> {
    // One at a time: removing older files must not meet a file being written, nor a newer one.
    let mut newest = member.newest_checkpoint().lock().await;
    // The one that a joining member begins with holds nothing: not even what the cluster was founded with, which a
    // snapshot of entry 0 brings.
    let holds_nothing = *newest == Index(0) && member.state().cluster().configuration.members().is_empty();
    if Index(state.store.applied().0) <= *newest && !holds_nothing {
        return Ok(None);
    }
    // What the cluster version turned on must be in it; what a higher level turned on stays until it is migrated.
    let level = member.storage().level().max(state.cluster().level());
    point!(member.env(), "checkpoint.before_write");
    let (sealed, start) = seal(member, &newest, state, level).await?;
    point!(member.env(), "checkpoint.before_rename");
    sealed.publish().await?;
    point!(member.env(), "checkpoint.written");
    published(member, &mut newest, start, level).await?;
    point!(member.env(), "checkpoint.pruned");
    Ok(Some(start))
}

/// Writes a checkpoint of `state` at its cluster's level in the place of `newest`, which may be of the same entry. The
/// rename in it is the moment at which the level changes.
pub(crate) async fn migrate(member: &Member, newest: &mut Index, state: &State) -> Result<(), CheckpointError> {
    let level = state.cluster().level();
    point!(member.env(), "storage.migrate.before_checkpoint");
    let (sealed, start) = seal(member, newest, state, level).await?;
    point!(member.env(), "storage.migrate.before_commit");
    sealed.publish().await?;
    point!(member.env(), "storage.migrate.after_commit");
    published(member, newest, start, level).await
}

/// Writes a checkpoint that does not exist yet.
async fn seal(
    member: &Member,
    newest: &Index,
    state: &State,
    level: Release,
) -> Result<(Sealed, LogStart), CheckpointError> {
    let (index, term) = state.store.applied();
    assert!(*newest <= Index(index), "the newest checkpoint is replaced by one that is as new");
    let start = member.values().log().log_start(Index(index), Term(term));
    Ok((seal_at(&member.env().disk, member.ids(), state, start, level).await?, start))
}

/// The planted bug: the checkpoint is named after what is applied by the time its records could be durable.
async fn misname(member: &Member, state: &mut State) {
    if member.config().mutants.has(Mutant::CiAhead) {
        let _ = member.env().disk.sync_dir("").await;
        let (index, term) = member.view().applied();
        if member.config().mutants.bites(Mutant::CiAhead, || (index, term) != state.store.applied()) {
            state.store.misname(index, term);
        }
    }
}

/// The planted bug: the newest checkpoint is written anew with the present state, but not with its place in the log.
pub(crate) async fn rewrite(member: &Member) -> Result<(), String> {
    let _newest = member.newest_checkpoint().lock().await;
    let identity = Identity { cluster_id: member.ids().cluster, member_id: member.ids().member };
    let found = newest_file(&*member.env().disk, identity).map_err(|e| e.to_string())?;
    let Some(start) = found.reader.map(|reader| reader.header().start) else { return Ok(()) };
    let (mut state, _) = member.checkpoint_state();
    if member.config().mutants.bites(Mutant::DefragSkipsCi, || state.store.applied() != (start.index.0, start.term.0)) {
        state.store.misname(start.index.0, start.term.0);
        let level = member.storage().level().max(state.cluster().level());
        let sealed =
            seal_at(&member.env().disk, member.ids(), &state, start, level).await.map_err(|e| e.to_string())?;
        sealed.publish().await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// It exists: older ones go.
async fn published(
    member: &Member,
    newest: &mut Index,
    start: LogStart,
    level: Release,
) -> Result<(), CheckpointError> {
    *newest = start.index;
    member.storage().written(level, start.index);
    prune(&*member.env().disk, &[start.index]).await
}

async fn seal_at(
    disk: &Arc<dyn Disk>,
    ids: Ids,
    state: &State,
    start: LogStart,
    level: Release,
) -> Result<Sealed, CheckpointError> {
    let identity = Identity { cluster_id: ids.cluster, member_id: ids.member };
    let mut writer = CheckpointWriter::create(Arc::clone(disk), CheckpointHeader { identity, start }).await?;
    let mut encoded = Vec::new();
    for (count, record) in records::of(state, level).enumerate() {
        encoded.clear();
        let kind = record.encode(&mut encoded);
        if writer.push(kind, &encoded) {
            writer.flush().await?;
        }
        if count % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    writer.seal().await
}

/// Decides when a checkpoint is due, and takes it. One at a time.
pub struct Checkpointer {
    /// Weak: the log task ends when the driver is gone, and must not wait for the task that applies.
    log: mpsc::WeakSender<LogWork>,
    last: Index,
    /// Payload bytes applied since.
    bytes: u64,
    running: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// A checkpointer whose newest checkpoint holds the state after `last`.
    pub fn new(log: &mpsc::Sender<LogWork>, last: Index) -> Checkpointer {
        Checkpointer { log: log.downgrade(), last, bytes: 0, running: None }
    }

    /// A snapshot came with a checkpoint of its own.
    pub fn installed(&mut self, index: Index) {
        (self.last, self.bytes) = (index, 0);
    }

    /// Told after each batch of entries with so many payload bytes, by the task that applies.
    pub fn applied(&mut self, member: &Arc<Member>, index: Index, bytes: u64) {
        self.bytes += bytes;
        let config = member.config();
        let many = self.last.0.saturating_add(config.snapshot_count) <= index.0;
        let large = config.checkpoint_log_bytes <= self.bytes;
        let soon = self.last.0.saturating_add(config.snapshot_count / EARLIER_MAX).max(self.last.0 + 1) <= index.0;
        let wanted = soon && member.checkpoint_wanted().load(Ordering::Relaxed);
        if !(many || large || wanted) || self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        (self.last, self.bytes) = (index, 0);
        member.checkpoint_wanted().store(false, Ordering::Relaxed);
        let (state, unused) = member.checkpoint_state();
        self.running = Some(tokio::spawn(take(Arc::clone(member), self.log.clone(), state, unused)));
    }

    /// Ends what still runs, and waits until it has: a checkpoint that is not there yet will not come.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn take(member: Arc<Member>, log: mpsc::WeakSender<LogWork>, mut state: State, unused: BTreeSet<u32>) {
    misname(&member, &mut state).await;
    match write(&member, &state).await {
        Ok(None) => {}
        Ok(Some(start)) => {
            let index = start.index;
            member.env().observer.observe(Event::Checkpoint { index, storage: member.storage().level() });
            tracing::info!(index = index.0, "saved snapshot");
            let keep_from = Index(index.0.saturating_sub(member.config().snapshot_catchup_entries)).next();
            point!(member.env(), "checkpoint.before_release");
            if let Some(log) = log.upgrade() {
                let _ = log.send(LogWork::Release { start, keep_from, unused }).await;
            }
        }
        Err(error) => member.fail(format!("a checkpoint could not be written: {error}")),
    }
}

#[cfg(test)]
mod tests;
