//! What a link is like, and what is wrong with it.

use std::ops::Range;
use std::time::Duration;

use evenkeel::env::MessageKind;
use evenkeel_raft::NodeId;

/// Every kind, in the order of the enum.
pub(super) const KINDS: [MessageKind; 7] = [
    MessageKind::Vote,
    MessageKind::Heartbeat,
    MessageKind::Append,
    MessageKind::Read,
    MessageKind::Propose,
    MessageKind::Snapshot,
    MessageKind::Ask,
];

/// A set of message kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Every message.
    pub const ALL: Kinds = Kinds(0x7f);

    /// The kinds named, as [`MessageKind::name`] spells them; `Err` is the name nobody knows.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Kinds, &'a str> {
        names.into_iter().try_fold(Kinds(0), |kinds, name| {
            let kind = KINDS.into_iter().find(|kind| kind.name() == name).ok_or(name)?;
            Ok(Kinds(kinds.0 | 1 << kind as u8))
        })
    }

    /// The names of those in it, as [`MessageKind::name`] spells them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KINDS.into_iter().filter(move |kind| self.contains(*kind)).map(MessageKind::name)
    }

    /// True when `kind` is one of them.
    pub fn contains(self, kind: MessageKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

/// A link in good order.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// How long a message is under way.
    pub latency: Range<Duration>,
    /// The share of messages that are lost.
    pub loss: f64,
    /// The share of messages that arrive twice.
    pub duplicate: f64,
    /// The share of messages that later ones may overtake.
    pub reorder: f64,
    /// Bytes per second in each lane; no limit when absent.
    pub bandwidth: Option<u64>,
}

impl Default for Quality {
    fn default() -> Quality {
        let latency = Duration::from_micros(200)..Duration::from_millis(2);
        Quality { latency, loss: 0.0, duplicate: 0.0, reorder: 0.0, bandwidth: None }
    }
}

/// A trouble with messages.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// None arrives.
    Cut,
    /// Each takes this much longer.
    Slow(Range<Duration>),
    /// This share is lost.
    Drop(f64),
    /// This share arrives twice.
    Duplicate(f64),
    /// This share is delayed by so much and may be overtaken meanwhile.
    Reorder(f64, Range<Duration>),
}

impl Effect {
    /// One word.
    pub const fn name(&self) -> &'static str {
        match self {
            Effect::Cut => "cut",
            Effect::Slow(_) => "slow",
            Effect::Drop(_) => "drop",
            Effect::Duplicate(_) => "dup",
            Effect::Reorder(..) => "reorder",
        }
    }
}

/// A trouble on one directed link.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Messages from here
    pub from: NodeId,
    /// to here
    pub to: NodeId,
    /// of these kinds
    pub kinds: Kinds,
    /// suffer this.
    pub effect: Effect,
}

/// Names a rule, to take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(pub u64);
