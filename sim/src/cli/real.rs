//! `sim run --real SERVER`: the same scenarios with real server processes, and what both worlds showed side by side.
//!
//! The simulator cannot speak with real servers: tasks, timers and sockets are simulated in its build. A second build
//! of the same program can (the *player*), and is started once per run; so the servers of a run end with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_scenario::Cell;
use serde::Serialize;

use super::args::Format;
use super::plan::{Job, Plan};
use super::progress::Progress;
#[cfg(madsim)]
use super::runner::{Extras, run_jobs};
use super::runner::{WALL_LIMIT, unfinished};
use super::{CliError, parity, play};
use crate::fork::poll_readable;
use crate::report::played::{Orders, Played};
use crate::report::{RunReport, World};

/// Both worlds' runs of one scenario, cell and seed.
#[derive(Serialize)]
pub struct Pair {
    /// What the simulation showed; none in a build that does not simulate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated: Option<RunReport>,
    /// What the real servers showed.
    pub real: Played,
}

/// Runs a plan in both worlds and says what came of it; true when everything held in both.
pub fn run(
    mut plan: Plan,
    seeds: Option<Range<u64>>,
    server: &Path,
    parallel: usize,
    format: Format,
    world: &World,
    out: &mut dyn Write,
) -> Result<bool, CliError> {
    let server = server.canonicalize().map_err(|error| CliError::Usage(format!("{}: {error}", server.display())))?;
    if seeds.is_none() {
        plan.files.iter_mut().for_each(|file| file.seeds.end = file.seeds.start + 1);
    }
    let jobs = plan.jobs();
    let mut simulated = simulated(&plan, &jobs, parallel, world);
    let mut held = true;
    let mut progress = Progress::new("playing", jobs.len() as u64);
    let orders = |job: &Job| Orders {
        server: server.display().to_string(),
        path: plan.files[job.file].path.clone(),
        cell: job.cell,
        seed: job.seed,
    };
    build_player()?;
    let mut waiting = jobs.iter();
    let mut playing = std::collections::VecDeque::new();
    let mut rows = Vec::new();
    loop {
        while playing.len() < parallel
            && let Some(job) = waiting.next()
        {
            playing.push_back((*job, Player::start(&orders(job), patience(&plan, job))?));
        }
        let Some((job, player)) = playing.pop_front() else { break };
        let cell = &plan.files[job.file].cells[job.cell];
        let real = player.end(cell)?;
        let twin = simulated.iter().position(|(other, _)| *other == job).map(|at| simulated.swap_remove(at).1);
        let passed = real.report.verdict.passed() && twin.as_ref().is_none_or(|twin| twin.verdict.passed());
        held &= passed;
        progress.step(!passed);
        progress.clear();
        let pair = Pair { simulated: twin, real };
        rows.push(parity::Row::of(&pair));
        match format {
            Format::Json => {
                writeln!(out, "{}", serde_json::to_string(&pair).expect("a report can be written as JSON"))?
            }
            Format::Text => parity::tell(&pair, out)?,
        }
        out.flush()?;
    }
    progress.clear();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::json!({ "type": "parity", "rows": rows }))?,
        Format::Text if rows.len() == 1 => {}
        Format::Text => parity::table(&rows, out)?,
    }
    Ok(held)
}

/// The same runs, simulated.
#[cfg(madsim)]
fn simulated(plan: &Plan, jobs: &[Job], parallel: usize, world: &World) -> Vec<(Job, RunReport)> {
    let mut reports = Vec::new();
    let mut progress = Progress::new("simulating", jobs.len() as u64);
    run_jobs(&plan.files, jobs.iter().copied(), parallel, &Extras::default(), world, |job, report| {
        progress.step(!report.verdict.passed());
        reports.push((job, report));
    });
    progress.clear();
    reports
}

#[cfg(not(madsim))]
fn simulated(_: &Plan, _: &[Job], _: usize, _: &World) -> Vec<(Job, RunReport)> {
    Vec::new()
}

/// Cargo with what builds and runs the player.
#[cfg(madsim)]
fn cargo(verb: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([verb, "--quiet", "--package", "evenkeel-sim", "--bin", "sim"]);
    command
}

#[cfg(madsim)]
fn build_player() -> Result<(), CliError> {
    super::output::note(format_args!(
        "building the player (cargo build --package evenkeel-sim --bin sim, to target/debug): this build is for \
         simulated time and sockets, and real servers need one that has real ones. The first time this takes some minutes."
    ));
    match cargo("build").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(CliError::Usage(format!("the player cannot be built ({status}): is this the repository's folder?")))
        }
        Err(error) => Err(CliError::Usage(format!("the player cannot be built: {error}"))),
    }
}

#[cfg(madsim)]
fn player() -> io::Result<Command> {
    let mut command = cargo("run");
    command.args(["--", play::COMMAND]);
    Ok(command)
}

/// This build plays.
#[cfg(not(madsim))]
fn build_player() -> Result<(), CliError> {
    Ok(())
}

#[cfg(not(madsim))]
fn player() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(play::COMMAND);
    Ok(command)
}

/// How long a run may take: what its scenario says, and what any run has for everything else.
fn patience(plan: &Plan, job: &Job) -> Duration {
    let file = &plan.files[job.file];
    let resolved = file.scenario.resolve(&file.cells[job.cell], &mut file.decisions(job.seed));
    resolved.run.at_most().saturating_add(WALL_LIMIT)
}

/// A process that plays one run.
struct Player {
    child: Child,
    born: Instant,
    patience: Duration,
    orders: Orders,
}

impl Player {
    fn start(orders: &Orders, patience: Duration) -> Result<Player, CliError> {
        let mut command = player()?;
        crate::fork::dies_with_its_parent(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let text = serde_json::to_string(orders).expect("orders can be written as JSON");
        child.stdin.take().expect("it is piped").write_all(text.as_bytes())?;
        Ok(Player { child, born: Instant::now(), patience, orders: orders.clone() })
    }

    /// What it played. One that hangs or dies has played nothing, which is the failure of its run and of no other.
    fn end(mut self, cell: &Cell) -> Result<Played, CliError> {
        let nothing = |why| {
            let report = unfinished(&self.orders.path, cell, self.orders.seed, why);
            Played { report, skipped: Vec::new() }
        };
        let answer = File::from(OwnedFd::from(self.child.stdout.take().expect("it is piped")));
        // One that has answered long ago may have waited for others to be heard.
        while !poll_readable(&[&answer], self.patience.saturating_sub(self.born.elapsed())) {
            if self.born.elapsed() < self.patience {
                continue;
            }
            self.child.kill()?;
            self.child.wait()?;
            let seconds = self.patience.as_secs();
            return Ok(nothing(format!("its player was killed after {seconds} s without an answer")));
        }
        let mut lines = BufReader::new(answer).lines();
        let line = lines.next().transpose()?;
        let status = self.child.wait()?;
        let played = line.and_then(|line| serde_json::from_str(&line).ok());
        Ok(played.unwrap_or_else(|| nothing(format!("its player ended without an answer ({status})"))))
    }
}

/// A run's name.
pub fn title(report: &RunReport) -> String {
    let cell = if report.cell.is_empty() { String::new() } else { format!(" [{}]", report.cell) };
    format!("{} seed {}{cell}", report.file, report.seed)
}
