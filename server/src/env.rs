//! The world a member lives in: one seam per effect, handed to [`crate::serve`].
//!
//! `main` fills it with real files, sockets and clocks ([`real`]); the simulator with its own. Tasks, timers and
//! the client RPC layer switch by Cargo (the names `tokio` and `tonic`), so they are not here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_raft::{Index, NodeId, Standing, Term};
use evenkeel_storage::Disk;
use tokio::sync::oneshot;

use crate::queue::{Sender, Weigh};
use crate::version::Release;
use crate::version::release::Version;

#[cfg(not(madsim))]
pub mod real;

/// Everything a member may touch outside its own memory.
#[derive(Clone)]
pub struct Env {
    /// Its data directory.
    pub disk: Arc<dyn Disk>,
    /// The way to the other members.
    pub network: Arc<dyn Network>,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Where its randomness starts.
    pub seed: u64,
    /// Who watches. [`Nobody`] in production.
    pub observer: Arc<dyn Observer>,
}

/// What a message between members is about. Lets the network keep heartbeats out of the queue behind bulk
/// data, and lets a scenario act on one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// Votes, pre-votes and their answers.
    Vote,
    /// Heartbeats and their answers.
    Heartbeat,
    /// Entries and their answers.
    Append,
    /// Read index requests and answers.
    Read,
    /// Proposals forwarded to the leader.
    Propose,
    /// Pieces of a snapshot and their answers.
    Snapshot,
    /// Questions between members outside Raft, such as lease renewals.
    Ask,
}

impl MessageKind {
    /// The name used in scenarios, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            MessageKind::Vote => "raft.vote",
            MessageKind::Heartbeat => "raft.heartbeat",
            MessageKind::Append => "raft.append",
            MessageKind::Read => "raft.read",
            MessageKind::Propose => "raft.propose",
            MessageKind::Snapshot => "raft.snapshot",
            MessageKind::Ask => "peer.ask",
        }
    }
}

/// A member to talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Where it listens for members.
    pub urls: Vec<String>,
}

/// What the network hands in.
#[derive(Debug)]
pub enum Inbound {
    /// A message, still encoded. The sender's id is claimed by the connection and checked against the message.
    Message {
        /// The member it came from.
        from: NodeId,
        /// The encoded envelope.
        bytes: Bytes,
    },
    /// A question of somebody who may not be a member.
    Query {
        /// The encoded question.
        bytes: Bytes,
        /// Takes the encoded answer; dropped when there is none.
        reply: oneshot::Sender<Bytes>,
    },
    /// Messages to this member cannot be delivered at present.
    Down {
        /// The member.
        peer: NodeId,
    },
    /// The connection to this member was refused after it had been up: its process is gone. Never said of a member
    /// that is only silent, nor after a break that a new connection has mended.
    Reset {
        /// The member.
        peer: NodeId,
    },
}

/// Smaller messages (heartbeats, votes, acknowledgements) weigh nothing in the inbox, so that large ones do not crowd
/// them out; a full queue of them is 16 MiB.
const SMALL_BYTES: usize = 4 << 10;

impl Weigh for Inbound {
    fn weight_bytes(&self) -> usize {
        match self {
            Inbound::Message { bytes, .. } | Inbound::Query { bytes, .. } if SMALL_BYTES <= bytes.len() => bytes.len(),
            Inbound::Message { .. } | Inbound::Query { .. } | Inbound::Down { .. } | Inbound::Reset { .. } => 0,
        }
    }
}

/// Fire-and-forget messages between members. May lose, delay and reorder any message, and repeat any but
/// [`MessageKind::Propose`]: a forwarded proposal that arrived twice would be two proposals.
pub trait Network: Send + Sync {
    /// Begins to receive as `me`; everything that arrives goes to `inbox` (dropped when that is full).
    fn start(&self, me: NodeId, cluster: u64, inbox: Sender<Inbound>);
    /// Sets whom [`Network::send`] can reach.
    fn set_peers(&self, peers: Vec<Peer>);
    /// How many other members a connection is up to at present.
    fn active_peers(&self) -> usize;
    /// Queues one encoded message. Never blocks; drops it when the queue to `to` is full.
    fn send(&self, to: NodeId, kind: MessageKind, bytes: Bytes);
    /// Asks whoever listens at `url`, member or not. Works before [`Network::start`]. Ends within [`QUERY_TIMEOUT`];
    /// the error says why there is no answer. The question may arrive although it failed, but never twice.
    fn query(&self, url: String, bytes: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;
}

/// A question without an answer for this long has failed. Longer than a change of membership may take.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(8);

/// A member's clocks. Both may run too fast or too slow in simulation, and the wall clock may jump.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary start. Never goes back.
    fn monotonic(&self) -> Duration;
    /// Time since 1970. May jump.
    fn wall(&self) -> Duration;
    /// Resolves after `duration` of this member's monotonic time.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Calls `wait`, which blocks this thread until another one is done with something. In production, tasks that were
    /// to run on this thread run on another one meanwhile; in simulation there is no other one to wait for.
    fn blocked(&self, wait: &mut dyn FnMut()) {
        wait();
    }
}

/// Looks on. Sees what no client can see; changes nothing.
pub trait Observer: Send + Sync {
    /// Told of `event` the moment it happens, on the member's own task.
    fn observe(&self, event: Event<'_>);
    /// Told that a task has come to a [point](crate::points); the task waits for what is returned.
    fn point(&self, _name: &'static str) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }
}

/// A named place in the code ([`crate::points::POINTS`]) at which a scenario may stop this task, and perhaps the whole
/// member: `point!(env, "NAME");`. Without the feature `mutants` it expands to nothing, and not even the name is left.
macro_rules! point {
    ($env:expr, $name:literal) => {
        #[cfg(feature = "mutants")]
        $crate::env::stand_at($env, $name).await;
    };
}
pub(crate) use point;

/// Waits for as long as a scenario wants this task to stand here; see `point`.
#[cfg(feature = "mutants")]
pub async fn stand_at(env: &Env, name: &'static str) {
    if let Some(pause) = env.observer.point(name) {
        pause.await;
    }
}

/// What an observer is told.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The member starts, having read its disk.
    Booted {
        /// Its durable term and vote.
        hard_state: evenkeel_raft::HardState,
        /// The end of its log.
        last_index: Index,
        /// The term there.
        last_term: Term,
        /// Its state as of its newest checkpoint.
        applied: Index,
        /// The level of that checkpoint.
        storage: Release,
        /// The release it runs at.
        release: Release,
        /// The entries of its log, by place and term. The first is the one before the log, and stands for a snapshot
        /// of all up to it.
        log: &'a [(Index, Term)],
    },
    /// The member's role, term or leader changed.
    Standing(Standing),
    /// A batch was written to the log and synced, or so the disk says.
    Placed {
        /// The segment.
        segment: u32,
        /// First byte of the batch.
        offset: u64,
        /// Bytes of the batch.
        len: u64,
        /// Term and vote in the batch, if any.
        hard_state: Option<evenkeel_raft::HardState>,
        /// The entries in the batch.
        entries: &'a [evenkeel_raft::Entry],
        /// The batch replaces the whole log by a snapshot.
        snapshot: Option<(Index, Term)>,
    },
    /// An entry was applied.
    Applied {
        /// Its index.
        index: Index,
        /// Its term.
        term: Term,
        /// The store's revision afterwards.
        revision: i64,
        /// The state hash afterwards.
        state_hash: u128,
        /// The request it carried (0 when none): member-unique id chosen by the member that proposed it.
        request: u64,
        /// The lease it ended, if any.
        lease_revoked: Option<i64>,
        /// What it changed, when the revision moved.
        changes: Option<&'a evenkeel_mvcc::RevisionEvents>,
        /// Reads the values of `changes`.
        values: &'a crate::reader::Reader,
    },
    /// Entries entered the log in memory. The first may replace older ones.
    Appended {
        /// The entries.
        entries: &'a [evenkeel_raft::Entry],
    },
    /// The commit index moved.
    Committed {
        /// To here.
        index: Index,
    },
    /// What the log in memory holds.
    LogHeld {
        /// Entries.
        entries: u64,
        /// Their payload bytes.
        bytes: u64,
    },
    /// A checkpoint became durable.
    Checkpoint {
        /// It holds the state after this entry.
        index: Index,
        /// The level of the newest checkpoint.
        storage: Release,
    },
    /// A transfer of a snapshot began, at the beginning.
    SnapshotBegun {
        /// The receiver.
        to: NodeId,
        /// The state after this entry.
        index: Index,
    },
    /// A snapshot was sent to a member and taken.
    SnapshotSent {
        /// The receiver.
        to: NodeId,
        /// The state after this entry.
        index: Index,
    },
    /// A snapshot replaces this member's log, and will replace its state once what was handed to it before is applied:
    /// see [`Event::StateReplaced`].
    SnapshotInstalled {
        /// The state after this entry.
        index: Index,
        /// That entry's term.
        term: Term,
        /// Its revision.
        revision: i64,
    },
    /// A snapshot's state has taken the place of this member's.
    StateReplaced {
        /// The last entry it contains.
        index: Index,
        /// Its revision.
        revision: i64,
        /// The state hash.
        state_hash: u128,
    },
    /// This member, as leader, found a lease past its deadline and proposes to revoke it.
    LeaseExpired {
        /// The lease.
        lease: i64,
    },
    /// What the cluster has agreed on was decided anew, as this member applied it.
    ClusterVersion {
        /// The cluster version.
        version: Option<Version>,
        /// Where an enabled downgrade goes.
        downgrade: Option<Version>,
    },
    /// A migration of the stored data begins.
    Migrating {
        /// The level of the newest checkpoint.
        from: Release,
        /// The level of the one to be written.
        to: Release,
    },
    /// It is durable.
    Migrated {
        /// The level of the newest checkpoint.
        to: Release,
    },
    /// The member serves clients.
    Ready,
    /// The member stopped because it cannot go on.
    Fatal {
        /// Why.
        reason: &'a str,
    },
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: Event<'_>) {}
}
