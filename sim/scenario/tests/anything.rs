//! Whatever stands in a file, it is read or refused: nothing panics, and what is accepted can be run.

use evenkeel_scenario::{Decisions, Scenario};
use proptest::prelude::*;

const SOURCE: &str = include_str!("data/everything.toml");

/// Pieces that mean something somewhere.
fn piece() -> impl Strategy<Value = String> {
    let words: Vec<&str> = SOURCE.split_whitespace().collect();
    prop_oneof![proptest::sample::select(words).prop_map(str::to_owned), "[ -~\n]{0,6}", "\\PC{0,3}"]
}

fn damaged() -> impl Strategy<Value = String> {
    let edit = (0..SOURCE.len(), 0usize..12, piece());
    proptest::collection::vec(edit, 1..4).prop_map(|edits| {
        let mut text = SOURCE.to_owned();
        for (at, len, piece) in edits {
            let at = at.min(text.len());
            let end = (at + len).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &piece);
            }
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_refused_or_can_be_run(text in damaged(), seed in 0u64..1000) {
        match Scenario::parse(&text, "x.toml") {
            Ok(scenario) => {
                let cells = scenario.cells();
                let run = scenario.resolve(&cells[seed as usize % cells.len()], &mut Decisions::new(seed));
                let again = Scenario::parse(&run.to_toml(), "resolved.toml");
                prop_assert!(again.is_ok(), "{}\n{}", again.unwrap_err()[0], run.to_toml());
                run.default_expects();
                scenario.metrics(&run);
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.to_string().lines().count() >= 3);
                }
            }
        }
    }

    #[test]
    fn an_expression_of_any_words_is_read_or_refused(words in proptest::collection::vec(word(), 1..12)) {
        let expression = words.join(" ");
        let text = format!("scn = 1\nname = \"x\"\n[[client]]\nid = \"w\"\n[[expect]]\nid = \"e\"\nalways = \"{expression}\"\n");
        if let Ok(scenario) = Scenario::parse(&text, "x.toml") {
            let run = scenario.resolve(&scenario.cells()[0], &mut Decisions::new(0));
            let again = Scenario::parse(&run.to_toml(), "resolved.toml").unwrap();
            prop_assert_eq!(again.resolve(&again.cells()[0], &mut Decisions::new(0)).expects, run.expects);
        }
    }
}

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "log_match",
        "elected",
        "leader",
        "term",
        "(n1)",
        "(",
        ")",
        "&&",
        "||",
        "!",
        "<=",
        "==",
        "+",
        "-",
        "*",
        "/",
        "5",
        "5s",
        "'3.6'",
        "in",
        "1s..2s",
        "1s..",
        "unless",
        "during",
        "while",
        "all(",
        "count(",
        "min(",
        "progress(w)",
        "stall(w)",
        "release",
        "subset",
        "['a']",
        "[1, 2]",
        "time_to(elected)",
        "from",
        "on",
        "tick",
        "nodes",
        "true",
    ])
}
