//! Requests in words, as a person would say them to another.

use std::fmt;
use std::fmt::Write as _;

use super::*;
use crate::ids::LeaseId;

/// Of a longer list only so many are told.
const LIST_MAX: usize = 4;
/// Of a longer text only so many characters.
const TEXT_MAX: usize = 40;

/// A key or a value. The padding of values is left out.
pub fn bytes(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('.');
    let text = if text == "\0" { "\\0" } else { text };
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first of some things, and how many more there are.
pub fn list<T>(items: &[T], each: impl Fn(&T) -> String) -> String {
    let mut text = items.iter().take(LIST_MAX).map(each).collect::<Vec<_>>().join(", ");
    if LIST_MAX < items.len() {
        write!(text, ", and {} more", items.len() - LIST_MAX).expect("writing to a string cannot fail");
    }
    text
}

/// A key, a range, or all keys.
pub fn keys(range: &KeyRange) -> String {
    match (range.key.as_ref(), range.end.as_ref()) {
        (key, b"") => bytes(key),
        (b"\0", b"\0") => "all keys".to_owned(),
        (key, b"\0") => format!("[{}, …)", bytes(key)),
        (key, end) => format!("[{}, {})", bytes(key), bytes(end)),
    }
}

fn put(put: &Put) -> String {
    let lease = if put.lease == LeaseId::NONE { String::new() } else { format!(" with {}", put.lease) };
    format!("put {} = {}{lease}", bytes(&put.key), bytes(&put.value))
}

fn range(range: &Range) -> String {
    let mut text = format!("get {}", keys(&range.keys));
    if range.serializable {
        text.push_str(" serializable");
    }
    if range.revision.0 > 0 {
        write!(text, " at {}", range.revision).expect("writing to a string cannot fail");
    }
    if range.limit > 0 {
        write!(text, " limit {}", range.limit).expect("writing to a string cannot fail");
    }
    text
}

fn txn_op(op: &TxnOp) -> String {
    match op {
        TxnOp::Put(it) => put(it),
        TxnOp::Range(it) => range(it),
        TxnOp::DeleteRange(it) => format!("delete {}", keys(&it.keys)),
        TxnOp::Txn(it) => format!("({})", txn(it)),
    }
}

fn compare(it: &Compare) -> String {
    let (what, value) = match &it.target {
        Target::Version(v) => ("version", v.to_string()),
        Target::Created(v) => ("created", v.to_string()),
        Target::Modified(v) => ("modified", v.to_string()),
        Target::Value(v) => ("value", bytes(v)),
        Target::Lease(v) => ("lease", v.to_string()),
    };
    let relation = match it.relation {
        Relation::Equal => "=",
        Relation::Greater => ">",
        Relation::Less => "<",
        Relation::NotEqual => "≠",
    };
    format!("{what}({}) {relation} {value}", keys(&it.keys))
}

fn txn(it: &Txn) -> String {
    let then = list(&it.success, txn_op);
    if it.compares.is_empty() {
        return format!("txn {then}");
    }
    let guards = list(&it.compares, compare);
    let otherwise = if it.failure.is_empty() { String::new() } else { format!(" else {}", list(&it.failure, txn_op)) };
    format!("txn if {guards} then {then}{otherwise}")
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Request::Put(it) => put(it),
            Request::Range(it) => range(it),
            Request::DeleteRange(it) => format!("delete {}", keys(&it.keys)),
            Request::Txn(it) => txn(it),
            Request::Compact { revision } => format!("compact {revision}"),
            Request::LeaseGrant { lease: LeaseId::NONE, ttl } => format!("grant a lease of {ttl} s"),
            Request::LeaseGrant { lease, ttl } => format!("grant {lease} of {ttl} s"),
            Request::LeaseRevoke { lease } => format!("revoke {lease}"),
            Request::LeaseKeepAlive { lease } => format!("keep {lease} alive"),
            Request::LeaseTimeToLive { lease, .. } => format!("time to live of {lease}"),
            Request::LeaseLeases => "list the leases".to_owned(),
        };
        f.write_str(&text)
    }
}
