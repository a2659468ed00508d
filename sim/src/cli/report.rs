//! `--report`: plays a run once more, with a trace, asks what its failure hangs on, and writes what happened as a page.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evenkeel_scenario::{Cell, Decisions, Resolved, Scenario};
use serde_json::{Value, json};

use super::CliError;
use super::plan::{Job, PlannedFile};
use super::runner::{Extras, default_parallel, run_jobs};
use super::trial::{Change, Ground};
use crate::report::html::{Source, render, search, twin};
use crate::report::trace::{self, Line};
use crate::report::{RunReport, Verdict, World};
use crate::repro::{self, Signature, events, file::Build};

/// Moments from which a failing run is continued in other ways.
const MOMENTS: usize = 24;
/// Continuations from each, at most.
const CONTINUATIONS: u64 = 12;
/// Draws before the failure of which another value is tried.
const DRAWS: usize = 60;
/// They are chosen from so many.
const DRAWS_SEEN: usize = 2_000;
/// Share by which the failure must become more likely to be called a turn.
const TURN: f64 = 0.2;

/// What a page is to hold.
#[derive(clap::Args, Clone, Debug)]
pub struct PageArgs {
    /// Show the run, or the first one that fails, as a page for a browser in this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// So many seconds at most are spent on a passing twin, and as many on the moments at which the failure became likely
    #[arg(long, value_name = "N", default_value_t = 15, requires = "report")]
    pub report_seconds: u64,
}

/// How a run is played again.
pub fn command(report: &RunReport) -> String {
    let cell = if report.cell.is_empty() { String::new() } else { format!(" --cell {}", report.cell) };
    format!("cargo sim run {} --seed {}{cell}", report.file, report.seed)
}

/// Writes the page of one run of a plan.
pub fn write(files: &[PlannedFile], job: Job, path: &Path, seconds: u64, world: &World) -> Result<(), CliError> {
    let scratch = tempfile::tempdir()?;
    let traced = scratch.path().join("trace.ndjson");
    let extras = Extras { trace: Some(traced.clone()), ..Extras::default() };
    let mut played = None;
    run_jobs(files, [job], 1, &extras, world, |_, report| played = Some(report));
    let report = played.expect("one job gives one report");
    let file = &files[job.file];
    let shown = Shown {
        scenario: &file.scenario,
        cell: &file.cells[job.cell],
        decisions: Decisions::new(job.seed),
        report: &report,
        traced: &traced,
        command: command(&report),
        seconds,
    };
    write_page(&shown, path, world)
}

/// Writes the page of a run that was played with a trace.
pub fn write_page(shown: &Shown<'_>, path: &Path, world: &World) -> Result<(), CliError> {
    let page = page(shown, world)?;
    fs::write(path, page).map_err(|error| CliError::Usage(format!("cannot write {}: {error}", path.display())))
}

/// A run that was played with a trace.
pub struct Shown<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The cell.
    pub cell: &'a Cell,
    /// Its choices, nothing drawn yet.
    pub decisions: Decisions,
    /// What came of it.
    pub report: &'a RunReport,
    /// Its trace.
    pub traced: &'a Path,
    /// How it is played again.
    pub command: String,
    /// As in [`PageArgs`].
    pub seconds: u64,
}

/// The page of a run.
fn page(shown: &Shown<'_>, world: &World) -> Result<String, CliError> {
    let Shown { scenario, cell, report, traced, .. } = *shown;
    let lines = trace::read(traced)?;
    let events = events::read(BufReader::new(fs::File::open(traced)?))?;
    let resolved = scenario.resolve(cell, &mut shown.decisions.clone());
    let (mut twin, mut curve) = (Value::Null, Value::Null);
    if let (Some(signature), Some(at)) = (Signature::of(&report.verdict), failed_at(&report.verdict)) {
        let decisions = shown.decisions.clone();
        let ground = Ground { scenario, cell, decisions, signature, at, world, jobs: default_parallel() };
        let drawn = search::drawn(&lines);
        let patience = Duration::from_secs(shown.seconds);
        let scratch = tempfile::tempdir()?;
        let other = scratch.path().join("twin.ndjson");
        twin = find_twin(&ground, &resolved, &lines, &drawn, Instant::now() + patience, &other)?;
        curve = likelihood(&ground, &drawn, Instant::now() + patience);
    }
    let build = Build::current();
    Ok(render(&Source {
        report,
        trace: &lines,
        scenario: &resolved.to_toml(),
        about: (&resolved.name, &resolved.about),
        command: &shown.command,
        story: &repro::story(&events, report),
        latency_ns: resolved.cluster.net.latency.high.0.unsigned_abs(),
        build: &[("commit", build.commit), ("compiler", build.rustc)],
        twin,
        curve,
    }))
}

fn failed_at(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Violation { at_ns, .. } | Verdict::Panic { at_ns, .. } => Some(Duration::from_nanos(*at_ns)),
        Verdict::Pass | Verdict::Error { .. } => None,
    }
}

/// The passing run nearest to the failing one: the one that parts from it last. First single draws are changed, the
/// last ones first; a run can part no later than at the draw that was changed. Then steps and operations are left out.
fn find_twin(
    ground: &Ground<'_>,
    resolved: &Resolved,
    lines: &[Line],
    drawn: &[search::Drawn],
    until: Instant,
    path: &PathBuf,
) -> Result<Value, CliError> {
    let failed = ground.at.as_nanos() as u64;
    let latest = drawn.iter().rev().filter(|it| it.at_ns <= failed + 50_000_000).flat_map(|it| it.new.iter().rev());
    let draws: Vec<_> = latest.filter(|(label, _)| !label.starts_with("node/")).take(DRAWS_SEEN).collect();
    // All of the last ones, and fewer and fewer of those before.
    let places = (0..DRAWS).map(|i| i + i * i * i / (DRAWS * 4)).take_while(|place| *place < draws.len());
    let places: Vec<usize> = places.collect();
    let change = |place: usize, value| Change::Draw(draws[place].0.clone(), draws[place].1, value);
    let changes = [u64::MAX, 0].into_iter().flat_map(|value| places.iter().map(move |place| (*place, value)));
    let draws: Vec<Change> = changes.map(|(place, value)| change(place, value)).collect();
    let (mut tried, mut found) = (0, None);
    for candidates in [draws, ground.removals()] {
        // The first half of the time for the draws.
        let half = Instant::now() + until.saturating_duration_since(Instant::now()) / if tried == 0 { 2 } else { 1 };
        let mut passing: Vec<usize> = Vec::new();
        let places = 0..candidates.len();
        ground.try_all(
            places,
            |place| vec![candidates[*place].clone()],
            half,
            |place, verdict, _| {
                tried += 1;
                if verdict.passed() {
                    passing.push(place);
                }
                passing.is_empty()
            },
        );
        found = passing.into_iter().min().map(|place| candidates[place].clone());
        if found.is_some() {
            break;
        }
    }
    let Some(change) = found else {
        return Ok(json!({"found": false, "tried": tried}));
    };
    ground.trace(std::slice::from_ref(&change), path);
    let theirs = trace::read(path)?;
    let at = search::parting(lines, &theirs).unwrap_or(lines.len());
    Ok(twin::side_by_side(lines, &theirs, at, &change.words(resolved), tried))
}

/// How many continuations from each moment fail like the original.
fn likelihood(ground: &Ground<'_>, drawn: &[search::Drawn], until: Instant) -> Value {
    let moments = search::moments(drawn, ground.at.as_nanos() as u64, MOMENTS);
    let mut points: Vec<(u64, u64, u64)> = moments.iter().map(|it| (it.at_ns, 0, 0)).collect();
    let jobs = (1..=CONTINUATIONS).flat_map(|round| (0..points.len()).map(move |place| (round, place)));
    let jobs: Vec<(u64, usize)> = jobs.collect();
    let anew = |(round, place): &(u64, usize)| vec![Change::Anew(moments[*place].count, *round)];
    ground.try_all(jobs, anew, until, |(_, place), _, same| {
        points[place].1 += u64::from(same);
        points[place].2 += 1;
        true
    });
    points.retain(|(_, _, runs)| *runs > 0);
    let share = |point: &(u64, u64, u64)| point.1 as f64 / point.2 as f64;
    let steps = points.windows(2).map(|pair| (share(&pair[1]) - share(&pair[0]), pair[0].0, pair[1].0));
    let turn = steps.filter(|(rise, ..)| TURN <= *rise).max_by(|a, b| a.0.total_cmp(&b.0));
    json!({"points": points, "turn_ns": turn.map(|(_, from, to)| [from, to])})
}
