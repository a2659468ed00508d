//! States and messages in words, for traces.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use evenkeel_raft::*;

use crate::network::Packet;

/// `index@term:what`.
pub fn entry(entry: &Entry) -> String {
    let Entry { term, index, payload } = entry;
    match payload {
        Payload::Empty => format!("{index}@{term}"),
        Payload::Data(data) => format!("{index}@{term}:{}", String::from_utf8_lossy(data)),
        Payload::Config(config) => format!("{index}@{term}:{}", configuration(&config.configuration)),
    }
}

/// Several.
pub fn entries(entries: &[Entry]) -> String {
    let shown: Vec<String> = entries.iter().map(entry).collect();
    format!("[{}]", shown.join(" "))
}

/// `{1 2}`, `{1 2}<-{1 3}` while joint, with ` +{4}` for learners.
pub fn configuration(configuration: &Configuration) -> String {
    let list =
        |ids: &BTreeSet<NodeId>| format!("{{{}}}", ids.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" "));
    let Configuration { voters, outgoing, learners } = configuration;
    let from = if configuration.is_joint() { format!("<-{}", list(outgoing)) } else { String::new() };
    let learning = if learners.is_empty() { String::new() } else { format!(" +{}", list(learners)) };
    format!("{}{from}{learning}", list(voters))
}

/// What a member is.
pub fn standing(standing: &Standing) -> String {
    let Standing { term, role, leader } = standing;
    match (role, leader) {
        (Role::Follower, Some(leader)) => format!("follows n{leader} in term {term}"),
        (role, _) => format!("is {} in term {term}", format!("{role:?}").to_lowercase()),
    }
}

/// What a write holds.
pub fn write(write: &Write) -> String {
    let Write { seq: _, hard_state, snapshot, entries: new, messages } = write;
    let mut text = String::new();
    if let Some(HardState { term, vote }) = hard_state {
        let vote = vote.map_or("nobody".into(), |vote| format!("n{vote}"));
        write!(text, "term {term}, vote for {vote}; ").expect("a string");
    }
    if let Some(meta) = snapshot {
        write!(text, "snapshot {}@{}; ", meta.index, meta.term).expect("a string");
    }
    write!(text, "{}", entries(new)).expect("a string");
    if !messages.is_empty() {
        write!(text, ", then sends {}", messages.len()).expect("a string");
    }
    text
}

/// An answered batch of reads.
pub fn read(read: &ReadState) -> String {
    match read {
        ReadState::Confirmed { context, index } => format!("serves read {} at {index}", context.0),
        ReadState::Dropped { context } => format!("drops read {}", context.0),
    }
}

/// Who says what to whom.
pub fn packet(packet: &Packet) -> String {
    let Packet { from, to, message: Message { term, body } } = packet;
    format!("n{from} -> n{to} t{term} {}", self::body(body))
}

fn body(body: &Body) -> String {
    match body {
        Body::VoteRequest { pre_vote, last_index, last_term, force } => {
            let (kind, forced) = (if *pre_vote { "pre-vote?" } else { "vote?" }, if *force { ", forced" } else { "" });
            format!("{kind} my log ends at {last_index}@{last_term}{forced}")
        }
        Body::VoteResponse { pre_vote, granted } => {
            format!("{} {}", if *pre_vote { "pre-vote" } else { "vote" }, if *granted { "granted" } else { "refused" })
        }
        Body::AppendRequest { prev_index, prev_term, entries: new, commit } => {
            format!("append after {prev_index}@{prev_term} {} commit {commit}", entries(new))
        }
        Body::AppendAccepted { matched } => format!("accepted {matched}"),
        Body::AppendRejected { needs_snapshot: true, .. } => "knows nothing and needs a snapshot".into(),
        Body::AppendRejected { prev_index, hint_index, hint_term, needs_snapshot: false } => {
            format!("rejected {prev_index}, try {hint_index}@{hint_term}")
        }
        Body::Heartbeat { commit, round } => format!("heartbeat {} commit {commit}", round.0),
        Body::HeartbeatResponse { round } => format!("heartbeat {} answered", round.0),
        Body::Snapshot { meta } => {
            format!("snapshot {}@{} {}", meta.index, meta.term, configuration(&meta.configuration))
        }
        Body::ReadRequest { context } => format!("read? {}", context.0),
        Body::ReadResponse { context, index } => format!("read {} at {index}", context.0),
        Body::TimeoutNow => "campaign now".into(),
        Body::Propose { data } => format!("propose {}", String::from_utf8_lossy(data)),
    }
}
