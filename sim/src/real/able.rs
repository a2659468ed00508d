//! What of a scenario can be played with real processes, and what is left out, each with its reason.
//!
//! Nobody here cuts links between processes, slows disks, bends clocks or takes the power, and a process does not tell
//! what is in its log. Steps that need it are left out; expectations that ask for what nobody can see, or that name a
//! step that was left out, are not judged. Of an `always` the parts that can be judged are, and of a `never`.

use std::collections::BTreeSet;

use evenkeel_scenario::cluster::Cluster;
use evenkeel_scenario::expr::{ExprNode, Op, STEP_EVENT};
use evenkeel_scenario::registry::POINT;
use evenkeel_scenario::step::{Step, Trigger};
use evenkeel_scenario::verb::{Action, RestartKind};
use evenkeel_scenario::{EventFilter, Expect, ExpectKind, Expr, Resolved};

use crate::report::played::Skipped;

/// A scenario as it can be played, and what is missing.
pub struct Fit {
    /// What is played.
    pub resolved: Resolved,
    /// `at_end`s of a story that is not whole: worth looking at, but nobody is to blame for them.
    pub doubtful: Vec<Expect>,
    /// What is left out.
    pub skipped: Vec<Skipped>,
}

/// Takes out what cannot be played or judged.
pub fn fit(mut resolved: Resolved) -> Fit {
    let mut skipped = settings(&resolved.cluster);
    let mut missing = Missing::default();
    let all = std::mem::take(&mut resolved.steps);
    // A step may wait for one that comes later in the file: until nothing changes.
    loop {
        let before = missing.steps.len();
        for step in &all {
            if !missing.steps.contains(&step.id)
                && let Some(why) = why_not(step, &missing)
            {
                missing.steps.insert(step.id.clone());
                skipped.push(Skipped { what: format!("step {}", step.id), why });
            }
        }
        if missing.steps.len() == before {
            break;
        }
    }
    resolved.steps = all.iter().filter(|step| !missing.steps.contains(&step.id)).cloned().collect();
    let played: BTreeSet<&str> = resolved.steps.iter().map(|step| step.action.verb()).collect();
    missing.verbs = all.iter().map(|step| step.action.verb()).filter(|verb| !played.contains(verb)).collect();

    // Settings that cannot be made change a story as well.
    let (whole, exact) = (missing.steps.is_empty(), skipped.is_empty());
    for default in resolved.default_expects() {
        let reason = default.expressions().into_iter().find_map(|expr| missing.of(expr));
        if let Some(why) = reason {
            skipped.push(Skipped { what: format!("expectation {}", default.id), why });
            resolved.opt_out.push(default.id);
        }
    }
    let mut doubtful = Vec::new();
    for expect in std::mem::take(&mut resolved.expects) {
        let what = format!("expectation {}", expect.id);
        match judged(expect, &missing) {
            (Some(expect), why) => {
                skipped.extend(why.map(|why| Skipped { what: format!("{what}, in part"), why }));
                match expect.kind {
                    ExpectKind::Sometimes(_) | ExpectKind::Ratio { .. } if !whole => {
                        let why = "steps of the story are left out".to_owned();
                        skipped.push(Skipped { what, why });
                    }
                    ExpectKind::AtEnd(_) if !exact => doubtful.push(expect),
                    _ => resolved.expects.push(expect),
                }
            }
            (None, why) => skipped.push(Skipped { what, why: why.expect("it is left out for a reason") }),
        }
    }
    Fit { resolved, doubtful, skipped }
}

/// What is not there to be waited for or asked about.
#[derive(Default)]
struct Missing {
    steps: BTreeSet<String>,
    /// Verbs of which no step is played.
    verbs: BTreeSet<&'static str>,
}

/// Nobody outside a member sees these.
const UNSEEN: &[(&str, &str)] = &[
    ("log_match", "a process does not tell what is in its log"),
    ("committed_never_lost", "a process does not tell what is in its log"),
    ("ledger", "a process does not tell what it sends, nor its disk what is durable"),
    ("log_entries", "a process does not tell what it holds in memory"),
    ("log_bytes", "a process does not tell what it holds in memory"),
    ("snapshots_sent", "a process does not tell of snapshots"),
    ("snapshots_installed", "a process does not tell of snapshots"),
    ("snapshot", "a process does not tell of snapshots"),
    ("snapshot_begin", "a process does not tell of snapshots"),
    ("checkpoint", "a process does not tell of checkpoints"),
    ("storage.migrate", "a process does not tell of migrations"),
    ("fault.power_loss", "a killed process loses nothing: the page cache survives it"),
    (POINT, "a server as it ships has no points"),
];

impl Missing {
    /// Why an expression has no value.
    fn of(&self, expr: &Expr) -> Option<String> {
        let mut found = None;
        expr.walk(&mut |part| {
            let why = match &part.node {
                ExprNode::Probe(call) => unseen(call.name),
                ExprNode::Event(filter) | ExprNode::Count(filter) => self.event(filter),
                ExprNode::TimeTo { to, from } => self.event(to).or(from.as_ref().and_then(|from| self.event(from))),
                _ => None,
            };
            found = found.take().or(why);
        });
        found
    }

    fn event(&self, filter: &EventFilter) -> Option<String> {
        let gone = |what: &str| format!("{what} is left out");
        match &filter.step {
            Some(step) if self.steps.contains(step) => return Some(gone(&format!("step {step}"))),
            None if filter.name != STEP_EVENT && self.verbs.contains(filter.name.as_str()) => {
                return Some(gone(&format!("every step `{}`", filter.name)));
            }
            _ => {}
        }
        unseen(&filter.name)
    }
}

fn unseen(name: &str) -> Option<String> {
    UNSEEN.iter().find(|(unseen, _)| *unseen == name).map(|(name, why)| format!("{name}: {why}"))
}

/// Why a step is left out.
fn why_not(step: &Step, missing: &Missing) -> Option<String> {
    let action = match &step.action {
        Action::Cut(_) | Action::Slow(_) | Action::Drop(_) | Action::Dup(_) | Action::Reorder(_) => {
            Some("messages between processes are not filtered")
        }
        Action::Reset(_) | Action::Swizzle(_) => Some("connections between processes are left alone"),
        Action::DiskStep(step) if step.wiped == Some(true) => Some("a disk is not taken from under a process"),
        Action::Stall(_) => Some("a released server has no points in its code"),
        Action::DiskStep(_) => Some("real disks do as they please"),
        Action::ClockStep(_) => Some("processes share the machine's clock"),
        Action::Restart(restart) if restart.kind == RestartKind::PowerLoss => {
            Some("the page cache survives a killed process")
        }
        Action::Attrition(attrition) if attrition.kind == RestartKind::PowerLoss => {
            Some("the page cache survives a killed process")
        }
        _ => None,
    };
    let trigger = match &step.trigger {
        Trigger::At(_) => None,
        Trigger::After(filter, _) => missing.event(filter),
        Trigger::When { condition, .. } => missing.of(condition),
    };
    action.map(str::to_owned).or(trigger.map(|why| format!("it waits for what does not come: {why}")))
}

/// What of an expectation can be judged, and why not all of it.
fn judged(mut expect: Expect, missing: &Missing) -> (Option<Expect>, Option<String>) {
    let split = match &expect.kind {
        ExpectKind::Always(expr) => Some((Op::And, expr)),
        ExpectKind::Never(expr) => Some((Op::Or, expr)),
        _ => None,
    };
    if let Some((op, expr)) = split {
        let mut why = None;
        let Some(rest) = keep(op, expr, missing, &mut why) else { return (None, why) };
        expect.kind = if op == Op::And { ExpectKind::Always(rest) } else { ExpectKind::Never(rest) };
        return (Some(expect), why);
    }
    let after = expect.starts_after().and_then(|filter| missing.event(filter));
    let why = after.or_else(|| expect.expressions().into_iter().find_map(|expr| missing.of(expr)));
    if why.is_some() { (None, why) } else { (Some(expect), None) }
}

/// The operands of `op` that have a value.
fn keep(op: Op, expr: &Expr, missing: &Missing, why: &mut Option<String>) -> Option<Expr> {
    if let ExprNode::Binary(found, left, right) = &expr.node
        && *found == op
    {
        return match (keep(op, left, missing, why), keep(op, right, missing, why)) {
            (Some(left), Some(right)) => {
                let node = ExprNode::Binary(op, Box::new(left), Box::new(right));
                Some(Expr { node, ..expr.clone() })
            }
            (left, right) => left.or(right),
        };
    }
    match missing.of(expr) {
        Some(reason) => {
            why.get_or_insert(reason);
            None
        }
        None => Some(expr.clone()),
    }
}

/// Settings that a process is not told, where they are not what they are anyway.
fn settings(cluster: &Cluster) -> Vec<Skipped> {
    const NOT_TOLD: &[(&str, &str)] = &[
        ("check_quorum", "a server as it ships always checks"),
        ("segment_bytes", "a server as it ships decides it by itself"),
        ("snapshot_piece", "a server as it ships decides it by itself"),
        ("raft_log_bytes", "a server as it ships decides it by itself"),
        ("lease_checkpoint", "a server as it ships decides it by itself"),
        ("watch_fragment", "a server as it ships decides it by itself"),
        ("watch_batch", "a server as it ships decides it by itself"),
        ("watch_log", "a server as it ships decides it by itself"),
        ("net", "loopback loses nothing and delays hardly anything"),
        ("disk", "real disks do as they please"),
        ("clock", "processes share the machine's clock"),
        ("mutants", "a server as it ships has no planted bugs"),
        ("switches", "a server as it ships has all its mechanisms"),
    ];
    let normal = Cluster::defaults().expect("every key has a default").literals();
    let differs = |(name, value): &(&'static str, Option<String>)| normal.iter().all(|(n, v)| n != name || v != value);
    let told = cluster.literals().into_iter().filter(differs);
    told.filter_map(|(name, value)| {
        let (_, why) = NOT_TOLD.iter().find(|(key, _)| *key == name)?;
        let what = format!("setting {name} = {}", value.unwrap_or_default());
        Some(Skipped { what, why: (*why).to_owned() })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_scenario::{Decisions, Scenario};

    const STORY: &str = r#"
scn = 1
name = "story"
about = "Some of it needs a simulated world."

[cluster]
segment_bytes = 65536

[[client]]
id = "w"

[[step]]
id = "power"
at = "1s"
do = "restart"
node = "leader"
kind = "power_loss"

[[step]]
id = "next"
after = "power"
do = "transfer"

[[step]]
id = "killed"
at = "5s"
do = "restart"
node = "leader"

[[expect]]
id = "safe"
always = "log_match && leaders_per_term <= 1 && linearizable(kv)"

[[expect]]
id = "after it"
within = "5s"
after = "next.done"
that = "all(progress)"

[[expect]]
id = "changes"
at_end = "count(elected) >= 9"
"#;

    #[test]
    fn what_needs_a_simulated_world_is_named_and_the_rest_is_played() {
        let scenario = Scenario::parse(STORY, "story.toml").expect("a valid file");
        let mut decisions = Decisions::new(0);
        let fit = fit(scenario.resolve(&scenario.cells()[0], &mut decisions));
        let told: Vec<String> =
            fit.skipped.iter().map(|skipped| format!("{}: {}", skipped.what, skipped.why)).collect();
        let unseen = "a process does not tell what is in its log";
        assert_eq!(
            told,
            [
                "setting segment_bytes = 65536: a server as it ships decides it by itself".to_owned(),
                "step power: the page cache survives a killed process".to_owned(),
                "step next: it waits for what does not come: step power is left out".to_owned(),
                format!("expectation log_match: log_match: {unseen}"),
                format!("expectation committed_never_lost: committed_never_lost: {unseen}"),
                "expectation ledger: ledger: a process does not tell what it sends, nor its disk what is durable"
                    .to_owned(),
                format!("expectation safe, in part: log_match: {unseen}"),
                "expectation after it: step next is left out".to_owned(),
            ]
        );
        assert_eq!(fit.resolved.steps.iter().map(|step| step.id.as_str()).collect::<Vec<_>>(), ["killed"]);
        assert_eq!(fit.resolved.expects.iter().map(|expect| expect.id.as_str()).collect::<Vec<_>>(), ["safe"]);
        let ExpectKind::Always(safe) = &fit.resolved.expects[0].kind else { panic!("it was an always") };
        assert_eq!(safe.to_string(), "leaders_per_term <= 1 && linearizable(kv)");
        assert_eq!(fit.doubtful.iter().map(|expect| expect.id.as_str()).collect::<Vec<_>>(), ["changes"]);
    }
}
