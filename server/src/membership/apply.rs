//! The state machine's half of a change. Reads nothing but the state and the entry.

use std::iter;

use evenkeel_proto::store as pb;
use evenkeel_raft::{ConfigEntry, Entry, Index, Payload};
use prost::Message;

use super::{Change, MembershipChange, rules};
use crate::error::RequestError;
use crate::state::{Cluster, MemberInfo};

/// What applying a configuration did.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who waits for it; 0 is nobody.
    pub request_id: u64,
    /// Whether the change was made.
    pub result: Result<(), RequestError>,
}

/// The cluster as it was applied, and then as each entry of the log behind that makes it, committed or not.
pub fn logged<'a>(
    (applied, known): (Index, &Cluster),
    log: impl Iterator<Item = &'a Entry>,
) -> impl Iterator<Item = Cluster> {
    let changes = log.filter(move |entry| applied < entry.index).filter_map(|entry| match &entry.payload {
        Payload::Config(change) => Some(change),
        _ => None,
    });
    let known = known.clone();
    iter::once(known.clone()).chain(changes.scan(known, |cluster, change| {
        // What is refused changes nothing; applying it for good says why.
        let _ = apply(cluster, change);
        Some(cluster.clone())
    }))
}

/// Applies an entry that puts a configuration in force. An error means that this member's copy cannot be trusted.
pub fn apply(cluster: &mut Cluster, entry: &ConfigEntry) -> Result<Outcome, String> {
    let told = MembershipChange::decode(&entry.data[..]).map_err(|error| error.to_string())?;
    let result = match &told.change {
        None => Ok(()),
        Some(change) => rules::validate(cluster, change).map(|()| make(cluster, change)),
    };
    let before = std::mem::replace(&mut cluster.configuration, entry.configuration.clone());
    if before.is_joint() {
        let after = entry.configuration.members();
        before.members().difference(&after).for_each(|left| remove(cluster, left.0));
    }
    // Who votes is Raft's to say.
    let Cluster { configuration, members, .. } = cluster;
    for (id, info) in members {
        info.is_learner = configuration.learners.contains(&evenkeel_raft::NodeId(*id));
        info.promote_when_ready &= info.is_learner;
    }
    Ok(Outcome { request_id: told.request_id, result })
}

fn make(cluster: &mut Cluster, change: &Change) {
    match change {
        Change::Add(member) => add(cluster, member),
        Change::Remove(id) => remove(cluster, *id),
        Change::Update(member) => {
            let info = cluster.members.get_mut(&member.id).expect("validated");
            info.peer_urls = super::sorted(&member.peer_urls);
        }
        // The configuration says so. Whom it replaces goes when the joint configuration is left.
        Change::Promote(_) => {}
        Change::Replace(pb::Replacement { old, new }) => {
            let new = new.as_ref().expect("validated");
            let info = &cluster.members[old];
            let replaces = if info.is_learner { info.replaces } else { Some(*old) };
            if info.is_learner {
                remove(cluster, *old);
            }
            add(cluster, new);
            cluster.members.get_mut(&new.id).expect("just added").replaces = replaces;
        }
        Change::Alone(own) => {
            let others: Vec<u64> = cluster.members.keys().copied().filter(|other| *other != own.id).collect();
            others.into_iter().for_each(|other| remove(cluster, other));
            // It may have been removed by an entry that nobody can tell to be committed or not.
            cluster.removed.remove(&own.id);
            cluster.members.entry(own.id).or_insert_with(|| MemberInfo::from_proto(own.clone()).1);
        }
    }
}

fn add(cluster: &mut Cluster, member: &pb::Member) {
    let before = cluster.members.insert(member.id, MemberInfo::added(member));
    assert!(before.is_none() && !cluster.removed.contains(&member.id), "an id is used once");
}

fn remove(cluster: &mut Cluster, id: u64) {
    cluster.members.remove(&id);
    // Who was to take its vote is an ordinary learner, or has it.
    for info in cluster.members.values_mut().filter(|info| info.replaces == Some(id)) {
        info.replaces = None;
    }
    cluster.removed.insert(id);
    // Its alarms go with it: nobody else could take them back.
    cluster.alarms.retain(|(member, _)| *member != id);
}
