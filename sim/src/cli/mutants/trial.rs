//! One planted bug against run after run of the generic swarm, until it is found or the time is spent.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_scenario::cluster::Plant as Planted;
use evenkeel_scenario::stats::Proportion;
use evenkeel_scenario::{Resolved, Selector, WHITE_BOX};

use super::super::runner::{Extras, MADE_WALL_LIMIT, complete, run_with};
use crate::cli::CliError;
use crate::fork::{Limits, run_all};
use crate::gallery::{self, Plant};
use crate::report::{INCONCLUSIVE, RunReport, Verdict, World};

/// Seeds of different trials are so far apart.
const TRIAL_SEEDS: u64 = 1_000_000;
/// Every so many seeds one plants the bug in a single member: mixed clusters fail differently.
const MIXED_EVERY: u64 = 4;
/// Trials without a find after which the others are not begun.
const HOPELESS_TRIALS: usize = 2;

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Box {
    /// Everything, also what looks inside members.
    White,
    /// Only what a client could see.
    Black,
}

/// Where runs come from: the scenario of a seed.
pub type Source<'a> = &'a dyn Fn(u64) -> Result<evenkeel_scenario::Scenario, CliError>;

/// How much is spent on a bug.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Trials.
    pub trials: u64,
    /// Core time after which a trial is given up.
    pub budget: Duration,
    /// The first seed of the first trial.
    pub first: u64,
    /// Runs at once.
    pub parallel: usize,
}

/// A run that found the bug.
#[derive(Clone, Debug)]
pub struct Find {
    /// Its seed.
    pub seed: u64,
    /// The oracle or expectation, or what else ended it.
    pub by: String,
    /// One sentence.
    pub message: String,
}

/// What came of all trials.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Runs.
    pub runs: u64,
    /// Runs that came to the place where the bug acts.
    pub reached: u64,
    /// Runs in which it made a difference.
    pub diverged: u64,
    /// Per trial, the core time until the bug was found, or none, and the first find.
    pub trials: Vec<(Duration, Option<Find>)>,
    /// Runs that found it.
    pub hits: u64,
    /// By whom, and how often.
    pub by: BTreeMap<String, u64>,
    /// Runs that the testbed could not finish.
    pub errors: Vec<String>,
}

impl Score {
    /// Trials in which the bug was found.
    pub fn found(&self) -> usize {
        self.trials.iter().filter(|(_, find)| find.is_some()).count()
    }

    /// The share of runs that find it.
    pub fn share(&self) -> Proportion {
        Proportion { hits: self.hits, runs: self.runs }
    }

    /// Core time to the find in the middle trial; none when that one did not find it.
    pub fn median(&self) -> Option<Duration> {
        let mut effort: Vec<(bool, Duration)> =
            self.trials.iter().map(|(spent, find)| (find.is_none(), *spent)).collect();
        effort.sort_unstable();
        effort.get(effort.len().checked_sub(1)? / 2).filter(|(missed, _)| !missed).map(|(_, spent)| *spent)
    }

    /// Who found it most often.
    pub fn mostly_by(&self) -> Option<&str> {
        self.by.iter().max_by_key(|(_, count)| **count).map(|(by, _)| by.as_str())
    }

    fn add(&mut self, plant: &Plant, report: &RunReport) -> Option<Find> {
        self.runs += 1;
        let counted = |counter: String| u64::from(report.counters.get(&counter).is_some_and(|count| 0 < *count));
        self.reached += counted(gallery::reached_counter(plant.name));
        self.diverged += counted(gallery::diverged_counter(plant.name));
        let message = match &report.verdict {
            Verdict::Pass => return None,
            Verdict::Error { message } => {
                self.errors.push(format!("seed {}: {message}", report.seed));
                return None;
            }
            // An oracle that gave up has found nothing.
            Verdict::Violation { what, message, .. } if what == INCONCLUSIVE => {
                self.errors.push(format!("seed {}: {message}", report.seed));
                return None;
            }
            Verdict::Violation { message, .. } | Verdict::Panic { message, .. } => message.clone(),
        };
        let by = broken_by(&report.verdict)?;
        Some(Find { seed: report.seed, by, message })
    }

    /// Counts a find, unless the run fails without the bug as well.
    fn confirm(&mut self, find: &Find, without: Option<String>) -> bool {
        if let Some(what) = without {
            self.errors.push(format!("seed {}: fails without the bug, too: {what}", find.seed));
            return false;
        }
        self.hits += 1;
        *self.by.entry(find.by.clone()).or_default() += 1;
        true
    }
}

/// The oracle or expectation that ended the run, or what else did.
pub fn broken_by(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Violation { what, .. } => Some(what.clone()),
        Verdict::Panic { .. } => Some("panic".to_owned()),
        Verdict::Error { .. } => Some("error".to_owned()),
    }
}

/// Plants the bug in a run: in all members, or in one.
pub fn plant_in(resolved: &mut Resolved, plant: Option<&Plant>, judged: Box) {
    let (seed, nodes) = (resolved.seed, resolved.cluster.nodes);
    let mixed = seed % MIXED_EVERY == MIXED_EVERY - 1 && 1 < nodes;
    let on = if mixed { Selector::Node(1 + seed / MIXED_EVERY % nodes) } else { Selector::All };
    resolved.cluster.mutants.0.extend(plant.map(|plant| Planted::new(plant.name, on)));
    if judged == Box::Black {
        resolved.opt_out.push(WHITE_BOX.to_owned());
    }
}

/// One run with the bug, in this process.
fn run(plant: Option<&Plant>, judged: Box, seed: u64, source: Source<'_>, world: &World) -> RunReport {
    let scenario = source(seed).expect("the same source gave other scenarios before");
    let cell = &scenario.cells()[0];
    run_with(&scenario, cell, seed, &Extras::default(), |mut input| {
        plant_in(&mut input.resolved, plant, judged);
        (world.run)(input)
    })
}

/// Runs these seeds, as long as `go_on` says so before each.
pub fn run_seeds(
    (plant, judged): (Option<&Plant>, Box),
    seeds: impl IntoIterator<Item = u64>,
    parallel: usize,
    source: Source<'_>,
    world: &World,
    mut done: impl FnMut(RunReport),
) {
    let work = |seed: &u64| run(plant, judged, *seed, source, world);
    run_all(seeds, Limits { jobs: parallel, wall: MADE_WALL_LIMIT }, work, |seed, finished| {
        done(complete(finished, plant.map_or("", |plant| plant.name), &Default::default(), seed));
    });
}

/// The first of these seeds whose run does not pass, as long as there is time.
fn search(
    what: (&Plant, Box),
    seeds: std::ops::Range<u64>,
    effort: Effort,
    spent: &mut Duration,
    score: &mut Score,
    source: Source<'_>,
    world: &World,
) -> Option<Find> {
    let (used, over) = (Cell::new(*spent), Cell::new(false));
    let mut first: Option<Find> = None;
    let seeds = seeds.take_while(|_| !over.get() && used.get() < effort.budget);
    run_seeds((Some(what.0), what.1), seeds, effort.parallel, source, world, |report| {
        used.set(used.get() + Duration::from_nanos(report.cpu_ns));
        let found = score.add(what.0, &report);
        over.set(over.get() || found.is_some());
        // The lowest seed, so that the next search goes on behind it.
        if found.as_ref().is_some_and(|found| first.as_ref().is_none_or(|first| found.seed < first.seed)) {
            first = found;
        }
    });
    *spent = used.get();
    first
}

/// What the same run breaks without the bug.
fn control(judged: Box, seed: u64, source: Source<'_>, world: &World) -> Option<String> {
    let mut broken = None;
    run_seeds((None, judged), [seed], 1, source, world, |report| broken = broken_by(&report.verdict));
    broken
}

/// All trials of one bug.
pub fn try_out(plant: &Plant, judged: Box, effort: Effort, source: Source<'_>, world: &World) -> Score {
    let mut score = Score::default();
    for trial in 0..effort.trials {
        if score.trials.len() == HOPELESS_TRIALS && score.found() == 0 {
            break;
        }
        let seeds = effort.first + trial * TRIAL_SEEDS..effort.first + (trial + 1) * TRIAL_SEEDS;
        let (mut spent, mut first, mut found) = (Duration::ZERO, seeds.start, None);
        while let Some(find) = search((plant, judged), first..seeds.end, effort, &mut spent, &mut score, source, world)
        {
            first = find.seed + 1;
            if score.confirm(&find, control(judged, find.seed, source, world)) {
                found = Some(find);
                break;
            }
        }
        score.trials.push((spent, found));
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(millis: u64, found: bool) -> (Duration, Option<Find>) {
        let find = || Find { seed: 0, by: "raft".into(), message: String::new() };
        (Duration::from_millis(millis), found.then(find))
    }

    #[test]
    fn a_missed_trial_counts_as_longer_than_any_other() {
        let score = |trials| Score { trials, ..Score::default() };
        assert_eq!(score(vec![]).median(), None);
        assert_eq!(score(vec![trial(9, false)]).median(), None);
        let mixed = vec![trial(5, true), trial(1, false), trial(7, true)];
        assert_eq!(score(mixed).median(), Some(Duration::from_millis(7)));
        assert_eq!(score(vec![trial(5, true), trial(1, false), trial(9, false)]).median(), None);
    }
}
