//! Leases end neither early nor late, and what is attached goes with them.

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::observation::{Applied, Cause};
use evenkeel_check::*;

const LEASE: LeaseId = LeaseId(7);
const TTL: i64 = 10;

struct Story {
    oracles: Oracles,
    seq: u64,
    op: u64,
    head: i64,
    term: Term,
}

impl Story {
    fn new(rate_error_ppm: u64) -> Self {
        Story::seen_by(false, rate_error_ppm)
    }

    fn seen_by(black_box_only: bool, rate_error_ppm: u64) -> Self {
        let off = vec!["raft".into(), "ledger".into(), "availability".into()];
        let config =
            Config { black_box_only, fast_ppm: rate_error_ppm, slow_ppm: rate_error_ppm, off, ..Config::default() };
        Story { oracles: Oracles::new(&config).expect("known names"), seq: 0, op: 0, head: 1, term: Term(1) }
    }

    fn granted(rate_error_ppm: u64) -> Self {
        let mut story = Story::new(rate_error_ppm);
        story.see(0.0, Observation::Elected { member: MemberId(1), term: Term(1) });
        story.see(0.0, Observation::Calm);
        let grant = Request::LeaseGrant { lease: LEASE, ttl: TTL };
        story.ok(1.0, grant, Body::LeaseGrant { lease: LEASE, ttl: TTL });
        story
    }

    fn at(&mut self, seconds: f64) -> Moment {
        self.seq += 1;
        Moment::new((seconds * 1e9) as u64, self.seq)
    }

    fn see(&mut self, seconds: f64, observation: Observation) {
        let at = self.at(seconds);
        self.oracles.observe(at, observation);
    }

    fn call(&mut self, seconds: f64, request: Request) -> OpId {
        self.op += 1;
        let op = OpId(self.op);
        self.see(seconds, Observation::Call { op, client: ClientId(0), member: MemberId(1), request });
        op
    }

    fn give(&mut self, seconds: f64, op: OpId, body: Body) {
        let header =
            Header { member: MemberId(1), revision: Revision(self.head), term: self.term, ..Header::default() };
        self.see(seconds, Observation::Return { op, outcome: Outcome::Ok(header, body) });
    }

    fn ok(&mut self, seconds: f64, request: Request, body: Body) {
        let op = self.call(seconds, request);
        self.give(seconds + 0.01, op, body);
    }

    fn refuse(&mut self, seconds: f64, request: Request) {
        let op = self.call(seconds, request);
        self.see(seconds + 0.01, Observation::Return { op, outcome: Outcome::DefinitelyNot(Refusal::LeaseNotFound) });
    }

    fn keep_alive(&mut self, seconds: f64, ttl: i64) {
        self.ok(seconds, Request::LeaseKeepAlive { lease: LEASE }, Body::LeaseKeepAlive { ttl });
    }

    fn attach(&mut self, seconds: f64) {
        let put = Put { key: "k".into(), value: format!("{}", self.op).into(), lease: LEASE, ..Put::default() };
        self.head += 1;
        let (op, revision) = (self.call(seconds, Request::Put(put.clone())), Revision(self.head));
        let live = model::Live { value: put.value, created: Revision(2), version: self.head - 1, lease: LEASE };
        let writes = Some(vec![model::Write { key: put.key, live: Some(live) }]);
        self.see(
            seconds,
            Observation::Applied { member: MemberId(1), applied: Applied { revision, writes, ..Applied::default() } },
        );
        self.give(seconds, op, Body::Put(PutReply::default()));
    }

    fn ended(&mut self, seconds: f64) {
        let (index, cause) = (Index(self.seq), Cause::LeaseRevoked(LEASE));
        let applied = Applied { index, revision: Revision(self.head), cause, ..Applied::default() };
        self.see(seconds, Observation::Applied { member: MemberId(1), applied });
    }

    fn finish(mut self, seconds: f64) -> String {
        let at = self.at(seconds);
        let report = self.oracles.finish(at, &Finish::default());
        report.violations.iter().map(|violation| format!("{violation}\n")).collect()
    }
}

#[track_caller]
fn says(found: String, text: &str) {
    assert!(found.contains(text), "{found:?} lacks {text:?}");
}

#[test]
fn a_lease_that_ends_after_its_time_is_fine() {
    let mut story = Story::granted(0);
    story.keep_alive(5.0, TTL);
    story.ended(15.5);
    story.keep_alive(16.0, 0);
    story.refuse(17.0, Request::LeaseRevoke { lease: LEASE });
    assert_eq!(story.finish(60.0), "");
}

#[test]
fn a_lease_that_ends_early_is_caught_at_once() {
    let mut story = Story::granted(0);
    story.ended(10.9);
    assert_eq!(story.oracles.violations().len(), 1);
    says(story.finish(20.0), "was ended by the server although its TTL of 10 s counts from 1.0");
}

#[test]
fn a_renewal_counts_from_its_call() {
    let mut story = Story::granted(0);
    story.keep_alive(8.0, TTL);
    story.keep_alive(17.9, 0);
    says(story.finish(20.0), "answers a keep-alive with no TTL although");
}

#[test]
fn a_renewal_that_returns_after_the_end_counts_too() {
    let mut story = Story::granted(0);
    let op = story.call(10.0, Request::LeaseKeepAlive { lease: LEASE });
    story.ended(11.5);
    story.give(11.6, op, Body::LeaseKeepAlive { ttl: TTL });
    says(story.finish(20.0), "was seen gone at 11.5");
}

#[test]
fn clocks_may_run_fast_by_the_allowed_rate() {
    let early = |rate_error_ppm| {
        let mut story = Story::granted(rate_error_ppm);
        story.ended(10.0);
        story.finish(20.0)
    };
    says(early(0), "was ended by the server");
    says(early(50_000), "was ended by the server");
    assert_eq!(early(100_000), "");
}

#[test]
fn a_revoked_lease_may_go_at_any_time() {
    let mut story = Story::granted(0);
    story.ok(2.0, Request::LeaseRevoke { lease: LEASE }, Body::LeaseRevoke);
    story.keep_alive(3.0, 0);
    assert_eq!(story.finish(60.0), "");
}

#[test]
fn a_keep_alive_after_a_revoke_has_returned_must_fail() {
    let mut story = Story::granted(0);
    story.ok(2.0, Request::LeaseRevoke { lease: LEASE }, Body::LeaseRevoke);
    story.keep_alive(3.0, TTL);
    says(story.finish(60.0), "was kept alive by a call of 3.0");
}

#[test]
fn a_keep_alive_that_overlaps_a_revoke_may_succeed() {
    let mut story = Story::granted(0);
    let op = story.call(2.0, Request::LeaseKeepAlive { lease: LEASE });
    story.ok(2.1, Request::LeaseRevoke { lease: LEASE }, Body::LeaseRevoke);
    story.give(2.2, op, Body::LeaseKeepAlive { ttl: TTL });
    assert_eq!(story.finish(60.0), "");
}

#[test]
fn attaching_to_a_lease_nobody_asked_for_is_caught() {
    let mut story = Story::new(0);
    story.attach(1.0);
    says(story.finish(2.0), "had a key attached, but nobody asked for such a lease");
}

#[test]
fn a_lease_that_never_ends_is_caught() {
    let story = Story::granted(0);
    says(story.finish(60.0), "lives on");
}

#[test]
fn nothing_is_late_while_faults_are_on_or_right_after_an_election() {
    let mut story = Story::granted(0);
    story.see(2.0, Observation::Disturbed);
    assert_eq!(story.finish(60.0), "");
    let mut story = Story::granted(0);
    story.see(50.0, Observation::Elected { member: MemberId(2), term: Term(2) });
    assert_eq!(story.finish(60.0), "");
}

#[test]
fn clients_see_an_election_by_the_term_of_an_answer() {
    for (term, verdict) in [(1, "after it should have ended"), (2, "")] {
        let mut story = Story::seen_by(true, 0);
        let grant = Request::LeaseGrant { lease: LEASE, ttl: TTL };
        story.see(0.0, Observation::Calm);
        story.ok(1.0, grant, Body::LeaseGrant { lease: LEASE, ttl: TTL });
        story.term = Term(term);
        story.keep_alive(60.0, TTL);
        let found = story.finish(61.0);
        assert!(found.contains(verdict) && found.is_empty() == verdict.is_empty(), "{found:?}");
    }
}

#[test]
fn a_keep_alive_long_after_the_end_is_caught() {
    let mut story = Story::granted(0);
    story.keep_alive(40.0, TTL);
    says(story.finish(41.0), "after it should have ended");
}

#[test]
fn a_key_read_after_its_lease_was_gone_is_caught() {
    let mut story = Story::granted(0);
    story.attach(1.5);
    let kv = KeyValue {
        key: "k".into(),
        value: "1".into(),
        created: Revision(2),
        modified: Revision(2),
        version: 1,
        lease: LEASE,
    };
    let reply = RangeReply { kvs: vec![kv], more: false, count: 1 };
    story.keep_alive(20.0, 0);
    story.ok(21.0, Request::Range(Range::of(KeyRange::one("k"))), Body::Range(reply));
    says(story.finish(22.0), "holds a key by a call of 21.0");
}

#[test]
fn listed_keys_must_be_those_of_some_revision_in_between() {
    let list = |keys: Vec<Bytes>| {
        let mut story = Story::granted(0);
        story.attach(1.5);
        let request = Request::LeaseTimeToLive { lease: LEASE, keys: true };
        story.ok(9.0, request, Body::LeaseTimeToLive { ttl: 3, granted: TTL, keys });
        story.finish(9.5)
    };
    assert_eq!(list(vec!["k".into()]), "");
    says(list(vec!["other".into()]), "lists the keys");
    says(list(vec![]), "lists the keys");
}

#[test]
fn a_deposed_leader_may_not_know_a_young_lease() {
    let mut story = Story::granted(0);
    let request = Request::LeaseTimeToLive { lease: LEASE, keys: false };
    story.ok(2.0, request.clone(), Body::LeaseTimeToLive { ttl: -1, granted: 0, keys: vec![] });
    story.keep_alive(3.0, TTL);
    assert_eq!(story.oracles.violations(), []);
    story.ok(9.0, request, Body::LeaseTimeToLive { ttl: -1, granted: 0, keys: vec![] });
    says(story.finish(9.5), "has no time to live although");
}

fn grant() -> Request {
    Request::LeaseGrant { lease: LEASE, ttl: TTL }
}

fn exists(story: &mut Story, seconds: f64) {
    let op = story.call(seconds, grant());
    story.see(seconds + 0.01, Observation::Return { op, outcome: Outcome::DefinitelyNot(Refusal::LeaseExists) });
}

#[test]
fn what_was_seen_alive_during_a_grant_may_be_the_new_lease() {
    let mut story = Story::granted(0);
    let again = story.call(20.0, grant());
    story.keep_alive(20.5, TTL);
    story.give(21.0, again, Body::LeaseGrant { lease: LEASE, ttl: TTL });
    story.ended(31.5);
    assert_eq!(story.finish(60.0), "");
}

#[test]
fn an_id_is_granted_again_only_when_it_is_free() {
    let again = Body::LeaseGrant { lease: LEASE, ttl: TTL };
    let mut story = Story::granted(0);
    exists(&mut story, 2.0);
    story.ok(3.0, Request::LeaseRevoke { lease: LEASE }, Body::LeaseRevoke);
    story.ok(4.0, grant(), again.clone());
    story.keep_alive(13.9, TTL);
    story.ended(24.5);
    story.ok(25.0, grant(), again.clone());
    story.ended(35.5);
    assert_eq!(story.finish(60.0), "");

    let mut story = Story::granted(0);
    story.ok(4.0, grant(), again);
    says(story.finish(5.0), "was granted again although its TTL of 10 s counts from 1.0");

    let mut story = Story::granted(0);
    story.ok(3.0, Request::LeaseRevoke { lease: LEASE }, Body::LeaseRevoke);
    exists(&mut story, 4.0);
    says(story.finish(5.0), "was refused as existing by a call of 4.0");
}

#[test]
fn while_a_grant_is_not_answered_both_are_possible() {
    for lives in [false, true] {
        let mut story = Story::granted(0);
        story.ok(3.0, Request::LeaseRevoke { lease: LEASE }, Body::LeaseRevoke);
        let op = story.call(4.0, grant());
        story.see(5.0, Observation::Return { op, outcome: Outcome::Unknown(Doubt::Timeout) });
        story.keep_alive(30.0, if lives { TTL } else { 0 });
        assert_eq!(story.finish(60.0), "");
    }
}

#[test]
fn a_member_that_applies_the_end_late_ends_nothing_new() {
    let mut story = Story::granted(0);
    let end = |index, cause| Applied { index: Index(index), revision: Revision(1), cause, ..Applied::default() };
    let ended = end(5, Cause::LeaseRevoked(LEASE));
    story.see(11.5, Observation::Applied { member: MemberId(1), applied: ended.clone() });
    story.ok(12.0, grant(), Body::LeaseGrant { lease: LEASE, ttl: TTL });
    story.see(13.0, Observation::Applied { member: MemberId(2), applied: ended });
    story.see(22.5, Observation::Applied { member: MemberId(1), applied: end(9, Cause::LeaseRevoked(LEASE)) });
    assert_eq!(story.finish(60.0), "");
}

#[test]
fn what_a_lease_is_said_to_be_granted_for_and_to_have_left_must_be_so() {
    let told = |ttl, granted| {
        let mut story = Story::granted(0);
        story.keep_alive(1.5, TTL);
        let request = Request::LeaseTimeToLive { lease: LEASE, keys: false };
        story.ok(9.0, request, Body::LeaseTimeToLive { ttl, granted, keys: vec![] });
        story.finish(9.5)
    };
    assert_eq!(told(2, TTL), "");
    says(told(2, TTL + 1), "has time to live for 11 s, but was granted for 10 s");
    says(told(-1, TTL), "should be 2 s at least");
    says(told(100, TTL), "past its end");
    let mut story = Story::granted(0);
    story.keep_alive(2.0, TTL - 1);
    says(story.finish(3.0), "was kept alive for 9 s");
}

#[test]
fn a_list_of_all_leases_has_those_that_live_and_no_others() {
    let told = |leases: Vec<LeaseId>| {
        let mut story = Story::granted(0);
        story.attach(1.5);
        story.ok(3.0, Request::LeaseLeases, Body::LeaseLeases { leases });
        story.finish(4.0)
    };
    assert_eq!(told(vec![LEASE]), "");
    says(told(vec![]), "is not listed");
    says(told(vec![LEASE, LEASE]), "twice");
    says(told(vec![LEASE, LeaseId(99)]), "lease99 is listed, but nobody asked");
}
