//! How a joining member finds itself in the cluster.

use evenkeel_proto::store as pb;

use super::*;
use crate::version::Release;

fn url(number: u64) -> Vec<String> {
    vec![format!("http://10.0.0.{number}:2380")]
}

fn config() -> Config {
    let cluster = (1..=3).map(|n| (format!("n{n}"), url(n))).collect();
    Config { name: "n3".into(), initial_cluster: cluster, ..Config::default() }
}

fn answer() -> QueryAnswer {
    let member =
        |n: u64, name: &str| pb::Member { id: 100 + n, name: name.into(), peer_urls: url(n), ..Default::default() };
    QueryAnswer {
        cluster_id: 7,
        cluster_version: "3.7.0".into(),
        members: vec![member(2, "b"), member(1, "a"), member(3, "")],
        ..QueryAnswer::default()
    }
}

#[test]
fn it_takes_the_id_of_the_member_with_its_urls_and_votes_for_nobody() {
    let (ids, cluster) = matched(&config(), answer()).expect("it fits");
    assert_eq!(ids, Ids { cluster: 7, member: 103 });
    assert_eq!(cluster.members.keys().copied().collect::<Vec<_>>(), [101, 102, 103]);
    assert!(cluster.configuration.members().is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    type Change = fn(&mut Config, &mut QueryAnswer);
    let rows: [(Change, &str); 6] = [
        (|_, answer| drop(answer.members.pop()), "member count is unequal"),
        (|_, answer| answer.members[0].peer_urls = url(9), "unmatched member while checking PeerURLs"),
        (|config, _| config.name = "n9".into(), "this one is not a member"),
        (|_, answer| answer.members[2].name = "c".into(), "member 67 has already been bootstrapped"),
        (|config, _| config.release = Release::V3_6, "incompatible with current running cluster"),
        (|_, answer| answer.members[2].name = "c".into(), "--replace"),
    ];
    for (change, reason) in rows {
        let (mut config, mut answer) = (config(), answer());
        change(&mut config, &mut answer);
        let refused = matched(&config, answer).expect_err(reason).to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}
