//! `sim bench`: how fast the simulator is on this machine, each figure beside its target.
//!
//! Speed is counted in simulated seconds per second of CPU time, so that a busy machine disturbs it less. Everything is
//! played one after the other, each run in a process of its own, as campaigns do; what starting a process costs is in.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_scenario::{Decisions, Nanos, RunLength};
use serde_json::json;

use super::CliError;
use super::args::Format;
use super::plan::{check, find, render_problems};
use super::replay::load;
use super::runner::{Extras, run_attempts};
use super::table::{Table, average};
use super::text::what_and_when;
use crate::report::{RunReport, World};
use crate::repro::attempt::LOG_EVENTS_MAX;
use crate::repro::replay::as_expected;
use crate::repro::{Attempt, Repro};

const LOADED: (&str, &str) = ("sim/bench/load.toml", include_str!("../../bench/load.toml"));
const LONG: (&str, &str) = ("sim/bench/long.toml", include_str!("../../bench/long.toml"));
const IDLE: (&str, &str) = ("sim/bench/idle.toml", include_str!("../../bench/idle.toml"));

/// One run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Simulated seconds per core-second, loaded; what comes next; and without a client.
const LOADED_TARGET: (f64, f64) = (500.0, 1000.0);
const IDLE_TARGET: f64 = 5000.0;
/// Seeds of the loaded scenario per hour and core.
const SEEDS_TARGET: f64 = 30_000.0;
/// How much more memory a longer run may need.
struct Growth {
    scenario: (&'static str, &'static str),
    /// So much longer is it.
    times: u64,
    /// So much more may it need.
    target: f64,
    /// Its load, in words.
    load: &'static str,
}
const IDLE_GROWTH: Growth = Growth { scenario: IDLE, times: 100, target: 1.1, load: "without a client" };
/// Four times as long: once what is remembered of the past has its full length.
const LOADED_GROWTH: Growth = Growth { scenario: LONG, times: 4, target: 1.2, load: "under load" };
const REPLAY_SECONDS_TARGET: f64 = 1.0;

/// How much is played.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    /// Runs of the loaded scenario
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Simulated seconds of the long run whose memory is looked at
    #[arg(long, value_name = "SECONDS", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    long: u64,
    /// The same, of a long run under load
    #[arg(long, value_name = "SECONDS", default_value_t = 12_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    long_load: u64,
    /// Repro files, or a directory of them, that are replayed
    #[arg(long, value_name = "PATH", default_value = "scenarios/regressions")]
    repros: Vec<String>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn met(self, measured: f64) -> bool {
        match self {
            Target::AtLeast(least) => least <= measured,
            Target::AtMost(most) => measured <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Target::AtLeast(least) => format!("≥ {}", average(least)),
            Target::AtMost(most) => format!("≤ {}", average(most)),
        }
    }
}

/// One line of the result.
struct Figure {
    name: &'static str,
    measured: f64,
    unit: &'static str,
    target: Target,
    next: Option<f64>,
    /// What was measured, more exactly.
    how: String,
}

/// Measures and prints; true when every run ended as it should. A target that is missed is told, and no failure: it
/// says as much about the machine.
pub fn bench(args: &BenchArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let repros = read_repros(&args.repros)?;
    let mut bench = Bench { world, figures: Vec::new(), wrong: Vec::new() };
    bench.speed(args.seeds)?;
    bench.memory("memory", &IDLE_GROWTH, args.long)?;
    bench.memory("loaded-memory", &LOADED_GROWTH, args.long_load)?;
    bench.replay(&repros)?;
    match args.format {
        Format::Text => write!(out, "{}", table(&bench.figures))?,
        Format::Json => bench.figures.iter().try_for_each(|figure| writeln!(out, "{}", line(figure)))?,
    }
    bench.wrong.iter().try_for_each(|what| writeln!(out, "{what}"))?;
    Ok(bench.wrong.is_empty())
}

/// Reads them before anything is measured: that takes minutes.
fn read_repros(paths: &[String]) -> Result<Vec<(String, Repro)>, CliError> {
    if let Some(path) = paths.iter().find(|path| !Path::new(path).exists()) {
        let message = "run from the repository's root, or give repro files with --repros PATH";
        return Err(CliError::Usage(format!("there is no {path} here: {message}")));
    }
    find(paths)?.into_iter().map(|file| load(&file).map(|repro| (file, repro))).collect()
}

fn table(figures: &[Figure]) -> String {
    let mut table = Table::new(&["figure", ">measured", ">target", ">next", "unit", "met", "of"]);
    for figure in figures {
        table.row([
            figure.name.to_owned(),
            average(figure.measured),
            figure.target.text(),
            figure.next.map(average).unwrap_or_default(),
            figure.unit.to_owned(),
            if figure.target.met(figure.measured) { "yes" } else { "no" }.to_owned(),
            figure.how.clone(),
        ]);
    }
    table.render()
}

fn line(figure: &Figure) -> serde_json::Value {
    let (Target::AtLeast(target) | Target::AtMost(target)) = figure.target;
    json!({
        "figure": figure.name,
        "measured": figure.measured,
        "unit": figure.unit,
        "target": target,
        "next": figure.next,
        "met": figure.target.met(figure.measured),
        "of": figure.how,
    })
}

struct Bench<'a> {
    world: &'a World,
    figures: Vec<Figure>,
    /// Runs that did not end as they should.
    wrong: Vec<String>,
}

impl Bench<'_> {
    fn speed(&mut self, seeds: u64) -> Result<(), CliError> {
        let loaded = self.passing(self.attempts(LOADED, seeds, None)?);
        let (simulated, cpu) = (simulated(&loaded), cpu(&loaded));
        let how = format!("{seeds} seeds: three members, 50 operations/s, all oracles");
        self.figures.push(Figure {
            name: "loaded",
            measured: simulated / cpu,
            unit: "simulated s per core-s",
            target: Target::AtLeast(LOADED_TARGET.0),
            next: Some(LOADED_TARGET.1),
            how: how.clone(),
        });
        self.figures.push(Figure {
            name: "seeds",
            measured: seeds as f64 * 3600.0 / cpu,
            unit: "per core-hour",
            target: Target::AtLeast(SEEDS_TARGET),
            next: None,
            how,
        });
        let seeds = seeds.div_ceil(4);
        let idle = self.passing(self.attempts(IDLE, seeds, None)?);
        self.figures.push(Figure {
            name: "idle",
            measured: self::simulated(&idle) / self::cpu(&idle),
            unit: "simulated s per core-s",
            target: Target::AtLeast(IDLE_TARGET),
            next: None,
            how: format!("{seeds} seeds: three members, no client"),
        });
        Ok(())
    }

    /// The most memory that one run of so many seconds needs, in MiB.
    fn peak(&mut self, scenario: (&str, &str), seconds: u64) -> Result<f64, CliError> {
        let reports = self.passing(self.attempts(scenario, 1, Some(seconds))?);
        Ok(reports.iter().map(|report| report.memory_bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20))
    }

    /// One process that plays for so much longer needs hardly more memory than one that does not.
    fn memory(&mut self, name: &'static str, grows: &Growth, long: u64) -> Result<(), CliError> {
        let short = long / grows.times;
        let (before, after) = (self.peak(grows.scenario, short)?, self.peak(grows.scenario, long)?);
        self.figures.push(Figure {
            name,
            measured: after,
            unit: "MiB at the most",
            target: Target::AtMost(before * grows.target),
            next: None,
            how: format!("one run of {long} s {}; one of {short} s needs {}", grows.load, average(before)),
        });
        Ok(())
    }

    /// From the order to play a repro file to its last event: a run ends with its failure.
    fn replay(&mut self, repros: &[(String, Repro)]) -> Result<(), CliError> {
        let mut slowest = (Duration::ZERO, "");
        for (file, repro) in repros {
            let began = Instant::now();
            let attempt = Attempt::of(repro, file).map_err(CliError::Usage)?;
            let report = attempt.run(&Extras { trace: None, window: Some(0..LOG_EVENTS_MAX) }, self.world);
            slowest = slowest.max((began.elapsed(), file.as_str()));
            if !as_expected(repro, &report) {
                self.wrong.push(format!("{file} does not end as it says: {}", what_and_when(&report)));
            }
        }
        self.figures.push(Figure {
            name: "replay",
            measured: slowest.0.as_secs_f64(),
            unit: "s to the failing event",
            target: Target::AtMost(REPLAY_SECONDS_TARGET),
            next: None,
            how: format!("the slowest of {} repro files, {}", repros.len(), slowest.1),
        });
        Ok(())
    }

    fn attempts(&self, (file, text): (&str, &str), seeds: u64, seconds: Option<u64>) -> Result<Vec<Attempt>, CliError> {
        let found = |found: Vec<_>| CliError::Usage(render_problems(&found));
        let scenario = check(text, file, self.world).map_err(found)?;
        let attempt = |seed| {
            let mut resolved = scenario.resolve(&scenario.cells()[0], &mut Decisions::new(seed));
            if let Some(seconds) = seconds {
                resolved.run = RunLength::For(Nanos::from_millis(seconds as i64 * 1000));
            }
            Attempt { text: resolved.to_toml(), file: file.to_owned(), decisions: Decisions::new(seed) }
        };
        Ok((0..seeds).map(attempt).collect())
    }

    /// Plays runs that should pass.
    fn passing(&mut self, attempts: Vec<Attempt>) -> Vec<RunReport> {
        let mut reports = Vec::new();
        let attempts = attempts.into_iter().map(|attempt| ((), attempt));
        run_attempts(attempts, 1, PATIENCE, &Extras::default(), self.world, |(), report| reports.push(report));
        let failed = reports.iter().filter(|report| !report.verdict.passed());
        let told = |report: &RunReport| format!("{} seed {}: {}", report.file, report.seed, what_and_when(report));
        self.wrong.extend(failed.map(told));
        reports
    }
}

fn simulated(reports: &[RunReport]) -> f64 {
    seconds(reports.iter().map(|report| report.simulated_ns).sum())
}

fn cpu(reports: &[RunReport]) -> f64 {
    seconds(reports.iter().map(|report| report.cpu_ns).sum::<u64>().max(1))
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
