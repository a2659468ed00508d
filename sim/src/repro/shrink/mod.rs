//! Shrinking: from a failing run to the smallest one that fails with the same signature and the same planted bugs.
//!
//! First the run is made explicit (`explicit`): from then on a case is a list of operations and steps, and everything
//! is taking away. What happens long before the failure goes at once. Each round tries, in this order: an earlier end,
//! fewer members, fewer operations and steps (delta debugging), settings at their defaults, shorter gaps, round numbers,
//! plainer operations. At the end the `schedule` is made plainer. Candidates run side by side, each in a process of its own, and the first one that still fails
//! becomes the case.
//!
//! Where a bug is planted, a case must also pass without it: one that fails in any case shows something else, such as
//! an expectation about clients that are gone by now.
//!
//! What is drawn while a run goes on shifts when something is taken away, so a candidate may fail to fail by chance:
//! when a round finds nothing more, candidates are given several seeds each, and the seed of the one that fails is
//! kept.

#![allow(clippy::disallowed_methods, reason = "the parent's side: real time, outside every run")]

mod explicit;
mod items;
mod passes;
mod schedule;

use std::cell::Cell as Flag;
use std::io;
use std::time::{Duration, Instant};

use evenkeel_scenario::cluster::Planted;
use evenkeel_scenario::{Decisions, Resolved, Scenario};

use super::attempt::Attempt;
use super::events::Event;
use super::file::{Build, Chain, Failure, Played, Repro, Shrunk, Size, Today, VERSION};
use super::signature::Signature;
use super::story::story;
use crate::cli::runner::{Extras, run_attempts};
use crate::report::{RunReport, Verdict, World};

/// Seeds tried for the first shorter forms.
const START_TRIES: u64 = 12;
/// Seeds for each candidate, round by round once nothing more is found.
const TRIES: [u64; 3] = [1, 3, 8];
/// Rounds for each of these: what makes times rounder may make them longer again.
const ROUNDS_MAX: usize = 6;
/// A candidate may take so much longer than the run it comes from, and this on top.
const PATIENCE_FACTOR: u32 = 4;
const PATIENCE_SLACK: Duration = Duration::from_secs(5);
/// Failures about clients that get no answers: without their load these runs would fail for another reason.
const ABOUT_LOAD: [&str; 2] = ["heals", "availability"];

/// What may be spent, and who is told.
pub struct Limits<'l> {
    /// Candidates at once.
    pub parallel: usize,
    /// Shrinking ends after this long, with what it has.
    pub time: Duration,
    /// Told after each success: a line.
    pub tell: &'l mut dyn FnMut(&str),
}

/// What came of it.
pub struct Outcome {
    /// The shrunk run, with its story.
    pub repro: Repro,
    /// Runs that were tried.
    pub runs: u64,
    /// How long it took.
    pub took: Duration,
    /// What all these runs took of the processor.
    pub cores: Duration,
}

/// Why nothing was shrunk.
#[derive(Debug)]
pub enum ShrinkError {
    /// The run does not fail.
    Passes,
    /// It fails in the same way without the bug that is planted in it.
    Unplanted(Signature),
    /// It does not run at all.
    Broken(String),
    /// The trace could not be written or read.
    Trace(io::Error),
}

/// A case: what is run.
#[derive(Clone, Debug)]
struct Case {
    resolved: Resolved,
    decisions: Decisions,
}

impl Case {
    fn attempt(&self, file: &str, seed: u64) -> Attempt {
        let mut decisions = Decisions::new(seed);
        for (label, occurrence, value) in self.decisions.overrides() {
            decisions.set_override(label, occurrence, value);
        }
        let resolved = Resolved { seed, ..self.resolved.clone() };
        Attempt { text: resolved.to_toml(), file: file.to_owned(), decisions }
    }

    /// The case without the bugs that are planted in it, if there are any.
    fn unplanted(&self) -> Option<Case> {
        let mut case = self.clone();
        let planted = std::mem::take(&mut case.resolved.cluster.mutants);
        (planted != Planted::default()).then_some(case)
    }
}

struct Shrinker<'s> {
    world: &'s World,
    file: String,
    signature: Signature,
    /// The explicit form of the load is allowed: a case that fails for want of load would be noticed, or cannot be.
    explicit: bool,
    parallel: usize,
    deadline: Instant,
    began: Instant,
    patience: Duration,
    tries: u64,
    /// Thresholds are lower than by default, which was worth it.
    lowered: bool,
    runs: u64,
    cores_ns: u64,
    best: Case,
    /// When the best one fails.
    at_ns: u64,
    tell: &'s mut dyn FnMut(&str),
}

/// Shrinks the run of `scenario` (its first cell, when it has several) with these decisions.
pub fn shrink(
    scenario: &Scenario,
    cell: &evenkeel_scenario::Cell,
    decisions: &Decisions,
    world: &World,
    limits: Limits<'_>,
) -> Result<Outcome, ShrinkError> {
    let resolved = scenario.resolve(cell, &mut decisions.clone());
    shrink_resolved(resolved, decisions, scenario.file(), world, limits)
}

/// Shrinks this run of the scenario in `file` with these decisions.
pub fn shrink_resolved(
    resolved: Resolved,
    decisions: &Decisions,
    file: &str,
    world: &World,
    limits: Limits<'_>,
) -> Result<Outcome, ShrinkError> {
    let began = Instant::now();
    let build = Build::current();
    let case = Case { resolved, decisions: decisions.clone() };
    let file = file.to_owned();
    let (report, events) = case.attempt(&file, decisions.seed()).run_told(world).map_err(ShrinkError::Trace)?;
    let first_took = began.elapsed();
    let (signature, at_ns) = match (&report.verdict, Signature::of(&report.verdict)) {
        (Verdict::Error { message }, _) => return Err(ShrinkError::Broken(message.clone())),
        (verdict, Some(signature)) => (signature, failed_at(verdict)),
        (_, None) => return Err(ShrinkError::Passes),
    };
    let from = size(&case.resolved, &events, at_ns);
    let planted = case.unplanted();
    if let Some(unplanted) = &planted {
        let report = unplanted.attempt(&file, decisions.seed()).run(&Extras::default(), world);
        if Signature::of(&report.verdict).as_ref() == Some(&signature) {
            return Err(ShrinkError::Unplanted(signature));
        }
    }
    let own_expectation = case.resolved.expects.iter().any(|expect| expect.id == signature.as_str());
    let mut shrinker = Shrinker {
        world,
        file,
        explicit: planted.is_some() || !own_expectation && !ABOUT_LOAD.contains(&signature.as_str()),
        signature,
        parallel: limits.parallel,
        deadline: began + limits.time,
        began,
        patience: first_took * PATIENCE_FACTOR + PATIENCE_SLACK,
        tries: 1,
        lowered: false,
        runs: 1,
        cores_ns: report.cpu_ns,
        best: case,
        at_ns,
        tell: limits.tell,
    };
    shrinker.only_its_expectation();
    shrinker.make_explicit(&events);
    shrinker.tries = START_TRIES;
    shrinker.later_start();
    for tries in TRIES {
        shrinker.tries = tries;
        (0..ROUNDS_MAX).take_while(|_| shrinker.round() && !shrinker.is_late()).for_each(drop);
    }
    shrinker.plain_schedule();
    shrinker.finish(from, &report, build)
}

fn failed_at(verdict: &Verdict) -> u64 {
    match verdict {
        Verdict::Violation { at_ns, .. } | Verdict::Panic { at_ns, .. } => *at_ns,
        Verdict::Pass | Verdict::Error { .. } => 0,
    }
}

/// How large a run was until its failure.
pub fn size(resolved: &Resolved, events: &[Event], at_ns: u64) -> Size {
    let before = events.iter().filter(|event| event.at_ns <= at_ns);
    let (mut faults, mut operations) = (0, 0);
    for event in before {
        match event.kind.as_str() {
            "down" => faults += 1,
            "acts" if !["restart", "quiesce", "bind", "mark"].contains(&event.text("verb")) => faults += 1,
            "call" if event.number("client") > 0 => operations += 1,
            "watch" if event.number("resumes") == 0 => operations += 1,
            _ => {}
        }
    }
    Size { members: resolved.cluster.nodes, faults, operations, simulated_ms: at_ns / 1_000_000 }
}

impl Shrinker<'_> {
    fn is_late(&self) -> bool {
        self.deadline <= Instant::now()
    }

    /// Runs candidates until one fails as it should, and only because of what is planted; that one becomes the case.
    fn improve(&mut self, what: &str, candidates: Vec<Case>) -> bool {
        self.improve_at(what, candidates).is_some()
    }

    /// The same; which one it was.
    fn improve_at(&mut self, what: &str, mut candidates: Vec<Case>) -> Option<usize> {
        let first = self.best.decisions.seed();
        let places = candidates.len();
        // Every candidate once before any of them a second time.
        let tries = (0..self.tries).flat_map(|more| (0..places).map(move |place| (place, first + more)));
        let mut tries: Vec<(usize, u64)> = tries.collect();
        tries.reverse();
        while !tries.is_empty() && !self.is_late() {
            let (place, seed, at_ns) = self.first_that_fails(&candidates, &mut tries)?;
            if !self.passes_unplanted(&candidates[place], seed) {
                tries.retain(|(other, _)| *other != place);
                continue;
            }
            let mut best = candidates.swap_remove(place);
            best.resolved.seed = seed;
            let mut decisions = Decisions::new(seed);
            for (label, occurrence, value) in best.decisions.overrides() {
                decisions.set_override(label, occurrence, value);
            }
            best.decisions = decisions;
            (self.best, self.at_ns) = (best, at_ns);
            self.told(what);
            return Some(place);
        }
        None
    }

    /// Takes tries, the last first, until one fails: which candidate, with which seed, and when it failed.
    fn first_that_fails(&mut self, candidates: &[Case], tries: &mut Vec<(usize, u64)>) -> Option<(usize, u64, u64)> {
        let found = Flag::new(false);
        let (deadline, signature) = (self.deadline, &self.signature);
        let jobs = std::iter::from_fn(|| {
            let is_over = found.get() || deadline <= Instant::now();
            let (place, seed) = if is_over { None } else { tries.pop() }?;
            Some(((place, seed), candidates[place].attempt(&self.file, seed)))
        });
        let (mut first, mut runs, mut cores_ns) = (None, 0, 0);
        run_attempts(jobs, self.parallel, self.patience, &Extras::default(), self.world, |(place, seed), report| {
            runs += 1;
            cores_ns += report.cpu_ns;
            if !found.get() && Signature::of(&report.verdict).as_ref() == Some(signature) {
                found.set(true);
                first = Some((place, seed, failed_at(&report.verdict)));
            }
        });
        self.runs += runs;
        self.cores_ns += cores_ns;
        first
    }

    /// Whether it is the planted bug that makes a case fail. Without a planted bug there is nothing to look for.
    fn passes_unplanted(&mut self, case: &Case, seed: u64) -> bool {
        let Some(unplanted) = case.unplanted() else { return true };
        let report = unplanted.attempt(&self.file, seed).run(&Extras::default(), self.world);
        self.runs += 1;
        self.cores_ns += report.cpu_ns;
        report.verdict.passed()
    }

    fn told(&mut self, what: &str) {
        let resolved = &self.best.resolved;
        let line = format!(
            "{:5.1} s: {} steps, {} operations, {} members, {:.1} s simulated ({what}, {} runs)",
            self.began.elapsed().as_secs_f64(),
            resolved.steps.len(),
            resolved.clients.iter().map(|client| client.knobs.ops.0.len()).sum::<usize>(),
            resolved.cluster.nodes,
            self.at_ns as f64 / 1e9,
            self.runs,
        );
        (self.tell)(&line);
    }

    /// Everything once; whether anything helped.
    fn round(&mut self) -> bool {
        let mut helped = self.earlier_end();
        helped |= self.fewer_members();
        helped |= self.fewer_items();
        helped |= self.earlier_end();
        helped |= self.plain_settings();
        helped |= self.lower_thresholds();
        helped |= self.less_load();
        helped |= self.more_explicit();
        helped |= self.shorter_gaps();
        helped |= self.plain_steps();
        helped |= self.plain_operations();
        helped |= self.round_times();
        helped
    }

    fn finish(self, from: Size, first: &RunReport, build: Build) -> Result<Outcome, ShrinkError> {
        let seed = self.best.decisions.seed();
        let attempt = self.best.attempt(&self.file, seed);
        let (report, events) = attempt.run_told(self.world).map_err(ShrinkError::Trace)?;
        let (at_ns, message) = match &report.verdict {
            Verdict::Violation { at_ns, message, .. } | Verdict::Panic { at_ns, message, .. } => {
                (*at_ns, message.clone())
            }
            Verdict::Pass => return Err(ShrinkError::Passes),
            Verdict::Error { message } => return Err(ShrinkError::Broken(message.clone())),
        };
        let overrides = attempt.decisions.overrides();
        let repro = Repro {
            repro: VERSION,
            signature: self.signature,
            today: Today::Fails,
            story: story(&events, &report),
            failure: Failure { found_in: self.file, cell: first.cell.clone(), at_ns, message },
            shrunk: Some(Shrunk { from, to: size(&self.best.resolved, &events, at_ns) }),
            build,
            chain: Chain::of(&report.chain),
            run: Played {
                seed,
                overrides: overrides
                    .map(|(label, at, value)| (format!("{label}#{at}"), format!("{value:#x}")))
                    .collect(),
                scenario: attempt.text,
            },
        };
        Ok(Outcome { repro, runs: self.runs, took: self.began.elapsed(), cores: Duration::from_nanos(self.cores_ns) })
    }
}
