//! A member signs with its own id, and its term never goes back.

use evenkeel_check::history::*;
use evenkeel_check::*;

/// Who answers, under which id, in which term.
type Signed = (u64, u64, u64);

struct Story {
    oracles: Oracles,
    seq: u64,
}

impl Story {
    fn new() -> Self {
        let off = suite::NAMES.iter().filter(|name| **name != "headers").map(|name| name.to_string()).collect();
        let config = Config { off, black_box_only: true, ..Config::default() };
        let mut story = Story { oracles: Oracles::new(&config).expect("known names"), seq: 0 };
        (1..=2).for_each(|member| story.boots(member));
        story
    }

    fn see(&mut self, observation: Observation) {
        self.seq += 1;
        self.oracles.observe(Moment::new(self.seq * 1_000, self.seq), observation);
    }

    fn boots(&mut self, member: u64) {
        self.see(Observation::Booted { member: MemberId(member), found: Default::default() });
    }

    fn call(&mut self, op: u64, member: u64) {
        let request = Request::Put(Put { value: op.to_string().into(), ..Put::default() });
        self.see(Observation::Call { op: OpId(op), client: ClientId(1), member: MemberId(member), request });
    }

    fn give(&mut self, op: u64, signed: Signed) {
        let outcome = Outcome::Ok(header(signed), Body::Put(PutReply::default()));
        self.see(Observation::Return { op: OpId(op), outcome });
    }

    /// One after the other: whom is asked, and who answers.
    fn told(mut self, answers: &[(u64, Signed)]) -> Self {
        for (asked, signed) in answers {
            let op = self.seq;
            self.call(op, *asked);
            self.give(op, *signed);
        }
        self
    }

    #[track_caller]
    fn says(&self, text: &str) {
        let found: String = self.oracles.violations().iter().map(|violation| violation.to_string()).collect();
        assert!(if text.is_empty() { found.is_empty() } else { found.contains(text) }, "{found:?} lacks {text:?}");
    }
}

fn header((member, id, term): Signed) -> Header {
    Header { member: MemberId(member), id, revision: Revision(1), term: Term(term) }
}

#[test]
fn a_member_answers_for_itself() {
    Story::new().told(&[(1, (1, 11, 1)), (2, (2, 22, 1)), (1, (1, 11, 1))]).says("");
    Story::new().told(&[(1, (2, 22, 1))]).says("n1 was asked, and n2 answered");
    Story::new().told(&[(1, (0, 99, 1))]).says("n1 was asked, and n0 answered");
}

#[test]
fn a_member_keeps_its_id_unless_its_machine_begins_anew() {
    let first = || Story::new().told(&[(1, (1, 11, 1))]);
    let anew = || {
        let mut story = first();
        story.boots(1);
        story.told(&[(1, (1, 12, 1))])
    };
    anew().says("");
    anew().told(&[(1, (1, 11, 1))]).says("n1 signs as b again, which it had given up for c");
    anew().told(&[(1, (1, 13, 1))]).says("n1 signs as d, and did as c in the same life");
    let mut again = first();
    again.boots(1);
    again.told(&[(1, (1, 11, 1)), (1, (1, 13, 1))]).says("n1 signs as d, and did as b in the same life");
    // Asked before, answered late.
    let mut story = first();
    story.call(100, 1);
    story.boots(1);
    let mut story = story.told(&[(1, (1, 12, 1))]);
    story.give(100, (1, 11, 1));
    story.says("");
}

#[test]
fn a_term_never_goes_back_in_one_life() {
    let told = |restarts: bool, id: u64, term: u64| {
        let mut story = Story::new().told(&[(1, (1, 11, 3)), (2, (2, 22, 1))]);
        if restarts {
            story.boots(1);
        }
        story.told(&[(1, (1, id, term))])
    };
    told(false, 11, 3).says("");
    told(true, 11, 4).says("");
    told(false, 11, 2).says("n1 answered in t2, although it had shown t3 before the call");
    told(true, 12, 1).says("");
    // What only the memory of an earlier life had is gone with it, and comes too late to count.
    told(true, 11, 2).told(&[(1, (1, 11, 2))]).says("");
    told(true, 11, 2).told(&[(1, (1, 11, 1))]).says("n1 answered in t1, although it had shown t2 before the call");
    let mut story = Story::new();
    story.call(1, 1);
    story.boots(1);
    story.give(1, (1, 11, 5));
    story.told(&[(1, (1, 11, 4))]).says("");
    // Calls that are under way together bind each other to nothing.
    let mut story = Story::new();
    (1..=2).for_each(|op| story.call(op, 1));
    story.give(1, (1, 11, 5));
    story.give(2, (1, 11, 4));
    story.says("");
}

#[test]
fn a_stream_of_watches_is_signed_in_order() {
    let streamed = |terms: &[u64]| {
        let mut story = Story::new();
        let (watch, stream, member) = (WatchKey(1), StreamId(1), MemberId(1));
        let request = WatchRequest { keys: KeyRange::all(), ..WatchRequest::default() };
        story.see(Observation::WatchOpen { watch, stream, member, request, resumes: None });
        story.see(Observation::WatchCreated { watch, watch_id: 0, header: header((1, 11, 2)) });
        for term in terms {
            story.see(Observation::WatchProgress { stream, watch: None, header: header((1, 11, *term)) });
        }
        story
    };
    streamed(&[2, 3, 3]).says("");
    streamed(&[3, 2]).says("n1 answered in t2");
}
