//! One member and hand-made messages: rules that whole clusters rarely put to the test.

use std::sync::Arc;

use evenkeel_raft::*;

const LEADER: NodeId = NodeId(2);

/// Member 1 of three, or the learner 9, at term 3, following [`LEADER`].
fn follower(config: Config) -> Raft {
    let voters = [1, 2, 3].map(NodeId).into();
    let configuration = Configuration { voters, learners: [NodeId(9)].into(), ..Default::default() };
    let snapshot = SnapshotMeta { configuration, ..Default::default() };
    let hard_state = HardState { term: Term(3), vote: Some(LEADER) };
    let mut raft = Raft::new(config, Restored { hard_state, snapshot, ..Default::default() });
    receive(&mut raft, 3, Body::Heartbeat { commit: Index(0), round: Round(1) });
    settle(&mut raft);
    raft
}

fn receive(raft: &mut Raft, term: u64, body: Body) {
    raft.step(Input::Message { from: LEADER, message: Message { term: Term(term), body } });
}

fn append(raft: &mut Raft, term: u64, prev: (u64, u64), terms: &[u64], commit: u64) {
    let entry = |(at, &term): (usize, &u64)| Entry {
        term: Term(term),
        index: Index(prev.0 + 1 + at as u64),
        payload: Payload::Data(Arc::from(&b"x"[..])),
    };
    let entries = terms.iter().enumerate().map(entry).collect();
    let body =
        Body::AppendRequest { prev_index: Index(prev.0), prev_term: Term(prev.1), entries, commit: Index(commit) };
    receive(raft, term, body);
}

/// Completes every write; returns what was said.
fn settle(raft: &mut Raft) -> Vec<Body> {
    let mut said = Vec::new();
    while let Some(ready) = raft.take_ready() {
        said.extend(ready.messages.into_iter().map(|(_, message)| message.body));
        if let Some(write) = ready.write {
            said.extend(write.messages.into_iter().map(|(_, message)| message.body));
            raft.step(Input::Persisted { write: write.seq });
        }
    }
    said
}

fn terms(raft: &Raft) -> Vec<u64> {
    (raft.first_index().0..=raft.last_index().0).map(|index| raft.term_at(Index(index)).expect("in memory").0).collect()
}

fn config() -> Config {
    Config::new(NodeId(1), 7)
}

#[test]
fn commit_never_passes_what_the_append_has_shown() {
    let mut raft = follower(config());
    append(&mut raft, 3, (0, 0), &[1, 1, 2, 2], 0);
    // The leader has committed four entries, but this append speaks of the first two only.
    append(&mut raft, 3, (1, 1), &[1], 4);
    assert_eq!((raft.committed(), terms(&raft)), (Index(2), vec![1, 1, 2, 2]));
    append(&mut raft, 3, (2, 1), &[3, 3], 4);
    assert_eq!((raft.committed(), terms(&raft)), (Index(4), vec![1, 1, 3, 3]));
}

#[test]
fn committed_entries_are_never_cut() {
    let mut raft = follower(config());
    append(&mut raft, 3, (0, 0), &[1, 1, 2], 3);
    settle(&mut raft);
    append(&mut raft, 3, (1, 1), &[3], 3);
    append(&mut raft, 3, (2, 3), &[3], 3);
    assert_eq!((terms(&raft), settle(&mut raft)), (vec![1, 1, 2], vec![]));
}

#[test]
fn only_one_leader_is_heard_in_a_term() {
    let mut raft = follower(config());
    let body = Body::Heartbeat { commit: Index(0), round: Round(9) };
    raft.step(Input::Message { from: NodeId(3), message: Message { term: Term(3), body } });
    assert_eq!((settle(&mut raft), raft.standing().leader), (vec![], Some(LEADER)));
}

#[test]
fn append_over_a_checkpoint_goes_on_from_its_end() {
    let mut raft = follower(config());
    append(&mut raft, 3, (0, 0), &[1, 1, 2], 3);
    settle(&mut raft);
    raft.step(Input::Applied { index: Index(3) });
    raft.step(Input::Compact { upto: Index(2) });
    append(&mut raft, 3, (0, 0), &[1], 3);
    assert_eq!(settle(&mut raft), [Body::AppendAccepted { matched: Index(3) }], "all of it is covered");
    append(&mut raft, 3, (0, 0), &[1, 1, 2, 3], 3);
    assert_eq!(settle(&mut raft), [Body::AppendAccepted { matched: Index(4) }]);
    assert_eq!(terms(&raft), [2, 3]);
}

#[test]
fn answer_that_needs_no_write_leaves_at_once_unless_one_is_in_flight() {
    let mut raft = follower(config());
    append(&mut raft, 3, (0, 0), &[3], 0);
    let first = raft.take_ready().and_then(|ready| ready.write).expect("an entry to write");
    append(&mut raft, 3, (0, 0), &[3], 0);
    let again = raft.take_ready().expect("an answer");
    assert_eq!(again.messages, [], "the entry it accepts is not durable yet");
    let second = again.write.expect("the answer goes behind the write");
    assert_eq!((second.entries.len(), second.messages.len()), (0, 1));

    raft.step(Input::Persisted { write: second.seq });
    assert!(first.seq < second.seq, "one completion stands for both");
    append(&mut raft, 3, (0, 0), &[3], 0);
    let at_once = raft.take_ready().expect("an answer");
    assert_eq!((at_once.write, at_once.messages.len()), (None, 1));
}

#[test]
fn burst_of_appends_is_accepted_at_its_farthest() {
    let mut raft = follower(config());
    append(&mut raft, 3, (0, 0), &[3, 3], 0);
    append(&mut raft, 3, (2, 3), &[3], 0);
    append(&mut raft, 3, (0, 0), &[3], 0);
    assert_eq!(settle(&mut raft), [Body::AppendAccepted { matched: Index(3) }]);
}

#[test]
fn writes_in_flight_are_bounded_and_joined_beyond() {
    let mut raft = follower(config());
    let mut seqs = Vec::new();
    let count = WRITES_IN_FLIGHT_MAX as u64 + 10;
    for index in 0..count {
        append(&mut raft, 3, (index, if index == 0 { 0 } else { 3 }), &[3], 0);
        seqs.extend(raft.take_ready().and_then(|ready| ready.write).map(|write| write.seq));
    }
    assert_eq!(seqs.len(), WRITES_IN_FLIGHT_MAX);
    raft.step(Input::Persisted { write: seqs[0] });
    let joined = raft.take_ready().and_then(|ready| ready.write).expect("room for one more");
    assert_eq!(joined.entries.len(), 10);
    let accepted = Body::AppendAccepted { matched: Index(count) };
    assert_eq!(joined.messages, [(LEADER, Message { term: Term(3), body: accepted })], "one acceptance for all");
    raft.step(Input::Persisted { write: joined.seq });
    assert_eq!(raft.persisted(), Index(count));
}

#[test]
fn committed_batches_are_bounded_but_never_empty() {
    let mut raft = follower(Config { max_committed_batch_bytes: 2, ..config() });
    append(&mut raft, 3, (0, 0), &[3, 3, 3, 3, 3], 5);
    let mut sizes = Vec::new();
    while let Some(ready) = raft.take_ready() {
        sizes.extend(Some(ready.committed.len()).filter(|&len| len > 0));
        if let Some(write) = ready.write {
            raft.step(Input::Persisted { write: write.seq });
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn answer_to_a_round_never_begun_confirms_nothing() {
    let mut raft = follower(config());
    raft.step(Input::Campaign);
    receive(&mut raft, 4, Body::VoteResponse { pre_vote: true, granted: true });
    settle(&mut raft);
    receive(&mut raft, 4, Body::VoteResponse { pre_vote: false, granted: true });
    settle(&mut raft);
    receive(&mut raft, 4, Body::AppendAccepted { matched: Index(1) });
    settle(&mut raft);
    assert_eq!((raft.standing().role, raft.committed()), (Role::Leader, Index(1)));

    receive(&mut raft, 4, Body::HeartbeatResponse { round: Round(99) });
    raft.step(Input::Read { context: ReadContext(7) });
    assert_eq!(raft.take_ready().map(|ready| ready.reads), Some(vec![]), "only a heartbeat");
    receive(&mut raft, 4, Body::HeartbeatResponse { round: Round(1) });
    let confirmed = ReadState::Confirmed { context: ReadContext(7), index: Index(1) };
    assert_eq!(raft.take_ready().map(|ready| ready.reads), Some(vec![confirmed]));
}

#[test]
fn learner_that_may_have_been_promoted_votes_when_asked() {
    let mut raft = follower(Config::new(NodeId(9), 7));
    let body = Body::VoteRequest { pre_vote: false, last_index: Index(9), last_term: Term(3), force: true };
    receive(&mut raft, 4, body);
    let granted = Body::VoteResponse { pre_vote: false, granted: true };
    assert_eq!((settle(&mut raft), raft.standing().term), (vec![granted], Term(4)));
}

#[test]
fn forced_request_passes_the_lease() {
    for (force, granted) in [(false, false), (true, true)] {
        let mut raft = follower(config());
        let body = Body::VoteRequest { pre_vote: false, last_index: Index(9), last_term: Term(3), force };
        raft.step(Input::Message { from: NodeId(3), message: Message { term: Term(4), body } });
        assert_eq!(settle(&mut raft) == [Body::VoteResponse { pre_vote: false, granted: true }], granted);
    }
}

#[test]
#[should_panic(expected = "a gap between checkpoint 5 and log 7")]
fn log_that_does_not_reach_its_checkpoint_is_refused() {
    let snapshot = SnapshotMeta { index: Index(5), term: Term(1), ..Default::default() };
    let entries = vec![Entry { term: Term(1), index: Index(7), payload: Payload::Empty }];
    let hard_state = HardState { term: Term(1), vote: None };
    let restored = Restored { hard_state, snapshot, entries, first_prev_term: Term(1), applied: Index(5) };
    Raft::new(config(), restored);
}

#[test]
fn log_older_than_its_checkpoint_is_left_behind() {
    let snapshot = SnapshotMeta { index: Index(5), term: Term(2), ..Default::default() };
    let entries = vec![Entry { term: Term(1), index: Index(1), payload: Payload::Empty }];
    let hard_state = HardState { term: Term(2), vote: None };
    let restored = Restored { hard_state, snapshot, entries, first_prev_term: Term(0), applied: Index(5) };
    let raft = Raft::new(config(), restored);
    assert_eq!((raft.first_index(), raft.last_index(), raft.persisted()), (Index(6), Index(5), Index(5)));
}
