//! Traffic between members. Counted by the production network, which exists before the member does; the member's
//! registry takes the families over once it is there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{Maker, Metrics};

/// Members with series of their own, over the life of the process. The peer port hears whoever calls itself a member:
/// beyond, all of them count as one.
const NAMED_MAX: usize = 256;
const UNNAMED: &str = "other";

/// The families.
#[derive(Clone)]
pub struct PeerMetrics {
    named: Arc<Mutex<BTreeSet<u64>>>,
    sent_bytes: IntCounterVec,
    sent_failures: IntCounterVec,
    received_bytes: IntCounterVec,
    received_failures: IntCounterVec,
    active: IntGaugeVec,
    disconnected: IntCounterVec,
}

/// What the way to one member counts.
#[derive(Clone)]
pub struct PeerOut {
    /// Bytes handed to its lanes.
    pub sent_bytes: IntCounter,
    /// Messages dropped and connections lost.
    pub failures: IntCounter,
    /// 1 while it can be reached.
    pub active: IntGauge,
    /// How often that ended.
    pub disconnected: IntCounter,
}

/// What one sender counts.
#[derive(Clone)]
pub struct PeerIn {
    /// Bytes taken from its streams.
    pub received_bytes: IntCounter,
    /// Messages dropped because the member could not keep up.
    pub failures: IntCounter,
}

impl PeerMetrics {
    /// All at zero.
    pub fn new() -> PeerMetrics {
        let registry = Registry::new();
        let make = Maker(&registry);
        let ends = ["Local", "Remote"];
        PeerMetrics {
            named: Arc::default(),
            sent_bytes: make.counters(
                "etcd_network_peer_sent_bytes_total",
                "The total number of bytes sent to peers.",
                &["To"],
            ),
            sent_failures: make.counters(
                "etcd_network_peer_sent_failures_total",
                "The total number of send failures from peers.",
                &["To"],
            ),
            received_bytes: make.counters(
                "etcd_network_peer_received_bytes_total",
                "The total number of bytes received from peers.",
                &["From"],
            ),
            received_failures: make.counters(
                "etcd_network_peer_received_failures_total",
                "The total number of receive failures from peers.",
                &["From"],
            ),
            active: make.gauges("etcd_network_active_peers", "The current number of active peer connections.", &ends),
            disconnected: make.counters(
                "etcd_network_disconnected_peers_total",
                "The total number of disconnected peers.",
                &ends,
            ),
        }
    }

    /// Shows the families among `metrics`.
    pub fn show_in(&self, metrics: &Metrics) {
        for family in [&self.sent_bytes, &self.sent_failures, &self.received_bytes, &self.received_failures] {
            metrics.register(Box::new(family.clone()));
        }
        metrics.register(Box::new(self.active.clone()));
        metrics.register(Box::new(self.disconnected.clone()));
    }

    /// The counters of the way from `local` to `remote`.
    pub fn out(&self, local: u64, remote: u64) -> PeerOut {
        let (local, remote) = (format!("{local:x}"), self.name(remote));
        PeerOut {
            sent_bytes: self.sent_bytes.with_label_values(&[&remote]),
            failures: self.sent_failures.with_label_values(&[&remote]),
            active: self.active.with_label_values(&[&local, &remote]),
            disconnected: self.disconnected.with_label_values(&[&local, &remote]),
        }
    }

    /// The counters of what comes from `remote`.
    pub fn inbound(&self, remote: u64) -> PeerIn {
        let remote = self.name(remote);
        PeerIn {
            received_bytes: self.received_bytes.with_label_values(&[&remote]),
            failures: self.received_failures.with_label_values(&[&remote]),
        }
    }

    fn name(&self, member: u64) -> String {
        let mut named = self.named.lock().expect("not poisoned");
        if named.len() < NAMED_MAX {
            named.insert(member);
        }
        if named.contains(&member) { format!("{member:x}") } else { UNNAMED.into() }
    }
}

impl Default for PeerMetrics {
    fn default() -> Self {
        PeerMetrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_without_end_share_one_series() {
        let (metrics, peers) = (Metrics::new(), PeerMetrics::new());
        peers.show_in(&metrics);
        (1..=NAMED_MAX as u64 + 100).for_each(|id| peers.inbound(id).received_bytes.inc());
        peers.inbound(1).received_bytes.inc();
        assert_eq!(peers.received_bytes.with_label_values(&["1"]).get(), 2);
        assert_eq!(peers.received_bytes.with_label_values(&[UNNAMED]).get(), 100);
    }
}
