//! As far as a debug build gets in seconds: nothing is found that should not be, and what is planted is. The rest is
//! `cargo run --release -p evenkeel-raft-model -- --check`.

use evenkeel_raft_model::explore::{EVERYTHING, Limits, explore};
use evenkeel_raft_model::scopes::{self, PREY};

#[test]
fn nothing_is_wrong_near_the_beginning() {
    for scope in scopes::all() {
        let report = explore(&scope, Limits { states: 4000, ..EVERYTHING });
        let violation = report.violation.map(|violation| (violation.claim, violation.trace.join("\n")));
        assert_eq!(violation, None, "in {}", scope.name);
        assert!(1000 < report.states, "{} holds next to nothing: {} states", scope.name, report.states);
    }
}

#[test]
fn planted_bugs_are_found() {
    // The one that is left out takes half a minute of a release build.
    for prey in PREY.iter().filter(|prey| prey.name != "commit-old-term") {
        let report = explore(&prey.scope(), Limits { states: 40_000, ..EVERYTHING });
        let found = report.violation.unwrap_or_else(|| panic!("{} survives {} states", prey.name, report.states));
        assert!(!found.trace.is_empty(), "{}: {} without a trace", prey.name, found.claim);
    }
}

#[test]
fn two_explorations_are_equal() {
    for scope in scopes::all().iter().take(3) {
        let count = || {
            let report = explore(scope, Limits { states: 2000, ..EVERYTHING });
            (report.states, report.transitions, report.depth)
        };
        assert_eq!(count(), count());
    }
}
