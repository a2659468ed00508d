//! A member with an empty disk: may it found a cluster under its flags, or who is it in the one that runs?
//!
//! The one thing that must never happen is that a member comes back under an id whose promises (votes, accepted
//! entries) went with its disk. So nobody with an empty disk takes an id that the cluster knows to have started.
//!
//! Who asks may meet only members that lag, and have not heard of the start. An answer counts by itself when its giver
//! has confirmed it with the leader. Other answers list the members as the giver's log makes them, committed or not, and
//! count together. The newest log, in the order of Raft's votes, is the *judge*: the others lag behind it, or hold what a
//! leader has dropped. Its list alone is compared with the flags, and says who votes. The others, and itself, are
//! *witnesses*, as far as they vote there and have no name for this member. A voter that has not even heard that this one
//! was added is one of these.
//!
//! What is proven: a committed name is in the logs of a majority of the voters of the configuration that committed it, and
//! stays there. When more than all but a majority of these voters are witnesses, there was no such majority. The judge's
//! voters are these voters when no change lies between the entry that added this member and its name, which is why a
//! leader makes none ([`rules::unnamed`](super::rules::unnamed)), and what comes after the name carries it.
//!
//! What stays open: a start whose name was not committed (it may have voted, and accepted entries); and a change of the
//! voters that was appended in between after all, by a leader that had heard nothing of this member in its reign, and is
//! unknown to the judge, or known to it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_proto::peer::query::Question;
use evenkeel_proto::peer::{Query, QueryAnswer, Replace, WhoIsThere};
use evenkeel_proto::store as pb;
use evenkeel_raft::Mutant;
use futures_util::future::join_all;

use super::{query, sorted};
use crate::ServeError;
use crate::config::Config;
use crate::env::{Env, point};
use crate::member::Ids;
use crate::state::{Cluster, MemberInfo};
use crate::version::release::Version;

/// All peers are asked so often before a joining member gives up: they may be just starting too.
const ROUNDS: usize = 5;
/// Who founds a cluster waits so long for the others: they may not be there yet.
const FOUNDING_PATIENCE: Duration = Duration::from_secs(2);
/// Between two rounds.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// The URLs of the others in `--initial-cluster`.
fn others(config: &Config) -> impl Iterator<Item = &String> {
    config.initial_cluster.iter().filter(|(name, _)| *name != config.name).flat_map(|(_, urls)| urls)
}

fn already_bootstrapped(id: u64) -> ServeError {
    ServeError::Data(format!(
        "member {id:x} has already been bootstrapped, but its data directory is empty. What it promised to the others is \
         gone, so it cannot come back under this id: start it with --initial-cluster-state existing --replace to put a \
         new member in its place, or run `etcdctl member remove {id:x}` and `etcdctl member add` first"
    ))
}

fn in_doubt(id: u64) -> ServeError {
    ServeError::Data(format!(
        "member {id:x} may have been bootstrapped before: its data directory is empty, and those who answer have no \
         leader, may lag, and are too few to know. Start the other members first, so that they have a leader. If this \
         member has had data, start it with --initial-cluster-state existing --replace to put a new member in its place"
    ))
}

/// Of those who have not confirmed what they say, the one with the newest log, in the order of Raft's votes. Equal logs say
/// the same; of members that do not tell where theirs end (an older version's), who knows most members.
fn newest(answers: &[QueryAnswer]) -> Option<&QueryAnswer> {
    answers.iter().max_by_key(|answer| (answer.last_term, answer.last_index, answer.members.len()))
}

/// The voters of the configuration that makes this list: two sets while it is joint, when who is replaced and who takes its
/// vote both have one.
fn deciding(members: &[pb::Member]) -> Vec<BTreeSet<u64>> {
    let voters: BTreeSet<u64> = members.iter().filter(|member| !member.is_learner).map(|member| member.id).collect();
    let but = |left: u64| voters.iter().copied().filter(|id| *id != left).collect();
    match members.iter().find(|member| !member.is_learner && voters.contains(&member.replaces)) {
        Some(successor) => vec![but(successor.id), but(successor.replaces)],
        None => vec![voters],
    }
}

/// Whether so many voters of the judge's list have no name for `own` in their logs that no majority can have one.
fn never_started(judge: &QueryAnswer, answers: &[QueryAnswer], own: u64) -> bool {
    let witnesses: BTreeSet<u64> =
        answers.iter().filter(|answer| !names(answer, own)).map(|answer| answer.from).filter(|id| *id != own).collect();
    deciding(&judge.members).iter().all(|voters| {
        let majority = voters.len() / 2 + 1;
        voters.len().saturating_sub(majority) < voters.intersection(&witnesses).count()
    })
}

fn names(answer: &QueryAnswer, id: u64) -> bool {
    answer.members.iter().any(|member| member.id == id && !member.name.is_empty())
}

/// Refuses to found a cluster that runs already and knows this member. Who finds nobody, or only others that have
/// received nothing yet, founds.
pub async fn may_found(config: &Config, env: &Env, ids: Ids) -> Result<(), ServeError> {
    if config.mutants.on(Mutant::WipedDiskAccepted) {
        return Ok(());
    }
    let question = Query { cluster_id: ids.cluster, from: ids.member, question: Some(who_is_there()) };
    let ask = async |url: &String| {
        tokio::select! {
            biased;
            answer = query::ask(&*env.network, url, &question) => answer.ok(),
            () = env.clock.sleep(FOUNDING_PATIENCE) => None,
        }
    };
    for round in 0..ROUNDS {
        if 0 < round {
            env.clock.sleep(ROUND_PAUSE).await;
        }
        let answers: Vec<QueryAnswer> = join_all(others(config).map(ask)).await.into_iter().flatten().collect();
        if answers.iter().any(|answer| answer.removed) {
            return Err(ServeError::Data(super::REMOVED.into()));
        }
        if answers.iter().any(|answer| names(answer, ids.member)) {
            return Err(already_bootstrapped(ids.member));
        }
        let confirmed = answers.iter().any(|answer| answer.confirmed);
        let runs_already = answers.iter().any(|answer| !answer.log_is_empty);
        // Whom the newest log has removed may have started before that.
        let is_listed = |judge: &&QueryAnswer| judge.members.iter().any(|member| member.id == ids.member);
        let judge = newest(&answers).filter(is_listed);
        if confirmed || !runs_already || judge.is_some_and(|judge| never_started(judge, &answers, ids.member)) {
            return Ok(());
        }
        tracing::warn!("the other members run without a leader; waiting until one of them can tell who this one is");
    }
    Err(in_doubt(ids.member))
}

fn who_is_there() -> Question {
    Question::WhoIsThere(WhoIsThere {})
}

/// Finds out from the others who this member is. Its configuration stays empty until a snapshot has told it everything:
/// it does not campaign, but it votes when asked (a lone voter that added it may need that).
pub async fn existing(config: &Config, env: &Env) -> Result<(Ids, Cluster), ServeError> {
    let question = if config.replace {
        Question::Replace(Replace { peer_urls: config.initial_advertise_peer_urls.clone() })
    } else {
        who_is_there()
    };
    let question = Query { cluster_id: 0, from: 0, question: Some(question) };
    let mut reason = "--initial-cluster names no other member".to_owned();
    let mut verdict = None;
    for round in 0..ROUNDS {
        if 0 < round {
            env.clock.sleep(ROUND_PAUSE).await;
        }
        let (mut refusal, mut answers) = (None, Vec::new());
        for url in others(config) {
            point!(env, "membership.before_ask");
            let answer = query::ask(&*env.network, url, &question).await;
            point!(env, "membership.told");
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(url, %error, "failed to get cluster information");
                    reason = format!("{url}: {error}");
                    continue;
                }
            };
            if !answer.confirmed {
                answers.push(answer);
                continue;
            }
            match matched(config, &answer) {
                Ok(matched) => return Ok(matched),
                Err(error) => refusal = Some(error),
            }
        }
        verdict = match (refusal, newest(&answers).map(|judge| by_logs(config, judge, &answers))) {
            (Some(refusal), _) | (None, Some(Err(refusal))) => Some(refusal),
            (None, Some(Ok(found))) => return Ok(found),
            (None, None) => None,
        };
    }
    if let Some(verdict) = verdict {
        return Err(verdict);
    }
    Err(ServeError::Config(format!(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs ({reason}); \
         check that the members in --initial-cluster run and can be reached"
    )))
}

/// What those say together who have not confirmed it.
fn by_logs(config: &Config, judge: &QueryAnswer, answers: &[QueryAnswer]) -> Result<(Ids, Cluster), ServeError> {
    if let Some(other) = answers.iter().find(|answer| answer.cluster_id != judge.cluster_id) {
        return Err(ServeError::Config(format!(
            "the members in --initial-cluster belong to different clusters, {:x} and {:x}",
            judge.cluster_id, other.cluster_id
        )));
    }
    let found = matched(config, judge)?;
    let own = found.0.member;
    if answers.iter().any(|answer| names(answer, own)) {
        return Err(already_bootstrapped(own));
    }
    if never_started(judge, answers, own) { Ok(found) } else { Err(in_doubt(own)) }
}

/// Matches the cluster with the flags by peer URLs, as etcd does.
fn matched(config: &Config, answer: &QueryAnswer) -> Result<(Ids, Cluster), ServeError> {
    let told: Vec<String> =
        config.initial_cluster.iter().map(|(name, urls)| format!("{name}={}", urls.join(","))).collect();
    let wrong = |why: &str| {
        Err(ServeError::Config(format!(
            "error validating peerURLs {{{}}}: {why}; --initial-cluster must list the members that `etcdctl member list` \
             shows, this one included, with their peer URLs",
            told.join(" ")
        )))
    };
    // Of two with the same URLs the one that takes the other's vote.
    let replaced: BTreeSet<u64> = answer.members.iter().map(|member| member.replaces).collect();
    let newest = || answer.members.iter().filter(|member| !replaced.contains(&member.id));
    if newest().count() != config.initial_cluster.len() {
        return wrong("member count is unequal");
    }
    let mut own = None;
    for member in newest() {
        let urls = sorted(&member.peer_urls);
        let Some((name, _)) = config.initial_cluster.iter().find(|(_, told)| sorted(told) == urls) else {
            return wrong(&format!(
                "unmatched member while checking PeerURLs: nobody there has those of member {:x} ({})",
                member.id,
                urls.join(",")
            ));
        };
        if *name == config.name {
            own = Some(member);
        }
    }
    let Some(own) = own else { return wrong("unmatched member while checking PeerURLs: this one is not a member") };
    if !own.name.is_empty() {
        return Err(already_bootstrapped(own.id));
    }
    let ours = config.release.version();
    if answer.cluster_version.parse::<Version>().is_ok_and(|theirs| ours < theirs) {
        return Err(ServeError::Config(format!(
            "incompatible with current running cluster: it is at version {}, this member at {}; start the cluster's \
             release, or downgrade the cluster first",
            answer.cluster_version,
            config.release.cluster()
        )));
    }
    let ids = Ids { cluster: answer.cluster_id, member: own.id };
    let members: BTreeMap<u64, MemberInfo> = answer.members.iter().cloned().map(MemberInfo::from_proto).collect();
    Ok((ids, Cluster { members, ..Cluster::default() }))
}

#[cfg(test)]
mod tests;
