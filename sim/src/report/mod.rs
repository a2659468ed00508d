//! What a run hands back, as the runner prints it and as `--format json` writes it: one object per run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_scenario::{Decisions, Expr, Outcome, Resolved, Value};
use serde::{Deserialize, Serialize};

use crate::chain::{ChainSummary, Recorder};

pub mod export;
pub mod html;
pub mod played;
pub mod trace;
pub mod wire;

/// The event log of a run, shared by the world that fills it and the runner that reads it, also after a panic.
pub type SharedRecorder = Arc<Mutex<Recorder>>;

/// What is broken when an oracle cannot tell whether anything is: the testbed.
pub const INCONCLUSIVE: &str = "inconclusive";

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held.
    Pass,
    /// An expectation or an oracle was violated.
    Violation {
        /// The expect's id or the oracle's name.
        what: String,
        /// Simulated time.
        at_ns: u64,
        /// One sentence.
        message: String,
        /// The last relevant events, oldest first.
        events: Vec<String>,
    },
    /// Some task panicked. A violation too.
    Panic {
        /// The message and the place in the source.
        message: String,
        /// Simulated time of the last event.
        at_ns: u64,
        /// The last events, oldest first.
        events: Vec<String>,
    },
    /// The process of the run crashed, hung or could not be started.
    Error {
        /// What happened, with the end of its error output.
        message: String,
    },
}

impl Verdict {
    /// True when nothing is wrong.
    pub fn passed(&self) -> bool {
        *self == Verdict::Pass
    }
}

/// What the world is given for a run.
pub struct RunInput {
    /// The scenario, everything drawn.
    pub resolved: Resolved,
    /// What to evaluate at the end, by name, for comparisons between cells.
    pub metrics: Vec<(String, Expr)>,
    /// The choices of the run, as far as resolving left them open.
    pub decisions: Decisions,
    /// Where events go.
    pub recorder: SharedRecorder,
}

/// What the world knows at the end of a run.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// How it ended.
    pub verdict: Verdict,
    /// Simulated time that went by.
    pub simulated: Duration,
    /// What it said about each expectation, defaults included.
    pub outcomes: Vec<(String, Outcome)>,
    /// The values of [`RunInput::metrics`].
    pub metrics: BTreeMap<String, Value>,
    /// Whatever is worth counting: messages by kind, syncs, operations.
    pub counters: BTreeMap<String, u64>,
    /// Where the run came: places of the maps that guide a search.
    pub coverage: Vec<u32>,
}

/// Everything the command line needs from the simulated world.
#[derive(Clone, Copy)]
pub struct World {
    /// Runs one seed, to its end. A panic in it is a violation.
    pub run: fn(RunInput) -> RunEnd,
    /// The planted bugs that scenarios may name.
    pub mutants: fn() -> Vec<&'static str>,
    /// The mechanisms that scenarios may switch off.
    pub switches: fn() -> Vec<&'static str>,
    /// The points in the code that scenarios may wait for: names, and one line each.
    pub points: &'static [(&'static str, &'static str)],
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The scenario file.
    pub file: String,
    /// The matrix cell, `name=value` separated by commas; empty without a matrix.
    pub cell: String,
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// Simulated time that went by.
    pub simulated_ns: u64,
    /// CPU time of the run's process.
    pub cpu_ns: u64,
    /// The largest resident memory of the run's process.
    pub memory_bytes: u64,
    /// The identity of the run: hash, number of events, checkpoints.
    pub chain: ChainSummary,
    /// See [`RunEnd::outcomes`].
    pub outcomes: Vec<(String, wire::Outcome)>,
    /// See [`RunEnd::metrics`].
    pub metrics: BTreeMap<String, wire::Value>,
    /// See [`RunEnd::counters`].
    pub counters: BTreeMap<String, u64>,
    /// See [`RunEnd::coverage`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<u32>,
    /// The events of the window that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<String>,
}
