//! Shrinking: from a failing run to the smallest one that fails with the same signature and the same planted bugs.
//!
//! First the run is made explicit ([`super::concrete`]): from then on a case is a list of operations and steps, and
//! everything is taking away. Each round tries, in this order: an earlier end, fewer operations and steps (delta
//! debugging), fewer members, settings at their defaults, shorter gaps, round numbers, plainer operations. Candidates
//! run side by side, each in a process of its own, and the first one that still fails becomes the case.
//!
//! What is drawn while a run goes on shifts when something is taken away, so a candidate may fail to fail by chance:
//! when a round finds nothing more, candidates are given several seeds each, and the seed of the one that fails is
//! kept.

#![allow(clippy::disallowed_methods, reason = "the parent's side: real time, outside every run")]

mod items;
mod passes;

use std::cell::Cell as Flag;
use std::io;
use std::time::{Duration, Instant};

use evenkeel_scenario::{Decisions, Resolved, RunLength, Scenario};

use super::attempt::Attempt;
use super::concrete::{Taken, listed, unrolled};
use super::events::Event;
use super::file::{Build, Chain, Failure, Played, Repro, Shrunk, Size, Today, VERSION};
use super::signature::Signature;
use super::story::story;
use crate::cli::runner::{Extras, run_attempts};
use crate::report::{RunReport, Verdict, World};

/// Seeds tried for the first explicit form: it is the largest jump.
const EXPLICIT_TRIES: u64 = 24;
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
}

/// Why nothing was shrunk.
#[derive(Debug)]
pub enum ShrinkError {
    /// The run does not fail.
    Passes,
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
}

struct Shrinker<'s> {
    world: &'s World,
    file: String,
    signature: Signature,
    /// The explicit form of the load is allowed.
    explicit: bool,
    parallel: usize,
    deadline: Instant,
    began: Instant,
    patience: Duration,
    tries: u64,
    runs: u64,
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
    let began = Instant::now();
    let resolved = scenario.resolve(cell, &mut decisions.clone());
    let case = Case { resolved, decisions: decisions.clone() };
    let file = scenario.file().to_owned();
    let (report, events) = case.attempt(&file, decisions.seed()).run_told(world).map_err(ShrinkError::Trace)?;
    let first_took = began.elapsed();
    let (signature, at_ns) = match (&report.verdict, Signature::of(&report.verdict)) {
        (Verdict::Error { message }, _) => return Err(ShrinkError::Broken(message.clone())),
        (verdict, Some(signature)) => (signature, failed_at(verdict)),
        (_, None) => return Err(ShrinkError::Passes),
    };
    let from = size(&case.resolved, &events, at_ns);
    let own_expectation = case.resolved.expects.iter().any(|expect| expect.id == signature.as_str());
    let mut shrinker = Shrinker {
        world,
        file,
        explicit: !own_expectation && !ABOUT_LOAD.contains(&signature.as_str()),
        signature,
        parallel: limits.parallel,
        deadline: began + limits.time,
        began,
        patience: first_took * PATIENCE_FACTOR + PATIENCE_SLACK,
        tries: 1,
        runs: 1,
        best: case,
        at_ns,
        tell: limits.tell,
    };
    shrinker.make_explicit(&events);
    for tries in TRIES {
        shrinker.tries = tries;
        (0..ROUNDS_MAX).take_while(|_| shrinker.round() && !shrinker.is_late()).for_each(drop);
    }
    shrinker.finish(from, &report)
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

    /// The explicit form, as far as the failure survives it.
    fn make_explicit(&mut self, events: &[Event]) {
        let before: Vec<Event> = events.iter().filter(|event| event.at_ns <= self.at_ns).cloned().collect();
        let resolved = self.best.resolved.clone();
        let end = self.at_ns;
        let ended = |mut resolved: Resolved| {
            resolved.run = RunLength::For(passes::just_after(end));
            resolved
        };
        let mut forms = Vec::new();
        let list = |resolved: &Resolved| self.explicit.then(|| listed(resolved, &before)).flatten();
        for taken in [Taken::All, Taken::Timed] {
            let script = unrolled(&resolved, &before, taken);
            forms.extend(list(&script).map(ended));
            forms.push(ended(script));
        }
        forms.extend(list(&resolved).map(ended));
        forms.push(ended(resolved.clone()));
        // What is most explicit comes first, and gets more seeds than the others together.
        for (place, form) in forms.into_iter().enumerate() {
            self.tries = if place == 0 { EXPLICIT_TRIES } else { EXPLICIT_TRIES / 4 };
            let made = Case { resolved: form, ..self.best.clone() };
            if self.improve("made explicit", vec![made]) {
                return;
            }
        }
    }

    /// Runs candidates until one fails as it should; that one becomes the case.
    fn improve(&mut self, what: &str, candidates: Vec<Case>) -> bool {
        let seed = self.best.decisions.seed();
        // Every candidate once before any of them a second time.
        let tries = (0..self.tries).flat_map(|more| (0..candidates.len()).map(move |place| (place, seed + more)));
        let found = Flag::new(false);
        let (deadline, signature) = (self.deadline, &self.signature);
        let jobs = tries
            .take_while(|_| !found.get() && Instant::now() < deadline)
            .map(|(place, seed)| ((place, seed), candidates[place].attempt(&self.file, seed)));
        let (mut success, mut runs) = (None, 0);
        run_attempts(jobs, self.parallel, self.patience, &Extras::default(), self.world, |tried, report| {
            runs += 1;
            if !found.get() && Signature::of(&report.verdict).as_ref() == Some(signature) {
                found.set(true);
                success = Some((tried, failed_at(&report.verdict)));
            }
        });
        self.runs += runs;
        let Some(((place, seed), at_ns)) = success else { return false };
        let mut best = candidates.into_iter().nth(place).expect("it was run");
        best.resolved.seed = seed;
        let mut decisions = Decisions::new(seed);
        for (label, occurrence, value) in best.decisions.overrides() {
            decisions.set_override(label, occurrence, value);
        }
        best.decisions = decisions;
        (self.best, self.at_ns) = (best, at_ns);
        self.told(what);
        true
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
        helped |= self.fewer_items();
        helped |= self.earlier_end();
        helped |= self.fewer_members();
        helped |= self.plain_settings();
        helped |= self.lower_thresholds();
        helped |= self.less_load();
        helped |= self.shorter_gaps();
        helped |= self.plain_steps();
        helped |= self.plain_operations();
        helped |= self.round_times();
        helped
    }

    fn finish(self, from: Size, first: &RunReport) -> Result<Outcome, ShrinkError> {
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
            build: Build::current(),
            chain: Chain::of(&report.chain, &report.window),
            run: Played {
                seed,
                overrides: overrides
                    .map(|(label, at, value)| (format!("{label}#{at}"), format!("{value:#x}")))
                    .collect(),
                scenario: attempt.text,
            },
        };
        Ok(Outcome { repro, runs: self.runs, took: self.began.elapsed() })
    }
}
