//! What a run's trace means: messages with both ends, operations with call and answer, what each member's events
//! changed about it, and the time each fault lasted.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::trace::Line;
use super::words;

/// A client goes on under another number, this much higher, while an answer is outstanding.
const CLIENT_LINE: u64 = 10_000;

/// One end of something: which line of the trace, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The line's place in the trace.
    pub line: usize,
    /// Nanoseconds.
    pub at: u64,
}

/// A message between members.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it was sent.
    pub sent: Mark,
    /// Every time it arrived: once, twice, or never.
    pub arrived: Vec<Mark>,
    /// Sender and receiver.
    pub link: (u64, u64),
    /// What sort of message it is.
    pub say: String,
    /// What became of it.
    pub fate: String,
    /// Its term; 0 when it has none.
    pub term: u64,
    /// What it says.
    pub text: String,
    /// The operations whose writes it carries.
    pub ops: Vec<u64>,
}

/// A client's operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its number.
    pub op: u64,
    /// When it was called.
    pub called: Mark,
    /// When its answer came.
    pub returned: Option<Mark>,
    /// Whose it is.
    pub client: u64,
    /// The member asked.
    pub node: u64,
    /// The request.
    pub text: String,
    /// The keys and ranges it names.
    pub keys: Vec<String>,
    /// Answered from a member's own state.
    pub local: bool,
    /// `ok`, `refused`, or why nothing is known.
    pub result: String,
    /// The answer.
    pub answer: String,
    /// The revision it saw.
    pub revision: i64,
}

/// Anything else that happened, mostly at one member.
#[derive(Clone, Debug)]
pub struct Happening {
    /// When.
    pub mark: Mark,
    /// The member; 0 when it is nobody's.
    pub node: u64,
    /// What kind of thing.
    pub kind: String,
    /// What, in words.
    pub text: String,
    /// The operations it concerns.
    pub ops: Vec<u64>,
    /// What it changed about the member.
    pub change: Map<String, Value>,
}

/// Something that was wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// `cut`, `slow`, `pause`, `disk` and so on.
    pub what: String,
    /// From when on.
    pub from: u64,
    /// Until when; the end of the run when it was not ended.
    pub until: u64,
    /// The members concerned.
    pub nodes: Vec<u64>,
    /// In words.
    pub text: String,
}

/// A run, understood.
#[derive(Debug, Default)]
pub struct Model {
    /// Lines in the trace.
    pub lines: usize,
    /// The number of events, asides left out, before each line.
    pub numbers: Vec<u64>,
    /// In the order of sending.
    pub messages: Vec<Message>,
    /// In the order of calls.
    pub operations: Vec<Operation>,
    /// In order.
    pub happenings: Vec<Happening>,
    /// In the order of their beginnings.
    pub faults: Vec<Fault>,
    /// The line of the violation.
    pub violation: Option<Mark>,
    /// The time of the last line.
    pub end: u64,
}

/// Reads what the lines mean.
pub fn understand(lines: &[Line]) -> Model {
    let mut model = Model { lines: lines.len(), end: lines.last().map_or(0, |line| line.at_ns), ..Model::default() };
    let mut by_id: BTreeMap<u64, usize> = BTreeMap::new();
    let mut by_op: BTreeMap<u64, usize> = BTreeMap::new();
    let mut faults = Faults::default();
    for (place, line) in lines.iter().enumerate() {
        let mark = Mark { line: place, at: line.at_ns };
        model.numbers.push(line.n);
        match (line.event.is_some(), line.kind()) {
            (true, "send" | "lost") => {
                by_id.insert(line.number("id"), model.messages.len());
                model.messages.push(message(line, mark));
            }
            (true, "arrive") => {
                if let Some(message) = by_id.get(&line.number("id")) {
                    let message = &mut model.messages[*message];
                    message.arrived.push(mark);
                    if line.text("fate") == "full" {
                        message.fate = "full".to_owned();
                    }
                }
            }
            (true, "call") => {
                by_op.insert(line.number("op"), model.operations.len());
                model.operations.push(operation(line, mark));
            }
            (true, "return") => {
                if let Some(operation) = by_op.get(&line.number("op")) {
                    let operation = &mut model.operations[*operation];
                    operation.returned = Some(mark);
                    operation.result = line.text("result").to_owned();
                    operation.answer = line.text("text").to_owned();
                    operation.revision = line.get("revision").as_i64().unwrap_or(0);
                }
            }
            // For who searches; nothing to look at.
            (_, "draws" | "watching") => {}
            (_, kind) => {
                faults.note(line);
                if kind == "violation" {
                    model.violation.get_or_insert(mark);
                }
                model.happenings.push(happening(line, mark));
            }
        }
    }
    model.faults = faults.end(model.end);
    model
}

fn message(line: &Line, sent: Mark) -> Message {
    Message {
        sent,
        arrived: Vec::new(),
        link: (line.number("from"), line.number("to")),
        say: line.text("say").to_owned(),
        fate: line.text("fate").to_owned(),
        term: line.number("term"),
        text: line.text("text").to_owned(),
        ops: line.numbers("ops"),
    }
}

fn operation(line: &Line, called: Mark) -> Operation {
    let keys = line
        .get("keys")
        .as_array()
        .map_or_else(Vec::new, |keys| keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect());
    Operation {
        op: line.number("op"),
        called,
        returned: None,
        client: line.number("client") % CLIENT_LINE,
        node: line.number("node"),
        text: line.text("text").to_owned(),
        keys,
        local: line.get("local").as_bool().unwrap_or(false),
        result: String::new(),
        answer: String::new(),
        revision: 0,
    }
}

fn happening(line: &Line, mark: Mark) -> Happening {
    let kind = match line.kind() {
        "happened" => line.text("what"),
        kind => kind,
    };
    Happening {
        mark,
        node: line.number("node"),
        kind: kind.to_owned(),
        text: words::happening(kind, line),
        ops: line.numbers("ops").into_iter().chain(line.get("op").as_u64()).collect(),
        change: change(kind, line),
    }
}

/// What an event changes about its member.
fn change(kind: &str, line: &Line) -> Map<String, Value> {
    let get = |name: &str| line.get(name).clone();
    let change = match kind {
        "standing" => json!({"term": get("term"), "role": get("role"), "leader": get("leader")}),
        "starting" => json!({"role": "booting", "release": get("release")}),
        "booted" => json!({
            "role": "follower", "leader": 0, "term": get("term"), "vote": get("vote"), "last": get("last"),
            "last_term": get("last_term"), "durable": get("last"), "applied": get("applied"), "commit": get("applied"),
            "storage": get("storage"), "release": get("release"),
        }),
        "fault.kill" | "fault.power_loss" => json!({"role": "down", "leader": 0, "paused": false}),
        "fatal" | "refused" => json!({"role": "failed", "leader": 0}),
        "paused" => json!({"paused": true}),
        "resumed" => json!({"paused": false}),
        "appended" => json!({"last": get("last"), "last_term": get("term")}),
        "committed" => json!({"commit": get("index")}),
        "durable" => {
            let mut change = json!({});
            for (from, to) in [("index", "durable"), ("vote", "vote")] {
                if line.detail.contains_key(from) {
                    change[to] = get(from);
                }
            }
            change
        }
        "applied" => json!({"applied": get("index"), "revision": get("revision"), "state": get("state")}),
        "snapshot_installed" => json!({
            "applied": get("index"), "commit": get("index"), "last": get("index"), "last_term": get("term"),
            "durable": get("index"), "revision": get("revision"),
        }),
        "checkpoint" => json!({"checkpoint": get("index")}),
        "storage_migrated" => json!({"storage": get("to")}),
        "disk_trouble" => json!({"disk": get("what")}),
        "disk_relief" => json!({"disk": ""}),
        _ => json!({}),
    };
    match change {
        Value::Object(change) => change,
        _ => unreachable!("every change is an object"),
    }
}

/// A trouble with links: what, for which kinds, from when until when.
type LinkTrouble = (String, String, u64, u64);

#[derive(Default)]
struct Faults {
    /// Links in trouble, by the rule's name: what, kinds, from, to, since when.
    open: BTreeMap<u64, (String, String, (u64, u64), u64)>,
    links: BTreeMap<LinkTrouble, Vec<(u64, u64)>>,
    /// Members in trouble: what, in words, since when.
    nodes: BTreeMap<(u64, &'static str), (String, u64)>,
    done: Vec<Fault>,
}

impl Faults {
    fn note(&mut self, line: &Line) {
        let node = line.number("node");
        match line.kind() {
            "trouble" => {
                let kinds: Vec<&str> =
                    line.get("kinds").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let kinds = if kinds.len() == 7 { String::new() } else { kinds.join(", ").replace("raft.", "") };
                let link = (line.number("from"), line.number("to"));
                self.open.insert(line.number("id"), (line.text("what").to_owned(), kinds, link, line.at_ns));
            }
            "relief" => {
                if let Some(open) = self.open.remove(&line.number("id")) {
                    self.close(open, line.at_ns);
                }
            }
            "paused" => self.begin(node, "pause", String::new(), line.at_ns),
            "resumed" => self.end_of(node, "pause", line.at_ns),
            "disk_trouble" => self.begin(node, "disk", line.text("what").to_owned(), line.at_ns),
            "disk_relief" => self.end_of(node, "disk", line.at_ns),
            "clock" => {
                let drift = line.get("drift").as_f64();
                if drift.is_some() {
                    self.end_of(node, "clock", line.at_ns);
                }
                if drift.is_some_and(|drift| drift != 0.0) {
                    self.begin(node, "clock", words::clock(line).replace("its clock ", ""), line.at_ns);
                }
            }
            "booted" => self.end_of(node, "down", line.at_ns),
            "fatal" | "refused" => self.begin(node, "down", "stopped by itself".to_owned(), line.at_ns),
            "happened" => match line.text("what") {
                "fault.kill" => self.begin(node, "down", String::new(), line.at_ns),
                "fault.power_loss" => self.begin(node, "down", "power loss".to_owned(), line.at_ns),
                _ => {}
            },
            _ => {}
        }
    }

    fn begin(&mut self, node: u64, what: &'static str, text: String, at: u64) {
        self.nodes.entry((node, what)).or_insert((text, at));
    }

    fn end_of(&mut self, node: u64, what: &'static str, until: u64) {
        if let Some((text, from)) = self.nodes.remove(&(node, what)) {
            self.done.push(Fault { what: what.to_owned(), from, until, nodes: vec![node], text });
        }
    }

    fn close(&mut self, (what, kinds, link, from): (String, String, (u64, u64), u64), until: u64) {
        self.links.entry((what, kinds, from, until)).or_default().push(link);
    }

    fn end(mut self, end: u64) -> Vec<Fault> {
        for open in std::mem::take(&mut self.open).into_values() {
            self.close(open, end);
        }
        for (node, what) in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.end_of(node, what, end);
        }
        for ((what, kinds, from, until), links) in self.links {
            let mut nodes: Vec<u64> = links.iter().flat_map(|(a, b)| [*a, *b]).collect();
            nodes.sort_unstable();
            nodes.dedup();
            let (nodes, text) = words::links(&links, nodes);
            let text = if kinds.is_empty() { text } else { format!("{text} ({kinds})") };
            self.done.push(Fault { what, from, until, nodes, text });
        }
        self.done.sort_by_key(|fault| (fault.from, fault.until, fault.nodes.clone()));
        self.done
    }
}
