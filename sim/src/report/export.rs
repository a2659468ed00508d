//! A run for other tools: Perfetto, ShiViz, and one JSON object per message, operation and happening.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::html::model::{Mark, Model};
use super::html::words::said;

/// Clients stand in one group of their own in Perfetto.
const CLIENTS: u64 = 1_000;

/// Which tool it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Chrome's trace format, which Perfetto opens: members as processes, messages as flows, counters
    Perfetto,
    /// One line per event with its vector clock; regular expression `(?<host>\w+) "(?<event>.*)" (?<clock>\{.*\})`
    Shiviz,
    /// One JSON object per line: messages with both ends, operations with their answers, what happened
    Ndjson,
}

/// Writes the run.
pub fn write(model: &Model, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Perfetto => perfetto(model, out),
        Format::Shiviz => shiviz(model, out),
        Format::Ndjson => ndjson(model, out),
    }
}

fn micros(at: u64) -> f64 {
    at as f64 / 1e3
}

fn perfetto(model: &Model, out: &mut dyn Write) -> io::Result<()> {
    let mut first = true;
    let mut event = |value: Value| -> io::Result<()> {
        let before = if std::mem::take(&mut first) { "[\n" } else { ",\n" };
        write!(out, "{before}{value}")
    };
    let nodes: std::collections::BTreeSet<u64> =
        model.happenings.iter().map(|it| it.node).chain(model.messages.iter().map(|it| it.link.0)).collect();
    for node in nodes.iter().filter(|node| **node > 0) {
        event(json!({"ph": "M", "pid": node, "name": "process_name", "args": {"name": format!("n{node}")}}))?;
        for (lane, name) in [(1, "role"), (2, "messages"), (3, "events")] {
            event(json!({"ph": "M", "pid": node, "tid": lane, "name": "thread_name", "args": {"name": name}}))?;
        }
    }
    event(json!({"ph": "M", "pid": CLIENTS, "name": "process_name", "args": {"name": "clients"}}))?;
    for (id, it) in model.messages.iter().enumerate() {
        let (from, to) = it.link;
        let point = |node: u64, at: u64, name: String| {
            let args = json!({"term": it.term, "text": it.text, "fate": it.fate});
            json!({"ph": "X", "pid": node, "tid": 2, "ts": micros(at), "dur": 1, "name": name, "args": args})
        };
        event(point(from, it.sent.at, format!("{} → n{to}", it.say)))?;
        for (copy, end) in it.arrived.iter().enumerate() {
            event(point(to, end.at, format!("{} ← n{from}", it.say)))?;
            let flow = |ph: &str, node: u64, at: u64| json!({"ph": ph, "bp": "e", "cat": "message", "id": id * 2 + copy, "pid": node, "tid": 2, "ts": micros(at), "name": it.say});
            event(flow("s", from, it.sent.at))?;
            event(flow("f", to, end.at))?;
        }
    }
    for it in &model.operations {
        let end = it.returned.map_or(model.end, |mark| mark.at);
        let args = json!({"op": it.op, "node": it.node, "result": it.result, "answer": it.answer});
        let (at, took) = (micros(it.called.at), micros(end - it.called.at));
        // Several of one client may be open at once: slices that overlap without nesting are asynchronous ones.
        event(
            json!({"ph": "b", "cat": "op", "id": it.op, "pid": CLIENTS, "tid": it.client, "ts": at, "name": it.text, "args": args}),
        )?;
        event(
            json!({"ph": "e", "cat": "op", "id": it.op, "pid": CLIENTS, "tid": it.client, "ts": at + took, "name": it.text}),
        )?;
    }
    let mut roles: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    let slice = |node: u64, (from, name): (u64, String), until: u64| json!({"ph": "X", "pid": node, "tid": 1, "ts": micros(from), "dur": micros(until - from), "name": name});
    for it in model.happenings.iter().filter(|it| it.node > 0) {
        let at = it.mark.at;
        event(
            json!({"ph": "i", "s": "t", "pid": it.node, "tid": 3, "ts": micros(at), "name": it.kind, "args": {"text": it.text}}),
        )?;
        if let Some(role) = it.change.get("role").and_then(Value::as_str)
            && let Some(before) = roles.insert(it.node, (at, role.to_owned()))
        {
            event(slice(it.node, before, at))?;
        }
        for counter in ["term", "commit", "applied"] {
            if let Some(value) = it.change.get(counter) {
                event(json!({"ph": "C", "pid": it.node, "ts": micros(at), "name": counter, "args": {counter: value}}))?;
            }
        }
    }
    for (node, before) in roles {
        event(slice(node, before, model.end))?;
    }
    writeln!(out, "\n]")
}

/// What stands at one place of a trace.
enum At<'a> {
    Sent(usize),
    Arrived(usize),
    Other(String, String, &'a str),
}

fn shiviz(model: &Model, out: &mut dyn Write) -> io::Result<()> {
    let mut places: BTreeMap<usize, At<'_>> = BTreeMap::new();
    for (id, it) in model.messages.iter().enumerate() {
        places.insert(it.sent.line, At::Sent(id));
        places.extend(it.arrived.iter().map(|end| (end.line, At::Arrived(id))));
    }
    for it in &model.operations {
        let host = format!("c{}", it.client);
        places.insert(it.called.line, At::Other(host.clone(), format!("asks n{}: {}", it.node, it.text), ""));
        if let Some(end) = it.returned {
            places.insert(end.line, At::Other(host, format!("op{} {}", it.op, it.result), &it.answer));
        }
    }
    for it in model.happenings.iter().filter(|it| it.node > 0) {
        places.insert(it.mark.line, At::Other(format!("n{}", it.node), String::new(), &it.text));
    }
    let mut clocks: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut carried: BTreeMap<usize, BTreeMap<String, u64>> = BTreeMap::new();
    for at in places.into_values() {
        let (host, text) = match &at {
            At::Sent(id) => {
                let it = &model.messages[*id];
                (format!("n{}", it.link.0), format!("sends n{} {}", it.link.1, said(&it.say, it.term, &it.text)))
            }
            At::Arrived(id) => {
                let it = &model.messages[*id];
                (format!("n{}", it.link.1), format!("gets from n{} {}", it.link.0, said(&it.say, it.term, &it.text)))
            }
            At::Other(host, text, more) => (host.clone(), format!("{text} {more}")),
        };
        let clock = clocks.entry(host.clone()).or_default();
        if let At::Arrived(id) = &at {
            for (other, count) in carried.get(id).into_iter().flatten() {
                let known = clock.entry(other.clone()).or_default();
                *known = (*known).max(*count);
            }
        }
        *clock.entry(host.clone()).or_default() += 1;
        if let At::Sent(id) = at {
            carried.insert(id, clock.clone());
        }
        let clock = serde_json::to_string(clock).expect("a clock can be written as JSON");
        writeln!(out, "{host} \"{}\" {clock}", text.trim().replace(['"', '\n'], "'"))?;
    }
    Ok(())
}

fn ndjson(model: &Model, out: &mut dyn Write) -> io::Result<()> {
    let mut lines: Vec<(Mark, Value)> = Vec::new();
    for it in &model.messages {
        let arrived: Vec<u64> = it.arrived.iter().map(|mark| mark.at).collect();
        let value = json!({
            "what": "message", "at_ns": it.sent.at, "arrived_ns": arrived, "from": it.link.0, "to": it.link.1, "say": it.say,
            "fate": it.fate, "term": it.term, "text": it.text, "ops": it.ops,
        });
        lines.push((it.sent, value));
    }
    for it in &model.operations {
        let value = json!({
            "what": "operation", "at_ns": it.called.at, "returned_ns": it.returned.map(|mark| mark.at), "op": it.op,
            "client": it.client, "node": it.node, "text": it.text, "keys": it.keys, "result": it.result, "answer": it.answer,
            "revision": it.revision,
        });
        lines.push((it.called, value));
    }
    for it in &model.happenings {
        let value = json!({
            "what": it.kind, "at_ns": it.mark.at, "node": it.node, "text": it.text, "change": it.change,
        });
        lines.push((it.mark, value));
    }
    lines.sort_by_key(|(mark, _)| mark.line);
    lines.iter().try_for_each(|(_, value)| writeln!(out, "{value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::model::understand;
    use crate::report::trace::Line;

    fn model() -> Model {
        let lines = [
            json!({"n": 0, "at_ns": 10, "event": "booted", "node": 1, "term": 2, "last": 3}),
            json!({"n": 1, "at_ns": 20, "event": "send", "from": 1, "to": 2, "kind": "raft.append", "bytes": 4,
                "detail": {"id": 7, "fate": "arrives", "say": "append", "term": 2, "text": "i4@t2 put \"k\""}}),
            json!({"n": 1, "at_ns": 25, "aside": "committed", "detail": {"node": 1, "index": 3}}),
            json!({"n": 2, "at_ns": 30, "event": "arrive", "from": 1, "to": 2, "kind": "raft.append", "bytes": 4,
                "detail": {"id": 7, "fate": "taken"}}),
            json!({"n": 3, "at_ns": 40, "event": "call", "op": 1, "client": 3, "node": 2, "detail": {"text": "put k", "keys": ["k"]}}),
        ];
        let lines: Vec<Line> = lines.into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
        understand(&lines)
    }

    fn text(format: Format) -> String {
        let mut out = Vec::new();
        write(&model(), format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn perfetto_gets_an_array_with_a_flow_for_every_message() {
        let events: Vec<Value> = serde_json::from_str(&text(Format::Perfetto)).unwrap();
        let of = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
        assert_eq!((of("s"), of("f"), of("b"), of("e")), (1, 1, 1, 1));
        assert!(events.iter().any(|event| event["ph"] == "C" && event["args"]["commit"] == 3));
    }

    #[test]
    fn shiviz_clocks_follow_the_messages() {
        let text = text(Format::Shiviz);
        assert!(text.contains("n2 \"gets from n1 append: i4@t2 put 'k'\" {\"n1\":2,\"n2\":1}"), "{text}");
    }

    #[test]
    fn every_line_of_ndjson_is_an_object_in_the_order_of_the_run() {
        let text = text(Format::Ndjson);
        let kinds = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["what"].clone());
        assert_eq!(kinds.collect::<Vec<_>>(), ["booted", "message", "committed", "operation"]);
    }
}
