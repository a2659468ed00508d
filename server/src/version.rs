//! What we say we are, and what the cluster has agreed to be.
//!
//! Three numbers, each a level of [`Release`]:
//!
//! - the *release* of a member: what its program can do. A start option ([`Config::release`](crate::config::Config)),
//!   so that a cluster can be rolled through releases with one program.
//! - the *cluster version*: what all members can do. In the replicated state; decided by the leader ([`monitor`]).
//!   What an entry means, and what of the state is stored, depends on it and never on the release of whoever looks.
//! - the *storage version* of a member: the level that its newest checkpoint was written at ([`storage`]).
//!
//! Going up, the release goes first, the cluster version follows when every member is there, and the storage version
//! follows that. Going down it is the other way round: a downgrade is enabled ([`downgrade`]), the cluster version
//! falls, every member migrates its storage, and only then do programs of the lower release start on it.

pub mod release;

pub use release::Release;

/// Our own version.
pub const EVENKEEL: &str = env!("CARGO_PKG_VERSION");
