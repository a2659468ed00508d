//! The arguments of every verb.

use crate::cluster::Release;
use crate::field::{Dice, Plain, Share, Spread, plain_fields, quote, words};
use crate::read::{Cx, Reader, is_ident};
use crate::section::{KeyDoc, needed, section, unset};
use crate::select::{Link, Messages, Selector, is_reserved};
use crate::time::Nanos;
use crate::tree::Node;
use serde_json::{Value, json};

words! {
    /// How a member goes down.
    pub enum RestartKind, "kind of restart" {
        /// The process ends at once; what it wrote stays.
        Kill = "kill",
        /// The process is asked to stop.
        Clean = "clean",
        /// The process ends and unsynced bytes are lost.
        PowerLoss = "power_loss",
    }
}
words! {
    /// Which release a member boots with.
    pub enum Boot, "release to boot" {
        /// The one it had.
        Same = "same",
        /// The older one of a roll.
        Old = "old",
        /// The newer one of a roll.
        New = "new",
        /// One of both, drawn.
        Either = "either",
    }
}
words! {
    /// What a failing disk answers.
    pub enum DiskError, "disk error" {
        /// Input or output failed.
        Eio = "eio",
        /// No space left.
        Enospc = "enospc",
    }
}
words! {
    /// In which order members are taken.
    pub enum Order, "order" {
        /// The leader last.
        FollowersThenLeader = "followers-then-leader",
        /// The leader first.
        LeaderFirst = "leader-first",
        /// By number.
        ByNumber = "by-number",
        /// Drawn.
        Random = "random",
    }
}
words! {
    /// What is waited for between two members.
    pub enum Wait, "condition to wait for" {
        /// All members are up and agree on a leader.
        Healthy = "healthy",
        /// Nothing.
        None = "none",
    }
}
words! {
    /// What to do with a downgrade.
    pub enum DowngradeAction, "downgrade action" {
        /// Ask whether it is possible.
        Validate = "validate",
        /// Begin.
        Enable = "enable",
        /// Give up.
        Cancel = "cancel",
    }
}
words! {
    /// A change of the membership.
    pub enum MemberChange, "member change" {
        /// A new voter.
        Add = "add",
        /// A new learner.
        AddLearner = "add-learner",
        /// A learner becomes a voter.
        Promote = "promote",
        /// A member leaves.
        Remove = "remove",
        /// A member changes its addresses.
        Update = "update",
        /// A member with an empty disk takes the place of one that left.
        Replace = "replace",
    }
}

/// A name for later steps and expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl Plain for Name {
    const KIND: &'static str = "a name";
    fn plain_schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_]*$" })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Name> {
        cx.ident(node, "name").map(Name)
    }
    fn toml_plain(&self) -> Option<String> {
        Some(quote(&self.0))
    }
}
plain_fields!(Name);

/// A point in the code by name, or all points of one part of it: `wal.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point(pub String);

/// Whether `name`, of a point or of a part of the code, means this point.
pub fn covers(name: &str, point: &str) -> bool {
    match name.strip_suffix('*') {
        Some(part) => part.ends_with('.') && point.starts_with(part),
        None => name == point,
    }
}

impl Plain for Point {
    const KIND: &'static str = "a point in the code (`cargo sim points`), or all of a part, such as `wal.*`";
    fn plain_schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Point> {
        let name = cx.text(node, Self::KIND)?;
        cx.points.push((name.to_owned(), node.span.clone()));
        Some(Point(name.to_owned()))
    }
    fn toml_plain(&self) -> Option<String> {
        Some(quote(&self.0))
    }
}
plain_fields!(Point);

section! {
    /// Messages on a link are lost.
    CutSpec => Cut, "the step `cut`" {
        /// The link.
        link: Link = needed(),
        /// Only these messages.
        matching as "match": Option<Messages> = unset(),
        /// How long.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// Messages on a link take longer.
    SlowSpec => Slow, "the step `slow`" {
        /// The link.
        link: Link = needed(),
        /// Only these messages.
        matching as "match": Option<Messages> = unset(),
        /// Added to the latency of each message; it builds up, by at most half a second per second.
        add: Spread<Nanos> = needed(),
        /// How long.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// A share of the messages on a link is lost.
    DropSpec => Drop, "the step `drop`" {
        /// The link.
        link: Link = needed(),
        /// Only these messages.
        matching as "match": Option<Messages> = unset(),
        /// The share.
        share: Share = needed(),
        /// How long.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// A share of the messages on a link arrives twice.
    DupSpec => Dup, "the step `dup`" {
        /// The link.
        link: Link = needed(),
        /// Only these messages.
        matching as "match": Option<Messages> = unset(),
        /// The share.
        share: Share = Some(Share(1.0)),
        /// How long.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// A share of the messages on a link arrives after later ones.
    ReorderSpec => Reorder, "the step `reorder`" {
        /// The link.
        link: Link = needed(),
        /// Only these messages.
        matching as "match": Option<Messages> = unset(),
        /// The share.
        share: Share = Some(Share(0.5)),
        /// How much later.
        by: Spread<Nanos> = Some(Spread { low: Nanos::from_millis(1), high: Nanos::from_millis(50) }),
        /// How long.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// Connections break and are made again at once: what is under way is lost, and nobody is gone.
    ResetSpec => Reset, "the step `reset`" {
        /// The link.
        link: Link = needed(),
        /// Whether the next attempt to connect is refused, as if the process were gone.
        refused: bool = Some(false),
    }
}
section! {
    /// Members go down and come back.
    RestartSpec => Restart, "the step `restart`" {
        /// The members.
        node: Selector = needed(),
        /// How they go down.
        kind: RestartKind = Some(RestartKind::Kill),
        /// How long they stay down, drawn for each member.
        down: Spread<Nanos> = Some(Spread::fixed(Nanos::from_millis(100))),
        /// How much later each further member goes down, drawn for each member.
        stagger: Spread<Nanos> = Some(Spread::fixed(Nanos::ZERO)),
        /// The release they come back with.
        boot: Boot = Some(Boot::Same),
    }
}
section! {
    /// Members do nothing for a while, and then go on.
    PauseSpec => Pause, "the step `pause`" {
        /// The members.
        node: Selector = needed(),
        /// How long.
        hold as "for": Nanos = needed(),
    }
}
section! {
    /// Whoever comes to a point in the code waits there for a while, and then goes on.
    StallSpec => Stall, "the step `stall`" {
        /// The point, or all of a part of the code: `wal.*`.
        point: Point = needed(),
        /// The members.
        node: Selector = Some(Selector::All),
        /// The share of visits that wait.
        share: Share = Some(Share(1.0)),
        /// How long, drawn for each visit.
        by: Spread<Nanos> = Some(Spread { low: Nanos::from_millis(1), high: Nanos::from_millis(50) }),
        /// How long this goes on.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// Members' disks become slow or fail.
    DiskStepSpec => DiskStep, "the step `disk`" {
        /// The members.
        node: Selector = needed(),
        /// Time a sync takes, drawn for each sync.
        fsync: Option<Spread<Nanos>> = unset(),
        /// What failing operations answer.
        error: Option<DiskError> = unset(),
        /// Share of operations that fail, when `error` is given.
        share: Share = Some(Share(1.0)),
        /// Whether a power loss tears the last write.
        torn: Option<bool> = unset(),
        /// Whether a power loss loses what was not synced.
        lose_unsynced: Option<bool> = unset(),
        /// Whether everything on the disk is gone, and the member starts again without it.
        wiped: Option<bool> = unset(),
        /// Share of long reads, such as a log's at a start, that find a flipped bit in what was not written last.
        rot: Option<Share> = unset(),
        /// How long.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// Members' clocks jump or run at another rate.
    ClockStepSpec => ClockStep, "the step `clock`" {
        /// The members.
        node: Selector = needed(),
        /// The jump; forwards when positive.
        offset: Option<Nanos> = unset(),
        /// Seconds gained per second.
        drift: Option<f64> = unset(),
        /// How long the drift lasts.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// All faults end; the phase begins in which the cluster must work.
    QuiesceSpec => Quiesce, "the step `quiesce`" {}
}
section! {
    /// A mark in the log of the run.
    MarkSpec => Mark, "the step `mark`" {
        /// Its text.
        name: Name = needed(),
    }
}
section! {
    /// History is compacted.
    CompactSpec => Compact, "the step `compact`" {
        /// Revisions behind the head that are kept.
        keep: u64 = Some(0),
        /// Whether the answer waits until the space is free.
        physical: bool = Some(false),
    }
}
section! {
    /// Members end and stay down.
    StopSpec => Stop, "the step `stop`" {
        /// The members.
        node: Selector = needed(),
    }
}
section! {
    /// Members change their release, one after the other.
    RollSpec => Roll, "the step `roll`" {
        /// The release.
        to: Release = needed(),
        /// The order of members.
        order: Order = Some(Order::FollowersThenLeader),
        /// What is waited for after each.
        wait: Wait = Some(Wait::Healthy),
    }
}
section! {
    /// A downgrade is validated, enabled or cancelled.
    DowngradeSpec => Downgrade, "the step `downgrade`" {
        /// What to do.
        action: DowngradeAction = Some(DowngradeAction::Enable),
        /// The release.
        to: Option<Release> = unset(),
    }
}
section! {
    /// The membership changes.
    MemberSpec => Member, "the step `member`" {
        /// The change.
        change: MemberChange = needed(),
        /// The member it is about; not for a new one.
        node: Option<Selector> = unset(),
        /// Whether to wait until it is done before anything else.
        wait: Wait = Some(Wait::None),
    }
}
section! {
    /// Leadership is handed over.
    TransferSpec => Transfer, "the step `transfer`" {
        /// To this member.
        to: Selector = Some(Selector::RandomFollower),
    }
}
section! {
    /// Members are asked to defragment.
    DefragSpec => Defrag, "the step `defrag`" {
        /// The members.
        node: Selector = Some(Selector::All),
    }
}
section! {
    /// Members are cut off one by one and come back one by one, in drawn orders.
    SwizzleSpec => Swizzle, "the step `swizzle`" {
        /// The members.
        node: Selector = Some(Selector::Minority),
        /// Time between two of them.
        gap: Spread<Nanos> = Some(Spread { low: Nanos::from_millis(100), high: Nanos::from_secs(2) }),
        /// How long the last of them stays away.
        hold as "for": Option<Nanos> = unset(),
    }
}
section! {
    /// Members are restarted again and again.
    AttritionSpec => Attrition, "the step `attrition`" {
        /// The members.
        node: Selector = Some(Selector::Random(1)),
        /// How they go down.
        kind: RestartKind = Some(RestartKind::Kill),
        /// Time between two restarts.
        gap: Spread<Nanos> = Some(Spread { low: Nanos::from_secs(1), high: Nanos::from_secs(5) }),
        /// How long.
        hold as "for": Nanos = needed(),
    }
}

/// Gives names to what selectors mean now, for the rest of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Names with what they stand for, in the order of the file; each selector sees the names before it.
    pub names: Vec<(String, Selector)>,
}

/// `Bind` holds nothing to draw.
pub type BindSpec = Bind;

impl Bind {
    pub(super) fn read_keys(cx: &mut Cx<'_>, reader: &mut Reader<'_>) -> Option<Bind> {
        let mut names = Vec::new();
        for entry in reader.rest() {
            if !is_ident(&entry.key) || is_reserved(&entry.key) {
                cx.problem(
                    entry.key_span.clone(),
                    format!("\"{}\" cannot be bound: use a name such as L that is not a selector already", entry.key),
                );
            } else if let Some(selector) = Selector::read_plain(cx, &entry.value) {
                if !selector.is_single() {
                    cx.problem(
                        entry.value.span.clone(),
                        format!("\"{selector}\" may mean several members: bind a name to one"),
                    );
                }
                names.push((entry.key.clone(), selector));
            }
        }
        if names.is_empty() {
            cx.problem(reader.span(), "the step `bind` binds no name: add one such as L = \"leader\"");
        }
        Some(Bind { names })
    }

    pub(super) fn draw(&self, _dice: &mut Dice<'_>, _path: &str) -> Bind {
        self.clone()
    }

    pub(super) fn literals(&self) -> Vec<(&str, Option<String>)> {
        self.names.iter().map(|(name, selector)| (name.as_str(), selector.toml_plain())).collect()
    }

    pub(super) fn keys() -> Vec<KeyDoc> {
        let doc = "Any name, for the member the selector means now.".to_owned();
        let (kind, schema) = (Selector::KIND.to_owned(), Selector::plain_schema());
        vec![KeyDoc { key: "NAME", kind, default: String::new(), needed: true, doc, schema }]
    }
}
