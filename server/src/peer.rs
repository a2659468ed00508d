//! The one translator between the core's messages and the bytes that members exchange.
//!
//! Everything that arrives is hostile until it has been read here: wrong cluster, wrong recipient, missing parts
//! and unordered entries are refused with a reason.

use std::collections::BTreeSet;

use bytes::Bytes;
use evenkeel_proto::peer as pb;
use evenkeel_raft::message::{Body, Message, ReadContext, Round};
use evenkeel_raft::types::SnapshotMeta;
use evenkeel_raft::{ConfigEntry, Configuration, Entry, Index, NodeId, Payload, Term};
use prost::Message as _;

use crate::env::MessageKind;
use crate::member::Ids;

/// Entries in one message, above which it is refused before anything is built from it.
const ENTRIES_MAX: usize = 65_536;

/// What an envelope held.
#[derive(Debug)]
pub enum Content {
    /// A message of the core.
    Raft(Message),
    /// A piece of a snapshot.
    SnapshotChunk(pb::SnapshotChunk),
    /// The answer to one.
    SnapshotAck(pb::SnapshotAck),
    /// A question.
    Ask(pb::Ask),
    /// An answer.
    Answer(pb::Answer),
}

/// Why an envelope was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn envelope(ids: Ids, to: NodeId, body: pb::envelope::Body) -> Bytes {
    let envelope =
        pb::Envelope { cluster_id: ids.cluster, from: ids.member, to: to.0, from_urls: Vec::new(), body: Some(body) };
    envelope.encode_to_vec().into()
}

/// Encodes a message of the core. Candidates and leaders say that they listen at `urls`: who hears them may not know
/// them yet.
pub fn encode_raft(ids: Ids, urls: &[String], to: NodeId, message: Message) -> (MessageKind, Bytes) {
    let introduces = matches!(message.body, Body::VoteRequest { .. } | Body::Heartbeat { .. });
    let (kind, body) = raft_body(message.body);
    let raft = pb::Raft { term: message.term.0, body: Some(body) };
    let envelope = pb::Envelope {
        cluster_id: ids.cluster,
        from: ids.member,
        to: to.0,
        from_urls: if introduces { urls.to_vec() } else { Vec::new() },
        body: Some(pb::envelope::Body::Raft(raft)),
    };
    (kind, envelope.encode_to_vec().into())
}

/// Encodes a piece of a snapshot.
pub fn encode_chunk(ids: Ids, to: NodeId, chunk: pb::SnapshotChunk) -> Bytes {
    envelope(ids, to, pb::envelope::Body::SnapshotChunk(chunk))
}

/// Encodes the answer to one.
pub fn encode_ack(ids: Ids, to: NodeId, ack: pb::SnapshotAck) -> Bytes {
    envelope(ids, to, pb::envelope::Body::SnapshotAck(ack))
}

/// Encodes a question.
pub fn encode_ask(ids: Ids, to: NodeId, ask: pb::Ask) -> Bytes {
    envelope(ids, to, pb::envelope::Body::Ask(ask))
}

/// Encodes an answer.
pub fn encode_answer(ids: Ids, to: NodeId, answer: pb::Answer) -> Bytes {
    envelope(ids, to, pb::envelope::Body::Answer(answer))
}

/// Reads an envelope that claims to come from `from`. Where the sender listens, when it says so, and what it says.
pub fn decode(bytes: &Bytes, ids: Ids, from: NodeId) -> Result<(Vec<String>, Content), Refused> {
    let refuse = |reason: String| Err(Refused(reason));
    let envelope = match pb::Envelope::decode(bytes.clone()) {
        Ok(envelope) => envelope,
        Err(error) => return refuse(format!("not an envelope: {error}")),
    };
    if envelope.cluster_id != ids.cluster {
        return refuse(format!("it is of cluster {:x}, this is {:x}", envelope.cluster_id, ids.cluster));
    }
    if envelope.to != ids.member {
        return refuse(format!("it is for member {:x}, this is {:x}", envelope.to, ids.member));
    }
    if envelope.from != from.0 {
        return refuse(format!("it says it is from member {:x}", envelope.from));
    }
    let content = match envelope.body {
        Some(pb::envelope::Body::Raft(raft)) => match raft_message(raft) {
            Ok(message) => Content::Raft(message),
            Err(reason) => return refuse(reason.into()),
        },
        Some(pb::envelope::Body::SnapshotChunk(chunk)) => Content::SnapshotChunk(chunk),
        Some(pb::envelope::Body::SnapshotAck(ack)) => Content::SnapshotAck(ack),
        Some(pb::envelope::Body::Ask(ask)) => Content::Ask(ask),
        Some(pb::envelope::Body::Answer(answer)) => Content::Answer(answer),
        None => return refuse("an empty envelope".into()),
    };
    Ok((envelope.from_urls, content))
}

fn raft_body(body: Body) -> (MessageKind, pb::raft::Body) {
    use pb::raft::Body as B;
    match body {
        Body::VoteRequest { pre_vote, last_index, last_term, force } => (
            MessageKind::Vote,
            B::VoteRequest(pb::VoteRequest { pre_vote, last_index: last_index.0, last_term: last_term.0, force }),
        ),
        Body::VoteResponse { pre_vote, granted } => {
            (MessageKind::Vote, B::VoteResponse(pb::VoteResponse { pre_vote, granted }))
        }
        Body::AppendRequest { prev_index, prev_term, entries, commit } => (
            MessageKind::Append,
            B::AppendRequest(pb::AppendRequest {
                prev_index: prev_index.0,
                prev_term: prev_term.0,
                entries: entries.into_iter().map(to_entry).collect(),
                commit: commit.0,
            }),
        ),
        Body::AppendAccepted { matched } => {
            (MessageKind::Append, B::AppendAccepted(pb::AppendAccepted { matched: matched.0 }))
        }
        Body::AppendRejected { prev_index, hint_index, hint_term, needs_snapshot } => (
            MessageKind::Append,
            B::AppendRejected(pb::AppendRejected {
                prev_index: prev_index.0,
                hint_index: hint_index.0,
                hint_term: hint_term.0,
                needs_snapshot,
            }),
        ),
        Body::Heartbeat { commit, round } => {
            (MessageKind::Heartbeat, B::Heartbeat(pb::Heartbeat { commit: commit.0, round: round.0 }))
        }
        Body::HeartbeatResponse { round } => {
            (MessageKind::Heartbeat, B::HeartbeatResponse(pb::HeartbeatResponse { round: round.0 }))
        }
        Body::Snapshot { meta } => {
            (MessageKind::Snapshot, B::Snapshot(pb::Snapshot { meta: Some(meta_to_proto(&meta)) }))
        }
        Body::ReadRequest { context } => (MessageKind::Read, B::ReadRequest(pb::ReadRequest { context: context.0 })),
        Body::ReadResponse { context, index } => {
            (MessageKind::Read, B::ReadResponse(pb::ReadResponse { context: context.0, index: index.0 }))
        }
        Body::TimeoutNow => (MessageKind::Vote, B::TimeoutNow(pb::TimeoutNow {})),
        Body::Propose { data } => (MessageKind::Propose, B::Propose(pb::Propose { data: Bytes::from_owner(data) })),
    }
}

fn raft_message(raft: pb::Raft) -> Result<Message, &'static str> {
    use pb::raft::Body as B;
    let body = match raft.body.ok_or("a message without content")? {
        B::VoteRequest(m) => Body::VoteRequest {
            pre_vote: m.pre_vote,
            last_index: Index(m.last_index),
            last_term: Term(m.last_term),
            force: m.force,
        },
        B::VoteResponse(m) => Body::VoteResponse { pre_vote: m.pre_vote, granted: m.granted },
        B::AppendRequest(m) => {
            if m.entries.len() > ENTRIES_MAX {
                return Err("too many entries in one message");
            }
            Body::AppendRequest {
                prev_index: Index(m.prev_index),
                prev_term: Term(m.prev_term),
                entries: m.entries.into_iter().map(from_entry).collect(),
                commit: Index(m.commit),
            }
        }
        B::AppendAccepted(m) => Body::AppendAccepted { matched: Index(m.matched) },
        B::AppendRejected(m) => Body::AppendRejected {
            prev_index: Index(m.prev_index),
            hint_index: Index(m.hint_index),
            hint_term: Term(m.hint_term),
            needs_snapshot: m.needs_snapshot,
        },
        B::Heartbeat(m) => Body::Heartbeat { commit: Index(m.commit), round: Round(m.round) },
        B::HeartbeatResponse(m) => Body::HeartbeatResponse { round: Round(m.round) },
        // Only the shell may tell the core that a snapshot is here: after its bytes are.
        B::Snapshot(_) => return Err("a snapshot without its content"),
        B::ReadRequest(m) => Body::ReadRequest { context: ReadContext(m.context) },
        B::ReadResponse(m) => Body::ReadResponse { context: ReadContext(m.context), index: Index(m.index) },
        B::TimeoutNow(pb::TimeoutNow {}) => Body::TimeoutNow,
        B::Propose(m) => Body::Propose { data: m.data.as_ref().into() },
    };
    Ok(Message { term: Term(raft.term), body })
}

fn to_entry(entry: Entry) -> pb::Entry {
    let (data, empty, configuration) = match entry.payload {
        Payload::Empty => (Bytes::new(), true, None),
        Payload::Data(data) => (Bytes::from_owner(data), false, None),
        Payload::Config(config) => {
            (Bytes::copy_from_slice(&config.data), false, Some(configuration_to_proto(&config.configuration)))
        }
    };
    pb::Entry { term: entry.term.0, index: entry.index.0, data, empty, configuration }
}

fn from_entry(entry: pb::Entry) -> Entry {
    let data = entry.data.as_ref();
    let payload = match &entry.configuration {
        Some(configuration) => {
            let configuration = configuration_from_proto(configuration);
            Payload::Config(ConfigEntry { configuration, data: data.into() }.into())
        }
        None if entry.empty => Payload::Empty,
        None => Payload::Data(data.into()),
    };
    Entry { term: Term(entry.term), index: Index(entry.index), payload }
}

/// A snapshot's name on the wire.
pub fn meta_to_proto(meta: &SnapshotMeta) -> pb::SnapshotMeta {
    pb::SnapshotMeta {
        index: meta.index.0,
        term: meta.term.0,
        configuration: Some(configuration_to_proto(&meta.configuration)),
    }
}

fn configuration_to_proto(configuration: &Configuration) -> pb::Configuration {
    let ids = |members: &BTreeSet<NodeId>| members.iter().map(|id| id.0).collect();
    let Configuration { voters, outgoing, learners } = configuration;
    pb::Configuration { voters: ids(voters), outgoing: ids(outgoing), learners: ids(learners) }
}

fn configuration_from_proto(configuration: &pb::Configuration) -> Configuration {
    let ids = |members: &[u64]| members.iter().copied().map(NodeId).collect();
    let pb::Configuration { voters, outgoing, learners } = configuration;
    Configuration { voters: ids(voters), outgoing: ids(outgoing), learners: ids(learners) }
}

/// Back from [`meta_to_proto`].
pub fn meta_from_proto(meta: &pb::SnapshotMeta) -> SnapshotMeta {
    SnapshotMeta {
        index: Index(meta.index),
        term: Term(meta.term),
        configuration: meta.configuration.as_ref().map(configuration_from_proto).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Ids = Ids { cluster: 7, member: 1 };
    const THEIRS: Ids = Ids { cluster: 7, member: 2 };

    fn samples() -> Vec<Body> {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
        let configuration = Configuration { voters: ids(&[1, 2]), outgoing: ids(&[1, 3]), learners: ids(&[3]) };
        let joint = ConfigEntry { configuration, data: [7; 9].into() };
        let entries = vec![
            Entry { term: Term(2), index: Index(5), payload: Payload::Empty },
            Entry { term: Term(2), index: Index(6), payload: Payload::Data([1, 2, 3].into()) },
            Entry { term: Term(2), index: Index(7), payload: Payload::Data([].into()) },
            Entry { term: Term(2), index: Index(8), payload: Payload::Config(joint.into()) },
        ];
        vec![
            Body::VoteRequest { pre_vote: true, last_index: Index(9), last_term: Term(3), force: false },
            Body::VoteResponse { pre_vote: false, granted: true },
            Body::AppendRequest { prev_index: Index(4), prev_term: Term(1), entries, commit: Index(4) },
            Body::AppendAccepted { matched: Index(7) },
            Body::AppendRejected {
                prev_index: Index(9),
                hint_index: Index(3),
                hint_term: Term(1),
                needs_snapshot: true,
            },
            Body::Heartbeat { commit: Index(4), round: Round(11) },
            Body::HeartbeatResponse { round: Round(11) },
            Body::ReadRequest { context: ReadContext(u64::MAX) },
            Body::ReadResponse { context: ReadContext(1), index: Index(4) },
            Body::Propose { data: [9; 40].into() },
            Body::TimeoutNow,
        ]
    }

    #[test]
    fn every_message_survives_the_wire() {
        for body in samples() {
            let message = Message { term: Term(3), body };
            let (_, bytes) = encode_raft(THEIRS, &[], NodeId(1), message.clone());
            match decode(&bytes, IDS, NodeId(2)) {
                Ok((_, Content::Raft(back))) => assert_eq!(back, message),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn strangers_are_refused() {
        let message = || Message { term: Term(1), body: Body::HeartbeatResponse { round: Round(1) } };
        let check = |sender: Ids, to: u64, from: u64, reason: &str| {
            let (_, bytes) = encode_raft(sender, &[], NodeId(to), message());
            let refused = decode(&bytes, IDS, NodeId(from)).expect_err("refused");
            assert!(refused.to_string().contains(reason), "{refused}");
        };
        check(Ids { cluster: 8, member: 2 }, 1, 2, "of cluster 8");
        check(THEIRS, 3, 2, "for member 3");
        check(THEIRS, 1, 4, "from member 2");
    }

    #[test]
    fn garbage_is_refused() {
        for length in 0..64u8 {
            let bytes: Bytes = (0..length).map(|i| i.wrapping_mul(37).wrapping_add(length)).collect();
            assert!(decode(&bytes, IDS, NodeId(2)).is_err());
        }
    }
}
