//! The first promise without durable bytes is caught; late durability of what nobody promised is fine.

use evenkeel_check::observation::{Applied, Booted, Promise, Stored};
use evenkeel_check::*;

use crate::raft::{accept, append, boot, promise, run};

#[track_caller]
fn check(observations: impl IntoIterator<Item = Observation>, text: &str) {
    let found = run(observations, "ledger");
    assert!(if text.is_empty() { found.is_empty() } else { found.contains(text) }, "{found:?} lacks {text:?}");
}

fn durable(member: u64, stored: Stored) -> Observation {
    Observation::Durable { member: MemberId(member), stored }
}
fn entry(member: u64, index: u64, term: u64) -> Observation {
    durable(member, Stored::Entry { index: Index(index), term: Term(term) })
}
fn hard(member: u64, term: u64, vote: Option<u64>) -> Observation {
    durable(member, Stored::HardState { term: Term(term), vote: vote.map(MemberId) })
}
fn vote(member: u64, term: u64, to: u64) -> Observation {
    promise(member, Promise::VoteGranted { term: Term(term), to: MemberId(to) })
}
fn speak(member: u64, term: u64) -> Observation {
    promise(member, Promise::Message { term: Term(term) })
}
fn made(index: u64, term: u64, revision: i64) -> Observation {
    let applied = Applied { index: Index(index), term: Term(term), revision: Revision(revision), ..Applied::default() };
    Observation::Applied { member: MemberId(1), applied }
}
fn answer(revision: i64) -> Observation {
    promise(1, Promise::Answer { revision: Revision(revision) })
}

#[test]
fn an_append_accepted_before_its_bytes_are_durable_is_caught() {
    check([hard(2, 1, None), append(2, 1, 1), entry(2, 1, 1), accept(2, 1, 1)], "");
    check([hard(2, 1, None), append(2, 1, 1), accept(2, 1, 1)], "accepts entries up to i1, but only i0 are durable");
}

#[test]
fn the_old_bytes_at_a_position_do_not_count() {
    let old = [hard(2, 2, None), append(2, 1, 1), entry(2, 1, 1), append(2, 1, 2)];
    check(old.clone().into_iter().chain([accept(2, 1, 2)]), "only i0 are durable");
    check(old.into_iter().chain([entry(2, 1, 2), accept(2, 1, 2)]), "");
}

#[test]
fn a_stale_completion_for_overwritten_entries_does_not_count() {
    // Appended, overwritten, appended again: the middle bytes land last.
    let story = [
        hard(2, 3, None),
        append(2, 1, 1),
        entry(2, 1, 1),
        append(2, 2, 1),
        append(2, 2, 2),
        append(2, 2, 1),
        entry(2, 2, 1),
        entry(2, 2, 2),
        accept(2, 2, 3),
    ];
    check(story, "only i1 are durable");
}

#[test]
fn a_vote_before_it_is_durable_is_caught() {
    check([hard(2, 3, Some(1)), vote(2, 3, 1)], "");
    check([hard(2, 3, None), vote(2, 3, 1)], "gives its vote of t3 to n1, but the durable vote is Some(None)");
    check([hard(2, 3, Some(3)), vote(2, 3, 1)], "gives its vote");
    check([vote(2, 3, 1)], "gives its vote");
}

#[test]
fn a_vote_that_is_overwritten_in_its_term_is_caught() {
    check([hard(2, 3, Some(1)), hard(2, 3, None)], "overwrites its vote");
    check([hard(2, 3, Some(1)), hard(2, 4, None)], "");
    check([hard(2, 3, None), hard(2, 2, None)], "overwrites its durable t3");
}

#[test]
fn speaking_in_a_term_that_is_not_durable_is_caught() {
    check([hard(2, 3, None), speak(2, 3), speak(2, 2)], "");
    check([hard(2, 3, None), speak(2, 4)], "speaks in t4, but only t3 is durable");
}

#[test]
fn an_answer_needs_its_entry_on_a_durable_quorum() {
    let one = [append(1, 1, 1), entry(1, 1, 1), append(2, 1, 1), made(1, 1, 2)];
    check(one.clone().into_iter().chain([answer(1)]), "");
    check(
        one.clone().into_iter().chain([answer(2)]),
        "n1 shows r2, but its entry i1 of t1 is durable on 1 of 3 voters only",
    );
    check(one.clone().into_iter().chain([entry(2, 1, 1), answer(2)]), "");
    check(one.into_iter().chain([entry(2, 1, 2), answer(2)]), "durable on 1 of 3 voters");
}

#[test]
fn a_snapshot_stands_for_the_entries_below_it() {
    let snapshot = durable(2, Stored::Snapshot { index: Index(5), term: Term(1) });
    let installed = Observation::SnapshotInstalled { member: MemberId(2), index: Index(5), term: Term(1) };
    check([hard(2, 1, None), installed.clone(), accept(2, 5, 1)], "only i0 are durable");
    let both = [hard(2, 1, None), snapshot.clone(), installed.clone(), accept(2, 5, 1)];
    check(both.clone(), "");
    check([hard(2, 1, None), installed, snapshot, accept(2, 5, 1)], "");
    check(both.into_iter().chain([append(2, 6, 1), accept(2, 6, 1)]), "only i5 are durable");
}

#[test]
fn a_start_without_what_was_durable_is_caught() {
    let log = [hard(2, 3, Some(1)), append(2, 1, 1), append(2, 2, 1), entry(2, 1, 1)];
    let start = |vote: Option<u64>, term, last| Observation::Booted {
        member: MemberId(2),
        found: Booted { term: Term(term), vote: vote.map(MemberId), last_index: Index(last), last_term: Term(1) },
    };
    // The entry nobody promised may be there or not.
    check(log.clone().into_iter().chain([start(Some(1), 3, 1)]), "");
    check(log.clone().into_iter().chain([start(Some(1), 3, 2)]), "");
    check(log.clone().into_iter().chain([start(Some(1), 3, 0)]), "starts with a log up to i0, but i1 was durable");
    check(log.clone().into_iter().chain([start(Some(1), 2, 1)]), "starts in t2, but t3 was durable");
    check(log.into_iter().chain([start(None, 3, 1)]), "starts with the vote None");
    let other = Observation::Booted {
        member: MemberId(2),
        found: Booted { term: Term(3), vote: Some(MemberId(1)), last_index: Index(1), last_term: Term(2) },
    };
    check([hard(2, 3, Some(1)), append(2, 1, 1), entry(2, 1, 1), other], "but t1 was durable there");
    // What survived by luck still needs a sync before it is promised.
    check([hard(2, 1, None), append(2, 1, 1), boot(2, 1, 1, 1), accept(2, 1, 1)], "only i0 are durable");
}

#[test]
fn what_was_written_over_durable_entries_may_survive_unsynced() {
    let story = [append(1, 1, 1), append(1, 2, 1), entry(1, 1, 1), entry(1, 2, 1), hard(1, 2, None)];
    let over = story.clone().into_iter().chain([append(1, 1, 2), boot(1, 2, 1, 2)]);
    check(over, "");
    check(story.into_iter().chain([boot(1, 2, 1, 2)]), "but i2 was durable");
}

#[test]
fn what_is_back_after_a_power_loss_counts_again() {
    // n2 writes another 2 over the durable one; the power goes before that is synced, and the first one is found.
    let story = [hard(2, 1, None), append(2, 1, 1), entry(2, 1, 1), append(2, 2, 1), entry(2, 2, 1)];
    let lost = [hard(2, 2, None), append(2, 2, 2), boot(2, 2, 2, 1)];
    check(story.clone().into_iter().chain(lost).chain([accept(2, 2, 2)]), "");
    check(story.into_iter().chain([hard(2, 2, None), append(2, 2, 2), accept(2, 2, 2)]), "only i1 are durable");
}

#[test]
fn what_is_said_of_an_older_term_holds_of_what_was_there_then() {
    // n2 has 2 of term 1 on its way to the disk when the leader of term 2 replaces it.
    let story = [hard(2, 2, None), append(2, 1, 1), entry(2, 1, 1), append(2, 2, 1), append(2, 3, 1), append(2, 2, 2)];
    let told = |synced: &[Observation], of| story.clone().into_iter().chain(synced.to_vec()).chain([accept(2, 3, of)]);
    check(told(&[entry(2, 2, 1), entry(2, 3, 1)], 1), "");
    check(told(&[entry(2, 2, 1), entry(2, 3, 1), entry(2, 2, 2)], 1), "");
    check(told(&[entry(2, 2, 1)], 1), "only i1 are durable");
    check(told(&[entry(2, 2, 1), entry(2, 3, 1)], 2), "only i1 are durable");
}

#[test]
fn what_a_majority_held_is_shown_although_one_of_it_has_lost_its_disk() {
    let replaced = Observation::Replaced { member: MemberId(2) };
    check([entry(1, 1, 1), entry(2, 1, 1), made(1, 1, 2), replaced.clone(), answer(2)], "");
    check([entry(1, 1, 1), made(1, 1, 2), replaced.clone(), answer(2)], "is durable on 1 of 3 voters only");
    // Its word is asked for after its disk was lost.
    check([entry(2, 1, 1), replaced.clone(), entry(1, 1, 1), made(1, 1, 2), answer(2)], "");
    check([replaced, entry(2, 1, 1), made(1, 1, 2), answer(2)], "is durable on 0 of 3 voters only");
}

#[test]
fn a_log_that_a_stored_snapshot_contradicts_is_gone_at_the_next_start() {
    let log = [append(2, 1, 1), append(2, 2, 1), hard(2, 3, None), entry(2, 1, 1), entry(2, 2, 1)];
    let installed = Observation::SnapshotInstalled { member: MemberId(2), index: Index(1), term: Term(3) };
    let start = |last_term| Observation::Booted {
        member: MemberId(2),
        found: Booted { term: Term(3), vote: None, last_index: Index(1), last_term: Term(last_term) },
    };
    check(log.clone().into_iter().chain([installed.clone(), start(3)]), "");
    check(log.clone().into_iter().chain([installed, start(1)]), "starts with a log up to i1, but i2 was durable");
    check(log.into_iter().chain([start(3)]), "starts with a log up to i1, but i2 was durable");
}

#[test]
fn what_a_newer_leader_has_replaced_before_it_was_written_may_be_accepted_once_that_is_durable() {
    // Three messages at once: entries of term 1, then what the leader of term 3 has instead. One write.
    let taken = [hard(2, 1, None), append(2, 1, 1), append(2, 2, 1), append(2, 3, 1), append(2, 2, 3)];
    let written = [entry(2, 1, 1), hard(2, 3, None), entry(2, 2, 3)];
    check(taken.clone().into_iter().chain(written.clone()).chain([accept(2, 3, 1), accept(2, 2, 3)]), "");
    check(taken.clone().into_iter().chain([accept(2, 3, 1)]), "only i0 are durable");
    // Nobody was even told of the third entry: it was gone when the three messages had been taken.
    check(taken[..3].iter().chain(&taken[4..]).chain(&written).cloned().chain([accept(2, 3, 1)]), "");
    let [first, term, _] = written;
    check(taken.into_iter().chain([first, term, accept(2, 3, 1)]), "only i1 are durable");
}
