//! `sim fuzz`, `sim merge` and `sim generate`: campaigns of generated scenarios.
//!
//! A campaign is a list of seeds, and a shard of it those with one remainder: shards are disjoint, together they are
//! the campaign, and their result files merge to what one run of it would have written.

use std::cell::{Cell as Flag, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evenkeel_scenario::cluster::{Plant, Planted};
use evenkeel_scenario::{Cell, Selector, nearest};

use super::CliError;
use super::args::Parallel;
use super::campaign;
use super::progress::Progress;
use super::runner::{Made, run_made};
use crate::explore::generate::parse;
use crate::explore::{Corpus, Draft, Line, Profile, Summary, draft, generate};
use crate::report::{RunReport, World};
use crate::repro::Repro;
use crate::repro::file::Build;

/// Seeds of a campaign that says neither how many nor how long.
const SEEDS: u64 = 1_000;
/// So many seeds fit into any number of minutes.
const SEEDS_MAX: u64 = 1 << 48;
/// The file of results in the directory that was given.
const RESULTS: &str = "results.ndjson";
/// The directory of failed scenarios in it.
const FAILURES: &str = "failures";
/// So many failures of one kind are kept as files.
const KEPT_OF_A_KIND: u64 = 20;

/// One part of a campaign of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// Whether a seed belongs to it.
    pub fn has(self, seed: u64) -> bool {
        seed % self.of == self.index
    }
}

/// Reads `I/N`, I from 0.
fn shard(text: &str) -> Result<Shard, String> {
    let bad = || "I/N is needed, with I from 0 to N-1".to_owned();
    let (index, of) = text.split_once('/').ok_or_else(bad)?;
    let shard = Shard { index: index.parse().map_err(|_| bad())?, of: of.parse().map_err(|_| bad())? };
    if shard.index < shard.of { Ok(shard) } else { Err(bad()) }
}

/// What is generated.
#[derive(clap::Args, Debug)]
pub struct Source {
    /// What the scenarios are to be like
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = Profile::find)]
    profile: &'static Profile,
    /// Plants this bug in every member; may be given several times
    #[arg(long, value_name = "NAME")]
    mutant: Vec<String>,
}

impl Source {
    /// The bugs, if they exist.
    fn planted(&self, world: &World) -> Result<Planted, CliError> {
        let known = (world.mutants)();
        let plant = |name: &String| {
            if known.contains(&name.as_str()) {
                return Ok(Plant::new(name.clone(), Selector::All));
            }
            let hint = nearest(name, known.iter().copied())
                .map_or(String::new(), |near| format!(", did you mean \"{near}\"?"));
            Err(CliError::Usage(format!("unknown mutant \"{name}\"{hint}")))
        };
        self.mutant.iter().map(plant).collect::<Result<_, _>>().map(Planted)
    }
}

/// How to search.
#[derive(clap::Args, Debug)]
pub struct FuzzArgs {
    #[command(flatten)]
    source: Source,
    /// So many seeds; 1000 when neither seeds nor minutes are given
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// As many seeds as fit into so many minutes
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    #[command(flatten)]
    parallel: Parallel,
    /// Only the I-th of N parts of the campaign, from 0
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "0/1")]
    shard: Shard,
    /// Writes results.ndjson and the scenarios that failed to this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Stops at the first failure
    #[arg(long)]
    stop: bool,
    /// Makes every second scenario of earlier ones that came where none had been
    #[arg(long)]
    guided: bool,
}

/// Runs a campaign; true when nothing failed.
pub fn fuzz(args: &FuzzArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let planted = args.source.planted(world)?;
    let mutants = args.source.mutant.join(",");
    let seeds = args.seeds.unwrap_or(if args.minutes.is_some() { SEEDS_MAX } else { SEEDS });
    let end = args.first.saturating_add(seeds);
    let mine = |seed: &u64| args.shard.has(*seed);
    let total = if args.minutes.is_some() { 0 } else { (args.first..end).filter(mine).count() as u64 };
    let mut kept = args.out.as_deref().map(Kept::begin).transpose()?;
    Build::current(); // What runs here, and not what the sources will be when something fails.

    let start = Instant::now();
    let over = Flag::new(false);
    let limit = args.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let profile = args.source.profile;
    let corpus = RefCell::new(Corpus::default());
    let job = |seed: u64| {
        let draft = args.guided.then(|| {
            let fresh = draft(profile, seed, &planted);
            let child = (seed % 2 == 1).then(|| corpus.borrow().child(seed, &fresh)).flatten();
            child.unwrap_or(fresh)
        });
        Job { seed, draft }
    };
    let goes_on = |_: &u64| !over.get() && limit.is_none_or(|limit| start.elapsed() < limit);
    let jobs = (args.first..end).filter(mine).take_while(goes_on).map(job);
    let make = |job: &Job| match &job.draft {
        Some(draft) => Made { scenario: parse(draft), seed: draft.seed },
        None => Made { scenario: generate(profile, job.seed, &planted), seed: job.seed },
    };
    let name = |job: &Job| (format!("{}-{}", profile.name, job.seed), job.seed);
    let label = if args.guided { format!("{}-guided", profile.name) } else { profile.name.to_owned() };
    let progress = RefCell::new(Progress::new("exploring", total));
    let mut summary = Summary::default();
    let mut written = Ok(());
    run_made(jobs, args.parallel.jobs(), make, name, world, |job, report| {
        let line = Line { seed: job.seed, ..Line::of(&report, &label, &mutants) };
        if let Some(draft) = &job.draft {
            corpus.borrow_mut().add(draft, &report.coverage);
        }
        progress.borrow_mut().step(line.failure.is_some());
        if let (Some(kept), Ok(())) = (&mut kept, &written) {
            let scenario = || job.draft.unwrap_or_else(|| draft(profile, job.seed, &planted));
            written = kept.line(&line, &report, scenario);
        }
        over.set(over.get() || (args.stop && line.failure.is_some()) || written.is_err());
        summary.add(line);
    });
    progress.borrow_mut().clear();
    written?;
    if let Some(kept) = kept {
        kept.end()?;
    }
    campaign::tell(&summary, world, Some(start.elapsed()), out)?;
    if let Some(dir) = args.out.as_deref().filter(|_| summary.sums().failed > 0) {
        writeln!(out, "\nfailed scenarios: {}", dir.join(FAILURES).display())?;
    }
    Ok(summary.sums().failed == 0)
}

/// A run to be made.
struct Job {
    seed: u64,
    /// The scenario, when it is not simply that of the seed.
    draft: Option<Draft>,
}

/// The files of a campaign.
struct Kept {
    dir: PathBuf,
    results: BufWriter<File>,
    of_a_kind: BTreeMap<String, u64>,
}

impl Kept {
    fn begin(dir: &Path) -> Result<Kept, CliError> {
        let failed = |error| CliError::Usage(format!("cannot write to {}: {error}", dir.display()));
        fs::create_dir_all(dir.join(FAILURES)).map_err(failed)?;
        let results = BufWriter::new(File::create(dir.join(RESULTS)).map_err(failed)?);
        Ok(Kept { dir: dir.to_owned(), results, of_a_kind: BTreeMap::new() })
    }

    fn line(&mut self, line: &Line, report: &RunReport, draft: impl FnOnce() -> Draft) -> Result<(), CliError> {
        let json = serde_json::to_string(line).expect("a line can be written as JSON");
        writeln!(self.results, "{json}")?;
        let Some(failure) = &line.failure else { return Ok(()) };
        self.results.flush()?;
        let count = self.of_a_kind.entry(failure.signature.clone()).or_default();
        *count += 1;
        if *count <= KEPT_OF_A_KIND {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            let kind: String = failure.signature.chars().take(40).map(plain).collect();
            let name = format!("{kind}-{}-{}", line.profile, line.seed);
            let about = failure.message.lines().map(|line| format!("# {line}\n")).collect::<String>();
            let draft = draft();
            let failures = self.dir.join(FAILURES);
            fs::write(failures.join(format!("{name}.toml")), about + &draft.text())?;
            if let Some(repro) = Repro::from_failure(&parse(&draft), &Cell::default(), draft.seed, report) {
                fs::write(failures.join(format!("{name}.repro.toml")), repro.to_toml())?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), CliError> {
        Ok(self.results.flush()?)
    }
}

/// What to merge.
#[derive(clap::Args, Debug)]
pub struct MergeArgs {
    /// Results of parts of a campaign
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Writes all results to this file, in the order of their seeds
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Puts the results of parts together; true when nothing failed.
pub fn merge(args: &MergeArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let mut summary = Summary::default();
    let mut repeated = 0_u64;
    for path in &args.files {
        let refused = |error: String| CliError::Usage(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(|error| refused(error.to_string()))?;
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let line: Line =
                serde_json::from_str(&line?).map_err(|error| refused(format!("line {number}: {error}")))?;
            repeated += u64::from(!summary.add(line));
        }
    }
    if let Some(path) = &args.out {
        let mut file = BufWriter::new(File::create(path)?);
        for line in summary.lines() {
            writeln!(file, "{}", serde_json::to_string(line).expect("a line can be written as JSON"))?;
        }
        file.flush()?;
    }
    campaign::tell(&summary, world, None, out)?;
    if repeated > 0 {
        writeln!(out, "\n{repeated} runs were in more than one file and count once")?;
    }
    Ok(summary.sums().failed == 0)
}

/// What to print.
#[derive(clap::Args, Debug)]
pub struct GenerateArgs {
    #[command(flatten)]
    source: Source,
    /// The seed
    #[arg(long, value_name = "N")]
    seed: u64,
}

/// Prints the scenario of a seed.
pub fn print(args: &GenerateArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let planted = args.source.planted(world)?;
    out.write_all(draft(args.source.profile, args.seed, &planted).text().as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_in_exactly_one_shard() {
        let shards: Vec<Shard> = (0..3).map(|index| shard(&format!("{index}/3")).unwrap()).collect();
        for seed in 0..100 {
            assert_eq!(shards.iter().filter(|shard| shard.has(seed)).count(), 1, "{seed}");
            assert!(Shard::WHOLE.has(seed));
        }
        for bad in ["3/3", "1", "a/2", "1/0", "-1/2"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
