//! `sim replay` and `sim explain`: a repro file, or a seed of a scenario, seen again.

use std::io::Write;
use std::path::{Path, PathBuf};

use evenkeel_scenario::Decisions;
use evenkeel_scenario::cluster::Planted;

use super::CliError;
use super::args::{CellChoice, Parallel};
use super::kept;
use super::output::{note, writable};
use super::plan::{self, check, one_cell, render_problems};
use super::report::{PageArgs, Shown};
use super::runner::Extras;
use super::text::{what_and_when, what_and_where};
use super::until::{self, Until};
use crate::chain::Window;
use crate::report::{RunReport, Verdict, World};
use crate::repro::attempt::LOG_EVENTS_MAX;
use crate::repro::file::Today;
use crate::repro::replay::{Sameness, as_expected, compare};
use crate::repro::{Attempt, Repro, Signature, story};

/// So many lines are shown before the event that was asked for, and after the place where runs part.
const LINES_SHOWN: u64 = 20;

/// When a diverged replay does not fail, the failure is looked for in so many seeds more.
const OTHER_SEEDS: u64 = 30;

/// Which repro, and how far.
#[derive(clap::Args, Debug)]
pub struct ReplayArgs {
    /// A repro file, or a directory: a table of all that it holds
    #[arg(value_name = "PATH")]
    pub file: String,
    /// Show the events up to this one: a number, `failure`, a time such as `1.2s`, or a name, first time: `elected`
    #[arg(long, value_name = "EVENT", value_parser = super::until::until)]
    pub until: Option<Until>,
    /// Write every event of the run here, as lines of JSON
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// The page of the run.
    #[command(flatten)]
    pub page: PageArgs,
    /// How many at once.
    #[command(flatten)]
    pub parallel: Parallel,
}

/// One run: what a repro file says, or of a scenario file.
#[derive(clap::Args, Debug)]
pub struct OneRun {
    /// A repro file, or a scenario file with --seed
    #[arg(value_name = "FILE")]
    pub file: String,
    /// The seed, for a scenario; of a repro file another than its own is another run of its scenario
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The matrix cell, for a scenario with a matrix
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = super::args::cell)]
    pub cell: Option<CellChoice>,
}

/// Replays a repro and compares; true when it ends as the file says, and passes without the bug planted in it.
pub fn replay(args: ReplayArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    if Path::new(&args.file).is_dir() {
        if args.until.is_some() || args.trace.is_some() || args.page.report.is_some() {
            return Err(CliError::Usage(format!("{} is a directory: these options need one file", args.file)));
        }
        return kept::replay(Path::new(&args.file), args.parallel.jobs(), world, out);
    }
    let repro = load(&args.file)?;
    let attempt = Attempt::of(&repro, &args.file).map_err(CliError::Usage)?;
    args.trace.iter().chain(&args.page.report).try_for_each(|path| writable(path))?;
    let window: Window = 0..LOG_EVENTS_MAX;
    let scratch = tempfile::tempdir()?;
    let trace = args.trace.clone().or_else(|| args.page.report.is_some().then(|| scratch.path().join("trace.ndjson")));
    let report = attempt.run(&Extras { trace: trace.clone(), window: Some(window) }, world);
    if let (Some(page), Some(trace)) = (&args.page.report, &trace) {
        write_page(&args, &attempt, &report, trace, page, world)?;
    }
    if let Some(until) = &args.until {
        let end = until.count(&report).map_err(|wrong| CliError::Usage(format!("--until: {wrong}")))?;
        for (n, line) in report.window[..end].iter().enumerate().skip(end.saturating_sub(LINES_SHOWN as usize)) {
            writeln!(out, "  {n:>6} {line}")?;
        }
        writeln!(out)?;
    }
    if let Some(message) = unfinished(&report) {
        writeln!(out, "{}: seed {} could not be played to its end: {message}", args.file, report.seed)?;
        return Ok(false);
    }
    let same = compare(&repro.chain, &report);
    match &same {
        Sameness::Same => writeln!(out, "{}: the same to the last event ({})", args.file, report.chain.events)?,
        Sameness::Parted { from, to } => {
            writeln!(out, "{}: another run from event {from} to {to} on (made by {})", args.file, repro.build.commit)?;
            let lines = report.window.iter().enumerate().skip(*from as usize);
            for (n, line) in lines.take(((to + 1).saturating_sub(*from)).min(LINES_SHOWN) as usize) {
                writeln!(out, "  {n:>6} {line}")?;
            }
        }
    }
    what_and_where(&report, until::failure(&report)).lines().try_for_each(|line| writeln!(out, "  {line}"))?;
    let expected = as_expected(&repro, &report);
    let found = match (repro.today, expected) {
        (Today::Fails, true) => format!("fails as recorded: {}", repro.signature),
        (Today::Passes, true) => "passes: the bug is mended".to_owned(),
        (Today::Passes, false) => format!("does not pass, although the bug ({}) is mended", repro.signature),
        (Today::Fails, false) => match other_seed(&repro, &attempt, world) {
            Some(seed) => {
                format!("does not fail with its seed any more; with seed {seed} it does: {}", repro.signature)
            }
            None => format!("does not fail as recorded ({}), nor with {OTHER_SEEDS} other seeds", repro.signature),
        },
    };
    writeln!(out, "{}: {found}", args.file)?;
    let Some(unplanted) = unplanted(&attempt, world)? else { return Ok(expected) };
    let report = unplanted.run(&Extras::default(), world);
    match report.verdict.passed() {
        true => writeln!(out, "{}: without the planted bug it passes", args.file)?,
        false => writeln!(out, "{}: it fails without the planted bug, too: {}", args.file, what_and_when(&report))?,
    }
    Ok(expected && report.verdict.passed())
}

/// The run as a page.
fn write_page(
    args: &ReplayArgs,
    attempt: &Attempt,
    report: &RunReport,
    traced: &Path,
    to: &Path,
    world: &World,
) -> Result<(), CliError> {
    let found = |found: Vec<_>| CliError::Usage(render_problems(&found));
    let scenario = check(&attempt.text, &args.file, world).map_err(found)?;
    let shown = Shown {
        scenario: &scenario,
        cell: &scenario.cells()[0],
        decisions: attempt.decisions.clone(),
        report,
        traced,
        command: format!("cargo sim replay {}", args.file),
        seconds: args.page.report_seconds,
    };
    super::report::write_page(&shown, to, world)
}

/// A seed with which the failure comes back.
fn other_seed(repro: &Repro, attempt: &Attempt, world: &World) -> Option<u64> {
    (1..=OTHER_SEEDS).map(|more| repro.run.seed + more).find(|seed| {
        let other = Attempt { decisions: Decisions::new(*seed), ..attempt.clone() };
        Signature::of(&other.run(&Extras::default(), world).verdict).as_ref() == Some(&repro.signature)
    })
}

/// Tells the story of a run.
pub fn explain(run: OneRun, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let attempt = attempt(&run, world)?;
    let (report, events) = attempt.run_told(world)?;
    if let Some(message) = unfinished(&report) {
        writeln!(out, "{}: seed {} could not be played to its end: {message}", run.file, report.seed)?;
        return Ok(false);
    }
    for sentence in story(&events, &report) {
        writeln!(out, "{sentence}")?;
    }
    Ok(true)
}

/// Why a run has no end of its own, if it has none: it hung, or its process died.
fn unfinished(report: &RunReport) -> Option<&str> {
    match &report.verdict {
        Verdict::Error { message } => Some(message),
        _ => None,
    }
}

/// The same run without the bugs that are planted in it, if there are any.
pub fn unplanted(attempt: &Attempt, world: &World) -> Result<Option<Attempt>, CliError> {
    let scenario =
        check(&attempt.text, &attempt.file, world).map_err(|found| CliError::Usage(render_problems(&found)))?;
    let mut resolved = scenario.resolve(&scenario.cells()[0], &mut attempt.decisions.clone());
    let planted = std::mem::take(&mut resolved.cluster.mutants);
    Ok((planted != Planted::default()).then(|| Attempt { text: resolved.to_toml(), ..attempt.clone() }))
}

/// Reads a repro file.
pub fn load(path: &str) -> Result<Repro, CliError> {
    Repro::parse(&read(path)?).map_err(|error| CliError::Usage(format!("{path} is no repro file: {error}")))
}

fn read(path: &str) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| CliError::Usage(format!("cannot read {path}: {error}")))
}

/// That run. Of a repro file with a seed of its own choice, as `run` does it: another run of its scenario.
pub fn attempt(run: &OneRun, world: &World) -> Result<Attempt, CliError> {
    let OneRun { file: path, seed, cell } = run;
    let (text, recorded) = plan::read(path)?;
    let scenario = check(&text, path, world).map_err(|found| CliError::Usage(render_problems(&found)))?;
    let cell = one_cell(&scenario, cell.as_ref(), path)?;
    let decisions = match (recorded, seed) {
        (Some(recorded), seed) if seed.is_none_or(|seed| seed == recorded.seed()) => {
            return Ok(Attempt { text, file: path.to_owned(), decisions: recorded });
        }
        (Some(recorded), Some(seed)) => {
            let recorded = recorded.seed();
            note(format_args!("{path} records seed {recorded}: this is seed {seed} of its scenario, another run"));
            Decisions::new(*seed)
        }
        (None, Some(seed)) => Decisions::new(*seed),
        (_, None) => return Err(CliError::Usage(format!("{path} is a scenario: give its --seed"))),
    };
    let text = scenario.resolve(&cell, &mut decisions.clone()).to_toml();
    Ok(Attempt { text, file: path.to_owned(), decisions })
}
