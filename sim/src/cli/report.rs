//! `--report`: plays a run once more, with a trace, asks what its failure hangs on, and writes what happened as a page.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evenkeel_scenario::{Cell, Decisions, Scenario};
use serde_json::Value;

use super::CliError;
use super::curve::likelihood;
use super::output::unwritable;
use super::plan::{Job, PlannedFile};
use super::runner::{Extras, default_parallel, run_jobs};
use super::trial::Ground;
use super::twin::find_twin;
use crate::report::html::{Source, render, search};
use crate::report::trace;
use crate::report::{RunReport, Verdict, World};
use crate::repro::{self, Signature, events, file::Build};

/// What a page is to hold.
#[derive(clap::Args, Clone, Debug)]
pub struct PageArgs {
    /// Show the run, or the first one that fails, as a page for a browser in this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// So many seconds at most are spent on a passing twin, and as many on when the failure became likely
    #[arg(long, value_name = "N", default_value_t = 15, requires = "report", value_parser = super::args::seconds)]
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
        decisions: file.decisions(job.seed),
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
    fs::write(path, page).map_err(|error| unwritable(path, &error))
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
        let (begun, patience) = (Instant::now(), Duration::from_secs(shown.seconds));
        twin = find_twin(&ground, &resolved, &lines, &drawn, begun + patience)?;
        // What the twin left of its time is the curve's.
        curve = likelihood(&ground, &drawn, begun + 2 * patience);
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
