//! Expressions that are refused, with the exact words: the place, the reason, and the name that was probably meant.

use evenkeel_scenario::Scenario;
use expect_test::{Expect, expect};

fn check(text: &str, expected: Expect) {
    let problems = Scenario::parse(text, "x.toml").expect_err("this file must be refused");
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

/// A file with a header, a client `w`, and `text`.
fn check_in(text: &str, expected: Expect) {
    check(&format!("scn = 1\nname = \"x\"\n{text}\n[[client]]\nid = \"w\""), expected);
}

/// `always = "…"`.
fn check_expr(expr: &str, expected: Expect) {
    check_in(&format!("[[expect]]\nid = \"e\"\nalways = \"{expr}\""), expected);
}

#[test]
fn expressions_with_unknown_names() {
    check_expr(
        "leaders_per_trem <= 1",
        expect![[r#"
        x.toml:5:11: unknown probe, event or function "leaders_per_trem", did you mean "leaders_per_term"?
         5 | always = "leaders_per_trem <= 1"
           |           ^^^^^^^^^^^^^^^^"#]],
    );
    check_expr(
        "progress(v)",
        expect![[r#"
        x.toml:5:20: unknown client "v", expected one of: w, all
         5 | always = "progress(v)"
           |                    ^"#]],
    );
    check_expr(
        "term(ledaer) > 1",
        expect![[r#"
        x.toml:5:16: unknown selector "ledaer", did you mean "leader"?
         5 | always = "term(ledaer) > 1"
           |                ^^^^^^"#]],
    );
    check_expr(
        "term(n4) > 1",
        expect![[r#"
        x.toml:5:16: there is no member n4: the cluster may have only 3 members
         5 | always = "term(n4) > 1"
           |                ^^"#]],
    );
    check_expr(
        "leader(relase: '3.6')",
        expect![[r#"
        x.toml:5:18: unknown property of leader "relase", did you mean "release"?
         5 | always = "leader(relase: '3.6')"
           |                  ^^^^^^"#]],
    );
    check_expr(
        "linearizable(vk)",
        expect![[r#"
        x.toml:5:24: unknown argument of linearizable "vk", did you mean "kv"?
         5 | always = "linearizable(vk)"
           |                        ^^"#]],
    );
    check_expr(
        "count(elect) > 1",
        expect![[r#"
        x.toml:5:17: unknown probe, event or function "elect", did you mean "elected"?
         5 | always = "count(elect) > 1"
           |                 ^^^^^"#]],
    );
    check_expr(
        "count(refused) == 1",
        expect![[r#"
        x.toml:5:17: "refused" happens to a step: write STEP.refused with the step's id
         5 | always = "count(refused) == 1"
           |                 ^^^^^^^"#]],
    );
    check_expr(
        "latency(w) < 1s",
        expect![[r#"
        x.toml:5:11: latency needs one of p50, p90, p99, max as an argument
         5 | always = "latency(w) < 1s"
           |           ^^^^^^^^^^"#]],
    );
    check_expr(
        "log_match untill converged",
        expect![[r#"
        x.toml:5:21: unknown operator "untill", expected one of: in, during, while, unless, subset, from, on, &&, ||
         5 | always = "log_match untill converged"
           |                     ^^^^^^"#]],
    );
    check_expr(
        "roll in 1s..2s",
        expect![[r#"
        x.toml:5:11: no step does "roll", so this would never happen
         5 | always = "roll in 1s..2s"
           |           ^^^^"#]],
    );
}

#[test]
fn expressions_whose_kinds_do_not_meet() {
    check_expr(
        "leaders_per_term",
        expect![[r#"
        x.toml:5:11: expected a condition, found a number
         5 | always = "leaders_per_term"
           |           ^^^^^^^^^^^^^^^^"#]],
    );
    check_expr(
        "stall(w) > 5",
        expect![[r#"
        x.toml:5:20: ">" cannot go between a duration and a number
         5 | always = "stall(w) > 5"
           |                    ^"#]],
    );
    check_expr(
        "stall(w) * stall(w) > 5s",
        expect![[r#"
        x.toml:5:20: "*" cannot go between a duration and a duration
         5 | always = "stall(w) * stall(w) > 5s"
           |                    ^"#]],
    );
    check_expr(
        "release == '3.6'",
        expect![[r#"
        x.toml:5:11: this is a list: gather it with all(…), any(…) or count(…)
         5 | always = "release == '3.6'"
           |           ^^^^^^^^^^^^^^^^"#]],
    );
    check_expr(
        "all(leaders_per_term <= 1)",
        expect![[r#"
        x.toml:5:15: all(…) needs a list: one value per member or client
         5 | always = "all(leaders_per_term <= 1)"
           |               ^^^^^^^^^^^^^^^^^^^^^"#]],
    );
    check_expr(
        "elected > 3",
        expect![[r#"
        x.toml:5:11: elected is an event, not a value; count(…) says how often it happened
         5 | always = "elected > 3"
           |           ^^^^^^^"#]],
    );
    check_expr(
        "log_match during converged",
        expect![[r#"
        x.toml:5:11: `during` stands between two events; use `while` for states
         5 | always = "log_match during converged"
           |           ^^^^^^^^^"#]],
    );
    check_expr(
        "log_match < true",
        expect![[r#"
        x.toml:5:21: "<" cannot go between true or false and true or false
         5 | always = "log_match < true"
           |                     ^"#]],
    );
    check_expr(
        "errors(w) subset 'timeout'",
        expect![[r#"
        x.toml:5:28: "subset" needs a list such as ['a', 'b'] on its right
         5 | always = "errors(w) subset 'timeout'"
           |                            ^^^^^^^^^"#]],
    );
    check_expr(
        "cluster_version subset ['3.5']",
        expect![[r#"
        x.toml:5:11: "subset" needs a list on its left; use "in" for one value
         5 | always = "cluster_version subset ['3.5']"
           |           ^^^^^^^^^^^^^^^"#]],
    );
    check_expr(
        "leaders_per_term in 1s..2s < 2",
        expect![[r#"
        x.toml:5:11: leaders_per_term is a value at a moment: put the window behind a condition in parentheses
         5 | always = "leaders_per_term in 1s..2s < 2"
           |           ^^^^^^^^^^^^^^^^"#]],
    );
    check_expr(
        "monotone(log_match)",
        expect![[r#"
        x.toml:5:20: monotone(…) needs a value that has an order
         5 | always = "monotone(log_match)"
           |                    ^^^^^^^^^"#]],
    );
}

#[test]
fn expressions_with_broken_grammar() {
    check_expr(
        "",
        expect![[r#"
        x.toml:5:10: the expression ends too early
         5 | always = ""
           |          ^"#]],
    );
    check_expr(
        "log_match &&",
        expect![[r#"
        x.toml:5:23: the expression ends too early
         5 | always = "log_match &&"
           |                       ^"#]],
    );
    check_expr(
        "log_match & converged",
        expect![[r#"
        x.toml:5:21: "&" means nothing here, did you mean "&&"?
         5 | always = "log_match & converged"
           |                     ^"#]],
    );
    check_expr(
        "leaders_per_term = 1",
        expect![[r#"
        x.toml:5:28: "=" means nothing here, did you mean "=="?
         5 | always = "leaders_per_term = 1"
           |                            ^"#]],
    );
    check_expr(
        "(log_match",
        expect![[r#"
        x.toml:5:21: expected ")" here
         5 | always = "(log_match"
           |                     ^"#]],
    );
    check_expr(
        "1 < leaders_per_term < 3",
        expect![[r#"
        x.toml:5:32: comparisons do not chain: join two of them with &&
         5 | always = "1 < leaders_per_term < 3"
           |                                ^"#]],
    );
    check_expr(
        "count(elected) in 60s..10s > 1",
        expect![[r#"
        x.toml:5:29: empty window 60s..10s: it ends before it begins
         5 | always = "count(elected) in 60s..10s > 1"
           |                             ^^^^^^^^"#]],
    );
    check_expr(
        "stall(w) < 5sec",
        expect![[r#"
        x.toml:5:22: bad duration "5sec": write a number and a unit, such as "250us", "10ms" or "2s"
         5 | always = "stall(w) < 5sec"
           |                      ^^^^"#]],
    );
    check_expr(
        "cluster_version == '3.5",
        expect![[r#"
        x.toml:5:30: the text has no closing quote
         5 | always = "cluster_version == '3.5"
           |                              ^^^^"#]],
    );
    check_expr(
        "stall(w) from elected < 5s",
        expect![[r#"
        x.toml:5:20: `from` only follows time_to(…)
         5 | always = "stall(w) from elected < 5s"
           |                    ^^^^"#]],
    );
    check_expr(
        "all(term on n1 > 2)",
        expect![[r#"
        x.toml:5:20: `on` only follows an event
         5 | always = "all(term on n1 > 2)"
           |                    ^^"#]],
    );
    check_expr(
        "cluster_version in []",
        expect![[r#"
        x.toml:5:30: an empty list
         5 | always = "cluster_version in []"
           |                              ^^"#]],
    );
    check_expr(
        "-log_match",
        expect![[r#"
        x.toml:5:12: only a number or a duration can be negative
         5 | always = "-log_match"
           |            ^^^^^^^^^"#]],
    );
    check_expr(
        &"!".repeat(100),
        expect![[r#"
        x.toml:5:75: the expression is nested too deeply
         5 | always = "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"
           |                                                                           ^"#]],
    );
    check_expr(
        &format!("{}log_match{}", "(".repeat(100), ")".repeat(100)),
        expect![[r#"
        x.toml:5:75: the expression is nested too deeply
         5 | always = "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((log_match))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))"
           |                                                                           ^"#]],
    );
}

#[test]
fn places_inside_escaped_and_long_texts() {
    check_in(
        "[[expect]]\nid = \"e\"\nalways = \"\"\"log_match\n  && convergd\"\"\"",
        expect![[r#"
        x.toml:6:6: unknown probe, event or function "convergd", did you mean "converged"?
         6 |   && convergd"""
           |      ^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nalways = 'role(n1) != \"x\" && convergd'",
        expect![[r#"
        x.toml:5:30: unknown probe, event or function "convergd", did you mean "converged"?
         5 | always = 'role(n1) != "x" && convergd'
           |                              ^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nalways = \"role(n1) != \\\"x\\\" && convergd\"",
        expect![[r#"
        x.toml:5:10: unknown probe, event or function "convergd", did you mean "converged"?
         5 | always = "role(n1) != \"x\" && convergd"
           |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"#]],
    );
}

#[test]
fn only_and_where_know_parameters_and_values() {
    let matrix = "[matrix]\ndir = [\"in\", \"out\"]\npre_vote = [true, false]\n[[expect]]\nid = \"e\"\n";
    check_in(
        &format!("{matrix}only = \"dri == 'in'\"\nnever = \"panic\""),
        expect![[r#"
        x.toml:8:9: unknown matrix parameter "dri", did you mean "dir"?
         8 | only = "dri == 'in'"
           |         ^^^"#]],
    );
    check_in(
        &format!("{matrix}only = \"dir == 'ou'\"\nnever = \"panic\""),
        expect![[r#"
        x.toml:8:16: unknown value of the matrix parameter dir "ou", did you mean "out"?
         8 | only = "dir == 'ou'"
           |                ^^^^"#]],
    );
    check_in(
        &format!("{matrix}only = \"dir in ['in', 'away']\"\nnever = \"panic\""),
        expect![[r#"
        x.toml:8:23: unknown value of the matrix parameter dir "away", expected one of: in, out
         8 | only = "dir in ['in', 'away']"
           |                       ^^^^^^"#]],
    );
    check_in(
        &format!("{matrix}only = \"dir\"\nnever = \"panic\""),
        expect![[r#"
        x.toml:8:9: expected a condition, found a text
         8 | only = "dir"
           |         ^^^"#]],
    );
    check_in(
        &format!("{matrix}only = \"log_match\"\nnever = \"panic\""),
        expect![[r#"
        x.toml:8:9: unknown matrix parameter "log_match", expected one of: dir, pre_vote
         8 | only = "log_match"
           |         ^^^^^^^^^"#]],
    );
    check_in(
        &format!("{matrix}across = \"prevote\"\ncompare = \"mean(true: stall(w)) < 1s\""),
        expect![[r#"
        x.toml:8:10: unknown matrix parameter "prevote", did you mean "pre_vote"?
         8 | across = "prevote"
           |          ^^^^^^^^^"#]],
    );
    check_in(
        &format!("{matrix}across = \"dir\"\ncompare = \"mean(inn: stall(w)) < 1s\""),
        expect![[r#"
        x.toml:9:17: unknown value of the matrix parameter dir "inn", did you mean "in"?
         9 | compare = "mean(inn: stall(w)) < 1s"
           |                 ^^^"#]],
    );
    check_in(
        &format!("{matrix}across = \"dir\"\ncompare = \"mean(stall(w)) < 1s\""),
        expect![[r#"
        x.toml:9:17: in a comparison say which cells are meant: mean(VALUE: …), a value of dir
         9 | compare = "mean(stall(w)) < 1s"
           |                 ^^^^^"#]],
    );
    check_in(
        &format!("{matrix}across = \"dir\"\ncompare = \"stall(w) < 1s\""),
        expect![[r#"
        x.toml:9:12: stall is about one run: gather it with a label, such as mean(VALUE: stall …)
         9 | compare = "stall(w) < 1s"
           |            ^^^^^"#]],
    );
    check_in(
        &format!(
            "[cluster]\ntick = \"10ms..20ms\"\n{matrix}across = \"dir\"\ncompare = \"mean('in': stall(w)) < 5*tick\""
        ),
        expect![[r#"
            x.toml:11:37: tick is drawn for each seed: a comparison between cells needs a fixed value
             11 | compare = "mean('in': stall(w)) < 5*tick"
                |                                     ^^^^"#]],
    );
}
