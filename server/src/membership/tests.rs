//! The rules, row by row.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_proto::store as pb;
use evenkeel_raft::{ConfigEntry, Configuration, Entry, Index, NodeId, Payload, Term};
use prost::Message;

use super::rules::{self, HEALTHY_FOR, Health, Limits, check};
use super::{Change, MembershipChange, apply, for_raft, member_id, urls_are_valid};
use crate::error::RequestError::{self, *};
use crate::state::{Cluster, MemberInfo};

fn url(id: u64) -> Vec<String> {
    vec![format!("http://10.0.0.{id}:2380")]
}

fn record(id: u64, is_learner: bool) -> pb::Member {
    pb::Member { id, peer_urls: url(id), is_learner, ..pb::Member::default() }
}

/// Members by their ids: `v` is a voter, `V` one that has started, `l` and `L` learners.
fn cluster(members: &[(u64, char)]) -> Cluster {
    let info = |kind: char| MemberInfo {
        name: if kind.is_uppercase() { "started".into() } else { String::new() },
        is_learner: kind.eq_ignore_ascii_case(&'l'),
        ..MemberInfo::default()
    };
    let known = members.iter().map(|&(id, kind)| (id, MemberInfo { peer_urls: url(id), ..info(kind) }));
    Cluster::founded(known.collect())
}

/// Member 1 leads, hears these members for so many seconds, and they hold so many of its 100 entries.
fn health(heard: &[(u64, u64, u64)]) -> Health {
    Health {
        term: 1,
        own: 1,
        configuration_index: Index(1),
        persisted: Index(100),
        matched: heard.iter().map(|&(id, _, matched)| (NodeId(id), Index(matched))).collect(),
        heard_for: heard.iter().map(|&(id, seconds, _)| (NodeId(id), Duration::from_secs(seconds))).collect(),
    }
}

/// The members, whom the leader hears, what is asked for, and what comes of it.
type Row<A> = (&'static [(u64, char)], &'static [(u64, u64, u64)], A, Result<(), RequestError>);

const STRICT: Limits = Limits { strict: true, max_learners: 1 };
const THREE: [(u64, char); 3] = [(1, 'V'), (2, 'V'), (3, 'V')];
const ALL_HEARD: [(u64, u64, u64); 2] = [(2, 5, 100), (3, 5, 100)];

fn add(id: u64) -> Change {
    Change::Add(record(id, false))
}

fn learner(id: u64) -> Change {
    Change::Add(record(id, true))
}

#[test]
fn a_member_is_added_when_enough_have_started_and_all_voters_are_connected() {
    let rows: &[Row<Change>] = &[
        (&THREE, &ALL_HEARD, add(4), Ok(())),
        (&THREE, &ALL_HEARD, learner(4), Ok(())),
        (&THREE, &[(2, 5, 100), (3, 4, 100)], add(4), Err(Unhealthy)),
        (&THREE, &[(2, 5, 100)], learner(4), Err(Unhealthy)),
        (&[(1, 'V')], &[], add(2), Ok(())),
        (&[(1, 'V'), (2, 'v')], &[], add(3), Err(NotEnoughStartedMembers)),
        (&[(1, 'V'), (2, 'V'), (3, 'v')], &ALL_HEARD, add(4), Err(NotEnoughStartedMembers)),
        (&[(1, 'V'), (2, 'V'), (3, 'v')], &ALL_HEARD, learner(4), Ok(())),
        (&[(1, 'V'), (2, 'l')], &[], learner(3), Err(TooManyLearners)),
        (&THREE, &ALL_HEARD, add(3), Err(MemberExists)),
        (&THREE, &ALL_HEARD, Change::Add(pb::Member { peer_urls: url(3), ..record(4, false) }), Err(PeerUrlExists)),
    ];
    for (members, heard, change, expected) in rows {
        assert_eq!(check(&cluster(members), &health(heard), STRICT, change), *expected, "{members:?} {change:?}");
    }
}

#[test]
fn a_member_is_removed_when_the_others_are_a_quorum_that_is_connected() {
    const TWO: [(u64, char); 2] = [(1, 'V'), (2, 'V')];
    let rows: &[Row<u64>] = &[
        (&THREE, &ALL_HEARD, 3, Ok(())),
        (&THREE, &ALL_HEARD, 1, Ok(())),
        (&THREE, &[(2, 5, 100)], 3, Ok(())), // It is down.
        (&THREE, &[(2, 5, 100)], 2, Err(Unhealthy)),
        (&THREE, &[(2, 5, 100), (3, 1, 100)], 2, Err(Unhealthy)),
        (&THREE, &ALL_HEARD, 9, Err(MemberNotFound)),
        (&[(1, 'V'), (3, 'V')], &[(3, 1, 100), (2, 1, 100)], 2, Err(MemberNotFound)), // It left just now.
        (&TWO, &[(2, 5, 100)], 2, Ok(())),
        (&[(1, 'V'), (2, 'v')], &[], 2, Ok(())),
        (&[(1, 'V'), (2, 'v')], &[], 1, Err(NotEnoughStartedMembers)),
        (&[(1, 'V')], &[], 1, Err(NotEnoughStartedMembers)),
        (&[(1, 'V'), (2, 'l')], &[], 2, Ok(())),
    ];
    for (members, heard, id, expected) in rows {
        let outcome = check(&cluster(members), &health(heard), STRICT, &Change::Remove(*id));
        assert_eq!(outcome, *expected, "{members:?} heard {heard:?}: remove {id}");
    }
}

#[test]
fn a_learner_is_promoted_when_it_holds_nine_tenths() {
    let with_learner = [(1, 'V'), (2, 'V'), (3, 'L')];
    let rows = [
        (3, 100, Ok(())),
        (3, 90, Ok(())),
        (3, 89, Err(LearnerNotReady)),
        (2, 100, Err(MemberNotLearner)),
        (9, 100, Err(MemberNotFound)),
    ];
    for (id, matched, expected) in rows {
        let health = health(&[(2, 5, 100), (3, 5, matched)]);
        assert_eq!(
            check(&cluster(&with_learner), &health, STRICT, &Change::Promote(id)),
            expected,
            "{id} at {matched}"
        );
    }
    let unstarted = [(1, 'V'), (2, 'v'), (4, 'v'), (5, 'v'), (3, 'L')];
    let outcome = check(&cluster(&unstarted), &health(&ALL_HEARD), STRICT, &Change::Promote(3));
    assert_eq!(outcome, Err(NotEnoughStartedMembers));
}

#[test]
fn without_strict_checks_only_the_state_decides() {
    let lax = Limits { strict: false, max_learners: 1 };
    assert_eq!(check(&cluster(&THREE), &health(&[]), lax, &add(4)), Ok(()));
    assert_eq!(check(&cluster(&THREE), &health(&[]), lax, &Change::Remove(2)), Ok(()));
    assert_eq!(check(&cluster(&THREE), &health(&[]), lax, &add(3)), Err(MemberExists));
}

#[test]
fn a_replacement_needs_what_a_removal_and_an_addition_need() {
    let replace = |old, new| {
        let new = pb::Member { peer_urls: url(old), ..record(new, true) };
        Change::Replace(pb::Replacement { old, new: Some(new) })
    };
    let heard = health(&[(2, 5, 100)]);
    assert_eq!(check(&cluster(&THREE), &heard, STRICT, &replace(3, 4)), Ok(()));
    assert_eq!(check(&cluster(&THREE), &heard, STRICT, &replace(2, 4)), Err(Unhealthy));
    assert_eq!(check(&cluster(&THREE), &heard, STRICT, &replace(3, 1)), Err(MemberExists));
    assert_eq!(check(&cluster(&THREE), &heard, STRICT, &replace(9, 4)), Err(MemberNotFound));
    // Two of two decide, and the one that is replaced is gone.
    assert_eq!(check(&cluster(&[(1, 'V'), (2, 'v')]), &heard, STRICT, &replace(2, 4)), Err(NotEnoughStartedMembers));
    let with_learner = [(1, 'V'), (2, 'V'), (3, 'V'), (5, 'l')];
    assert_eq!(check(&cluster(&with_learner), &heard, STRICT, &replace(3, 4)), Ok(()));
    assert_eq!(check(&cluster(&with_learner), &heard, STRICT, &replace(5, 4)), Ok(()));
}

#[test]
fn a_change_of_the_voters_waits_for_the_name_of_a_voter_that_runs() {
    const NAMELESS: [(u64, char); 4] = [(1, 'V'), (2, 'V'), (3, 'V'), (4, 'v')];
    const HEARD: [(u64, u64, u64); 1] = [(4, 0, 0)];
    const HOLDS: [Index; 2] = [Index(0), Index(1)];
    let waits = |members: &[(u64, char)], health: &Health, change: &Change| {
        let cluster = cluster(members);
        rules::unnamed(&cluster, health, &for_raft(&cluster, change))
    };
    for change in [Change::Remove(1), Change::Remove(2), add(5)] {
        assert_eq!(waits(&NAMELESS, &health(&HEARD), &change), Some(4), "{change:?}");
        // As with etcd, who was added may be started later.
        assert_eq!(waits(&NAMELESS, &health(&[]), &change), None, "{change:?}");
        for (held, expected) in HOLDS.into_iter().zip([None, Some(4)]) {
            let lost = Health { matched: [(NodeId(4), held)].into(), ..health(&[]) };
            assert_eq!(waits(&NAMELESS, &lost, &change), expected, "{change:?}");
        }
        assert_eq!(waits(&THREE, &health(&ALL_HEARD), &change), None, "{change:?}");
        assert_eq!(waits(&[(1, 'v'), (2, 'V'), (3, 'V')], &health(&[]), &add(5)), Some(1), "the leader runs");
    }
    // Nobody comes to vote, or goes.
    let learns = [(1, 'V'), (2, 'V'), (3, 'V'), (4, 'v'), (5, 'l')];
    for change in [Change::Remove(5), Change::Update(record(2, false)), learner(6), replace(3, 6)] {
        assert_eq!(waits(&learns, &health(&HEARD), &change), None, "{change:?}");
    }
    // Its own removal does not wait, nor does a successor's promotion.
    assert_eq!(waits(&NAMELESS, &health(&HEARD), &Change::Remove(4)), None);
    assert_eq!(waits(&learns, &health(&HEARD), &Change::Promote(5)), Some(4));
    let mut replaced = cluster(&learns);
    replaced.members.get_mut(&5).unwrap().replaces = Some(4);
    assert_eq!(rules::unnamed(&replaced, &health(&HEARD), &for_raft(&replaced, &Change::Promote(5))), None);
    assert_eq!(
        waits(&[(1, 'V'), (4, 'l')], &health(&HEARD), &add(5)),
        None,
        "a learner without a name decides nothing"
    );
}

/// Applies a change as the leader of a cluster would have it proposed.
fn applied(cluster: &mut Cluster, change: Change) -> Result<(), RequestError> {
    let ids = |learns: bool, cluster: &Cluster| {
        cluster.members.iter().filter(|(_, m)| m.is_learner == learns).map(|(id, _)| NodeId(*id)).collect()
    };
    let before: std::collections::BTreeSet<NodeId> = ids(false, cluster);
    let mut configuration =
        Configuration { voters: before.clone(), learners: ids(true, cluster), ..Default::default() };
    for change in for_raft(cluster, &change) {
        use evenkeel_raft::MemberChange::*;
        let (AddVoter(id) | AddLearner(id) | Remove(id)) = change;
        configuration.voters.remove(&id);
        configuration.learners.remove(&id);
        match change {
            AddVoter(id) => _ = configuration.voters.insert(id),
            AddLearner(id) => _ = configuration.learners.insert(id),
            Remove(_) => {}
        }
    }
    if 1 < configuration.voters.symmetric_difference(&before).count() {
        configuration.outgoing = before;
    }
    let told = MembershipChange { request_id: 7, change: Some(change) };
    let entry = ConfigEntry { configuration, data: told.encode_to_vec().into() };
    let outcome = apply::apply(cluster, &entry).expect("it can be decoded");
    assert_eq!(outcome.request_id, 7);
    outcome.result
}

/// As the leader leaves a joint configuration.
fn left(cluster: &mut Cluster) {
    let entry = ConfigEntry { configuration: cluster.configuration.left(), ..ConfigEntry::default() };
    assert_eq!(apply::apply(cluster, &entry), Ok(apply::Outcome { request_id: 0, result: Ok(()) }));
}

fn replace(old: u64, new: u64) -> Change {
    let place = if old < 4 { old } else { 3 };
    let new = pb::Member { promote_when_ready: true, peer_urls: url(place), ..record(new, true) };
    Change::Replace(pb::Replacement { old, new: Some(new) })
}

fn ids(cluster: &Cluster) -> Vec<u64> {
    cluster.members.keys().copied().collect()
}

#[test]
fn who_is_replaced_votes_until_its_successor_takes_the_vote_in_a_joint_change() {
    let mut cluster = cluster(&THREE);
    assert_eq!(applied(&mut cluster, replace(3, 4)), Ok(()));
    assert_eq!((ids(&cluster), cluster.members[&4].replaces), (vec![1, 2, 3, 4], Some(3)));
    assert_eq!(applied(&mut cluster, replace(3, 5)), Err(MemberExists));
    let mut cluster = Cluster::from_proto(cluster.to_proto());
    // Its disk is lost as well: the next one inherits the place.
    assert_eq!(applied(&mut cluster, replace(4, 5)), Ok(()));
    assert_eq!((ids(&cluster), cluster.members[&5].replaces), (vec![1, 2, 3, 5], Some(3)));
    assert!(!cluster.configuration.is_joint());
    assert_eq!(check(&cluster, &health(&[(2, 5, 100), (5, 5, 100)]), STRICT, &Change::Promote(5)), Ok(()));
    assert_eq!(applied(&mut cluster, Change::Promote(5)), Ok(()));
    assert!(cluster.configuration.is_joint() && !cluster.members[&5].is_learner);
    assert_eq!(ids(&cluster), [1, 2, 3, 5], "the old half counts");
    let mut cluster = Cluster::from_proto(cluster.to_proto());
    left(&mut cluster);
    assert_eq!((ids(&cluster), cluster.members[&5].replaces), (vec![1, 2, 5], None));
    assert_eq!(cluster.removed, [3, 4].into());
}

#[test]
fn the_successor_of_who_was_removed_meanwhile_is_a_learner_like_any_other() {
    let mut cluster = cluster(&THREE);
    assert_eq!(applied(&mut cluster, replace(3, 4)), Ok(()));
    assert_eq!(applied(&mut cluster, Change::Remove(3)), Ok(()));
    assert_eq!(cluster.members[&4].replaces, None);
    assert_eq!(applied(&mut cluster, Change::Promote(4)), Ok(()));
    assert!(!cluster.configuration.is_joint() && !cluster.members[&4].is_learner);
}

#[test]
fn a_removed_id_never_returns_and_survives_a_checkpoint() {
    let mut cluster = cluster(&THREE);
    assert_eq!(applied(&mut cluster, Change::Remove(3)), Ok(()));
    assert_eq!(applied(&mut cluster, Change::Remove(3)), Err(MemberNotFound));
    let mut back = Cluster::from_proto(cluster.to_proto());
    assert_eq!(back.removed, [3].into());
    assert_eq!(applied(&mut back, add(3)), Err(MemberNotFound));
    assert_eq!(ids(&back), [1, 2]);
}

#[test]
fn members_learn_are_promoted_move_and_are_replaced() {
    let mut cluster = cluster(&THREE);
    assert_eq!(applied(&mut cluster, replace(3, 4)), Ok(()));
    assert!(cluster.members[&4].is_learner && cluster.members[&4].promote_when_ready);
    assert_eq!(Cluster::from_proto(cluster.to_proto()).members, cluster.members);
    assert_eq!(applied(&mut cluster, Change::Promote(4)), Ok(()));
    left(&mut cluster);
    assert!(!cluster.members[&4].is_learner && !cluster.members[&4].promote_when_ready);
    assert_eq!(applied(&mut cluster, Change::Promote(4)), Err(MemberNotLearner));
    let moved = pb::Member { peer_urls: vec!["http://b:1".into(), "http://a:1".into()], ..record(2, false) };
    assert_eq!(applied(&mut cluster, Change::Update(moved)), Ok(()));
    assert_eq!(cluster.members[&2].peer_urls, ["http://a:1", "http://b:1"]);
    let taken = pb::Member { peer_urls: vec!["http://a:1".into()], ..record(1, false) };
    assert_eq!(applied(&mut cluster, Change::Update(taken)), Err(PeerUrlExists));
    let own = cluster.members[&4].to_proto(4);
    assert_eq!(applied(&mut cluster, Change::Alone(own.clone())), Ok(()));
    assert_eq!(ids(&cluster), [4]);
    assert_eq!(cluster.removed, [1, 2, 3].into());
    assert_eq!(applied(&mut cluster, Change::Remove(4)), Ok(()));
    assert_eq!(applied(&mut cluster, Change::Alone(own.clone())), Ok(()));
    assert_eq!((cluster.members[&4].to_proto(4), cluster.removed), (own, [1, 2, 3].into()));
}

#[test]
fn the_log_behind_the_applied_entries_says_who_belongs_to_the_cluster() {
    let known = cluster(&[(1, 'V'), (2, 'V'), (3, 'l'), (5, 'V')]);
    let entry = |index, voters: &[u64], change| {
        let voters = voters.iter().copied().map(NodeId).collect();
        let told = MembershipChange { request_id: 7, change: Some(change) };
        let configuration = Configuration { voters, ..Configuration::default() };
        let payload = ConfigEntry { configuration, data: told.encode_to_vec().into() };
        Entry { term: Term(1), index: Index(index), payload: Payload::Config(payload.into()) }
    };
    let moved = pb::Member { peer_urls: url(9), ..record(4, false) };
    let log = [
        entry(10, &[1, 2], Change::Remove(1)), // Applied, and not to be applied again.
        entry(11, &[1, 2], Change::Remove(5)),
        entry(12, &[1, 2, 4], add(4)),
        entry(13, &[1, 2, 4], Change::Update(moved)),
        entry(14, &[1, 2, 3, 4], Change::Promote(3)),
    ];
    let newest = apply::logged((Index(10), &known), log.iter()).last().expect("the known one at least");
    assert_eq!(ids(&newest), [1, 2, 3, 4]);
    assert_eq!(newest.members[&4].peer_urls, url(9));
    assert!(!newest.members[&3].is_learner, "the promotion counts");
    let before = apply::logged((Index(10), &known), [].iter()).last().expect("the known one at least");
    assert_eq!(before.members, known.members);
}

#[test]
fn a_configuration_that_says_nothing_about_members_changes_none() {
    let mut cluster = cluster(&THREE);
    let entry = ConfigEntry { configuration: cluster.configuration.clone(), ..ConfigEntry::default() };
    let before = cluster.members.clone();
    assert_eq!(apply::apply(&mut cluster, &entry), Ok(apply::Outcome { request_id: 0, result: Ok(()) }));
    assert_eq!(cluster.members, before);
    let garbage = ConfigEntry { data: [0xff; 3].into(), ..entry };
    assert!(apply::apply(&mut cluster, &garbage).is_err());
}

/// As etcd 3.7.3 computes it: no token, and the second.
#[test]
fn the_id_of_a_later_member_depends_on_the_second() {
    let urls = ["http://127.0.0.1:12380".to_owned()];
    let at = |seconds| member_id(&urls, "", Some(Duration::from_secs(seconds)));
    assert_ne!(at(1_700_000_000), at(1_700_000_001));
    assert_eq!(at(1_700_000_000), member_id(&urls, "1700000000", None));
}

#[test]
fn urls_of_members_have_a_scheme_a_host_and_a_port() {
    let rows = BTreeMap::from([
        ("http://10.0.0.1:2380", true),
        ("https://name.example:2380", true),
        ("http://[::1]:2380", true),
        ("unix://localhost:2380", true),
        ("10.0.0.1:2380", false),
        ("ftp://10.0.0.1:2380", false),
        ("http://10.0.0.1", false),
        ("http://:2380", false),
        ("http://10.0.0.1:2380/path", false),
        ("http://10.0.0.1:99999", false),
        ("", false),
    ]);
    for (url, valid) in rows {
        assert_eq!(urls_are_valid(&[url.to_owned()]), valid, "{url}");
    }
    assert!(!urls_are_valid(&[]));
}

#[test]
fn five_seconds_make_a_connection_healthy() {
    assert_eq!(HEALTHY_FOR, Duration::from_secs(5));
}
