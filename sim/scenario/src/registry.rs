//! Every name an expression may use: probes, events, functions. An unknown name is a load error with the nearest one.
//!
//! A *probe* has a value at a moment. An *event* happens at moments; where a yes or no is wanted it means "it has
//! happened" (in the window, when one is given). Some names are both: `leader` is a member now, and the event that
//! one was elected. A probe of members or clients without arguments is the list of all of them: `all(release ==
//! '3.5')`.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// A length of time.
    Duration,
    /// A text.
    Text,
}

impl Kind {
    /// The kind in words.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Number => "a number",
            Kind::Duration => "a duration",
            Kind::Text => "a text",
        }
    }
}

/// What an argument of a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// Members, by selector. Left out: all.
    Nodes,
    /// Clients, by id, or `all`. Left out: all.
    Clients,
    /// One of these words; may be left out.
    Word(&'static [&'static str]),
    /// One of these words, which must be given.
    NeededWord(&'static [&'static str]),
}

/// A probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeDoc {
    /// Its name.
    pub name: &'static str,
    /// Its arguments in order.
    pub args: &'static [ArgKind],
    /// Properties that can be asked for by name: `leader(release: '3.6')`.
    pub tests: &'static [(&'static str, Kind)],
    /// What it answers, for one member or client.
    pub kind: Kind,
    /// Whether it sums up a stretch of time, so that `in A..B` limits it.
    pub windowed: bool,
    /// One line.
    pub doc: &'static str,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct EventDoc {
    /// Its name.
    pub name: &'static str,
    /// Whether it happens at a member: `step_down(leader)`, `fp(point) on n2`.
    pub at_node: bool,
    /// The property a bare argument means: `swapped(1)` is `swapped(n: 1)`.
    pub positional: Option<(&'static str, Kind)>,
    /// Properties that can be asked for by name.
    pub tests: &'static [(&'static str, Kind)],
    /// The event it is another name for.
    pub alias_of: Option<&'static str>,
    /// Whether it belongs to a step: `down.swapped(1)`.
    pub of_step: bool,
    /// One line.
    pub doc: &'static str,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// True for every element.
    All,
    /// True for at least one element.
    Any,
    /// The smallest element.
    Min,
    /// The largest element.
    Max,
    /// The average.
    Mean,
    /// The median.
    P50,
    /// The 99th percentile.
    P99,
    /// The total.
    Sum,
    /// Never smaller than at the moment before.
    Monotone,
    /// How often an event happened, or how many elements are true.
    Count,
    /// From the first `from` event (or the start) to the first event after it.
    TimeTo,
}

/// The functions with their names and one line each.
pub const FUNCTIONS: &[(&str, Function, &str)] = &[
    ("all", Function::All, "true for every element of a list"),
    ("any", Function::Any, "true for at least one element of a list"),
    ("min", Function::Min, "the smallest element of a list, or value of the runs of a cell"),
    ("max", Function::Max, "the largest element of a list, or value of the runs of a cell"),
    ("mean", Function::Mean, "the average of a list, or over the runs of a cell"),
    ("p50", Function::P50, "the median of a list, or over the runs of a cell"),
    ("p99", Function::P99, "the 99th percentile of a list, or over the runs of a cell"),
    ("sum", Function::Sum, "the total of a list, or over the runs of a cell"),
    ("monotone", Function::Monotone, "never smaller than at the moment before"),
    ("count", Function::Count, "how often an event happened, or how many elements of a list are true"),
    ("time_to", Function::TimeTo, "time from the first `from` event (else the start) to the first such event after it"),
];

const fn probe(
    name: &'static str,
    args: &'static [ArgKind],
    kind: Kind,
    windowed: bool,
    doc: &'static str,
) -> ProbeDoc {
    ProbeDoc { name, args, tests: &[], kind, windowed, doc }
}

const NODE: &[ArgKind] = &[ArgKind::Nodes];
const CLIENT: &[ArgKind] = &[ArgKind::Clients];
const PERCENTILES: &[&str] = &["p50", "p90", "p99", "max"];

/// The probes.
pub const PROBES: &[ProbeDoc] = &[
    ProbeDoc {
        tests: &[("release", Kind::Text)],
        ..probe("leader", &[], Kind::Text, false, "the leader of the highest term, such as 'n2'; none counts as false")
    },
    probe("term", NODE, Kind::Number, false, "the term a member is in"),
    probe("role", NODE, Kind::Text, false, "'leader', 'follower', 'candidate', 'pre_candidate' or 'learner'"),
    probe("commit", NODE, Kind::Number, false, "the commit index of a member"),
    probe("applied", NODE, Kind::Number, false, "the applied index of a member"),
    probe("revision", NODE, Kind::Number, false, "the store revision of a member"),
    probe("release", NODE, Kind::Text, false, "the release level a member runs at"),
    probe("storage_version", NODE, Kind::Text, false, "the version of the stored schema of a member"),
    probe("cluster_version", &[], Kind::Text, false, "the version the cluster agreed on"),
    probe("downgrade.enabled", &[], Kind::Bool, false, "whether a downgrade is under way"),
    probe(
        "progress",
        CLIENT,
        Kind::Bool,
        true,
        "whether a client had an operation acknowledged (since the trigger, in a `that`)",
    ),
    probe(
        "served",
        CLIENT,
        Kind::Bool,
        true,
        "whether a client had a write and a linearizable read acknowledged, of those it asks for (since the trigger, in a `that`)",
    ),
    probe("stall", CLIENT, Kind::Duration, true, "the longest time so far without an acknowledged operation"),
    probe("max_unavail", CLIENT, Kind::Duration, true, "the longest gap between two acknowledged operations"),
    probe(
        "latency",
        &[ArgKind::Clients, ArgKind::NeededWord(PERCENTILES)],
        Kind::Duration,
        true,
        "a percentile of the latency of acknowledged operations",
    ),
    probe(
        "errors",
        CLIENT,
        Kind::Text,
        true,
        "the kinds of errors a client saw; what the data refuses (a compacted revision) is an answer",
    ),
    probe("reads", CLIENT, Kind::Number, true, "acknowledged reads"),
    probe("writes", CLIENT, Kind::Number, true, "acknowledged writes"),
    probe("acks", CLIENT, Kind::Number, true, "acknowledged operations"),
    probe("wal_appends", NODE, Kind::Number, true, "entries a member appended to its log on disk"),
    probe("fsyncs", NODE, Kind::Number, true, "syncs of a member's disk"),
    probe("log_entries", NODE, Kind::Number, false, "the most entries a member's log has held in memory so far"),
    probe("log_bytes", NODE, Kind::Number, false, "the most payload bytes a member's log has held in memory so far"),
    probe("disk_bytes", NODE, Kind::Number, false, "bytes of all files on a member's disk"),
    probe("snapshots_sent", &[], Kind::Number, true, "snapshots sent to members that lagged"),
    probe("snapshots_installed", &[], Kind::Number, true, "snapshots installed by members that lagged"),
    probe("restarts", &[], Kind::Number, true, "boots of members after their first"),
    probe("leaders_per_term", &[], Kind::Number, false, "the largest number of leaders any term has had"),
    probe("log_match", &[], Kind::Bool, false, "equal index and term mean equal entries up to there, in all members"),
    probe("committed_never_lost", &[], Kind::Bool, false, "every committed entry is in the log of every later leader"),
    probe("linearizable", &[ArgKind::Word(&["kv"])], Kind::Bool, false, "the history so far is linearizable"),
    probe("watch_ok", &[], Kind::Bool, false, "every watch so far kept its guarantees"),
    probe("lease_ok", &[], Kind::Bool, false, "no lease ended early, none lived on too long"),
    probe(
        "hash_agree",
        &[ArgKind::Word(&["index", "revision"])],
        Kind::Bool,
        false,
        "members have equal state hashes at equal index (or revision)",
    ),
    probe("ledger", &[], Kind::Bool, false, "nothing was promised before it was durable"),
    probe("converged", &[], Kind::Bool, false, "all live members have the same log, commit, applied index and state"),
];

const fn event(name: &'static str, at_node: bool, doc: &'static str) -> EventDoc {
    EventDoc { name, at_node, positional: None, tests: &[], alias_of: None, of_step: false, doc }
}

/// The event of a point in the code.
pub const POINT: &str = "fp";

/// The events. Every verb of a step is an event too (when a step with it has fired, or finished if it takes long),
/// and so is the id of a step.
pub const EVENTS: &[EventDoc] = &[
    EventDoc {
        tests: &[("release", Kind::Text), ("term", Kind::Number)],
        ..event("elected", true, "a member became leader")
    },
    EventDoc {
        alias_of: Some("elected"),
        tests: &[("release", Kind::Text), ("term", Kind::Number)],
        ..event("leader", true, "a member became leader (the same as elected)")
    },
    event("step_down", true, "a leader became something else"),
    EventDoc {
        tests: &[("from", Kind::Text), ("to", Kind::Text)],
        ..event("snapshot", true, "a member installed a snapshot; releases of sender and receiver")
    },
    event("snapshot_begin", true, "a leader began to send a snapshot, or began anew"),
    event("heal", false, "the fault of a step ended"),
    event("boot", true, "a member started"),
    event("fault.power_loss", true, "a member lost power"),
    event("fault.kill", true, "a member was killed"),
    event("panic", true, "a member panicked"),
    EventDoc { tests: &[("code", Kind::Number)], ..event("exit", true, "a member ended by itself") },
    event("lease_expired", false, "a lease expired"),
    event("watch_resumed", false, "a watch was opened again where it had broken off"),
    event("watch_fragment", false, "a watch response came in pieces, for the first time on its stream"),
    event("checkpoint", true, "a member wrote a checkpoint"),
    event("downgrade.enabled", false, "a downgrade was enabled"),
    event("storage.migrate", true, "a migration of the stored schema, from its begin to its end"),
    EventDoc { of_step: true, ..event("done", false, "what a step asked the cluster for was done") },
    EventDoc {
        positional: Some(("reason", Kind::Text)),
        of_step: true,
        ..event("refused", false, "the cluster refused what a step asked for, with this error")
    },
    EventDoc {
        positional: Some(("point", Kind::Text)),
        ..event(POINT, true, "a named point in the code (`cargo sim points`) was reached")
    },
    EventDoc {
        positional: Some(("n", Kind::Number)),
        of_step: true,
        ..event("swapped", true, "the n-th member of a roll runs its new release")
    },
];

/// The probe `name`.
pub fn find_probe(name: &str) -> Option<&'static ProbeDoc> {
    PROBES.iter().find(|probe| probe.name == name)
}

/// The event `name`, not counting verbs and step ids.
pub fn find_event(name: &str) -> Option<&'static EventDoc> {
    EVENTS.iter().find(|event| event.name == name)
}

/// The function `name`.
pub fn find_function(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|(function, ..)| *function == name).map(|(_, function, _)| *function)
}

impl Function {
    /// Its name.
    pub fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, _)| *function == self).expect("every function is listed").0
    }
}
