//! `sim run`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use evenkeel_scenario::RunSummary;

use super::args::{CellChoice, Format, Parallel, Selection};
use super::judge::{Scope, Told, judge_file, means, summary};
use super::output::{note, writable};
use super::plan::{Job, Plan};
use super::progress::Progress;
use super::report::PageArgs;
use super::runner::{Extras, run_jobs};
use super::{CliError, json, real, text};
use crate::report::{RunReport, World};

/// Sums over runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Runs with anything but a pass.
    pub failed: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// CPU time.
    pub cpu: Duration,
    /// Events.
    pub events: u64,
}

impl Tally {
    fn add(&mut self, report: &RunReport) {
        self.runs += 1;
        self.failed += u64::from(!report.verdict.passed());
        self.simulated += Duration::from_nanos(report.simulated_ns);
        self.cpu += Duration::from_nanos(report.cpu_ns);
        self.events += report.chain.events;
    }

    /// Adds other runs.
    pub fn merge(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.failed += other.failed;
        self.simulated += other.simulated;
        self.cpu += other.cpu;
        self.events += other.events;
    }
}

/// What came of one file.
#[derive(Default)]
pub struct FileResult {
    /// Over all cells.
    pub total: Tally,
    /// By cell, in the order of [`Plan`]'s chosen cells.
    pub cells: Vec<Tally>,
    /// From the start of its first run to the end of its last.
    pub wall: Duration,
    /// What its runs say together.
    pub told: Vec<Told>,
    /// By cell, as `cells`: what it is compared with others by, each with its mean over the runs.
    pub means: Vec<BTreeMap<String, f64>>,
    summaries: Vec<(Job, RunSummary)>,
    /// The first run that failed, in the plan's order.
    first_failed: Option<Job>,
}

impl FileResult {
    /// True when every run passed and every judgement holds.
    pub fn holds(&self) -> bool {
        self.total.failed == 0 && self.told.iter().all(|told| told.judgement.holds)
    }
}

/// What to run, and what to keep of it.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Which runs.
    #[command(flatten)]
    pub selection: Selection,
    /// Only the matrix cells with these values
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = super::args::cell)]
    pub cell: Option<CellChoice>,
    /// How many at once.
    #[command(flatten)]
    pub parallel: Parallel,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Write every event of the run here, as lines of JSON; needs a single run
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Whether it is shown as a page.
    #[command(flatten)]
    pub page: PageArgs,
    /// Play the scenarios with this server program, too, in real time; one seed each unless seeds are given
    #[arg(long, value_name = "SERVER", conflicts_with = "trace")]
    pub real: Option<PathBuf>,
}

/// Runs a selection and says what came of it; true when everything held.
pub fn run(args: RunArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let RunArgs { selection, cell, parallel, format, trace, page, real } = args;
    let plan = Plan::of_cells(&selection, &cell.unwrap_or_default(), world)?;
    if let Some(server) = real {
        if page.report.is_some() {
            let message = "--report shows a simulated run: give it without --real for the page, and with --real \
                           --format json for all that the real servers showed";
            return Err(CliError::Usage(message.to_owned()));
        }
        return real::run(plan, selection.seeds(), &server, parallel.jobs(), format, world, out);
    }
    let all = plan.jobs();
    if trace.is_some() && all.len() != 1 {
        let message =
            format!("--trace needs a single run, these are {}: give --seed and, with a matrix, --cell", all.len());
        return Err(CliError::Usage(message));
    }
    trace.iter().chain(&page.report).try_for_each(|path| writable(path))?;
    let start = Instant::now();
    let mut results = execute(&plan, all, parallel.jobs(), trace, format, world, out)?;
    let first = results.iter().filter_map(|result| result.first_failed).min();
    let shown = first.or_else(|| (plan.jobs().len() == 1).then(|| plan.jobs()[0]));
    for (file, result) in plan.files.iter().zip(&mut results) {
        result.summaries.sort_by_key(|(job, _)| *job);
        let runs: Vec<RunSummary> = std::mem::take(&mut result.summaries).into_iter().map(|(_, run)| run).collect();
        let scope = Scope {
            many_seeds: 1 < file.seeds.end - file.seeds.start,
            all_cells: file.chosen.len() == file.cells.len(),
        };
        result.told = judge_file(file, &runs, scope);
        result.means = file.chosen.iter().map(|cell| means(&runs, &file.cells[*cell])).collect();
    }
    match format {
        Format::Text => text::summary(&plan, &results, start.elapsed(), out)?,
        Format::Json => json::summary(&plan, &results, out)?,
    }
    match (page.report, shown) {
        (Some(path), Some(job)) => super::report::write(&plan.files, job, &path, page.report_seconds, world)?,
        (Some(_), None) => note(format_args!("no report: nothing failed, and these were several runs")),
        (None, _) => {}
    }
    Ok(results.iter().all(FileResult::holds))
}

fn execute(
    plan: &Plan,
    jobs: Vec<Job>,
    parallel: usize,
    trace: Option<PathBuf>,
    format: Format,
    world: &World,
    out: &mut dyn Write,
) -> Result<Vec<FileResult>, CliError> {
    let mut results: Vec<FileResult> = plan
        .files
        .iter()
        .map(|file| FileResult { cells: vec![Tally::default(); file.chosen.len()], ..FileResult::default() })
        .collect();
    let mut begun: Vec<Option<Instant>> = vec![None; plan.files.len()];
    let (mut progress, mut failures) = (Progress::new("simulating", jobs.len() as u64), text::Failures::default());
    let mut written = Ok(());
    let counted = jobs.into_iter().inspect(|job| {
        begun[job.file].get_or_insert_with(Instant::now);
    });
    let mut ended: Vec<Option<Instant>> = vec![None; plan.files.len()];
    run_jobs(&plan.files, counted, parallel, &Extras { trace, window: None }, world, |job, report| {
        let (file, result) = (&plan.files[job.file], &mut results[job.file]);
        ended[job.file] = Some(Instant::now());
        result.total.add(&report);
        if !report.verdict.passed() {
            result.first_failed = Some(result.first_failed.map_or(job, |first| first.min(job)));
        }
        let cell = file.chosen.iter().position(|cell| *cell == job.cell).expect("only chosen cells are run");
        result.cells[cell].add(&report);
        progress.step(!report.verdict.passed());
        if written.is_ok() {
            written = match format {
                Format::Json => json::run(&report, out),
                Format::Text if report.verdict.passed() => Ok(()),
                Format::Text => {
                    progress.clear();
                    failures.tell(&report, out)
                }
            };
        }
        result.summaries.push((job, summary(&report, &file.cells[job.cell])));
    });
    progress.clear();
    written?;
    for ((result, begun), ended) in results.iter_mut().zip(begun).zip(ended) {
        result.wall = begun.zip(ended).map_or(Duration::ZERO, |(begun, ended)| ended - begun);
    }
    if format == Format::Text {
        failures.tell_rest(out)?;
    }
    Ok(results)
}
