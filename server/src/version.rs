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

use bytes::Bytes;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::Index;
use prost::Message as _;

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

/// Whether what another member proposes may enter the log: an entry that cannot be decoded, or raises the cluster version
/// above a member's release, would end every member, and again after each start. Only a leader sets the version.
pub(crate) fn may_be_forwarded(data: impl AsRef<[u8]> + Send + 'static) -> bool {
    let request = pb::InternalRaftRequest::decode(Bytes::from_owner(data));
    request.is_ok_and(|request| request.cluster_version_set.is_none())
}

/// Our own version.
pub const EVENKEEL: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use evenkeel_proto::membershippb::ClusterVersionSetRequest;

    use super::*;

    #[test]
    fn another_member_proposes_neither_what_nobody_can_read_nor_a_cluster_version() {
        let put = pb::InternalRaftRequest { put: Some(pb::PutRequest::default()), ..Default::default() };
        let cluster_version_set = Some(ClusterVersionSetRequest { ver: "9.9.0".to_owned() });
        let version = pb::InternalRaftRequest { cluster_version_set, ..Default::default() };
        assert!(may_be_forwarded(put.encode_to_vec()));
        assert!(!may_be_forwarded(version.encode_to_vec()));
        assert!(!may_be_forwarded(vec![0xff; 4]));
    }
}
