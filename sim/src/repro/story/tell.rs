//! Which events are facts of a story, what they weigh, and in which words they are told.

use std::collections::{BTreeMap, BTreeSet};

use super::duration;
use super::facts::{Fact, Group, Noun};
use super::leads::Asked;
use crate::repro::deed;
use crate::repro::events::Event;

/// Named by the failure's own message.
const NAMED: u32 = 10;
/// Shares a revision with it.
const TOUCHED: u32 = 7;

const REVISIONS: Noun = (", at revision", ", at revisions");
const TERMS: Noun = (", in term", ", in terms");
const ENTRIES: Noun = (", up to entry", ", up to entries");
const NONE: Noun = ("", "");

/// Tells facts, knowing which things a failure names.
pub(super) struct Teller {
    named: BTreeSet<String>,
    /// Whether the failure is that nothing goes on.
    is_stuck: bool,
    facts: Vec<Fact>,
}

impl Teller {
    /// With what is named, such as `n2`, `op17`, `watch1`.
    pub fn new(named: BTreeSet<String>, is_stuck: bool) -> Teller {
        Teller { named, is_stuck, facts: Vec::new() }
    }

    /// All facts of a run.
    pub fn told(mut self, events: &[&Event]) -> Vec<Fact> {
        self.operations(events);
        self.watches(events);
        self.members(events);
        self.asking(events);
        self.script(events);
        self.facts
    }

    fn tell(&mut self, event: &Event, weight: u32, text: String) -> &mut Fact {
        self.facts.push(Fact {
            n: event.n,
            at_ns: (event.at_ns, event.at_ns),
            weight,
            text,
            equal: None,
            alike: None,
            count: 1,
            numbers: None,
            kinds: BTreeMap::new(),
        });
        self.facts.last_mut().expect("one was added")
    }

    fn names(&self, prefix: &str, number: u64) -> bool {
        self.named.contains(&format!("{prefix}{number}"))
    }

    /// Whether a text speaks of a lease that is named.
    fn names_lease_of(&self, text: &str) -> bool {
        let leases = self.named.iter().filter_map(|name| name.strip_prefix("lease"));
        leases.into_iter().any(|id| text.contains(&format!("L{id}")))
    }

    fn operations(&mut self, events: &[&Event]) {
        let returns: BTreeMap<u64, &&Event> =
            events.iter().filter(|event| event.kind == "return").map(|event| (event.number("op"), event)).collect();
        for call in events.iter().filter(|event| event.kind == "call") {
            let (op, what) = (call.number("op"), call.text("what"));
            let ended = Ended::of(call, returns.get(&op).map(|event| **event));
            let answer = returns.get(&op).map_or("", |ended| ended.text("answer"));
            let weight = match ended.kind {
                _ if self.names("op", op) || self.names_lease_of(what) || self.names_lease_of(answer) => NAMED,
                "done" | "answered" => match ended.revision {
                    Some(revision) if ended.kind == "done" && self.names("r", revision.unsigned_abs()) => TOUCHED,
                    _ => 4,
                },
                "not answered" => 3,
                _ => 1,
            };
            let text = format!("a client asks n{} `{what}` (op{op}); {}", call.number("node"), ended.words);
            let fact = self.tell(call, weight, text);
            fact.numbers = ended.revision.map(|revision| (revision, revision));
            if TOUCHED <= weight {
                continue;
            }
            // The key says what an operation is about; sizes and the like do not.
            let about: Vec<&str> = what.split(' ').take(2).collect();
            let about = if about[0] == "txn" { what.to_owned() } else { about.join(" ") };
            let told = match ended.kind {
                "answered" => format!("told `{answer}`"),
                "refused" => format!("refused: {answer}"),
                kind => kind.to_owned(),
            };
            fact.equal = Some(Group {
                key: format!("{about} {told}"),
                many: format!("clients ask `{about}` {{count}} times; each time it is {told}{{numbers}}"),
                noun: REVISIONS,
            });
            fact.kinds = [(verb(what), 1), (ended.kind, 1)]
                .into_iter()
                .filter(|(kind, _)| *kind != "done" && *kind != "answered")
                .collect();
            fact.alike = Some(Group {
                key: "asks".to_owned(),
                many: "clients ask {count} times ({kinds}){numbers}".to_owned(),
                noun: REVISIONS,
            });
        }
    }

    fn watches(&mut self, events: &[&Event]) {
        // A watch that goes on after a break gets a new number: the story is about all of them.
        for event in events.iter().rev().filter(|event| event.kind == "watch") {
            if self.names("watch", event.number("watch")) && event.number("resumes") > 0 {
                self.named.insert(format!("watch{}", event.number("resumes")));
            }
        }
        for event in events {
            let (watch, node, what) = (event.number("watch"), event.number("node"), event.text("what"));
            let named = self.names("watch", watch);
            match event.kind.as_str() {
                "watch" if event.number("resumes") > 0 => {
                    let weight = if named { 6 } else { 2 };
                    let fact = self.tell(event, weight, format!("watch {watch} goes on at n{node} from `{what}`"));
                    let many = "a watch that broke off goes on, {count} times in all".to_owned();
                    let both = Group { key: format!("goes on {named}"), many, noun: NONE };
                    (fact.equal, fact.alike) = (Some(both.clone()), Some(both));
                }
                "watch" => {
                    let weight = if named { NAMED } else { 3 };
                    let fact = self.tell(event, weight, format!("a client opens watch {watch} at n{node}: `{what}`"));
                    let many = "clients open {count} watches".to_owned();
                    fact.alike = Some(Group { key: "opens".to_owned(), many, noun: NONE });
                }
                "watch_events" if named => {
                    let (count, revision) = (event.number("count"), event.signed("revision"));
                    let events = if count == 1 { "an event".to_owned() } else { format!("{count} events") };
                    let fact = self.tell(event, 6, format!("watch {watch} shows {events}, revision {revision}"));
                    fact.numbers = Some((revision, revision));
                    let many = format!("watch {watch} shows events {{count}} times{{numbers}}");
                    fact.equal = Some(Group { key: format!("shows {watch}"), many, noun: REVISIONS });
                }
                "watch_canceled" => {
                    let weight = if named { NAMED } else { 3 };
                    let fact =
                        self.tell(event, weight, format!("watch {watch} is cancelled: {}", event.text("reason")));
                    let many = "the server cancels {count} watches".to_owned();
                    fact.alike = Some(Group { key: "cancelled".to_owned(), many, noun: NONE });
                }
                _ => {}
            }
        }
    }

    fn members(&mut self, events: &[&Event]) {
        let mut booted = BTreeSet::new();
        let mut leader = BTreeMap::new();
        for event in events {
            let (node, term) = (event.number("node"), event.number("term"));
            let about = if self.names("n", node) { 2 } else { 0 };
            let group = |key: String, many: String, noun| Some(Group { key, many, noun });
            match event.kind.as_str() {
                "booted" if !booted.insert(node) => {
                    let text = format!("n{node} starts again: term {term}, log up to entry {}", event.number("last"));
                    let fact = self.tell(event, 5 + about, text);
                    fact.alike = group(format!("boots {node}"), format!("n{node} starts again {{count}} times"), NONE);
                }
                "standing" if event.text("role") == "leader" && leader.insert(term, node) != Some(node) => {
                    let known = if self.names("t", term) { 2 } else { 0 };
                    let fact =
                        self.tell(event, 6 + about + known, format!("n{node} becomes the leader of term {term}"));
                    fact.numbers = Some((term as i64, term as i64));
                    let many = "there is a new leader {count} times{numbers}".to_owned();
                    fact.alike = group("leads".to_owned(), many, TERMS);
                }
                "standing" if event.text("role") == "candidate" => {
                    let fact = self.tell(event, 2 + about, format!("n{node} asks for votes in term {term}"));
                    fact.numbers = Some((term as i64, term as i64));
                    let many = format!("n{node} asks for votes {{count}} times{{numbers}}");
                    fact.equal = group(format!("votes {node}"), many, TERMS);
                    let many = "members ask for votes {count} times{numbers}".to_owned();
                    fact.alike = group("votes".to_owned(), many, TERMS);
                }
                "happened" if event.text("what") == "step_down" => {
                    let fact = self.tell(event, 3 + about, format!("n{node} no longer leads"));
                    let many = "leaders step down {count} times".to_owned();
                    fact.alike = group("steps down".to_owned(), many, NONE);
                }
                "snapshot_installed" => {
                    let index = event.signed("index");
                    let fact = self.tell(event, 6 + about, format!("n{node} takes a snapshot up to entry {index}"));
                    fact.numbers = Some((index, index));
                    let many = format!("n{node} takes {{count}} snapshots{{numbers}}");
                    fact.alike = group(format!("snapshots {node}"), many, ENTRIES);
                }
                "lease_expired" => {
                    let lease = format!("L{}", event.signed("lease"));
                    let named = self.names_lease_of(&lease);
                    let weight = if named { NAMED } else { 3 };
                    let fact = self.tell(event, weight, format!("n{node} takes lease {lease} for expired"));
                    if !named {
                        let many = format!("n{node} takes {{count}} leases for expired");
                        fact.equal = group(format!("expires {node}"), many.clone(), NONE);
                        fact.alike = group(format!("expires {node}"), many, NONE);
                    }
                }
                "configured" if event.number("index") > 1 && event.n > 0 => {
                    let index = event.signed("index");
                    let text = format!("n{node} has a new configuration from entry {index} on");
                    let fact = self.tell(event, 2 + about, text);
                    fact.numbers = Some((index, index));
                    let many = "members take new configurations {count} times{numbers}".to_owned();
                    fact.alike = group("configured".to_owned(), many, ENTRIES);
                }
                "step_refused" => {
                    self.tell(event, 6, format!("`{}` is refused: {}", event.text("step"), event.text("reason")));
                }
                "fatal" | "refused" => {
                    self.tell(event, 9, format!("the server of n{node} gives up: {}", event.text("reason")));
                }
                _ => {}
            }
        }
        // What a member has just heard often explains what it does at once; questions between the servers do not, and
        // nothing does of a member that does nothing.
        let heard = |event: &&&Event| event.kind == "arrive" && self.names("n", event.number("to"));
        let last = events.iter().rev().find(heard).filter(|event| event.text("kind") != "peer.ask" && !self.is_stuck);
        if let Some(event) = last {
            let (from, to, kind) = (event.number("from"), event.number("to"), event.text("kind"));
            self.tell(event, 5, format!("a message of n{from} arrives at n{to} ({kind})"));
        }
    }

    /// Members that ask again and again who would vote for them, and no election comes of it.
    fn asking(&mut self, events: &[&Event]) {
        for asked in Asked::all(events) {
            let goes_on = self.is_stuck && asked.goes_on;
            let fact = self.tell(asked.first, if goes_on { NAMED } else { 5 }, asked.in_words());
            (fact.at_ns.1, fact.count) = (asked.last_ns, asked.times);
            let many = "members ask {count} times who would vote for them".to_owned();
            fact.alike = Some(Group { key: "asks who".to_owned(), many, noun: NONE });
        }
    }

    fn script(&mut self, events: &[&Event]) {
        for (place, event) in events.iter().enumerate() {
            let after = &events[place + 1..];
            match event.kind.as_str() {
                "down" => {
                    let node = event.number("node");
                    let how = match event.text("kind") {
                        "power_loss" => "loses power",
                        "clean" => "is asked to stop",
                        _ => "is killed",
                    };
                    let fact = self.tell(event, 8, format!("n{node} {how}, {}", down_for(event, after)));
                    let many = format!("n{node} {how} {{count}} times");
                    fact.alike = Some(Group { key: format!("{how} {node}"), many, noun: NONE });
                }
                "acts" if event.text("verb") != "restart" => {
                    let chosen: Vec<(&str, &str)> = (after.iter())
                        .take_while(|other| other.at_ns == event.at_ns)
                        .filter(|other| other.kind == "chosen" && other.text("step") == event.text("step"))
                        .map(|other| (other.text("selector"), other.text("members")))
                        .collect();
                    let verb = event.text("verb");
                    let text = deed::in_words(verb, event.text("arguments"), &chosen);
                    let fact = self.tell(event, 8, text);
                    let many = format!("the script does `{verb}` {{count}} times");
                    fact.alike = Some(Group { key: format!("does {verb}"), many, noun: NONE });
                }
                _ => {}
            }
        }
    }
}

/// For how long a member is down: until it starts again, or for as long as the script says. Whatever ends all faults
/// ends this one early.
fn down_for(down: &Event, after: &[&Event]) -> String {
    let (node, meant) = (down.number("node"), down.number("down_ns"));
    let again = after.iter().find(|event| event.kind == "booted" && event.number("node") == node);
    match again.map(|again| again.at_ns - down.at_ns) {
        Some(real) if real < meant => {
            let quiet = after.iter().find(|event| event.kind == "acts" && event.text("verb") == "quiesce");
            let why = match quiet {
                Some(quiet) if quiet.at_ns <= down.at_ns + real => "all faults end then",
                _ => "the script ends then",
            };
            format!("for {} and not for {}: {why}", duration(real), duration(meant))
        }
        _ => format!("for {}", duration(meant)),
    }
}

/// How an operation ended.
struct Ended {
    /// In one word.
    kind: &'static str,
    /// In words.
    words: String,
    /// The revision that its answer told.
    revision: Option<i64>,
}

impl Ended {
    fn of(call: &Event, ended: Option<&Event>) -> Ended {
        let Some(ended) = ended else {
            return Ended { kind: "not answered", words: "no answer has come by then".to_owned(), revision: None };
        };
        let later = duration(ended.at_ns - call.at_ns);
        let (answer, revision) = (ended.text("answer"), ended.signed("revision"));
        match ended.text("result") {
            "ok" if answer == "ok" => {
                let words = format!("{later} later it is told that this is done, at revision {revision}");
                Ended { kind: "done", words, revision: Some(revision) }
            }
            "ok" => {
                let words = format!("{later} later it is told `{answer}`, at revision {revision}");
                Ended { kind: "answered", words, revision: Some(revision) }
            }
            "refused" => {
                Ended { kind: "refused", words: format!("{later} later it is refused: {answer}"), revision: None }
            }
            doubt => {
                let words = format!("{later} later it gives up, and nobody told it what came of that ({doubt})");
                Ended { kind: "in doubt", words, revision: None }
            }
        }
    }
}

/// The kind of an operation.
fn verb(what: &str) -> &'static str {
    let known =
        ["put", "get", "range", "delete", "txn", "cas", "compact", "grant", "keep_alive", "revoke", "time_to_live"];
    known.into_iter().find(|verb| what.split(' ').next() == Some(verb)).unwrap_or("other")
}
