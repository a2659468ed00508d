//! What the oracles cost. Prints; asserts nothing about time. Meant for `--release -- --nocapture bench`.
#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::time::Instant;

use evenkeel_check::*;

use crate::world::{RICH, Shape, config, generate};

/// The best of so many is printed: the machine may be busy.
const ROUNDS: usize = 5;

#[test]
fn bench_prints_the_cost_per_operation() {
    for (name, white_box) in [("white box", true), ("black box", false)] {
        let shape = Shape { operations: 3_000, clients: 8, keys: 64, unknown_percent: 3, white_box, ..RICH };
        let history = generate(1, shape);
        let (mut online, mut total) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            let feed = history.events.clone();
            let start = Instant::now();
            let mut oracles = Oracles::new(&config(shape)).expect("known names");
            for (at, observation) in feed {
                oracles.observe(at, observation);
            }
            online = online.min(start.elapsed().as_secs_f64());
            let report = oracles.finish(history.end, &Finish { reads: history.finals.clone(), ..Finish::default() });
            total = total.min(start.elapsed().as_secs_f64());
            assert_eq!(report.violations, []);
        }
        let micros = |seconds: f64| seconds * 1e6 / shape.operations as f64;
        println!(
            "{name}: {:.2} us per operation online, {:.2} us with the end ({} operations, {} observations)",
            micros(online),
            micros(total),
            shape.operations,
            history.events.len(),
        );
    }
}

#[test]
fn bench_prints_the_cost_of_what_members_report() {
    use observation::{Applied, Promise, Stored};
    const ENTRIES: u64 = 3_000;
    let mut feed = Vec::new();
    let term = Term(1);
    let members = || (1..=3).map(MemberId);
    for member in members() {
        feed.push(Observation::Durable { member, stored: Stored::HardState { term, vote: Some(MemberId(1)) } });
    }
    feed.push(Observation::Elected { member: MemberId(1), term });
    for n in 1..=ENTRIES {
        let index = Index(n);
        for member in members() {
            feed.push(Observation::Appended { member, index, term, payload: n });
            feed.push(Observation::Promised { member, promise: Promise::Message { term } });
            feed.push(Observation::Durable { member, stored: Stored::Entry { index, term } });
            feed.push(Observation::Promised { member, promise: Promise::AppendAccepted { matched: index, term } });
        }
        for member in members() {
            feed.push(Observation::Committed { member, index });
            let applied = Applied { index, term, revision: Revision::FIRST, hash: Some(n), ..Applied::default() };
            feed.push(Observation::Applied { member, applied });
        }
    }
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let feed = feed.clone();
        let start = Instant::now();
        let mut oracles = Oracles::new(&Config::default()).expect("no names");
        for (n, observation) in feed.into_iter().enumerate() {
            oracles.observe(Moment::new(n as u64, n as u64), observation);
        }
        best = best.min(start.elapsed().as_secs_f64());
        assert_eq!(oracles.violations(), []);
    }
    let micros = best * 1e6 / ENTRIES as f64;
    println!("members: {micros:.2} us per entry of three members ({} observations)", feed.len());
}
