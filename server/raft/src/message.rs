//! What members say to each other. Our own enum, not protobuf: the shell translates.

use alloc::vec::Vec;

use crate::types::{Entry, Index, SnapshotMeta, Term};

/// Names one batch of waiting reads. Unique per member and process life: never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadContext(pub u64);

/// A leader's count of heartbeat rounds; answers echo it. It grows, and is never reused within a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(pub u64);

/// One message. `term` is the sender's term, but for pre-votes, which carry the term they ask about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// See the type's text.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// The kinds of message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// "Would you vote for me in `term`?" (pre-vote) or "vote for me in `term`". Raft paper, section 5.2; dissertation 9.6.
    VoteRequest {
        /// A question only: neither side changes its term.
        pre_vote: bool,
        /// The candidate's last entry.
        last_index: Index,
        /// That entry's term.
        last_term: Term,
        /// Sent at a leader's wish: the lease of the current leader does not refuse it.
        force: bool,
    },
    /// The answer. A granted pre-vote carries the term asked about; a refusal carries the voter's own term.
    VoteResponse {
        /// Answers a pre-vote.
        pre_vote: bool,
        /// The vote.
        granted: bool,
    },
    /// New entries after `prev_index`; empty ones probe.
    AppendRequest {
        /// The entry before the first of `entries`.
        prev_index: Index,
        /// That entry's term.
        prev_term: Term,
        /// In index order, without gaps.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
    },
    /// Sent when the entries are durable.
    AppendAccepted {
        /// The follower's log equals the leader's up to here, durably.
        matched: Index,
    },
    /// The follower's log does not hold `prev_index` with `prev_term`.
    AppendRejected {
        /// The `prev_index` refused.
        prev_index: Index,
        /// Where the leader should look next: the newest index that may match.
        hint_index: Index,
        /// The term of the follower's entry at `hint_index`.
        hint_term: Term,
        /// The follower has not even the state its cluster was founded with: it needs a snapshot, whatever the log holds.
        needs_snapshot: bool,
    },
    /// "I still lead."
    Heartbeat {
        /// Commit index, never past what this follower is known to hold.
        commit: Index,
        /// Echoed in the answer; confirms leadership for reads that began before this round.
        round: Round,
    },
    /// The answer.
    HeartbeatResponse {
        /// The round answered.
        round: Round,
    },
    /// A complete snapshot has arrived beside the log (the shell moved its bytes); take it.
    Snapshot {
        /// Names it.
        meta: SnapshotMeta,
    },
    /// A follower asks its leader for a read index.
    ReadRequest {
        /// The follower's context, echoed.
        context: ReadContext,
    },
    /// The leader's answer, given only after it confirmed its leadership.
    ReadResponse {
        /// Echoed.
        context: ReadContext,
        /// Reads of this context may be served once applied to here.
        index: Index,
    },
    /// The leader hands over: campaign now, without asking first. Dissertation 3.10.
    TimeoutNow,
    /// A follower forwards a proposal to the leader.
    Propose {
        /// The payload.
        data: alloc::sync::Arc<[u8]>,
    },
}
