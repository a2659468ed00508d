//! What holds for every schedule and every input.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_raft::quorum::{self, Tally};
use evenkeel_raft::*;
use proptest::prelude::*;
use support::schedule::{self, Plan};

/// `RAFT_SEEDS=100..5000` looks further.
fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("RAFT_SEEDS") else { return 0..250 };
    let (from, to) = range.split_once("..").expect("RAFT_SEEDS=FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn safety_holds_and_the_cluster_recovers_under_random_schedules() {
    let (mut decided, mut terms, mut reads, mut snapshots) = (0, 0, 0, 0);
    for seed in seeds() {
        let outcome = schedule::run(Plan::new(seed));
        assert_eq!(outcome.violation, None, "replay with RAFT_SEEDS={seed}..{}", seed + 1);
        decided += outcome.decided;
        terms += outcome.terms_led;
        reads += outcome.reads_confirmed;
        snapshots += outcome.snapshots_installed;
    }
    println!("{decided} entries decided in {terms} terms, {reads} reads confirmed, {snapshots} snapshots installed");
    assert!(0 < decided && 0 < terms && 0 < reads, "schedules that do nothing prove nothing");
    assert!(0 < snapshots || seeds().count() < 100);
}

#[test]
fn safety_holds_and_the_cluster_recovers_while_members_come_and_go() {
    let (mut decided, mut configurations, mut snapshots) = (0, 0, 0);
    for seed in seeds() {
        let outcome = schedule::run(Plan { changes: true, steps: 4000, ..Plan::new(seed) });
        assert_eq!(outcome.violation, None, "replay with RAFT_SEEDS={seed}..{}", seed + 1);
        decided += outcome.decided;
        configurations += outcome.configurations;
        snapshots += outcome.snapshots_installed;
    }
    println!("{decided} entries decided, {configurations} of them configurations, {snapshots} snapshots installed");
    assert!(seeds().count() < 100 || (seeds().count() / 2 < configurations && 0 < snapshots));
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| {
        let outcome = schedule::run(Plan::new(seed));
        (outcome.decided, outcome.terms_led, outcome.reads_confirmed, outcome.snapshots_installed)
    };
    assert!((0..10).all(|seed| run(seed) == run(seed)));
}

fn configuration(voters: usize) -> Configuration {
    Configuration { voters: (1..=voters as u64).map(NodeId).collect(), ..Default::default() }
}

proptest! {
    /// Against the definition: the greatest value that more than half have reached.
    #[test]
    fn agreed_is_the_greatest_value_of_a_majority(values in prop::collection::vec(0u64..6, 0..9)) {
        let value_of = |voter: NodeId| values[voter.0 as usize - 1];
        let reached = |value: u64| values.iter().filter(|&&other| value <= other).count();
        let expected = (0..6).rev().find(|&value| reached(value) * 2 > values.len()).unwrap_or(0);
        prop_assert_eq!(quorum::agreed(&configuration(values.len()), value_of), expected);
    }

    #[test]
    fn two_quorums_always_meet(a in prop::collection::vec(any::<bool>(), 1..9), bits in any::<u16>()) {
        let configuration = configuration(a.len());
        let in_a = |voter: NodeId| a[voter.0 as usize - 1];
        let in_b = |voter: NodeId| bits >> voter.0 & 1 == 1;
        if quorum::is_quorum(&configuration, in_a) && quorum::is_quorum(&configuration, in_b) {
            prop_assert!(configuration.voters.iter().any(|&voter| in_a(voter) && in_b(voter)));
        }
    }

    #[test]
    fn a_vote_is_open_exactly_while_the_missing_answers_matter(
        votes in prop::collection::vec(prop::option::of(any::<bool>()), 1..9),
    ) {
        let count = |wanted| votes.iter().filter(|&&vote| vote == wanted).count();
        let (yes, open) = (count(Some(true)), count(None));
        let expected = match (yes * 2 > votes.len(), (yes + open) * 2 > votes.len()) {
            (true, _) => Tally::Won,
            (false, true) => Tally::Open,
            (false, false) => Tally::Lost,
        };
        prop_assert_eq!(quorum::tally(&configuration(votes.len()), |voter| votes[voter.0 as usize - 1]), expected);
    }

    /// Small numbers, so that messages hit; and the extremes, so that arithmetic would overflow.
    #[test]
    fn no_message_makes_a_step_panic(inputs in prop::collection::vec(input(), 1..120), seed in any::<u64>(), voters in 0u64..4) {
        // Without voters: it joins, and knows nothing.
        let learners = if voters == 0 { BTreeSet::new() } else { BTreeSet::from([NodeId(9)]) };
        let configuration =
            Configuration { voters: (1..=voters).map(NodeId).collect(), learners, ..Default::default() };
        let snapshot = SnapshotMeta { configuration, ..Default::default() };
        let config = Config {
            max_message_bytes: 3,
            max_inflight_messages: 2,
            max_inflight_bytes: 5,
            max_uncommitted_bytes: 20,
            max_waiting_reads: 2,
            pre_vote: seed.is_multiple_of(2),
            check_quorum: seed.is_multiple_of(3),
            ..Config::new(NodeId(1), seed)
        };
        let mut raft = Raft::new(config, Restored { snapshot, ..Default::default() });
        let mut writes = Vec::new();
        let mut delivered = BTreeMap::new();
        for input in inputs {
            match input {
                Step::Input(input) => raft.step(input),
                Step::Propose => _ = raft.propose(Arc::from(&b"abc"[..]), true),
                Step::Change(changes) => _ = raft.propose_change(&changes, Data::default()),
                Step::Persist => {
                    if !writes.is_empty() {
                        let write = writes.remove(0);
                        raft.step(Input::Persisted { write });
                    }
                }
                Step::Compact(index) => {
                    let applied = delivered.keys().next_back().copied().unwrap_or(Index(0));
                    raft.step(Input::Applied { index: applied });
                    raft.step(Input::Compact { upto: index });
                }
                Step::Take => {
                    while let Some(ready) = raft.take_ready() {
                        writes.extend(ready.write.map(|write| write.seq));
                        for entry in ready.committed {
                            let before = delivered.insert(entry.index, entry.term);
                            prop_assert_eq!(before, None, "delivered twice");
                        }
                    }
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Input(Input),
    Propose,
    Change(Vec<MemberChange>),
    Persist,
    Compact(Index),
    Take,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 0u64..6,
        1 => prop_oneof![Just(1 << 62), Just((1 << 62) - 1), Just(u64::MAX), Just(u64::MAX - 1), Just(u64::MAX / 2)],
    ]
}

fn index() -> impl Strategy<Value = Index> {
    number().prop_map(Index)
}

fn term() -> impl Strategy<Value = Term> {
    number().prop_map(Term)
}

fn entry() -> impl Strategy<Value = Entry> {
    (term(), index(), payload()).prop_map(|(term, index, payload)| Entry { term, index, payload })
}

fn payload() -> impl Strategy<Value = Payload> {
    let data = || Arc::from(&b"xy"[..]);
    prop_oneof![
        2 => Just(Payload::Empty),
        6 => Just(Payload::Data(data())),
        3 => any_configuration().prop_map(move |configuration| {
            Payload::Config(Arc::new(ConfigEntry { configuration, data: data() }))
        }),
    ]
}

/// Possible ones mostly, with and without us (n1), joint and not; some that no correct member would send.
fn any_configuration() -> impl Strategy<Value = Configuration> {
    let ids = |from: u64, most| prop::collection::btree_set((from..5).prop_map(NodeId), 0..most);
    let disjoint = (ids(1, 4), ids(1, 3), ids(1, 2)).prop_map(|(voters, outgoing, learners)| {
        let learners = learners.difference(&voters).copied().collect();
        Configuration { voters, outgoing, learners }
    });
    let any = (ids(0, 4), ids(0, 3), ids(0, 3)).prop_map(|(voters, outgoing, learners)| Configuration {
        voters,
        outgoing,
        learners,
    });
    prop_oneof![6 => disjoint, 1 => any]
}

/// Anything, or a run of entries that continues `prev_index`.
fn entries() -> impl Strategy<Value = (u64, Vec<Entry>)> {
    let orderly = (0u64..6, prop::collection::vec((1u64..4, payload()), 0..5)).prop_map(|(prev, mut entries)| {
        entries.sort_by_key(|(term, _)| *term);
        let entry = |(at, (term, payload)): (usize, (u64, Payload))| Entry {
            term: Term(term),
            index: Index(prev + 1 + at as u64),
            payload,
        };
        (prev, entries.into_iter().enumerate().map(entry).collect())
    });
    prop_oneof![6 => orderly, 1 => (number(), prop::collection::vec(entry(), 0..4))]
}

fn body() -> impl Strategy<Value = Body> {
    let context = || number().prop_map(ReadContext);
    let round = || number().prop_map(Round);
    prop_oneof![
        2 => (any::<bool>(), index(), term(), any::<bool>())
            .prop_map(|(pre_vote, last_index, last_term, force)| Body::VoteRequest { pre_vote, last_index, last_term, force }),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(pre_vote, granted)| Body::VoteResponse { pre_vote, granted }),
        8 => (entries(), term(), index()).prop_map(|((prev, entries), prev_term, commit)| {
            let prev_term = if prev == 0 { Term(0) } else { prev_term };
            Body::AppendRequest { prev_index: Index(prev), prev_term, entries, commit }
        }),
        4 => index().prop_map(|matched| Body::AppendAccepted { matched }),
        3 => (index(), index(), term())
            .prop_map(|(prev_index, hint_index, hint_term)| Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
                needs_snapshot: hint_term == Term(0),
            }),
        2 => (index(), round()).prop_map(|(commit, round)| Body::Heartbeat { commit, round }),
        2 => round().prop_map(|round| Body::HeartbeatResponse { round }),
        2 => (index(), term(), any_configuration())
            .prop_map(|(index, term, configuration)| Body::Snapshot { meta: SnapshotMeta { index, term, configuration } }),
        1 => Just(Body::TimeoutNow),
        1 => context().prop_map(|context| Body::ReadRequest { context }),
        1 => (context(), index()).prop_map(|(context, index)| Body::ReadResponse { context, index }),
        1 => Just(Body::Propose { data: Arc::from(&b"p"[..]) }),
    ]
}

fn change() -> impl Strategy<Value = MemberChange> {
    let kinds = [MemberChange::AddVoter, MemberChange::AddLearner, MemberChange::Remove];
    (0usize..3, number()).prop_map(move |(kind, member)| kinds[kind](NodeId(member)))
}

fn input() -> impl Strategy<Value = Step> {
    let peer = || prop_oneof![4 => 1u64..4, 1 => number()].prop_map(NodeId);
    let message = (peer(), prop_oneof![9 => 1u64..5, 1 => number()], body())
        .prop_map(|(from, term, body)| Input::Message { from, message: Message { term: Term(term), body } });
    prop_oneof![
        12 => message.prop_map(Step::Input),
        6 => (1u64..3).prop_map(|_| Step::Persist),
        6 => Just(Step::Take),
        2 => Just(Step::Propose),
        2 => Just(Step::Input(Input::Tick)),
        2 => Just(Step::Input(Input::Campaign)),
        1 => number().prop_map(|context| Step::Input(Input::Read { context: ReadContext(context) })),
        1 => index().prop_map(Step::Compact),
        2 => prop::collection::vec(change(), 0..3).prop_map(Step::Change),
        1 => peer().prop_map(|to| Step::Input(Input::Transfer { to })),
        1 => peer().prop_map(|peer| Step::Input(Input::Suspect { peer })),
        1 => peer().prop_map(|peer| Step::Input(Input::Unreachable { peer })),
        1 => peer().prop_map(|peer| Step::Input(Input::SnapshotDone { peer })),
    ]
}
