//! What one client felt: stalls, latencies, errors.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::*;
use crate::ids::*;

/// An answer that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ErrorKind {
    /// Nothing is known.
    Unknown(Doubt),
    /// Certainly without effect.
    Refused(Refusal),
}

/// Buckets per doubling: quantiles are right to about 6 %.
const BUCKETS_PER_DOUBLING: u64 = 16;

/// One client's experience.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClientStats {
    /// Calls made.
    pub calls: u64,
    /// Calls answered with success.
    pub ok: u64,
    /// Other outcomes.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Longest time from the first call that found no success to the next success.
    pub max_unavailable_nanos: u64,
    /// Longest time between two successes.
    pub max_stall_nanos: u64,
    #[serde(skip)]
    latencies: BTreeMap<u64, u64>,
    #[serde(skip)]
    trying_since: Option<Moment>,
    #[serde(skip)]
    last_ok: Option<Moment>,
}

impl ClientStats {
    pub(super) fn called(&mut self, at: Moment) {
        self.calls += 1;
        self.trying_since.get_or_insert(at);
    }

    pub(super) fn returned(&mut self, at: Moment, called: Moment, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(..) => {
                self.ok += 1;
                self.served(at);
                self.last_ok = Some(at);
                *self.latencies.entry(bucket(at.nanos - called.nanos)).or_default() += 1;
            }
            Outcome::Unknown(doubt) => *self.errors.entry(ErrorKind::Unknown(*doubt)).or_default() += 1,
            Outcome::DefinitelyNot(refusal) => {
                self.served(at); // somebody answered
                *self.errors.entry(ErrorKind::Refused(*refusal)).or_default() += 1;
            }
        }
    }

    fn served(&mut self, at: Moment) {
        if let Some(since) = self.trying_since.take() {
            self.max_unavailable_nanos = self.max_unavailable_nanos.max(at.nanos - since.nanos);
        }
        if let Some(last) = self.last_ok {
            self.max_stall_nanos = self.max_stall_nanos.max(at.nanos - last.nanos);
        }
    }

    pub(super) fn finish(&mut self, at: Moment) {
        if self.trying_since.is_some() {
            self.served(at);
        }
    }

    /// The latency that this share of successes (0.0 to 1.0) did not exceed.
    pub fn latency_nanos(&self, share: f64) -> Option<u64> {
        let wanted = (self.ok as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (&bucket, &count) in &self.latencies {
            seen += count;
            if wanted <= seen {
                return Some(upper(bucket));
            }
        }
        None
    }
}

fn bucket(nanos: u64) -> u64 {
    if nanos < BUCKETS_PER_DOUBLING {
        return nanos;
    }
    let shift = nanos.ilog2() as u64 - BUCKETS_PER_DOUBLING.ilog2() as u64;
    (shift + 1) * BUCKETS_PER_DOUBLING + (nanos >> shift) - BUCKETS_PER_DOUBLING
}

fn upper(bucket: u64) -> u64 {
    if bucket < BUCKETS_PER_DOUBLING {
        return bucket;
    }
    let (shift, rest) = (bucket / BUCKETS_PER_DOUBLING - 1, bucket % BUCKETS_PER_DOUBLING);
    ((BUCKETS_PER_DOUBLING + rest + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_within_one_sixteenth_of_what_it_holds() {
        for nanos in [0, 1, 15, 16, 17, 31, 32, 33, 1_000, 999_999, 5_000_000_000] {
            let end = upper(bucket(nanos));
            assert!(nanos <= end, "{nanos} <= {end}");
            assert!(end - nanos <= nanos / 16, "{end} - {nanos}");
        }
    }
}
