//! The story of a failing run in plain sentences, told from its event log.
//!
//! Everything that happens before the failure is a fact with a weight (`tell`): what the failure's own message names
//! weighs most, then faults, leaders, and the operations of clients. Equal facts become one, and the heaviest are told
//! in their order (`facts`), between one sentence about who takes part and the last ones about which promise broke and
//! what stands against what.

mod facts;
mod leads;
mod tell;

use std::collections::BTreeSet;
use std::time::Duration;

use self::leads::Leads;
use self::tell::Teller;
use super::events::Event;
use super::signature::Signature;
use crate::report::{RunReport, Verdict};

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

/// Promises that are broken by what does not happen: then it matters who leads, and that nobody does.
const STUCK: [&str; 2] = ["availability", "heals"];

/// The story of a run, in five to fifteen sentences when there is so much to tell.
pub fn story(events: &[Event], report: &RunReport) -> Vec<String> {
    let (at_ns, message) = match &report.verdict {
        Verdict::Violation { at_ns, message, .. } | Verdict::Panic { at_ns, message, .. } => (*at_ns, message.as_str()),
        Verdict::Pass => (u64::MAX, "nothing is wrong"),
        Verdict::Error { message } => (u64::MAX, message.as_str()),
    };
    let before: Vec<&Event> = events.iter().filter(|event| event.at_ns <= at_ns).collect();
    let is_stuck = matches!(&report.verdict, Verdict::Violation { what, .. } if STUCK.contains(&what.as_str()));
    let facts = Teller::new(named(message), is_stuck).told(&before);
    let mut sentences = vec![opening(&before)];
    sentences.extend(facts::chosen(facts, report.verdict.passed()));
    sentences.extend(is_stuck.then(|| Leads::after(&before).in_words()));
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
        Verdict::Panic { .. } if message.contains("(sim/") => {
            return vec![format!("At {} the simulator itself panics, not a member: {message}.", seconds(at_ns))];
        }
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

/// A length of time in round words.
pub(super) fn duration(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{} µs", nanos / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{:.1} s", nanos as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

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
            At 1.600 s a client asks n2 `get k` (op2); no answer has come by then.
            At 1.700 s a promise is broken: nobody builds on anything before it is durable.
            Two facts contradict each other. One: n2 accepts entries up to i1.
            The other: only i0 are durable."#]]
        .assert_eq(&story(&events, &report(verdict)).join("\n"));
        assert_eq!(story(&events, &report(Verdict::Pass)).last().unwrap(), "Every promise holds to the end.");
    }

    fn log(text: &str) -> Vec<Event> {
        let lines = text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
        crate::repro::events::read(lines.as_bytes()).unwrap()
    }

    fn broken(what: &str, at_ns: u64, message: &str) -> RunReport {
        report(Verdict::Violation { what: what.into(), at_ns, message: message.into(), events: vec![] })
    }

    #[test]
    fn the_watch_that_a_failure_names_is_told_and_equal_operations_are_one_sentence() {
        let mut text = String::from(
            r#"{"n":0,"at_ns":1000000,"event":"booted","node":1,"term":0,"last":0}
            {"n":1,"at_ns":200000000,"event":"watch","watch":1,"node":1,"what":"watch a rev=1","resumes":0}
            {"n":2,"at_ns":300000000,"event":"watch","watch":2,"node":1,"what":"watch a rev=1","resumes":1}
            "#,
        );
        for op in 1..=12_u64 {
            let (n, at, revision) = (1 + 2 * op, 400_000_000 + op * 10_000_000, op + 20);
            text += &format!(
                r#"{{"n":{n},"at_ns":{at},"event":"call","op":{op},"client":1,"node":1,"what":"put a size={op}"}}
                {{"n":{},"at_ns":{},"event":"return","op":{op},"result":"ok","revision":{revision},"answer":"ok"}}
                "#,
                n + 1,
                at + 5_000_000
            );
        }
        text += r#"{"n":40,"at_ns":700000000,"event":"watch_events","watch":2,"count":1,"revision":3}"#;
        let report =
            broken("watch", 700_000_000, "[watch] 0.7s#40: watch2 got b\"a\" at r3 where b\"a\" at r2 was next");
        expect![[r#"
            A cluster of one member starts.
            At 0.200 s a client opens watch 1 at n1: `watch a rev=1`.
            At 0.300 s watch 2 goes on at n1 from `watch a rev=1`.
            From 0.410 s to 0.520 s clients ask `put a` 12 times; each time it is done, at revisions 21 to 32.
            At 0.700 s watch 2 shows an event, revision 3.
            At 0.700 s a promise is broken: a watch sees every event once, in order.
            What was seen: watch2 got b"a" at r3 where b"a" at r2 was next."#]]
        .assert_eq(&story(&log(&text), &report).join("\n"));
    }

    #[test]
    fn a_member_is_down_for_as_long_as_it_really_is() {
        let text = r#"{"n":0,"at_ns":1000000,"event":"booted","node":1,"term":0,"last":0}
            {"n":1,"at_ns":500000000,"event":"down","step":"r","node":1,"kind":"kill","begin_ns":0,"down_ns":1000000000}
            {"n":2,"at_ns":626000000,"event":"booted","node":1,"term":1,"last":6}"#;
        let told = story(&log(text), &broken("raft", 900_000_000, "n1 is wrong"));
        assert_eq!(told[1], "At 0.500 s n1 is killed, for 126 ms and not for 1.0 s: the script ends then.");
        let quiet = text.replacen(
            r#"{"n":2,"#,
            "{\"n\":2,\"at_ns\":620000000,\"event\":\"acts\",\"step\":\"q\",\"verb\":\"quiesce\",\"arguments\":\"\"}\n{\"n\":3,",
            1,
        );
        let told = story(&log(&quiet), &broken("raft", 900_000_000, "n1 is wrong"));
        assert_eq!(told[1], "At 0.500 s n1 is killed, for 126 ms and not for 1.0 s: all faults end then.");
        let told = story(&log(text), &broken("raft", 600_000_000, "n1 is wrong"));
        assert_eq!(told[1], "At 0.500 s n1 is killed, for 1.0 s.");
    }

    #[test]
    fn a_cluster_that_does_not_get_on_is_told_with_its_leader_or_that_it_has_none() {
        let mut text = String::from(
            r#"{"n":0,"at_ns":1000000,"event":"booted","node":1,"term":0,"last":0}
            {"n":1,"at_ns":1000000,"event":"booted","node":2,"term":0,"last":0}
            {"n":2,"at_ns":500000000,"event":"standing","node":1,"term":0,"role":"pre-candidate","leader":0}
            "#,
        );
        for (place, from) in [1, 2, 1, 2].into_iter().enumerate() {
            let (n, at) = (3 + 2 * place, 500_000_000 + place * 700_000_000);
            text += &format!(
                r#"{{"n":{n},"at_ns":{at},"event":"send","from":{from},"to":{},"kind":"raft.vote","detail":{{"say":"pre-vote"}}}}
                {{"n":{},"at_ns":{at},"event":"arrive","from":1,"to":2,"kind":"peer.ask"}}
                "#,
                3 - from,
                n + 1
            );
        }
        let stuck = |text: &str| {
            story(&log(text), &broken("availability", 9_000_000_000, "with all faults healed, n2 does not answer"))
        };
        expect![[r#"
            A cluster of 2 members starts.
            From 0.500 s to 2.600 s n1 and n2 ask 4 times who would vote for them; nobody leads.
            Nobody has ever led.
            At 9.000 s a promise is broken: a cluster that nothing troubles answers.
            What was seen: with all faults healed, n2 does not answer."#]]
        .assert_eq(&stuck(&text).join("\n"));
        text += r#"{"n":20,"at_ns":4000000000,"event":"standing","node":2,"term":3,"role":"leader","leader":2}"#;
        assert!(stuck(&text).contains(&"Now n2 leads, in term 3, since 4.000 s.".to_owned()), "{:?}", stuck(&text));
        text += "\n";
        text += r#"{"n":21,"at_ns":5000000000,"event":"standing","node":2,"term":3,"role":"follower","leader":0}"#;
        let told = "Nobody leads now: the last leader was n2, in term 3, until 5.000 s.";
        assert!(stuck(&text).contains(&told.to_owned()), "{:?}", stuck(&text));
    }

    #[test]
    fn a_long_run_in_which_nothing_is_wrong_is_told_in_sums() {
        let mut text = String::from(
            r#"{"n":0,"at_ns":1000000,"event":"booted","node":1,"term":0,"last":0}
            {"n":1,"at_ns":200000000,"event":"standing","node":1,"term":1,"role":"leader","leader":1}
            {"n":99,"at_ns":9000000000,"event":"acts","step":"cut1","verb":"cut","arguments":"link = \"n1 -/- n2\""}
            "#,
        );
        for op in 1..=60_u64 {
            let (n, at) = (10 + 3 * op, op * 300_000_000);
            let what = ["put", "get", "delete"][(op % 3) as usize];
            text += &format!(
                r#"{{"n":{n},"at_ns":{at},"event":"call","op":{op},"client":1,"node":1,"what":"{what} k/{op}"}}
                {{"n":{},"at_ns":{at},"event":"return","op":{op},"result":"ok","revision":{op},"answer":"ok"}}
                {{"n":{},"at_ns":{at},"event":"lease_expired","node":1,"lease":{op}}}
                "#,
                n + 1,
                n + 2
            );
        }
        expect![[r#"
            A cluster of one member starts.
            At 0.200 s n1 becomes the leader of term 1.
            From 0.300 s to 18.000 s clients ask 60 times (20 delete, 20 get, 20 put), at revisions 1 to 60.
            From 0.300 s to 18.000 s n1 takes 60 leases for expired.
            At 9.000 s messages are lost between n1 and n2.
            Every promise holds to the end."#]]
        .assert_eq(&story(&log(&text), &report(Verdict::Pass)).join("\n"));
    }
}
