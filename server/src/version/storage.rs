//! The level of the stored data, and its migration.
//!
//! A checkpoint is written at a level, which decides what is in it and how; the storage version of a member is the
//! level of its newest one. It follows the cluster version:
//!
//! - *up* with the next checkpoint, and one is taken at once. Nothing is written below the cluster version.
//! - *down* by a migration alone: a checkpoint at the lower level, also of the very entry that the newest one is of.
//!   It is refused while the log behind the newest checkpoint has applied entries that need more than the lower level
//!   (a program of that level would meet them at its start); then a checkpoint is forced, and it is tried again.
//!
//! The rename of the checkpoint is the one moment at which the level changes. A crash before it leaves the old level
//! and the log behind it, a crash after it the new one; both are whole.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_raft::Index;
use evenkeel_storage::checkpoint::CheckpointError;
use tokio::sync::watch;

use super::release::{Release, Version};
use crate::checkpoint;
use crate::env::Event;
use crate::member::Member;

/// A migration that was refused is tried again after this (etcd's interval).
const RETRY: Duration = Duration::from_secs(4);

/// What a member knows about its stored data.
pub struct Storage {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

struct Inner {
    /// Of the newest checkpoint.
    level: Release,
    /// The entry it is of.
    checkpoint: Index,
    /// The newest applied entry that needs each level.
    needed: [Index; Release::ALL.len()],
}

impl Inner {
    /// The lowest level that has everything in the log behind the newest checkpoint.
    fn needed(&self) -> Release {
        let behind = Release::ALL.into_iter().zip(self.needed).filter(|(_, index)| self.checkpoint < *index);
        behind.map(|(level, _)| level).max().unwrap_or(Release::V3_5)
    }
}

impl Storage {
    /// Of a member whose newest checkpoint is of `checkpoint`, at `level`.
    pub fn new(level: Release, checkpoint: Index) -> Storage {
        let inner = Inner { level, checkpoint, needed: Default::default() };
        Storage { inner: Mutex::new(inner), changed: watch::Sender::new(()) }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("not poisoned")
    }

    /// The level of the newest checkpoint.
    pub fn level(&self) -> Release {
        self.inner().level
    }

    /// The storage version, where there is one.
    pub fn version(&self) -> Option<&'static str> {
        Some(self.level()).filter(|level| super::level::STORAGE_VERSION <= *level).map(Release::cluster)
    }

    /// An entry was applied that needs this level.
    pub(crate) fn applied(&self, index: Index, needs: Release) {
        let place = Release::ALL.iter().position(|level| *level == needs).expect("all levels are there");
        self.inner().needed[place] = index;
    }

    /// A checkpoint has become the newest one.
    pub(crate) fn written(&self, level: Release, index: Index) {
        let before = {
            let mut inner = self.inner();
            inner.checkpoint = index;
            std::mem::replace(&mut inner.level, level)
        };
        if before != level {
            tracing::info!(new_storage_version = level.cluster(), from = before.cluster(), "updated storage version");
        }
    }

    /// The cluster version, or whether a downgrade is enabled, may have changed.
    pub(crate) fn cluster_changed(&self) {
        self.changed.send_replace(());
    }

    /// Follows [`Storage::cluster_changed`].
    pub(crate) fn cluster_changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Why data cannot be opened, or the cluster not be followed, by a program of this release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLow {
    release: Release,
    what: &'static str,
    version: Version,
}

impl fmt::Display for TooLow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLow { release, what, version } = self;
        write!(
            f,
            "invalid downgrade; server version is lower than determined {what} version: this member runs release \
             {release}, the {what} version is {version}. Start it with release {}.{}; to go back to {release}, then \
             run \"etcdctl downgrade enable {release}\" and wait for \"The server is ready to downgrade\" in this \
             member's log",
            version.major, version.minor
        )
    }
}

/// Refuses a cluster version that is above `release`.
pub fn follow(release: Release, cluster: Option<Version>) -> Result<(), TooLow> {
    let above = cluster.filter(|cluster| release.version() < *cluster);
    above.map_or(Ok(()), |version| Err(TooLow { release, what: "cluster", version }))
}

/// The level of stored data, if a member of this release may open it.
pub fn admit(release: Release, storage: Version, cluster: Option<Version>) -> Result<Release, TooLow> {
    if release.version() < storage {
        return Err(TooLow { release, what: "storage", version: storage });
    }
    follow(release, cluster).map(|()| Release::turned_on_by(Some(storage)))
}

enum Refused {
    /// By the log.
    NewerEntries { target: Release, needed: Release },
    /// By the disk.
    Disk(CheckpointError),
}

/// Follows the cluster version with the stored data, for as long as the member runs.
pub async fn keep(member: Arc<Member>) {
    let mut changes = member.storage().cluster_changes();
    changes.mark_changed();
    loop {
        let settled = member.storage().level() == member.state().cluster().level();
        tokio::select! {
            biased;
            () = member.stopping() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = member.env().clock.sleep(RETRY), if !settled => {}
        }
        if let Err(error) = look(&member).await {
            member.fail(format!("the storage could not be migrated: {error}"));
            return;
        }
    }
}

/// Migrates, if there is something to do; after a refusal by the log, a second time behind a forced checkpoint.
async fn look(member: &Member) -> Result<(), CheckpointError> {
    for _ in 0..2 {
        let state = member.state();
        match migrate(member).await {
            Ok(()) => return Ok(()),
            Err(Refused::Disk(error)) => return Err(error),
            Err(Refused::NewerEntries { target, needed }) => {
                tracing::error!(
                    cluster_version = target.cluster(),
                    error = format!(
                        "cannot downgrade storage, WAL contains newer entries, as the target version ({}) is lower \
                         than the version ({}) detected from WAL logs",
                        target.cluster(),
                        needed.cluster()
                    ),
                    "failed to update storage version"
                );
                checkpoint::write(member, &state).await?;
            }
        }
    }
    Ok(())
}

/// One attempt.
async fn migrate(member: &Member) -> Result<(), Refused> {
    let mut newest = member.newest_checkpoint().lock().await;
    let state = member.state();
    let (from, target) = (member.storage().level(), state.cluster().level());
    // A received snapshot whose checkpoint is written, but which is not the state yet, is newer than the state.
    if from == target || Index(state.store.applied().0) < *newest {
        return Ok(());
    }
    let needed = member.storage().inner().needed();
    if target < from && target < needed {
        return Err(Refused::NewerEntries { target, needed });
    }
    tracing::info!(
        cluster_version = target.cluster(),
        storage_version = from.cluster(),
        "cluster version differs from storage version."
    );
    member.env().observer.observe(Event::Migrating { from, to: target });
    checkpoint::migrate(member, &mut newest, &state).await.map_err(Refused::Disk)?;
    member.env().observer.observe(Event::Migrated { to: target });
    if let Some(target) = state.cluster().downgrade {
        let server_version = member.config().release.server();
        tracing::info!(target_version = %target, server_version, "The server is ready to downgrade");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: [Version; 3] = [Release::V3_5.version(), Release::V3_6.version(), Release::V3_7.version()];

    #[test]
    fn a_member_opens_what_is_not_above_its_release() {
        for (release, storage, cluster, opened) in [
            (Release::V3_7, V[2], Some(V[2]), Ok(Release::V3_7)),
            (Release::V3_7, V[0], None, Ok(Release::V3_5)),
            (Release::V3_6, V[1], Some(V[1]), Ok(Release::V3_6)),
            (Release::V3_6, V[2], Some(V[1]), Err("storage")),
            (Release::V3_6, V[1], Some(V[2]), Err("cluster")),
            (Release::V3_5, V[1], None, Err("storage")),
            (Release::V3_7, Version { major: 3, minor: 8 }, None, Err("storage")),
        ] {
            let found = admit(release, storage, cluster).map_err(|refused| refused.what);
            assert_eq!(found, opened, "{release} {storage} {cluster:?}");
        }
        let refusal = admit(Release::V3_6, V[2], Some(V[1])).expect_err("above").to_string();
        assert!(refusal.contains("Start it with release 3.7; to go back to 3.6"), "{refusal}");
    }

    #[test]
    fn only_entries_behind_the_newest_checkpoint_stand_against_a_downgrade() {
        let storage = Storage::new(Release::V3_7, Index(10));
        let needed = || storage.inner().needed();
        assert_eq!(needed(), Release::V3_5);
        storage.applied(Index(11), Release::V3_7);
        storage.applied(Index(12), Release::V3_6);
        assert_eq!(needed(), Release::V3_7);
        storage.written(Release::V3_7, Index(11));
        assert_eq!(needed(), Release::V3_6);
        storage.written(Release::V3_6, Index(12));
        assert_eq!((needed(), storage.level(), storage.version()), (Release::V3_5, Release::V3_6, Some("3.6.0")));
        storage.written(Release::V3_5, Index(12));
        assert_eq!(storage.version(), None, "3.5 does not say what it is");
    }
}
