//! One planted bug against run after run of the generic swarm, until it is found or the time is spent.
//!
//! Runs count in the order of their seeds, and a trial ends with the first that finds the bug: what others found that were
//! under way by then counts as little as what was never run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_scenario::cluster::{Plant as Planting, Planted};
use evenkeel_scenario::{Resolved, Scenario, Selector, WHITE_BOX};

use super::super::order::InOrder;
use super::super::runner::{Extras, MADE_WALL_LIMIT, complete, run_with};
use super::super::unfinished::Unfinished;
use super::share::UntilFound;
use crate::cli::CliError;
use crate::explore::generate::{ENDS, parse};
use crate::explore::{Corpus, Guide, Guided, Profile};
use crate::fork::{Limits, run_all};
use crate::gallery::{self, Plant};
use crate::report::{INCONCLUSIVE, RunReport, Verdict, World};

/// Seeds of different trials are so far apart: the most runs of one.
pub const TRIAL_SEEDS: u64 = 1_000_000;
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

/// Where runs come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// The scenario of a seed.
    Seeds(&'a dyn Fn(u64) -> Scenario),
    /// For each trial a guided search of its own, which begins with this corpus.
    Guided(&'a Profile, &'a Corpus),
}

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Job {
    number: u64,
    seed: u64,
    guided: Option<Guided>,
}

impl Job {
    /// A run of a source that is not guided.
    fn of(seed: u64) -> Job {
        Job { number: 0, seed, guided: None }
    }

    /// What is run, and the seed it is run with.
    pub fn scenario(&self, source: Source<'_>) -> (Scenario, u64) {
        match (&self.guided, source) {
            (Some(guided), _) => (parse(&guided.draft), guided.draft.seed),
            (None, Source::Seeds(make)) => (make(self.seed), self.seed),
            (None, Source::Guided(..)) => unreachable!("a guided search says what its runs are"),
        }
    }
}

/// How much is spent on a bug.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Trials.
    pub trials: u64,
    /// Core time after which a trial is given up.
    pub budget: Duration,
    /// Runs after which it is given up, at most [`TRIAL_SEEDS`].
    pub runs: u64,
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
    /// The run.
    pub job: Job,
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
    pub fn share(&self) -> UntilFound {
        UntilFound { finds: self.hits, runs: self.runs, given_up: self.found() < self.trials.len() }
    }

    /// The first find.
    pub fn first(&self) -> Option<&Find> {
        self.trials.iter().find_map(|(_, find)| find.as_ref())
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

    fn add(&mut self, plant: &Plant, job: Job, report: &RunReport) -> Option<Find> {
        self.runs += 1;
        let counted = |counter: String| u64::from(report.counters.get(&counter).is_some_and(|count| 0 < *count));
        self.reached += counted(gallery::reached_counter(plant.name));
        self.diverged += counted(gallery::diverged_counter(plant.name));
        let message = match &report.verdict {
            Verdict::Pass => return None,
            Verdict::Error { message } => {
                self.errors.push(format!("seed {}: {message}", job.seed));
                return None;
            }
            // An oracle that gave up has found nothing.
            Verdict::Violation { what, message, .. } if what == INCONCLUSIVE => {
                self.errors.push(format!("seed {}: {message}", job.seed));
                return None;
            }
            Verdict::Violation { message, .. } | Verdict::Panic { message, .. } => message.clone(),
        };
        let by = broken_by(&report.verdict)?;
        Some(Find { seed: job.seed, job, by, message })
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
    resolved.cluster.mutants.0.extend(plant.map(|plant| Planting::new(plant.name, on)));
    if judged == Box::Black {
        resolved.opt_out.push(WHITE_BOX.to_owned());
        resolved.expects.retain(|expect| expect.id != ENDS);
    }
}

/// Runs these, each in a process of its own, with the bug or without.
fn run_jobs(
    (plant, judged): (Option<&Plant>, Box),
    jobs: impl Iterator<Item = Job>,
    parallel: usize,
    source: Source<'_>,
    world: &World,
    mut done: impl FnMut(Job, RunReport),
) {
    let work = |job: &Job| {
        let (scenario, seed) = job.scenario(source);
        let cell = &scenario.cells()[0];
        run_with(&scenario, cell, seed, &Extras::default(), |mut input| {
            plant_in(&mut input.resolved, plant, judged);
            (world.run)(input)
        })
    };
    run_all(jobs, Limits { jobs: parallel, wall: MADE_WALL_LIMIT }, work, |job, finished| {
        let name = plant.map_or("", |plant| plant.name);
        let report = complete(finished, name, &Default::default(), job.seed);
        done(job, report);
    });
}

/// Runs these seeds.
pub fn run_seeds(
    what: (Option<&Plant>, Box),
    seeds: impl IntoIterator<Item = u64>,
    parallel: usize,
    source: Source<'_>,
    world: &World,
    mut done: impl FnMut(RunReport),
) {
    run_jobs(what, seeds.into_iter().map(Job::of), parallel, source, world, |_, report| done(report));
}

/// What the same run breaks without the bug.
fn control(judged: Box, job: &Job, source: Source<'_>, world: &World) -> Option<String> {
    let mut broken = None;
    let jobs = std::iter::once(job.clone());
    run_jobs((None, judged), jobs, 1, source, world, |_, report| broken = broken_by(&report.verdict));
    broken
}

/// A trial under way.
struct Trial<'a> {
    seeds: std::ops::Range<u64>,
    budget: Duration,
    guide: Option<Guide<'a>>,
    order: InOrder<(Job, RunReport)>,
    /// Core time of all runs, and of those that count.
    used: Duration,
    spent: Duration,
    /// A run has found something: nothing more begins until that is looked at.
    stopped: bool,
    unfinished: Unfinished,
}

impl Trial<'_> {
    fn is_over(&self) -> bool {
        self.seeds.is_empty() || self.budget <= self.used
    }

    fn next(&mut self) -> Option<Job> {
        if self.stopped || self.is_over() {
            return None;
        }
        let seed = self.seeds.start;
        let guided = match &mut self.guide {
            Some(guide) => Some(guide.next(seed)?),
            None => None,
        };
        self.seeds.start += 1;
        Some(Job { number: self.order.begin(), seed, guided })
    }

    fn ended(&mut self, job: Job, report: RunReport) {
        self.used += Duration::from_nanos(report.cpu_ns);
        self.unfinished.note(job.seed, &report);
        self.stopped |= !report.verdict.passed();
        if let (Some(guide), Some(guided)) = (&mut self.guide, &job.guided) {
            guide.ended(guided.clone(), &report.coverage);
        }
        self.order.put(job.number, (job, report));
    }

    /// The next find among the runs that have ended.
    fn find(&mut self, plant: &Plant, score: &mut Score) -> Option<Find> {
        while let Some((job, report)) = self.order.pop() {
            self.spent += Duration::from_nanos(report.cpu_ns);
            let find = score.add(plant, job, &report);
            if find.is_some() {
                return find;
            }
        }
        self.stopped = false;
        None
    }
}

/// One trial: the core time until the bug was found, or none, and the find.
fn trial(
    (plant, judged): (&Plant, Box),
    mut trial: Trial<'_>,
    parallel: usize,
    source: Source<'_>,
    world: &World,
    score: &mut Score,
) -> Result<(Duration, Option<Find>), CliError> {
    loop {
        while let Some(find) = trial.find(plant, score) {
            if score.confirm(&find, control(judged, &find.job, source, world)) {
                return Ok((trial.spent, Some(find)));
            }
        }
        trial.unfinished.give_up(&format!("planted bug {}", plant.name))?;
        if trial.is_over() {
            return Ok((trial.spent, None));
        }
        let state = RefCell::new(&mut trial);
        let jobs = std::iter::from_fn(|| state.borrow_mut().next());
        let ended = |job, report| state.borrow_mut().ended(job, report);
        run_jobs((Some(plant), judged), jobs, parallel, source, world, ended);
    }
}

/// All trials of one bug.
pub fn try_out(
    plant: &Plant,
    judged: Box,
    effort: Effort,
    source: Source<'_>,
    world: &World,
) -> Result<Score, CliError> {
    let unplanted = Planted::default();
    let mut score = Score::default();
    for number in 0..effort.trials {
        let first = effort.first + number * TRIAL_SEEDS;
        if score.trials.len() == HOPELESS_TRIALS && score.found() == 0 {
            break;
        }
        let guide = match source {
            Source::Guided(profile, corpus) => Some(Guide::new(profile, &unplanted, corpus.clone())),
            Source::Seeds(_) => None,
        };
        let begun = Trial {
            seeds: first..first + effort.runs.min(TRIAL_SEEDS),
            budget: effort.budget,
            guide,
            order: InOrder::default(),
            used: Duration::ZERO,
            spent: Duration::ZERO,
            stopped: false,
            unfinished: Unfinished::default(),
        };
        let ended = trial((plant, judged), begun, effort.parallel, source, world, &mut score)?;
        score.trials.push(ended);
    }
    Ok(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(millis: u64, found: bool) -> (Duration, Option<Find>) {
        let find = || Find { seed: 0, job: Job::of(0), by: "raft".into(), message: String::new() };
        (Duration::from_millis(millis), found.then(find))
    }

    #[test]
    fn a_missed_trial_counts_as_longer_than_any_other() {
        let score = |trials| Score { trials, ..Score::default() };
        assert_eq!(score(vec![]).median(), None);
        assert_eq!(score(vec![ended(9, false)]).median(), None);
        let mixed = vec![ended(5, true), ended(1, false), ended(7, true)];
        assert_eq!(score(mixed).median(), Some(Duration::from_millis(7)));
        assert_eq!(score(vec![ended(5, true), ended(1, false), ended(9, false)]).median(), None);
    }
}
