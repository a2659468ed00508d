//! The page's data: a window of the run, packed so that tens of thousands of events fit.
//!
//! Texts are kept once, in a pool, and named by their place in it; moments are nanoseconds after the window's
//! beginning; places are lines of the trace after the window's first. Rows are arrays; [`pack`] draws them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::model::{Fault, Happening, Mark, Message, Model, Operation};

/// Bytes of packed events at most: the page stays well under 5 MB with everything else in it.
const PACKED_BYTES_MAX: usize = 4_200_000;
/// Lines of the trace at most, so that the browser stays quick.
const LINES_MAX: usize = 120_000;
/// Lines after the failure that are still shown.
const TAIL_LINES: usize = 2_000;

#[derive(Default)]
struct Pool {
    places: BTreeMap<String, usize>,
    texts: Vec<String>,
    bytes: usize,
}

impl Pool {
    fn place(&mut self, text: &str) -> usize {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        self.places.insert(text.to_owned(), self.texts.len());
        self.texts.push(text.to_owned());
        self.bytes += text.len() + 3;
        self.texts.len() - 1
    }
}

/// Which lines are shown: up to a little after the failure, and as much before as fits. A run that passes is shown as
/// a whole, or else up to a little after the last trouble: what comes then is calm.
fn packed(model: &Model) -> (usize, Value) {
    let mut to = model.violation.map_or(model.lines, |mark| model.lines.min(mark.line + TAIL_LINES));
    let mut from = to.saturating_sub(LINES_MAX);
    loop {
        let value = rows(model, from, to);
        let bytes = value.to_string().len();
        let whole = from == 0 || model.violation.is_some() || to < model.lines;
        if bytes <= PACKED_BYTES_MAX && whole {
            return (from, value);
        }
        let calm = if to == model.lines { after_trouble(model) } else { None };
        if let (None, Some(line)) = (model.violation, calm) {
            to = line;
            from = to.saturating_sub(LINES_MAX);
            continue;
        }
        if bytes <= PACKED_BYTES_MAX {
            return (from, value);
        }
        let keep = (to - from) as f64 * PACKED_BYTES_MAX as f64 / bytes as f64 * 0.95;
        from = to - (keep as usize).max(1).min(to - from - 1);
    }
}

/// The line a little after the end of the last trouble, if the run goes on for long after it.
fn after_trouble(model: &Model) -> Option<usize> {
    let ends = model.faults.iter().map(|fault| fault.until).filter(|until| *until < model.end);
    let end = ends.max()?;
    let line = model.happenings.iter().find(|it| end < it.mark.at)?.mark.line + TAIL_LINES;
    (line < model.lines).then_some(line)
}

/// The window's rows, and the state of each member at its beginning.
///
/// - `messages`: line, at, from, to, say, fate, term, text, [line, at, …] of arrivals, operations
/// - `operations`: op, line, at, client, node, text, list of keys, line, at, result, answer, revision, local
/// - `happenings`: line, at, node, kind, text, operations, change
pub fn pack(model: &Model) -> Value {
    packed(model).1
}

fn rows(model: &Model, from: usize, to: usize) -> Value {
    let begins = if from == 0 { 0 } else { time_of(model, from) };
    let mut pool = Pool::default();
    let inside = |mark: &Mark| from <= mark.line && mark.line < to;
    let at = |mark: &Mark| mark.at as i64 - begins as i64;
    let line = |mark: &Mark| mark.line as i64 - from as i64;

    let mut message = |it: &Message| {
        let arrivals: Vec<i64> =
            it.arrived.iter().filter(|mark| inside(mark)).flat_map(|mark| [line(mark), at(mark)]).collect();
        if !inside(&it.sent) && arrivals.is_empty() {
            return None;
        }
        let (say, fate, text) = (pool.place(&it.say), pool.place(&it.fate), pool.place(&it.text));
        let (a, b) = it.link;
        Some(json!([line(&it.sent), at(&it.sent), a, b, say, fate, it.term, text, arrivals, it.ops]))
    };
    let messages: Vec<Value> = model.messages.iter().filter_map(&mut message).collect();

    let mut operation = |it: &Operation| {
        let returned = it.returned.filter(inside);
        if !inside(&it.called) && returned.is_none() {
            return None;
        }
        let keys: Vec<usize> = it.keys.iter().map(|key| pool.place(key)).collect();
        let (text, result, answer) = match returned {
            Some(_) => (pool.place(&it.text), pool.place(&it.result), pool.place(&it.answer)),
            None => (pool.place(&it.text), pool.place(""), pool.place("")),
        };
        let (back, back_at) = returned.map_or((-1, -1), |mark| (line(&mark), at(&mark)));
        Some(json!([
            it.op,
            line(&it.called),
            at(&it.called),
            it.client,
            it.node,
            text,
            keys,
            back,
            back_at,
            result,
            answer,
            it.revision,
            it.local,
        ]))
    };
    let operations: Vec<Value> = model.operations.iter().filter_map(&mut operation).collect();

    let mut states: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let mut happenings = Vec::new();
    for it in &model.happenings {
        if it.mark.line < from {
            states.entry(it.node).or_default().extend(it.change.clone());
        } else if inside(&it.mark) {
            happenings.push(happening(it, &mut pool, line(&it.mark), at(&it.mark)));
        }
    }
    states.remove(&0);
    let asides: Vec<usize> =
        (from..to).filter(|line| 0 < *line && model.numbers[*line] == model.numbers[line - 1]).collect();
    json!({
        "from_ns": begins,
        "to_ns": if to == model.lines { model.end } else { time_of(model, to) },
        "lines": to - from,
        "skipped": from,
        "first": model.numbers.get(from),
        "asides": deltas(&asides, from),
        "texts": pool.texts,
        "messages": messages,
        "operations": operations,
        "happenings": happenings,
        "states": states,
    })
}

fn happening(it: &Happening, pool: &mut Pool, line: i64, at: i64) -> Value {
    let change: Map<String, Value> = it
        .change
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) if name == "state" => (name.clone(), Value::from(short(text))),
            _ => (name.clone(), value.clone()),
        })
        .collect();
    json!([line, at, it.node, pool.place(&it.kind), pool.place(&it.text), it.ops, change])
}

/// A hash of a state as the oracles write it: both halves as one.
fn short(hash: &str) -> String {
    match u128::from_str_radix(hash, 16) {
        Ok(hash) => format!("{:016x}", hash as u64 ^ (hash >> 64) as u64),
        Err(_) => hash.to_owned(),
    }
}

/// Distances between places.
fn deltas(places: &[usize], mut before: usize) -> Vec<usize> {
    places.iter().map(|place| place - std::mem::replace(&mut before, *place)).collect()
}

fn time_of(model: &Model, line: usize) -> u64 {
    let found = [
        model.messages.iter().map(|it| it.sent).find(|mark| line <= mark.line),
        model.operations.iter().map(|it| it.called).find(|mark| line <= mark.line),
        model.happenings.iter().map(|it| it.mark).find(|mark| line <= mark.line),
    ];
    found.into_iter().flatten().map(|mark| mark.at).min().unwrap_or(model.end)
}

/// The whole run in small: roles, faults, boots and the failure.
pub fn overview(model: &Model) -> Value {
    let mut roles: Vec<Value> = Vec::new();
    let mut nodes: Vec<u64> = Vec::new();
    for it in &model.happenings {
        if it.node > 0 && !nodes.contains(&it.node) {
            nodes.push(it.node);
        }
        if let Some(role) = it.change.get("role") {
            let term = it.change.get("term").cloned().unwrap_or(Value::Null);
            roles.push(json!([it.mark.at, it.node, role, term]));
        }
    }
    for message in &model.messages {
        for node in [message.link.0, message.link.1] {
            if node > 0 && !nodes.contains(&node) {
                nodes.push(node);
            }
        }
    }
    nodes.sort_unstable();
    let fault = |it: &Fault| json!([it.what, it.from, it.until, it.nodes, it.text]);
    json!({
        "end_ns": model.end,
        "nodes": nodes,
        "roles": roles,
        "faults": model.faults.iter().map(fault).collect::<Vec<_>>(),
        "violation_ns": model.violation.map(|mark| mark.at),
        "violation_line": model.violation.map(|mark| mark.line),
    })
}
