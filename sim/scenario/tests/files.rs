//! Whole files: the three long examples are accepted, and every resolved run is itself a file that means the same.

use evenkeel_scenario::{Decisions, Resolved, RunLength, Scenario, Trigger};
use expect_test::{Expect, expect, expect_file};

const FILES: [(&str, &str); 3] = [
    ("1-asym-prevote.toml", include_str!("data/1-asym-prevote.toml")),
    ("2-tick-advance.toml", include_str!("data/2-tick-advance.toml")),
    ("3-up-down.toml", include_str!("data/3-up-down.toml")),
];

fn load(text: &str, name: &str) -> Scenario {
    Scenario::parse(text, name).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("refused:\n{}", lines.join("\n"))
    })
}

fn example(index: usize) -> Scenario {
    load(FILES[index].1, FILES[index].0)
}

/// Every cell of the first seeds, as the simulator would see it.
fn runs(scenario: &Scenario, seeds: u64) -> Vec<Resolved> {
    let cells = scenario.cells();
    (0..seeds)
        .flat_map(|seed| cells.iter().map(move |cell| scenario.resolve(cell, &mut Decisions::new(seed))))
        .collect()
}

#[test]
fn every_resolved_run_is_a_file_that_resolves_to_itself() {
    let all = include_str!("data/everything.toml");
    let scenarios = (0..3).map(example).chain([load(all, "everything.toml")]);
    for scenario in scenarios {
        for run in runs(&scenario, 5) {
            let text = run.to_toml();
            let again = load(&text, "resolved.toml");
            let cells = again.cells();
            assert_eq!(cells.len(), 1, "{text}");
            assert_eq!(again.seed_range(), run.seed..run.seed + 1);
            let second = again.resolve(&cells[0], &mut Decisions::new(run.seed));
            assert_eq!(second, run, "{text}");
            assert_eq!(second.to_toml(), text);
        }
    }
}

#[test]
fn the_first_cell_of_the_first_example_reads_well() {
    let scenario = example(0);
    let run = scenario.resolve(&scenario.cells()[0], &mut Decisions::new(7));
    expect_file!["data/resolved.txt"].assert_eq(&run.to_toml());
}

#[test]
fn a_seed_draws_the_same_in_every_cell() {
    let scenario = load(include_str!("data/everything.toml"), "everything.toml");
    let cells = scenario.cells();
    for seed in 0..50 {
        let runs: Vec<Resolved> = cells.iter().map(|cell| scenario.resolve(cell, &mut Decisions::new(seed))).collect();
        for run in &runs {
            assert_eq!(run.cluster.tick, runs[0].cluster.tick);
            assert_eq!(run.clients, runs[0].clients);
            // The first cut chooses its link by a parameter.
            for step in run.steps.iter().filter(|step| step.id != "cut1") {
                let same = runs[0].steps.iter().find(|other| other.id == step.id);
                assert!(same.is_none_or(|other| other.action == step.action), "{}", step.id);
            }
        }
    }
}

#[test]
fn different_seeds_draw_different_values() {
    let scenario = load(include_str!("data/everything.toml"), "everything.toml");
    let cell = &scenario.cells()[0];
    let ticks: Vec<_> = (0..20).map(|seed| scenario.resolve(cell, &mut Decisions::new(seed)).cluster.tick).collect();
    assert!(ticks.iter().any(|tick| *tick != ticks[0]), "{ticks:?}");
}

#[test]
fn a_parameter_named_like_a_setting_sets_it() {
    let scenario = example(0);
    for cell in scenario.cells() {
        let run = scenario.resolve(&cell, &mut Decisions::new(1));
        let text = cell.to_string();
        assert_eq!(run.cluster.pre_vote, text.contains("pre_vote=true"), "{text}");
        assert_eq!(run.cluster.check_quorum, text.contains("check_quorum=true"), "{text}");
    }
}

#[test]
fn only_selects_steps_expectations_and_links() {
    let scenario = example(0);
    let mut seen = String::new();
    for cell in scenario.cells() {
        let run = scenario.resolve(&cell, &mut Decisions::new(1));
        let ids: Vec<&str> = run.expects.iter().map(|expect| expect.id.split(' ').next().unwrap_or_default()).collect();
        let evenkeel_scenario::Action::Cut(cut) = &run.steps[0].action else { panic!("the first step cuts") };
        seen.push_str(&format!("{cell}: {} | {}\n", cut.link, ids.join(" ")));
    }
    expect![[r#"
        pre_vote=true check_quorum=true dir=deaf-follower: leader -> random(follower) | safe pre-vote heals
        pre_vote=true check_quorum=true dir=deaf-leader: others -> leader | safe check-quorum heals
        pre_vote=true check_quorum=false dir=deaf-follower: leader -> random(follower) | safe heals
        pre_vote=true check_quorum=false dir=deaf-leader: others -> leader | safe pre-vote heals
        pre_vote=false check_quorum=true dir=deaf-follower: leader -> random(follower) | safe without heals
        pre_vote=false check_quorum=true dir=deaf-leader: others -> leader | safe check-quorum heals
        pre_vote=false check_quorum=false dir=deaf-follower: leader -> random(follower) | safe heals
        pre_vote=false check_quorum=false dir=deaf-leader: others -> leader | safe heals
    "#]]
    .assert_eq(&seen);
}

fn check_length(text: &str, expected: &Expect) {
    let scenario = load(&format!("scn = 1\nname = \"x\"\n{text}"), "x.toml");
    let run = scenario.resolve(&scenario.cells()[0], &mut Decisions::new(0));
    expected.assert_eq(&match run.run {
        RunLength::For(length) => length.to_string(),
        RunLength::Settled { after_last, at_least, at_most } => {
            format!("{after_last} after the last step, {at_least} to {at_most}")
        }
    });
}

#[test]
fn a_run_lasts_until_its_last_step_had_its_effect() {
    check_length("", &expect!["30s"]);
    check_length("[run]\nfor = \"42s\"", &expect!["42s"]);
    check_length("[[step]]\nat = \"20s\"\ndo = \"cut\"\nlink = \"n1 -> n2\"\nfor = \"5s\"", &expect!["35s"]);
    check_length(
        "[[step]]\nat = \"20s\"\ndo = \"compact\"\nrepeat = { every = \"2s\", times = 4 }\n[[step]]\nafter = \"compact\"\ndelay = \"30s\"\ndo = \"quiesce\"",
        &expect!["65s"],
    );
    check_length("[cluster]\ntick = \"1s\"\n[[step]]\nat = \"20s\"\ndo = \"quiesce\"", &expect!["123s"]);
    check_length("[[expect]]\nid = \"e\"\nnever = \"elected in 10s..70s\"", &expect!["71s"]);
    check_length(
        "[[step]]\nwhen = \"elected\"\nnth = 2\ndo = \"quiesce\"\n[[step]]\nat = \"3s\"\ndo = \"mark\"\nname = \"m\"",
        &expect!["15s after the last step, 0s to 315s"],
    );
}

#[test]
fn planted_bugs_are_checked_against_the_known_ones() {
    let text = "scn = 1\nname = \"x\"\n[cluster]\nmutants = [\"ack-before-fsync\", { name = \"vote-not-durabel\", on = \"n2\" }]\nswitches = [\"check-quorum\"]\n";
    let scenario = load(text, "x.toml");
    let problems = scenario.check_planted(&["ack-before-fsync", "vote-not-durable"], &["pre-vote"]);
    expect![[r#"
        x.toml:4:41: unknown mutant "vote-not-durabel", did you mean "vote-not-durable"?
         4 | mutants = ["ack-before-fsync", { name = "vote-not-durabel", on = "n2" }]
           |                                         ^^^^^^^^^^^^^^^^^^
        x.toml:5:13: unknown switch "check-quorum", expected one of: pre-vote
         5 | switches = ["check-quorum"]
           |             ^^^^^^^^^^^^^^"#]]
    .assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn default_expectations_are_on_unless_a_file_opts_out() {
    let names = |text: &str| {
        let scenario = load(&format!("scn = 1\nname = \"x\"\n{text}"), "x.toml");
        let run = scenario.resolve(&scenario.cells()[0], &mut Decisions::new(0));
        run.default_expects().into_iter().map(|expect| expect.id).collect::<Vec<_>>().join(" ")
    };
    expect!["leaders_per_term log_match committed_never_lost linearizable watch_ok lease_ok hash_agree ledger no_panic converged heals"].assert_eq(&names("[[client]]\nid = \"w\""));
    expect!["leaders_per_term log_match committed_never_lost linearizable watch_ok lease_ok hash_agree ledger"]
        .assert_eq(&names("opt_out = [\"no_panic\", \"converged\"]"));
}

#[test]
fn steps_wait_for_the_events_they_name() {
    let run = runs(&example(2), 1).remove(0);
    let mut text = String::new();
    for step in &run.steps {
        let trigger = match &step.trigger {
            Trigger::At(at) => format!("at {at}"),
            Trigger::After(event, delay) => format!("{delay} after {event}"),
            Trigger::When { condition, nth, delay } => format!("{delay} after the {nth}. {condition}"),
        };
        text.push_str(&format!("{} {}: {trigger}\n", step.id, step.action.verb()));
    }
    expect![[r#"
        roll1 roll: at 5s
        downgrade1 downgrade: 2s after roll
        down roll: 0s after downgrade.enabled
        restart1 restart: 0s after the 2. fp(point: 'storage.migrate.before_commit') on any
        cut1 cut: 0s after the 1. down.swapped(n: 1)
        quiesce1 quiesce: 5s after down
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_reference_is_up_to_date() {
    expect_file!["../REFERENCE.md"].assert_eq(&evenkeel_scenario::reference::markdown());
}
