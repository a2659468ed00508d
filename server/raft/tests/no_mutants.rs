//! A build without the feature has no planted bugs: there is nothing to switch, and nothing to look at.
#![cfg(not(feature = "mutants"))]
#![allow(clippy::disallowed_methods, reason = "reads manifests")]

use evenkeel_raft::{Mutant, Mutants};

#[test]
fn without_the_feature_no_bug_can_be_switched_on() {
    assert_eq!(size_of::<Mutants>(), 0);
    assert!(!Mutants::NONE.has(Mutant::Canary) && !Mutants::NONE.on(Mutant::Canary));
    assert!(!Mutants::NONE.bites(Mutant::Canary, || unreachable!("what a bug would do is not even looked at")));
}

#[test]
fn a_release_does_not_ask_for_the_feature() {
    let manifest = |path: &str| std::fs::read_to_string(path).expect("a manifest");
    for path in ["Cargo.toml", "../mvcc/Cargo.toml", "../storage/Cargo.toml", "../Cargo.toml"] {
        let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        let asks =
            manifest(&path).lines().any(|line| line.contains("default =") || line.contains("features = [\"mutants\"]"));
        assert!(!asks, "{path} switches planted bugs on");
    }
}
