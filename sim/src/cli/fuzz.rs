//! `sim fuzz` and `sim generate`: campaigns of generated scenarios.
//!
//! A campaign is a list of seeds, and a shard of it those with one remainder: shards are disjoint, together they are
//! the campaign, and their result files merge to what one run of it would have written. Results are written in the
//! order of the seeds, so that a campaign writes the same however many runs are under way at once.

pub(super) mod corpus;
mod first;
mod keep;
mod place;

use std::cell::RefCell;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use evenkeel_scenario::cluster::{Plant, Planted};
use evenkeel_scenario::{Selector, nearest};

use super::CliError;
use super::args::{self, Parallel};
use super::campaign;
use super::closing::{self, Closing, Why};
use super::order::InOrder;
use super::progress::Progress;
use super::runner::{Made, run_made};
use super::unfinished::Unfinished;
use crate::explore::generate::parse;
use crate::explore::repeats::Origin;
use crate::explore::result::Campaign;
use crate::explore::{Draft, Guide, Guided, Line, Profile, Summary, draft, generate};
use crate::report::{RunReport, World};
use crate::repro::file::Build;
use keep::{First, Keep};
use place::CORPUS;

/// Seeds of a campaign that says neither how many nor how long.
const SEEDS: u64 = 1_000;
/// So many seeds fit into any number of minutes, and so large may the first one be.
const SEEDS_MAX: u64 = 1 << 48;
/// So many parts at most.
const SHARDS_MAX: u64 = 1 << 20;
/// A corpus is written so often, in runs, and at the end.
const SAVED_EVERY: u64 = 1_000;
/// So many kinds of failures are shrunk in one campaign.
const SHRUNK_MAX: u64 = 16;
/// So many runs at most wait for one before them.
const OPEN_MAX: u64 = 1_024;

/// One part of a campaign of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// The first seed from there on that belongs to it.
    fn first_from(self, seed: u64) -> u64 {
        seed + (self.index + self.of - seed % self.of) % self.of
    }

    /// How many of these seeds belong to it.
    fn count(self, seeds: &Range<u64>) -> u64 {
        seeds.end.saturating_sub(self.first_from(seeds.start)).div_ceil(self.of)
    }
}

/// Reads `I/N`, I from 0.
fn shard(text: &str) -> Result<Shard, String> {
    let bad = || "I/N is needed, with I from 0 to N-1".to_owned();
    let (index, of) = text.split_once('/').ok_or_else(bad)?;
    let shard = Shard { index: index.parse().map_err(|_| bad())?, of: of.parse().map_err(|_| bad())? };
    if shard.index < shard.of && shard.of <= SHARDS_MAX { Ok(shard) } else { Err(bad()) }
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
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=SEEDS_MAX))]
    first: u64,
    /// As many seeds as fit into so many minutes
    #[arg(long, value_name = "M", value_parser = args::minutes)]
    minutes: Option<Duration>,
    #[command(flatten)]
    parallel: Parallel,
    /// Only the I-th of N parts of the campaign, from 0
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "0/1")]
    shard: Shard,
    /// Writes results.ndjson, the scenarios that failed and, when guided, the corpus to this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Shrinks the first failure of each kind for at most so long, on top of --minutes; 0 does not
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = args::seconds)]
    shrink_seconds: u64,
    /// Stops at the first failure
    #[arg(long)]
    stop: bool,
    /// Makes every second scenario of earlier ones that came where none had been
    #[arg(long)]
    guided: bool,
    /// Begins with what an earlier guided campaign saw: its DIR/corpus; may be given several times
    #[arg(long, value_name = "DIR", requires = "guided")]
    corpus: Vec<PathBuf>,
}

/// Runs a campaign; true when nothing failed.
pub fn fuzz(args: &FuzzArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let planted = args.source.planted(world)?;
    let profile = args.source.profile;
    let begin = || Ok::<_, CliError>(Guide::new(profile, &planted, corpus::load(&args.corpus)?));
    let guide = args.guided.then(begin).transpose()?;
    let keep = Keep::begin(args.out.as_deref())?;
    Build::current(); // What runs here, and not what the sources will be when something fails.
    Origin::here(); // What is read now need not be read while runs wait.

    let search = RefCell::new(Search::new(args, guide, keep));
    let make = |job: &Job| match &job.guided {
        Some(Guided { draft, .. }) => Made { scenario: parse(draft), seed: draft.seed },
        None => Made { scenario: generate(profile, job.seed, &planted), seed: job.seed },
    };
    let name = |job: &Job| (format!("{}-{}", profile.name, job.seed), job.seed);
    let fresh = |seed: u64| draft(profile, seed, &planted);
    loop {
        let jobs = std::iter::from_fn(|| search.borrow_mut().next());
        let ended = |job, report| search.borrow_mut().ended(job, report, fresh);
        run_made(jobs, args.parallel.jobs(), make, name, world, ended);
        // What is to be shrunk has made the search pause; without that it is over.
        if !search.borrow_mut().shrink(world) {
            break;
        }
    }
    let mut search = search.into_inner();
    search.progress.clear();
    search.save()?;
    campaign::tell(&search.summary, world, Some(search.explored()), out)?;
    search.keep.tell(out)?;
    search.unfinished.give_up(&format!("profile {}", profile.name))?;
    Ok(search.summary.sums().failed == 0)
}

/// A run to be made.
struct Job {
    number: u64,
    seed: u64,
    /// What is run, when it is not simply the scenario of the seed.
    guided: Option<Guided>,
}

/// A campaign under way.
struct Search<'a> {
    args: &'a FuzzArgs,
    campaign: Campaign,
    start: Instant,
    /// Time that went into shrinking.
    shrinking: Duration,
    limit: Option<Duration>,
    /// The next seed, and the one that is too many.
    seeds: Range<u64>,
    guide: Option<Guide<'a>>,
    order: InOrder<(Job, RunReport)>,
    keep: Keep,
    summary: Summary,
    progress: Progress,
    /// Failures that wait to be shrunk: nothing begins as long as there are any.
    first: Vec<First>,
    /// So many have been.
    shrunk: u64,
    over: bool,
    unfinished: Unfinished,
    written: Result<(), CliError>,
}

impl<'a> Search<'a> {
    fn new(args: &'a FuzzArgs, guide: Option<Guide<'a>>, keep: Keep) -> Search<'a> {
        let seeds = args.seeds.unwrap_or(if args.minutes.is_some() { SEEDS_MAX } else { SEEDS });
        let seeds = args.first..args.first.saturating_add(seeds);
        let total = if args.minutes.is_some() { 0 } else { args.shard.count(&seeds) };
        Search {
            args,
            campaign: Campaign {
                profile: args.source.profile.name.to_owned(),
                guided: args.guided,
                mutants: args.source.mutant.join(","),
            },
            start: Instant::now(),
            shrinking: Duration::ZERO,
            limit: args.minutes,
            seeds,
            guide,
            order: InOrder::default(),
            keep,
            summary: Summary::default(),
            progress: Progress::new("exploring", total),
            first: Vec::new(),
            shrunk: 0,
            over: false,
            unfinished: Unfinished::default(),
            written: Ok(()),
        }
    }

    /// The next run, if one may begin now.
    fn next(&mut self) -> Option<Job> {
        let seed = self.args.shard.first_from(self.seeds.start);
        let is_late = self.limit.is_some_and(|limit| limit <= self.explored());
        if self.over || is_late || !self.first.is_empty() || self.seeds.end <= seed || OPEN_MAX <= self.order.open() {
            return None;
        }
        let guided = match &mut self.guide {
            Some(guide) => Some(guide.next(seed)?),
            None => None,
        };
        self.seeds.start = seed + 1;
        Some(Job { number: self.order.begin(), seed, guided })
    }

    /// A run has ended. What is kept of it is kept in the order of the seeds.
    fn ended(&mut self, job: Job, report: RunReport, fresh: impl Fn(u64) -> Draft) {
        self.progress.step(!report.verdict.passed());
        self.unfinished.note(job.seed, &report);
        self.over |= self.unfinished.is_hopeless();
        self.order.put(job.number, (job, report));
        while let Some((job, report)) = self.order.pop() {
            let mut line = Line::of(&report, &self.campaign, job.seed);
            if self.written.is_ok() {
                let draft = || job.guided.as_ref().map_or_else(|| fresh(job.seed), |guided| guided.draft.clone());
                match self.keep.line(&mut line, &report, draft) {
                    Ok(first) => self.first.extend(first.filter(|_| 0 < self.args.shrink_seconds)),
                    Err(error) => self.written = Err(error),
                }
            }
            self.over |= (self.args.stop && line.failure.is_some()) || self.written.is_err();
            self.summary.add(line).expect("a seed is run once");
            if let (Some(guide), Some(guided)) = (&mut self.guide, job.guided) {
                guide.ended(guided, &report.coverage);
            }
            if job.number % SAVED_EVERY == SAVED_EVERY - 1
                && let (Some(dir), Some(guide), Ok(())) = (&self.args.out, &self.guide, &self.written)
            {
                self.written = corpus::save(guide.corpus(), &dir.join(CORPUS));
            }
        }
    }

    /// Shrinks what waits for it; whether anything did.
    fn shrink(&mut self, world: &World) -> bool {
        let began = Instant::now();
        let waiting = std::mem::take(&mut self.first);
        let is_any = !waiting.is_empty();
        for first in waiting {
            if self.shrunk == SHRUNK_MAX {
                continue;
            }
            self.shrunk += 1;
            self.progress.clear();
            let time = Duration::from_secs(self.args.shrink_seconds);
            let told = first::shrunk(&first, time, self.args.parallel.jobs(), world);
            self.keep.told(&first.signature, told);
        }
        self.shrinking += began.elapsed();
        is_any
    }

    /// Time that went into everything else.
    fn explored(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.shrinking)
    }

    /// Why nothing more begins, when nothing does.
    fn why(&self) -> Why {
        match (self.unfinished.is_hopeless(), self.over, self.limit) {
            (true, ..) => Why::GaveUp,
            (_, true, _) => Why::Failure,
            (_, _, Some(_)) => Why::Time,
            (_, _, None) => Why::Whole,
        }
    }

    /// Writes what is to be kept, when nothing is under way any more.
    fn save(&mut self) -> Result<(), CliError> {
        std::mem::replace(&mut self.written, Ok(()))?;
        let Shard { index, of } = self.args.shard;
        let shard = closing::Shard { campaign: self.campaign.clone(), first: self.args.first, of, index };
        let shards = Vec::from_iter((1 < of).then_some(shard));
        self.keep.close(Closing { ended: self.why(), runs: self.summary.sums().runs, shards })?;
        match (&self.args.out, &mut self.guide) {
            (Some(dir), Some(guide)) => corpus::save(guide.finish(), &dir.join(CORPUS)),
            _ => Ok(()),
        }
    }
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
            assert_eq!(shards.iter().filter(|shard| shard.first_from(seed) == seed).count(), 1, "{seed}");
            assert_eq!(shards.iter().map(|shard| shard.count(&(seed..seed + 40))).sum::<u64>(), 40, "{seed}");
            assert!(shards.iter().all(|shard| (seed..seed + 3).contains(&shard.first_from(seed))), "{seed}");
        }
        for bad in ["3/3", "1", "a/2", "1/0", "-1/2"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
