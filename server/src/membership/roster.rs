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

/// Senders of whom neither log nor state knows, answered at one time. One more takes the place of the longest unheard,
const GUESTS_MAX: usize = 16;
/// unless that was heard within this time: so guests that take turns do not have links opened and closed all the time.
const GUEST_STAY_MIN: Duration = Duration::from_secs(5);
/// A guest unheard for this long is sent nothing more.
const GUEST_STAY_MAX: Duration = Duration::from_secs(60);
/// URLs taken from a guest.
const GUEST_URLS_MAX: usize = 8;
/// Who was removed can still be sent answers for this long.
const FAREWELL: Duration = Duration::from_secs(5);
/// A refusal is logged this often.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Who is answered although neither log nor state knows it.
#[derive(Default)]
struct Guests(BTreeMap<NodeId, Guest>);

struct Guest {
    urls: Vec<String>,
    heard: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Admission {
    /// It can be answered already, or this message does not say where.
    Known,
    /// It is to be reached at other URLs from now on, in the place of somebody else where there was no more room.
    New {
        instead_of: Option<NodeId>,
    },
    Refused,
}

impl Guests {
    fn came(&mut self, from: NodeId, urls: &[String], now: Duration) -> Admission {
        let valid = urls.len() <= GUEST_URLS_MAX && super::urls_are_valid(urls);
        if let Some(guest) = self.0.get_mut(&from) {
            guest.heard = now;
            if !valid || guest.urls == urls {
                return Admission::Known;
            }
            guest.urls = urls.to_vec();
            return Admission::New { instead_of: None };
        }
        if !valid {
            return Admission::Refused;
        }
        let mut instead_of = None;
        if GUESTS_MAX <= self.0.len() {
            let longest = self.0.iter().min_by_key(|(id, guest)| (guest.heard, **id)).expect("not empty");
            if now < longest.1.heard + GUEST_STAY_MIN {
                return Admission::Refused;
            }
            instead_of = Some(*longest.0);
        }
        instead_of.iter().for_each(|guest| _ = self.0.remove(guest));
        self.0.insert(from, Guest { urls: urls.to_vec(), heard: now });
        Admission::New { instead_of }
    }

    /// Lets go of the silent, and names them.
    fn expire(&mut self, now: Duration) -> Vec<NodeId> {
        let silent = self.0.extract_if(.., |_, guest| guest.heard + GUEST_STAY_MAX <= now);
        silent.map(|(id, _)| id).collect()
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Roster {
    /// As last told to the network.
    peers: Vec<Peer>,
    /// What the log and the state know.
    known: BTreeMap<NodeId, Vec<String>>,
    guests: Guests,
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
        let unchanged = !reconfigured && self.version == Some(version);
        if unchanged && self.leaving.is_empty() && self.guests.0.is_empty() {
            return;
        }
        let now = member.now();
        let farewells = self.leaving.len();
        self.leaving.retain(|_, (_, until)| now < *until);
        let silent = self.guests.expire(now);
        silent.iter().for_each(|guest| member.contacts().lost(*guest));
        if unchanged {
            if self.leaving.len() < farewells || !silent.is_empty() {
                self.tell(member);
            }
            return;
        }
        self.version = Some(version);
        let (applied_upto, cluster) = member.known_cluster();
        self.removed.clone_from(&cluster.removed);
        let in_force = raft.configuration().members();
        member.set_out(!in_force.is_empty() && !in_force.contains(&NodeId(member.ids().member)));
        let applied = cluster.members.iter().map(|(id, info)| (NodeId(*id), info.peer_urls.clone()));
        let before = std::mem::take(&mut self.known);
        self.known = in_force.into_iter().map(|id| (id, Vec::new())).chain(applied).collect();
        // The members may not have changed for millions of entries; those are not in memory, nor needed.
        let first = applied_upto.next().max(raft.first_index());
        let log = (first.0..=raft.last_index().0).map(Index);
        for said in log.filter_map(|index| raft.entry(index)).filter_map(|entry| announced(&entry.payload)) {
            if let Some(urls) = self.known.get_mut(&NodeId(said.id)) {
                urls.clone_from(&said.peer_urls);
            }
        }
        let gone = before.into_iter().filter(|(id, _)| self.removed.contains(&id.0) && !self.known.contains_key(id));
        self.leaving.extend(gone.map(|(id, urls)| (id, (urls, now + FAREWELL))));
        self.guests.0.retain(|id, _| !self.known.contains_key(id) && !self.removed.contains(&id.0));
        self.tell(member);
    }

    fn tell(&mut self, member: &Member) {
        let leaving = self.leaving.iter().map(|(id, (urls, _))| (id, urls));
        let guests = self.guests.0.iter().map(|(id, guest)| (id, &guest.urls));
        let others = self.known.iter().chain(guests).chain(leaving).filter(|(id, _)| id.0 != member.ids().member);
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
        if self.known.contains_key(&from) {
            return true;
        }
        match self.guests.came(from, urls, member.now()) {
            Admission::Refused => false,
            Admission::Known => true,
            Admission::New { instead_of } => {
                tracing::info!(peer = %from, ?urls, "hears a member that neither log nor state knows yet");
                instead_of.into_iter().for_each(|guest| member.contacts().lost(guest));
                self.tell(member);
                true
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn url(id: u64) -> Vec<String> {
        vec![format!("http://10.0.0.{id}:2380")]
    }

    /// As many as there may be, the first the longest unheard.
    fn full() -> Guests {
        let mut guests = Guests::default();
        for id in 1..=GUESTS_MAX as u64 {
            assert_eq!(guests.came(NodeId(id), &url(id), at(id)), Admission::New { instead_of: None });
        }
        guests
    }

    #[test]
    fn one_guest_more_takes_the_place_of_the_longest_unheard() {
        let (mut guests, one_more) = (full(), NodeId(99));
        // Answers to it carry no URLs.
        assert_eq!(guests.came(NodeId(1), &[], at(17)), Admission::Known);
        assert_eq!(guests.came(one_more, &url(99), at(6)), Admission::Refused, "all were heard a moment ago");
        assert_eq!(guests.came(one_more, &[], at(17)), Admission::Refused, "it could not be answered");
        assert_eq!(guests.came(one_more, &url(99), at(17)), Admission::New { instead_of: Some(NodeId(2)) });
        assert_eq!(guests.came(NodeId(2), &url(2), at(17)), Admission::New { instead_of: Some(NodeId(3)) });
        assert_eq!(guests.0.len(), GUESTS_MAX);
    }

    #[test]
    fn a_guest_that_moves_needs_no_more_room() {
        let mut guests = full();
        assert_eq!(guests.came(NodeId(1), &url(200), at(1)), Admission::New { instead_of: None });
        assert_eq!(guests.0[&NodeId(1)].urls, url(200));
    }

    #[test]
    fn the_silent_are_sent_nothing_more() {
        let mut guests = full();
        assert_eq!(guests.expire(at(60)), []);
        assert_eq!(guests.expire(at(62)), [NodeId(1), NodeId(2)]);
        assert_eq!(guests.0.len(), GUESTS_MAX - 2);
    }
}
