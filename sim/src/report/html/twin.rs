//! Two runs side by side, round the place where they part.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::trace::Line;
use super::words;

/// Rows before the parting, and from it on.
const BEFORE: usize = 5;
const AFTER: usize = 12;

/// What a twin is found to be: `change` in words, after so many tries.
pub fn side_by_side(failing: &[Line], passing: &[Line], at: usize, change: &str, tried: usize) -> Value {
    let (ours, same) = rows(failing, at);
    let (theirs, _) = rows(passing, at);
    let line = failing.get(at).or_else(|| failing.last());
    json!({
        "found": true, "change": change, "tried": tried, "same": same, "failing": ours, "passing": theirs,
        "event": line.map_or(0, |line| line.n), "at_ns": line.map_or(0, |line| line.at_ns),
    })
}

/// Rows round a line, and how many of them stand before it.
fn rows(lines: &[Line], at: usize) -> (Vec<Value>, usize) {
    let mut sent: BTreeMap<u64, String> = BTreeMap::new();
    let mut row = |line: &Line| -> Option<Value> {
        let text = match line.kind() {
            "draws" | "watching" => return None,
            "send" | "lost" => {
                let text = format!("{}: {}", line.text("say"), line.text("text"));
                sent.insert(line.number("id"), text.clone());
                let fate = if line.kind() == "lost" { " (lost)" } else { "" };
                format!("n{} sends n{} {text}{fate}", line.number("from"), line.number("to"))
            }
            "arrive" => {
                let text = sent.get(&line.number("id")).cloned().unwrap_or_default();
                format!("n{} gets from n{} {text}", line.number("to"), line.number("from"))
            }
            "call" => {
                format!("a client asks n{}: {} (op{})", line.number("node"), line.text("text"), line.number("op"))
            }
            "return" => match line.text("result") {
                "ok" => format!("op{} is told: {}", line.number("op"), line.text("text")),
                _ => format!("op{} ends: {}", line.number("op"), line.text("text")),
            },
            "happened" => format!("{} {}", node(line), words::happening(line.text("what"), line)),
            kind => format!("{} {}", node(line), words::happening(kind, line)),
        };
        Some(json!([line.at_ns, text.trim()]))
    };
    let all: Vec<Option<Value>> = lines.iter().take(at + 4 * AFTER).map(&mut row).collect();
    let (before, after) = all.split_at(at.min(all.len()));
    let mut before: Vec<Value> = before.iter().rev().flatten().take(BEFORE).cloned().collect();
    before.reverse();
    let same = before.len();
    before.extend(after.iter().flatten().take(AFTER).cloned());
    (before, same)
}

fn node(line: &Line) -> String {
    match line.number("node") {
        0 => String::new(),
        number => format!("n{number}"),
    }
}
