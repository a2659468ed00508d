//! What the oracles cost. Prints; asserts nothing about time. Meant for `--release -- --nocapture bench`.

use std::time::Instant;

use evenkeel_check::*;

use crate::world::{RICH, Shape, config, generate};

#[test]
fn bench_prints_the_cost_per_operation() {
    for (name, white_box) in [("white box", true), ("black box", false)] {
        let shape = Shape { operations: 3_000, clients: 8, keys: 64, unknown_percent: 3, white_box, ..RICH };
        let history = generate(1, shape);
        let feed = history.events.clone();
        let observations = feed.len();
        let start = Instant::now();
        let mut oracles = Oracles::new(&config(shape)).expect("known names");
        for (at, observation) in feed {
            oracles.observe(at, observation);
        }
        let online = start.elapsed();
        let report = oracles.finish(history.end, &Finish { reads: history.finals.clone() });
        let total = start.elapsed();
        assert_eq!(report.violations, []);
        println!(
            "{name}: {:.2} us per operation online, {:.2} us with the end ({} operations, {observations} observations, {})",
            online.as_secs_f64() * 1e6 / shape.operations as f64,
            total.as_secs_f64() * 1e6 / shape.operations as f64,
            shape.operations,
            report.revision,
        );
    }
}
