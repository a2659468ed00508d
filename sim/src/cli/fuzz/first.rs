//! The first failure of each kind, shrunk as soon as it is found: what a person wants to read is small.
//!
//! Nothing else runs meanwhile, and the time counts for nothing that limits the campaign.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use evenkeel_scenario::Decisions;

use super::keep::{First, Found};
use crate::cli::CliError;
use crate::cli::plan::{check, render_problems};
use crate::cli::report::{self, Shown};
use crate::cli::runner::Extras;
use crate::cli::shrink::{sizes, why_not};
use crate::explore::generate::parse;
use crate::report::World;
use crate::repro::shrink::{Limits, shrink};
use crate::repro::{Attempt, Repro};

/// The page of a shrunk run looks for a run that passes for so many seconds, and as many for the turning point.
const PAGE_SECONDS: u64 = 5;

/// What came of it.
pub enum Told {
    /// How large it was and is, and what it took.
    Shrunk(String),
    /// Why it could not be shrunk.
    Not(String),
}

impl Told {
    /// Says so.
    pub fn tell(&self, found: &Found, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Told::Shrunk(sizes) => {
                writeln!(out, "  shrunk: {sizes}")?;
                writeln!(out, "    cargo sim replay {}", found.shrunk().display())?;
                writeln!(out, "    {}", found.path(PAGE).display())
            }
            Told::Not(why) => writeln!(out, "  not shrunk: {why}"),
        }
    }
}

/// The page of the shrunk run.
const PAGE: &str = "shrunk.html";

/// Shrinks a failure, and writes its repro file, with the story, and its page.
pub fn shrunk(first: &First, time: Duration, parallel: usize, world: &World) -> Result<Told, CliError> {
    let First { signature, draft, found } = first;
    eprintln!("shrinking {} ({signature}) for at most {} s", found.scenario().display(), time.as_secs());
    let scenario = parse(draft);
    let limits = Limits { parallel, time, tell: &mut |line| eprintln!("  {line}") };
    let outcome = match shrink(&scenario, &scenario.cells()[0], &Decisions::new(draft.seed), world, limits) {
        Ok(outcome) => outcome,
        Err(error) => {
            let why = why_not(&error);
            eprintln!("  not shrunk: {why}");
            return Ok(Told::Not(why));
        }
    };
    fs::write(found.shrunk(), outcome.repro.to_toml())?;
    write_page(&outcome.repro, &found.shrunk(), &found.path(PAGE), world)?;
    let told = Told::Shrunk(sizes(&outcome));
    told.tell(found, &mut io::stderr().lock())?;
    Ok(told)
}

/// Plays what the file `path` holds once more, and shows it.
fn write_page(repro: &Repro, path: &Path, html: &Path, world: &World) -> Result<(), CliError> {
    let file = path.display().to_string();
    let attempt = Attempt::of(repro, &file).map_err(CliError::Usage)?;
    let scenario = check(&attempt.text, &file, world).map_err(|found| CliError::Usage(render_problems(&found)))?;
    let traced = tempfile::NamedTempFile::new()?;
    let report = attempt.run(&Extras { trace: Some(traced.path().to_owned()), window: None }, world);
    let shown = Shown {
        scenario: &scenario,
        cell: &scenario.cells()[0],
        decisions: attempt.decisions.clone(),
        report: &report,
        traced: traced.path(),
        command: format!("cargo sim replay {file}"),
        seconds: PAGE_SECONDS,
    };
    report::write_page(&shown, html, world)
}
