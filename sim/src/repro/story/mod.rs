//! The story of a failing run in plain sentences, told from its event log.
//!
//! Everything that happens before the failure is a fact with a weight: what the failure's own message names weighs
//! most, then faults, leaders, and the operations of clients. The heaviest facts are told in their order, between one
//! sentence about who takes part and the last ones about which promise broke and what stands against what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::deed;
use super::events::Event;
use super::signature::Signature;
use crate::report::{RunReport, Verdict};

/// So many facts are told between the first sentence and the last ones.
const FACTS_MAX: usize = 10;

/// So many characters of a failure's message are told.
const MESSAGE_MAX: usize = 300;

/// What an oracle or a default expectation of this name watches over.
pub fn promise(what: &str) -> Option<&'static str> {
    PROMISES.iter().find(|(name, _)| *name == what).map(|(_, promise)| *promise)
}

const PROMISES: &[(&str, &str)] = &[
    ("ledger", "nobody builds on anything before it is durable"),
    ("raft", "a term has one leader, logs agree, and what is committed stays"),
    ("leaders_per_term", "a term has at most one leader"),
    ("log_match", "logs agree wherever they share an index and a term"),
    ("committed_never_lost", "what is committed stays"),
    ("linearizable", "clients see one order of operations, and in it every answer is right"),
    ("watch", "a watch sees every event once, in order"),
    ("watch_ok", "a watch sees every event once, in order"),
    ("lease", "a lease ends neither early nor late, and its keys with it"),
    ("lease_ok", "a lease ends neither early nor late, and its keys with it"),
    ("state-hash", "members that have applied the same entries have the same state"),
    ("hash_agree", "members that have applied the same entries have the same state"),
    ("overstays", "who was removed ends by itself"),
    ("availability", "a cluster that nothing troubles answers"),
    ("converged", "once all faults are over, all members come to the same state"),
    ("heals", "once all faults are over, every client gets on"),
];

/// The story of a run, in five to fifteen sentences when there is so much to tell.
pub fn story(events: &[Event], report: &RunReport) -> Vec<String> {
    let (at_ns, message) = match &report.verdict {
        Verdict::Violation { at_ns, message, .. } | Verdict::Panic { at_ns, message, .. } => (*at_ns, message.as_str()),
        Verdict::Pass => (u64::MAX, "nothing is wrong"),
        Verdict::Error { message } => (u64::MAX, message.as_str()),
    };
    let mut teller = Teller { named: named(message), facts: Vec::new() };
    let before: Vec<&Event> = events.iter().filter(|event| event.at_ns <= at_ns).collect();
    teller.clients(&before);
    teller.members(&before);
    teller.script(&before);
    let mut sentences = vec![opening(&before)];
    sentences.extend(teller.chosen());
    sentences.extend(closing(report, at_ns, message));
    sentences
}

/// Things that a message names, such as `n2`, `op17`, `t3`.
fn named(message: &str) -> BTreeSet<String> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let is_name = |word: &&str| {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        digits.len() < word.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    words.filter(is_name).map(str::to_owned).collect()
}

struct Fact {
    n: u64,
    weight: u32,
    text: String,
}

struct Teller {
    named: BTreeSet<String>,
    facts: Vec<Fact>,
}

impl Teller {
    fn tell(&mut self, event: &Event, weight: u32, text: String) {
        let text = format!("At {} {text}.", seconds(event.at_ns));
        self.facts.push(Fact { n: event.n, weight, text });
    }

    fn names(&self, prefix: &str, number: u64) -> bool {
        self.named.contains(&format!("{prefix}{number}"))
    }

    /// Later facts weigh a little more than earlier ones of their kind.
    fn chosen(mut self) -> Vec<String> {
        self.facts.sort_by_key(|fact| (std::cmp::Reverse(fact.weight), std::cmp::Reverse(fact.n)));
        self.facts.truncate(FACTS_MAX);
        self.facts.sort_by_key(|fact| fact.n);
        self.facts.into_iter().map(|fact| fact.text).collect()
    }

    fn clients(&mut self, events: &[&Event]) {
        let returns: BTreeMap<u64, &&Event> =
            events.iter().filter(|event| event.kind == "return").map(|event| (event.number("op"), event)).collect();
        for call in events.iter().filter(|event| event.kind == "call") {
            let (op, node) = (call.number("op"), call.number("node"));
            let ended = match returns.get(&op) {
                None => "no answer comes".to_owned(),
                Some(ended) => {
                    let later = duration(ended.at_ns - call.at_ns);
                    match ended.text("result") {
                        "ok" if ended.text("answer") == "ok" => {
                            format!(
                                "{later} later it is told that this is done, at revision {}",
                                ended.signed("revision")
                            )
                        }
                        "ok" => format!(
                            "{later} later it is told `{}`, at revision {}",
                            ended.text("answer"),
                            ended.signed("revision")
                        ),
                        "refused" => format!("{later} later it is refused: {}", ended.text("answer")),
                        doubt => format!("{later} later it gives up, and nobody told it what came of that ({doubt})"),
                    }
                }
            };
            let weight = match returns.get(&op).map(|ended| ended.text("result")) {
                _ if self.names("op", op) => 10,
                Some("ok") => 4,
                Some(_) => 1,
                None => 3,
            };
            self.tell(call, weight, format!("a client asks n{node} `{}` (op{op}); {ended}", call.text("what")));
        }
        for event in events {
            let watch = event.number("watch");
            let weight = if self.named.iter().any(|name| *name == format!("w{watch}")) { 10 } else { 3 };
            match event.kind.as_str() {
                "watch" if event.number("resumes") > 0 => {
                    let text =
                        format!("watch {watch} goes on at n{} from `{}`", event.number("node"), event.text("what"));
                    self.tell(event, weight, text);
                }
                "watch" => {
                    let text =
                        format!("a client opens watch {watch} at n{}: `{}`", event.number("node"), event.text("what"));
                    self.tell(event, weight, text);
                }
                "watch_canceled" => {
                    let text = format!("watch {watch} is cancelled: {}", event.text("reason"));
                    self.tell(event, weight, text);
                }
                _ => {}
            }
        }
    }

    fn members(&mut self, events: &[&Event]) {
        let mut booted = BTreeSet::new();
        let mut leader = BTreeMap::new();
        for event in events {
            let node = event.number("node");
            let about = if self.names("n", node) { 2 } else { 0 };
            match event.kind.as_str() {
                "booted" if !booted.insert(node) => {
                    let text = format!(
                        "n{node} starts again: term {}, log up to entry {}",
                        event.number("term"),
                        event.number("last")
                    );
                    self.tell(event, 5 + about, text);
                }
                "standing"
                    if event.text("role") == "leader" && leader.insert(event.number("term"), node) != Some(node) =>
                {
                    let term = event.number("term");
                    let known = if self.names("t", term) { 2 } else { 0 };
                    self.tell(event, 6 + about + known, format!("n{node} becomes the leader of term {term}"));
                }
                "standing" if event.text("role") == "candidate" => {
                    self.tell(event, 2 + about, format!("n{node} asks for votes in term {}", event.number("term")));
                }
                "happened" if event.text("what") == "step_down" => {
                    self.tell(event, 3 + about, format!("n{node} no longer leads"));
                }
                "snapshot_installed" => {
                    let text = format!("n{node} takes a snapshot up to entry {}", event.number("index"));
                    self.tell(event, 6 + about, text);
                }
                "lease_expired" => {
                    let text = format!("n{node} takes lease L{} for expired", event.signed("lease"));
                    self.tell(event, 6 + about, text);
                }
                "configured" if event.number("index") > 1 && event.n > 0 => {
                    let text = format!("n{node} has a new configuration from entry {} on", event.number("index"));
                    self.tell(event, 2 + about, text);
                }
                "fatal" | "refused" => {
                    self.tell(event, 9, format!("the server of n{node} gives up: {}", event.text("reason")));
                }
                _ => {}
            }
        }
        // What a member has just heard often explains what it does at once.
        let last = events.iter().rev().find(|event| event.kind == "arrive" && self.names("n", event.number("to")));
        if let Some(event) = last {
            let (from, to, kind) = (event.number("from"), event.number("to"), event.text("kind"));
            self.tell(event, 5, format!("a message of n{from} arrives at n{to} ({kind})"));
        }
    }

    fn script(&mut self, events: &[&Event]) {
        for event in events {
            match event.kind.as_str() {
                "down" => {
                    let how = match event.text("kind") {
                        "power_loss" => "loses power",
                        "clean" => "is asked to stop",
                        _ => "is killed",
                    };
                    // All faults end sooner when calm comes sooner.
                    let node = event.number("node");
                    let later = events.iter().skip_while(|other| other.n <= event.n);
                    let mut back = later.filter(|other| other.kind == "booted" && other.number("node") == node);
                    let down = back.next().map_or(event.number("down_ns"), |back| back.at_ns - event.at_ns);
                    let text = format!("n{node} {how}, for {}", duration(down));
                    self.tell(event, 8, text);
                }
                "acts" if event.text("verb") != "restart" => {
                    let chosen: Vec<(&str, &str)> = (events.iter())
                        .skip_while(|other| other.n <= event.n)
                        .take_while(|other| other.at_ns == event.at_ns)
                        .filter(|other| other.kind == "chosen" && other.text("step") == event.text("step"))
                        .map(|other| (other.text("selector"), other.text("members")))
                        .collect();
                    let text = deed::in_words(event.text("verb"), event.text("arguments"), &chosen);
                    self.tell(event, 8, text);
                }
                _ => {}
            }
        }
    }
}

fn opening(events: &[&Event]) -> String {
    let booted = events.iter().filter(|event| event.kind == "booted");
    let members: BTreeSet<u64> = booted.map(|event| event.number("node")).collect();
    match members.len() {
        0 => "The cluster starts.".to_owned(),
        1 => "A cluster of one member starts.".to_owned(),
        count => format!("A cluster of {count} members starts."),
    }
}

fn closing(report: &RunReport, at_ns: u64, message: &str) -> Vec<String> {
    match &report.verdict {
        Verdict::Pass => return vec!["Every promise holds to the end.".to_owned()],
        Verdict::Error { .. } => return vec![format!("The run's process fails: {message}.")],
        Verdict::Panic { .. } => {
            let signature = Signature::of(&report.verdict);
            let known = signature.map_or_else(String::new, |signature| format!(" ({signature})"));
            let promise = "No member may panic: its own checks found a state that cannot be";
            return vec![format!("At {} a member panics: {message}.", seconds(at_ns)), format!("{promise}{known}.")];
        }
        Verdict::Violation { .. } => {}
    }
    let Verdict::Violation { what, .. } = &report.verdict else { return Vec::new() };
    let plain = plain(message);
    let mut sentences = vec![match promise(what) {
        Some(promise) => format!("At {} a promise is broken: {promise}.", seconds(at_ns)),
        None => format!("At {} an expectation of the scenario is not met: \"{what}\".", seconds(at_ns)),
    }];
    let turn = [", but ", ", although ", "; but "].into_iter().find_map(|turn| plain.split_once(turn));
    match turn {
        Some((one, other)) => {
            sentences.push(format!("Two facts contradict each other. One: {one}."));
            sentences.push(format!("The other: {}.", other.trim_end_matches('.')));
        }
        None => sentences.push(format!("What was seen: {}.", plain.trim_end_matches('.'))),
    }
    sentences
}

/// A violation's message without the oracle, the moment and the list of what to see.
fn plain(message: &str) -> String {
    let body = match message.strip_prefix('[').and_then(|rest| rest.split_once(": ")) {
        Some((_, body)) => body,
        None => message,
    };
    let body = body.rsplit_once(" (see ").map_or(body, |(body, _)| body);
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
    match body.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body,
    }
}

fn seconds(at_ns: u64) -> String {
    format!("{:.3} s", Duration::from_nanos(at_ns).as_secs_f64())
}

fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{:.1} s", nanos as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::ChainSummary;
    use expect_test::expect;

    fn report(verdict: Verdict) -> RunReport {
        RunReport {
            file: "a.toml".into(),
            cell: String::new(),
            seed: 0,
            verdict,
            simulated_ns: 0,
            cpu_ns: 0,
            memory_bytes: 0,
            chain: ChainSummary::default(),
            outcomes: vec![],
            metrics: BTreeMap::new(),
            counters: BTreeMap::new(),
            coverage: Vec::new(),
            window: vec![],
        }
    }

    #[test]
    fn who_leads_what_breaks_and_what_contradicts_is_told_in_order() {
        let log = r#"
            {"n":0,"at_ns":1000000,"event":"booted","node":1,"term":0,"last":0}
            {"n":1,"at_ns":1000000,"event":"booted","node":2,"term":0,"last":0}
            {"n":2,"at_ns":900000000,"event":"standing","node":1,"term":2,"role":"leader","leader":1}
            {"n":3,"at_ns":1000000000,"event":"call","op":1,"client":1,"node":1,"request":"put","what":"put k"}
            {"n":4,"at_ns":1020000000,"event":"return","op":1,"result":"ok","revision":2,"answer":"ok"}
            {"n":5,"at_ns":1100000000,"event":"acts","step":"cut1","verb":"cut","arguments":"link = \"leader -/- others\", for = \"2s\""}
            {"n":6,"at_ns":1100000000,"event":"chosen","step":"cut1","selector":"leader","members":"n1"}
            {"n":7,"at_ns":1200000000,"event":"down","step":"r","node":2,"kind":"power_loss","begin_ns":0,"down_ns":310000000}
            {"n":8,"at_ns":1510000000,"event":"booted","node":2,"term":2,"last":0}
            {"n":9,"at_ns":1600000000,"event":"call","op":2,"client":2,"node":2,"request":"range","what":"get k"}
            {"n":10,"at_ns":9000000000,"event":"call","op":3,"client":2,"node":2,"request":"range","what":"get late"}
        "#;
        let log = log.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let events = crate::repro::events::read(log.as_bytes()).unwrap();
        let verdict = Verdict::Violation {
            what: "ledger".into(),
            at_ns: 1_700_000_000,
            message: "[ledger] 1.700000s#190: n2 accepts entries up to i1, but only i0 are durable (see n2, i1)".into(),
            events: vec![],
        };
        expect![[r#"
            A cluster of 2 members starts.
            At 0.900 s n1 becomes the leader of term 2.
            At 1.000 s a client asks n1 `put k` (op1); 20 ms later it is told that this is done, at revision 2.
            At 1.100 s messages are lost between n1 and others, for 2s.
            At 1.200 s n2 loses power, for 310 ms.
            At 1.510 s n2 starts again: term 2, log up to entry 0.
            At 1.600 s a client asks n2 `get k` (op2); no answer comes.
            At 1.700 s a promise is broken: nobody builds on anything before it is durable.
            Two facts contradict each other. One: n2 accepts entries up to i1.
            The other: only i0 are durable."#]]
        .assert_eq(&story(&events, &report(verdict)).join("\n"));
        assert_eq!(story(&events, &report(Verdict::Pass)).last().unwrap(), "Every promise holds to the end.");
    }
}
