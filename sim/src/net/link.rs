//! One directed link: its rules, its lanes, and the fate it gives a message.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel::env::MessageKind;
use evenkeel_scenario::Label;

use super::rule::{Effect, KINDS, Kinds, Quality, Rule, RuleId};
use crate::draw::Draws;

/// At most so many messages are under way on one link.
const UNDER_WAY_MAX: usize = 4096;

/// At most so many bytes are under way on one link.
const UNDER_WAY_BYTES_MAX: usize = 64 << 20;

/// A sender learns about a silent cut after so long, the way a keep-alive would tell it.
const CUT_SHOWS_AFTER: Duration = Duration::from_secs(2);

/// Delay builds up like a queue, by one second in so many: a link that becomes slow does not fall silent first.
const GROWTH: u32 = 2;

/// A sender learns about a dead receiver at most this often.
const DOWN_EVERY: Duration = Duration::from_millis(100);

/// Messages in different lanes do not wait for each other.
#[derive(Clone, Copy)]
enum Lane {
    Control,
    Data,
    Bulk,
}

const fn lane(kind: MessageKind) -> Lane {
    match kind {
        MessageKind::Vote | MessageKind::Heartbeat | MessageKind::Read | MessageKind::Ask => Lane::Control,
        MessageKind::Append | MessageKind::Propose => Lane::Data,
        MessageKind::Snapshot => Lane::Bulk,
    }
}

struct KindLabels {
    latency: Label,
    slow: Label,
    drop: Label,
    duplicate: Label,
    reorder: Label,
}

#[derive(Clone, Copy, Default)]
struct LaneState {
    /// The last message in order arrives then.
    last_due: Duration,
    /// The lane has handed over all bytes by then.
    free_at: Duration,
}

/// What a link does with a message.
pub(super) enum Passage {
    /// It arrives then, and perhaps once more.
    Arrives(Duration, Option<Duration>),
    Lost,
    Cut,
    Full,
}

pub(super) struct Link {
    quality: Quality,
    rules: Vec<(RuleId, Rule)>,
    /// When the first message met each rule that slows.
    slow_since: BTreeMap<RuleId, Duration>,
    labels: [KindLabels; KINDS.len()],
    /// For what no message carries.
    transport: Label,
    lanes: [LaneState; 3],
    under_way: usize,
    under_way_bytes: usize,
    /// Nothing came through since then.
    cut_since: Option<Duration>,
    last_down: Option<Duration>,
}

impl Link {
    pub fn new(from: &str, to: &str, quality: Quality, draws: &Draws) -> Link {
        let labels = KINDS.map(|kind| {
            let label = |what: &str| draws.label(&format!("net/{from}>{to}/{}{what}", kind.name()));
            KindLabels {
                latency: label(""),
                slow: label(".slow"),
                drop: label(".drop"),
                duplicate: label(".dup"),
                reorder: label(".reorder"),
            }
        });
        Link {
            quality,
            rules: Vec::new(),
            slow_since: BTreeMap::new(),
            labels,
            transport: draws.label(&format!("net/{from}>{to}/transport")),
            lanes: [LaneState::default(); 3],
            under_way: 0,
            under_way_bytes: 0,
            cut_since: None,
            last_down: None,
        }
    }

    pub fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    pub fn add(&mut self, id: RuleId, rule: Rule) {
        self.rules.push((id, rule));
    }

    pub fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|(known, _)| *known != id);
        self.slow_since.remove(&id);
        self.rules.len() < before
    }

    /// Nothing at all comes through.
    pub fn is_dead(&self) -> bool {
        self.rules.iter().any(|(_, rule)| rule.kinds == Kinds::ALL && rule.effect == Effect::Cut)
    }

    /// How long a packet of the transport itself is under way.
    pub fn travel(&self, draws: &Draws) -> Duration {
        let slow = self.rules.iter().filter(|(_, rule)| rule.kinds == Kinds::ALL).filter_map(|(_, rule)| {
            if let Effect::Slow(add) = &rule.effect { Some(draws.within(self.transport, add)) } else { None }
        });
        draws.within(self.transport, &self.quality.latency) + slow.sum::<Duration>()
    }

    /// Decides about a message. Rules count in the order in which they were made; each draws from labels of its own.
    pub fn pass(&mut self, now: Duration, kind: MessageKind, bytes: usize, draws: &Draws) -> Passage {
        let labels = &self.labels[kind as usize];
        let mut under_way = draws.within(labels.latency, &self.quality.latency);
        let mut lost = draws.chance(labels.drop, self.quality.loss);
        let mut twice = draws.chance(labels.duplicate, self.quality.duplicate);
        let mut overtaken = draws.chance(labels.reorder, self.quality.reorder);
        for (id, rule) in self.rules.iter().filter(|(_, rule)| rule.kinds.contains(kind)) {
            match &rule.effect {
                Effect::Cut => {
                    self.cut_since.get_or_insert(now);
                    return Passage::Cut;
                }
                Effect::Slow(add) => {
                    let begun = *self.slow_since.entry(*id).or_insert(now);
                    under_way += draws.within(labels.slow, add).min((now - begun) / GROWTH);
                }
                Effect::Drop(share) => lost |= draws.chance(labels.drop, *share),
                Effect::Duplicate(share) => twice |= draws.chance(labels.duplicate, *share),
                Effect::Reorder(share, by) => {
                    if draws.chance(labels.reorder, *share) {
                        overtaken = true;
                        under_way += draws.within(labels.reorder, by);
                    }
                }
            }
        }
        if lost {
            return Passage::Lost;
        }
        self.cut_since = None;
        if UNDER_WAY_MAX <= self.under_way || UNDER_WAY_BYTES_MAX < self.under_way_bytes + bytes {
            return Passage::Full;
        }

        let lane = &mut self.lanes[lane(kind) as usize];
        let mut due = now + under_way;
        if let Some(per_second) = self.quality.bandwidth {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(per_second.max(1));
            lane.free_at = lane.free_at.max(now) + Duration::from_nanos(nanos as u64);
            due = lane.free_at + under_way;
        }
        if !overtaken {
            due = due.max(lane.last_due);
            lane.last_due = due;
        }
        // The seam promises that a forwarded proposal never arrives twice.
        twice &= kind != MessageKind::Propose;
        let copy = twice.then(|| due + draws.within(labels.duplicate, &self.quality.latency));
        let copies = 1 + usize::from(copy.is_some());
        self.under_way += copies;
        self.under_way_bytes += copies * bytes;
        Passage::Arrives(due, copy)
    }

    pub fn arrived(&mut self, bytes: usize) {
        self.under_way -= 1;
        self.under_way_bytes -= bytes;
    }

    /// True when the sender should be told now that nothing gets through.
    pub fn tells_down(&mut self, now: Duration, dead: bool) -> bool {
        let silent = self.cut_since.is_some_and(|since| since + CUT_SHOWS_AFTER <= now);
        let told = self.last_down.is_some_and(|last| now < last + if dead { DOWN_EVERY } else { CUT_SHOWS_AFTER });
        let tell = (dead || silent) && !told;
        if tell {
            self.last_down = Some(now);
        }
        tell
    }
}
