//! The short version for every change: each known bug against a run that finds it.
//!
//! Runs come from the generic swarm, whose tables change; so a seed that finds a bug today may not tomorrow. A bug is
//! looked for from its seed on, in a bounded number of runs. What no longer bites at its own seed is told: note the new
//! seed here. A few bugs are so rare in the swarm that each is looked for in the scenario written for it.

use std::io::Write;

use super::trial::{Box, Effort, Source, run_seeds, try_out};
use crate::cli::CliError;
use crate::cli::plan::check;
use crate::cli::table::{Table, duration};
use crate::gallery::{GALLERY, Origin, Plant};
use crate::report::World;
use std::time::Duration;

/// A seed from which each known bug is found soon.
const SEEDS: &[(&str, u64)] = &[
    ("ci-ahead", 62),
    ("commit-old-term", 3),
    ("readindex-no-term-commit", 17),
    ("confchange-unapplied", 669),
    ("watch-time-travel", 76),
    ("watch-starved-loss", 11),
    ("progress-unsynced", 1316),
    ("compact-drops-tombstone", 59),
    ("rev-decrease", 4),
    ("single-node-ack", 24),
    ("defrag-skips-ci", 3),
    ("future-watch", 276),
    ("trunc-on-stale-append", 29),
    ("async-append-aba", 168),
    ("prevote-term-echo", 1),
    ("fsync-retry", 3),
];
/// Bugs that the generic swarm finds too rarely to wait for, with the scenario that was written for each.
const RARE: &[(&str, &str, &str)] = &[
    (
        "readindex-reuse",
        "scenarios/old-rounds-confirm-nothing.toml",
        include_str!("../../../../scenarios/old-rounds-confirm-nothing.toml"),
    ),
    (
        "old-leader-revokes",
        "scenarios/old-leader-wakes.toml",
        include_str!("../../../../scenarios/old-leader-wakes.toml"),
    ),
];
/// Runs for one bug. Not core time: what the gate says must not hang on how fast a machine is.
const RUNS: u64 = 400;
/// Runs of each harmless change, and of no change at all.
const QUIET_RUNS: u64 = 6;
/// Runs of the canary.
const CANARY_RUNS: u64 = 3;

/// True when every known bug is found, the canary by every run, and nothing harmless by any.
pub fn gate(parallel: usize, source: Source<'_>, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let mut table = Table::new(&["bug", "must", "did", "by", ">runs", ">core time"]);
    let mut holds = true;
    let mut line = |plant: &Plant, must: &str, good: bool, by: &str, runs: u64, spent: Duration| {
        holds &= good;
        let did = if good { "as it must" } else { "NOT" };
        table
            .row([plant.name, must, did, by].map(str::to_owned).into_iter().chain([runs.to_string(), duration(spent)]));
    };
    for plant in GALLERY {
        match plant.origin {
            Origin::Own => {}
            Origin::Known { .. } => {
                let first = SEEDS.iter().find(|(name, _)| *name == plant.name).map_or(0, |(_, seed)| *seed);
                let effort = Effort { trials: 1, budget: Duration::MAX, runs: RUNS, first, parallel };
                let rare = RARE.iter().find(|(name, ..)| *name == plant.name);
                let own = rare.map(|(_, file, text)| check(text, file, world).expect("a scenario of ours"));
                let of_its_own = |_| own.clone().expect("looked at below");
                let source = if own.is_some() { Source::Seeds(&of_its_own) } else { source };
                let score = try_out(plant, Box::White, effort, source, world)?;
                let (spent, find) = &score.trials[0];
                let by = find.as_ref().map_or(String::new(), |find| match find.seed == first {
                    true => find.by.clone(),
                    false => format!("{}, at seed {} only", find.by, find.seed),
                });
                line(plant, "be found", find.is_some(), &by, score.runs, *spent);
            }
            Origin::Benign => {
                let (hits, runs, spent, by) = count(plant, QUIET_RUNS, parallel, source, world);
                line(plant, "not be found", hits == 0, &by, runs, spent);
            }
            Origin::Canary => {
                let (hits, runs, spent, by) = count(plant, CANARY_RUNS, parallel, source, world);
                line(plant, "always be found", hits == runs, &by, runs, spent);
            }
        }
    }
    out.write_all(table.render().as_bytes())?;
    Ok(holds)
}

/// Runs that did not pass, all runs, their core time, and what the first of them broke.
fn count(plant: &Plant, runs: u64, parallel: usize, source: Source<'_>, world: &World) -> (u64, u64, Duration, String) {
    let (mut hits, mut done, mut spent, mut by) = (0, 0, Duration::ZERO, String::new());
    run_seeds((Some(plant), Box::White), 0..runs, parallel, source, world, |report| {
        done += 1;
        spent += Duration::from_nanos(report.cpu_ns);
        if let Some(what) = super::trial::broken_by(&report.verdict) {
            hits += 1;
            by = what;
        }
    });
    (hits, done, spent, by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_those_of_known_bugs() {
        for (name, _) in SEEDS {
            let plant = crate::gallery::find(name).unwrap_or_else(|| panic!("{name} is not in the gallery"));
            assert!(matches!(plant.origin, Origin::Known { .. }), "{name} is not looked for");
        }
    }
}
