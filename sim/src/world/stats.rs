//! How client groups fare: answers, silences, latencies, errors. What `progress(c)`, `stall(c)` and the like read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_check::OpId;
use evenkeel_check::history::{Outcome, Request};

use super::feed::doubt_name;

/// One group of clients.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Requests sent.
    pub calls: u64,
    /// Of these, reads.
    pub reads: u64,
    /// Of these, requests that may write.
    pub writes: u64,
    /// Successful answers.
    pub acks: u64,
    /// When the last successful answer came.
    pub last_ack: Option<Duration>,
    /// The longest time between two successful answers.
    pub max_gap: Duration,
    /// Latencies of successful answers, in order of arrival.
    pub latencies: Vec<Duration>,
    /// Errors by kind.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Group {
    /// Time without a successful answer, up to `now`.
    pub fn stall(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_ack.unwrap_or_default())
    }

    /// The longest time without a successful answer, the present one included.
    pub fn max_unavailable(&self, now: Duration) -> Duration {
        self.max_gap.max(self.stall(now))
    }

    /// The latency below which this share of successful answers stayed.
    pub fn latency(&self, share: f64) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((share.clamp(0.0, 1.0) * last as f64).round() as usize).copied()
    }
}

/// All groups, in the order of the scenario.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    groups: Vec<Group>,
    open: BTreeMap<OpId, (usize, Duration)>,
}

impl Stats {
    /// A group's figures.
    pub fn group(&self, index: usize) -> Group {
        self.groups.get(index).cloned().unwrap_or_default()
    }

    /// The kinds of errors a group has met.
    pub fn error_kinds(&self, index: usize) -> BTreeSet<&'static str> {
        self.group(index).errors.into_keys().collect()
    }

    pub(super) fn called(&mut self, group: usize, op: OpId, now: Duration, request: &Request) {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Group::default);
        }
        let figures = &mut self.groups[group];
        figures.calls += 1;
        figures.writes += u64::from(request.may_write());
        figures.reads += u64::from(matches!(request, Request::Range(_)));
        self.open.insert(op, (group, now));
    }

    pub(super) fn returned(&mut self, op: OpId, now: Duration, outcome: &Outcome) {
        let Some((group, called)) = self.open.remove(&op) else { return };
        let figures = &mut self.groups[group];
        match outcome {
            Outcome::Ok(..) => {
                figures.acks += 1;
                figures.max_gap = figures.max_gap.max(figures.stall(now));
                figures.last_ack = Some(now);
                figures.latencies.push(now.saturating_sub(called));
            }
            Outcome::Unknown(doubt) => *figures.errors.entry(doubt_name(*doubt)).or_default() += 1,
            Outcome::DefinitelyNot(_) => *figures.errors.entry("refused").or_default() += 1,
        }
    }
}
