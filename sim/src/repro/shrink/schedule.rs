//! The last thing to be made plainer: the schedule. Draws that decide how long something takes (a message, a sync, a
//! stall) are replaced by the shortest time, many at once, and what still fails is kept. The repro file lists them as
//! overrides under their labels; the draws that are still the seed's are those on which the failure hangs.
//!
//! Where a failure hangs on no single time, a fixed latency was found before, and nothing is left to draw. Election
//! timeouts are drawn by members from seeds of their own, and no part of this.

use super::{Case, Shrinker};
use crate::cli::runner::Extras;
use crate::report::html::search;
use crate::report::trace;

/// So many draws before the failure are looked at, the last ones: each is a line of the file.
const DRAWS_MAX: usize = 128;
/// So many runs are spent at most.
const RUNS_MAX: u64 = 96;
/// What is drawn is told so often: draws told so soon after the failure may have come before it.
const LATE_NS: u64 = 50_000_000;
/// The draw of the shortest time.
const SHORTEST: u64 = 0;

/// Whether the draws of a label decide how long something takes.
fn is_time(label: &str) -> bool {
    match label.split('/').collect::<Vec<_>>()[..] {
        ["net", _, kind] => [".drop", ".dup", ".reorder"].iter().all(|fate| !kind.contains(fate)),
        ["disk", _, "sync"] => true,
        ["step", .., "by" | "down" | "stagger"] => true,
        _ => false,
    }
}

impl Shrinker<'_> {
    /// Shorter times: all, then halves, then smaller and smaller parts.
    pub(super) fn plain_schedule(&mut self) -> bool {
        let mut drawn = self.times_drawn();
        let (mut helped, mut chunk, before) = (false, drawn.len(), self.runs);
        self.tries = 1;
        while 0 < chunk && !drawn.is_empty() {
            let mut left = Vec::new();
            for part in drawn.chunks(chunk) {
                if self.is_late() || before + RUNS_MAX <= self.runs {
                    return helped;
                }
                let mut case = self.best.clone();
                for (label, occurrence) in part {
                    case.decisions.set_override(label, *occurrence, SHORTEST);
                }
                match self.improve("shorter times", vec![case]) {
                    true => helped = true,
                    false => left.extend_from_slice(part),
                }
            }
            drawn = left;
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
        helped
    }

    /// The draws of times before the failure that are the seed's: label and occurrence, the last ones first.
    fn times_drawn(&self) -> Vec<(String, u64)> {
        let Ok(traced) = tempfile::NamedTempFile::new() else { return Vec::new() };
        let extras = Extras { trace: Some(traced.path().to_owned()), ..Extras::default() };
        let Case { decisions, .. } = &self.best;
        self.best.attempt(&self.file, decisions.seed()).run(&extras, self.world);
        let Ok(lines) = trace::read(traced.path()) else { return Vec::new() };
        let replaced = |label: &str, occurrence: u64| {
            decisions.overrides().any(|(known, at, _)| (known, at) == (label, occurrence))
        };
        let drawn = search::drawn(&lines);
        let before =
            drawn.iter().rev().filter(|it| it.at_ns <= self.at_ns + LATE_NS).flat_map(|it| it.new.iter().rev());
        let times = before.filter(|(label, occurrence)| is_time(label) && !replaced(label, *occurrence));
        times.take(DRAWS_MAX).cloned().collect()
    }
}
