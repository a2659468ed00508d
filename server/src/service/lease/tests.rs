use super::super::rig::{self, Asking, Rig};
use super::*;

#[test]
fn a_lease_outlives_an_election() {
    let cases = [(1, 1), (100, 1), (666, 1), (667, 2), (1_000, 2), (1_333, 2), (1_334, 3), (50_000, 75)];
    for (election_ms, seconds) in cases {
        assert_eq!(lease_ttl_min_seconds(Duration::from_millis(election_ms)), seconds, "{election_ms} ms");
    }
}

#[tokio::test]
async fn leases_are_granted_renewed_listed_and_revoked() {
    let rig = Rig::start().await;
    let leases = &rig.services.lease;
    let grant = |ttl, id| leases.lease_grant(Request::new(pb::LeaseGrantRequest { ttl, id }));

    let chosen = grant(-5, 0).await.unwrap().into_inner();
    assert!(0 < chosen.id, "an id was chosen: {}", chosen.id);
    assert_eq!(chosen.ttl, 1, "raised to what outlives an election");
    let negative = grant(60, -7).await.unwrap().into_inner();
    assert_eq!((negative.id, negative.ttl), (-7, 60));
    assert_eq!(grant(60, -7).await.unwrap_err().message(), "etcdserver: lease already exists");
    assert_eq!(grant(9_000_000_001, 0).await.unwrap_err().message(), "etcdserver: too large lease TTL");
    assert_eq!(grant(9_000_000_000, 8).await.unwrap().into_inner().ttl, 9_000_000_000);

    let attach = pb::PutRequest { lease: -7, ..rig::put("k", "v") };
    rig.services.kv.answer_put(attach).await.unwrap();
    let ask = |id| leases.lease_time_to_live(Request::new(pb::LeaseTimeToLiveRequest { id, keys: true }));
    let known = ask(-7).await.unwrap().into_inner();
    assert_eq!((known.granted_ttl, known.keys), (60, vec![rig::bytes("k")]));
    let unknown = ask(99).await.unwrap().into_inner();
    assert_eq!((unknown.ttl, unknown.granted_ttl), (-1, 0));

    let (asking, requests) = Asking::new();
    let mut alive = KeepAlive::new(leases.clone(), requests, Ending::new(&rig.member, true));
    for (id, ttl) in [(-7, 60), (99, 0)] {
        asking.ask(pb::LeaseKeepAliveRequest { id });
        let answer = rig::next(&mut alive).await.unwrap().expect("an answer");
        assert_eq!((answer.id, answer.ttl), (id, ttl));
    }
    drop(asking);
    assert_eq!(rig::next(&mut alive).await.unwrap(), None, "the client is done, so is the stream");

    let revoke = |id| leases.lease_revoke(Request::new(pb::LeaseRevokeRequest { id }));
    revoke(-7).await.unwrap();
    assert_eq!(revoke(-7).await.unwrap_err().message(), "etcdserver: requested lease not found");
    let gone = rig.services.kv.answer_range(rig::range("k", "")).await.unwrap();
    assert_eq!(gone.count, 0);
    let listed = leases.leases().await.unwrap().leases;
    assert!(listed.iter().any(|lease| lease.id == 8) && listed.iter().all(|lease| lease.id != -7), "{listed:?}");
    rig.stop();
}

#[tokio::test]
async fn renewals_of_a_stream_are_answered_in_order() {
    let rig = Rig::start().await;
    let leases = &rig.services.lease;
    let count = 3 * STREAM_RENEWALS_MAX as i64;
    for id in (1..=count).filter(|id| id % 3 != 0) {
        leases.lease_grant(Request::new(pb::LeaseGrantRequest { ttl: 60, id })).await.unwrap();
    }
    let (asking, requests) = Asking::new();
    let mut alive = KeepAlive::new(leases.clone(), requests, Ending::new(&rig.member, true));
    (1..=count).for_each(|id| asking.ask(pb::LeaseKeepAliveRequest { id }));
    drop(asking);
    for id in 1..=count {
        let answer = rig::next(&mut alive).await.unwrap().expect("an answer");
        assert_eq!((answer.id, answer.ttl), (id, if id % 3 == 0 { 0 } else { 60 }));
    }
    assert_eq!(rig::next(&mut alive).await.unwrap(), None);
    rig.stop();
}

#[tokio::test]
async fn a_checkpointed_lease_is_renewed_for_its_whole_time() {
    let rig = Rig::start_with(|config| config.lease_checkpoint_interval = Some(Duration::from_millis(1))).await;
    rig.services.lease.lease_grant(Request::new(pb::LeaseGrantRequest { ttl: 60, id: 7 })).await.unwrap();
    let remaining = || rig.member.view().lease(evenkeel_mvcc::LeaseId(7)).expect("it lives").remaining_seconds;
    let mut applied = rig.member.applied();
    while remaining() == 0 {
        applied.changed().await.expect("the member runs");
    }
    assert_eq!(rig.member.lease_renew(7).await.unwrap(), 60);
    assert_eq!(rig.member.lease_time_to_live(7, false).await.unwrap().granted_ttl, 60);
    rig.stop();
}
