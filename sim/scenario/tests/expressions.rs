//! What expressions mean: how they bind, and what they give at a moment of a run.

mod common;

use common::Run;
use evenkeel_scenario::expr::eval::{Memory, condition, value};
use evenkeel_scenario::{Expr, Nanos, Value};
use expect_test::{Expect, expect};

/// Reads `text` as an expression in a file with a client `w`, a roll `down` and a bound name `L`.
fn parse(text: &str) -> Expr {
    common::at_end(text)
}

/// How the expression binds, shown by printing it with all parentheses.
fn check_binding(text: &str, expected: Expect) {
    let expr = parse(text);
    expected.assert_eq(&common::bracketed(&expr));
    assert_eq!(parse(&expr.to_string()), expr, "printing {text} and reading it again");
}

#[test]
fn operators_bind_as_listed() {
    check_binding("log_match || watch_ok && converged", expect!["(log_match || (watch_ok && converged))"]);
    check_binding("(log_match || watch_ok) && converged", expect!["((log_match || watch_ok) && converged)"]);
    check_binding(
        "log_match && watch_ok unless converged || ledger",
        expect!["((log_match && watch_ok) unless (converged || ledger))"],
    );
    check_binding("log_match unless converged unless ledger", expect!["((log_match unless converged) unless ledger)"]);
    check_binding("!log_match && watch_ok", expect!["((! log_match) && watch_ok)"]);
    check_binding("!(log_match && watch_ok)", expect!["(! (log_match && watch_ok))"]);
    check_binding(
        "term(n1) + 2 * 3 - 4 / 2 > 5 && watch_ok",
        expect!["((((term(n1) + (2 * 3)) - (4 / 2)) > 5) && watch_ok)"],
    );
    check_binding("term(n1) - (2 - 3) - 4 == -5", expect!["(((term(n1) - (2 - 3)) - 4) == (- 5))"]);
    check_binding("count(elected) in 10s..60s >= 5", expect!["((count(elected) in 10s..60s) >= 5)"]);
    check_binding("(count(elected) + 1) in 10s.. >= 5", expect!["(((count(elected) + 1) in 10s..) >= 5)"]);
    check_binding("(leaders_per_term <= 1) in 10s..60s", expect!["((leaders_per_term <= 1) in 10s..60s)"]);
    check_binding(
        "time_to(leader) from restart + 500ms <= 2s",
        expect!["((time_to(elected) from restart + 500ms) <= 2s)"],
    );
    check_binding("step_down(L) in 15s..20s", expect!["(step_down on L in 15s..20s)"]);
    check_binding("fault.power_loss during storage.migrate", expect!["(fault.power_loss during storage.migrate)"]);
    check_binding(
        "fp(storage.migrate.before_commit) on any",
        expect!["fp(point: 'storage.migrate.before_commit') on any"],
    );
    check_binding("down.swapped(2) || down", expect!["(down.swapped(n: 2) || down)"]);
    check_binding("exit(code != 0)", expect!["exit(code != 0)"]);
    check_binding(
        "errors(w) subset ['timeout', 'unavailable']",
        expect!["(errors(w) subset ['timeout', 'unavailable'])"],
    );
    check_binding(
        "role(n1) in ['leader', 'follower'] && watch_ok",
        expect!["((role(n1) in ['leader', 'follower']) && watch_ok)"],
    );
    check_binding(
        "cluster_version <= min(release) && monotone(cluster_version) unless downgrade.enabled",
        expect!["(((cluster_version <= min[release(all)]) && monotone[cluster_version]) unless downgrade.enabled)"],
    );
    check_binding(
        "all(release == '3.5') && !downgrade.enabled",
        expect!["(all[(release(all) == '3.5')] && (! downgrade.enabled))"],
    );
    check_binding(
        "wal_appends(random(2)) in 1s..2s subset [0, 5%]",
        expect!["((wal_appends(random(2)) in 1s..2s) subset [0, 0.05])"],
    );
}

/// A run at 30 s with three members, two elections, a power loss inside a migration.
fn run() -> Run {
    let mut run = Run::at("30s");
    for (probe, answer) in [
        ("leaders_per_term", Value::Number(1.0)),
        ("log_match", Value::Bool(true)),
        ("watch_ok", Value::Bool(false)),
        ("leader", Value::Missing),
        ("cluster_version", Value::text("3.9")),
        ("release(all)", Value::List(vec![Value::text("3.9"), Value::text("3.10"), Value::text("3.9")])),
        ("term(all)", Value::List(vec![Value::Number(3.0), Value::Number(4.0), Value::Number(5.0)])),
        ("term(n1)", Value::Number(3.0)),
        ("errors(w)", Value::List(vec![Value::text("timeout")])),
        ("stall(w)", Value::Duration(Nanos::from_secs(4))),
        ("max_unavail(w)", Value::Duration(Nanos::from_secs(8))),
    ] {
        run.answer(probe, answer);
    }
    run.event("elected", "2s").event("elected", "21s").event("restart", "20s");
    run.lasting("storage.migrate", "10s", "12s").event("fault.power_loss", "11s");
    run
}

fn check_value(text: &str, expected: &str) {
    let expr = parse(&format!("({text}) == ({text})"));
    let left = expr.parts()[0];
    assert_eq!(value(left, &run(), &mut Memory::default()).unwrap().to_string(), expected, "{text}");
}

fn check_condition(text: &str, expected: Option<bool>) {
    assert_eq!(condition(&parse(text), &run(), &mut Memory::default(), None), Ok(expected), "{text}");
}

#[test]
fn values_are_computed() {
    for (text, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2 - 1", "2.5"),
        ("1 / 0", "missing"),
        ("95%", "0.95"),
        ("-2s + 500ms", "-1500ms"),
        ("stall(w) * 2", "8s"),
        ("3 * stall(w) / 2", "6s"),
        ("max_unavail(w) / stall(w)", "2"),
        ("min(release)", "'3.9'"),
        ("max(release)", "'3.10'"),
        ("mean(term)", "4"),
        ("sum(term)", "12"),
        ("p50(term * 10)", "40"),
        ("count(term > 3)", "2"),
        ("count(elected)", "2"),
        ("count(elected) in 10s..", "1"),
        ("time_to(elected)", "2s"),
        ("time_to(elected) from restart", "1s"),
        ("time_to(elected) in 3s..25s", "18s"),
        ("time_to(snapshot)", "missing"),
        ("tick * election_ticks", "1s"),
    ] {
        check_value(text, expected);
    }
}

#[test]
fn conditions_are_true_false_or_do_not_apply() {
    let (yes, no) = (Some(true), Some(false));
    for (text, expected) in [
        ("leaders_per_term <= 1 && log_match", yes),
        ("log_match && watch_ok", no),
        ("watch_ok || log_match", yes),
        ("watch_ok unless log_match", yes),
        ("log_match while watch_ok", no),
        ("leader", no),
        ("!leader", yes),
        ("cluster_version <= min(release)", yes),
        ("cluster_version < '3.10'", yes),
        ("all(release >= '3.9')", yes),
        ("all(release == '3.9')", no),
        ("any(release == '3.10')", yes),
        ("all(!(term < 3))", yes),
        ("elected", yes),
        ("elected in 3s..20s", no),
        ("elected in 20s..", yes),
        ("snapshot", no),
        ("fault.power_loss during storage.migrate", yes),
        ("elected during storage.migrate", no),
        ("errors(w) subset ['timeout', 'unavailable']", yes),
        ("errors(w) subset ['unavailable']", no),
        ("cluster_version in ['3.9', '3.10']", yes),
        ("time_to(snapshot) < 100s", no),
        ("time_to(snapshot) >= 0s", no),
        ("(leaders_per_term > 5) in 10s..60s", no),
        ("(leaders_per_term > 5) in 10s..20s", None),
        ("!((leaders_per_term > 5) in 10s..20s)", None),
        ("(leaders_per_term > 5) in 10s..20s && log_match", None),
        ("(leaders_per_term > 5) in 10s..20s && watch_ok", no),
        ("(leaders_per_term > 5) in 10s..20s || log_match", yes),
        ("pre_vote && nodes == 3", yes),
    ] {
        check_condition(text, expected);
    }
}

#[test]
fn monotone_sees_each_fall_once() {
    let expr = parse("monotone(term(n1))");
    let (mut run, mut memory) = (run(), Memory::default());
    for (term, expected) in [(3.0, true), (5.0, true), (5.0, true), (4.0, false), (4.0, true), (6.0, true)] {
        run.answer("term(n1)", Value::Number(term));
        assert_eq!(condition(&expr, &run, &mut memory, None), Ok(Some(expected)), "{term}");
    }
}

#[test]
fn a_probe_of_the_wrong_kind_is_a_fault_of_the_testbed() {
    let mut run = run();
    run.answer("term(n1)", Value::List(vec![]));
    let error = condition(&parse("term(n1) > 1"), &run, &mut Memory::default(), None).unwrap_err();
    expect!["term(n1) gave a value of an unexpected kind"].assert_eq(&error.to_string());
    let error = condition(&parse("ledger"), &run, &mut Memory::default(), None).unwrap_err();
    expect!["the simulator has no probe ledger"].assert_eq(&error.to_string());
}
