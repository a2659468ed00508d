//! The driver's view of the other members: whom the network must reach, whom it hears and for how long, and from whom
//! it takes nothing.
//!
//! - The network reaches everybody in the newest configuration of the log and everybody in the applied state: who is
//!   being removed may still be needed to commit that.
//! - Who was removed is refused. Who is merely unknown is not: a member that lags must vote for, and follow, a leader
//!   that was added behind its back. Votes and heartbeats carry their sender's URLs, by which a *guest* can be answered
//!   until the log says who it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_proto::store as pb;
use evenkeel_raft::{Index, NodeId, Payload, Raft};
use prost::Message;

use super::{Change, MembershipChange, rules};
use crate::env::Peer;
use crate::member::Member;

/// Senders of whom neither log nor state knows, answered at one time.
const GUESTS_MAX: usize = 16;
/// URLs taken from a guest.
const GUEST_URLS_MAX: usize = 8;
/// Who was removed can still be sent answers for this long.
const FAREWELL: Duration = Duration::from_secs(5);
/// A refusal is logged this often.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Default)]
pub struct Roster {
    /// As last told to the network.
    peers: Vec<Peer>,
    /// What the log and the state know.
    known: BTreeMap<NodeId, Vec<String>>,
    guests: BTreeMap<NodeId, Vec<String>>,
    /// Removed lately, with the time until which they are sent to.
    leaving: BTreeMap<NodeId, (Vec<String>, Duration)>,
    removed: BTreeSet<u64>,
    /// The state's members as of this change of them.
    version: Option<u64>,
    refusal_logged: Option<Duration>,
}

impl Roster {
    /// Looks again who belongs to the cluster when the applied members, or (`reconfigured`) the log's, have changed.
    pub fn refresh(&mut self, raft: &Raft, member: &Member, reconfigured: bool) {
        let version = member.membership_version();
        let now = member.now();
        let farewells = self.leaving.len();
        self.leaving.retain(|_, (_, until)| now < *until);
        if !reconfigured && self.version == Some(version) {
            if self.leaving.len() < farewells {
                self.tell(member);
            }
            return;
        }
        self.version = Some(version);
        let state = member.state();
        let cluster = state.cluster();
        self.removed.clone_from(&cluster.removed);
        let in_force = raft.configuration().members();
        let applied = cluster.members.iter().map(|(id, info)| (NodeId(*id), info.peer_urls.clone()));
        let before = std::mem::take(&mut self.known);
        self.known = in_force.into_iter().map(|id| (id, Vec::new())).chain(applied).collect();
        let log = (Index(state.store.applied().0).next().0..=raft.last_index().0).map(Index);
        let mut coming = Vec::new();
        for said in log.filter_map(|index| raft.entry(index)).filter_map(|entry| announced(&entry.payload)) {
            if let Some(urls) = self.known.get_mut(&NodeId(said.id)) {
                urls.clone_from(&said.peer_urls);
                if !cluster.members.contains_key(&said.id) {
                    coming.push(said);
                }
            }
        }
        member.set_coming(coming);
        let gone = before.into_iter().filter(|(id, _)| self.removed.contains(&id.0) && !self.known.contains_key(id));
        self.leaving.extend(gone.map(|(id, urls)| (id, (urls, now + FAREWELL))));
        self.guests.retain(|id, _| !self.known.contains_key(id) && !self.removed.contains(&id.0));
        self.tell(member);
    }

    fn tell(&mut self, member: &Member) {
        let leaving = self.leaving.iter().map(|(id, (urls, _))| (id, urls));
        let others = self.known.iter().chain(&self.guests).chain(leaving).filter(|(id, _)| id.0 != member.ids().member);
        let peers: Vec<Peer> = others.map(|(id, urls)| Peer { id: *id, urls: urls.clone() }).collect();
        if self.peers != peers {
            member.env().network.set_peers(peers.clone());
            self.peers = peers;
        }
    }

    /// Whether to read a message of `from`, who says that it listens at `urls`.
    pub fn admits(&mut self, member: &Member, from: NodeId, urls: &[String]) -> bool {
        if self.removed.contains(&from.0) {
            return false;
        }
        if !self.known.contains_key(&from) && self.guests.get(&from).is_none_or(|known| known != urls) {
            let room = self.guests.contains_key(&from) || self.guests.len() < GUESTS_MAX;
            if !room || urls.len() > GUEST_URLS_MAX || !super::urls_are_valid(urls) {
                return self.guests.contains_key(&from);
            }
            tracing::info!(peer = %from, ?urls, "hears a member that neither log nor state knows yet");
            self.guests.insert(from, urls.to_vec());
            self.tell(member);
        }
        true
    }

    /// Whether a refusal should be logged now.
    pub fn may_log_refusal(&mut self, now: Duration) -> bool {
        let due = self.refusal_logged.is_none_or(|at| at + REFUSAL_LOG_INTERVAL <= now);
        if due {
            self.refusal_logged = Some(now);
        }
        due
    }

    /// What the rules of changes want to know.
    pub fn health(&self, raft: &Raft, member: &Member) -> rules::Health {
        let now = member.now();
        let heard = self.peers.iter().filter_map(|peer| Some((peer.id, member.contacts().since(peer.id, now)?)));
        rules::Health {
            term: raft.standing().term.0,
            own: member.ids().member,
            configuration_index: raft.configuration_index(),
            persisted: raft.persisted(),
            matched: raft.progress().map(|(id, progress)| (id, progress.matched)).collect(),
            heard_for: heard.map(|(id, since)| (id, now.saturating_sub(since))).collect(),
        }
    }

    /// The URLs of one of the others, another one each `turn`.
    pub fn somebody(&self, turn: usize) -> Option<String> {
        let urls: Vec<&String> = self.peers.iter().flat_map(|peer| &peer.urls).collect();
        (!urls.is_empty()).then(|| urls[turn % urls.len()].clone())
    }
}

/// The member that an entry describes.
fn announced(payload: &Payload) -> Option<pb::Member> {
    let Payload::Config(config) = payload else { return None };
    match MembershipChange::decode(&config.data[..]).unwrap_or_default().change {
        Some(Change::Add(member) | Change::Update(member)) => Some(member),
        Some(Change::Replace(pb::Replacement { new, .. })) => new,
        _ => None,
    }
}
