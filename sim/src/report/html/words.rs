//! Events in words.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::trace::Line;
use crate::repro::deed;

/// Of a longer list of links only so many are named.
const LINKS_MAX: usize = 4;

fn node(number: u64) -> String {
    format!("n{number}")
}

/// Messages that are about their term.
const VOTES: [&str; 4] = ["vote", "vote answer", "pre-vote", "pre-vote answer"];

/// What a message says: what sort it is, for which term a vote is, and its text.
pub fn said(say: &str, term: u64, text: &str) -> String {
    let term = if VOTES.contains(&say) { format!(" (term {term})") } else { String::new() };
    let text = if text.is_empty() { String::new() } else { format!(": {text}") };
    format!("{say}{term}{text}")
}

/// What an event or aside says. Who it is about is shown beside it.
pub fn happening(kind: &str, line: &Line) -> String {
    let number = |name: &str| line.number(name);
    let text = |name: &str| line.text(name);
    match kind {
        "standing" => match (text("role"), number("leader")) {
            ("leader", _) => format!("leads in term {}", number("term")),
            ("candidate", _) => format!("campaigns in term {}", number("term")),
            ("pre-candidate", _) => format!("asks who would vote for it (term {})", number("term")),
            (_, 0) => format!("follows nobody in term {}", number("term")),
            (_, leader) => format!("follows {} in term {}", node(leader), number("term")),
        },
        "starting" => format!("starts ({})", text("release")),
        "booted" => format!(
            "has read its disk: term {}, log to i{}, applied i{}",
            number("term"),
            number("last"),
            number("applied")
        ),
        "stopping" => "is asked to stop".to_owned(),
        "ready" => "serves clients".to_owned(),
        "fatal" | "refused" => format!("stops by itself: {}", text("reason")),
        "step_refused" => format!("{} is refused: {}", text("step"), text("reason")),
        "fault.kill" => "process ends".to_owned(),
        "fault.power_loss" => "loses power".to_owned(),
        "paused" => "is paused".to_owned(),
        "resumed" => "goes on".to_owned(),
        "appended" => format!("appends {}", text("text")),
        "committed" => format!("commits up to i{}", number("index")),
        "durable" if line.detail.contains_key("index") => format!("has i{} on disk", number("index")),
        "durable" => format!("has term {} and its vote on disk", number("term")),
        "applied" => {
            let writes = line
                .get("writes")
                .as_array()
                .map_or_else(Vec::new, |writes| writes.iter().map(|write| written(&write[0], &write[1])).collect());
            let what = if writes.is_empty() { String::new() } else { format!(": {}", writes.join(", ")) };
            format!("applies i{}@t{}{what} → r{}", number("index"), number("term"), line.get("revision"))
        }
        "snapshot_installed" => format!("takes a snapshot up to i{}", number("index")),
        "snapshot_begun" => format!("begins to send {} a snapshot up to i{}", node(number("to")), number("index")),
        "snapshot_sent" => format!("has sent {} a snapshot up to i{}", node(number("to")), number("index")),
        "checkpoint" if number("index") > 0 => format!("writes a checkpoint at i{}", number("index")),
        "configured" => format!("has a configuration at i{}: {}", number("index"), text("members")),
        "reset" => format!("learns that {} is gone", node(number("peer"))),
        "lease_expired" if line.event.as_deref() == Some("lease_expired") => {
            format!("finds lease {} expired", line.get("lease"))
        }
        "cluster_version" => format!("cluster version {}, downgrade {}", text("version"), text("downgrade")),
        "storage_migrating" => format!("migrates its data from {} to {}", text("from"), text("to")),
        "storage_migrated" => format!("has migrated its data to {}", text("to")),
        "elected" => "is elected".to_owned(),
        "step_down" => "steps down".to_owned(),
        "step" => format!("step {}", text("step")),
        "trouble" => format!("{} on {} → {}", text("what"), node(number("from")), node(number("to"))),
        "relief" => "link trouble ends".to_owned(),
        "disk_trouble" => format!("disk trouble: {}", text("what")),
        "disk_relief" => "disk trouble ends".to_owned(),
        "clock" => clock(line),
        "bound" => format!("is called ${} from here on", text("name")),
        "watch_open" => {
            format!("c{} watches {} from r{}", number("client"), text("keys"), line.get("from"))
        }
        "watch_events" => format!("watch{} sees {}", number("watch"), text("text")),
        "acts" => format!("the script: {}", deed::in_words(text("verb"), text("arguments"), &[])),
        "chosen" => format!("{} is {} now ({})", text("selector"), text("members"), text("step")),
        "violation" => format!("{}: {}", text("what"), text("message")),
        other => match text("step") {
            "" => other.replace('_', " "),
            step => format!("{} ({step})", other.replace('_', " ")),
        },
    }
}

/// What was done to a clock.
pub fn clock(line: &Line) -> String {
    let jump = line.get("offset_ns").as_i64().map(|by| format!("jumps by {} ms", by as f64 / 1e6));
    let drift = line.get("drift").as_f64().map(|drift| match drift {
        0.0 => "runs right again".to_owned(),
        drift => format!("runs {:.2} % too {}", drift.abs() * 100.0, if drift < 0.0 { "slowly" } else { "fast" }),
    });
    format!("its clock {}", [jump, drift].into_iter().flatten().collect::<Vec<_>>().join(" and "))
}

fn written(key: &Value, value: &Value) -> String {
    let key = key.as_str().unwrap_or_default();
    value.as_str().map_or_else(|| format!("{key} deleted"), |value| format!("{key} = {value}"))
}

/// Links in words, and the members they are about: one that is cut off in all directions is named alone.
pub fn links(links: &[(u64, u64)], nodes: Vec<u64>) -> (Vec<u64>, String) {
    let set: BTreeSet<(u64, u64)> = links.iter().copied().collect();
    let has = |from: u64, to: u64| set.contains(&(from, to));
    // Two sides, and everything between them.
    for (into, back) in [(true, true), (true, false), (false, true)] {
        for centre in &nodes {
            let others = nodes.iter().filter(|other| *other != centre);
            let all = others.clone().all(|other| has(*other, *centre) == into && has(*centre, *other) == back);
            let expected = (nodes.len() - 1) * (usize::from(into) + usize::from(back));
            if all && set.len() == expected && 2 < nodes.len() {
                let way = match (into, back) {
                    (true, true) => "from and to all others",
                    (true, false) => "from all others",
                    _ => "to all others",
                };
                return (vec![*centre], format!("{} {way}", node(*centre)));
            }
        }
    }
    let mut told: Vec<String> = Vec::new();
    for (from, to) in &set {
        match (has(*to, *from), from < to) {
            (true, true) => told.push(format!("{} ↔ {}", node(*from), node(*to))),
            (true, false) => {}
            (false, _) => told.push(format!("{} → {}", node(*from), node(*to))),
        }
    }
    let more = told.len().saturating_sub(LINKS_MAX);
    told.truncate(LINKS_MAX);
    let more = if more > 0 { format!(" and {more} more links") } else { String::new() };
    (nodes, told.join(", ") + &more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_as_a_person_would() {
        let both = |a: u64, b: u64| [(a, b), (b, a)];
        let off: Vec<(u64, u64)> = [both(2, 1), both(2, 3)].concat();
        for (given, nodes, text) in [
            (off, vec![2], "n2 from and to all others"),
            (vec![(1, 3), (2, 3)], vec![3], "n3 from all others"),
            (vec![(3, 1), (3, 2)], vec![3], "n3 to all others"),
            (both(1, 2).to_vec(), vec![1, 2], "n1 ↔ n2"),
            (vec![(1, 2)], vec![1, 2], "n1 → n2"),
            ([both(1, 2), both(1, 3), both(2, 4)].concat(), vec![1, 2, 3, 4], "n1 ↔ n2, n1 ↔ n3, n2 ↔ n4"),
        ] {
            let mut all: Vec<u64> = given.iter().flat_map(|(a, b)| [*a, *b]).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(links(&given, all), (nodes, text.to_owned()));
        }
    }
}
