//! `--report`: plays a run once more, with a trace, and writes what happened as a page.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use evenkeel_scenario::Decisions;

use super::CliError;
use super::plan::{Job, PlannedFile};
use super::runner::{Extras, run_jobs};
use crate::report::html::{Source, render};
use crate::report::{RunReport, World, trace};
use crate::repro::{self, events, file::Build};

/// Where the trace goes while the page is made.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Result<Scratch, CliError> {
        Ok(Scratch(tempfile::tempdir()?))
    }

    fn trace(&self) -> PathBuf {
        self.0.path().join("trace.ndjson")
    }
}

/// How a run is played again.
pub fn command(report: &RunReport) -> String {
    let cell = if report.cell.is_empty() { String::new() } else { format!(" --cell {}", report.cell) };
    format!("cargo sim run {} --seed {}{cell}", report.file, report.seed)
}

/// Writes the page of one run of a plan to `path`.
pub fn write(files: &[PlannedFile], job: Job, path: &Path, world: &World) -> Result<(), CliError> {
    let scratch = Scratch::new()?;
    let extras = Extras { trace: Some(scratch.trace()), ..Extras::default() };
    let mut played = None;
    run_jobs(files, [job], 1, &extras, world, |_, report| played = Some(report));
    let report = played.expect("one job gives one report");
    let lines = trace::read(&scratch.trace())?;
    let events = events::read(BufReader::new(fs::File::open(scratch.trace())?))?;

    let file = &files[job.file];
    let mut decisions = Decisions::new(job.seed);
    let resolved = file.scenario.resolve(&file.cells[job.cell], &mut decisions);
    let build = Build::current();
    let page = render(&Source {
        report: &report,
        trace: &lines,
        scenario: &resolved.to_toml(),
        about: (&resolved.name, &resolved.about),
        command: &command(&report),
        story: &repro::story(&events, &report),
        latency_ns: resolved.cluster.net.latency.high.0.unsigned_abs(),
        build: &[("commit", build.commit), ("compiler", build.rustc)],
        twin: serde_json::Value::Null,
        curve: serde_json::Value::Null,
    });
    fs::write(path, page).map_err(|error| CliError::Usage(format!("cannot write {}: {error}", path.display())))
}
