//! The other end of `check-determinism`: a fresh process that runs what it is told on standard input.
//!
//! A process of its own, started by `exec`, has other addresses and other random states than its twin; forks of one
//! parent would share both. It first says where it is, so that nobody has to believe that.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::CliError;
use super::args::Selection;
use super::plan::{Job, Plan};
use super::runner::{Extras, run_jobs};
use crate::chain::Window;
use crate::fork::Place;
use crate::report::{RunReport, World};

/// The command that starts a worker. Not for people.
pub const COMMAND: &str = "worker";

/// What a worker is told: one JSON object, then the end of the input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The files, in the order in which jobs count them.
    pub files: Vec<String>,
    /// File, cell and seed of each run.
    pub jobs: Vec<(usize, usize, u64)>,
    /// Runs at once.
    pub parallel: usize,
    /// These events come back as text.
    pub window: Option<Window>,
}

/// The first line of a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// Its place.
    pub place: Place,
    /// Runs at once.
    pub parallel: usize,
}

/// What a worker answers: one line of JSON per run, as they end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Which of the jobs.
    pub job: (usize, usize, u64),
    /// What came of it.
    pub report: RunReport,
}

/// Runs the orders on standard input.
pub fn work(world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let orders: Orders =
        serde_json::from_str(&text).map_err(|error| CliError::Usage(format!("these are no orders: {error}")))?;
    let plan = Plan::new(&Selection::of(orders.files), world)?;
    let jobs = orders.jobs.into_iter().map(|(file, cell, seed)| Job { file, cell, seed });
    let extras = Extras { trace: None, window: orders.window };
    let greeting = Greeting { place: Place::here(), parallel: orders.parallel };
    writeln!(out, "{}", serde_json::to_string(&greeting).expect("a greeting can be written as JSON"))?;
    out.flush()?;
    let mut written = Ok(());
    run_jobs(&plan.files, jobs, orders.parallel, &extras, world, |job, report| {
        let answer = Answer { job: (job.file, job.cell, job.seed), report };
        if written.is_ok() {
            let line = serde_json::to_string(&answer).expect("an answer can be written as JSON");
            written = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    });
    written?;
    Ok(true)
}
