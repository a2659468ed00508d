//! Writing answers.

use crate::pool::Pool;
use evenkeel_mvcc::*;
use std::fmt::Write;

fn row(row: &Row, pool: &Pool) -> String {
    let Row { key, create, modified, version, lease, value } = row;
    let value = pool.bytes(value);
    let mut text = format!("{}={}", key.escape_ascii(), value.escape_ascii());
    write!(text, " mod={} create={} version={version}", modified.0, create.0).unwrap();
    if *lease != LeaseId::NONE {
        write!(text, " lease={}", lease.0).unwrap();
    }
    text
}

pub fn range(result: &RangeResult, pool: &Pool, out: &mut String) {
    let more = if result.more { ", more" } else { "" };
    writeln!(out, "count {}{more} (rev {})", result.count, result.revision.0).unwrap();
    for line in &result.rows {
        writeln!(out, "  {}", row(line, pool)).unwrap();
    }
}

pub fn answer(answer: &Result<Response, Error>, revision: Revision, pool: &Pool, out: &mut String) {
    match answer {
        Ok(response) => one(response, revision, pool, out),
        Err(error) => writeln!(out, "error: {error} (rev {})", revision.0).unwrap(),
    }
}

fn one(response: &Response, revision: Revision, pool: &Pool, out: &mut String) {
    let rev = revision.0;
    match response {
        Response::Put { prev } => {
            let prev = prev.as_ref().map_or(String::new(), |prev| format!(", was {}", row(prev, pool)));
            writeln!(out, "put (rev {rev}){prev}").unwrap();
        }
        Response::DeleteRange { deleted, prev } => {
            writeln!(out, "deleted {deleted} (rev {rev})").unwrap();
            prev.iter().for_each(|prev| writeln!(out, "  was {}", row(prev, pool)).unwrap());
        }
        Response::Range(result) => range(result, pool, out),
        Response::Txn { succeeded, responses } => {
            writeln!(out, "{} (rev {rev})", if *succeeded { "succeeded" } else { "failed" }).unwrap();
            for (response, revision) in responses {
                let mut inner = String::new();
                one(response, *revision, pool, &mut inner);
                inner.lines().for_each(|line| writeln!(out, "  {line}").unwrap());
            }
        }
        Response::Compact => writeln!(out, "compacted (rev {rev})").unwrap(),
        Response::LeaseGrant { id, ttl_seconds } => {
            writeln!(out, "lease {} for {ttl_seconds} s (rev {rev})", id.0).unwrap()
        }
        Response::LeaseRevoke { deleted } => writeln!(out, "revoked, deleted {deleted} (rev {rev})").unwrap(),
        Response::LeaseCheckpoint => writeln!(out, "noted (rev {rev})").unwrap(),
    }
}

pub fn leases(store: &Store, out: &mut String) {
    for (id, lease) in store.leases() {
        let keys: Vec<String> = lease.keys().map(|key| key.escape_ascii().to_string()).collect();
        let (ttl, left, index) = (lease.ttl_seconds, lease.remaining_seconds, lease.granted_at);
        writeln!(out, "lease {} ttl={ttl} remaining={left} granted_at={index} keys=[{}]", id.0, keys.join(" "))
            .unwrap();
    }
}

pub fn versions(store: &Store, pool: &Pool, out: &mut String) {
    let (floor, usage) = (store.compacted().0, store.usage());
    let bytes = usage.key_bytes + usage.value_bytes;
    writeln!(out, "floor {floor}, {} keys, {} versions, {bytes} bytes", store.key_count(), usage.versions).unwrap();
    for VersionRow { key, main, sub, kind, .. } in store.versions() {
        let what = match kind {
            VersionKind::Put(value) => format!("={}", pool.bytes(&value).escape_ascii()),
            VersionKind::Tombstone => " deleted".to_owned(),
        };
        writeln!(out, "  {} {}.{sub}{what}", key.escape_ascii(), main.0).unwrap();
    }
}

pub fn pull(name: &str, pull: &Pull, pool: &Pool, out: &mut String) {
    match pull {
        Pull::Batch(batch) => {
            writeln!(out, "{name} gets, next {}:", batch.next.0).unwrap();
            for revision in &batch.revisions {
                for event in revision.events() {
                    let what = match event.kind {
                        EventKind::Put => format!("put {}", row(&event.row, pool)),
                        EventKind::Delete => format!("deleted {}", event.row.key.escape_ascii()),
                    };
                    let prev = event.prev.as_ref().map_or(String::new(), |prev| format!(", was {}", row(prev, pool)));
                    writeln!(out, "  {} {what}{prev}", revision.revision().0).unwrap();
                }
            }
        }
        Pull::UpToDate { revision } => writeln!(out, "{name} is up to date at {}", revision.0).unwrap(),
        Pull::Compacted { compact_revision } => {
            writeln!(out, "{name} is compacted, floor {}", compact_revision.0).unwrap()
        }
        Pull::Gone => writeln!(out, "{name} is gone").unwrap(),
    }
}
