//! How client groups fare: answers, silences, latencies, errors. What `progress(c)`, `stall(c)` and the like read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_check::OpId;
use evenkeel_check::history::{Doubt, Outcome, Refusal, Request};

/// Of each group so many of the newest answers are known one by one: the load of hours.
const ACKS_KEPT: usize = 1 << 19;

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
    /// Successful answers that are older.
    older: u64,
    errors: Vec<(Duration, &'static str)>,
}

impl Group {
    /// Successful answers from `from` to `to`.
    pub fn acks(&self, from: Duration, to: Duration) -> &[Ack] {
        let first = self.acks.partition_point(|ack| ack.at < from);
        let last = self.acks.partition_point(|ack| ack.at <= to);
        &self.acks[first..last.max(first)]
    }

    /// The longest time between two successful answers within the window, its ends included.
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let known = if self.older == 0 { from } else { self.acks.first().map_or(from, |ack| from.max(ack.at)) };
        let mut before = known;
        let mut longest = Duration::ZERO;
        for at in self.acks(from, to).iter().map(|ack| ack.at).chain([to]) {
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
        self.open.insert(op, (group, Ack { at: now, latency: Duration::ZERO, read, wrote }));
    }

    pub(super) fn returned(&mut self, op: OpId, now: Duration, outcome: &Outcome) {
        let Some((group, called)) = self.open.remove(&op) else { return };
        let figures = &mut self.groups[group];
        match outcome {
            Outcome::Ok(..) => {
                let latency = now.saturating_sub(called.at);
                figures.acks.push(Ack { at: now, latency, ..called });
                if ACKS_KEPT < figures.acks.len() {
                    figures.acks.drain(..ACKS_KEPT / 4);
                    figures.older += (ACKS_KEPT / 4) as u64;
                }
            }
            Outcome::Unknown(doubt) => figures.errors.push((now, doubt_as_told(*doubt))),
            Outcome::DefinitelyNot(refusal) => {
                figures.errors.extend(refusal_as_told(refusal).map(|kind| (now, kind)));
            }
        }
    }
}
