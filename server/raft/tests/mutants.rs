//! Each planted bug is found by the same random schedules that find nothing without it.
#![cfg(feature = "mutants")]

mod support;

use evenkeel_raft::{Mutant, Mutants};
use support::schedule::{self, Plan};

const SEEDS_MAX: u64 = 2000;

/// The first seed whose run violates a claim, and which.
fn find(mutant: Mutant, consequences_only: bool) -> (u64, String) {
    let mutants = Mutants::NONE.with(mutant);
    let run = |seed| schedule::run(Plan { mutants, consequences_only, ..Plan::new(seed) }).violation;
    let found = (0..SEEDS_MAX).find_map(|seed| run(seed).map(|violation| (seed, violation)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("{mutant:?} survives {SEEDS_MAX} seeds"));
    println!("{mutant:?}: seed {seed}: {violation}");
    (seed, violation)
}

#[test]
fn ledger_finds_an_acceptance_before_sync() {
    assert!(find(Mutant::AckBeforeFsync, false).1.starts_with("ledger: "));
}

#[test]
fn acceptance_before_sync_has_consequences() {
    find(Mutant::AckBeforeFsync, true);
}

#[test]
fn ledger_finds_a_vote_before_sync() {
    assert!(find(Mutant::VoteNotDurable, false).1.starts_with("ledger: "));
}

#[test]
fn vote_before_sync_has_consequences() {
    find(Mutant::VoteNotDurable, true);
}

#[test]
fn read_without_confirmation_is_stale() {
    assert!(find(Mutant::ReadWithoutConfirm, true).1.starts_with("stale read"));
}
