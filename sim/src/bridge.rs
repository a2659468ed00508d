//! Between the runner, which knows nothing of clusters, and the world, which knows nothing of processes.

use std::ops::Range;
use std::time::Duration;

use crate::gallery;
use crate::report::{RunEnd, RunInput, Verdict, World};
use crate::runtime::{self, RuntimeOptions};
use crate::world;
use crate::world::cluster::Ground;

/// The simulated cluster.
pub const WORLD: World =
    World { run, mutants: gallery::names, switches: gallery::names, points: evenkeel::points::POINTS };

/// A run that takes this much longer than its scenario says never ends.
const OVERTIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a client's message takes, either way.
const RPC_LATENCY: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(2);

/// So many of the last events explain a violation.
const EVENTS_TOLD: usize = 20;

/// Messages that flow all the time and seldom explain anything.
const CHATTER: [&str; 3] = [" kind=raft.heartbeat", " kind=raft.read", " kind=peer.ask"];

fn relevant(line: &str) -> bool {
    !CHATTER.iter().any(|chatter| line.contains(chatter))
}

fn run(input: RunInput) -> RunEnd {
    let RunInput { resolved, metrics, decisions, recorder } = input;
    let limit = resolved.run.at_most().saturating_add(OVERTIME_MAX);
    let options = RuntimeOptions { seed: resolved.seed, limit, rpc_latency: RPC_LATENCY };
    let log = recorder.clone();
    let ended = runtime::run(options, move || world::run(resolved, metrics, decisions, recorder, Ground));
    let verdict = match ended.broken {
        None => Verdict::Pass,
        Some(broken) => Verdict::Violation {
            what: broken.what,
            at_ns: broken.at.as_nanos() as u64,
            message: broken.message,
            events: log.lock().expect("the world has ended without a panic").last_lines(
                EVENTS_TOLD,
                broken.at,
                relevant,
            ),
        },
    };
    RunEnd {
        verdict,
        simulated: ended.simulated,
        outcomes: ended.outcomes,
        metrics: ended.metrics,
        counters: ended.counters,
        coverage: ended.coverage,
    }
}
