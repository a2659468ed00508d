//! `sim export` and `sim campaign`: runs for other tools, and campaigns as a page.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::CliError;
use super::args::{CellChoice, Selection};
use super::campaign::wanted;
use super::closing::Lack;
use super::merge;
use super::output::{note, unwritable, writable};
use super::plan::{Plan, several_cells};
use super::runner::{Extras, run_jobs};
use crate::explore::Summary;
use crate::explore::result::Group;
use crate::report::export::{Format, write};
use crate::report::html::{campaign, model::understand};
use crate::report::{Verdict, World, trace};

/// What to export.
#[derive(clap::Args, Debug)]
pub struct ExportArgs {
    /// A trace, as `run --trace` writes it, or a scenario or repro file (*.toml)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The tool it is for
    #[arg(long, value_enum)]
    format: Format,
    /// The seed; by default that of a repro file, and the first one of a scenario
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The cell, of a scenario with a matrix
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = super::args::cell)]
    cell: Option<CellChoice>,
    /// Write it here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes a run in the format of another tool.
pub fn export(args: &ExportArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    args.out.as_deref().map(writable).transpose()?;
    let scratch = tempfile::tempdir()?;
    let traced = if args.file.extension().is_some_and(|extension| extension == "toml") {
        let path = scratch.path().join("trace.ndjson");
        play(args, &path, world)?;
        path
    } else {
        args.file.clone()
    };
    let refused = |error: std::io::Error| CliError::Usage(format!("{}: {error}", args.file.display()));
    let model = understand(&trace::read(&traced).map_err(refused)?);
    match &args.out {
        None => write(&model, args.format, out)?,
        Some(path) => {
            let mut file = BufWriter::new(File::create(path).map_err(|error| unwritable(path, &error))?);
            write(&model, args.format, &mut file)?;
            file.flush()?;
        }
    }
    Ok(true)
}

fn play(args: &ExportArgs, path: &Path, world: &World) -> Result<(), CliError> {
    let mut selection = Selection::of(vec![args.file.display().to_string()]);
    selection.seed = args.seed;
    let plan = Plan::of_cells(&selection, &args.cell.clone().unwrap_or_default(), world)?;
    let (file, jobs) = (&plan.files[0], plan.jobs());
    // A repro file has one seed; of a scenario it is the first.
    let jobs: Vec<_> = jobs.into_iter().filter(|job| args.seed.is_some() || job.seed == file.seeds.start).collect();
    let [job] = jobs[..] else {
        let cells: Vec<_> = file.chosen.iter().map(|cell| file.cells[*cell].clone()).collect();
        return Err(CliError::Usage(format!("{}: {}", file.path, several_cells(&cells))));
    };
    let extras = Extras { trace: Some(path.to_owned()), ..Extras::default() };
    let mut cut = None;
    run_jobs(&plan.files, [job], 1, &extras, world, |_, report| {
        if let Verdict::Error { message } = &report.verdict {
            cut = Some(message.clone());
        }
    });
    cut.map_or(Ok(()), |message| Err(CliError::Usage(format!("the run did not come to its end: {message}"))))
}

/// What to show.
#[derive(clap::Args, Debug)]
pub struct CampaignArgs {
    /// Results, as `fuzz --out` writes them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// The gallery, as `mutants --format json` writes it
    #[arg(long, value_name = "FILE")]
    gallery: Option<PathBuf>,
}

/// Writes a campaign as a page.
pub fn campaign(args: &CampaignArgs, world: &World) -> Result<bool, CliError> {
    writable(&args.report)?;
    let gallery = args.gallery.as_deref().map(gallery).transpose()?.unwrap_or_default();
    let mut summary = Summary::default();
    let mut lack = Lack::default();
    for path in &args.files {
        let parts = merge::read(path, |line, _| {
            if let Err(again) = summary.add(line) {
                summary.add_failure(*again);
            }
        })?;
        lack.note(path, &parts);
    }
    let lacking = lack.told(summary.missing());
    lacking.iter().for_each(|what| note(format_args!("{what}")));
    let unmet: Vec<String> = wanted(world).into_iter().filter(|name| !summary.seen().contains_key(name)).collect();
    let links = |group: &Group| match group.scenario.as_deref() {
        Some(path) => links(Path::new(path), &args.report),
        None => Vec::new(),
    };
    fs::write(&args.report, campaign::render(&summary, &lacking, &unmet, &gallery, &links))
        .map_err(|error| unwritable(&args.report, &error))?;
    Ok(true)
}

/// The files of a failure that are there, with words for them; as they are reached from the page.
fn links(scenario: &Path, page: &Path) -> Vec<(String, &'static str)> {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = whole(page).parent().map(Path::to_owned).unwrap_or_default();
    let files = [
        ("toml", "scenario"),
        ("repro.toml", "repro file"),
        ("shrunk.repro.toml", "shrunk repro file"),
        ("shrunk.html", "shrunk run as a page"),
    ];
    let path = |ending: &str| whole(&scenario.with_extension(ending));
    let there = files.into_iter().map(|(ending, words)| (path(ending), words)).filter(|(path, _)| path.exists());
    there.map(|(path, words)| (path.strip_prefix(&folder).unwrap_or(&path).display().to_string(), words)).collect()
}

/// The lines of `mutants --format json`. A file without any is another one.
fn gallery(path: &Path) -> Result<Vec<Value>, CliError> {
    let refused = |error: String| CliError::Usage(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    let read = |(number, line): (usize, std::io::Result<String>)| {
        serde_json::from_str(&line?).map_err(|error| refused(format!("line {number}: {error}")))
    };
    let mut lines: Vec<Value> = (1..).zip(BufReader::new(file).lines()).map(read).collect::<Result<_, _>>()?;
    lines.retain(|line| line["type"] == "mutant");
    if lines.is_empty() {
        let path = path.display();
        return Err(refused(format!("holds no planted bug; make it with cargo sim mutants --format json > {path}")));
    }
    Ok(lines)
}
