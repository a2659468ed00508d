//! After heal: a leader, puts on every member, and commits that go on.

use evenkeel_check::history::*;
use evenkeel_check::*;

struct Story {
    oracles: Oracles,
    seq: u64,
    op: u64,
}

impl Story {
    fn new() -> Self {
        let off = suite::NAMES.iter().filter(|name| **name != "availability").map(|name| name.to_string()).collect();
        let mut story = Story { oracles: Oracles::new(&Config { off, ..Config::default() }).unwrap(), seq: 0, op: 0 };
        for member in 1..=3 {
            story.see(0.0, Observation::Booted { member: MemberId(member), found: Default::default() });
        }
        story
    }

    fn see(&mut self, seconds: f64, observation: Observation) {
        self.seq += 1;
        self.oracles.observe(Moment::new((seconds * 1e9) as u64, self.seq), observation);
    }

    fn put(&mut self, from: f64, upto: f64, member: u64, served: bool) {
        let request = Request::Put(Put { value: format!("{}", self.op + 1).into(), ..Put::default() });
        self.call(from, upto, member, (request, Body::Put(PutReply::default())), served);
    }

    fn read(&mut self, from: f64, upto: f64, member: u64, serializable: bool, served: bool) {
        let request = Request::Range(Range { serializable, ..Range::of(KeyRange::one("k")) });
        self.call(from, upto, member, (request, Body::Range(RangeReply::default())), served);
    }

    fn call(&mut self, from: f64, upto: f64, member: u64, (request, body): (Request, Body), served: bool) {
        self.op += 1;
        let (op, member) = (OpId(self.op), MemberId(member));
        self.see(from, Observation::Call { op, client: ClientId(1), member, request });
        let header = Header { member, ..Header::default() };
        let ok = Outcome::Ok(header, body);
        let outcome = if served { ok } else { Outcome::Unknown(Doubt::Timeout) };
        self.see(upto, Observation::Return { op, outcome });
    }

    fn elected(&mut self, seconds: f64) {
        self.see(seconds, Observation::Elected { member: MemberId(1), term: Term(1) });
    }

    #[track_caller]
    fn says(&self, text: &str) {
        let found: String = self.oracles.violations().iter().map(|violation| violation.to_string()).collect();
        assert!(if text.is_empty() { found.is_empty() } else { found.contains(text) }, "{found:?} lacks {text:?}");
    }
}

#[test]
fn a_healed_cluster_that_serves_is_fine() {
    let mut story = Story::new();
    story.see(1.0, Observation::Calm);
    story.elected(5.0);
    for second in 0..40 {
        story.put(5.0 + second as f64, 5.5 + second as f64, 1 + second % 3, true);
    }
    story.says("");
}

#[test]
fn no_leader_long_after_heal_is_caught() {
    let mut story = Story::new();
    story.see(1.0, Observation::Calm);
    story.put(2.0, 10.9, 1, false);
    story.says("");
    story.put(11.0, 11.1, 1, false);
    story.says("no leader 10.0 s after");
}

#[test]
fn nothing_is_demanded_while_a_fault_is_on() {
    let mut story = Story::new();
    story.see(1.0, Observation::Calm);
    story.see(2.0, Observation::Disturbed);
    story.put(3.0, 60.0, 1, false);
    story.says("");
}

#[test]
fn a_member_that_acknowledges_no_put_is_caught() {
    let mut story = Story::new();
    story.see(1.0, Observation::Calm);
    story.elected(1.5);
    for second in 2..17 {
        story.put(second as f64, second as f64 + 0.1, 1, true);
        story.put(second as f64 + 0.2, second as f64 + 0.3, 3, false);
    }
    story.says("n3 has acknowledged no put");
}

#[test]
fn reads_that_a_stale_member_answers_alone_are_no_service() {
    // Who serves: everybody, only serializable reads, nobody at n3.
    for (linearizable, at_n3, found) in [
        (true, true, ""),
        (false, false, "n1 has acknowledged no linearizable read"),
        (true, false, "n3 has acknowledged no linearizable read"),
    ] {
        let mut story = Story::new();
        story.see(1.0, Observation::Calm);
        story.elected(1.5);
        for second in 2..30 {
            for member in 1..=3 {
                let at = second as f64 + member as f64 / 5.0;
                story.put(at, at + 0.03, member, true);
                story.read(at + 0.06, at + 0.09, member, true, true);
                story.read(at + 0.12, at + 0.15, member, false, linearizable && (member != 3 || at_n3));
            }
        }
        story.says(found);
    }
}

#[test]
fn a_member_is_not_blamed_for_a_lost_message_nor_for_the_time_before_it_served() {
    for (boots_late, tries, blamed) in [(false, 2, ""), (false, 3, "n3 has acknowledged no put"), (true, 3, "")] {
        let boots = Observation::Booted { member: MemberId(3), found: Default::default() };
        let mut story = Story::new();
        story.see(0.3, Observation::Stopped { member: MemberId(3) });
        story.see(0.5, Observation::Calm);
        story.elected(1.5);
        if !boots_late {
            story.see(1.6, boots.clone());
        }
        for nth in 0..tries {
            story.put(12.0 + nth as f64 / 2.0, 12.2 + nth as f64 / 2.0, 3, false);
        }
        if boots_late {
            story.see(13.5, boots);
        }
        for second in 14..30 {
            story.put(second as f64, second as f64 + 0.1, 1, true);
        }
        story.says(blamed);
    }
}

#[test]
fn tries_before_enough_voters_ran_blame_nobody() {
    for (tries_later, blamed) in [(0, ""), (3, "n2 has acknowledged no put")] {
        let mut story = Story::new();
        story.see(0.3, Observation::Stopped { member: MemberId(2) });
        story.see(0.3, Observation::Stopped { member: MemberId(3) });
        story.see(0.5, Observation::Calm);
        story.see(14.0, Observation::Booted { member: MemberId(2), found: Default::default() });
        for tenth in 1..=3 {
            story.put(14.0 + f64::from(tenth) / 10.0, 14.05 + f64::from(tenth) / 10.0, 2, false);
        }
        story.elected(14.5);
        for second in 15..45 {
            story.put(second as f64, second as f64 + 0.1, 1, true);
            if (26..26 + tries_later).contains(&second) {
                story.put(second as f64 + 0.2, second as f64 + 0.3, 2, false);
            }
        }
        story.says(blamed);
    }
}

#[test]
fn a_put_that_nobody_repeats_is_no_outage() {
    let mut story = Story::new();
    story.see(1.0, Observation::Calm);
    story.elected(1.5);
    for member in 1..=3 {
        story.put(2.0, 2.1, member, true);
    }
    story.put(20.0, 20.1, 1, false);
    story.see(24.0, Observation::Stopped { member: MemberId(1) });
    story.see(40.0, Observation::Booted { member: MemberId(1), found: Default::default() });
    story.says("");
}

#[test]
fn a_put_whose_lease_is_gone_got_through() {
    for (refusal, found) in [(Refusal::LeaseNotFound, ""), (Refusal::Overloaded, "has acknowledged no put")] {
        let mut story = Story::new();
        story.see(0.5, Observation::Calm);
        story.elected(1.0);
        for second in 2..40 {
            for (nth, member) in (1..=3).enumerate() {
                let at = second as f64 + nth as f64 / 10.0;
                if member != 3 {
                    story.put(at, at + 0.05, member, true);
                    continue;
                }
                story.op += 1;
                let (op, request) = (OpId(story.op), Request::Put(Put::default()));
                story.see(at, Observation::Call { op, client: ClientId(1), member: MemberId(3), request });
                story.see(at + 0.05, Observation::Return { op, outcome: Outcome::DefinitelyNot(refusal) });
            }
        }
        story.says(found);
    }
}

#[test]
fn a_leader_that_is_asked_to_stop_leads_until_it_has_stopped() {
    let stopping = Observation::Stopping { member: MemberId(1) };
    let stopped = Observation::Stopped { member: MemberId(1) };
    for (ends, found) in [(stopping, ""), (stopped, "no leader")] {
        let mut story = Story::new();
        story.elected(0.2);
        story.see(0.3, ends);
        story.see(0.5, Observation::Calm);
        for second in 1..20 {
            story.put(second as f64, second as f64 + 0.1, 2, true);
        }
        story.says(found);
    }
}

#[test]
fn a_stopped_member_owes_nothing() {
    let mut story = Story::new();
    story.see(0.5, Observation::Stopped { member: MemberId(3) });
    story.see(1.0, Observation::Calm);
    story.elected(1.5);
    for second in 2..30 {
        story.put(second as f64, second as f64 + 0.1, 1, true);
        story.put(second as f64 + 0.2, second as f64 + 0.3, 3, false);
    }
    story.says("");
}

#[test]
fn puts_that_stop_getting_through_in_quiet_are_caught() {
    let mut story = Story::new();
    story.see(1.0, Observation::Calm);
    story.elected(1.5);
    for member in 1..=3 {
        story.put(2.0, 2.1, member, true);
    }
    for second in 20..40 {
        story.put(second as f64, second as f64 + 0.5, 1, false);
    }
    story.says("no put has got through since 20.0");
}

#[test]
fn statistics_tell_what_a_client_felt() {
    let mut story = Story::new();
    for n in 0..100 {
        story.put(n as f64, n as f64 + 0.001 * (n + 1) as f64, 1, true);
    }
    story.put(200.0, 203.0, 1, false);
    story.put(203.0, 207.0, 1, true);
    let stats = &story.oracles.clients()[&ClientId(1)];
    assert_eq!((stats.calls, stats.ok), (102, 101));
    assert_eq!(stats.max_unavailable_nanos, 7 * NANOS_PER_SECOND);
    assert_eq!(stats.errors.values().sum::<u64>(), 1);
    let p50 = stats.latency_nanos(0.5).unwrap() as f64 / 1e9;
    assert!((0.050..0.055).contains(&p50), "{p50}");
}
