//! What a run hands back, as the runner prints it and as `--format json` writes it: one object per run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::chain::{ChainSummary, Recorder};

/// The event log of a run, shared by the world that fills it and the runner that reads it, also after a panic.
pub type SharedRecorder = Arc<Mutex<Recorder>>;

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

/// A value of an expression at the end of a run, for expectations over many runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryValue {
    /// There is none, for example the time to an event that never came.
    Missing,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Nanoseconds.
    Duration(i64),
    /// A word.
    Text(String),
}

/// What the world knows at the end of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// Simulated time that went by.
    pub simulated_ns: u64,
    /// For expectations over many runs: the value of each expression, by the key that the scenario gives it.
    pub summary: BTreeMap<String, SummaryValue>,
    /// Whatever is worth counting: messages by kind, syncs, operations.
    pub counters: BTreeMap<String, u64>,
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
    /// See [`Outcome::summary`].
    pub summary: BTreeMap<String, SummaryValue>,
    /// See [`Outcome::counters`].
    pub counters: BTreeMap<String, u64>,
    /// The events of the window that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<String>,
}
