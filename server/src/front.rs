//! The ports for clients and operators: gRPC and plain HTTP on the same port, and HTTP alone for metrics.
//!
//! Two flavours with one face, [`Listeners`]: real sockets in production (`real`), and in simulation tonic's
//! simulated server (`simulated`), which knows no plain HTTP. Ports are taken first and served later, so that a
//! port in use is found before anything is touched, and clients that come early wait instead of being refused.
//!
//! The front sees the member through [`Inspect`] and the services alone.

use futures_core::future::BoxFuture;

use crate::metrics::Metrics;
use crate::version::Release;

#[cfg(not(madsim))]
pub mod accept;
#[cfg(not(madsim))]
mod real;
#[cfg(madsim)]
mod simulated;

#[cfg(not(madsim))]
pub use real::{BindError, Listeners, bind};
#[cfg(madsim)]
pub use simulated::{BindError, Listeners, bind};

/// What the HTTP side shows of a member.
pub trait Inspect: Send + Sync + 'static {
    /// The member's counters.
    fn metrics(&self) -> &Metrics;
    /// Figures and states as of now.
    fn facts(&self) -> Facts;
    /// Reads a key as a client would. The error is the text that a client would get.
    fn read(&self, serializable: bool) -> BoxFuture<'_, Result<(), String>>;
    /// Resolves when clients are to go elsewhere: the member leaves, or stops at once.
    fn leaving(&self) -> BoxFuture<'_, ()>;
}

/// What is looked up when asked for, instead of counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Facts {
    pub member_id: u64,
    /// 0 is none.
    pub leader: u64,
    pub raft_term: u64,
    pub committed: u64,
    pub applied: u64,
    pub is_learner: bool,
    pub release: Release,
    /// As `major.minor.patch`; `None` until the cluster has agreed on one.
    pub cluster_version: Option<String>,
    /// `None` for storage that does not say.
    pub storage_version: Option<&'static str>,
    pub downgrade_enabled: bool,
    /// Kinds of the active alarms, as in `etcdserverpb.AlarmType`.
    pub alarms: Vec<i32>,
    pub quota_bytes: u64,
    pub db_total_bytes: u64,
    pub db_in_use_bytes: u64,
    pub keys: u64,
    pub current_revision: i64,
    pub compact_revision: i64,
    pub watchers: u64,
    pub slow_watchers: u64,
    pub watch_streams: u64,
    pub pending_events: u64,
    pub members: Vec<MemberFacts>,
}

/// A member, as the peer port's `/members` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MemberFacts {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}
