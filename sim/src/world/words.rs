//! Requests, answers and messages in words, for traces and what is drawn from them. Asked for only when there is a
//! trace; never part of the chain.

use bytes::Bytes;
use evenkeel_check::OpId;
pub use evenkeel_check::history::words::bytes;
use evenkeel_check::history::words::{keys, list};
use evenkeel_check::history::*;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::peer::raft::Body as Raft;
use evenkeel_proto::peer::{Envelope, envelope};
use evenkeel_raft::Payload;
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::feed::doubt_name;
use super::names::Names;

/// A request, and the keys and ranges it names, as `key` or `[from, to)`.
pub fn request(request: &Request) -> (String, Vec<String>) {
    let mut named = Vec::new();
    match request {
        Request::Put(it) => named.push(bytes(&it.key)),
        Request::Range(it) => named.push(keys(&it.keys)),
        Request::DeleteRange(it) => named.push(keys(&it.keys)),
        Request::Txn(it) => {
            named.extend(it.compares.iter().map(|compare| keys(&compare.keys)));
            it.visit(&mut |op| match op {
                TxnOp::Put(it) => named.push(bytes(&it.key)),
                TxnOp::Range(it) => named.push(keys(&it.keys)),
                TxnOp::DeleteRange(it) => named.push(keys(&it.keys)),
                TxnOp::Txn(_) => {}
            });
        }
        _ => {}
    }
    named.sort_unstable();
    named.dedup();
    (request.to_string(), named)
}

fn row(kv: &KeyValue) -> String {
    format!("{} = {} ({})", bytes(&kv.key), bytes(&kv.value), kv.modified)
}

fn rows(reply: &RangeReply) -> String {
    match reply.kvs.len() {
        0 if reply.count > 0 => format!("{} keys", reply.count),
        0 => "nothing".to_owned(),
        _ => list(&reply.kvs, row),
    }
}

/// What a watch saw.
pub fn events(events: &[Event]) -> String {
    list(events, |event| {
        let (key, at) = (bytes(&event.kv.key), event.kv.modified);
        if event.deleted {
            format!("{key} deleted ({at})")
        } else {
            format!("{key} = {} ({at})", bytes(&event.kv.value))
        }
    })
}

/// How an operation ended.
pub fn outcome(outcome: &Outcome) -> String {
    let (header, body) = match outcome {
        Outcome::Ok(header, body) => (header, body),
        Outcome::Unknown(doubt) => return format!("nothing is known ({})", doubt_name(*doubt).replace('_', " ")),
        Outcome::DefinitelyNot(refusal) => return format!("refused: {refusal:?}"),
    };
    let text = match body {
        Body::Range(reply) => rows(reply),
        Body::Put(_) => "ok".to_owned(),
        Body::DeleteRange(reply) => format!("{} deleted", reply.deleted),
        Body::Txn(reply) => {
            let answers = reply.replies.iter().filter_map(|one| match one {
                TxnOpReply::Range(reply) => Some(rows(reply)),
                _ => None,
            });
            let answers: Vec<String> = answers.collect();
            let branch = if reply.succeeded { "then" } else { "else" };
            if answers.is_empty() { branch.to_owned() } else { format!("{branch}: {}", answers.join("; ")) }
        }
        Body::Compact | Body::LeaseRevoke => "ok".to_owned(),
        Body::LeaseGrant { lease, ttl } => format!("{lease}, {ttl} s"),
        Body::LeaseKeepAlive { ttl } => format!("{ttl} s"),
        Body::LeaseTimeToLive { ttl, granted, .. } => format!("{ttl} of {granted} s"),
        Body::LeaseLeases { leases } => list(leases, ToString::to_string),
    };
    format!("{text}; {}, {}", header.revision, header.term)
}

/// What a log entry says, and the client operation that wrote it, as far as its values tell.
pub fn payload(data: &[u8], names: &Names) -> (String, Option<OpId>) {
    let Ok(said) = pb::InternalRaftRequest::decode(data) else { return ("?".to_owned(), None) };
    let range = |key: &Bytes, end: &Bytes| keys(&KeyRange::span(key.clone(), end.clone()));
    let mut op = None;
    let mut put = |it: &pb::PutRequest| {
        op = op.or(names.writer(&it.value));
        format!("put {} = {}", bytes(&it.key), bytes(&it.value))
    };
    let text = if let Some(it) = &said.put {
        put(it)
    } else if let Some(it) = &said.delete_range {
        format!("delete {}", range(&it.key, &it.range_end))
    } else if let Some(it) = &said.txn {
        use pb::request_op::Request as R;
        let ops = it.success.iter().chain(&it.failure).filter_map(|op| match &op.request {
            Some(R::RequestPut(it)) => Some(put(it)),
            Some(R::RequestDeleteRange(it)) => Some(format!("delete {}", range(&it.key, &it.range_end))),
            _ => None,
        });
        let ops: Vec<String> = ops.collect();
        format!("txn {}", list(&ops, String::clone))
    } else if let Some(it) = &said.compaction {
        format!("compact r{}", it.revision)
    } else if let Some(it) = &said.lease_grant {
        format!("grant lease{}, {} s", it.id, it.ttl)
    } else if let Some(it) = &said.lease_revoke {
        format!("revoke lease{}", it.id)
    } else if said.lease_checkpoint.is_some() {
        "lease times".to_owned()
    } else if let Some(it) = &said.cluster_version_set {
        format!("cluster version {}", it.ver)
    } else if said.downgrade_info_set.is_some() {
        "downgrade".to_owned()
    } else if said.cluster_member_attr_set.is_some() {
        "member's attributes".to_owned()
    } else {
        "nothing".to_owned()
    };
    (text, op)
}

/// What entered a log.
pub fn entries(entries: &[evenkeel_raft::Entry], names: &Names) -> (String, Vec<u64>) {
    let told = entries.iter().map(|entry| match &entry.payload {
        Payload::Empty => (entry.index.0, entry.term.0, ("empty".to_owned(), None)),
        Payload::Data(data) => (entry.index.0, entry.term.0, payload(data, names)),
        Payload::Config(_) => (entry.index.0, entry.term.0, ("configuration".to_owned(), None)),
    });
    written(told.collect())
}

fn written(entries: Vec<(u64, u64, (String, Option<OpId>))>) -> (String, Vec<u64>) {
    let text = list(&entries, |(index, term, (text, _))| format!("i{index}@t{term} {text}"));
    let ops = entries.iter().filter_map(|(_, _, (_, op))| op.map(|op| op.0));
    (text, ops.collect())
}

/// A message between members: what sort it is, its term, what it says, the operations whose writes it carries.
pub fn message(raw: &Bytes, names: &Names) -> Json {
    let (say, term, text, ops) = match Envelope::decode(raw.clone()) {
        Ok(Envelope { body: Some(envelope::Body::Raft(raft)), .. }) => {
            let term = raft.term;
            let (say, text, ops) = raft.body.map_or(("unknown", String::new(), Vec::new()), |body| core(body, names));
            (say, term, text, ops)
        }
        Ok(Envelope { body: Some(envelope::Body::SnapshotChunk(it)), .. }) => {
            let index = it.meta.map_or(0, |meta| meta.index);
            let text = format!("up to i{index}, {} bytes from {}", it.data.len(), it.offset);
            ("snapshot piece", it.term, text, Vec::new())
        }
        Ok(Envelope { body: Some(envelope::Body::SnapshotAck(it)), .. }) => {
            ("snapshot taken", 0, format!("up to byte {} {}", it.received, it.error), Vec::new())
        }
        Ok(Envelope { body: Some(envelope::Body::Ask(_)), .. }) => ("question", 0, String::new(), Vec::new()),
        Ok(Envelope { body: Some(envelope::Body::Answer(it)), .. }) => ("answer", 0, it.error, Vec::new()),
        _ => ("query", 0, String::new(), Vec::new()),
    };
    let mut told = json!({"say": say, "text": text});
    if term > 0 {
        told["term"] = term.into();
    }
    if !ops.is_empty() {
        told["ops"] = ops.into();
    }
    told
}

fn core(body: Raft, names: &Names) -> (&'static str, String, Vec<u64>) {
    let none = Vec::new();
    match body {
        Raft::VoteRequest(it) => {
            let say = if it.pre_vote { "pre-vote" } else { "vote" };
            (say, format!("my log ends at i{}@t{}", it.last_index, it.last_term), none)
        }
        Raft::VoteResponse(it) => {
            let say = if it.pre_vote { "pre-vote answer" } else { "vote answer" };
            (say, if it.granted { "yes" } else { "no" }.to_owned(), none)
        }
        Raft::AppendRequest(it) => {
            let told = it.entries.iter().map(|entry| {
                let text = match () {
                    () if entry.empty => ("empty".to_owned(), None),
                    () if entry.configuration.is_some() => ("configuration".to_owned(), None),
                    () => payload(&entry.data, names),
                };
                (entry.index, entry.term, text)
            });
            let (text, ops) = written(told.collect());
            let text = format!("after i{}@t{}: {text}; commit i{}", it.prev_index, it.prev_term, it.commit);
            (if it.entries.is_empty() { "append, empty" } else { "append" }, text, ops)
        }
        Raft::AppendAccepted(it) => ("accepted", format!("up to i{}", it.matched), none),
        Raft::AppendRejected(it) => {
            let snapshot = if it.needs_snapshot { ", needs a snapshot" } else { "" };
            ("rejected", format!("at i{}, try i{}@t{}{snapshot}", it.prev_index, it.hint_index, it.hint_term), none)
        }
        Raft::Heartbeat(it) => ("heartbeat", format!("commit i{}, round {}", it.commit, it.round), none),
        Raft::HeartbeatResponse(it) => ("heartbeat answer", format!("round {}", it.round), none),
        Raft::Snapshot(it) => ("snapshot", format!("up to i{}", it.meta.map_or(0, |meta| meta.index)), none),
        Raft::ReadRequest(it) => ("read", format!("context {}", it.context), none),
        Raft::ReadResponse(it) => ("read answer", format!("context {}: read at i{}", it.context, it.index), none),
        Raft::Propose(it) => {
            let (text, op) = payload(&it.data, names);
            ("propose", text, op.map(|op| op.0).into_iter().collect())
        }
        Raft::TimeoutNow(_) => ("take over", "campaign at once".to_owned(), none),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_check::history::Header;
    use evenkeel_check::{MemberId, Revision, Term};

    #[test]
    fn requests_and_answers_read_like_sentences() {
        let write = Put { key: "k1".into(), value: "c5:7.....".into(), ..Put::default() };
        let guard =
            Compare { keys: KeyRange::one("k1"), relation: Relation::Equal, target: Target::Modified(Revision(7)) };
        let cas = Txn { compares: vec![guard], success: vec![TxnOp::Put(write.clone())], failure: vec![] };
        let read = Range { limit: 3, ..Range::of(KeyRange::span("k1", "k4")) };
        for (asked, text, named) in [
            (Request::Put(write), "put k1 = c5:7", "k1"),
            (Request::Range(read), "get [k1, k4) limit 3", "[k1, k4)"),
            (Request::Range(Range::of(KeyRange::all())), "get all keys", "all keys"),
            (Request::Txn(cas), "txn if modified(k1) = r7 then put k1 = c5:7", "k1"),
        ] {
            assert_eq!(request(&asked), (text.to_owned(), vec![named.to_owned()]));
        }
        let header = Header { member: MemberId(1), revision: Revision(9), term: Term(2), ..Header::default() };
        let kv = KeyValue { key: "k1".into(), value: "v".into(), modified: Revision(8), ..KeyValue::default() };
        let reply = RangeReply { kvs: vec![kv; 6], more: false, count: 6 };
        let row = "k1 = v (r8)";
        assert_eq!(
            outcome(&Outcome::Ok(header, Body::Range(reply))),
            format!("{row}, {row}, {row}, {row}, and 2 more; r9, t2")
        );
        assert_eq!(outcome(&Outcome::Unknown(Doubt::Timeout)), "nothing is known (timeout)");
    }

    #[test]
    fn bytes_nobody_understands_are_no_panic() {
        let names = Names::default();
        for raw in [&b""[..], b"\xff\xff\xff", b"\x00"] {
            assert!(message(&Bytes::copy_from_slice(raw), &names)["say"].is_string());
            payload(raw, &names);
        }
    }
}
