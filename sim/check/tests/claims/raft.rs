//! Raft's invariants: each is caught when broken, and ordinary life is not.

use Observation::*;
use evenkeel_check::observation::{Applied as Entry, Booted as Found, Promise};
use evenkeel_check::*;

/// Feeds observations to the raft oracle alone; answers with what it says, or nothing.
pub fn run(observations: impl IntoIterator<Item = Observation>, only: &str) -> String {
    let off = suite::NAMES.iter().filter(|name| **name != only).map(|name| name.to_string()).collect();
    let mut oracles = Oracles::new(&Config { off, ..Config::default() }).expect("known names");
    for (n, observation) in observations.into_iter().enumerate() {
        oracles.observe(Moment::new(n as u64, n as u64), observation);
    }
    oracles.violations().iter().map(|violation| violation.to_string()).collect()
}

#[track_caller]
fn check(observations: impl IntoIterator<Item = Observation>, text: &str) {
    let found = run(observations, "raft");
    assert!(if text.is_empty() { found.is_empty() } else { found.contains(text) }, "{found:?} lacks {text:?}");
}

pub fn append(member: u64, index: u64, term: u64) -> Observation {
    Appended { member: MemberId(member), index: Index(index), term: Term(term), payload: index * 100 + term }
}
pub fn commit(member: u64, index: u64) -> Observation {
    Committed { member: MemberId(member), index: Index(index) }
}
fn apply(member: u64, index: u64, term: u64) -> Observation {
    Applied { member: MemberId(member), applied: Entry { index: Index(index), term: Term(term), ..Entry::default() } }
}
pub fn elect(member: u64, term: u64) -> Observation {
    Elected { member: MemberId(member), term: Term(term) }
}
fn term(member: u64, term: u64) -> Observation {
    Observation::Term { member: MemberId(member), term: evenkeel_check::Term(term) }
}
pub fn boot(member: u64, term: u64, last_index: u64, last_term: u64) -> Observation {
    let found = Found {
        term: evenkeel_check::Term(term),
        vote: None,
        last_index: Index(last_index),
        last_term: evenkeel_check::Term(last_term),
    };
    Booted { member: MemberId(member), found }
}
pub fn promise(member: u64, promise: Promise) -> Observation {
    Promised { member: MemberId(member), promise }
}
fn vote(member: u64, term: u64, to: u64) -> Observation {
    promise(member, Promise::VoteGranted { term: evenkeel_check::Term(term), to: MemberId(to) })
}
pub fn accept(member: u64, matched: u64, term: u64) -> Observation {
    promise(member, Promise::AppendAccepted { matched: Index(matched), term: evenkeel_check::Term(term) })
}

#[test]
fn ordinary_life_is_fine() {
    check(
        [
            vote(2, 1, 1),
            elect(1, 1),
            append(1, 1, 1),
            append(1, 2, 1),
            append(2, 1, 1),
            commit(1, 1),
            apply(1, 1, 1),
            // The tail that only the old leader has is replaced by the next leader's.
            term(2, 2),
            term(3, 2),
            elect(2, 2),
            append(2, 2, 2),
            append(3, 1, 1),
            append(3, 2, 2),
            commit(2, 2),
            term(1, 2),
            append(1, 2, 2),
            commit(1, 2),
            apply(1, 2, 2),
            boot(1, 2, 2, 2),
            commit(1, 2),
            apply(1, 2, 2),
        ],
        "",
    );
}

#[test]
fn two_leaders_in_a_term_are_caught() {
    check([elect(1, 3), elect(2, 3)], "n2 leads t3, which n1 leads");
    check([elect(1, 3), elect(1, 3), elect(2, 4)], "");
}

#[test]
fn a_second_vote_is_caught_even_after_a_restart() {
    check([vote(1, 3, 2), vote(1, 3, 2)], "");
    check([vote(1, 3, 2), boot(1, 2, 0, 0), vote(1, 3, 3)], "n1 votes for n3 in t3, after it voted for n2");
}

#[test]
fn a_term_that_goes_back_is_caught() {
    check([term(1, 3), term(1, 2)], "went back from t3 to t2");
    check([term(1, 3), boot(1, 2, 0, 0), term(1, 2)], "");
}

#[test]
fn logs_that_do_not_match_are_caught() {
    let other = Appended { member: MemberId(2), index: Index(1), term: evenkeel_check::Term(1), payload: 0 };
    check([append(1, 1, 1), other], "holds another entry at i1");
    check([append(1, 1, 1), append(1, 2, 3), append(2, 1, 2), append(2, 2, 3)], "has t2 before it, not t1");
    check([append(1, 1, 1), append(1, 3, 1)], "appends i3 behind a log that ends at 1");
}

#[test]
fn a_committed_entry_that_changes_is_caught() {
    let committed = [append(1, 1, 1), commit(1, 1)];
    check(committed.clone().into_iter().chain([append(1, 1, 2)]), "rewrites i1, which it knows to be committed");
    check(committed.clone().into_iter().chain([append(2, 1, 2), commit(2, 1)]), "where t1 was committed before");
    check(committed.clone().into_iter().chain([append(2, 1, 2)]), "");
    check(committed.into_iter().chain([boot(1, 1, 0, 0)]), "");
}

#[test]
fn a_leader_without_a_committed_entry_is_caught() {
    let committed = [append(1, 1, 1), append(2, 1, 1), commit(1, 1)];
    check(committed.clone().into_iter().chain([elect(2, 2)]), "");
    check(committed.into_iter().chain([elect(3, 2)]), "n3 leads t2 without the committed i1 of t1");
}

#[test]
fn commit_and_applied_go_forward() {
    let log = [append(1, 1, 1), append(1, 2, 1)];
    check(log.clone().into_iter().chain([commit(1, 2), commit(1, 1)]), "takes its commit index back");
    check(log.clone().into_iter().chain([commit(1, 3)]), "commits up to i3 with a log that ends at 2");
    check(log.clone().into_iter().chain([commit(1, 2), apply(1, 1, 1), apply(1, 1, 1)]), "applies i1 after i1");
    check(log.clone().into_iter().chain([commit(1, 1), apply(1, 1, 1), apply(1, 2, 1)]), "which nobody has committed");
    check(log.into_iter().chain([commit(1, 1), apply(1, 1, 2)]), "but t1 is committed there");
}

#[test]
fn an_acknowledged_tail_that_is_given_up_in_the_same_term_is_caught() {
    let acked = [term(2, 1), append(2, 1, 1), append(2, 2, 1), accept(2, 2, 1)];
    check(acked.clone().into_iter().chain([append(2, 1, 1)]), "rewrites i1, although it acknowledged up to i2");
    check(acked.into_iter().chain([term(2, 2), append(2, 2, 2)]), "");
}

#[test]
fn a_snapshot_jumps_forward_over_what_is_committed() {
    let install =
        |index, term| SnapshotInstalled { member: MemberId(3), index: Index(index), term: evenkeel_check::Term(term) };
    let committed = [append(1, 1, 1), append(1, 2, 1), append(1, 3, 1), commit(1, 3)];
    let after = [install(2, 1), replaced(3, 2), append(3, 3, 1), commit(3, 3), apply(3, 3, 1)];
    check(committed.clone().into_iter().chain(after), "");
    check(committed.into_iter().chain([install(2, 9)]), "but t1 is committed there");
}

fn replaced(member: u64, index: u64) -> Observation {
    StateReplaced { member: MemberId(member), index: Index(index) }
}

#[test]
fn what_was_committed_before_a_snapshot_came_may_be_applied_until_it_replaces_the_state() {
    let committed = [append(1, 1, 1), append(1, 2, 1), append(1, 3, 1), append(1, 4, 1), commit(1, 4)];
    let holds = [append(3, 1, 1), append(3, 2, 1), commit(3, 2)];
    let install = SnapshotInstalled { member: MemberId(3), index: Index(3), term: Term(1) };
    let begun: Vec<Observation> = committed.into_iter().chain(holds).chain([install]).collect();
    let then = |after: &[Observation]| begun.clone().into_iter().chain(after.to_vec()).collect::<Vec<_>>();
    let late = [apply(3, 1, 1), apply(3, 2, 1), replaced(3, 3), append(3, 4, 1), commit(3, 4), apply(3, 4, 1)];
    check(then(&late), "");
    check(then(&[replaced(3, 3), apply(3, 2, 1)]), "applies i2 after i3");
    check(then(&[apply(3, 1, 1), apply(3, 2, 1), replaced(3, 1)]), "by an older one at i1");
}

#[test]
fn a_restart_may_lose_the_tail_and_bring_back_what_it_was_to_replace() {
    check([append(1, 1, 1), append(1, 2, 1), boot(1, 1, 1, 1), append(1, 2, 1)], "");
    check([append(1, 1, 1), boot(1, 1, 1, 2)], "");
}

fn configured(index: u64, term: u64, voters: &[u64], learners: &[u64]) -> Observation {
    let set = |members: &[u64]| members.iter().copied().map(MemberId).collect();
    let configuration =
        configurations::Configuration { voters: set(voters), learners: set(learners), ..Default::default() };
    Configured { index: Index(index), term: Term(term), configuration }
}

#[test]
fn a_leader_that_is_no_voter_is_caught() {
    check([elect(4, 1)], "without being a voter");
    check([configured(5, 1, &[1, 2, 3], &[4]), elect(4, 2)], "without being a voter");
    check([configured(5, 1, &[1, 2, 3, 4], &[]), elect(4, 2)], "");
}

#[test]
fn a_member_that_was_replaced_may_vote_again() {
    let replaced = Replaced { member: MemberId(1) };
    check([vote(1, 2, 2), vote(1, 2, 3)], "after it voted for");
    check([vote(1, 2, 2), replaced, vote(1, 2, 3)], "");
}

#[test]
fn an_entry_found_at_a_start_may_be_replaced_later() {
    // n1 has written 2 of term 2, lost it with the power, and finds 2 of term 1 again, which then goes as well.
    check(
        [
            append(2, 1, 1),
            append(2, 2, 2),
            append(2, 3, 2),
            append(1, 1, 1),
            append(1, 2, 2),
            boot(1, 2, 2, 1),
            append(1, 2, 2),
            append(1, 3, 2),
        ],
        "",
    );
}

#[test]
fn a_leader_that_commits_an_older_term_by_counting_is_caught() {
    let story = [append(1, 1, 1), append(1, 2, 1), elect(1, 3), append(1, 3, 3)];
    check(story.clone().into_iter().chain([commit(1, 2)]), "leads t3 and commits i2 of t1 by counting");
    check(story.clone().into_iter().chain([commit(1, 3)]), "");
    let deposed = [SteppedDown { member: MemberId(1) }, term(1, 4), commit(1, 2)];
    check(story.into_iter().chain(deposed), "");
}

#[test]
fn a_leader_that_changes_the_configuration_too_early_is_caught() {
    let led = [append(1, 1, 1), elect(1, 2), append(1, 2, 2)];
    let change = |index: u64, voters: &[u64]| [configured(index, 2, voters, &[]), append(1, index, 2)];
    let say = || promise(1, Promise::Message { term: Term(2) });
    let told = |stories: &[&[Observation]]| stories.concat().into_iter().chain([say()]).collect::<Vec<_>>();
    let (first, second) = (change(3, &[1, 2, 3, 4]), change(4, &[1, 2, 3]));
    check(told(&[&led, &first]), "changes the configuration at i3 before an entry of t2 is committed");
    // What is committed together with the change is reported after it.
    check(told(&[&led, &first, &[commit(1, 2)]]), "");
    let early = "changes the configuration at i4 before the one at i3 is committed";
    check(told(&[&led, &[commit(1, 2)], &first, &second]), early);
    check(told(&[&led, &[commit(1, 2)], &first, &[commit(1, 3)], &second]), "");
}
