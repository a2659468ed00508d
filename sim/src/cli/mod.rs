//! The command line: plans runs, has each done in a process of its own, and says what came of them.
//!
//! [`execute`] is the whole program apart from the world it runs and the process it runs in; `main` hands it both.

#![allow(clippy::disallowed_methods, reason = "the parent's side: real files and real time, outside every run")]

pub mod args;
mod bench;
mod campaign;
mod closing;
mod curve;
mod determinism;
mod export;
pub mod fuzz;
mod json;
mod judge;
mod kept;
mod lint;
mod merge;
mod mutants;
mod order;
mod output;
mod parity;
mod plan;
mod play;
mod progress;
mod real;
mod replay;
pub mod report;
mod run;
pub mod runner;
mod shrink;
mod table;
mod text;
mod trial;
mod twin;
mod unfinished;
mod until;
pub mod worker;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::report::World;
use args::{Command, parse};

/// Everything held.
pub const EXIT_HELD: u8 = 0;
/// An expectation failed.
pub const EXIT_FAILED: u8 = 1;
/// Wrong usage, an invalid file, or a testbed that cannot do its work.
pub const EXIT_USAGE: u8 = 2;

/// Why a command could not do its work.
#[derive(Debug)]
pub enum CliError {
    /// Wrong usage or an invalid file; the text says what to do.
    Usage(String),
    /// The testbed cannot do its work on this machine, or in this build; the text says what it met.
    GaveUp(String),
    /// The results could not be written.
    Output(io::Error),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Usage(message) | CliError::GaveUp(message) => f.write_str(message),
            CliError::Output(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::Output(error)
    }
}

/// The program: the arguments of this process, its standard streams, and a world.
pub fn main(world: &World) -> ExitCode {
    crate::fork::displace_heap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(execute(&args, world, &mut io::stdout().lock()))
}

/// Does what `args` say and returns the exit code. Results go to `out`, progress and complaints to standard error.
pub fn execute(args: &[String], world: &World, out: &mut dyn Write) -> u8 {
    let salted = || crate::fork::check_salt().map_err(CliError::Usage);
    let result = match parse(args) {
        Ok(command) => salted().and_then(|_| obey(command, world, out)),
        Err(help) if !help.use_stderr() => write!(out, "{help}").map(|()| true).map_err(CliError::Output),
        Err(slip) => Err(CliError::Usage(slip.to_string())),
    };
    match result {
        Ok(true) => EXIT_HELD,
        Ok(false) => EXIT_FAILED,
        Err(CliError::Usage(message) | CliError::GaveUp(message)) => {
            output::note(format_args!("{message}"));
            EXIT_USAGE
        }
        // Whoever read us has stopped: not our failure, but nobody can rely on it as success either.
        Err(CliError::Output(error)) => {
            output::note(format_args!("cannot write the results: {error}"));
            EXIT_USAGE
        }
    }
}

fn obey(command: Command, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    match command {
        Command::Run(args) => run::run(args, world, out),
        Command::CheckDeterminism(args) => determinism::check(&args, world, out),
        Command::Fuzz(args) => fuzz::fuzz(&args, world, out),
        Command::Export(args) => export::export(&args, world, out),
        Command::Campaign(args) => export::campaign(&args, world),
        Command::Merge(args) => merge::merge(&args, world, out),
        Command::Generate(args) => fuzz::print(&args, world, out),
        Command::Replay(args) => replay::replay(args, world, out),
        Command::Shrink(args) => shrink::run(args, world, out),
        Command::Explain(args) => replay::explain(args, world, out),
        Command::Mutants(args) => mutants::mutants(&args, world, out),
        Command::Bench(args) => bench::bench(&args, world, out),
        Command::Lint(args) => lint::lint(&args.paths, world, out),
        Command::Schema(args) => lint::schema(&args, out),
        Command::List => lint::list(out),
        Command::Points => lint::points(world, out),
        Command::Worker => worker::work(world, out),
        Command::Play => play::play(world, out),
    }
}
