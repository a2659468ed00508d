//! `sim shrink`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::CliError;
use super::args::Parallel;
use super::output::{note, unwritable, writable};
use super::plan::{check, render_problems};
use super::replay::{OneRun, attempt};
use crate::report::World;
use crate::repro::shrink::{Limits, Outcome, ShrinkError, shrink};

/// Which run, and what may be spent.
#[derive(clap::Args, Debug)]
pub struct ShrinkArgs {
    /// Which run.
    #[command(flatten)]
    pub run: OneRun,
    /// Write the repro file here, not to standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Shrink for at most so long
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = super::args::seconds)]
    pub seconds: u64,
    /// How many at once.
    #[command(flatten)]
    pub parallel: Parallel,
}

/// Shrinks a failing run to a repro file; false when the run does not fail.
pub fn run(args: ShrinkArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    args.out.as_deref().map(writable).transpose()?;
    let attempt = attempt(&args.run, world)?;
    let problems = |found: Vec<_>| CliError::Usage(render_problems(&found));
    let scenario = check(&attempt.text, &args.run.file, world).map_err(problems)?;
    let limits = Limits {
        parallel: args.parallel.jobs(),
        time: Duration::from_secs(args.seconds),
        tell: &mut |line| note(format_args!("{line}")),
    };
    let outcome = match shrink(&scenario, &scenario.cells()[0], &attempt.decisions, world, limits) {
        Ok(outcome) => outcome,
        Err(ShrinkError::Broken(message)) => return Err(CliError::Usage(message)),
        Err(ShrinkError::Trace(error)) => return Err(CliError::Output(error)),
        Err(error) => {
            writeln!(out, "{}: {}", args.run.file, why_not(&error))?;
            return Ok(false);
        }
    };
    let text = outcome.repro.to_toml();
    match &args.out {
        Some(path) => std::fs::write(path, &text).map_err(|error| unwritable(path, &error))?,
        None => out.write_all(text.as_bytes())?,
    }
    note(format_args!("{}: {}", outcome.repro.signature, sizes(&outcome)));
    if let Some(path) = &args.out {
        writeln!(out, "{}: cargo sim replay {0}, cargo sim explain {0}", path.display())?;
    }
    Ok(true)
}

/// How large the run was and is, and what that took.
pub fn sizes(outcome: &Outcome) -> String {
    let (from, to) = outcome.repro.shrunk.map(|sizes| (sizes.from, sizes.to)).unwrap_or_default();
    format!(
        "{} events ({} faults, {} operations) became {} ({} faults, {} operations) on {} members, in {:.1} s and {} runs ({:.1} s of core time)",
        from.events(),
        from.faults,
        from.operations,
        to.events(),
        to.faults,
        to.operations,
        to.members,
        outcome.took.as_secs_f64(),
        outcome.runs,
        outcome.cores.as_secs_f64(),
    )
}

/// Why nothing was shrunk.
pub fn why_not(error: &ShrinkError) -> String {
    match error {
        ShrinkError::Passes => "this run passes, there is nothing to shrink".to_owned(),
        ShrinkError::Unplanted(signature) => {
            format!("without the planted bug it fails, too ({signature}): shrink it without")
        }
        ShrinkError::Broken(message) => message.clone(),
        ShrinkError::Trace(error) => error.to_string(),
    }
}
