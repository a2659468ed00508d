//! How client groups fare: answers, silences, latencies, errors. What `progress(c)`, `stall(c)` and the like read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_check::OpId;
use evenkeel_check::history::{Asked, Doubt, Outcome, Refusal, Request};

/// Of each group so many of the newest answers are known one by one: two minutes of a thousand in a second.
const ACKS_KEPT: usize = 1 << 17;

/// One successful answer.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When it came.
    pub at: Duration,
    /// How long it took.
    pub latency: Duration,
    /// To a read.
    pub read: bool,
    /// To what may have changed a key.
    pub wrote: bool,
    /// By one member alone, from what it had.
    pub local: bool,
}

impl Ack {
    /// Whether this is what only a majority can give.
    fn is(&self, asked: Asked) -> bool {
        match asked {
            Asked::Put => self.wrote,
            Asked::Read => self.read && !self.local,
        }
    }
}

/// The kind of an error, as `errors(c)` gives it: what a client can tell apart by its code. A server that stops and a
/// connection that breaks are `unavailable`.
fn doubt_as_told(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Timeout => "timeout",
        Doubt::Unavailable | Doubt::ConnectionReset | Doubt::Stopped => "unavailable",
        Doubt::LeaderChanged => "leader_changed",
        Doubt::Cancelled => "cancelled",
        Doubt::Other => "other",
    }
}

/// A refusal that follows from the data (a compacted revision, a lease that is gone) is an answer and no error.
fn refusal_as_told(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Compacted | Refusal::FutureRevision | Refusal::LeaseNotFound | Refusal::LeaseExists => None,
        Refusal::Overloaded => Some("overloaded"),
        Refusal::Invalid => Some("invalid"),
        Refusal::NotAllowed => Some("not_allowed"),
    }
}

/// One group of clients.
#[derive(Clone, Debug, Default)]
pub struct Group {
    acks: Vec<Ack>,
    /// Successful answers that are older, and when the last of them came.
    older: u64,
    older_until: Option<Duration>,
    /// The longest time without one among these, from the beginning on.
    older_gap: Duration,
    errors: Vec<(Duration, &'static str)>,
    /// When the last of the older errors came.
    older_errors_until: Option<Duration>,
    /// What it can be counted on to ask for.
    asks: Vec<Asked>,
    /// Since when it asks for nothing any more.
    stopped: Option<Duration>,
}

impl Group {
    /// What has not been answered in this time, of what the group can be counted on to ask for.
    pub fn owed(&self, from: Duration, to: Duration) -> Option<Asked> {
        let acks = self.acks(from, to);
        self.asks.iter().copied().find(|asked| !acks.iter().any(|ack| ack.is(*asked)))
    }

    /// Whether all of that, or at least something, was answered.
    pub fn is_served(&self, from: Duration, to: Duration) -> bool {
        !self.acks(from, to).is_empty() && self.owed(from, to).is_none()
    }

    fn forget(&mut self, count: usize) {
        for ack in self.acks.drain(..count) {
            let before = self.older_until.replace(ack.at).unwrap_or_default();
            self.older_gap = self.older_gap.max(ack.at.saturating_sub(before));
            self.older += 1;
        }
    }

    fn failed(&mut self, at: Duration, kind: &'static str) {
        self.errors.push((at, kind));
        if ACKS_KEPT < self.errors.len() {
            self.older_errors_until = self.errors.drain(..ACKS_KEPT / 4).next_back().map(|(at, _)| at);
        }
    }

    /// Whether all answers from then on are known one by one.
    pub fn knows_from(&self, from: Duration) -> bool {
        self.older_until.is_none_or(|until| until < from)
    }

    /// Whether all errors from then on are.
    pub fn knows_errors_from(&self, from: Duration) -> bool {
        self.older_errors_until.is_none_or(|until| until < from)
    }

    /// Successful answers from `from` to `to`, of those that are known one by one.
    pub fn acks(&self, from: Duration, to: Duration) -> &[Ack] {
        let first = self.acks.partition_point(|ack| ack.at < from);
        let last = self.acks.partition_point(|ack| ack.at <= to);
        &self.acks[first..last.max(first)]
    }

    /// The longest time between two successful answers within the window, its ends included.
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let last = self.stopped.map_or(to, |stopped| to.min(stopped));
        // From the beginning on it is known whatever was forgotten.
        let forgotten = self.older_until.filter(|_| from.is_zero());
        let (mut before, mut longest) = forgotten.map_or((from, Duration::ZERO), |until| (until, self.older_gap));
        for at in self.acks(from, to).iter().map(|ack| ack.at).chain([last]) {
            longest = longest.max(at.saturating_sub(before));
            before = at;
        }
        longest
    }

    /// The latency below which this share of the answers in the window stayed.
    pub fn latency(&self, share: f64, from: Duration, to: Duration) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.acks(from, to).iter().map(|ack| ack.latency).collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((share.clamp(0.0, 1.0) * last as f64).round() as usize).copied()
    }

    /// The kinds of errors in the window.
    pub fn errors(&self, from: Duration, to: Duration) -> BTreeSet<&'static str> {
        self.errors.iter().filter(|(at, _)| from <= *at && *at <= to).map(|(_, kind)| *kind).collect()
    }
}

/// All groups, in the order of the scenario.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    groups: Vec<Group>,
    /// The group, and the answer as if it came at once.
    open: BTreeMap<OpId, (usize, Ack)>,
}

impl Stats {
    /// Room for so many groups.
    pub fn new(groups: usize) -> Stats {
        Stats { groups: vec![Group::default(); groups], open: BTreeMap::new() }
    }

    /// A group can be counted on to ask for these.
    pub fn will_ask(&mut self, group: usize, asks: Vec<Asked>) {
        self.groups[group].asks = asks;
    }

    /// From now on nobody asks for anything: what is not answered is no gap.
    pub fn stopped(&mut self, now: Duration) {
        for group in &mut self.groups {
            group.stopped.get_or_insert(now);
        }
    }

    /// A group's figures.
    pub fn group(&self, index: usize) -> &Group {
        &self.groups[index]
    }

    /// Successful answers of all groups.
    pub fn acks(&self) -> u64 {
        self.groups.iter().map(|group| group.older + group.acks.len() as u64).sum()
    }

    /// When writes of anybody were answered, until then.
    pub fn writes(&self, until: Duration) -> Vec<Duration> {
        let acks = self.groups.iter().flat_map(|group| group.acks(Duration::ZERO, until));
        let mut writes: Vec<Duration> = acks.filter(|ack| ack.wrote).map(|ack| ack.at).collect();
        writes.sort_unstable();
        writes
    }

    pub(super) fn called(&mut self, group: usize, op: OpId, now: Duration, request: &Request) {
        let (read, wrote) = (matches!(request, Request::Range(_)), request.may_write());
        let local = request.is_serializable();
        self.open.insert(op, (group, Ack { at: now, latency: Duration::ZERO, read, wrote, local }));
    }

    pub(super) fn returned(&mut self, op: OpId, now: Duration, outcome: &Outcome) {
        let Some((group, called)) = self.open.remove(&op) else { return };
        let figures = &mut self.groups[group];
        match outcome {
            Outcome::Ok(..) => {
                let latency = now.saturating_sub(called.at);
                figures.acks.push(Ack { at: now, latency, ..called });
                if ACKS_KEPT < figures.acks.len() {
                    figures.forget(ACKS_KEPT / 4);
                }
            }
            Outcome::Unknown(doubt) => figures.failed(now, doubt_as_told(*doubt)),
            Outcome::DefinitelyNot(refusal) => {
                if let Some(kind) = refusal_as_told(refusal) {
                    figures.failed(now, kind);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_check::history::{Body, Header, KeyRange, Put, PutReply, Range, RangeReply};

    #[test]
    fn silence_after_the_load_is_no_gap() {
        let mut stats = Stats::new(1);
        let second = Duration::from_secs;
        for (at, op) in [(1, OpId(1)), (4, OpId(2))] {
            stats.called(0, op, second(at), &Request::Put(Put::default()));
            stats.returned(op, second(at), &Outcome::Ok(Header::default(), Body::Put(PutReply::default())));
        }
        assert_eq!(stats.group(0).longest_gap(second(0), second(60)), second(56));
        stats.stopped(second(5));
        assert_eq!(stats.group(0).longest_gap(second(0), second(60)), second(3));
        assert_eq!(stats.group(0).longest_gap(second(4), second(60)), second(1));
    }

    #[test]
    fn a_gap_is_not_forgotten_with_the_answers_around_it() {
        let at = Duration::from_secs;
        let ack = |second| Ack { at: at(second), latency: Duration::ZERO, read: true, wrote: false, local: false };
        let mut group = Group { acks: [1, 2, 12, 13, 14, 15].map(ack).to_vec(), ..Group::default() };
        for forgotten in [0, 1, 2, 1] {
            group.forget(forgotten);
            assert_eq!(group.longest_gap(Duration::ZERO, at(16)), at(10));
        }
        assert!(!group.knows_from(at(13)) && group.knows_from(at(14)));
        assert_eq!(group.longest_gap(at(14), at(16)), at(1));
    }

    #[test]
    fn errors_are_bounded_and_who_asks_for_forgotten_ones_is_told() {
        let mut group = Group::default();
        (0..=ACKS_KEPT as u64).for_each(|second| group.failed(Duration::from_secs(second), "timeout"));
        let forgotten = ACKS_KEPT as u64 / 4;
        assert_eq!(group.errors.len() as u64, ACKS_KEPT as u64 + 1 - forgotten);
        assert!(!group.knows_errors_from(Duration::from_secs(forgotten - 1)));
        assert!(group.knows_errors_from(Duration::from_secs(forgotten)));
    }

    #[test]
    fn what_one_member_answers_alone_heals_nobody() {
        let read = |serializable| Request::Range(Range { serializable, ..Range::of(KeyRange::one("k")) });
        let (put, alone, together) = (Request::Put(Put::default()), read(true), read(false));
        let served = |requests: &[&Request], asks: Vec<Asked>| {
            let mut stats = Stats::new(1);
            stats.will_ask(0, asks);
            for (second, request) in (1..).zip(requests) {
                let (op, at) = (OpId(second), Duration::from_secs(second));
                let body = match request {
                    Request::Put(_) => Body::Put(PutReply::default()),
                    _ => Body::Range(RangeReply::default()),
                };
                stats.called(0, op, at, request);
                stats.returned(op, at, &Outcome::Ok(Header::default(), body));
            }
            stats.group(0).is_served(Duration::ZERO, Duration::from_secs(60))
        };
        let both = || Asked::ALL.to_vec();
        assert!(!served(&[&alone, &alone, &put], both()));
        assert!(!served(&[&alone, &together], both()));
        assert!(served(&[&put, &together], both()));
        assert!(served(&[&put], vec![Asked::Put]));
        assert!(served(&[&alone], Vec::new()) && !served(&[], Vec::new()));
    }
}
