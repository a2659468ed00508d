//! Small hand-made histories: what is benign stays unflagged, what is not is named.

use evenkeel_check::history::*;
use evenkeel_check::*;

struct Story {
    oracles: Oracles,
    seq: u64,
}

fn put(key: &'static str, value: &'static str) -> Request {
    Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn delete(key: &'static str) -> Request {
    Request::DeleteRange(DeleteRange { keys: KeyRange::one(key), prev_kv: false })
}

fn done() -> Body {
    Body::Put(PutReply::default())
}

fn row(key: &'static str, value: &'static str, created: i64, modified: i64, version: i64) -> KeyValue {
    let (created, modified) = (Revision(created), Revision(modified));
    KeyValue { key: key.into(), value: value.into(), created, modified, version, lease: LeaseId::NONE }
}

fn rows(kvs: Vec<KeyValue>) -> Body {
    Body::Range(RangeReply { count: kvs.len() as i64, kvs, more: false })
}

impl Story {
    fn new() -> Self {
        let config = Config { black_box_only: true, off: vec!["availability".into()], ..Config::default() };
        Story { oracles: Oracles::new(&config).expect("known names"), seq: 0 }
    }

    fn see(&mut self, observation: Observation) {
        self.seq += 1;
        self.oracles.observe(Moment::new(self.seq * 1_000, self.seq), observation);
    }

    fn call(&mut self, op: u64, request: Request) {
        self.see(Observation::Call { op: OpId(op), client: ClientId(op), member: MemberId(1), request });
    }

    fn give(&mut self, op: u64, revision: i64, body: Body) {
        let header = Header { member: MemberId(1), revision: Revision(revision), term: Term(1), ..Header::default() };
        self.see(Observation::Return { op: OpId(op), outcome: Outcome::Ok(header, body) });
    }

    fn both(&mut self, op: u64, request: Request, revision: i64, body: Body) {
        self.call(op, request);
        self.give(op, revision, body);
    }

    fn lose(&mut self, op: u64) {
        self.see(Observation::Return { op: OpId(op), outcome: Outcome::Unknown(Doubt::Timeout) });
    }

    fn refuse(&mut self, op: u64, refusal: Refusal) {
        self.see(Observation::Return { op: OpId(op), outcome: Outcome::DefinitelyNot(refusal) });
    }

    fn finish(mut self) -> String {
        let at = Moment::new(self.seq * 1_000 + 1, self.seq + 1);
        let report = self.oracles.finish(at, &Finish::default());
        report.violations.iter().map(|violation| violation.to_string()).collect()
    }
}

#[track_caller]
fn says(story: Story, text: &str) {
    let found = story.finish();
    assert!(if text.is_empty() { found.is_empty() } else { found.contains(text) }, "{found:?} lacks {text:?}");
}

#[test]
fn an_unknown_write_may_take_effect_much_later_or_never() {
    let mut story = Story::new();
    story.call(1, put("a", "late"));
    story.lose(1);
    story.call(2, put("b", "never"));
    story.lose(2);
    story.both(3, put("c", "x"), 2, done());
    story.both(4, put("c", "y"), 4, done());
    story.both(5, Request::Range(Range::of(KeyRange::one("a"))), 4, rows(vec![row("a", "late", 3, 3, 1)]));
    says(story, "");
}

#[test]
fn an_unknown_write_takes_effect_once_at_most() {
    let mut story = Story::new();
    story.call(1, put("a", "once"));
    story.lose(1);
    let read = || Request::Range(Range::of(KeyRange::one("a")));
    story.both(2, read(), 2, rows(vec![row("a", "once", 2, 2, 1)]));
    story.both(3, read(), 3, rows(vec![row("a", "once", 2, 3, 2)]));
    says(story, "op1 took effect twice");
}

#[test]
fn a_gap_nobody_can_fill_is_named() {
    let mut story = Story::new();
    story.both(1, put("a", "1"), 2, done());
    story.both(2, put("a", "2"), 4, done());
    says(story, "r3 exists, but nothing that was asked for explains it");
}

#[test]
fn two_gaps_need_two_operations() {
    let mut story = Story::new();
    story.both(1, put("a", "1"), 2, done());
    story.call(2, delete("a"));
    story.lose(2);
    story.both(3, put("a", "2"), 4, done());
    story.both(4, put("a", "3"), 6, done());
    says(story, "r5 exists");
}

#[test]
fn the_search_finds_which_unknown_operation_fits() {
    // Three unknown deletes, one gap: only deleting b explains the last read.
    let mut story = Story::new();
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        story.both(n as u64, put(key, ["1", "2", "3"][n]), n as i64 + 2, done());
    }
    for (op, key) in [(10, "a"), (11, "b"), (12, "c")] {
        story.call(op, delete(key));
        story.lose(op);
    }
    story.both(20, put("d", "4"), 6, done());
    let left = vec![row("a", "1", 2, 2, 1), row("c", "3", 4, 4, 1), row("d", "4", 6, 6, 1)];
    story.both(21, Request::Range(Range::of(KeyRange::all())), 6, rows(left));
    says(story, "");
}

#[test]
fn a_search_that_gives_up_is_no_pass() {
    // Of twenty unknown deletes the last ten took effect: far too many ways for a search that begins with the first.
    const KEYS: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let mut story = Story::new();
    for (n, key) in (0..).zip(KEYS) {
        story.both(n, put(key, key), n as i64 + 2, done());
    }
    for (n, key) in (100..).zip(KEYS) {
        story.call(n, delete(key));
        story.lose(n);
    }
    let left: Vec<KeyValue> =
        (2..).zip(&KEYS[..10]).map(|(revision, key)| row(key, key, revision, revision, 1)).collect();
    story.both(200, Request::Range(Range::of(KeyRange::all())), 31, rows(left));
    let at = Moment::new(story.seq * 1_000 + 1, story.seq + 1);
    let report = story.oracles.finish(at, &Finish::default());
    assert!(report.violations.iter().any(|violation| violation.inconclusive), "{:?}", report.violations);
}

#[test]
fn a_stale_read_names_its_witness() {
    let mut story = Story::new();
    story.both(1, put("a", "1"), 2, done());
    story.both(2, put("a", "2"), 3, done());
    story.both(3, Request::Range(Range::of(KeyRange::one("a"))), 2, rows(vec![row("a", "1", 2, 2, 1)]));
    says(story, "op3 saw r2, but op2 had shown r3");
}

#[test]
fn a_serializable_read_may_be_stale_but_must_be_true() {
    let read = |value: &'static str| {
        let mut story = Story::new();
        story.both(1, put("a", "1"), 2, done());
        story.both(2, put("a", "2"), 3, done());
        let request = Range { serializable: true, ..Range::of(KeyRange::one("a")) };
        story.both(3, Request::Range(request), 2, rows(vec![row("a", value, 2, 2, 1)]));
        story
    };
    says(read("1"), "");
    says(read("2"), "row 0 is");
}

#[test]
fn an_event_seen_binds_later_reads() {
    let mut story = Story::new();
    story.call(1, put("a", "1"));
    let request = WatchRequest { keys: KeyRange::all(), start: Revision(1), ..WatchRequest::default() };
    let (watch, stream, member) = (WatchKey(1), StreamId(1), MemberId(2));
    story.see(Observation::WatchOpen { watch, stream, member, request, resumes: None });
    let header = Header { member, revision: Revision(2), term: Term(1), ..Header::default() };
    story.see(Observation::WatchCreated { watch, watch_id: 0, header });
    let events = vec![Event { deleted: false, kv: row("a", "1", 2, 2, 1), prev_kv: None }];
    story.see(Observation::WatchEvents { watch, header, events, fragment: false });
    story.both(2, Request::Range(Range::of(KeyRange::one("a"))), 1, rows(vec![]));
    says(story, "op2 saw r1, but an event had shown r2");
}

#[test]
fn compaction_binds_reads_that_come_after_it() {
    let old = |value: Option<&'static str>, refused: bool| {
        let mut story = Story::new();
        story.both(1, put("a", "1"), 2, done());
        story.both(2, put("a", "2"), 3, done());
        story.call(3, Request::Compact { revision: Revision(3) });
        if !refused {
            story.give(3, 3, Body::Compact);
        }
        story.call(4, Request::Range(Range { revision: Revision(2), ..Range::of(KeyRange::one("a")) }));
        match value {
            Some(value) => story.give(4, 3, rows(vec![row("a", value, 2, 2, 1)])),
            None => story.refuse(4, Refusal::Compacted),
        }
        story
    };
    says(old(None, false), "");
    says(old(None, true), ""); // asked for, not answered: either may be
    says(old(Some("1"), true), "");
    says(old(Some("1"), false), "op4 read at r2, although a compaction to r3 had returned before");
}

#[test]
fn compaction_binds_reads_inside_transactions() {
    let read = |revision| TxnOp::Range(Range { revision: Revision(revision), ..Range::of(KeyRange::one("a")) });
    let old = |txn: Txn, replies: Vec<TxnOpReply>| {
        let mut story = Story::new();
        story.both(1, put("a", "1"), 2, done());
        story.both(2, put("a", "2"), 3, done());
        story.both(3, Request::Compact { revision: Revision(3) }, 3, Body::Compact);
        story.call(4, Request::Txn(txn));
        match replies.is_empty() {
            true => story.refuse(4, Refusal::Compacted),
            false => story.give(4, 3, Body::Txn(TxnReply { succeeded: true, replies })),
        }
        story
    };
    let rows = |kv: KeyValue| TxnOpReply::Range(RangeReply { kvs: vec![kv], count: 1, more: false });
    let (first, second) = (rows(row("a", "1", 2, 2, 1)), rows(row("a", "2", 2, 3, 2)));
    let of = |success: Vec<TxnOp>, failure: Vec<TxnOp>| Txn { success, failure, ..Txn::default() };
    says(old(of(vec![read(2)], vec![]), vec![]), "");
    says(old(of(vec![read(3)], vec![]), vec![second.clone()]), "");
    // The branch that did not run asked for what is gone.
    says(old(of(vec![read(0)], vec![read(2)]), vec![second]), "");
    says(old(of(vec![read(2)], vec![]), vec![first.clone()]), "op4 read at r2, although a compaction to r3");
    let nested = TxnOp::Txn(Box::new(of(vec![read(2)], vec![])));
    let inside = TxnOpReply::Txn(TxnReply { succeeded: true, replies: vec![first] });
    says(old(of(vec![nested], vec![]), vec![inside]), "op4 read at r2");
}

#[test]
fn refusals_need_a_reason() {
    let read = |revision| Request::Range(Range { revision: Revision(revision), ..Range::of(KeyRange::one("a")) });
    let refused = |revision, refusal| {
        let mut story = Story::new();
        story.both(1, put("a", "1"), 2, done());
        story.call(2, read(revision));
        story.refuse(2, refusal);
        story
    };
    says(refused(1, Refusal::Compacted), "nobody asked to compact beyond it");
    says(refused(3, Refusal::FutureRevision), "");
    says(refused(2, Refusal::FutureRevision), "refused as a future revision, but r2 had been seen before");
}

#[test]
fn a_refused_write_whose_value_shows_up_is_caught() {
    let mut story = Story::new();
    story.call(1, put("a", "1"));
    story.refuse(1, Refusal::Overloaded);
    story.both(2, Request::Range(Range::of(KeyRange::one("a"))), 2, rows(vec![row("a", "1", 2, 2, 1)]));
    says(story, "op1 was refused as certainly without effect, yet it made r2");
}

#[test]
fn two_operations_with_one_revision_are_caught() {
    let mut story = Story::new();
    story.call(1, put("a", "1"));
    story.call(2, put("a", "2"));
    story.give(1, 2, done());
    story.give(2, 2, done());
    says(story, "op2 and op1 both made r2");
}

#[test]
fn rows_that_tie_under_the_sort_target_come_in_any_order() {
    let sorted = |rows_in: Vec<KeyValue>| {
        let mut story = Story::new();
        story.both(1, put("a", "1"), 2, done());
        story.both(2, put("b", "2"), 3, done());
        story.both(3, put("b", "3"), 4, done());
        story.both(4, put("c", "4"), 5, done());
        let range = Range { sort_target: SortTarget::Version, limit: 2, ..Range::of(KeyRange::all()) };
        story.both(5, Request::Range(range), 5, Body::Range(RangeReply { kvs: rows_in, more: true, count: 3 }));
        story
    };
    let (a, b, c) = (row("a", "1", 2, 2, 1), row("b", "3", 3, 4, 2), row("c", "4", 5, 5, 1));
    says(sorted(vec![a.clone(), c.clone()]), "");
    says(sorted(vec![c, a.clone()]), "");
    says(sorted(vec![a, b]), "row 1 is");
}

#[test]
fn a_revoke_may_have_found_its_keys_deleted_just_before() {
    let config = Config {
        off: suite::NAMES.iter().filter(|name| **name != "linearizable").map(|name| name.to_string()).collect(),
        ..Config::default()
    };
    let lease = LeaseId(7);
    let mut story = Story { oracles: Oracles::new(&config).expect("known names"), seq: 0 };
    let grant = Request::LeaseGrant { lease, ttl: 60 };
    story.both(1, grant, 1, Body::LeaseGrant { lease, ttl: 60 });
    story.both(2, Request::Put(Put { key: "k".into(), value: "v".into(), lease, ..Put::default() }), 2, done());
    story.call(3, delete("k"));
    story.call(4, Request::LeaseRevoke { lease });
    let writes = Some(vec![model::Write { key: "k".into(), live: None }]);
    let applied = observation::Applied { revision: Revision(3), writes, ..Default::default() };
    story.see(Observation::Applied { member: MemberId(1), applied });
    // Both are true of either order; who answers first proves nothing.
    story.give(4, 3, Body::LeaseRevoke);
    story.give(3, 3, Body::DeleteRange(DeleteReply { deleted: 1, ..Default::default() }));
    says(story, "");
}
