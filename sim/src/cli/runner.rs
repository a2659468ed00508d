//! One run in the process that was forked for it, and many of them from the parent's side.

use std::fs::File;
use std::io::BufWriter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_scenario::{Cell, Decisions, Scenario};

use super::plan::{Job, PlannedFile, cell_key, check, render_problems};
use crate::chain::{ChainSummary, Recorder, RecorderOptions, Window};
use crate::fork::{Death, Finished, Limits, run_all};
use crate::gallery;
use crate::panics;
use crate::report::{RunEnd, RunInput, RunReport, Verdict, World, wire};
use crate::repro::Attempt;

/// A run that takes longer than this hangs.
pub const WALL_LIMIT: Duration = Duration::from_secs(300);

/// Generated runs are short.
pub const MADE_WALL_LIMIT: Duration = Duration::from_secs(60);

/// So many of the last events explain a panic.
const PANIC_EVENTS: usize = 20;

/// What to keep of each run besides its report.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Every event goes to this file.
    pub trace: Option<std::path::PathBuf>,
    /// These events come back as text.
    pub window: Option<Window>,
}

/// Runs every job, `parallel` at once, each in a process of its own; reports come as runs end.
pub fn run_jobs(
    files: &[PlannedFile],
    jobs: impl IntoIterator<Item = Job>,
    parallel: usize,
    extras: &Extras,
    world: &World,
    mut done: impl FnMut(Job, RunReport),
) {
    let work = |job: &Job| {
        let file = &files[job.file];
        run_here(&file.scenario, &file.cells[job.cell], file.decisions(job.seed), extras, world)
    };
    run_all(jobs, Limits { jobs: parallel, wall: WALL_LIMIT }, work, |job, finished| {
        let file = &files[job.file];
        done(job, complete(finished, &file.path, &file.cells[job.cell], job.seed));
    });
}

/// A scenario of one run that no file holds, and its seed.
pub struct Made {
    /// The scenario, named as its file would be.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
}

/// As [`run_jobs`], for scenarios that are made in the process that runs them; `name` tells file and seed of a job
/// whose process died.
pub fn run_made<J>(
    jobs: impl IntoIterator<Item = J>,
    parallel: usize,
    make: impl Fn(&J) -> Made,
    name: impl Fn(&J) -> (String, u64),
    world: &World,
    mut done: impl FnMut(J, RunReport),
) {
    let whole = Cell::default();
    let work = |job: &J| {
        let Made { scenario, seed } = make(job);
        run_here(&scenario, &whole, Decisions::new(seed), &Extras::default(), world)
    };
    run_all(jobs, Limits { jobs: parallel, wall: MADE_WALL_LIMIT }, work, |job, finished| {
        let (file, seed) = name(&job);
        done(job, complete(finished, &file, &whole, seed));
    });
}

/// Runs attempts, each in a process of its own; their texts are read and checked there. Each report comes with the
/// name that its attempt was given.
pub fn run_attempts<T>(
    attempts: impl IntoIterator<Item = (T, Attempt)>,
    parallel: usize,
    wall: Duration,
    extras: &Extras,
    world: &World,
    mut done: impl FnMut(T, RunReport),
) {
    let work = |(_, attempt): &(T, Attempt)| match check(&attempt.text, &attempt.file, world) {
        Ok(scenario) => run_here(&scenario, &scenario.cells()[0], attempt.decisions.clone(), extras, world),
        Err(found) => unfinished(&attempt.file, &Cell::default(), attempt.decisions.seed(), render_problems(&found)),
    };
    run_all(attempts, Limits { jobs: parallel, wall }, work, |(name, attempt), finished| {
        let report = complete(finished, &attempt.file, &Cell::default(), attempt.decisions.seed());
        done(name, report);
    });
}

/// Children at once, when nobody says: one per core.
pub fn default_parallel() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The run itself. Panics of the world become part of the report.
fn run_here(scenario: &Scenario, cell: &Cell, decisions: Decisions, extras: &Extras, world: &World) -> RunReport {
    run_decided(scenario, cell, decisions, extras, world.run)
}

/// The run of a seed with whatever runs it.
pub fn run_with(
    scenario: &Scenario,
    cell: &Cell,
    seed: u64,
    extras: &Extras,
    run: impl FnOnce(RunInput) -> RunEnd,
) -> RunReport {
    run_decided(scenario, cell, Decisions::new(seed), extras, run)
}

fn run_decided(
    scenario: &Scenario,
    cell: &Cell,
    mut decisions: Decisions,
    extras: &Extras,
    run: impl FnOnce(RunInput) -> RunEnd,
) -> RunReport {
    let seed = decisions.seed();
    let trace = extras.trace.as_deref().map(open_trace);
    let trace = match trace.transpose() {
        Ok(trace) => trace,
        Err(message) => return unfinished(scenario.file(), cell, seed, message),
    };
    let options = RecorderOptions { trace, window: extras.window.clone(), ..RecorderOptions::default() };
    let recorder = Arc::new(Mutex::new(Recorder::new(options)));
    let resolved = scenario.resolve(cell, &mut decisions);
    let input = RunInput { metrics: scenario.metrics(&resolved), resolved, decisions, recorder: recorder.clone() };
    let end = catch_unwind(AssertUnwindSafe(|| run(input)));

    // A panic may have happened while the world held the lock; the log is complete up to there.
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    let end = end.unwrap_or_else(|_| panicked(&recorder));
    let (chain, verdict) = match recorder.finish() {
        Ok(chain) => (chain, end.verdict),
        Err(error) => (recorder.summary(), Verdict::Error { message: format!("cannot write the trace: {error}") }),
    };
    RunReport {
        file: scenario.file().to_owned(),
        cell: cell_key(cell),
        seed,
        verdict,
        simulated_ns: nanos(end.simulated),
        cpu_ns: 0,
        memory_bytes: 0,
        chain,
        outcomes: end.outcomes.into_iter().map(|(id, outcome)| (id, wire::Outcome::from(outcome))).collect(),
        metrics: end.metrics.into_iter().map(|(name, value)| (name, wire::Value::from(value))).collect(),
        counters: end.counters.into_iter().chain(gallery::counters()).collect(),
        coverage: end.coverage,
        window: recorder.take_window(),
    }
}

fn open_trace(path: &Path) -> Result<Box<dyn std::io::Write + Send>, String> {
    match File::create(path) {
        Ok(file) => Ok(Box::new(BufWriter::new(file))),
        Err(error) => Err(format!("cannot write the trace {}: {error}", path.display())),
    }
}

fn panicked(recorder: &Recorder) -> RunEnd {
    let message = panics::take_first().unwrap_or_else(|| "a panic that left no message".to_owned());
    let events = recorder.last_lines(PANIC_EVENTS, Duration::MAX, |_| true);
    let at = recorder.last_at();
    RunEnd {
        verdict: Verdict::Panic { message, at_ns: nanos(at), events },
        simulated: at,
        outcomes: Vec::new(),
        metrics: Default::default(),
        counters: Default::default(),
        coverage: Vec::new(),
    }
}

/// Adds what only the parent knows.
pub fn complete(finished: Finished<RunReport>, path: &str, cell: &Cell, seed: u64) -> RunReport {
    let mut report = finished.result.unwrap_or_else(|(death, output)| {
        let hint = match death {
            Death::Timeout(_) => ": it may stand at one moment of simulated time for ever; --trace FILE shows at which",
            _ => "",
        };
        let output = if output.is_empty() { String::new() } else { format!("\n{output}") };
        unfinished(path, cell, seed, format!("the run's process {death}{hint}{output}"))
    });
    report.cpu_ns = nanos(finished.cpu);
    report.memory_bytes = finished.memory_bytes;
    report
}

/// The report of a run that came to no end.
pub fn unfinished(path: &str, cell: &Cell, seed: u64, message: String) -> RunReport {
    RunReport {
        file: path.to_owned(),
        cell: cell_key(cell),
        seed,
        verdict: Verdict::Error { message },
        simulated_ns: 0,
        cpu_ns: 0,
        memory_bytes: 0,
        chain: ChainSummary::default(),
        outcomes: Vec::new(),
        metrics: Default::default(),
        counters: Default::default(),
        coverage: Vec::new(),
        window: Vec::new(),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_never_ends_is_an_error_of_its_seed() {
        let death = Death::Timeout(WALL_LIMIT);
        let result = Err((death, "last words".to_owned()));
        let finished = Finished { result, cpu: WALL_LIMIT, memory_bytes: 1, wall: WALL_LIMIT };
        let report = complete(finished, "a.toml", &Cell::default(), 7);
        assert_eq!((report.file.as_str(), report.seed), ("a.toml", 7));
        let Verdict::Error { message } = report.verdict else { panic!("{:?}", report.verdict) };
        assert!(message.contains("was killed after 300 s without a result: it may stand at one moment"), "{message}");
        assert!(message.ends_with("\nlast words"), "{message}");
    }
}
