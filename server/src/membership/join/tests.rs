//! How a joining member finds itself in the cluster.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_proto::store as pb;
use evenkeel_raft::NodeId;
use evenkeel_storage::real::RealDisk;
use prost::Message;

use super::*;
use crate::env::{Clock, Inbound, MessageKind, Network, Nobody, Peer};
use crate::queue::Sender;
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
    let (ids, cluster) = matched(&config(), &answer()).expect("it fits");
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
        let refused = matched(&config, &answer).expect_err(reason).to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

/// Those who answer, by URL.
struct Others(BTreeMap<String, QueryAnswer>);

impl Network for Others {
    fn start(&self, _: NodeId, _: u64, _: Sender<Inbound>) {}
    fn set_peers(&self, _: Vec<Peer>) {}
    fn active_peers(&self) -> usize {
        0
    }
    fn send(&self, _: NodeId, _: MessageKind, _: Bytes) {}
    fn query(&self, url: String, _: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>> {
        let answer = self.0.get(&url).map(|answer| answer.encode_to_vec().into());
        Box::pin(std::future::ready(answer.ok_or_else(|| "nobody is there".to_owned())))
    }
}

/// Nobody waits.
struct Hurry;

impl Clock for Hurry {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn wall(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// What one of the others says about the third of `size` members.
#[derive(Clone, Copy)]
enum Says {
    /// It has not started, and there is a leader.
    Unstarted,
    /// Nothing of its start has come here, where there is no leader.
    LagsPerhaps,
    /// As this, nor that it was added.
    Unlisted,
    /// As this, from a learner.
    UnlistedLearner,
    /// As this, from one that has just joined.
    UnlistedJoined,
    /// As this, and no leader was ever heard.
    KnowsNothing,
    /// As this, from one that has just joined.
    Joined,
    Started,
    Nothing,
}

use Says::*;

/// An emptied or fresh third member of as many as there are words and itself.
fn world(says: &[Says]) -> (tempfile::TempDir, Config, Env) {
    let size = says.len() as u64 + 1;
    let learns = |says: &Says| matches!(says, UnlistedLearner | UnlistedJoined);
    let learners: Vec<u64> =
        (1..=size).filter(|n| *n != 3).zip(says).filter_map(|(n, says)| learns(says).then_some(n)).collect();
    let others = (1..=size).filter(|n| *n != 3).zip(says).filter_map(|(n, says)| {
        let member = |m: u64| pb::Member {
            id: 100 + m,
            name: if m != 3 || matches!(says, Started) { format!("n{m}") } else { String::new() },
            peer_urls: url(m),
            is_learner: learners.contains(&m),
            ..Default::default()
        };
        let answer = QueryAnswer {
            cluster_id: 7,
            members: (1..=size)
                .filter(|m| *m != 3 || !(learns(says) || matches!(says, Unlisted)))
                .map(member)
                .collect(),
            from: if matches!(says, Joined | UnlistedJoined) { 0 } else { 100 + n },
            confirmed: matches!(says, Unstarted),
            log_is_empty: matches!(says, KnowsNothing),
            ..QueryAnswer::default()
        };
        (!matches!(says, Nothing)).then(|| (url(n).remove(0), answer))
    });
    let network = Arc::new(Others(others.collect()));
    let dir = tempfile::TempDir::new().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path(), true).unwrap());
    let env = Env { disk, network, clock: Arc::new(Hurry), seed: 1, observer: Arc::new(Nobody) };
    let cluster = (1..=size).map(|n| (format!("n{n}"), url(n))).collect();
    (dir, Config { name: "n3".into(), initial_cluster: cluster, ..Config::default() }, env)
}

const OURS: Ids = Ids { cluster: 7, member: 103 };

fn refusal<T: std::fmt::Debug>(outcome: Result<T, ServeError>) -> Option<&'static str> {
    let text = outcome.err()?.to_string();
    assert!(text.contains("--replace"), "it says what to do: {text}");
    let reasons = ["has already been bootstrapped", "may have been bootstrapped before"];
    Some(reasons.into_iter().find(|reason| text.contains(reason)).expect("one of the two"))
}

const KNOWN: Option<&str> = Some("has already been bootstrapped");
const IN_DOUBT: Option<&str> = Some("may have been bootstrapped before");

#[tokio::test]
async fn an_id_is_taken_only_when_nobody_can_have_seen_it_start() {
    let rows: &[(&[Says], Option<&str>)] = &[
        (&[Unstarted, Nothing], None),
        (&[LagsPerhaps, Unstarted], None),
        (&[Started, Unstarted], None), // That was an earlier one with these URLs.
        (&[LagsPerhaps, Nothing], IN_DOUBT),
        (&[Nothing, LagsPerhaps], IN_DOUBT),
        (&[LagsPerhaps, LagsPerhaps], None),
        (&[LagsPerhaps, Joined], IN_DOUBT),
        (&[LagsPerhaps, Started], KNOWN),
        (&[Started, LagsPerhaps], KNOWN),
        (&[LagsPerhaps, LagsPerhaps, Nothing, Nothing], IN_DOUBT),
        (&[LagsPerhaps, LagsPerhaps, LagsPerhaps, Nothing], None),
    ];
    for (row, (says, expected)) in rows.iter().enumerate() {
        let (_dir, config, env) = world(says);
        let outcome = existing(&config, &env).await;
        assert!(outcome.as_ref().map_or(true, |(ids, _)| *ids == OURS));
        assert_eq!(refusal(outcome), *expected, "row {row}");
    }
}

/// Without this one's vote the others may not get a leader who could confirm anything.
#[tokio::test]
async fn who_has_not_heard_of_the_addition_is_a_witness_once_another_tells_of_it() {
    let known: [&[Says]; 5] = [
        &[LagsPerhaps, Unlisted, Nothing],
        &[Unlisted, LagsPerhaps, Nothing],
        &[LagsPerhaps, UnlistedLearner],
        &[UnlistedLearner, LagsPerhaps],
        &[LagsPerhaps, UnlistedJoined],
    ];
    for says in known {
        let (_dir, config, env) = world(says);
        assert_eq!(existing(&config, &env).await.map_err(|error| error.to_string()).map(|(ids, _)| ids), Ok(OURS));
    }
    let unknown: [&[Says]; 4] =
        [&[Unlisted, Unlisted, Nothing], &[Unlisted, Nothing, Nothing], &[Unlisted; 3], &[UnlistedLearner, Nothing]];
    for says in unknown {
        let (_dir, config, env) = world(says);
        let error = existing(&config, &env).await.expect_err("nobody tells who this one is").to_string();
        assert!(error.contains("member count is unequal"), "{error}");
    }
    let refused: [(&[Says], _); 3] = [
        (&[Started, Unlisted, Nothing], KNOWN),
        (&[Started, UnlistedLearner], KNOWN),
        (&[LagsPerhaps, Nothing, UnlistedLearner], IN_DOUBT),
    ];
    for (says, why) in refused {
        let (_dir, config, env) = world(says);
        assert_eq!(refusal(existing(&config, &env).await), why);
    }
}

#[tokio::test]
async fn a_cluster_is_founded_only_when_it_cannot_have_run_with_this_member() {
    let rows: &[(&[Says], Option<&str>)] = &[
        (&[Nothing, Nothing], None),
        (&[KnowsNothing, Nothing], None),
        (&[KnowsNothing, KnowsNothing], None),
        (&[Unstarted, Nothing], None),
        (&[LagsPerhaps, Nothing], IN_DOUBT),
        (&[LagsPerhaps, KnowsNothing], None),
        (&[LagsPerhaps, LagsPerhaps], None),
        (&[LagsPerhaps, Started], KNOWN),
        (&[LagsPerhaps, LagsPerhaps, Nothing, Nothing], IN_DOUBT),
    ];
    for (row, (says, expected)) in rows.iter().enumerate() {
        let (_dir, config, env) = world(says);
        assert_eq!(refusal(may_found(&config, &env, OURS).await), *expected, "row {row}");
    }
}
