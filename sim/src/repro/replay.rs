//! Is it still the same run? Event by event as far as the file knows, and in any case: is it still the same failure?

use super::file::{Chain, MARK_LINES, Repro, Today, mark};
use super::signature::Signature;
use crate::chain::CHECKPOINT_EVENTS;
use crate::report::RunReport;

/// How a replayed run compares with the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// The same to the last event.
    Same,
    /// It parted somewhere in these events.
    Parted {
        /// The last event that is known to be the same, plus one.
        from: u64,
        /// By this event the runs differ.
        to: u64,
    },
}

/// Compares a run, replayed with its whole log, with what the file recorded.
pub fn compare(recorded: &Chain, report: &RunReport) -> Sameness {
    let now = &report.chain;
    if recorded.hash == now.hash && recorded.events == now.events {
        return Sameness::Same;
    }
    let last = recorded.events.max(now.events);
    if let Some(marks) = recorded.marks() {
        // With equal marks they part after the last one, or where the shorter one ends.
        let reach = marks.reach(&now.marks);
        let (from, end) = marks.parting(&now.marks).unwrap_or((reach, last));
        return Sameness::Parted { from, to: end.min(last).max(1) - 1 };
    }
    let marks: Vec<&str> = recorded.marks.split_whitespace().collect();
    let lines: Vec<String> = report.window.chunks(MARK_LINES).map(mark).collect();
    if !marks.is_empty() && !lines.is_empty() {
        let same = marks.iter().zip(&lines).take_while(|(recorded, now)| **recorded == now.as_str()).count();
        if same < marks.len().max(lines.len()) {
            let from = (same * MARK_LINES) as u64;
            return Sameness::Parted { from, to: (from + MARK_LINES as u64 - 1).min(last.max(1) - 1) };
        }
    }
    let same = recorded.checkpoints.iter().zip(&now.checkpoints).take_while(|(a, b)| a == b).count() as u64;
    let from = same * CHECKPOINT_EVENTS;
    Sameness::Parted { from, to: (from + CHECKPOINT_EVENTS - 1).min(last.max(1) - 1) }
}

/// Whether the run ended as the file says it does today.
pub fn as_expected(repro: &Repro, report: &RunReport) -> bool {
    let signature = Signature::of(&report.verdict);
    match repro.today {
        Today::Fails => signature.as_ref() == Some(&repro.signature),
        Today::Passes => report.verdict.passed(),
    }
}
