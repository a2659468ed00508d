//! Messages under way.
//!
//! Each link is a queue. A delivery takes any message of it: those before it are lost, which costs nothing, or stay for
//! later ("overtaken"), or the message itself stays and comes again ("repeated"); both are counted. So loss is free, and
//! with enough counted deliveries every order is possible.
//!
//! An answer of a term that its receiver's *disk* has left behind is taken away at once: terms never go back, and
//! [`Network::forget_stale`] checks that the core really takes no notice of it.

use std::sync::Arc;

use evenkeel_raft::*;

use crate::hash::fingerprint;
use crate::member::Member;

/// One message under way.
#[derive(Debug, Hash)]
pub struct Packet {
    /// Its sender.
    pub from: NodeId,
    /// Its receiver.
    pub to: NodeId,
    /// What it says.
    pub message: Message,
}

/// All messages under way, in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub struct Network {
    packets: Vec<(u64, Arc<Packet>)>,
}

/// What becomes of the message delivered and of those before it on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Those before it are lost.
    InOrder,
    /// Those before it stay.
    Overtakes,
    /// It stays, to come again; those before it are lost.
    Repeats,
}

impl Network {
    /// Takes a message; the oldest of its link is lost when there are more than `link_max`.
    pub fn send(&mut self, packet: Packet, link_max: usize) {
        // (A snapshot is never lost this way: its sender would have to hear of it.)
        let is_on_link = |(_, other): &(u64, Arc<Packet>)| {
            (other.from, other.to) == (packet.from, packet.to) && !matches!(other.message.body, Body::Snapshot { .. })
        };
        if self.packets.iter().filter(|other| is_on_link(other)).count() >= link_max
            && let Some(oldest) = self.packets.iter().position(is_on_link)
        {
            self.packets.remove(oldest);
        }
        self.packets.push((fingerprint(&packet), Arc::new(packet)));
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The message at a position.
    pub fn get(&self, at: usize) -> &Packet {
        &self.packets[at].1
    }

    /// Whether another message of its link was sent before.
    pub fn has_older(&self, at: usize) -> bool {
        let (from, to) = self.link(at);
        (0..at).any(|older| self.link(older) == (from, to))
    }

    /// Whether an equal message of its link was sent before: delivering that one does the same.
    pub fn has_equal_before(&self, at: usize) -> bool {
        self.packets[..at].iter().any(|(hash, _)| *hash == self.packets[at].0)
    }

    fn link(&self, at: usize) -> (NodeId, NodeId) {
        let packet = self.get(at);
        (packet.from, packet.to)
    }

    /// Takes a message out; returns it and what was lost for it.
    pub fn deliver(&mut self, at: usize, fate: Fate) -> (Arc<Packet>, Vec<Arc<Packet>>) {
        let packet = self.packets[at].1.clone();
        let mut lost = Vec::new();
        let mut position = 0;
        self.packets.retain(|(_, other)| {
            let is_chosen = position == at;
            let is_older = position < at && (other.from, other.to) == (packet.from, packet.to);
            position += 1;
            match fate {
                Fate::Overtakes => !is_chosen,
                Fate::InOrder | Fate::Repeats if is_older => {
                    lost.push(other.clone());
                    false
                }
                Fate::InOrder => !is_chosen,
                Fate::Repeats => true,
            }
        });
        (packet, lost)
    }

    /// Takes away what can have no effect any more.
    pub fn forget_stale(&mut self, members: &[Arc<Member>]) {
        self.packets.retain(|(hash, packet)| {
            let receiver = &members[packet.to.0 as usize - 1];
            let is_stale = is_answer(&packet.message.body) && packet.message.term < receiver.disk.hard_state.term;
            // The check costs a step, and each message comes by on many paths.
            if is_stale && hash.is_multiple_of(8) {
                let mut member = Member::clone(receiver);
                member.raft.step(Input::Message { from: packet.from, message: packet.message.clone() });
                assert!(member.raft.take_ready().is_none(), "a stale answer has an effect");
                member.seal();
                assert_eq!(member.fingerprint, receiver.fingerprint, "a stale answer has an effect");
            }
            !is_stale
        });
    }

    /// Whether `other` holds the same and perhaps more. Only a step apart: order within links is kept.
    pub fn is_part_of(&self, other: &Network) -> bool {
        let mut theirs = other.packets.iter();
        self.packets.iter().all(|(hash, _)| theirs.any(|(other, _)| other == hash))
    }

    /// Equal for networks that hold the same on each link in the same order.
    pub fn fingerprint(&self) -> u64 {
        let mut links: Vec<((NodeId, NodeId), u64)> = Vec::with_capacity(self.packets.len());
        for (hash, packet) in &self.packets {
            let link = (packet.from, packet.to);
            match links.iter_mut().find(|(other, _)| *other == link) {
                Some((_, so_far)) => *so_far = fingerprint(&(*so_far, *hash)),
                None => links.push((link, *hash)),
            }
        }
        links.iter().fold(0, |sum: u64, (_, link)| sum.wrapping_add(fingerprint(link)))
    }
}

fn is_answer(body: &Body) -> bool {
    match body {
        Body::VoteResponse { .. }
        | Body::AppendAccepted { .. }
        | Body::AppendRejected { .. }
        | Body::HeartbeatResponse { .. }
        | Body::ReadRequest { .. }
        | Body::ReadResponse { .. }
        | Body::TimeoutNow
        | Body::Propose { .. } => true,
        Body::VoteRequest { .. } | Body::AppendRequest { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } => false,
    }
}
