//! Right histories pass in every mode; bugs of the store are caught in every mode.

use proptest::prelude::*;

use crate::world::*;

const MODES: [(&str, bool, bool); 3] =
    [("black box", false, false), ("white box", true, false), ("white box with causes", true, true)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn right_histories_pass(seed: u64, unknown_percent in 0u64..30, keys in 1u64..12, clients in 1u64..8) {
        for (_, white_box, causes) in MODES {
            must_pass(seed, Shape { unknown_percent, keys, clients, white_box, causes, ..RICH });
        }
    }
}

fn always_caught(bug: impl Fn(u64) -> Bug, base: Shape, at_least: usize) {
    for (mode, white_box, causes) in MODES {
        let mut happened = 0;
        for seed in 0..40 {
            let bug = bug(seed);
            let shape = Shape { white_box, causes, bug: Some(bug), ..base };
            let (wrong, right) = (generate(seed, shape), generate(seed, Shape { bug: None, ..shape }));
            if wrong.events == right.events {
                continue; // the bug did not happen
            }
            happened += 1;
            let violations = check(&wrong, &config(shape));
            assert!(!violations.is_empty(), "{mode}, seed {seed}: {bug:?} was not caught");
        }
        assert!(at_least <= happened, "{mode}: only {happened} of 40 histories had the bug");
    }
}

/// Without operations of unknown outcome, which might excuse a delete.
const CERTAIN: Shape = Shape { unknown_percent: 0, operations: 400, ..RICH };

#[test]
fn a_lost_write_is_caught() {
    always_caught(|seed| Bug::LostWrite(1 + seed), RICH, 30);
}

#[test]
fn a_delete_nobody_asked_for_is_caught() {
    always_caught(|seed| Bug::PhantomDelete(5 + seed), CERTAIN, 25);
}

#[test]
fn an_operation_applied_twice_is_caught() {
    always_caught(|_| Bug::AppliedTwice, RICH, 25);
}

#[test]
fn a_key_that_outlives_its_lease_is_caught() {
    always_caught(|_| Bug::LeaseKeyStays, CERTAIN, 3);
}
