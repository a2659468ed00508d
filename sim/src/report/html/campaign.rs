//! A campaign as one page: what was run, how much it saw, what it never saw, what failed, and the gallery.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::explore::Summary;

/// Points in the curve of what was seen.
const POINTS: usize = 240;
/// Characters of a failure's message.
const MESSAGE_MAX: usize = 400;

/// The page. `unmet` is what no run came to; `gallery` are rows of a table, as objects with the same names.
pub fn render(summary: &Summary, unmet: &[String], gallery: &[Value]) -> String {
    let sums = summary.sums();
    let lines: Vec<_> = summary.lines().collect();
    let every = lines.len().div_ceil(POINTS).max(1);
    let (mut seen, mut signatures, mut growth) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (place, line) in lines.iter().enumerate() {
        seen.extend(line.seen.iter());
        signatures.extend(line.failure.as_ref().map(|failure| &failure.signature));
        if place % every == 0 || place + 1 == lines.len() {
            growth.push(json!([place + 1, seen.len(), signatures.len()]));
        }
    }
    let groups: Vec<Value> = (summary.groups().into_iter())
        .map(|group| {
            let (profile, mutants, seed) = group.first;
            let mutants = mutants.split(',').filter(|name| !name.is_empty()).map(|name| format!(" --mutant {name}"));
            let again =
                format!("cargo sim fuzz --profile {profile} --first {seed} --seeds 1{}", mutants.collect::<String>());
            let message: String = group.message.chars().take(MESSAGE_MAX).collect();
            json!([group.signature, group.runs, again, message])
        })
        .collect();
    let rare: Vec<Value> = {
        let mut rare: Vec<_> = summary.seen().into_iter().collect();
        rare.sort_by_key(|(_, runs)| *runs);
        rare.into_iter().take(12).map(|(name, runs)| json!([name, runs])).collect()
    };
    let data = json!({
        "sums": sums, "groups": groups, "growth": growth, "unmet": unmet, "rare": rare, "gallery": gallery,
    });
    let scripts = [super::BASE, include_str!("campaign.js")];
    super::page(include_str!("campaign.html"), super::STYLE, &scripts, "Campaign", &data)
}
