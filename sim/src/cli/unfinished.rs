//! When a search is given up: run after run that the testbed cannot finish says nothing about their seeds.
//!
//! A search goes on over failures, which is what it is for. But where no process can be started, or each ends without an
//! answer, it would go on for ever and come to nothing: something is wrong with this machine, or with this build.

use super::CliError;
use crate::report::{RunReport, Verdict};

/// So many unfinished runs in a row end a search.
const IN_A_ROW_MAX: u32 = 20;

/// Unfinished runs since the last one that was finished, however it ended.
#[derive(Debug, Default)]
pub struct Unfinished {
    in_a_row: u32,
    /// Seed and message of the last.
    last: Option<(u64, String)>,
}

impl Unfinished {
    /// A run has ended.
    pub fn note(&mut self, seed: u64, report: &RunReport) {
        match &report.verdict {
            // What was under way when the search was given up does not take that back.
            _ if self.is_hopeless() => {}
            Verdict::Error { message } => {
                self.in_a_row += 1;
                self.last = Some((seed, message.clone()));
            }
            _ => *self = Unfinished::default(),
        }
    }

    /// No more should begin.
    pub fn is_hopeless(&self) -> bool {
        IN_A_ROW_MAX <= self.in_a_row
    }

    /// An error when it is; `what` was run.
    pub fn give_up(&self, what: &str) -> Result<(), CliError> {
        match &self.last {
            Some((seed, message)) if self.is_hopeless() => Err(CliError::GaveUp(format!(
                "GIVEN UP: {} runs of {what} in a row could not be finished, which is not the fault of their seeds. The \
                 last one, seed {seed}: {message}\n\
                 Look at memory (free -m), processes and files (ulimit -u, ulimit -n) and temporary files \
                 (df ${{TMPDIR:-/tmp}}), then repeat the command",
                self.in_a_row,
            ))),
            _ => Ok(()),
        }
    }
}
