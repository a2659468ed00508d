//! `[cluster]`: what the members are configured with, and the world around them.

use crate::field::{Bytes, Plain, Share, Spread, plain_fields, quote, words};
use crate::problem::{Problem, Source, unknown};
use crate::read::{Cx, Reader};
use crate::section::section;
use crate::select::Selector;
use crate::time::Nanos;
use crate::tree::{Node, Tree};
use serde_json::{Value, json};
use std::ops::Range;

/// The largest cluster.
pub const NODES_MAX: u64 = 9;
/// The longest time-out in ticks.
pub const TICKS_MAX: u64 = 1_000;
/// Events in one response, or kept for watches, at most.
pub const WATCH_EVENTS_MAX: u64 = 1 << 24;

words! {
    /// A release level that a member runs at, and that a client is written for.
    pub enum Release, "release" {
        /// 3.5
        V3_5 = "3.5",
        /// 3.6
        V3_6 = "3.6",
        /// 3.7
        V3_7 = "3.7",
    }
}

section! {
    /// Every connection between members.
    NetSpec => Net, "net" {
        /// Time a message travels, drawn for each message.
        latency: Spread<Nanos> = Some(Spread { low: Nanos::from_millis(1), high: Nanos::from_millis(5) }),
        /// Share of messages lost.
        loss: Share = Some(Share(0.0)),
        /// Share of messages delivered twice.
        duplicate: Share = Some(Share(0.0)),
        /// Share of messages delivered late, after their successors.
        reorder: Share = Some(Share(0.0)),
    }
}

section! {
    /// Every member's disk.
    DiskSpec => Disk, "disk" {
        /// Time a sync takes, drawn for each sync.
        fsync: Spread<Nanos> = Some(Spread { low: Nanos(200_000), high: Nanos::from_millis(2) }),
        /// Whether a power loss may leave a part of the last unsynced write.
        torn: bool = Some(false),
        /// Whether a power loss loses what was not synced.
        lose_unsynced: bool = Some(true),
        /// Share of operations that fail with EIO.
        error_rate: Share = Some(Share(0.0)),
    }
}

section! {
    /// Every member's clock.
    ClockSpec => Clock, "clock" {
        /// Distance from simulated time at the start, drawn for each member.
        offset: Spread<Nanos> = Some(Spread::fixed(Nanos::ZERO)),
        /// Seconds gained per second (0.01 runs one per cent fast), drawn for each member.
        drift: Spread<f64> = Some(Spread::fixed(0.0)),
    }
}

section! {
    /// The cluster at the start of a run.
    ClusterSpec => Cluster, "[cluster]" {
        /// Members.
        nodes: u64 = Some(3),
        /// Length of one tick.
        tick: Nanos = Some(Nanos::from_millis(100)),
        /// Ticks without a leader before a member campaigns; the actual time-out is drawn from n to 2n-1.
        election_ticks: u64 = Some(10),
        /// Ticks between heartbeats.
        heartbeat_ticks: u64 = Some(1),
        /// Whether a member asks for support before it raises its term.
        pre_vote: bool = Some(true),
        /// Whether a leader steps down without a majority, and members refuse votes while they hear a leader.
        check_quorum: bool = Some(true),
        /// Whether a member that boots with peers shortens its first election time-out.
        tick_advance: bool = Some(true),
        /// Entries between checkpoints after which the log is cut.
        snapshot_count: u64 = Some(10_000),
        /// Entries kept for members that lag.
        snapshot_catchup: u64 = Some(5_000),
        /// Release level of every member.
        release: Release = Some(Release::V3_7),
        /// Size of a log segment.
        segment_bytes: Bytes = Some(Bytes(1 << 20)),
        /// Applied entries between checkpoints.
        checkpoint_every: u64 = Some(1_000),
        /// Bytes per second of snapshots that a member sends; 0 is no limit.
        snapshot_rate: Bytes = Some(Bytes(64 << 20)),
        /// Bytes of one piece of a snapshot.
        snapshot_piece: Bytes = Some(Bytes(256 << 10)),
        /// Payload bytes of applied entries kept in memory.
        raft_log_bytes: Bytes = Some(Bytes(64 << 20)),
        /// Between two checkpoints of how long a lease has left; 0s is none.
        lease_checkpoint: Nanos = Some(Nanos::from_secs(300)),
        /// Between two bookmarks of a quiet watch that wants them.
        watch_progress: Nanos = Some(Nanos::from_secs(5)),
        /// Bytes of a watch response beyond which it is split, for watches that want that.
        watch_fragment: Bytes = Some(Bytes(2 << 20)),
        /// Events of a watch response, as far as a revision is not split; history is looked through in such parts.
        watch_batch: u64 = Some(1_000),
        /// Events kept for watches that are only a little behind: others look for them in the history.
        watch_log: u64 = Some(32_768),
        /// Connections between members.
        net: Net = Net::defaults(),
        /// Disks.
        disk: Disk = Disk::defaults(),
        /// Clocks.
        clock: Clock = Clock::defaults(),
        /// Planted bugs.
        mutants: Planted = Some(Planted::default()),
        /// Mechanisms switched off.
        switches: Planted = Some(Planted::default()),
    }
}

impl Cluster {
    /// The longest time a follower waits before it campaigns.
    pub fn election_timeout_max(&self) -> Nanos {
        self.tick.times((2 * self.election_ticks) as f64)
    }
}

/// One bug or switch, and the members that carry it.
#[derive(Clone, Debug)]
pub struct Plant {
    /// Its name, such as `ack-before-fsync`.
    pub name: String,
    /// The members.
    pub on: Selector,
    span: Range<usize>,
}

impl Plant {
    /// `name` in the members `on`.
    pub fn new(name: impl Into<String>, on: Selector) -> Plant {
        Plant { name: name.into(), on, span: 0..0 }
    }
}

impl PartialEq for Plant {
    fn eq(&self, other: &Plant) -> bool {
        self.name == other.name && self.on == other.on
    }
}

/// A list of names, each for all members or for some: `["a", { name = "b", on = "n2" }]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planted(pub Vec<Plant>);

impl Planted {
    /// As a file writes it; `None` when nothing is planted.
    pub fn toml(&self) -> Option<String> {
        self.toml_plain()
    }

    /// A problem for each name that is not among `known`.
    pub fn check(&self, source: &Source, what: &str, known: &[&str]) -> Vec<Problem> {
        let strangers = self.0.iter().filter(|plant| !known.contains(&plant.name.as_str()));
        strangers
            .map(|plant| source.problem(plant.span.clone(), unknown(what, &plant.name, known.iter().copied())))
            .collect()
    }
}

impl Plain for Planted {
    const KIND: &'static str = "a list of names, or of tables { name, on }";
    fn plain_schema() -> Value {
        let name = json!({ "type": "string", "minLength": 1 });
        let table = json!({
            "type": "object",
            "properties": { "name": name, "on": Selector::plain_schema() },
            "required": ["name"],
            "additionalProperties": false,
        });
        json!({ "type": "array", "items": { "anyOf": [name, table] } })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Planted> {
        let Tree::List(items) = &node.tree else { return cx.wrong_type(node, Self::KIND) };
        let plants: Vec<Option<Plant>> = items
            .iter()
            .map(|item| match &item.tree {
                Tree::Text(name) => Some(Plant { name: name.clone(), on: Selector::All, span: item.span.clone() }),
                _ => {
                    let mut reader = Reader::new(cx, item, "mutants and switches")?;
                    let name = reader
                        .need(cx, "name")
                        .and_then(|node| Some((cx.text(node, "a name")?.to_owned(), node.span.clone())));
                    let on = match reader.get("on") {
                        Some(node) => Selector::read_plain(cx, node),
                        None => Some(Selector::All),
                    };
                    reader.finish(cx);
                    let (name, span) = name?;
                    Some(Plant { name, on: on?, span })
                }
            })
            .collect();
        plants.into_iter().collect::<Option<Vec<Plant>>>().map(Planted)
    }
    fn toml_plain(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let plants = self.0.iter().map(|plant| match plant.on {
            Selector::All => quote(&plant.name),
            _ => format!("{{ name = {}, on = {} }}", quote(&plant.name), quote(&plant.on.to_string())),
        });
        Some(format!("[{}]", plants.collect::<Vec<_>>().join(", ")))
    }
}

plain_fields!(Planted);

/// Checks what types cannot: sizes and how keys go together.
pub(crate) fn check_limits(cx: &mut Cx<'_>, reader: &mut Reader<'_>, spec: &ClusterSpec) {
    let mut limit = |cx: &mut Cx<'_>, key: &str, values: Vec<&u64>, low: u64, high: u64| {
        if let Some(entry) = reader.entry(key)
            && let Some(value) = values.into_iter().find(|value| !(low..=high).contains(*value))
        {
            cx.problem(entry.value.span.clone(), format!("{key} = {value} is out of bounds: {low} to {high}"));
        }
    };
    limit(cx, "nodes", spec.nodes.extremes(), 1, NODES_MAX);
    limit(cx, "election_ticks", spec.election_ticks.extremes(), 2, TICKS_MAX);
    limit(cx, "heartbeat_ticks", spec.heartbeat_ticks.extremes(), 1, TICKS_MAX);
    limit(cx, "snapshot_count", spec.snapshot_count.extremes(), 1, u64::MAX);
    limit(cx, "watch_batch", spec.watch_batch.extremes(), 1, WATCH_EVENTS_MAX);
    limit(cx, "watch_log", spec.watch_log.extremes(), 0, WATCH_EVENTS_MAX);
    limit(cx, "checkpoint_every", spec.checkpoint_every.extremes(), 1, u64::MAX);
    if let Some(entry) = reader.entry("tick")
        && spec.tick.extremes().into_iter().any(|tick| *tick <= Nanos::ZERO)
    {
        cx.problem(entry.value.span.clone(), "tick must be longer than 0s");
    }
    let slowest_heartbeat = spec.heartbeat_ticks.extremes().into_iter().max();
    let fastest_election = spec.election_ticks.extremes().into_iter().min();
    if slowest_heartbeat >= fastest_election {
        let at = reader.entry("heartbeat_ticks").or(reader.entry("election_ticks"));
        let span = at.map_or(reader.span(), |entry| entry.value.span.clone());
        cx.problem(span, "heartbeat_ticks must stay below election_ticks, whatever is drawn");
    }
}
