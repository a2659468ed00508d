//! The same state at every level.

use evenkeel_mvcc::{Command, LeaseCheckpoint, LeaseId, Store, Values};

use super::*;
use crate::version::level;

/// No value is read here.
struct Nothing;

impl Values for Nothing {
    type Error = std::convert::Infallible;

    fn load(&self, at: &ValueRef) -> Result<Vec<u8>, Self::Error> {
        panic!("{at:?} is read")
    }
}

/// A state with a lease that was checkpointed and a compaction, as a cluster of `version` would have it.
fn state(version: Release) -> State {
    let cluster = Cluster {
        version: Some(version.version()),
        downgrade: version.below().map(Release::version),
        ..Default::default()
    };
    let mut state = State::new(Store::new(), cluster);
    let checkpoint = LeaseCheckpoint { id: LeaseId(7), remaining_seconds: 40, granted_at: None };
    let mut commands = vec![Command::LeaseGrant { id: LeaseId(7), ttl_seconds: 60 }];
    commands.extend((level::LEASE_TIME <= version).then(|| Command::LeaseCheckpoint(vec![checkpoint])));
    for (index, command) in (1..).zip(commands) {
        let outcome = state.store.apply(index, 1, &command, &Nothing).expect("nothing is read");
        assert!(outcome.result.is_ok());
    }
    level::compacted(&mut state, version);
    state
}

fn written(state: &State, level: Release) -> Vec<(u8, Vec<u8>)> {
    let encode = |record: Record<'_>| {
        let mut bytes = Vec::new();
        (record.encode(&mut bytes), bytes)
    };
    of(state, level).map(encode).collect()
}

fn rebuild(records: &[(u8, Vec<u8>)]) -> Rebuild {
    let mut rebuild = Rebuild::default();
    records.iter().for_each(|(kind, bytes)| rebuild.take(*kind, bytes).expect("as it was written"));
    rebuild
}

#[test]
fn a_state_is_the_same_after_every_level_that_stores_it() {
    for version in Release::ALL {
        let state = state(version);
        for level in Release::ALL.into_iter().filter(|level| version <= *level) {
            let rebuilt = rebuild(&written(&state, level));
            assert_eq!(rebuilt.storage().expect("a version"), level.version());
            let back = rebuilt.finish().expect("whole");
            assert_eq!((back.hash(), back.cluster().downgrade), (state.hash(), state.cluster().downgrade));
        }
    }
}

#[test]
fn levels_differ_in_stored_bytes() {
    let state = state(Release::V3_5);
    let at = Release::ALL.map(|level| written(&state, level));
    assert!(at[0] != at[1] && at[1] != at[2]);
    let kinds = |records: &[(u8, Vec<u8>)]| records.iter().map(|(kind, _)| *kind).collect::<Vec<u8>>();
    assert_eq!(
        at.each_ref().map(|records| kinds(records)),
        [vec![CLUSTER, HEADER, LEASE_WITHOUT_TIME], vec![CLUSTER, HEADER, LEASE], vec![CLUSTER, HEADER, LEASE]]
    );
    let stored = |records: &[(u8, Vec<u8>)]| storepb::CheckpointMeta::decode(&records[0].1[..]).expect("a record");
    assert_eq!(at.each_ref().map(|records| stored(records).storage_version), ["", "3.6.0", "3.7.0"]);
    let newest = self::state(Release::V3_7);
    assert!(stored(&written(&newest, Release::V3_7)).compaction.is_some());
}

#[test]
#[should_panic(expected = "a level stores what the cluster version turns on")]
fn nothing_is_written_below_the_cluster_version() {
    written(&state(Release::V3_7), Release::V3_6);
}
