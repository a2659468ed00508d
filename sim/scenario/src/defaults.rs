//! Expectations that every file has unless its `opt_out` names them: the safety set, no panic, and a cluster that
//! works again once all faults are off.

use crate::client::ClientKnobs;
use crate::cluster::Cluster;
use crate::expect::{Expect, ExpectKind};
use crate::expr::{EventFilter, Expr, parse_builtin};
use crate::time::Nanos;

/// One default expectation, as data.
#[derive(Clone, Copy, Debug)]
pub struct DefaultExpect {
    /// The name for `opt_out`.
    pub name: &'static str,
    /// The kind: `always`, `never`, or `within` (after `quiesce`).
    pub kind: &'static str,
    /// The condition.
    pub text: &'static str,
    /// One line.
    pub doc: &'static str,
    /// It looks inside members: no client could tell.
    pub inside: bool,
}

/// In `opt_out`: everything that looks inside members. Only what a client could see is judged then.
pub const WHITE_BOX: &str = "white_box";

/// What `opt_out` may name.
pub fn opt_outs() -> impl Iterator<Item = &'static str> {
    DEFAULTS.iter().map(|default| default.name).chain([WHITE_BOX])
}

const fn inside(name: &'static str, kind: &'static str, text: &'static str, doc: &'static str) -> DefaultExpect {
    DefaultExpect { name, kind, text, doc, inside: true }
}

const fn default(name: &'static str, kind: &'static str, text: &'static str, doc: &'static str) -> DefaultExpect {
    DefaultExpect { name, kind, text, doc, inside: false }
}

/// All of them, safety first.
pub const DEFAULTS: &[DefaultExpect] = &[
    inside("leaders_per_term", "always", "leaders_per_term <= 1", "a term has at most one leader"),
    inside("log_match", "always", "log_match", "logs agree wherever they share an index and term"),
    inside("committed_never_lost", "always", "committed_never_lost", "committed entries stay"),
    default("linearizable", "always", "linearizable(kv)", "clients see one order of operations"),
    default("watch_ok", "always", "watch_ok", "watches lose, repeat and reorder nothing"),
    default("lease_ok", "always", "lease_ok", "leases end neither early nor late"),
    inside("hash_agree", "always", "hash_agree", "members have equal state at equal index"),
    inside("ledger", "always", "ledger", "nothing is promised before it is durable"),
    default("no_panic", "never", "panic", "no member panics"),
    inside("converged", "within", "converged", "after quiesce all members come to the same state"),
    default("heals", "within", "all(served)", "after quiesce every client can write and read what is linearizable"),
];

/// Election time-outs a cluster may need to work again after the last fault.
const ELECTIONS_TO_HEAL: f64 = 10.0;
/// And the time for a write and a read on top …
const OPERATION: Nanos = Nanos::from_secs(2);
/// … or, where clients call more rarely, for so many calls of theirs: a try or two may be lost.
const CALLS: f64 = 4.0;
/// Each client of a group calls once in this many of its mean pauses at least: one is drawn up to half as long again.
const PAUSES: f64 = 1.5;
/// However rarely they call.
const CALLS_MAX: Nanos = Nanos::from_secs(600);

/// How long after `quiesce` the cluster must work again, when its slowest clients need so long for their calls.
pub fn heal_time(cluster: &Cluster, calls: Nanos) -> Nanos {
    cluster.tick.times(cluster.election_ticks as f64 * ELECTIONS_TO_HEAL) + OPERATION.max(calls)
}

/// How long the slowest clients need for a few calls, of those that draw what they do; none without such clients.
pub fn slowest_calls<'a>(groups: impl IntoIterator<Item = &'a ClientKnobs>) -> Option<Nanos> {
    let drawing = groups.into_iter().filter(|knobs| knobs.ops.0.is_empty());
    let seconds = drawing.map(|knobs| (CALLS + PAUSES * knobs.count as f64) / knobs.rate).max_by(f64::total_cmp)?;
    Some(Nanos::from_secs(1).times(seconds.min(CALLS_MAX.as_secs_f64())))
}

/// The default expectations of a run that did not opt out of them.
pub fn expects(cluster: &Cluster, opt_out: &[String], calls: Option<Nanos>) -> Vec<Expect> {
    let wanted = |default: &&DefaultExpect| {
        let out = |name: &String| name == default.name || (name == WHITE_BOX && default.inside);
        !opt_out.iter().any(out) && (calls.is_some() || default.name != "heals")
    };
    DEFAULTS.iter().filter(wanted).map(|default| expect(default, cluster, calls)).collect()
}

fn expect(default: &DefaultExpect, cluster: &Cluster, calls: Option<Nanos>) -> Expect {
    let condition: Expr = parse_builtin(default.text);
    let kind = match default.kind {
        "always" => ExpectKind::Always(condition),
        "never" => ExpectKind::Never(condition),
        "within" => ExpectKind::Within {
            within: heal_time(cluster, calls.unwrap_or(Nanos::ZERO)),
            after: EventFilter::named("quiesce"),
            that: condition,
        },
        kind => unreachable!("no default expectation is of kind {kind}"),
    };
    Expect { id: default.name.to_owned(), kind }
}
