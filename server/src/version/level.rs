//! What belongs to which level: the entries that need it, and what of the state it stores.
//!
//! | from | entries | stored |
//! |---|---|---|
//! | 3.5 | everything else | everything else |
//! | 3.6 | lease checkpoints | the storage version; the remaining time of leases |
//! | 3.7 | the proposing member in the header | the state's hash at the newest compaction |
//!
//! An enabled downgrade is stored at every level, as etcd 3.5 does: the job must survive the fall to 3.5, or the
//! cluster version would rise again at once.
//!
//! Whether an entry has an effect is decided by the cluster version in the state ([`takes_effect`]): a member of a
//! higher release must not do with it what the others cannot.

use evenkeel_proto::etcdserverpb as pb;

use super::release::{Release, Version};
use crate::state::State;

/// The first level that stores its own version.
pub const STORAGE_VERSION: Release = Release::V3_6;
/// The first level that stores the remaining time of leases.
pub const LEASE_TIME: Release = Release::V3_6;
/// The first level whose entries say who proposed them.
pub const PROPOSER: Release = Release::V3_7;
/// The first level that stores the state's hash at the newest compaction.
pub const COMPACTION_HASH: Release = Release::V3_7;

/// The lowest level whose programs understand all of an entry.
pub fn needed_by(request: &pb::InternalRaftRequest) -> Release {
    let named = |version: &str| Release::turned_on_by(version.parse().ok());
    let proposer = request.header.as_ref().is_some_and(|header| header.requester_member_id != 0);
    let parts = [
        proposer.then_some(PROPOSER),
        request.lease_checkpoint.as_ref().map(|_| LEASE_TIME),
        request.cluster_version_set.as_ref().map(|set| named(&set.ver)),
        request.downgrade_version_test.as_ref().map(|test| named(&test.ver)),
    ];
    parts.into_iter().flatten().max().unwrap_or(Release::V3_5)
}

/// Whether a request has an effect at this cluster version.
pub fn takes_effect(request: &pb::InternalRaftRequest, cluster: Release) -> bool {
    request.lease_checkpoint.is_none() || LEASE_TIME <= cluster
}

/// A cluster version was decided, and is applied: what it does not store goes from the state. One that would rise
/// during a downgrade is void, as is one that cannot be read.
pub fn set_cluster_version(state: &mut State, text: &str) {
    let Ok(version) = text.parse::<Version>() else { return };
    let before = state.cluster().version;
    if state.cluster().downgrade.is_some() && before.is_some_and(|before| before < version) {
        return;
    }
    let level = Release::turned_on_by(Some(version));
    state.change_cluster(|cluster| {
        cluster.version = Some(version);
        cluster.compaction = cluster.compaction.filter(|_| COMPACTION_HASH <= level);
    });
    if level < LEASE_TIME {
        state.store.forget_remaining();
    }
    match before {
        None => tracing::info!(cluster_version = %version, "set initial cluster version"),
        Some(from) if from != version => tracing::info!(%from, to = %version, "updated cluster version"),
        Some(_) => {}
    }
}

/// A compaction was applied at this level.
pub fn compacted(state: &mut State, level: Release) {
    if COMPACTION_HASH <= level {
        let (revision, hash) = (state.store.compacted().0, state.hash());
        state.change_cluster(|cluster| cluster.compaction = Some((revision, hash)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Cluster;
    use evenkeel_mvcc::{Command, LeaseCheckpoint, LeaseId, Revision, Store, ValueRef, Values};
    use evenkeel_proto::membershippb;

    fn request(fill: impl FnOnce(&mut pb::InternalRaftRequest)) -> pb::InternalRaftRequest {
        let mut request = pb::InternalRaftRequest::default();
        fill(&mut request);
        request
    }

    fn version_set(text: &str) -> pb::InternalRaftRequest {
        let ver = text.to_owned();
        request(|r| r.cluster_version_set = Some(membershippb::ClusterVersionSetRequest { ver }))
    }

    fn version_test(text: &str) -> pb::InternalRaftRequest {
        let ver = text.to_owned();
        request(|r| r.downgrade_version_test = Some(pb::DowngradeVersionTestRequest { ver }))
    }

    #[test]
    fn entries_need_the_level_of_their_newest_part() {
        let header = |requester_member_id| Some(pb::RequestHeader { requester_member_id, ..Default::default() });
        for (level, request) in [
            (Release::V3_5, request(|r| r.put = Some(pb::PutRequest::default()))),
            (Release::V3_5, request(|r| r.downgrade_info_set = Some(membershippb::DowngradeInfoSetRequest::default()))),
            (Release::V3_5, request(|r| r.header = header(0))),
            (Release::V3_6, request(|r| r.lease_checkpoint = Some(pb::LeaseCheckpointRequest::default()))),
            (Release::V3_7, request(|r| r.header = header(7))),
            (Release::V3_5, version_set("3.0.0")),
            (Release::V3_6, version_set("3.6.0")),
            (Release::V3_7, version_test("3.7.0")),
        ] {
            assert_eq!(needed_by(&request), level, "{request:?}");
        }
    }

    /// No value is read here.
    struct Nothing;

    impl Values for Nothing {
        type Error = std::convert::Infallible;

        fn load(&self, at: &ValueRef) -> Result<Vec<u8>, Self::Error> {
            panic!("{at:?} is read")
        }
    }

    fn state(version: &str) -> State {
        let mut store = Store::new();
        let grant = Command::LeaseGrant { id: LeaseId(7), ttl_seconds: 60 };
        let checkpoint = LeaseCheckpoint { id: LeaseId(7), remaining_seconds: 40, granted_at: None };
        for (index, command) in (1..).zip([grant, Command::LeaseCheckpoint(vec![checkpoint])]) {
            let outcome = store.apply(index, 1, &command, &Nothing).expect("nothing is read");
            assert!(outcome.result.is_ok());
        }
        State::new(store, Cluster { version: version.parse().ok(), ..Cluster::default() })
    }

    fn remaining(state: &State) -> i64 {
        state.store.lease(LeaseId(7)).expect("granted").remaining_seconds
    }

    #[test]
    fn a_falling_cluster_version_takes_what_it_does_not_store_with_it() {
        let mut state = state("3.7.0");
        compacted(&mut state, Release::V3_7);
        assert!(state.cluster().compaction.is_some_and(|(revision, _)| revision == state.store.compacted().0));
        set_cluster_version(&mut state, "3.6.0");
        assert_eq!((state.cluster().compaction, remaining(&state)), (None, 40));
        set_cluster_version(&mut state, "3.5.0");
        assert_eq!(remaining(&state), 0);
        let level = state.cluster().level();
        compacted(&mut state, level);
        assert_eq!(state.cluster().compaction, None);
        assert_eq!(state.store.revision(), Revision(1), "nothing of this is a change of keys");
    }

    #[test]
    fn the_cluster_version_does_not_rise_while_a_downgrade_is_enabled() {
        let mut state = state("3.7.0");
        state.change_cluster(|cluster| cluster.downgrade = Some(Release::V3_6.version()));
        for (text, now) in [("3.7.0", "3.7.0"), ("3.6.0", "3.6.0"), ("3.7.0", "3.6.0"), ("nonsense", "3.6.0")] {
            set_cluster_version(&mut state, text);
            assert_eq!(state.cluster().version.map(|v| v.to_string()).as_deref(), Some(now), "{text}");
        }
        state.change_cluster(|cluster| cluster.downgrade = None);
        set_cluster_version(&mut state, "3.7.0");
        assert_eq!(state.cluster().level(), Release::V3_7);
    }

    #[test]
    fn a_lease_checkpoint_means_nothing_to_a_cluster_of_3_5() {
        let checkpoint = request(|r| r.lease_checkpoint = Some(pb::LeaseCheckpointRequest::default()));
        assert_eq!(Release::ALL.map(|level| takes_effect(&checkpoint, level)), [false, true, true]);
    }
}
