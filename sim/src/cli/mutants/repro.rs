//! How small the first run becomes that found a planted bug, and the first in which a client could see it.

use std::time::Duration;

use evenkeel_scenario::Decisions;
use serde_json::{Value, json};

use super::trial::{Box, Find, Source, plant_in};
use crate::gallery::Plant;
use crate::report::World;
use crate::repro::shrink::{Limits, shrink_resolved};

/// What shrinking came to.
#[derive(Clone, Copy, Debug)]
pub struct Shrunk {
    /// Faults and operations in the run that found the bug.
    pub from: u64,
    /// And in the shrunk one.
    pub to: u64,
    /// How long it took.
    pub took: Duration,
}

impl Shrunk {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({ "from": self.from, "to": self.to, "seconds": self.took.as_secs_f64() })
    }
}

/// Shrinks the run of `find` for at most `time`, judged as it was. None when it does not fail in the same way on its own.
pub fn shrunk(
    (plant, judged): (&Plant, Box),
    find: &Find,
    time: Duration,
    parallel: usize,
    source: Source<'_>,
    world: &World,
) -> Option<Shrunk> {
    let (scenario, seed) = find.job.scenario(source);
    let decisions = Decisions::new(seed);
    let mut resolved = scenario.resolve(&scenario.cells()[0], &mut decisions.clone());
    plant_in(&mut resolved, Some(plant), judged);
    let limits = Limits { parallel, time, tell: &mut |_| {} };
    let outcome = shrink_resolved(resolved, &decisions, scenario.file(), world, limits).ok()?;
    let sizes = outcome.repro.shrunk?;
    Some(Shrunk { from: sizes.from.events(), to: sizes.to.events(), took: outcome.took })
}
