//! From a resolved scenario to what real processes showed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_scenario::{ExpectKind, Outcome, Value};

use super::able::{Fit, fit};
use super::cluster::Ground;
use crate::report::played::Skipped;
use crate::report::{RunEnd, RunInput, Verdict, World};
use crate::{gallery, world};

/// What files are checked against. Nothing is simulated in it.
pub const WORLD: World =
    World { run: refuse, mutants: gallery::names, switches: gallery::names, points: evenkeel::points::POINTS };

/// So many of the last events explain a violation.
const EVENTS_TOLD: usize = 20;

fn refuse(_: RunInput) -> RunEnd {
    let message = "nothing is simulated in this build: use `cargo sim`, or play with --real SERVER".to_owned();
    RunEnd {
        verdict: Verdict::Error { message },
        simulated: Duration::ZERO,
        outcomes: Vec::new(),
        metrics: BTreeMap::new(),
        counters: BTreeMap::new(),
        coverage: Vec::new(),
    }
}

/// Plays one run to its end, in real time.
///
/// # Panics
/// When this process cannot have a runtime, directories or ports.
pub fn run(input: RunInput, server: PathBuf) -> (RunEnd, Vec<Skipped>) {
    let RunInput { resolved, mut metrics, decisions, recorder } = input;
    let Fit { resolved, doubtful, mut skipped } = fit(resolved);
    let of_doubt = |id: &str| format!("at the end: {id}");
    for expect in &doubtful {
        if let ExpectKind::AtEnd(condition) = &expect.kind {
            metrics.push((of_doubt(&expect.id), condition.clone()));
        }
    }
    let log = recorder.clone();
    // One thread: what happened first is told first.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let mut ended = runtime.block_on(world::run(resolved, metrics, decisions, recorder, Ground { server }));
    drop(runtime);
    for expect in doubtful {
        if ended.metrics.remove(&of_doubt(&expect.id)) == Some(Value::Bool(true)) {
            ended.outcomes.push((expect.id, Outcome::Held));
        } else {
            let why = "it does not hold, but the story is not whole".to_owned();
            skipped.push(Skipped { what: format!("expectation {}", expect.id), why });
        }
    }
    let verdict = match ended.broken {
        None => Verdict::Pass,
        Some(broken) => Verdict::Violation {
            what: broken.what,
            at_ns: broken.at.as_nanos() as u64,
            message: broken.message,
            events: log.lock().expect("the run has ended without a panic").last_lines(
                EVENTS_TOLD,
                broken.at + Duration::from_millis(1),
                |_| true,
            ),
        },
    };
    let end = RunEnd {
        verdict,
        simulated: ended.simulated,
        outcomes: ended.outcomes,
        metrics: ended.metrics,
        counters: ended.counters,
        coverage: ended.coverage,
    };
    (end, skipped)
}
