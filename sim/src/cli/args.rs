//! The command line, read. Each command's arguments are declared beside the command itself; what several share is here.

use std::ops::Range;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bench::BenchArgs;
use super::determinism::CheckArgs;
use super::export::{CampaignArgs, ExportArgs};
use super::fuzz::{FuzzArgs, GenerateArgs};
use super::lint::{LintArgs, SchemaArgs};
use super::merge::MergeArgs;
use super::mutants::MutantsArgs;
use super::replay::{OneRun, ReplayArgs};
use super::run::RunArgs;
use super::shrink::ShrinkArgs;

const EXIT_CODES: &str =
    "Exit code: 0 all held, 1 an expectation failed, 2 wrong usage, an invalid file, or no run could be made.";

/// The simulator: whole clusters under one seed.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo sim", after_help = EXIT_CODES, disable_version_flag = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command with its options.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs scenarios; without a PATH all files scenarios/*.toml
    Run(RunArgs),
    /// Runs every seed twice, in processes that share nothing, and compares what happened
    CheckDeterminism(CheckArgs),
    /// Searches: runs scenarios that nobody wrote
    Fuzz(FuzzArgs),
    /// Puts the results of parts of a campaign together
    Merge(MergeArgs),
    /// Writes a run for Perfetto or ShiViz, or as lines of JSON
    Export(ExportArgs),
    /// Shows a campaign's results as a page for a browser
    Campaign(CampaignArgs),
    /// Prints the scenario of a seed, as fuzz would run it
    Generate(GenerateArgs),
    /// Plays a repro file and compares it with what was recorded; 0 when it ends as the file says
    Replay(ReplayArgs),
    /// Makes a failing run as small as it gets, and a repro file of it
    Shrink(ShrinkArgs),
    /// Tells the story of a run in a few sentences
    Explain(OneRun),
    /// Plants known bugs in runs of the generic swarm and says which are found, how soon, and by what
    Mutants(MutantsArgs),
    /// Measures how fast the simulator is here, and says how fast it should be
    Bench(BenchArgs),
    /// Checks scenario files without running them
    Lint(LintArgs),
    /// Prints the JSON Schema of scenario files, or of repro files, for editors
    Schema(SchemaArgs),
    /// Names the scenarios in scenarios/
    List,
    /// Names the points in the code that fp(POINT) may mean
    Points,
    /// Internal: runs the jobs given on standard input
    #[command(hide = true)]
    Worker,
    /// Internal: plays the scenario given on standard input with real servers
    #[command(hide = true)]
    Play,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Text,
    /// One JSON object per line: every run, then a summary
    Json,
}

/// Which runs.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A scenario file or a repro file, or a directory of them
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// The seeds from A up to, not including, B; by default as many as each file says
    #[arg(long, value_name = "A..B", value_parser = seed_range)]
    pub seeds: Option<Range<u64>>,
    /// Only this seed
    #[arg(long, value_name = "N", conflicts_with = "seeds", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub seed: Option<u64>,
}

impl Selection {
    /// Exactly these files, and as many seeds as they say.
    pub fn of(paths: Vec<String>) -> Selection {
        Selection { paths, ..Selection::default() }
    }

    /// The seeds that were asked for.
    pub fn seeds(&self) -> Option<Range<u64>> {
        self.seed.map(|seed| seed..seed + 1).or_else(|| self.seeds.clone())
    }
}

/// Values of matrix parameters that must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellChoice(pub Vec<(String, String)>);

/// How many runs at once.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Parallel {
    /// Runs at once; by default one per core
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
}

impl Parallel {
    /// The number of children at once.
    pub fn jobs(self) -> usize {
        self.jobs.map_or_else(super::runner::default_parallel, usize::from)
    }
}

/// Reads `A..B`.
pub fn seed_range(value: &str) -> Result<Range<u64>, String> {
    let bad = || "a range such as 0..100 is needed".to_owned();
    let (start, end) = value.split_once("..").ok_or_else(bad)?;
    let (start, end) = (start.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
    if end <= start {
        return Err("it is empty: the end does not belong to the range".to_owned());
    }
    Ok(start..end)
}

/// So many seconds are long enough for anything, and can be added to any moment.
pub const SECONDS_MAX: u64 = 365 * 24 * 3600;

/// Reads a number of seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let seconds: u64 = text.parse().map_err(|_| "a whole number of seconds is needed".to_owned())?;
    if seconds <= SECONDS_MAX { Ok(seconds) } else { Err(format!("at most {SECONDS_MAX} seconds (a year)")) }
}

/// Reads a number of minutes, as a time.
pub fn minutes(text: &str) -> Result<Duration, String> {
    let most = SECONDS_MAX as f64 / 60.0;
    match text.parse::<f64>() {
        Ok(minutes) if 0.0 < minutes && minutes <= most => Ok(Duration::from_secs_f64(minutes * 60.0)),
        _ => Err(format!("a number of minutes above 0 and up to {most} is needed")),
    }
}

/// Reads `a=1,b=two`, the way a failure prints a cell.
pub fn cell(text: &str) -> Result<CellChoice, String> {
    let pairs = text.split(',').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE,… is needed".to_owned()),
    });
    pairs.collect::<Result<_, _>>().map(CellChoice)
}

/// Reads the arguments after the program's name.
pub fn parse(args: &[String]) -> Result<Command, clap::Error> {
    let words = std::iter::once("cargo sim").chain(args.iter().map(String::as_str));
    Cli::try_parse_from(words).map(|cli| cli.command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_declarations_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_of_run_is_read() {
        let line = "run a.toml --seeds 3..9 b --jobs=4 --format json --trace t.json --cell pre_vote=true,dir=in";
        let Ok(Command::Run(run)) = read(line) else { panic!("{:?}", read(line)) };
        assert_eq!(run.selection.paths, ["a.toml", "b"]);
        assert_eq!(run.selection.seeds(), Some(3..9));
        assert_eq!(run.cell, Some(CellChoice(vec![("pre_vote".into(), "true".into()), ("dir".into(), "in".into())])));
        assert_eq!((run.parallel.jobs(), run.format, run.trace), (4, Format::Json, Some("t.json".into())));
        let Ok(Command::Run(run)) = read("run --seed 7") else { panic!() };
        assert_eq!(run.selection.seeds(), Some(7..8));
    }

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        for (line, message) in [
            ("rum", "a similar subcommand exists: 'run'"),
            ("run --sede 1", "a similar argument exists: '--seed'"),
            ("lint --jobs 1", "unexpected argument '--jobs'"),
            ("run --seed", "a value is required for '--seed <N>'"),
            ("run --seed x", "invalid digit"),
            ("run --seeds 5", "a range such as 0..100 is needed"),
            ("run --seeds 5..5", "the end does not belong to the range"),
            ("run --seed 1 --seeds 1..2", "cannot be used with"),
            ("run --jobs 0", "non-zero"),
            ("run --format jsn", "a similar value exists: 'json'"),
            ("run --cell a", "NAME=VALUE,… is needed"),
            ("list x", "unexpected argument 'x'"),
            ("fuzz --minutes nan", "a number of minutes above 0"),
            ("fuzz --minutes inf", "a number of minutes above 0"),
            ("fuzz --minutes=-1", "a number of minutes above 0"),
            ("fuzz --minutes 0", "a number of minutes above 0"),
            ("fuzz --seeds 0", "0 is not in 1.."),
            ("fuzz --minutes 1e300", "a number of minutes above 0"),
            ("fuzz --shrink-seconds 18446744073709551615", "at most 31536000 seconds"),
            ("shrink a.toml --seconds 18446744073709551615", "at most 31536000 seconds"),
            ("run --report a.html --report-seconds 18446744073709551615", "at most 31536000 seconds"),
            ("mutants --shrink-seconds 18446744073709551615", "at most 31536000 seconds"),
            ("fuzz --first 18446744073709551615", "is not in 0..=281474976710656"),
            ("fuzz --shard 0/18446744073709551615", "I/N is needed"),
        ] {
            let answer = read(line).expect_err(line);
            assert!(answer.contains(message), "{line}: {answer}");
        }
    }
}
