//! Who belongs to the cluster, and how that changes.
//!
//! A change takes one way, whoever is asked: the member that was asked gives it an id ([`change`]), the leader checks
//! it against what is applied and what it hears ([`rules`]) and proposes *one* entry: the new configuration for Raft,
//! in force once appended, and a [`MembershipChange`] for the state machine, which checks again what does not depend
//! on the moment ([`apply`]). The answer is the outcome of applying, and the asked member waits until it has applied
//! the entry too.
//!
//! - [`roster`]: the driver's view of the others: whom it can reach, whom it hears, whom it refuses.
//! - [`query`]: questions of somebody who may not be a member yet, over [`crate::env::Network::query`].
//! - [`join`]: a member with an empty disk that joins a cluster; [`alone`]: `--force-new-cluster`.
//! - [`promote`]: learners that become voters by themselves.
//!
//! A member that is replaced keeps its vote until its successor, a learner first, has caught up. Then both move in one
//! joint change, so that at no time fewer members vote; it is removed when that is left, because its half of the joint
//! configuration counts until then.
//!
//! Ids are never used twice: applying remembers who was removed.

pub mod alone;
pub mod apply;
pub mod change;
pub mod join;
pub mod own;
pub mod promote;
pub mod query;
pub mod roster;
pub mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use evenkeel_proto::store as pb;
pub use evenkeel_proto::store::MembershipChange;
pub use evenkeel_proto::store::membership_change::Change;
use evenkeel_raft::{MemberChange, NodeId};
use sha1::{Digest, Sha1};

use crate::state::{Cluster, MemberInfo};

/// What a removed member says when it stops.
pub const REMOVED: &str = "the member has been permanently removed from the cluster; to bring this machine back, \
                           remove its data directory, add it with `etcdctl member add`, and start it with \
                           --initial-cluster-state existing";

/// The first eight bytes of SHA-1 over the sorted peer URLs, the cluster's token, and for a member that is added later
/// the second in which it was, as etcd's.
pub fn member_id(peer_urls: &[String], token: &str, added: Option<Duration>) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let added = added.map_or_else(String::new, |at| at.as_secs().to_string());
    first_eight(Sha1::digest(urls.concat() + token + &added).as_slice())
}

/// A cluster's id: the same over its first members' sorted ids.
pub fn cluster_id(members: impl IntoIterator<Item = u64>) -> u64 {
    let mut ids: Vec<u64> = members.into_iter().collect();
    ids.sort_unstable();
    let bytes: Vec<u8> = ids.into_iter().flat_map(u64::to_be_bytes).collect();
    first_eight(Sha1::digest(bytes).as_slice())
}

fn first_eight(digest: &[u8]) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 20 bytes"))
}

/// Whether these can be a member's URLs: at least one, each a scheme, a host and a port, and nothing else.
pub fn urls_are_valid(urls: &[String]) -> bool {
    let valid = |url: &String| {
        let Some((scheme @ ("http" | "https" | "unix" | "unixs"), address)) = url.split_once("://") else {
            return false;
        };
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        !address.contains(['/', '?', '#', ' '])
            && (scheme.starts_with("unix") || port.is_some_and(|port| port.parse::<u16>().is_ok()))
    };
    !urls.is_empty() && urls.iter().all(valid)
}

/// The same URLs in the same order.
pub(crate) fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    urls.sort_unstable();
    urls
}

/// What a change of `cluster` means to Raft.
pub fn for_raft(cluster: &Cluster, change: &Change) -> Vec<MemberChange> {
    let added = |member: &pb::Member| {
        let id = NodeId(member.id);
        if member.is_learner { MemberChange::AddLearner(id) } else { MemberChange::AddVoter(id) }
    };
    match change {
        Change::Add(member) => vec![added(member)],
        Change::Remove(id) => vec![MemberChange::Remove(NodeId(*id))],
        Change::Promote(id) => {
            // Two voters move: a joint change.
            let replaced = cluster.members.get(id).and_then(|info| info.replaces);
            let removed = replaced.map(|old| MemberChange::Remove(NodeId(old)));
            std::iter::once(MemberChange::AddVoter(NodeId(*id))).chain(removed).collect()
        }
        Change::Replace(pb::Replacement { old, new }) => {
            let is_learner = cluster.members.get(old).is_some_and(|info| info.is_learner);
            let removed = is_learner.then_some(MemberChange::Remove(NodeId(*old)));
            let new = new.as_ref().map(|new| MemberChange::AddLearner(NodeId(new.id)));
            removed.into_iter().chain(new).collect()
        }
        // What the state machine knows about a member is nothing to Raft.
        Change::Update(_) => Vec::new(),
        // Never proposed: see [`alone`].
        Change::Alone(_) => Vec::new(),
    }
}

impl MemberInfo {
    /// A member that nobody has heard of yet.
    pub fn added(member: &pb::Member) -> MemberInfo {
        MemberInfo {
            name: String::new(),
            peer_urls: sorted(&member.peer_urls),
            client_urls: Vec::new(),
            is_learner: member.is_learner,
            promote_when_ready: member.promote_when_ready,
            replaces: None,
        }
    }

    /// It has started once.
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// As stored and sent.
    pub fn to_proto(&self, id: u64) -> pb::Member {
        pb::Member {
            id,
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
            is_learner: self.is_learner,
            promote_when_ready: self.promote_when_ready,
            replaces: self.replaces.unwrap_or(0),
        }
    }

    /// Back from [`MemberInfo::to_proto`].
    pub fn from_proto(member: pb::Member) -> (u64, MemberInfo) {
        let info = MemberInfo {
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
            promote_when_ready: member.promote_when_ready,
            replaces: (member.replaces != 0).then_some(member.replaces),
        };
        (member.id, info)
    }
}
