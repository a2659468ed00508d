//! What a step can do: every verb with its arguments.
//!
//! A fault with `for` heals by itself; without it, it lasts until `quiesce`. Verbs marked as later are part of the
//! language and checked in full, but a simulator may refuse to run them.

use crate::cluster::Release;
use crate::field::{Plain, Share, Spread, plain_fields, quote, words};
use crate::problem::unknown;
use crate::read::{Cx, Reader, is_ident};
use crate::section::{KeyDoc, needed, section, unset};
use crate::select::{Link, Messages, Selector, is_reserved};
use crate::time::Nanos;
use crate::tree::Node;

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
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Name> {
        cx.ident(node, "name").map(Name)
    }
    fn toml_plain(&self) -> Option<String> {
        Some(quote(&self.0))
    }
}
plain_fields!(Name);

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
        /// Added to the latency of each message.
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
        /// Share of reads that find a flipped bit.
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
    fn read_keys(cx: &mut Cx<'_>, reader: &mut Reader<'_>) -> Option<Bind> {
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

    fn draw(&self, _dice: &mut crate::field::Dice<'_>, _path: &str) -> Bind {
        self.clone()
    }

    fn literals(&self) -> Vec<(&str, Option<String>)> {
        self.names.iter().map(|(name, selector)| (name.as_str(), selector.toml_plain())).collect()
    }

    fn keys() -> Vec<KeyDoc> {
        let doc = "Any name, for the member the selector means now.".to_owned();
        vec![KeyDoc { key: "NAME", kind: Selector::KIND.to_owned(), default: String::new(), needed: true, doc }]
    }
}

macro_rules! verbs {
    ($($(#[doc = $doc:literal])* $name:ident, $open:ident, $text:literal, $later:literal;)*) => {
        /// What a step does in one run.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Action { $($(#[doc = $doc])* $name($name),)* }

        /// What a step does, as the file gives it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ActionSpec { $($(#[doc = $doc])* $name($open),)* }

        const VERBS: &[(&str, bool, &str)] = &[$(($text, $later, concat!($($doc),*)),)*];

        impl ActionSpec {
            /// The verb, as files write it.
            pub fn verb(&self) -> &'static str {
                match self { $(ActionSpec::$name(_) => $text,)* }
            }

            pub(crate) fn read(cx: &mut Cx<'_>, reader: &mut Reader<'_>, verb: &str) -> Option<ActionSpec> {
                match verb {
                    $($text => $open::read_keys(cx, reader).map(ActionSpec::$name),)*
                    _ => unreachable!("the caller checked the verb"),
                }
            }

            pub(crate) fn draw(&self, dice: &mut crate::field::Dice<'_>, path: &str) -> Action {
                match self { $(ActionSpec::$name(args) => Action::$name(args.draw(dice, path)),)* }
            }
        }

        impl Action {
            /// The verb, as files write it.
            pub fn verb(&self) -> &'static str {
                match self { $(Action::$name(_) => $text,)* }
            }

            pub(crate) fn literals(&self) -> Vec<(String, String)> {
                match self {
                    $(Action::$name(args) => args
                        .literals()
                        .into_iter()
                        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
                        .collect(),)*
                }
            }
        }

        /// Every verb with its keys, for the reference.
        pub fn docs() -> Vec<VerbDoc> {
            vec![$(VerbDoc { verb: $text, later: $later, doc: concat!($($doc),*).trim(), keys: $name::keys() },)*]
        }
    };
}

/// One verb, for the reference.
#[derive(Clone, Debug)]
pub struct VerbDoc {
    /// The verb.
    pub verb: &'static str,
    /// Whether it is part of the language but may not be run yet.
    pub later: bool,
    /// One line.
    pub doc: &'static str,
    /// Its keys.
    pub keys: Vec<KeyDoc>,
}

verbs! {
    /// Loses messages.
    Cut, CutSpec, "cut", false;
    /// Delays messages.
    Slow, SlowSpec, "slow", false;
    /// Loses a share of messages.
    Drop, DropSpec, "drop", false;
    /// Repeats messages.
    Dup, DupSpec, "dup", false;
    /// Puts messages out of order.
    Reorder, ReorderSpec, "reorder", false;
    /// Takes members down and up.
    Restart, RestartSpec, "restart", false;
    /// Stalls members.
    Pause, PauseSpec, "pause", false;
    /// Makes disks slow or fail.
    DiskStep, DiskStepSpec, "disk", false;
    /// Makes clocks jump or drift.
    ClockStep, ClockStepSpec, "clock", false;
    /// Ends all faults.
    Quiesce, QuiesceSpec, "quiesce", false;
    /// Names members.
    Bind, BindSpec, "bind", false;
    /// Marks the log.
    Mark, MarkSpec, "mark", false;
    /// Compacts history.
    Compact, CompactSpec, "compact", false;
    /// Stops members for good.
    Stop, StopSpec, "stop", true;
    /// Changes the release of members.
    Roll, RollSpec, "roll", true;
    /// Starts or ends a downgrade.
    Downgrade, DowngradeSpec, "downgrade", true;
    /// Changes the membership.
    Member, MemberSpec, "member", true;
    /// Hands leadership over.
    Transfer, TransferSpec, "transfer", true;
    /// Defragments.
    Defrag, DefragSpec, "defrag", true;
    /// Cuts members off one by one.
    Swizzle, SwizzleSpec, "swizzle", true;
    /// Restarts members again and again.
    Attrition, AttritionSpec, "attrition", true;
}

/// The names of all verbs.
pub fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|(name, ..)| *name)
}

/// Whether there is such a verb.
pub fn is_verb(name: &str) -> bool {
    names().any(|verb| verb == name)
}

/// Whether the verb is part of the language but may not be run yet.
pub fn is_later(name: &str) -> bool {
    VERBS.iter().any(|(verb, later, _)| *verb == name && *later)
}

/// Reads the arguments of a step whose common keys were asked for before.
pub(crate) fn read(cx: &mut Cx<'_>, reader: &mut Reader<'_>) -> Option<ActionSpec> {
    let node = reader.need(cx, "do")?;
    let verb = cx.text(node, "a verb")?;
    if !is_verb(verb) {
        cx.problem(node.span.clone(), unknown("verb", verb, names()));
        // Without the verb nothing is known about the other keys.
        reader.rest();
        return None;
    }
    reader.rename(format!("the step `{verb}`"));
    let action = ActionSpec::read(cx, reader, verb)?;
    check(cx, node, reader, &action);
    Some(action)
}

/// What types cannot say about arguments.
fn check(cx: &mut Cx<'_>, node: &Node, reader: &mut Reader<'_>, action: &ActionSpec) {
    let span = node.span.clone();
    match action {
        ActionSpec::DiskStep(disk) => {
            let effects = disk.fsync.is_some()
                || disk.error.is_some()
                || disk.torn.is_some()
                || disk.lose_unsynced.is_some()
                || disk.rot.is_some();
            if !effects {
                cx.problem(
                    span,
                    "this step changes nothing: give at least one of fsync, error, torn, lose_unsynced, rot",
                );
            }
        }
        ActionSpec::ClockStep(clock) => {
            if clock.offset.is_none() && clock.drift.is_none() {
                cx.problem(span, "this step changes nothing: give offset or drift");
            }
        }
        ActionSpec::Downgrade(downgrade) => {
            let cancels = downgrade.action.extremes().into_iter().all(|action| *action == DowngradeAction::Cancel);
            if downgrade.to.is_none() && !cancels {
                cx.problem(span, "the step `downgrade` needs the key `to`, a release");
            }
        }
        ActionSpec::Member(member) => {
            let new = |change: &MemberChange| matches!(change, MemberChange::Add | MemberChange::AddLearner);
            if member.node.is_none() && !member.change.extremes().into_iter().all(new) {
                cx.problem(span, "this change needs the key `node`, the member it is about");
            }
        }
        _ => {}
    }
    if let Some(hold) = hold_spec(action)
        && let Some(entry) = reader.entry("for")
        && hold.into_iter().any(|hold| hold <= Nanos::ZERO)
    {
        cx.problem(entry.value.span.clone(), "`for` must be longer than 0s");
    }
}

fn hold_spec(action: &ActionSpec) -> Option<Vec<Nanos>> {
    let open = match action {
        ActionSpec::Cut(cut) => cut.hold.as_ref(),
        ActionSpec::Slow(slow) => slow.hold.as_ref(),
        ActionSpec::Drop(drop) => drop.hold.as_ref(),
        ActionSpec::Dup(dup) => dup.hold.as_ref(),
        ActionSpec::Reorder(reorder) => reorder.hold.as_ref(),
        ActionSpec::Pause(pause) => Some(&pause.hold),
        ActionSpec::DiskStep(disk) => disk.hold.as_ref(),
        ActionSpec::ClockStep(clock) => clock.hold.as_ref(),
        ActionSpec::Swizzle(swizzle) => swizzle.hold.as_ref(),
        ActionSpec::Attrition(attrition) => Some(&attrition.hold),
        _ => None,
    };
    open.map(|hold| hold.extremes().into_iter().copied().collect())
}

impl Action {
    /// How long the fault lasts before it heals by itself; `None` for those that last until `quiesce` and for verbs
    /// that are no lasting fault.
    pub fn hold(&self) -> Option<Nanos> {
        match self {
            Action::Cut(cut) => cut.hold,
            Action::Slow(slow) => slow.hold,
            Action::Drop(drop) => drop.hold,
            Action::Dup(dup) => dup.hold,
            Action::Reorder(reorder) => reorder.hold,
            Action::Pause(pause) => Some(pause.hold),
            Action::DiskStep(disk) => disk.hold,
            Action::ClockStep(clock) => clock.hold,
            Action::Swizzle(swizzle) => swizzle.hold,
            Action::Attrition(attrition) => Some(attrition.hold),
            _ => None,
        }
    }

    /// How long the step keeps the script busy at most: its fault, or the restarts it makes.
    pub fn busy(&self) -> Nanos {
        match self {
            Action::Restart(restart) => restart.stagger.high + restart.down.high,
            other => other.hold().unwrap_or(Nanos::ZERO),
        }
    }
}
