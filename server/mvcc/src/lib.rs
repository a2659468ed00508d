//! The replicated state machine: every version of every key, the leases, and one counter that orders all changes.
//!
//! Fed with committed entries in log order ([`Store::apply`]); equal input gives equal state and equal answers on every
//! member, and [`Store::state_hash`] is the proof. What an entry contains can be refused, never fatal.
//!
//! # The parts
//!
//! - [`Store`]: the state. Reads (`range`, `get`, `read_only_txn`), writes (`apply`), hash, size. A clone is a
//!   consistent snapshot and costs nothing, so reads never block writes.
//! - [`Command`], [`Response`], [`Outcome`]: what goes in and comes out.
//! - [`Watchers`]: cursors into the stream of revisions, fed with the events each outcome carries.
//! - [`Restore`], [`Store::versions`], [`codec`]: the state as records and bytes.
//!
//! # Words
//!
//! A *revision* is one tick of the counter: the changes of one command. A *version* is one stored change of one key, at
//! position `main.sub`. A *tombstone* is a version that deletes. The *floor* is the oldest readable revision;
//! compaction raises it. A *row* is a key as of a revision. *Latest* is the newest version of one key, *current* the
//! newest revision of the store.
//!
//! # Absent, on purpose
//!
//! Waiting, disks, clocks, chance. Value bytes too: a version holds a [`ValueRef`], and the few operations that look at
//! values read them through [`Values`]. A lease has no deadline here; when it ends is decided elsewhere and arrives as
//! a command. Permissions and quotas are asked before, and error texts made after.
//!
//! # Costs
//!
//! With n keys, a put or a read of one key takes O(log n), and so does an exact count. A key with one version takes 48
//! bytes and the key itself. Compaction costs what it drops. A delete of many keys is one long command: it keeps one
//! tombstone per key until the next compaction.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod codec;
mod command;
mod compaction;
mod dump;
mod error;
mod event;
mod eventlog;
mod hash;
mod history;
mod interval;
mod lease;
mod planted;
mod range;
mod revision;
mod store;
mod tree;
mod txn;
mod txn_check;
mod value;
mod watch;
mod write;

pub use command::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, LeaseCheckpoint, Op, Outcome, Put, RangeQuery,
    RangeResult, Response, SortOrder, SortTarget, Txn,
};
pub use dump::{Header, LeaseRecord, Restore, RestoreError, VersionRow, restore, state_hash_of};
pub use error::Error;
pub use event::{Event, EventKind, RevisionEvents};
pub use history::{Row, VersionKind};
pub use interval::{End, Interval, Key};
pub use lease::{LEASE_TTL_SECONDS_MAX, Lease};
pub use revision::{LeaseId, Revision};
pub use store::{Store, Usage};
pub use txn_check::TXN_DEPTH_MAX;
pub use value::{ValueRef, Values};
pub use watch::{Batch, BatchRevision, Missed, Pull, PullLimit, Slice, WatchSpec, WatcherId, Watchers};
