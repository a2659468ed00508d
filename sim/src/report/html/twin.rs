//! Two runs side by side, round the place where they part.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::trace::Line;
use super::words;

/// Rows before the parting, and from it on.
const BEFORE: usize = 5;
const AFTER: usize = 12;

/// What a twin is found to be: `change` in words, after so many tries. `at`: where they part, in each of the two.
pub fn side_by_side(failing: &[Line], passing: &[Line], at: (usize, usize), change: &str, tried: usize) -> Value {
    let (ours, same) = rows(failing, at.0);
    let (theirs, _) = rows(passing, at.1);
    let line = failing.get(at.0).or_else(|| failing.last());
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
                let text = words::said(line.text("say"), line.number("term"), line.text("text"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_differ_in_the_term_of_a_vote_alone_do_not_read_the_same() {
        let sent = |detail: Value| {
            let line = json!({"n": 1, "at_ns": 5, "event": "send", "from": 2, "to": 1, "detail": detail});
            vec![serde_json::from_value::<Line>(line).expect("a line")]
        };
        let failing = sent(json!({"id": 1, "say": "pre-vote answer", "text": "yes"}));
        let passing = sent(json!({"id": 1, "say": "pre-vote answer", "text": "yes", "term": 1}));
        let twin = side_by_side(&failing, &passing, (0, 0), "", 1);
        assert_eq!(twin["failing"][0][1], "n2 sends n1 pre-vote answer (term 0): yes");
        assert_eq!(twin["passing"][0][1], "n2 sends n1 pre-vote answer (term 1): yes");
        let query = side_by_side(&sent(json!({"id": 1, "say": "query", "text": ""})), &[], (0, 0), "", 1);
        assert_eq!(query["failing"][0][1], "n2 sends n1 query");
    }
}
