//! What a step can do: every verb with its arguments.
//!
//! A fault with `for` heals by itself; without it, it lasts until `quiesce`.

mod args;

use crate::problem::unknown;
use crate::read::{Cx, Reader};
use crate::section::KeyDoc;
use crate::select::Selector;
use crate::time::Nanos;
use crate::tree::Node;
pub use args::*;

macro_rules! verbs {
    ($($(#[doc = $doc:literal])* $name:ident, $open:ident, $text:literal;)*) => {
        /// What a step does in one run.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Action { $($(#[doc = $doc])* $name($name),)* }

        /// What a step does, as the file gives it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ActionSpec { $($(#[doc = $doc])* $name($open),)* }

        const VERBS: &[(&str, &str)] = &[$(($text, concat!($($doc),*)),)*];

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
            vec![$(VerbDoc { verb: $text, doc: concat!($($doc),*).trim(), keys: $name::keys() },)*]
        }
    };
}

/// One verb, for the reference.
#[derive(Clone, Debug)]
pub struct VerbDoc {
    /// The verb.
    pub verb: &'static str,
    /// One line.
    pub doc: &'static str,
    /// Its keys.
    pub keys: Vec<KeyDoc>,
}

verbs! {
    /// Loses messages.
    Cut, CutSpec, "cut";
    /// Delays messages.
    Slow, SlowSpec, "slow";
    /// Loses a share of messages.
    Drop, DropSpec, "drop";
    /// Repeats messages.
    Dup, DupSpec, "dup";
    /// Puts messages out of order.
    Reorder, ReorderSpec, "reorder";
    /// Breaks connections, which are made again at once.
    Reset, ResetSpec, "reset";
    /// Takes members down and up.
    Restart, RestartSpec, "restart";
    /// Stalls members.
    Pause, PauseSpec, "pause";
    /// Holds members up at a point in the code.
    Stall, StallSpec, "stall";
    /// Makes disks slow or fail.
    DiskStep, DiskStepSpec, "disk";
    /// Makes clocks jump or drift.
    ClockStep, ClockStepSpec, "clock";
    /// Ends all faults.
    Quiesce, QuiesceSpec, "quiesce";
    /// Names members.
    Bind, BindSpec, "bind";
    /// Marks the log.
    Mark, MarkSpec, "mark";
    /// Compacts history.
    Compact, CompactSpec, "compact";
    /// Stops members for good.
    Stop, StopSpec, "stop";
    /// Changes the release of members.
    Roll, RollSpec, "roll";
    /// Starts or ends a downgrade.
    Downgrade, DowngradeSpec, "downgrade";
    /// Changes the membership.
    Member, MemberSpec, "member";
    /// Hands leadership over.
    Transfer, TransferSpec, "transfer";
    /// Defragments.
    Defrag, DefragSpec, "defrag";
    /// Cuts members off one by one.
    Swizzle, SwizzleSpec, "swizzle";
    /// Restarts members again and again.
    Attrition, AttritionSpec, "attrition";
}

/// The names of all verbs.
pub fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|(name, ..)| *name)
}

/// Whether there is such a verb.
pub fn is_verb(name: &str) -> bool {
    names().any(|verb| verb == name)
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
                || disk.wiped.is_some()
                || disk.rot.is_some();
            if !effects {
                cx.problem(
                    span,
                    "this step changes nothing: give at least one of fsync, error, torn, lose_unsynced, wiped, rot",
                );
            }
        }
        ActionSpec::ClockStep(clock) if clock.offset.is_none() && clock.drift.is_none() => {
            cx.problem(span, "this step changes nothing: give offset or drift");
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
        ActionSpec::Stall(stall) => stall.hold.as_ref(),
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
            Action::Stall(stall) => stall.hold,
            Action::DiskStep(disk) => disk.hold,
            Action::ClockStep(clock) => clock.hold,
            Action::Swizzle(swizzle) => swizzle.hold,
            Action::Attrition(attrition) => Some(attrition.hold),
            _ => None,
        }
    }

    /// Its arguments as TOML, `, ` between them.
    pub fn arguments(&self) -> String {
        let given = self.literals().into_iter().map(|(key, value)| format!("{key} = {value}"));
        given.collect::<Vec<_>>().join(", ")
    }

    /// Whom it is about.
    pub fn selectors(&self) -> Vec<&Selector> {
        let link = match self {
            Action::Cut(cut) => &cut.link,
            Action::Slow(slow) => &slow.link,
            Action::Drop(drop) => &drop.link,
            Action::Dup(dup) => &dup.link,
            Action::Reorder(reorder) => &reorder.link,
            Action::Reset(reset) => &reset.link,
            Action::Restart(restart) => return vec![&restart.node],
            Action::Pause(pause) => return vec![&pause.node],
            Action::Stall(stall) => return vec![&stall.node],
            Action::DiskStep(disk) => return vec![&disk.node],
            Action::ClockStep(clock) => return vec![&clock.node],
            Action::Stop(stop) => return vec![&stop.node],
            Action::Transfer(transfer) => return vec![&transfer.to],
            Action::Defrag(defrag) => return vec![&defrag.node],
            Action::Swizzle(swizzle) => return vec![&swizzle.node],
            Action::Attrition(attrition) => return vec![&attrition.node],
            Action::Bind(bind) => return bind.names.iter().map(|(_, selector)| selector).collect(),
            Action::Member(member) => return member.node.iter().collect(),
            Action::Quiesce(_) | Action::Mark(_) | Action::Compact(_) | Action::Roll(_) | Action::Downgrade(_) => {
                return Vec::new();
            }
        };
        vec![&link.from, &link.to]
    }

    /// How long the step keeps the script busy at most: its fault, or the restarts it makes.
    pub fn busy(&self) -> Nanos {
        match self {
            Action::Restart(restart) => restart.stagger.high + restart.down.high,
            other => other.hold().unwrap_or(Nanos::ZERO),
        }
    }
}
