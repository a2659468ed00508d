//! What members tell each other, for the ledger: a promise that leaves before its bytes are durable is a violation.

use bytes::Bytes;
use evenkeel_check::observation::{Observation, Promise};
use evenkeel_check::{Index, MemberId, Term};
use evenkeel_proto::peer::raft::Body;
use evenkeel_proto::peer::{Envelope, envelope};
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
    let Ok(Envelope { to, body: Some(envelope::Body::Raft(raft)), .. }) = Envelope::decode(bytes.clone()) else {
        return;
    };
    let term = Term(raft.term);
    let promise = match raft.body {
        // Vouches for no entry: a member that knows a newer term says so to a leader that does not.
        Some(Body::AppendAccepted(said)) if said.matched == 0 => return,
        Some(Body::AppendAccepted(said)) => Promise::AppendAccepted { matched: Index(said.matched), term },
        // These vouch for nothing that a member could contradict after forgetting its newest term: whoever refused
        // has not voted, and whoever answers a leader's heartbeat did not elect it by that.
        Some(Body::AppendRejected(_) | Body::HeartbeatResponse(_) | Body::ReadRequest(_) | Body::Propose(_)) => return,
        Some(Body::VoteResponse(said)) if said.pre_vote || !said.granted => return,
        Some(Body::VoteResponse(_)) => Promise::VoteGranted { term, to: names.member(to) },
        Some(Body::VoteRequest(said)) if said.pre_vote => return,
        Some(Body::VoteRequest(_)) => Promise::VoteGranted { term, to: member },
        _ => Promise::Message { term },
    };
    feed.observe(Observation::Promised { member, promise });
}
