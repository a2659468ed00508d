//! When a change may be made: etcd's conditions, in etcd's order.
//!
//! Two kinds. What follows from the state alone ([`validate`]) is checked by the leader and again when the entry is
//! applied, with the same outcome everywhere. What follows from the moment (who is connected, how far a learner is) is
//! the leader's business alone ([`check`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_proto::store as pb;
use evenkeel_raft::{Index, MemberChange, NodeId};

use super::Change;
use crate::error::RequestError;
use crate::state::{Cluster, MemberInfo};

/// A member counts as connected when it was heard without a break for this long.
pub const HEALTHY_FOR: Duration = Duration::from_secs(5);
/// A learner is ready when it holds so many hundredths of what the leader holds.
const READY_PERCENT: u128 = 90;

/// What the leader sees at this moment.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Its term.
    pub term: u64,
    /// Its own id.
    pub own: u64,
    /// The entry of the newest configuration.
    pub configuration_index: Index,
    /// The end of its durable log.
    pub persisted: Index,
    /// How far the others' durable logs agree with it.
    pub matched: BTreeMap<NodeId, Index>,
    /// For how long the others have been heard; absent when they are not.
    pub heard_for: BTreeMap<NodeId, Duration>,
}

/// The leader's own limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `--strict-reconfig-check`
    pub strict: bool,
    /// `--max-learners`
    pub max_learners: usize,
}

/// Whether the leader may propose `change` now.
pub fn check(cluster: &Cluster, health: &Health, limits: Limits, change: &Change) -> Result<(), RequestError> {
    if let Change::Promote(id) = change {
        learner_is_ready(health, *id)?;
    }
    if limits.strict {
        match change {
            Change::Add(member) => may_add(cluster, health, member)?,
            Change::Remove(id) | Change::Replace(pb::Replacement { old: id, .. }) => may_remove(cluster, health, *id)?,
            // It takes a vote, or adds one.
            Change::Promote(id) => may_promote(cluster, *id)?,
            Change::Update(_) | Change::Alone(_) => {}
        }
    }
    validate(cluster, change)?;
    if matches!(change, Change::Replace(replacement) if !can_be_missed(cluster, replacement.old)) {
        return Err(RequestError::NotEnoughStartedMembers);
    }
    // A successor is one per member: a learner that waits for its promotion must not stop the repair of a lost voter.
    let one_more = matches!(change, Change::Add(member) if member.is_learner);
    let learners = cluster.members.values().filter(|info| info.is_learner).count();
    if one_more && limits.max_learners <= learners { Err(RequestError::TooManyLearners) } else { Ok(()) }
}

/// Whether the state allows `change`. Says the same on every member.
pub fn validate(cluster: &Cluster, change: &Change) -> Result<(), RequestError> {
    let known = |id: &u64| cluster.members.get(id).ok_or(RequestError::MemberNotFound);
    match change {
        Change::Add(member) => is_new(cluster, member, None),
        Change::Remove(id) => known(id).map(|_| ()),
        Change::Alone(_) => Ok(()),
        Change::Update(member) => {
            known(&member.id)?;
            urls_are_free(cluster, &member.peer_urls, member.id)
        }
        Change::Promote(id) if known(id)?.is_learner => Ok(()),
        Change::Promote(_) => Err(RequestError::MemberNotLearner),
        Change::Replace(pb::Replacement { old, new }) => {
            known(old)?;
            if cluster.members.values().any(|info| info.replaces == Some(*old)) {
                return Err(RequestError::MemberExists);
            }
            is_new(cluster, new.as_ref().ok_or(RequestError::MemberBadUrls)?, Some(*old))
        }
    }
}

fn is_new(cluster: &Cluster, member: &pb::Member, instead_of: Option<u64>) -> Result<(), RequestError> {
    if cluster.removed.contains(&member.id) {
        return Err(RequestError::MemberNotFound);
    }
    if member.id == 0 || cluster.members.contains_key(&member.id) {
        return Err(RequestError::MemberExists);
    }
    urls_are_free(cluster, &member.peer_urls, instead_of.unwrap_or(member.id))
}

fn urls_are_free(cluster: &Cluster, urls: &[String], but_for: u64) -> Result<(), RequestError> {
    // A member and who will take its vote have the same ones.
    let replaces = |id: &u64| cluster.members.get(id).and_then(|info| info.replaces);
    let shares = |id: &u64| *id == but_for || replaces(id) == Some(but_for) || replaces(&but_for) == Some(*id);
    let mut others = cluster.members.iter().filter(|(id, _)| !shares(id)).flat_map(|(_, info)| &info.peer_urls);
    if others.any(|taken| urls.contains(taken)) { Err(RequestError::PeerUrlExists) } else { Ok(()) }
}

fn voters(cluster: &Cluster) -> impl Iterator<Item = (u64, &MemberInfo)> {
    cluster.members.iter().filter(|(_, info)| !info.is_learner).map(|(id, info)| (*id, info))
}

/// Of so many voters, enough have ever started.
fn enough_started(voters: usize, started: usize) -> Result<(), RequestError> {
    if voters / 2 < started { Ok(()) } else { Err(RequestError::NotEnoughStartedMembers) }
}

fn connected(cluster: &Cluster, health: &Health) -> usize {
    let heard = |id: u64| health.heard_for.get(&NodeId(id)).is_some_and(|time| HEALTHY_FOR <= *time);
    voters(cluster).filter(|(id, _)| *id == health.own || heard(*id)).count()
}

fn may_add(cluster: &Cluster, health: &Health, member: &pb::Member) -> Result<(), RequestError> {
    let all = voters(cluster).count();
    let started = voters(cluster).filter(|(_, info)| info.has_started()).count();
    // One member that grows to two cannot have enough.
    if !member.is_learner && (all, started) != (1, 1) {
        enough_started(all + 1, started)?;
    }
    if connected(cluster, health) < all { Err(RequestError::Unhealthy) } else { Ok(()) }
}

/// A voter that runs, as far as the leader can tell, and whose name is not committed yet. A change of the voters waits for
/// it: members with empty disks are let in under ids that have no name with a majority, and by the voters that they know
/// ([`super::join`]). So there must not be others yet when the name is committed. Whom the change is about it does not
/// wait for: a member that dies before it has its name must not stop its own removal. Normally this takes milliseconds.
pub fn unnamed(cluster: &Cluster, health: &Health, changes: &[MemberChange]) -> Option<u64> {
    let (mut touched, mut voters_move) = (BTreeSet::new(), false);
    for change in changes {
        let (MemberChange::AddVoter(id) | MemberChange::AddLearner(id) | MemberChange::Remove(id)) = change;
        touched.insert(id.0);
        let votes = cluster.members.get(&id.0).is_some_and(|info| !info.is_learner);
        voters_move |= votes || matches!(change, MemberChange::AddVoter(_));
    }
    let runs = |id: u64| {
        let holds_something = health.matched.get(&NodeId(id)).is_some_and(|matched| Index(0) < *matched);
        id == health.own || holds_something || health.heard_for.contains_key(&NodeId(id))
    };
    let mut unnamed = voters(cluster).filter(|(id, info)| !info.has_started() && !touched.contains(id) && runs(*id));
    unnamed.next().filter(|_| voters_move).map(|(id, _)| id)
}

/// Whether the other voters are a quorum without this member. What replaces it is committed by them.
pub fn can_be_missed(cluster: &Cluster, id: u64) -> bool {
    let others = voters(cluster).filter(|(voter, _)| *voter != id).count();
    voters(cluster).count() / 2 < others
}

fn may_remove(cluster: &Cluster, health: &Health, id: u64) -> Result<(), RequestError> {
    if cluster.members.get(&id).is_some_and(|info| info.is_learner) {
        return Ok(());
    }
    let (mut left, mut started) = (0, 0);
    for (_, info) in voters(cluster).filter(|(voter, _)| *voter != id) {
        left += 1;
        started += usize::from(info.has_started());
    }
    enough_started(left, started)?;
    // Who is gone is no part of the active quorum; who has been removed already may be heard for a while.
    let heard = cluster.members.contains_key(&id) && health.heard_for.contains_key(&NodeId(id));
    if id != health.own && !heard {
        return Ok(());
    }
    let needed = 1 + (voters(cluster).count() - 1) / 2;
    if connected(cluster, health) <= needed { Err(RequestError::Unhealthy) } else { Ok(()) }
}

fn may_promote(cluster: &Cluster, id: u64) -> Result<(), RequestError> {
    let replaced = cluster.members.get(&id).and_then(|info| info.replaces);
    let others = || voters(cluster).filter(|(voter, _)| *voter != id && Some(*voter) != replaced);
    enough_started(others().count() + 1, others().filter(|(_, info)| info.has_started()).count() + 1)
}

/// A member that the leader sends to, and that holds nearly everything.
pub fn learner_is_ready(health: &Health, id: u64) -> Result<(), RequestError> {
    if id == health.own {
        return Ok(());
    }
    let matched = health.matched.get(&NodeId(id)).ok_or(RequestError::MemberNotFound)?;
    let ready = u128::from(health.persisted.0) * READY_PERCENT <= u128::from(matched.0) * 100;
    if ready { Ok(()) } else { Err(RequestError::LearnerNotReady) }
}
