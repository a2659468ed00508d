//! The first failure of each kind, shrunk as soon as it is found: what a person wants to read is small.
//!
//! Nothing else runs meanwhile, and the time counts for nothing that limits the campaign.

use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use evenkeel_scenario::Decisions;

use super::keep::{First, Found};
use crate::cli::CliError;
use crate::cli::output::note;
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
    /// How large it was and is, and what it took; and why there is no page of it, when there is none.
    Shrunk { sizes: String, no_page: Option<String> },
    /// Why it could not be shrunk.
    Not(String),
}

impl Told {
    /// There is a shrunk run, and its page.
    pub fn is_whole(&self) -> bool {
        matches!(self, Told::Shrunk { no_page: None, .. })
    }

    /// Says so.
    pub fn tell(&self, found: &Found, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Told::Shrunk { sizes, no_page } => {
                writeln!(out, "  shrunk: {sizes}")?;
                writeln!(out, "    cargo sim replay {}", found.shrunk().display())?;
                match no_page {
                    None => writeln!(out, "    {}", found.path(PAGE).display()),
                    Some(why) => writeln!(out, "    no page: {why}"),
                }
            }
            Told::Not(why) => writeln!(out, "  not shrunk: {why}"),
        }
    }
}

/// The page of the shrunk run.
const PAGE: &str = "shrunk.html";

/// Shrinks a failure, and writes its repro file, with the story, and its page. What goes wrong with that is told: the
/// campaign has other seeds.
pub fn shrunk(first: &First, time: Duration, parallel: usize, world: &World) -> Told {
    let First { signature, found, .. } = first;
    note(format_args!("shrinking {} ({signature}) for at most {} s", found.scenario().display(), time.as_secs()));
    let told = caught(|| attempted(first, time, parallel, world)).unwrap_or_else(Told::Not);
    // Who watches is told as soon as possible, and everybody at the end.
    let _ = told.tell(found, &mut io::stderr().lock());
    told
}

/// What came of it, or the error or panic that ended it, in words.
fn caught<T>(work: impl FnOnce() -> Result<T, CliError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("the testbed panicked: {}", text.unwrap_or("no message")))
        }
    }
}

fn attempted(first: &First, time: Duration, parallel: usize, world: &World) -> Result<Told, CliError> {
    let First { draft, found, .. } = first;
    let scenario = parse(draft);
    let limits = Limits { parallel, time, tell: &mut |line| note(format_args!("  {line}")) };
    let outcome = match shrink(&scenario, &scenario.cells()[0], &Decisions::new(draft.seed), world, limits) {
        Ok(outcome) => outcome,
        Err(error) => return Ok(Told::Not(why_not(&error))),
    };
    let path = found.shrunk();
    fs::write(&path, outcome.repro.to_toml())
        .map_err(|error| CliError::Usage(format!("cannot write {}: {error}", path.display())))?;
    let page = caught(|| write_page(&outcome.repro, &path, &found.path(PAGE), world));
    Ok(Told::Shrunk { sizes: sizes(&outcome), no_page: page.err() })
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
