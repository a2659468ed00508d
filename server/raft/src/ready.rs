//! What goes into the core, and what it owes the world afterwards.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::message::{Message, ReadContext};
use crate::types::{Configuration, Entry, HardState, Index, NodeId, SnapshotMeta, Term};

/// Names one hand-over of work for the disk; grows by one with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteSeq(pub u64);

/// All that can happen to a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// One tick of the local clock went by.
    Tick,
    /// A message arrived.
    Message {
        /// The member it came from.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// A batch of reads waits for a read index; the answer comes in [`Ready::reads`].
    Read {
        /// Names the batch.
        context: ReadContext,
    },
    /// All work of [`Ready::write`]s up to and including this one is durable.
    Persisted {
        /// The newest durable hand-over.
        write: WriteSeq,
    },
    /// The state machine has applied up to here.
    Applied {
        /// The newest applied entry.
        index: Index,
    },
    /// Entries up to here are no longer needed in memory (a checkpoint holds their effects).
    Compact {
        /// Forget up to and including this one. Ignored past the applied index.
        upto: Index,
    },
    /// A message to this member could not be delivered (its queue was full, its link is down).
    Unreachable {
        /// The member.
        peer: NodeId,
    },
    /// The shell's transfer of a snapshot to this member has ended, well or not: the follower is probed again.
    SnapshotDone {
        /// The member.
        peer: NodeId,
    },
    /// The connection to this member was refused after it had been up: its process is gone. When it led, an election
    /// need not wait for the timeout. A wrong suspicion costs a pre-vote that fails.
    Suspect {
        /// The member.
        peer: NodeId,
    },
    /// A leader hands its leadership to this voter as soon as that one holds the whole log; see [`crate::transfer`].
    Transfer {
        /// The next leader.
        to: NodeId,
    },
    /// Campaign at once (a test's or an operator's wish). Asks for pre-votes first when those are on, and a live leader's
    /// lease refuses it as any other campaign.
    Campaign,
}

/// Work for the disk, in this order; then feed back [`Input::Persisted`] with `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// Names this hand-over.
    pub seq: WriteSeq,
    /// Term and vote, when they changed.
    pub hard_state: Option<HardState>,
    /// Install this snapshot before the entries: it replaces the whole log and state.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries to append. The first may lie inside the log: what was there and after it is replaced.
    pub entries: Vec<Entry>,
    /// Send only when everything above is durable.
    pub messages: Vec<(NodeId, Message)>,
}

/// The answer to an [`Input::Read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadState {
    /// Serve the batch once applied to `index`.
    Confirmed {
        /// The batch.
        context: ReadContext,
        /// Wait for this one to be applied.
        index: Index,
    },
    /// The batch will never be answered (no leader, or leadership was lost): ask again under a new context.
    Dropped {
        /// The batch.
        context: ReadContext,
    },
}

/// What the member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether an election could be won.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// What the world may know of the member's standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its term.
    pub term: Term,
    /// What it is in that term.
    pub role: Role,
    /// Whom it follows, itself when it leads.
    pub leader: Option<NodeId>,
}

/// Everything owed. Do the fields in this order; `messages` need not wait for anything.
#[must_use]
#[derive(Debug, Default)]
pub struct Ready {
    /// The standing, when it changed.
    pub standing: Option<Standing>,
    /// Who takes part, when that changed: the newest configuration in the log, committed or not.
    pub configuration: Option<Configuration>,
    /// Send at once (the leader sends entries before its own disk has them).
    pub messages: Vec<(NodeId, Message)>,
    /// Work for the disk.
    pub write: Option<Write>,
    /// Apply in this order: committed, and durable on this member.
    pub committed: Vec<Entry>,
    /// Answered reads.
    pub reads: Vec<ReadState>,
    /// These followers lack entries that are gone from memory: send them a snapshot.
    pub snapshots_wanted: Vec<NodeId>,
}

/// Why a proposal was not taken. Nothing has happened to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// There is no leader to give it to. Try again after an election.
    NoLeader,
    /// This member does not lead and was told not to forward. Ask the hinted one.
    NotLeader {
        /// The leader, when known.
        hint: Option<NodeId>,
    },
    /// Too many uncommitted bytes. Try again later.
    Busy,
    /// The leader is handing over. Give it to the next one.
    Transferring,
}

/// A proposal's bytes.
pub type Data = Arc<[u8]>;
