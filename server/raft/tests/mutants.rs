//! Planted bugs are found by the same random schedules that find nothing without them. Two are too rare for that,
//! commit-old-term and async-append-aba: the model checker finds them (`evenkeel-raft-model`).
#![cfg(feature = "mutants")]

mod support;

use evenkeel_raft::{Mutant, Mutants};
use support::schedule::{self, Plan};

const SEEDS_MAX: u64 = 2000;

/// The same, with members that come and go.
fn find_among_changes(mutant: Mutant) -> (u64, String) {
    let mutants = Mutants::NONE.with(mutant);
    let run = |seed| schedule::run(Plan { mutants, changes: true, ..Plan::new(seed) }).violation;
    let found = (0..SEEDS_MAX).find_map(|seed| run(seed).map(|violation| (seed, violation)));
    found.unwrap_or_else(|| panic!("{mutant:?} survives {SEEDS_MAX} seeds"))
}

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

#[test]
fn change_before_the_last_one_is_committed_is_found() {
    println!("{:?}", find_among_changes(Mutant::ConfChangeUnapplied));
}

#[test]
fn reads_confirmed_by_an_earlier_round_are_found() {
    assert!(find(Mutant::ReadIndexReuse, true).1.starts_with("stale read"));
}

#[test]
fn reads_before_the_first_commit_of_a_term_are_found() {
    assert!(find(Mutant::ReadIndexNoTermCommit, true).1.starts_with("stale read"));
}

#[test]
fn truncation_by_a_stale_append_is_found() {
    find(Mutant::TruncOnStaleAppend, false);
}

#[test]
fn granted_pre_votes_of_the_wrong_term_are_found() {
    find(Mutant::PreVoteTermEcho, true);
}
