//! Each broken watch promise is caught, and named.

use evenkeel_check::history::*;
use evenkeel_check::*;

use crate::world::{History, RICH, Rng, Shape, check, config, generate};

const SEEDS: u64 = 12;

/// The watch's events in the history, by place.
fn batches(history: &History, watch: u64) -> Vec<usize> {
    let of = |observation: &Observation| matches!(observation, Observation::WatchEvents { watch: key, fragment: false, .. } if *key == WatchKey(watch));
    (0..history.events.len()).filter(|n| of(&history.events[*n].1)).collect()
}

fn events_of(observation: &mut Observation) -> (&mut Header, &mut Vec<Event>) {
    match observation {
        Observation::WatchEvents { header, events, .. } => (header, events),
        other => panic!("{other:?}"),
    }
}

/// `change` gets the history and the place of some batch of watch `n`.
fn caught(name: &str, watch: u64, change: impl Fn(&mut History, usize) -> bool) {
    let mut happened = 0;
    for white_box in [false, true] {
        for seed in 0..SEEDS {
            let shape = Shape { white_box, unknown_percent: 0, ..RICH };
            let mut history = generate(seed, shape);
            let places = batches(&history, watch);
            let start = Rng(seed).below(places.len() as u64 / 2) as usize;
            if !places[start..].iter().any(|place| change(&mut history, *place)) {
                continue;
            }
            happened += 1;
            let violations = check(&history, &config(shape));
            // Without the members' word a wrong event may just as well look like a wrong store.
            let watch = violations.iter().any(|violation| violation.oracle == "watch");
            assert!(watch || (!white_box && !violations.is_empty()), "{name}, seed {seed}, white box {white_box}");
        }
    }
    assert!(SEEDS < happened, "{name}: happened in {happened} histories only");
}

#[test]
fn a_missing_event_is_caught() {
    caught("gap inside a response", 2, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events.len() > 1 && events.remove(0).kv.modified.0 > 0
    });
    caught("gap between responses", 2, |history, place| {
        history.events.remove(place);
        true
    });
}

#[test]
fn a_repeated_event_is_caught() {
    caught("response twice", 2, |history, place| {
        let again = history.events[place].clone();
        history.events.insert(place + 1, again);
        true
    });
    caught("event twice", 0, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        let again = events[0].clone();
        events.insert(0, again);
        true
    });
}

#[test]
fn events_out_of_order_are_caught() {
    caught("reorder", 2, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events.len() > 1 && events[0].kv.modified < events[1].kv.modified && {
            events.swap(0, 1);
            true
        }
    });
}

#[test]
fn a_revision_split_over_two_responses_is_caught() {
    caught("split", 0, |history, place| {
        let (at, mut rest) = history.events[place].clone();
        let (_, events) = events_of(&mut history.events[place].1);
        let Some(n) = (1..events.len()).find(|n| events[*n].kv.modified == events[n - 1].kv.modified) else {
            return false;
        };
        *events_of(&mut rest).1 = events.split_off(n);
        history.events.insert(place + 1, (at, rest));
        true
    });
}

#[test]
fn a_wrong_event_is_caught() {
    caught("version", 0, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events[0].kv.version += 1;
        true
    });
    caught("kind", 0, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events[0].deleted ^= true;
        true
    });
    caught("filtered", 2, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events[0].deleted = true;
        true
    });
}

#[test]
fn a_wrong_previous_value_is_caught() {
    caught("prev_kv wrong", 0, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events.iter_mut().find_map(|event| event.prev_kv.as_mut()).map(|kv| kv.version += 1).is_some()
    });
    caught("prev_kv of a new key", 0, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        let new = events.iter_mut().find(|event| !event.deleted && event.kv.version == 1);
        new.map(|event| event.prev_kv = Some(event.kv.clone())).is_some()
    });
    caught("prev_kv not asked for", 1, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        events[0].prev_kv = Some(events[0].kv.clone());
        true
    });
}

#[test]
fn a_bookmark_too_early_is_caught() {
    caught("bookmark", 2, |history, place| {
        let (_, events) = events_of(&mut history.events[place].1);
        let revision = events.last().expect("events").kv.modified;
        let header = Header { member: MemberId(2), revision, term: Term(1), ..Header::default() };
        let at = history.events[place].0;
        let progress = Observation::WatchProgress { stream: StreamId(1), watch: Some(WatchKey(2)), header };
        history.events.insert(place, (at, progress));
        true
    });
}

#[test]
fn a_header_behind_its_events_is_caught() {
    caught("header", 2, |history, place| {
        let (header, events) = events_of(&mut history.events[place].1);
        header.revision = events.last().expect("events").kv.modified.prev();
        true
    });
    caught("another member", 2, |history, place| {
        events_of(&mut history.events[place].1).0.member = MemberId(9);
        true
    });
}

#[test]
fn a_watch_that_falls_silent_is_caught() {
    caught("silence", 2, |history, place| {
        let mut n = 0;
        history.events.retain(|(_, observation)| {
            n += 1;
            let mine = matches!(
                observation,
                Observation::WatchEvents { watch: WatchKey(2), .. }
                    | Observation::WatchProgress { watch: Some(WatchKey(2)), .. }
            );
            !mine || n <= place
        });
        true
    });
}

/// Hand-made: one put per revision, then what the test says.
struct Story {
    oracles: Oracles,
    seq: u64,
}

impl Story {
    fn new(puts: u64) -> Self {
        let config = Config { black_box_only: true, watch_progress_nanos: NANOS_PER_SECOND, ..Config::default() };
        let mut story = Story { oracles: Oracles::new(&config).expect("no names"), seq: 0 };
        for n in 0..puts {
            let request = Request::Put(Put { key: "k".into(), value: format!("v{n}").into(), ..Put::default() });
            story.call(n, request, n as i64 + 2, Body::Put(PutReply::default()));
        }
        story
    }

    fn see(&mut self, observation: Observation) {
        self.seq += 1;
        self.oracles.observe(Moment::new(self.seq * 1_000, self.seq), observation);
    }

    fn call(&mut self, op: u64, request: Request, revision: i64, body: Body) {
        let (op, member) = (OpId(op), MemberId(1));
        self.see(Observation::Call { op, client: ClientId(0), member, request });
        let header = Header { member, revision: Revision(revision), term: Term(1), ..Header::default() };
        self.see(Observation::Return { op, outcome: Outcome::Ok(header, body) });
    }

    fn open(&mut self, watch: u64, start: i64, resumes: Option<u64>) {
        let request = WatchRequest {
            keys: KeyRange::all(),
            start: Revision(start),
            progress_notify: true,
            ..WatchRequest::default()
        };
        let (stream, member) = (StreamId(1), MemberId(1));
        let resumes = resumes.map(WatchKey);
        self.see(Observation::WatchOpen { watch: WatchKey(watch), stream, member, request, resumes });
    }

    fn created(&mut self, watch: u64, watch_id: i64, revision: i64) {
        let header = Header { member: MemberId(1), revision: Revision(revision), term: Term(1), ..Header::default() };
        self.see(Observation::WatchCreated { watch: WatchKey(watch), watch_id, header });
    }

    /// The put at `revision`, if the watch wants it.
    fn events(&mut self, watch: u64, start: i64, revision: i64) {
        if revision < start {
            return;
        }
        let header = Header { member: MemberId(1), revision: Revision(revision), term: Term(1), ..Header::default() };
        let (created, modified, version) = (Revision(2), Revision(revision), revision - 1);
        let value = format!("v{}", revision - 2).into();
        let kv = KeyValue { key: "k".into(), value, created, modified, version, lease: LeaseId::NONE };
        let events = vec![Event { deleted: false, kv, prev_kv: None }];
        self.see(Observation::WatchEvents { watch: WatchKey(watch), header, events, fragment: false });
    }

    fn progress(&mut self, watch: Option<u64>, revision: i64) {
        let header = Header { member: MemberId(1), revision: Revision(revision), term: Term(1), ..Header::default() };
        self.see(Observation::WatchProgress { stream: StreamId(1), watch: watch.map(WatchKey), header });
    }

    fn canceled(&mut self, watch: u64, compact: i64) {
        let (watch, compact_revision) = (WatchKey(watch), Revision(compact));
        self.see(Observation::WatchCanceled { watch, compact_revision, reason: String::new() });
    }

    fn compact(&mut self, revision: i64) {
        self.call(99, Request::Compact { revision: Revision(revision) }, 6, Body::Compact);
    }

    #[track_caller]
    fn says(&mut self, text: &str) {
        let found = self.oracles.violations().first().map(|violation| violation.to_string());
        assert!(found.as_ref().is_some_and(|found| found.contains(text)), "{found:?}");
    }

    #[track_caller]
    fn is_fine(&self) {
        assert_eq!(self.oracles.violations(), []);
    }
}

#[test]
fn a_bookmark_below_the_start_is_caught() {
    let mut story = Story::new(5);
    story.open(1, 50, None);
    story.created(1, 0, 6);
    story.is_fine();
    story.progress(Some(1), 6);
    story.says("got bookmark r6 but is already past r49");
}

/// Bookmarks that were asked for come twice a second; those that must come by themselves after `own` seconds, if at all.
#[test]
fn a_quiet_watch_that_is_told_only_when_it_asks_is_caught() {
    for (start, calm, own, found) in
        [(7, true, None, true), (7, true, Some(4), false), (7, false, None, false), (8, true, None, false)]
    {
        let mut story = Story::new(6);
        story.open(1, start, None);
        story.created(1, 0, 7);
        story.events(1, start, 7);
        if !calm {
            story.see(Observation::Disturbed);
        }
        for second in 1..8 {
            story.seq = second * 1_000_000;
            if start <= 7 {
                story.progress(None, 7);
            }
            if own == Some(second) {
                story.progress(Some(1), 7);
            }
        }
        match found {
            true => story.says("got no bookmark since"),
            false => story.is_fine(),
        }
    }
}

/// A bookmark that stands behind a long history of the same stream is as late as that; one behind nothing is not excused.
#[test]
fn a_bookmark_behind_history_that_is_still_to_come_is_not_yet_late() {
    let (quiet, told, history) = (1, 2, 3);
    for behind in [true, false] {
        let mut story = Story::new(6);
        for (watch, watch_id) in [(quiet, 0), (told, 1)] {
            story.open(watch, 8, None);
            story.created(watch, watch_id, 7);
            story.progress(Some(watch), 7);
        }
        if behind {
            story.open(history, 2, None);
            story.created(history, 2, 7);
        }
        for second in 1..7 {
            story.seq = second * 1_000_000;
            story.progress(Some(told), 7);
            if behind && second < 4 {
                story.events(history, 2, second as i64 + 1);
            }
        }
        match behind {
            true => story.is_fine(),
            false => story.says("got no bookmark since"),
        }
    }
}

#[test]
fn a_watch_that_answers_pings_and_shows_nothing_is_caught() {
    let mut story = Story::new(5);
    story.see(Observation::Calm);
    story.open(1, 2, None);
    story.created(1, 0, 6);
    for second in 1..5 {
        story.seq = second * 1_000_000;
        story.progress(None, 1);
    }
    let end = Moment::new(5 * NANOS_PER_SECOND, 5_000_000);
    story.oracles.finish(end, &evenkeel_check::suite::Finish::default());
    story.says("never got");
}

#[test]
fn a_bookmark_for_the_stream_counts_for_every_watch_on_it() {
    let mut story = Story::new(5);
    story.open(1, 2, None);
    story.created(1, 0, 6);
    story.progress(None, 6);
    story.says("got bookmark r6 without");
}

#[test]
fn a_cancel_as_compacted_needs_a_compaction_past_the_next_revision() {
    let mut story = Story::new(5);
    story.compact(4);
    story.open(1, 3, None);
    story.created(1, 0, 6);
    story.canceled(1, 4);
    story.is_fine();
    story.open(2, 4, None);
    story.created(2, 0, 6);
    story.canceled(2, 4);
    story.says("it wanted r4 next");
}

#[test]
fn a_cancel_as_compacted_that_nobody_asked_for_is_caught() {
    let mut story = Story::new(5);
    story.open(1, 2, None);
    story.created(1, 0, 6);
    story.canceled(1, 5);
    story.says("which nobody asked for");
}

#[test]
fn a_missing_cancel_is_caught() {
    let mut story = Story::new(5);
    story.see(Observation::Calm);
    story.compact(4);
    story.open(1, 2, None);
    story.created(1, 0, 6);
    story.is_fine();
    let end = Moment::new(60 * NANOS_PER_SECOND, 1_000);
    let report = story.oracles.finish(end, &Finish::default());
    let text = report.violations[0].to_string();
    assert!(text.contains("was not cancelled either"), "{text}");
}

#[test]
fn a_chain_of_watches_joins_without_gap() {
    let mut story = Story::new(5);
    story.open(1, 7, None);
    story.created(1, 0, 6);
    story.see(Observation::WatchClosed { watch: WatchKey(1) });
    story.open(2, 7, Some(1));
    story.is_fine();
    story.see(Observation::WatchClosed { watch: WatchKey(2) });
    story.open(3, 8, Some(2));
    story.says("what it resumes had got up to r7");
}

#[test]
fn a_watch_id_used_twice_on_a_stream_is_caught() {
    let mut story = Story::new(1);
    story.open(1, 0, None);
    story.created(1, 0, 2);
    story.open(2, 0, None);
    story.created(2, 0, 2);
    story.says("got watch_id 0");
}

#[test]
fn an_uncreated_or_ended_watch_must_be_silent() {
    let mut story = Story::new(1);
    story.open(1, 0, None);
    story.progress(Some(1), 2);
    story.says("before it was created");
    let mut story = Story::new(1);
    story.open(1, 0, None);
    story.created(1, 0, 2);
    story.see(Observation::WatchCancel { watch: WatchKey(1) });
    story.canceled(1, 0);
    story.is_fine();
    story.progress(Some(1), 2);
    story.says("is over, but goes on");
}

#[test]
fn who_asks_for_the_end_of_a_watch_must_be_told_of_it() {
    let ended = |told: bool, seconds: u64| {
        let mut story = Story::new(1);
        story.open(1, 0, None);
        story.created(1, 0, 2);
        story.see(Observation::WatchCancel { watch: WatchKey(1) });
        if told {
            story.canceled(1, 0);
            story.open(2, 0, None);
            story.created(2, 1, 2);
            story.progress(Some(2), 2);
        }
        let at = Moment::new(seconds * NANOS_PER_SECOND, 1_000);
        let report = story.oracles.finish(at, &Finish::default());
        report.violations.iter().any(|violation| violation.message.contains("was not cancelled, though"))
    };
    assert!(ended(false, 3));
    assert!(!ended(false, 1));
    assert!(!ended(true, 3));
}

/// More of them than are remembered: that one may be told of again that its stream has ended, and of nothing else.
#[test]
fn a_watch_that_ended_long_ago_stays_over() {
    let mut story = Story::new(1);
    for watch in 1..20_000 {
        story.open(watch, 3, None);
        story.created(watch, 0, 2);
        story.see(Observation::WatchClosed { watch: WatchKey(watch) });
    }
    story.see(Observation::WatchClosed { watch: WatchKey(1) });
    story.is_fine();
    story.progress(Some(1), 2);
    story.says("watch1 is over for long");
}

#[test]
fn a_message_for_a_watch_that_nobody_opened_is_caught() {
    let mut story = Story::new(1);
    story.open(1, 0, None);
    story.created(1, 0, 2);
    story.is_fine();
    let (stream, member) = (StreamId(1), MemberId(1));
    story.see(Observation::WatchStray { stream, member, watch_id: 7, what: "events" });
    story.says("n1 sent events for watch_id 7 on stream1, which has no such watch");
}

#[test]
fn a_cancel_that_nobody_asked_for_needs_a_reason_of_the_request() {
    const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
    for (keys, start, reason, found) in [
        (KeyRange::span("b", "a"), 0, "mvcc: watcher range is empty", ""),
        (KeyRange::all(), 0, "mvcc: watcher range is empty", "is none"),
        (KeyRange::all(), 0, "evenkeel: too many watchers", ""),
        (KeyRange::all(), 0, COMPACTED, "is none"),
        (KeyRange::all(), -1, COMPACTED, ""),
        (KeyRange::all(), 0, "something happened", "\"something happened\" is none"),
        (KeyRange::all(), 0, "", "no reason is given"),
    ] {
        let mut story = Story::new(1);
        let (watch, stream, member) = (WatchKey(1), StreamId(1), MemberId(1));
        let request = WatchRequest { keys, start: Revision(start), ..WatchRequest::default() };
        story.see(Observation::WatchOpen { watch, stream, member, request, resumes: None });
        let (compact_revision, reason) = (Revision(0), reason.to_owned());
        story.see(Observation::WatchCanceled { watch, compact_revision, reason });
        if found.is_empty() { story.is_fine() } else { story.says(found) }
    }
}

#[test]
fn fragments_join_to_one_response() {
    let fragments = |parts: &[(i64, i64, bool)]| {
        let mut story = Story::new(4);
        let (watch, stream, member) = (WatchKey(1), StreamId(1), MemberId(1));
        let request = WatchRequest { keys: KeyRange::all(), start: Revision(2), fragment: true, ..Default::default() };
        story.see(Observation::WatchOpen { watch, stream, member, request, resumes: None });
        story.created(1, 0, 5);
        for (revision, head, fragment) in parts {
            let header = Header { member, revision: Revision(*head), term: Term(1), ..Header::default() };
            let (created, modified, version) = (Revision(2), Revision(*revision), revision - 1);
            let value = format!("v{}", revision - 2).into();
            let kv = KeyValue { key: "k".into(), value, created, modified, version, lease: LeaseId::NONE };
            let events = vec![Event { deleted: false, kv, prev_kv: None }];
            story.see(Observation::WatchEvents { watch, header, events, fragment: *fragment });
        }
        story
    };
    fragments(&[(2, 5, true), (3, 5, true), (4, 5, false)]).is_fine();
    fragments(&[(2, 5, true), (4, 5, false)]).says("at r3 was next");
    fragments(&[(2, 4, true), (3, 5, false)]).says("got parts of one response at r4 and at r5");
}

#[test]
fn who_ends_a_run_can_wait_until_watches_are_judged() {
    let mut story = Story::new(5);
    assert_eq!(story.oracles.judged_from(u64::MAX), None);
    story.see(Observation::Calm);
    story.open(1, 2, None);
    story.created(1, 0, 6);
    let at = story.oracles.judged_from(u64::MAX).expect("a watch is open");
    let lacks =
        |nanos: u64| !story.oracles.clone().finish(Moment::new(nanos, 1_000), &Finish::default()).violations.is_empty();
    assert!(!lacks(at - 1_000_000) && lacks(at));
}
