//! One try: a scenario's text, a seed, and the draws that are not the seed's. Run in a process of its own.

use std::io::{self, BufReader};

use evenkeel_scenario::Decisions;

use super::events::{self, Event};
use super::file::Repro;
use crate::chain::Window;
use crate::cli::runner::{Extras, WALL_LIMIT, run_attempts};
use crate::report::{RunReport, Verdict, World};

/// A whole log of more events than this is not compared line by line.
pub const LOG_EVENTS_MAX: u64 = 65_536;

/// What is run.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// A scenario; of its cells the first is run.
    pub text: String,
    /// The name of its file, for messages.
    pub file: String,
    /// The choices.
    pub decisions: Decisions,
}

impl Attempt {
    /// What a repro file says.
    pub fn of(repro: &Repro, file: &str) -> Result<Attempt, String> {
        Ok(Attempt { text: repro.run.scenario.clone(), file: file.to_owned(), decisions: repro.decisions()? })
    }

    /// Runs it once.
    pub fn run(&self, extras: &Extras, world: &World) -> RunReport {
        let mut ended = None;
        run_attempts([((), self.clone())], 1, WALL_LIMIT, extras, world, |(), report| ended = Some(report));
        ended.expect("one attempt has one report")
    }

    /// Runs it once, and hands back its whole log: every event, and every line as far as lines are kept.
    pub fn run_told(&self, world: &World) -> io::Result<(RunReport, Vec<Event>)> {
        let trace = tempfile::NamedTempFile::new()?;
        let window: Window = 0..LOG_EVENTS_MAX;
        let extras = Extras { trace: Some(trace.path().to_owned()), window: Some(window) };
        let report = self.run(&extras, world);
        let events = match &report.verdict {
            Verdict::Error { .. } => Vec::new(),
            _ => events::read(BufReader::new(trace.reopen()?))?,
        };
        Ok((report, events))
    }
}
