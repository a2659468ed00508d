//! Followers that are too far behind for the log, and the log's own forgetting.
//!
//! The bytes of a snapshot never pass through the core. A leader that lacks the entries a follower needs names it once in
//! `Ready::snapshots_wanted`; the shell moves a checkpoint and reports `SnapshotDone`. On the other side the shell
//! gives `Body::Snapshot` to the core when the bytes are complete, and the core decides what to do with them:
//!
//! | Snapshot | Then |
//! |---|---|
//! | we know no configuration | it replaces everything, even when it is the empty state the cluster was founded with |
//! | not after our commit index | nothing new: the leader hears what we hold |
//! | its last entry is in our log | the log stays, everything up to there is committed |
//! | otherwise | it replaces log and state machine, durably, before anything after it |

use crate::Raft;
use crate::configuration::Configurations;
use crate::progress::ReplicationState;
use crate::stand::Stand;
use crate::types::{Index, NodeId, SnapshotMeta};

impl Raft {
    pub(crate) fn snapshot_arrived(&mut self, leader: NodeId, meta: SnapshotMeta) {
        let joins = self.configuration().voters.is_empty();
        if meta.index <= self.committed && !joins {
            return self.accept(leader, self.committed);
        }
        let index = meta.index;
        if self.log.term_at(index) == Some(meta.term) && !joins {
            self.committed = index;
            self.configurations.committed(index);
        } else {
            self.log.reset(index, meta.term);
            self.configurations = Configurations::new(index, meta.configuration.clone());
            self.hand_overs.replaced(self.committed, meta);
            (self.committed, self.delivered, self.applied) = (index, index, index);
        }
        self.accept(leader, index);
    }

    /// A follower that just joined asks for its first state.
    pub(crate) fn snapshot_needed(&mut self, peer: NodeId) {
        let Stand::Leader(leading) = &mut self.stand else { return };
        let Some(progress) = leading.progress.get_mut(&peer) else { return };
        if progress.state != ReplicationState::Snapshot {
            progress.await_snapshot();
            self.snapshots_wanted.push(peer);
        }
    }

    /// However it ended, the follower is asked for what follows our base: it may hold that all the same, and have refused
    /// the snapshot because it does. If it does not, its refusal brings another snapshot. Asked for what it is known to
    /// match, which we have forgotten, it could only be sent snapshots it refuses, for ever.
    pub(crate) fn snapshot_done(&mut self, peer: NodeId) {
        let first = self.log.first();
        let Stand::Leader(leading) = &mut self.stand else { return };
        let Some(progress) = leading.progress.get_mut(&peer) else { return };
        if progress.state == ReplicationState::Snapshot {
            // Its acceptance tells what it holds now, a heartbeat's answer that it lives: wait for either.
            progress.probe(first, true);
        }
    }

    pub(crate) fn compact(&mut self, upto: Index) {
        // What was not handed to the disk yet is still needed, whatever was applied.
        self.log.compact(upto.min(self.applied).min(self.hand_overs.handed()));
    }
}
