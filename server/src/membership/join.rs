//! A member with an empty disk: may it found a cluster under its flags, or who is it in the one that runs?
//!
//! The one thing that must never happen is that a member comes back under an id whose promises (votes, accepted
//! entries) went with its disk. So nobody with an empty disk takes an id that the cluster knows to have started.
//!
//! Who asks may meet only members that lag, and have not heard of the start. An answer counts by itself when its giver
//! has confirmed it with the leader. Other answers count together: a member that has started has its name in the logs of
//! a majority of the voters, itself perhaps included. So when more than all but a majority of the voters, this one not
//! included, do not have the name, it was never committed (`Witnesses`). A voter that does not even know that this one was
//! added is one of these, once another's answer shows that it was.

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

/// Members in whose logs this one has no name.
#[derive(Default)]
struct Witnesses {
    ids: BTreeSet<u64>,
    voters: usize,
}

impl Witnesses {
    fn add(&mut self, answer: &QueryAnswer, own: u64) {
        let voters = || answer.members.iter().filter(|member| !member.is_learner);
        if answer.from != own && voters().any(|member| member.id == answer.from) {
            self.ids.insert(answer.from);
        }
        self.voters = self.voters.max(voters().count());
    }

    fn are_enough(&self) -> bool {
        let majority = self.voters / 2 + 1;
        self.voters - majority.min(self.voters) < self.ids.len()
    }
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
        let mut witnesses = Witnesses::default();
        let (mut confirmed, mut runs_already) = (false, false);
        for answer in join_all(others(config).map(ask)).await.into_iter().flatten() {
            if answer.removed {
                return Err(ServeError::Data(super::REMOVED.into()));
            }
            if answer.members.iter().any(|member| member.id == ids.member && !member.name.is_empty()) {
                return Err(already_bootstrapped(ids.member));
            }
            confirmed |= answer.confirmed;
            runs_already |= !answer.log_is_empty;
            witnesses.add(&answer, ids.member);
        }
        if confirmed || !runs_already || witnesses.are_enough() {
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
        let (mut refusal, mut witnesses, mut found) = (None, Witnesses::default(), None);
        let mut behind = Vec::new();
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
            match matched(config, &answer) {
                Ok(matched) if answer.confirmed => return Ok(matched),
                Ok(matched) => {
                    witnesses.add(&answer, matched.0.member);
                    let agrees = found.as_ref().is_none_or(|(ids, _)| *ids == matched.0);
                    refusal = refusal.or((!agrees).then(|| in_doubt(matched.0.member)));
                    found = Some(matched);
                }
                Err(error) if is_behind(config, &answer) => behind.push((answer, error)),
                Err(error) => refusal = Some(error),
            }
        }
        // Who has not heard yet that this one was added has not heard of its start either. Only a voter's word counts; that
        // of a learner, or of one that has just joined, is worth as much as silence.
        for (answer, error) in behind {
            match &found {
                Some((ids, known)) if ids.cluster == answer.cluster_id => {
                    if is_voter(known, answer.from) {
                        witnesses.add(&answer, ids.member);
                    }
                }
                _ => refusal = refusal.or(Some(error)),
            }
        }
        verdict = match (refusal, found) {
            (Some(refusal), _) => Some(refusal),
            (None, Some(found)) if witnesses.are_enough() => return Ok(found),
            (None, Some((ids, _))) => Some(in_doubt(ids.member)),
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

fn is_voter(cluster: &Cluster, id: u64) -> bool {
    cluster.members.get(&id).is_some_and(|member| !member.is_learner)
}

/// An answer from before this member was added, perhaps: it knows nobody whom the flags do not name, and not this one.
fn is_behind(config: &Config, answer: &QueryAnswer) -> bool {
    let named = |member: &pb::Member| {
        let urls = sorted(&member.peer_urls);
        config.initial_cluster.iter().any(|(name, told)| *name != config.name && sorted(told) == urls)
    };
    !answer.confirmed && answer.members.iter().all(named)
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
