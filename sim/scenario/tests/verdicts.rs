//! What monitors say while a run goes on, and what a campaign says about many runs.

mod common;

use common::{Run, expectation, time};
use evenkeel_scenario::expr::{Event, ExprNode};
use evenkeel_scenario::{Cell, Decisions, Monitor, Outcome, RunSummary, Scenario, Value, Violation, Watch, judge};
use expect_test::{Expect, expect};
use std::collections::BTreeMap;

/// A run of which each line says what changes: `12s log_match=false`, `13s elected`; looked at after each line.
fn check(keys: &str, story: &[&str], expected: Expect) {
    let mut monitor = Monitor::new(&expectation(keys));
    let mut run = Run::at("0s");
    run.answer("log_match", Value::Bool(true))
        .answer("converged", Value::Bool(false))
        .answer("term(n1)", Value::Number(1.0));
    let mut said = Vec::new();
    for line in story {
        play(&mut run, line);
        said.extend(monitor.observe(&run).unwrap().map(|violation| violation.to_string()));
    }
    let outcome = match monitor.finish(&run).unwrap() {
        Outcome::Violated(Violation { at, message, .. }) => format!("violated at {at}: {message}"),
        other => format!("{other:?}"),
    };
    assert!(said.len() <= 1, "a violation is said once: {said:?}");
    expected.assert_eq(&outcome);
}

fn play(run: &mut Run, line: &str) {
    let mut words = line.split(' ');
    let at = words.next().unwrap();
    run.now = time(at);
    for word in words {
        match word.split_once('=') {
            Some((probe, value)) => {
                let value = value.parse::<f64>().map_or_else(|_| Value::Bool(value == "true"), Value::Number);
                run.answer(probe, value);
            }
            None => {
                run.event(word, at);
            }
        }
    }
}

#[test]
fn always_finds_the_first_moment_that_is_not_so() {
    check("always = \"log_match\"", &["1s", "2s", "3s"], expect!["Held"]);
    check(
        "always = \"log_match\"",
        &["1s", "2s log_match=false", "3s log_match=true"],
        expect!["violated at 2s: `log_match` is false"],
    );
    check(
        "always = \"log_match && term(n1) <= 2\"",
        &["1s", "2s term(n1)=3"],
        expect!["violated at 2s: `term(n1) <= 2` is false: `term(n1)` is 3"],
    );
    check("always = \"(log_match) in 5s..6s\"", &["1s log_match=false", "7s"], expect!["Held"]);
    check(
        "always = \"(log_match) in 5s..6s\"",
        &["1s log_match=false", "5s", "7s"],
        expect!["violated at 5s: `log_match in 5s..6s` is false"],
    );
}

#[test]
fn never_finds_the_event() {
    check("never = \"panic\"", &["1s elected", "2s"], expect!["Held"]);
    check(
        "never = \"panic || exit(code != 0)\"",
        &["1s elected", "2s panic", "3s"],
        expect!["violated at 2s: `panic` is true"],
    );
    check("never = \"step_down in 5s..10s\"", &["1s step_down", "6s", "12s step_down"], expect!["Held"]);
    check(
        "never = \"step_down in 5s..10s\"",
        &["1s step_down", "6s step_down", "12s"],
        expect!["violated at 6s: `step_down in 5s..10s` is true"],
    );
}

#[test]
fn within_gives_every_event_its_time() {
    let keys = "within = \"5s\"\nafter = \"elected\"\nthat = \"converged\"";
    check(keys, &["1s", "100s"], expect!["Vacuous"]);
    check(keys, &["1s elected", "3s converged=true", "4s converged=false", "20s"], expect!["Held"]);
    check(
        keys,
        &["1s elected", "7s converged=true"],
        expect!["violated at 7s: 5s after elected (at 1s) this is still not so: converged"],
    );
    check(
        keys,
        &["1s elected", "3s converged=true", "10s converged=false elected", "15s", "16s"],
        expect!["violated at 16s: 5s after elected (at 10s) this is still not so: converged"],
    );
    check(
        keys,
        &["1s elected", "3s"],
        expect![[r#"Undecided("the run ended too soon after elected (at 1s) for: converged")"#]],
    );
}

#[test]
fn progress_counts_from_the_event_and_up_to_its_deadline() {
    let keys = "within = \"5s\"\nafter = \"elected\"\nthat = \"progress(w)\"";
    check(
        keys,
        &["1s ack", "2s elected", "9s"],
        expect!["violated at 9s: 5s after elected (at 2s) this is still not so: progress(w)"],
    );
    check(keys, &["1s ack", "2s elected", "4s ack", "9s"], expect!["Held"]);
    // Nobody looked between the acknowledgement and the deadline.
    let mut run = Run::at("9s");
    run.event("elected", "2s").event("ack", "4s");
    let mut monitor = Monitor::new(&expectation(keys));
    assert_eq!(monitor.observe(&run), Ok(None));
    assert_eq!(monitor.finish(&run), Ok(Outcome::Held));
}

#[test]
fn a_member_that_ends_by_itself_without_a_reason_is_caught() {
    // What generated runs expect where nothing gives a member a reason.
    for (code, ends) in [(0.0, false), (1.0, true), (101.0, true)] {
        let mut run = Run::at("3s");
        run.exit(code, "2s");
        let mut monitor = Monitor::new(&expectation("never = \"exit(code != 0)\""));
        let told = monitor.observe(&run).expect("an expression that can be evaluated");
        assert_eq!(told.is_some(), ends, "code {code}: {told:?}");
    }
}

#[test]
fn at_end_looks_only_at_the_end() {
    check(
        "at_end = \"count(elected) >= 2\"",
        &["1s elected", "2s"],
        expect!["violated at 2s: `count(elected) >= 2` is false: `count(elected)` is 1"],
    );
    check("at_end = \"count(elected) >= 2\"", &["1s elected", "2s elected"], expect!["Held"]);
}

#[test]
fn sometimes_and_ratio_report_what_they_saw() {
    check(
        "sometimes = \"!log_match\"\nsometimes_too = [\"panic\"]",
        &["1s log_match=false", "2s log_match=true"],
        expect!["Seen([true, false])"],
    );
    check("ratio = \"elected in 1s..2s\"\nat_least = 0.5", &["1s elected", "3s"], expect!["Counts(true)"]);
    check("ratio = \"elected in 1s..2s\"\nat_least = 0.5", &["3s elected"], expect!["Counts(false)"]);
}

#[test]
fn a_watch_fires_once_at_the_nth_time() {
    for (condition, nth, expected) in
        [("elected", 2, "3s"), ("log_match", 2, "4s"), ("elected in 2s..", 1, "3s"), ("panic", 1, "")]
    {
        let mut watch = Watch::new(&common::at_end(condition), nth);
        let mut run = Run::at("0s");
        let mut fired = Vec::new();
        for line in ["1s elected log_match=true", "2s log_match=false", "3s elected", "4s log_match=true", "5s elected"]
        {
            play(&mut run, line);
            if watch.observe(&run).unwrap() {
                fired.push(run.now.to_string());
            }
        }
        assert_eq!(fired.join(" "), expected, "{condition}");
    }
}

const CAMPAIGN: &str = r#"
scn = 1
name = "x"
[cluster]
tick = "100ms"
[matrix]
pre_vote = [true, false]
dir = ["in", "out"]
[[client]]
id = "w"
[[expect]]
id = "safe"
always = "log_match"
[[expect]]
id = "seen"
only = "!pre_vote"
sometimes = "elected"
sometimes_too = ["panic"]
[[expect]]
id = "share"
only = "dir == 'in'"
ratio = "elected"
between = [0.1, 0.6]
[[expect]]
id = "effect"
across = "pre_vote"
where = "dir == 'in'"
compare = "mean(true: max_unavail(w)) + 5*tick <= mean(false: max_unavail(w)) && max(true: reads(w)) == 10"
"#;

/// Four runs in each cell, with outcomes by seed.
fn campaign() -> (Scenario, Vec<RunSummary>) {
    let scenario = Scenario::parse(CAMPAIGN, "x.toml").unwrap_or_else(|problems| panic!("{}", problems[0]));
    let mut runs = Vec::new();
    for cell in scenario.cells() {
        for seed in 0..4u64 {
            let resolved = scenario.resolve(&cell, &mut Decisions::new(seed));
            let outcome = |id: &str| match id {
                "safe" if seed == 3 && cell.to_string().contains("out") => {
                    Outcome::Violated(Violation { expect: "safe".into(), at: time("3s"), message: "bad".into() })
                }
                "seen" => Outcome::Seen(vec![seed == 2, false]),
                "share" => Outcome::Counts(seed % 2 == 0),
                _ => Outcome::Held,
            };
            let outcomes = resolved.expects.iter().map(|expect| (expect.id.clone(), outcome(&expect.id))).collect();
            let slow = if resolved.cluster.pre_vote { 1 } else { 2 };
            let metrics: BTreeMap<String, Value> = scenario
                .metrics(&resolved)
                .into_iter()
                .map(|(name, _)| match name.as_str() {
                    "reads(w)" => (name, Value::Number(7.0 + seed as f64)),
                    _ => (name, Value::Duration(time(&format!("{}s", slow * (seed + 1))))),
                })
                .collect();
            runs.push(RunSummary { cell: cell.clone(), seed, outcomes, metrics });
        }
    }
    (scenario, runs)
}

#[test]
fn a_campaign_is_judged_cell_by_cell_and_as_a_whole() {
    let (scenario, runs) = campaign();
    let lines: Vec<String> = judge(&scenario, &runs).iter().map(ToString::to_string).collect();
    expect![[r#"
        holds safe [pre_vote=true dir=in]: 4 runs
        FAILS safe [pre_vote=true dir=out]: 1 of 4 runs, first seed 3: safe at 3.000000s: bad
        holds safe [pre_vote=false dir=in]: 4 runs
        FAILS safe [pre_vote=false dir=out]: 1 of 4 runs, first seed 3: safe at 3.000000s: bad
        holds share [pre_vote=true dir=in]: 0.500 of 4 runs (95 % interval 0.068 to 0.932), expected 0.100 to 0.600
        holds share [pre_vote=false dir=in]: 0.500 of 4 runs (95 % interval 0.068 to 0.932), expected 0.100 to 0.600
        FAILS seen: `elected` in 2 of 8 runs, `panic` was never seen in 8 runs: the story does not happen
        holds effect [dir=in]: max_unavail(w): true: 2.500, false: 5.000, 2.00 times; more in 4, less in 0 of 4 seeds; reads(w): true: 8.500, false: 8.500, 1.00 times; more in 0, less in 0 of 4 seeds (2500ms + 5 * 100ms <= 5s && 10 == 10) in 8 runs"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn only_cells_that_are_compared_measure() {
    let scenario = Scenario::parse(CAMPAIGN, "x.toml").unwrap_or_else(|problems| panic!("{}", problems[0]));
    let measured = |cell: &Cell| {
        let metrics = scenario.metrics(&scenario.resolve(cell, &mut Decisions::new(0)));
        metrics.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = scenario.cells().iter().map(|cell| format!("{cell}: {}", measured(cell))).collect();
    expect![[r#"
        pre_vote=true dir=in: max_unavail(w) reads(w)
        pre_vote=true dir=out: 
        pre_vote=false dir=in: max_unavail(w) reads(w)
        pre_vote=false dir=out: "#]]
    .assert_eq(&lines.join("\n"));
}

/// Whether the expression, which is an event, means an event at n2 caused by the step `down`.
fn check_event(text: &str, name: &str, fields: &[(&str, Value)], expected: bool) {
    let ExprNode::Event(filter) = common::at_end(text).node else { panic!("{text} is no event") };
    let event = Event {
        name: name.to_owned(),
        at: time("1s"),
        until: None,
        node: Some(2),
        step: Some("down".to_owned()),
        fields: fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect(),
    };
    // The bound name L stands for n2 and n3, every other selector for n1.
    let members = |selector: &evenkeel_scenario::Selector| match selector.to_string().as_str() {
        "L" => vec![2, 3],
        _ => vec![1],
    };
    assert_eq!(filter.matches(&event, members), expected, "{text} and {name}");
}

#[test]
fn event_filters_match_by_name_step_member_and_property() {
    check_event("elected", "elected", &[], true);
    check_event("elected", "panic", &[], false);
    check_event("step_down(L)", "step_down", &[], true);
    check_event("step_down(n1)", "step_down", &[], false);
    check_event("step_down(any)", "step_down", &[], true);
    check_event("fp(wal.sync) on L", "fp", &[("point", Value::text("wal.sync"))], true);
    check_event("fp(wal.sync) on L", "fp", &[("point", Value::text("wal.append"))], false);
    check_event("exit(code != 0)", "exit", &[("code", Value::Number(1.0))], true);
    check_event("exit(code != 0)", "exit", &[("code", Value::Number(0.0))], false);
    check_event("exit(code != 0)", "exit", &[], false);
    check_event("snapshot(from: '3.6')", "snapshot", &[("from", Value::text("3.6"))], true);
    check_event("down", "roll", &[], true);
    check_event("down", "heal", &[], false);
    check_event("roll", "roll", &[], true);
    check_event("restart1", "restart", &[], false);
    check_event("down.swapped(2)", "swapped", &[("n", Value::Number(2.0))], true);
    check_event("down.swapped(1)", "swapped", &[("n", Value::Number(2.0))], false);
}
