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

pub mod downgrade;
pub mod level;
pub mod monitor;
pub mod release;
pub mod storage;

pub use release::Release;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::Index;

use crate::env::Event;
use crate::member::Member;

/// An entry is about to be applied. A member does not follow where its release cannot.
pub(crate) fn arrives(member: &Member, index: Index, request: &pb::InternalRaftRequest) -> Result<(), String> {
    member.storage().applied(index, level::needed_by(request));
    let decided = request.cluster_version_set.as_ref().and_then(|set| set.ver.parse().ok());
    storage::follow(member.config().release, decided).map_err(|refused| refused.to_string())
}

/// It was applied.
pub(crate) fn applied(member: &Member, request: &pb::InternalRaftRequest) {
    if request.cluster_version_set.is_some() || request.downgrade_info_set.is_some() {
        let (version, downgrade) = (member.cluster_version(), member.downgrade());
        member.env().observer.observe(Event::ClusterVersion { version, downgrade });
        member.storage().cluster_changed();
    }
}

/// Our own version.
pub const EVENKEEL: &str = env!("CARGO_PKG_VERSION");
