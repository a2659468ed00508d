//! The passing run nearest to a failing one: one thing is changed, and all is well.
//!
//! What parts last from the failing run tells most, so what changes least is tried first: the planted bug is left out
//! where there is one; single draws have another value, the last ones first (a run can part no later than at the draw
//! that was changed); the last steps and operations are left out, or come a little earlier or later. Other seeds, which
//! are other runs from the beginning, come last.

use std::time::Instant;

use evenkeel_scenario::cluster::Planted;
use evenkeel_scenario::{Nanos, Resolved};
use serde_json::{Value, json};

use super::CliError;
use super::trial::{Change, Ground};
use crate::report::html::{search, twin};
use crate::report::trace::{self, Line};

/// Draws before the failure of which another value is tried.
const DRAWS: usize = 60;
/// They are chosen from so many.
const DRAWS_SEEN: usize = 2_000;
/// What is drawn so soon after the failure may have been drawn before it.
const LATE_NS: u64 = 50_000_000;
/// Steps and operations that are left out or moved.
const ITEMS: usize = 20;
/// By so much they are moved.
const MOVES: [Nanos; 4] =
    [Nanos::from_millis(-20), Nanos::from_millis(20), Nanos::from_millis(-500), Nanos::from_millis(500)];
/// Other seeds.
const SEEDS: u64 = 100;

/// The twin and how it was looked for, for a page.
pub fn find_twin(
    ground: &Ground<'_>,
    resolved: &Resolved,
    lines: &[Line],
    drawn: &[search::Drawn],
    until: Instant,
) -> Result<Value, CliError> {
    let stages = stages(ground, resolved, drawn);
    let (mut tried, mut same, mut left) = (0, 0, stages.len() as u32);
    for candidates in stages {
        // Each gets an equal part of what is left of the time.
        let now = Instant::now();
        let part = now + until.saturating_duration_since(now) / left;
        left -= 1;
        let change = |place: &usize| vec![candidates[*place].clone()];
        let (mut next, mut nearest) = (0, None);
        while nearest.is_none() && next < candidates.len() && Instant::now() < part {
            let mut passing: Vec<usize> = Vec::new();
            ground.try_all(next..candidates.len(), change, part, |place, verdict, fails_so| {
                tried += 1;
                same += usize::from(fails_so);
                if verdict.passed() {
                    passing.push(place);
                }
                passing.is_empty()
            });
            let Some(place) = passing.into_iter().min() else { break };
            // It was played until soon after the failure; it may fail like it later.
            nearest = Some(&candidates[place]).filter(|change| ground.passes(change));
            next = place + 1;
        }
        let Some(change) = nearest else { continue };
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("twin.ndjson");
        ground.trace(std::slice::from_ref(change), &path);
        let theirs = trace::read(&path)?;
        let at = search::parting(lines, &theirs).unwrap_or((lines.len(), theirs.len()));
        return Ok(twin::side_by_side(lines, &theirs, at, &change.words(resolved), tried));
    }
    Ok(json!({"found": false, "tried": tried, "same": same}))
}

/// What is tried, stage by stage; within a stage the first that passes is the nearest.
fn stages(ground: &Ground<'_>, resolved: &Resolved, drawn: &[search::Drawn]) -> Vec<Vec<Change>> {
    let mut stages = Vec::new();
    if resolved.cluster.mutants != Planted::default() {
        stages.push(vec![Change::Unplanted]);
    }
    stages.push(draws(drawn, ground.at.as_nanos() as u64));
    let items: Vec<_> = ground.items().into_iter().take(ITEMS).collect();
    stages.push(items.iter().map(|item| Change::Without(*item)).collect());
    stages.push(items.iter().flat_map(|item| MOVES.map(|by| Change::Moved(*item, by))).collect());
    let first = ground.decisions.seed();
    stages.push((1..=SEEDS).map(|more| Change::Seed(first.wrapping_add(more))).collect());
    stages.retain(|stage: &Vec<Change>| !stage.is_empty());
    stages
}

/// Other values of the last draws: all of the very last ones, and fewer and fewer of those before.
fn draws(drawn: &[search::Drawn], failed_ns: u64) -> Vec<Change> {
    let latest = drawn.iter().rev().filter(|it| it.at_ns <= failed_ns + LATE_NS).flat_map(|it| it.new.iter().rev());
    let draws: Vec<_> = latest.filter(|(label, _)| !label.starts_with("node/")).take(DRAWS_SEEN).collect();
    let places = (0..DRAWS).map(|i| i + i * i * i / (DRAWS * 4)).take_while(|place| *place < draws.len());
    let places: Vec<usize> = places.collect();
    let change = |value| {
        let draws = &draws;
        places.iter().map(move |place| Change::Draw(draws[*place].0.clone(), draws[*place].1, value))
    };
    [u64::MAX, 0].into_iter().flat_map(change).collect()
}
