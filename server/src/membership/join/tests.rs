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
            last_term: 1,
            last_index: match says {
                KnowsNothing | Joined | UnlistedJoined => 0,
                Unlisted | UnlistedLearner => 1,
                Unstarted | LagsPerhaps | Started | Nothing => 2,
            },
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

/// A member in somebody's list: the last digit of its id says where it listens.
fn listed(id: u64, name: &str) -> pb::Member {
    pb::Member { id, name: name.into(), peer_urls: url(id % 10), ..pb::Member::default() }
}

/// What `from` says, whose log ends there.
fn says(from: u64, end: (u64, u64), members: &[pb::Member]) -> QueryAnswer {
    let (last_term, last_index) = end;
    QueryAnswer { cluster_id: 7, from, members: members.to_vec(), last_term, last_index, ..QueryAnswer::default() }
}

/// The fourth of four asks: whom it finds itself to be, or why not.
fn judged(answers: &[QueryAnswer]) -> Result<u64, String> {
    let cluster = (1..=4).map(|n| (format!("n{n}"), url(n))).collect();
    let config = Config { name: "n4".into(), initial_cluster: cluster, ..Config::default() };
    let judge = newest(answers).expect("somebody answers");
    by_logs(&config, judge, answers).map(|(ids, _)| ids.member).map_err(|error| error.to_string())
}

fn three() -> Vec<pb::Member> {
    [101, 102, 103].map(|id| listed(id, "started")).into()
}

fn with(mut members: Vec<pb::Member>, member: pb::Member) -> Vec<pb::Member> {
    members.push(member);
    members
}

#[test]
fn the_newest_log_is_the_judge() {
    let (now, fourth) = (with(three(), listed(104, "")), || listed(104, ""));
    // The third is dead, and the others need this one's vote.
    let lags: [&[pb::Member]; 5] = [
        &now,
        &three(),
        &with(three(), listed(105, "removed since")),
        &with(three(), listed(94, "removed since, with these URLs")),
        &with(three(), pb::Member { peer_urls: url(9), ..fourth() }),
    ];
    for lagging in lags {
        for (first, second) in [(101, 102), (102, 101)] {
            let answers = [says(first, (2, 9), &now), says(second, (2, 8), lagging)];
            assert_eq!(judged(&answers), Ok(104), "{lagging:?}");
            let answers = [says(second, (1, 12), lagging), says(first, (2, 9), &now)];
            assert_eq!(judged(&answers), Ok(104), "a longer log of an earlier term lags: {lagging:?}");
        }
        let alone = judged(&[says(101, (2, 9), &now)]).expect_err("one of four, of which three decide");
        assert!(alone.contains("may have been bootstrapped before"), "{alone}");
    }
    // Who lags has the name: then it is committed, perhaps.
    let named = with(three(), listed(104, "n4"));
    let started = judged(&[says(101, (2, 9), &now), says(102, (2, 8), &named)]).expect_err("it has started");
    assert!(started.contains("member 68 has already been bootstrapped"), "{started}");
}

#[test]
fn whom_the_newest_log_has_removed_stays_out() {
    let before = with(three(), listed(104, ""));
    let refused = judged(&[says(101, (2, 9), &three()), says(102, (2, 8), &before)]).expect_err("removed");
    assert!(refused.contains("member count is unequal"), "{refused}");
}

#[test]
fn whom_the_newest_log_has_promoted_is_counted() {
    let learner = pb::Member { is_learner: true, ..listed(103, "n3") };
    let stale = [listed(101, "n1"), listed(102, "n2"), learner, listed(104, "")];
    let now = with(three(), listed(104, ""));
    assert_eq!(judged(&[says(101, (2, 8), &stale), says(102, (2, 8), &stale)]), Ok(104));
    // The one that was promoted is a witness; the judge's voters are four, and one witness does not do.
    assert_eq!(judged(&[says(101, (2, 8), &stale), says(103, (2, 9), &now)]), Ok(104));
    assert!(judged(&[says(103, (2, 9), &now)]).is_err());
}

#[test]
fn both_halves_of_a_joint_configuration_need_witnesses() {
    let successor = pb::Member { replaces: 103, ..listed(203, "new") };
    let joint = [listed(101, "a"), listed(102, "b"), listed(103, "old"), successor.clone(), listed(104, "")];
    let ends = |ids: &[u64]| ids.iter().map(|id| says(*id, (2, 9), &joint)).collect::<Vec<_>>();
    let rows: [(&[u64], bool); 4] =
        [(&[101, 102], true), (&[101, 103], false), (&[101, 203], false), (&[101, 103, 203], true)];
    for (who, enough) in rows {
        let answers = ends(who);
        assert_eq!(never_started(&answers[0], &answers, 104), enough, "{who:?}");
    }
    let learner = pb::Member { is_learner: true, ..successor };
    let before = [listed(101, "a"), listed(102, "b"), listed(103, "old"), learner, listed(104, "")];
    assert_eq!(deciding(&before), [[101, 102, 103, 104].into()]);
}

#[test]
fn members_of_another_cluster_tell_nothing() {
    let now = with(three(), listed(104, ""));
    let stranger = QueryAnswer { cluster_id: 8, ..says(102, (1, 1), &three()) };
    let refused = judged(&[says(101, (2, 9), &now), stranger]).expect_err("two clusters");
    assert!(refused.contains("belong to different clusters"), "{refused}");
}

#[test]
fn of_members_that_do_not_say_where_their_logs_end_who_knows_most_is_the_judge() {
    let now = with(three(), listed(104, ""));
    for answers in
        [[says(101, (0, 0), &now), says(102, (0, 0), &three())], [says(101, (0, 0), &three()), says(102, (0, 0), &now)]]
    {
        assert_eq!(judged(&answers), Ok(104));
    }
}
