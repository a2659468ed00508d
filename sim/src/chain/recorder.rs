//! Takes the events of a run.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hash::{Chain, Hash128};
use super::marks::Marks;
use super::value::{Decoder, Field};

/// Events between two checkpoints.
pub const CHECKPOINT_EVENTS: u64 = 1024;

/// A window of at most this many events is kept as text.
const WINDOW_EVENTS_MAX: u64 = 64 * CHECKPOINT_EVENTS;

/// So many of the last events are kept, unless somebody says otherwise.
const LAST_EVENTS: usize = 512;

/// A range of event numbers, counted from 0.
pub type Window = Range<u64>;

/// What a recorder keeps besides the hash.
pub struct RecorderOptions {
    /// So many of the last events can be shown.
    pub last: usize,
    /// These events are kept as lines of text.
    pub window: Option<Window>,
    /// Every event goes here as a line of JSON.
    pub trace: Option<Box<dyn Write + Send>>,
}

impl Default for RecorderOptions {
    fn default() -> RecorderOptions {
        RecorderOptions { last: LAST_EVENTS, window: None, trace: None }
    }
}

/// The identity of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSummary {
    /// The hash over all events.
    pub hash: Hash128,
    /// Their number.
    pub events: u64,
    /// The hash after every [`CHECKPOINT_EVENTS`]th event.
    pub checkpoints: Vec<Hash128>,
    /// Shorter ones, closer to each other.
    pub marks: Marks,
}

#[derive(Default)]
struct Slot {
    at: Duration,
    kind: &'static str,
    names: Vec<&'static str>,
    values: Vec<u8>,
}

impl Slot {
    fn line(&self) -> String {
        let mut line = format!("{} {}", moment(self.at), self.kind);
        let mut values = Decoder(&self.values);
        for name in &self.names {
            write!(line, " {name}=").expect("writing to a string cannot fail");
            values.show(&mut line, false);
        }
        line
    }

    fn json(&self, number: u64, detail: &serde_json::Value) -> String {
        let mut line = format!("{{\"n\":{number},\"at_ns\":{},\"event\":\"{}\"", self.at.as_nanos(), self.kind);
        let mut values = Decoder(&self.values);
        for name in &self.names {
            write!(line, ",\"{name}\":").expect("writing to a string cannot fail");
            values.show(&mut line, true);
        }
        if !detail.is_null() {
            write!(line, ",\"detail\":{detail}").expect("writing to a string cannot fail");
        }
        line.push_str("}\n");
        line
    }
}

/// A moment of simulated time as lines show it: seconds with microseconds.
pub fn moment(at: Duration) -> String {
    format!("{:>4}.{:06}s", at.as_secs(), at.subsec_micros())
}

/// The event log of a run.
pub struct Recorder {
    chain: Chain,
    events: u64,
    checkpoints: Vec<Hash128>,
    marks: Marks,
    /// The last events, oldest first; the slots are used again and again.
    ring: VecDeque<Slot>,
    last: usize,
    window: Window,
    window_lines: Vec<String>,
    trace: Option<Box<dyn Write + Send>>,
    trace_error: Option<io::Error>,
}

impl Recorder {
    /// An empty log.
    pub fn new(options: RecorderOptions) -> Recorder {
        let window = options.window.unwrap_or(0..0);
        Recorder {
            chain: Chain::default(),
            events: 0,
            checkpoints: Vec::new(),
            marks: Marks::default(),
            ring: VecDeque::with_capacity(options.last.max(1)),
            last: options.last.max(1),
            window: window.start..window.end.min(window.start.saturating_add(WINDOW_EVENTS_MAX)),
            window_lines: Vec::new(),
            trace: options.trace,
            trace_error: None,
        }
    }

    /// Takes one event. Names of fields are shown; only their values are hashed.
    pub fn event(&mut self, at: Duration, kind: &'static str, fields: &[Field<'_>]) {
        self.event_with(at, kind, fields, || serde_json::Value::Null);
    }

    /// Takes one event of which the trace tells more than is hashed. `detail` is asked for only when there is a trace,
    /// and must follow from what happened: it may neither draw nor change anything.
    pub fn event_with(
        &mut self,
        at: Duration,
        kind: &'static str,
        fields: &[Field<'_>],
        detail: impl FnOnce() -> serde_json::Value,
    ) {
        let mut slot = if self.ring.len() < self.last {
            Slot::default()
        } else {
            self.ring.pop_front().expect("the ring has room for at least one event")
        };
        (slot.at, slot.kind) = (at, kind);
        slot.names.clear();
        slot.values.clear();
        slot.names.extend(fields.iter().map(|(name, _)| *name));
        fields.iter().for_each(|(_, value)| value.encode(&mut slot.values));
        self.chain.word(at.as_nanos() as u64);
        self.chain.bytes(kind.as_bytes());
        self.chain.bytes(&slot.values);

        if self.window.contains(&self.events) {
            self.window_lines.push(slot.line());
        }
        if self.trace.is_some() {
            let line = slot.json(self.events, &detail());
            self.write(&line);
        }
        self.ring.push_back(slot);
        self.events += 1;
        if self.events.is_multiple_of(CHECKPOINT_EVENTS) {
            self.checkpoints.push(self.chain.hash());
        }
        self.marks.take(self.events, || self.chain.hash());
    }

    /// Notes something in the trace only: no event, not hashed, not counted. It stands after the event `n`.
    pub fn aside(&mut self, at: Duration, kind: &'static str, detail: impl FnOnce() -> serde_json::Value) {
        if self.trace.is_some() {
            let (number, at) = (self.events.saturating_sub(1), at.as_nanos());
            let line = format!("{{\"n\":{number},\"at_ns\":{at},\"aside\":\"{kind}\",\"detail\":{}}}\n", detail());
            self.write(&line);
        }
    }

    fn write(&mut self, line: &str) {
        if let Some(trace) = &mut self.trace
            && let Err(error) = trace.write_all(line.as_bytes())
        {
            self.trace_error = Some(error);
            self.trace = None;
        }
    }

    /// Events taken so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// When the last event was.
    pub fn last_at(&self) -> Duration {
        self.ring.back().map_or(Duration::ZERO, |slot| slot.at)
    }

    /// The last lines up to the moment `until` that `wanted` accepts, oldest first.
    pub fn last_lines(&self, count: usize, until: Duration, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let before = self.ring.iter().rev().filter(|slot| slot.at <= until);
        let mut lines: Vec<String> = before.map(Slot::line).filter(|line| wanted(line)).take(count).collect();
        lines.reverse();
        lines
    }

    /// The lines of the window, so far.
    pub fn take_window(&mut self) -> Vec<String> {
        std::mem::take(&mut self.window_lines)
    }

    /// Ends the trace file and says who this run was.
    pub fn finish(&mut self) -> io::Result<ChainSummary> {
        if let Some(mut trace) = self.trace.take() {
            trace.flush()?;
        }
        match self.trace_error.take() {
            Some(error) => Err(error),
            None => Ok(self.summary()),
        }
    }

    /// Who this run was, up to now.
    pub fn summary(&self) -> ChainSummary {
        let (checkpoints, marks) = (self.checkpoints.clone(), self.marks.clone());
        ChainSummary { hash: self.chain.hash(), events: self.events, checkpoints, marks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Value;
    use std::sync::{Arc, Mutex};

    fn record(recorder: &mut Recorder, numbers: Range<u64>) {
        for number in numbers {
            recorder.event(Duration::from_micros(number), "tick", &[("number", number.into())]);
        }
    }

    #[test]
    fn equal_events_give_equal_chains_and_the_first_difference_shows_in_its_checkpoint() {
        let (mut a, mut b) = (Recorder::new(Default::default()), Recorder::new(Default::default()));
        record(&mut a, 0..5000);
        record(&mut b, 0..5000);
        assert_eq!(a.summary(), b.summary());
        assert_eq!(a.summary().checkpoints.len(), 4);

        let mut c = Recorder::new(Default::default());
        record(&mut c, 0..2500);
        c.event(Duration::from_micros(2500), "tick", &[("number", 0u64.into())]);
        record(&mut c, 2501..5000);
        let same: Vec<bool> =
            a.summary().checkpoints.iter().zip(&c.summary().checkpoints).map(|(a, c)| a == c).collect();
        assert_eq!(same, [true, true, false, false]);
    }

    #[test]
    fn kind_time_value_and_type_all_count() {
        let hash = |at: u64, kind, value: Value<'_>| {
            let mut recorder = Recorder::new(Default::default());
            recorder.event(Duration::from_nanos(at), kind, &[("x", value)]);
            recorder.summary().hash
        };
        let all = [
            hash(1, "a", 1u64.into()),
            hash(2, "a", 1u64.into()),
            hash(1, "b", 1u64.into()),
            hash(1, "a", 2u64.into()),
            hash(1, "a", 1i64.into()),
            hash(1, "a", true.into()),
            hash(1, "a", "1".into()),
            hash(1, "a", Value::Bytes(b"1")),
            hash(1, "a", Value::Bytes(&[7; 1000])),
            hash(1, "a", Value::Bytes(&[[7; 999].as_slice(), &[8]].concat())),
        ];
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn lines_and_trace_say_the_same_thing() {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let mut recorder =
            Recorder::new(RecorderOptions { last: 2, window: Some(1..2), trace: Some(Box::new(sink.clone())) });
        record(&mut recorder, 0..1);
        let long = "v".repeat(300);
        recorder.event(
            Duration::from_millis(1500),
            "put",
            &[("node", "n1".into()), ("why", "a \"b\"".into()), ("at", (-3i64).into()), ("v", long.as_str().into())],
        );
        recorder.event(Duration::from_secs(2), "hash", &[("h", 255u128.into()), ("ok", true.into())]);
        let put = format!("   1.500000s put node=n1 why=\"a \\\"b\\\"\" at=-3 v={}…", "v".repeat(240));
        assert_eq!(recorder.take_window(), [put.as_str()]);
        assert_eq!(
            recorder.last_lines(9, Duration::MAX, |_| true),
            [put.as_str(), "   2.000000s hash h=000000000000000000000000000000ff ok=true"]
        );
        assert_eq!(recorder.last_lines(9, Duration::from_millis(1500), |line| line.contains("put")).len(), 1);
        assert_eq!(recorder.finish().unwrap().events, 3);
        let trace = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], serde_json::json!({"n": 0, "at_ns": 0, "event": "tick", "number": 0}));
        assert_eq!(lines[1]["why"], "a \"b\"");
        assert_eq!(lines[2]["at_ns"], 2_000_000_000u64);
    }

    #[test]
    fn what_only_the_trace_tells_is_in_no_hash_and_not_even_asked_for_without_a_trace() {
        let mut plain = Recorder::new(Default::default());
        let nobody = || -> serde_json::Value { panic!("nobody reads this") };
        plain.event_with(Duration::ZERO, "put", &[], nobody);
        plain.aside(Duration::ZERO, "committed", nobody);

        let options = RecorderOptions { trace: Some(Box::new(std::io::sink())), ..Default::default() };
        let mut traced = Recorder::new(options);
        traced.event_with(Duration::ZERO, "put", &[], || serde_json::json!({"text": "put k"}));
        traced.aside(Duration::ZERO, "committed", || serde_json::json!({"index": 3}));
        assert_eq!(plain.summary(), traced.summary());
    }

    #[test]
    fn summaries_survive_json() {
        let mut recorder = Recorder::new(Default::default());
        record(&mut recorder, 0..3000);
        let text = serde_json::to_string(&recorder.summary()).unwrap();
        assert_eq!(serde_json::from_str::<ChainSummary>(&text).unwrap(), recorder.summary());
    }
}
