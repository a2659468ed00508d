//! Everything that entries change: the key space with its leases, and what the cluster knows about itself.
//!
//! Applying reads nothing local: equal entries give equal states, and equal hashes, on every member.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_mvcc::Store;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::store as storepb;
use evenkeel_raft::{Configuration, Index, NodeId};
use prost::Message;
use sha1::{Digest, Sha1};

use crate::version::release::Version;
use crate::version::{Release, level};

/// A member as the cluster knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where it listens for members.
    pub peer_urls: Vec<String>,
    /// Where it listens for clients.
    pub client_urls: Vec<String>,
    /// It does not vote.
    pub is_learner: bool,
    /// The leader promotes it as soon as it has caught up.
    pub promote_when_ready: bool,
    /// The voter whose vote it takes when it is promoted. That one is a member until then.
    pub replaces: Option<u64>,
}

/// What the cluster knows about itself.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// By member id.
    pub members: BTreeMap<u64, MemberInfo>,
    /// Agreed API version; none before the first leader set it. Decides what entries mean and what is stored.
    pub version: Option<Version>,
    /// Where an enabled downgrade goes.
    pub downgrade: Option<Version>,
    /// Revision and hash of the state right after the newest compaction. Kept, so that members can be compared at a
    /// point that all of them pass, even after restarts. From cluster version 3.7 on.
    pub compaction: Option<(i64, u128)>,
    /// Active alarms: member and kind.
    pub alarms: BTreeSet<(u64, i32)>,
    /// Ids that were removed; they never return.
    pub removed: BTreeSet<u64>,
    /// Who votes and who learns, as of the last applied entry; joint in the middle of a change.
    pub configuration: Configuration,
}

impl Cluster {
    /// A new cluster of these members.
    pub fn founded(members: BTreeMap<u64, MemberInfo>) -> Cluster {
        let ids = |learner| {
            let chosen = members.iter().filter(move |(_, info)| info.is_learner == learner);
            chosen.map(|(id, _)| NodeId(*id)).collect()
        };
        let configuration = Configuration { voters: ids(false), outgoing: BTreeSet::new(), learners: ids(true) };
        Cluster { members, configuration, ..Cluster::default() }
    }

    /// The level that the cluster version turns on.
    pub fn level(&self) -> Release {
        Release::turned_on_by(self.version)
    }

    /// An alarm of this kind is active somewhere.
    pub fn alarmed(&self, kind: pb::AlarmType) -> bool {
        self.alarms.iter().any(|(_, active)| *active == kind as i32)
    }

    /// As stored in checkpoints and snapshots. Nothing here is newer than the cluster version.
    pub fn to_proto(&self) -> storepb::CheckpointMeta {
        assert!(self.compaction.is_none() || level::COMPACTION_HASH <= self.level(), "stored at this cluster version");
        storepb::CheckpointMeta {
            members: self.members.iter().map(|(id, info)| info.to_proto(*id)).collect(),
            cluster_version: self.version.map(|version| version.to_string()).unwrap_or_default(),
            downgrade_target: self.downgrade.map(|version| version.to_string()).unwrap_or_default(),
            compaction: self.compaction.map(|(revision, hash)| storepb::CompactionHash {
                revision,
                state_hash: hash.to_le_bytes().to_vec().into(),
            }),
            alarms: self.alarms.iter().map(|(id, kind)| storepb::Alarm { member_id: *id, kind: *kind }).collect(),
            voters: self.configuration.voters.iter().map(|id| id.0).collect(),
            outgoing: self.configuration.outgoing.iter().map(|id| id.0).collect(),
            learners: self.configuration.learners.iter().map(|id| id.0).collect(),
            removed: self.removed.iter().copied().collect(),
            ..Default::default()
        }
    }

    /// Back from [`Cluster::to_proto`].
    pub fn from_proto(meta: storepb::CheckpointMeta) -> Cluster {
        let ids = |ids: Vec<u64>| ids.into_iter().map(NodeId).collect();
        let version: Option<Version> = meta.cluster_version.parse().ok();
        let turned_on = level::COMPACTION_HASH <= Release::turned_on_by(version);
        Cluster {
            configuration: Configuration {
                voters: ids(meta.voters),
                outgoing: ids(meta.outgoing),
                learners: ids(meta.learners),
            },
            members: meta.members.into_iter().map(MemberInfo::from_proto).collect(),
            removed: meta.removed.into_iter().collect(),
            version,
            downgrade: meta.downgrade_target.parse().ok(),
            compaction: meta.compaction.filter(|_| turned_on).and_then(|compaction| {
                Some((compaction.revision, u128::from_le_bytes(compaction.state_hash[..].try_into().ok()?)))
            }),
            alarms: meta.alarms.into_iter().map(|a| (a.member_id, a.kind)).collect(),
        }
    }

    fn hash(&self) -> u128 {
        let digest = Sha1::digest(self.to_proto().encode_to_vec());
        u128::from_le_bytes(digest[..16].try_into().expect("20 bytes"))
    }
}

/// The replicated state. Cloning is cheap: the key space is copy-on-write.
#[derive(Clone)]
pub struct State {
    /// Keys, versions, leases.
    pub store: Store,
    cluster: Cluster,
    cluster_hash: u128,
}

impl State {
    /// A state with these parts.
    pub fn new(store: Store, cluster: Cluster) -> State {
        let cluster_hash = cluster.hash();
        State { store, cluster, cluster_hash }
    }

    /// What the cluster knows about itself.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// It, and the entry as of which it is so.
    pub fn members(&self) -> (Index, &Cluster) {
        (Index(self.store.applied().0), &self.cluster)
    }

    /// Changes it.
    pub fn change_cluster(&mut self, change: impl FnOnce(&mut Cluster)) {
        change(&mut self.cluster);
        self.cluster_hash = self.cluster.hash();
    }

    /// Equal on all members at an equal applied index.
    pub fn hash(&self) -> u128 {
        self.store.state_hash() ^ self.cluster_hash
    }
}
