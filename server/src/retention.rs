//! How much of the log stays in memory.
//!
//! As etcd 3.6 and later, the log in memory does not wait for checkpoints: entries behind the applied index go as
//! soon as there are more than `snapshot_catchup_entries` of them, or more than `raft_log_bytes` bytes. A follower
//! that is not further behind catches up from here; one that is gets a snapshot.
//!
//! While a snapshot is on its way, and until its receiver has caught up with what happened meanwhile, the entries
//! behind that snapshot stay, or the receiver would need another one at once; after it nothing goes until the receiver has
//! said what it holds, for it is asked for the first entry there is. That is bounded, too: a receiver
//! without progress is not waited for, and beyond [`RETAINED_BYTES_MAX`] nobody is.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_raft::{Index, NodeId, Raft};

/// Bytes of entries that stay for receivers of snapshots. Beyond, they have to start over.
pub const RETAINED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A receiver that has its snapshot and makes no progress for so long is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries behind the applied index.
    pub entries: u64,
    /// Their payload bytes.
    pub bytes: usize,
}

struct Receiver {
    /// It needs the entries after this one.
    from: Index,
    /// The transfer is over: since when the receiver has made no progress.
    following_since: Option<Duration>,
}

/// See the module's text.
#[derive(Default)]
pub struct Retention {
    receivers: BTreeMap<NodeId, Receiver>,
}

impl Retention {
    /// A snapshot of the state after `index` is on its way to `peer`.
    pub fn began(&mut self, peer: NodeId, index: Index) {
        self.receivers.insert(peer, Receiver { from: index, following_since: None });
    }

    /// It has arrived, or will not: its receiver may have refused it because it holds all that, and says so soon.
    pub fn ended(&mut self, peer: NodeId, now: Duration) {
        if let Some(receiver) = self.receivers.get_mut(&peer) {
            receiver.following_since = Some(now);
        }
    }

    /// The newest entry that may be forgotten, given what was `applied`.
    pub fn forgettable(&mut self, raft: &Raft, applied: Index, limits: Limits, now: Duration) -> Index {
        if RETAINED_BYTES_MAX < raft.log_bytes() {
            self.receivers.clear();
        }
        let upto = Index(applied.0.saturating_sub(limits.entries));
        // What goes when nobody is waited for.
        let alone = || match limits.bytes < raft.log_bytes() {
            true => upto.max(raft.newest_within(limits.bytes)).min(applied),
            false => upto,
        };
        self.receivers.retain(|peer, receiver| {
            let Some(since) = &mut receiver.following_since else { return true };
            let Some((_, progress)) = raft.progress().find(|(id, _)| id == peer) else { return false };
            // Until it has accepted the snapshot itself, what it matched before says nothing of what it needs.
            let accepted = receiver.from <= progress.matched;
            if receiver.from < progress.matched {
                (receiver.from, *since) = (progress.matched, now);
            }
            let needs_more = !accepted || progress.matched < upto || progress.matched < alone();
            needs_more && now < *since + PATIENCE
        });
        // It is about to be asked for the first entry we have. Forgotten meanwhile, that could only be replaced by another
        // snapshot, under steady writes again and again.
        let matched = |id: &NodeId| raft.progress().find(|(peer, _)| peer == id).map(|(_, progress)| progress.matched);
        let is_asked = |(id, receiver): (&NodeId, &Receiver)| {
            receiver.following_since.is_some() && matched(id).is_some_and(|matched| matched < receiver.from)
        };
        if self.receivers.iter().any(is_asked) {
            return raft.first_index().prev();
        }
        match self.receivers.values().map(|receiver| receiver.from).min() {
            Some(needed) => upto.min(needed),
            None => alone(),
        }
    }
}

#[cfg(test)]
mod tests;
