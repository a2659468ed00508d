//! The revision-ordered checker and the general search agree on small histories, right and wrong.

use std::collections::BTreeMap;

use evenkeel_check::history::*;
use evenkeel_check::wgl;
use evenkeel_check::*;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use crate::world::{History, RICH, Rng, Shape, check, generate};

fn small(seed: u64, unknown_percent: u64) -> History {
    let shape = Shape { operations: 14, clients: 4, keys: 3, unknown_percent, rich: false, watches: 0, ..RICH };
    generate(seed, shape)
}

/// One random change that may or may not be noticeable.
fn disturb(history: &mut History, rng: &mut Rng) {
    let wanted = rng.below(14) as usize;
    let kind = rng.below(5);
    let mut answers: Vec<(&mut Header, &mut Body)> = history
        .events
        .iter_mut()
        .filter_map(|(_, observation)| match observation {
            Observation::Return { outcome: Outcome::Ok(header, body), .. } => Some((header, body)),
            _ => None,
        })
        .collect();
    if answers.is_empty() {
        return;
    }
    let n = wanted % answers.len();
    let (header, body) = &mut answers[n];
    match (kind, &mut **body) {
        (0, _) => header.revision.0 += 1,
        (1, _) => header.revision.0 -= 1,
        (2, Body::Range(reply)) => drop(reply.kvs.pop()),
        (3, Body::Put(reply)) => reply.prev_kv = None,
        (4, Body::Txn(reply)) => reply.succeeded ^= true,
        _ => header.revision.0 -= 1,
    }
}

fn operations(history: &History) -> Vec<wgl::Operation> {
    let mut operations: BTreeMap<OpId, wgl::Operation> = BTreeMap::new();
    for (at, observation) in &history.events {
        match observation {
            Observation::Call { op, request, .. } => {
                operations.insert(*op, wgl::Operation { called: *at, request: request.clone(), answer: None });
            }
            Observation::Return { op, outcome: Outcome::Ok(header, body) } => {
                operations.get_mut(op).expect("called").answer = Some((*at, header.revision, body.clone()));
            }
            _ => {}
        }
    }
    operations.into_values().collect()
}

fn agree(mut history: History) -> bool {
    history.finals.clear();
    let config = Config { off: vec!["availability".into()], black_box_only: true, ..Config::default() };
    let violations = check(&history, &config);
    assert!(violations.iter().all(|violation| !violation.inconclusive), "{violations:?}");
    let expected = wgl::is_linearizable(&operations(&history));
    let lines: Vec<String> = history.events.iter().map(|(at, event)| format!("{at} {event:?}")).collect();
    assert_eq!(violations.is_empty(), expected, "{violations:?}\n{}", lines.join("\n"));
    expected
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_accept_right_histories(seed: u64, unknown_percent in 0u64..40) {
        prop_assert!(agree(small(seed, unknown_percent)));
    }

    #[test]
    fn both_judge_disturbed_histories_alike(seed: u64, unknown_percent in 0u64..40) {
        let mut history = small(seed, unknown_percent);
        disturb(&mut history, &mut Rng(seed ^ 1));
        agree(history);
    }
}

#[test]
fn disturbed_histories_are_mostly_wrong_but_not_always() {
    let right = (0..60)
        .filter(|seed| {
            let mut history = small(*seed, 20);
            disturb(&mut history, &mut Rng(*seed));
            agree(history)
        })
        .count();
    assert!((1..50).contains(&right), "{right} of 60 were still right");
}
