//! What a member is told at its start: its limits, and what its disk remembers.

use alloc::vec::Vec;

use crate::mutant::Mutants;
use crate::types::{Entry, HardState, Index, NodeId, SnapshotMeta, Term};

/// A member's identity and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub id: NodeId,
    /// Without a leader's sign for this long, up to twice as long by chance, a voter campaigns.
    pub election_ticks: u32,
    /// A leader shows life this often.
    pub heartbeat_ticks: u32,
    /// Ask before campaigning, so that a member that cannot win disturbs nobody. Dissertation 9.6.
    pub pre_vote: bool,
    /// A leader that does not hear from a quorum steps down; voters that hear a leader refuse others. Dissertation 6.2.
    pub check_quorum: bool,
    /// Payload bytes in one append; one entry always goes.
    pub max_message_bytes: usize,
    /// Appends with entries in flight to one follower.
    pub max_inflight_messages: usize,
    /// Their payload bytes.
    pub max_inflight_bytes: usize,
    /// Payload bytes a leader holds uncommitted; beyond, proposals are [`Busy`](crate::ProposeError::Busy). One
    /// proposal is always taken when nothing is uncommitted.
    pub max_uncommitted_bytes: usize,
    /// Payload bytes of committed entries in one [`Ready`](crate::Ready); one entry always goes.
    pub max_committed_batch_bytes: usize,
    /// Batches of reads waiting for a read index.
    pub max_waiting_reads: usize,
    /// For the election timeouts. Give every member another one.
    pub seed: u64,
    /// Planted bugs.
    pub mutants: Mutants,
}

impl Config {
    /// etcd's settings, with bounds where etcd has none.
    pub fn new(id: NodeId, seed: u64) -> Config {
        Config {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            pre_vote: true,
            check_quorum: true,
            max_message_bytes: 1 << 20,
            max_inflight_messages: 512,
            max_inflight_bytes: 64 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_committed_batch_bytes: 4 << 20,
            max_waiting_reads: 1024,
            seed,
            mutants: Mutants::NONE,
        }
    }

    pub(crate) fn check(&self) {
        assert_ne!(self.id, NodeId(0), "0 is nobody");
        assert!(0 < self.heartbeat_ticks, "a leader must show life");
        assert!(self.heartbeat_ticks < self.election_ticks, "followers would campaign between two heartbeats");
        assert!(0 < self.max_inflight_messages);
        assert!(0 < self.max_inflight_bytes);
        assert!(0 < self.max_waiting_reads);
    }
}

/// What the disk remembers.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Term and vote.
    pub hard_state: HardState,
    /// The newest checkpoint. Index 0, term 0 and the first configuration for a new cluster.
    pub snapshot: SnapshotMeta,
    /// Durable entries, in order without gaps. They may begin anywhere up to just after the snapshot.
    pub entries: Vec<Entry>,
    /// The term of the entry before the first of `entries`; without meaning when there are none.
    pub first_prev_term: Term,
    /// What the state machine holds: the snapshot's index.
    pub applied: Index,
}
