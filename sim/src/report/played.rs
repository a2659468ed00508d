//! A scenario played with real processes: what the player is told, and what it answers.

use serde::{Deserialize, Serialize};

use super::RunReport;

/// What a player is told: one JSON object on its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The server's program.
    pub server: String,
    /// The scenario file.
    pub path: String,
    /// Which of the cells of its matrix.
    pub cell: usize,
    /// The seed: the same choices as in a simulated run, as far as they depend on nothing that happens.
    pub seed: u64,
}

/// Something of the scenario that was left out, or an expectation that was not judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What, such as `step cut1`.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// As of a simulated run; its times are real.
    pub report: RunReport,
    /// What was not played or not judged.
    pub skipped: Vec<Skipped>,
}
