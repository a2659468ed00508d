//! The suite: names, switches, and state hashes.

use evenkeel_check::history::*;
use evenkeel_check::observation::Applied;
use evenkeel_check::*;

use crate::world::{Bug, RICH, Shape, check, config, generate};

fn apply(member: u64, index: u64, hash: u64) -> Observation {
    let applied = Applied { index: Index(index), revision: Revision(1), hash: Some(hash), ..Applied::default() };
    Observation::Applied { member: MemberId(member), applied }
}

fn hashes(observations: &[Observation]) -> String {
    let off = suite::NAMES.iter().filter(|name| **name != "state-hash").map(|name| name.to_string()).collect();
    let mut oracles = Oracles::new(&Config { off, ..Config::default() }).expect("known names");
    for (n, observation) in observations.iter().enumerate() {
        oracles.observe(Moment::new(n as u64, n as u64), observation.clone());
    }
    oracles.violations().iter().map(|violation| violation.to_string()).collect()
}

#[test]
fn different_state_at_equal_index_is_caught() {
    assert_eq!(hashes(&[apply(1, 5, 7), apply(1, 6, 8), apply(2, 5, 7), apply(2, 6, 8)]), "");
    let found = hashes(&[apply(1, 5, 7), apply(1, 6, 8), apply(2, 5, 7), apply(2, 6, 9)]);
    assert!(found.contains("after i6 the state of n2"), "{found}");
}

#[test]
fn an_unknown_oracle_cannot_be_switched_off() {
    let error = Oracles::new(&Config { off: vec!["linear".into()], ..Config::default() }).unwrap_err();
    assert!(error.contains("linearizable"), "{error}");
}

#[test]
fn an_oracle_that_is_off_says_nothing_but_others_do() {
    let shape = Shape { white_box: true, bug: Some(Bug::LostWrite(9)), ..RICH };
    let history = generate(3, shape);
    assert!(check(&history, &config(shape)).iter().any(|violation| violation.oracle == "linearizable"));
    let mut quiet = config(shape);
    quiet.off.push("linearizable".into());
    assert!(check(&history, &quiet).iter().all(|violation| violation.oracle != "linearizable"));
}

#[test]
fn black_box_mode_ignores_what_members_say() {
    let lie = apply(1, 1, 1);
    let mut oracles = Oracles::new(&Config { black_box_only: true, ..Config::default() }).expect("no names");
    oracles.observe(Moment::new(1, 1), lie);
    oracles.observe(Moment::new(2, 2), apply(2, 1, 2));
    assert_eq!(oracles.violations(), []);
}

#[test]
fn different_histories_behind_equal_revisions_are_caught() {
    use evenkeel_check::hash_kv::HashKv;
    let answer = |member, revision, compacted, hash| {
        let (revision, compacted) = (Revision(revision), Revision(compacted));
        HashKv { member: MemberId(member), revision, compacted, hash }
    };
    let judge = |hashes: Vec<HashKv>| {
        let mut oracles = Oracles::new(&Config { black_box_only: true, ..Config::default() }).expect("no names");
        let report = oracles.finish(Moment::new(1, 1), &Finish { hashes, ..Finish::default() });
        report.violations.iter().map(|violation| violation.oracle).collect::<Vec<_>>()
    };
    assert_eq!(judge(vec![answer(1, 9, 3, 7), answer(2, 9, 3, 8)]), ["hash-kv"]);
    let comparable = vec![answer(1, 9, 3, 7), answer(2, 9, 3, 7), answer(3, 9, 4, 8), answer(3, 8, 3, 1)];
    assert_eq!(judge(comparable), [""; 0]);
}

#[test]
fn oracles_can_be_shared_between_tasks() {
    fn is_send<T: Send>() {}
    is_send::<Oracles>();
}

#[test]
fn who_waits_longer_than_anybody_should_is_named() {
    let waiting = |patience_nanos| {
        let config = Config { off: vec!["raft".into(), "ledger".into()], ..Config::default() };
        let mut oracles = Oracles::new(&config).expect("known names");
        let request = Request::Range(Range::of(KeyRange::all()));
        let call = Observation::Call { op: OpId(4), client: ClientId(2), member: MemberId(1), request };
        oracles.observe(Moment::new(NANOS_PER_SECOND, 1), call);
        let finish = Finish { patience_nanos, ..Finish::default() };
        let report = oracles.finish(Moment::new(7 * NANOS_PER_SECOND, 2), &finish);
        report.violations.iter().any(|violation| violation.message.contains("op4 of c2, sent to n1"))
    };
    assert!(waiting(Some(5 * NANOS_PER_SECOND)));
    assert!(!waiting(Some(6 * NANOS_PER_SECOND)));
    assert!(!waiting(None));
}
