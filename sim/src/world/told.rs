//! Requests and answers in words: those of a scenario's `ops`, so that what the event log tells can be asked again.

use std::fmt::Write as _;

use evenkeel_check::LeaseId;
use evenkeel_check::history::{self, Body, DeleteReply, KeyRange, KeyValue, Outcome, RangeReply, Request};
use evenkeel_scenario::ops::{Ask, Guard, Keys, Of, Read, Relation, Txn, WATCH_FOR, WatchFor, When};

use super::feed::doubt_name;

/// So many keys of an answer are told.
const KEYS_TOLD: usize = 4;
/// So many bytes of a value are told: they name its writer.
const VALUE_TOLD: usize = 12;

/// What a client asks.
pub fn asked(request: &Request) -> String {
    ask(request).to_string()
}

/// What a watch asks.
pub fn watched(request: &history::WatchRequest) -> String {
    let watch = WatchFor {
        keys: keys(&request.keys),
        when: when(request.start.0),
        hold: WATCH_FOR,
        prev_kv: request.prev_kv,
        progress: request.progress_notify,
        fragment: request.fragment,
        no_put: request.filters.no_put,
        no_delete: request.filters.no_delete,
    };
    Ask::Watch(watch).to_string()
}

fn ask(request: &Request) -> Ask {
    match request {
        Request::Put(wanted) => put(wanted),
        Request::Range(wanted) => Ask::Read(read(wanted)),
        Request::DeleteRange(wanted) => Ask::Delete { keys: keys(&wanted.keys), prev_kv: wanted.prev_kv },
        Request::Txn(wanted) => Ask::Txn(txn(wanted)),
        Request::Compact { revision } => Ask::Compact(When::Revision(revision.0)),
        Request::LeaseGrant { lease, ttl } => Ask::Grant { name: "new".to_owned(), ttl: *ttl, id: lease.0 },
        Request::LeaseRevoke { lease } => Ask::Revoke(lease_name(*lease)),
        Request::LeaseKeepAlive { lease } => Ask::KeepAlive(lease_name(*lease)),
        Request::LeaseTimeToLive { lease, .. } => Ask::TimeToLive(lease_name(*lease)),
        Request::LeaseLeases => Ask::Leases,
    }
}

fn lease_name(lease: LeaseId) -> String {
    format!("L{}", lease.0)
}

fn keys(keys: &KeyRange) -> Keys {
    Keys { from: keys.key.to_vec(), to: keys.end.to_vec() }
}

fn when(revision: i64) -> When {
    if revision == 0 { When::Now } else { When::Revision(revision) }
}

fn put(put: &history::Put) -> Ask {
    let lease = (put.lease != LeaseId::NONE).then(|| lease_name(put.lease));
    Ask::Put { key: put.key.to_vec(), lease, size: put.value.len() as u64, prev_kv: put.prev_kv }
}

fn read(range: &history::Range) -> Read {
    Read {
        keys: keys(&range.keys),
        when: when(range.revision.0),
        limit: range.limit,
        serializable: range.serializable,
        count_only: range.count_only,
        keys_only: range.keys_only,
        descending: range.sort_order == history::SortOrder::Descend,
    }
}

fn txn(txn: &history::Txn) -> Txn {
    let ask = |op: &history::TxnOp| match op {
        history::TxnOp::Put(wanted) => put(wanted),
        history::TxnOp::Range(wanted) => Ask::Read(read(wanted)),
        history::TxnOp::DeleteRange(wanted) => Ask::Delete { keys: keys(&wanted.keys), prev_kv: wanted.prev_kv },
        history::TxnOp::Txn(inner) => Ask::Txn(self::txn(inner)),
    };
    Txn {
        guards: txn.compares.iter().filter_map(guard).collect(),
        then: txn.success.iter().map(ask).collect(),
        otherwise: txn.failure.iter().map(ask).collect(),
    }
}

/// Conditions on values and leases have no words: they are left out.
fn guard(compare: &history::Compare) -> Option<Guard> {
    let (of, number) = match &compare.target {
        history::Target::Version(number) => (Of::Version, *number),
        history::Target::Created(revision) => (Of::Created, revision.0),
        history::Target::Modified(revision) => (Of::Modified, revision.0),
        _ => return None,
    };
    let relation = match compare.relation {
        history::Relation::Equal => Relation::Equal,
        history::Relation::Greater => Relation::Greater,
        history::Relation::Less => Relation::Less,
        history::Relation::NotEqual => Relation::NotEqual,
    };
    Some(Guard { key: compare.keys.key.to_vec(), of, relation, number })
}

/// What a client is told.
pub fn answered(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(_, body) => match body {
            Body::Put(_) | Body::Compact | Body::LeaseRevoke => "ok".to_owned(),
            Body::Range(reply) => rows(reply),
            Body::DeleteRange(reply) => deleted(reply),
            Body::Txn(reply) => transacted(reply),
            Body::LeaseGrant { lease, ttl } => format!("lease {} ttl={ttl}", lease_name(*lease)),
            Body::LeaseKeepAlive { ttl } | Body::LeaseTimeToLive { ttl, .. } => format!("ttl={ttl}"),
            Body::LeaseLeases { leases } => format!("{} leases", leases.len()),
        },
        Outcome::Unknown(doubt) => doubt_name(*doubt).to_owned(),
        Outcome::DefinitelyNot(refusal) => format!("{refusal:?}").to_lowercase(),
    }
}

fn transacted(reply: &history::TxnReply) -> String {
    let parts = reply.replies.iter().map(|part| match part {
        history::TxnOpReply::Put(_) => "ok".to_owned(),
        history::TxnOpReply::Range(reply) => rows(reply),
        history::TxnOpReply::DeleteRange(reply) => deleted(reply),
        history::TxnOpReply::Txn(inner) => format!("( {} )", transacted(inner)),
    });
    let branch = if reply.succeeded { "then" } else { "else" };
    format!("{branch} {}", parts.collect::<Vec<_>>().join(" ; "))
}

fn deleted(reply: &DeleteReply) -> String {
    format!("deleted {}", reply.deleted)
}

fn rows(reply: &RangeReply) -> String {
    let mut text = String::new();
    for KeyValue { key, value, modified, .. } in reply.kvs.iter().take(KEYS_TOLD) {
        let value = String::from_utf8_lossy(value);
        let value: String = value.trim_end_matches('.').chars().take(VALUE_TOLD).collect();
        let blank = if text.is_empty() { "" } else { " " };
        write!(text, "{blank}{}={value}@r{}", Keys::one(key), modified.0).expect("a string takes everything");
    }
    match reply.count {
        0 => "nothing".to_owned(),
        count if KEYS_TOLD < reply.kvs.len() || reply.kvs.is_empty() => format!("{text} ({count} keys)"),
        _ => text,
    }
    .trim()
    .to_owned()
}
