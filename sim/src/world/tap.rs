//! What members tell each other, for the ledger: a promise that leaves before its bytes are durable is a violation.

use bytes::Bytes;
use evenkeel_check::observation::{Observation, Promise};
use evenkeel_check::{Index, MemberId, Term};
use evenkeel_proto::peer::{VoteRequest, VoteResponse};
use prost::Message;

use super::feed::Feed;
use super::names::Names;
use super::words;
use crate::chain::Value;
use crate::net::{Fate, NetEvent};
use evenkeel::env::MessageKind;
use serde_json::json;

/// Reports one event of the network.
pub fn report(feed: &Feed, names: &Names, event: &NetEvent<'_>) {
    let (name, from, to, kind, bytes, id, fate) = match event {
        NetEvent::Sent { id, from, to, kind, bytes, fate, .. } => (
            if !matches!(fate, Fate::Arrives(_) | Fate::ArrivesTwice(_)) { "lost" } else { "send" },
            from,
            to,
            kind,
            bytes,
            id,
            fate.name(),
        ),
        NetEvent::Arrived { id, from, to, kind, bytes, taken, .. } => {
            ("arrive", from, to, kind, bytes, id, if *taken { "taken" } else { "full" })
        }
        NetEvent::Troubled { id, rule } => {
            return feed.aside("trouble", || {
                let (from, to) = (names.number(rule.from.0), names.number(rule.to.0));
                let kinds: Vec<&str> = rule.kinds.names().collect();
                json!({"id": id.0, "what": rule.effect.name(), "from": from, "to": to, "kinds": kinds})
            });
        }
        NetEvent::Relieved { id } => return feed.aside("relief", || json!({"id": id.0})),
        NetEvent::Reset { member, peer, .. } => {
            let fields = [("node", Value::U64(names.number(member.0))), ("peer", Value::U64(names.number(peer.0)))];
            return feed.log("reset", &fields);
        }
    };
    let numbers = (names.number(from.0), names.number(to.0));
    let fields = [
        ("from", Value::U64(numbers.0)),
        ("to", Value::U64(numbers.1)),
        ("kind", Value::Text(kind.name())),
        ("bytes", Value::U64(bytes.len() as u64)),
    ];
    feed.log_with(name, &fields, || {
        let mut told = if name == "arrive" { json!({}) } else { words::message(bytes, names) };
        (told["id"], told["fate"]) = ((*id).into(), fate.into());
        told
    });
    if let NetEvent::Arrived { kind, taken: true, .. } = event {
        feed.coverage().message(numbers.0, numbers.1, *kind);
    }
    if let NetEvent::Sent { kind, bytes, .. } = event {
        promised(feed, names, MemberId(numbers.0), *kind, bytes);
    }
}

fn promised(feed: &Feed, names: &Names, member: MemberId, kind: MessageKind, bytes: &Bytes) {
    if matches!(kind, MessageKind::Snapshot | MessageKind::Ask | MessageKind::Propose) {
        return;
    }
    let Ok(Glimpse { to, raft: Some(said) }) = Glimpse::decode(&bytes[..]) else {
        return;
    };
    let term = Term(said.term);
    let promise = match said {
        // Vouches for no entry: a member that knows a newer term says so to a leader that does not.
        Said { append_accepted: Some(Accepted { matched: 0 }), .. } => return,
        Said { append_accepted: Some(Accepted { matched }), .. } => {
            Promise::AppendAccepted { matched: Index(matched), term }
        }
        // These vouch for nothing that a member could contradict after forgetting its newest term: whoever refused
        // has not voted, and whoever answers a leader's heartbeat did not elect it by that.
        Said { append_rejected: Some(_), .. }
        | Said { heartbeat_response: Some(_), .. }
        | Said { read_request: Some(_), .. } => return,
        Said { vote_response: Some(said), .. } if said.pre_vote || !said.granted => return,
        Said { vote_response: Some(_), .. } => Promise::VoteGranted { term, to: names.member(to) },
        Said { vote_request: Some(said), .. } if said.pre_vote => return,
        Said { vote_request: Some(_), .. } => Promise::VoteGranted { term, to: member },
        _ => Promise::Message { term },
    };
    feed.observe(Observation::Promised { member, promise });
}

/// What the ledger must know of an `Envelope`, with its field numbers: entries and addresses are passed over.
#[derive(Clone, Copy, PartialEq, Message)]
struct Glimpse {
    #[prost(uint64, tag = "3")]
    to: u64,
    #[prost(message, optional, tag = "4")]
    raft: Option<Said>,
}

/// Likewise of a `Raft`, of which one content is set at most.
#[derive(Clone, Copy, PartialEq, Message)]
struct Said {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, optional, tag = "2")]
    vote_request: Option<VoteRequest>,
    #[prost(message, optional, tag = "3")]
    vote_response: Option<VoteResponse>,
    #[prost(message, optional, tag = "5")]
    append_accepted: Option<Accepted>,
    #[prost(message, optional, tag = "6")]
    append_rejected: Option<Anything>,
    #[prost(message, optional, tag = "8")]
    heartbeat_response: Option<Anything>,
    #[prost(message, optional, tag = "10")]
    read_request: Option<Anything>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Accepted {
    #[prost(uint64, tag = "1")]
    matched: u64,
}

/// Only that it is there.
#[derive(Clone, Copy, PartialEq, Message)]
struct Anything {}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_proto::peer::raft::Body;
    use evenkeel_proto::peer::{
        AppendAccepted, AppendRejected, Envelope, Heartbeat, HeartbeatResponse, Raft, ReadRequest, envelope,
    };

    #[test]
    fn a_glimpse_sees_what_an_envelope_says() {
        let glimpse = |body: Body| {
            let raft = Raft { term: 300, body: Some(body) };
            let urls = vec!["http://n1:2380".to_owned()];
            let body = Some(envelope::Body::Raft(raft));
            let bytes = Envelope { cluster_id: 7, from: 1, to: u64::MAX, from_urls: urls, body }.encode_to_vec();
            let Glimpse { to, raft } = Glimpse::decode(&bytes[..]).unwrap();
            let said = raft.unwrap();
            assert_eq!((to, said.term), (u64::MAX, 300));
            said
        };
        let vote = VoteRequest { pre_vote: true, last_index: 9, last_term: 3, force: false };
        assert_eq!(glimpse(Body::VoteRequest(vote)).vote_request, Some(vote));
        let vote = VoteResponse { pre_vote: false, granted: true };
        assert_eq!(glimpse(Body::VoteResponse(vote)).vote_response, Some(vote));
        let said = glimpse(Body::AppendAccepted(AppendAccepted { matched: 5 }));
        assert_eq!(said.append_accepted, Some(Accepted { matched: 5 }));
        let said = glimpse(Body::AppendAccepted(AppendAccepted { matched: 0 }));
        assert_eq!(said.append_accepted, Some(Accepted { matched: 0 }));
        let rejected = AppendRejected { prev_index: 9, hint_index: 3, hint_term: 1, needs_snapshot: true };
        assert!(glimpse(Body::AppendRejected(rejected)).append_rejected.is_some());
        assert!(glimpse(Body::HeartbeatResponse(HeartbeatResponse { round: 1 })).heartbeat_response.is_some());
        assert!(glimpse(Body::ReadRequest(ReadRequest { context: 1 })).read_request.is_some());
        assert_eq!(glimpse(Body::Heartbeat(Heartbeat { commit: 4, round: 1 })), Said { term: 300, ..Said::default() });
    }
}
