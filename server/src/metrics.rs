//! What is counted, under etcd's names.
//!
//! Dashboards and alerts know these names, so they are kept even where they are odd: `proposals_committed_total`
//! is a gauge. One [`Metrics`] per member, handed around; nothing is global, since many members run in one process
//! in simulation. Counting is one or two atomic operations. Figures that somebody else already holds (sizes,
//! revisions, watchers) are not counted here: they are pulled at each scrape, as [`Facts`].

use std::time::Duration;

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::front::Facts;

mod peers;
mod rpc;

pub use peers::{PeerIn, PeerMetrics, PeerOut};
pub use rpc::RpcGuard;

/// Registers families; every name appears once, so registering cannot fail.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("names and labels are constants");
        self.0.register(Box::new(collector.clone())).expect("each name is registered once");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn float(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    fn histogram(&self, name: &str, help: &str, first: f64, count: usize) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(doubling(first, count))))
    }

    fn histograms(&self, name: &str, help: &str, first: f64, count: usize, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(doubling(first, count)), labels))
    }
}

/// `count` buckets, each twice the one before, as etcd has them.
fn doubling(first: f64, count: usize) -> Vec<f64> {
    prometheus::exponential_buckets(first, 2.0, count).expect("positive")
}

macro_rules! families {
    ($($help:literal $field:ident: $type:ty = $make:ident($name:literal $(, $more:expr)*);)*) => {
        /// See the module's text. Cheap to clone: a clone counts into the same figures.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Registry,
            rpc: rpc::Methods,
            $(#[doc = $help] pub $field: $type,)*
        }

        impl Metrics {
            /// All at zero.
            pub fn new() -> Metrics {
                let registry = Registry::new();
                let make = Maker(&registry);
                let rpc = rpc::Methods::new(&make);
                $(let $field = make.$make($name, $help $(, $more)*);)*
                Metrics { registry, rpc, $($field,)* }
            }
        }
    };
}

families! {
    "Whether or not a leader exists. 1 is existence, 0 is not." has_leader: IntGauge = gauge("etcd_server_has_leader");
    "Whether or not this member is a leader. 1 if is, 0 otherwise." is_leader: IntGauge = gauge("etcd_server_is_leader");
    "Whether or not this member is a learner. 1 if is, 0 otherwise."
        is_learner: IntGauge = gauge("etcd_server_is_learner");
    "The number of leader changes seen." leader_changes: IntCounter = counter("etcd_server_leader_changes_seen_total");
    "The total number of leader heartbeat send failures (likely overloaded from slow disk)."
        heartbeat_send_failures: IntCounter = counter("etcd_server_heartbeat_send_failures_total");
    "The total number of consensus proposals committed."
        proposals_committed: IntGauge = gauge("etcd_server_proposals_committed_total");
    "The total number of consensus proposals applied."
        proposals_applied: IntGauge = gauge("etcd_server_proposals_applied_total");
    "The current number of pending proposals to commit."
        proposals_pending: IntGauge = gauge("etcd_server_proposals_pending");
    "The total number of failed proposals seen."
        proposals_failed: IntCounter = counter("etcd_server_proposals_failed_total");
    "The total number of slow apply requests (likely overloaded from slow disk)."
        slow_apply: IntCounter = counter("etcd_server_slow_apply_total");
    "The total number of pending read indexes not in sync with leader's or timed out read index requests."
        slow_read_indexes: IntCounter = counter("etcd_server_slow_read_indexes_total");
    "The total number of failed read indexes seen."
        read_indexes_failed: IntCounter = counter("etcd_server_read_indexes_failed_total");
    "The latency distributions of apply called by backend."
        apply_duration: Histogram = histogram("etcd_server_apply_duration_seconds", 0.0001, 20);
    "The total number of successful health checks" health_success: IntCounter = counter("etcd_server_health_success");
    "The total number of failed health checks" health_failures: IntCounter = counter("etcd_server_health_failures");
    "The result of each kind of healthcheck."
        healthcheck: IntGaugeVec = gauges("etcd_server_healthcheck", &["type", "name"]);
    "The total number of each kind of healthcheck."
        healthchecks: IntCounterVec = counters("etcd_server_healthchecks_total", &["type", "name", "status"]);
    "Which version is running. 1 for 'server_version' label with current version."
        server_version: IntGaugeVec = gauges("etcd_server_version", &["server_version"]);
    "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID."
        server_id: IntGaugeVec = gauges("etcd_server_id", &["server_id"]);
    "Which version is running. 1 for 'cluster_version' label with current cluster version"
        cluster_version: IntGaugeVec = gauges("etcd_cluster_version", &["cluster_version"]);
    "Current backend storage quota size in bytes."
        quota_bytes: IntGauge = gauge("etcd_server_quota_backend_bytes");
    "The total number of client requests per client version."
        client_requests: IntCounterVec = counters("etcd_server_client_requests_total", &["type", "client_api_version"]);
    "1 if the server is applying the incoming snapshot. 0 if none."
        snapshot_applying: IntGauge = gauge("etcd_server_snapshot_apply_in_progress_total");
    "The total number of successful learner promotions while this member is leader."
        learner_promotions: IntCounter = counter("etcd_server_learner_promote_successes");

    "Total number of puts seen by this member." puts: IntCounter = counter("etcd_mvcc_put_total");
    "Total number of deletes seen by this member." deletes: IntCounter = counter("etcd_mvcc_delete_total");
    "Total number of txns seen by this member." txns: IntCounter = counter("etcd_mvcc_txn_total");
    "Total number of ranges seen by this member." ranges: IntCounter = counter("etcd_mvcc_range_total");
    "Total size of the underlying database physically allocated in bytes."
        db_total_bytes: IntGauge = gauge("etcd_mvcc_db_total_size_in_bytes");
    "Total size of the underlying database logically in use in bytes."
        db_in_use_bytes: IntGauge = gauge("etcd_mvcc_db_total_size_in_use_in_bytes");
    "Total number of keys." keys: IntGauge = gauge("etcd_debugging_mvcc_keys_total");
    "The current revision of store." current_revision: IntGauge = gauge("etcd_debugging_mvcc_current_revision");
    "The revision of the last compaction in store."
        compact_revision: IntGauge = gauge("etcd_debugging_mvcc_compact_revision");
    "Total number of events sent by this member." events: IntCounter = counter("etcd_debugging_mvcc_events_total");
    "Total number of pending events to be sent."
        pending_events: IntGauge = gauge("etcd_debugging_mvcc_pending_events_total");
    "Total number of watchers." watchers: IntGauge = gauge("etcd_debugging_mvcc_watcher_total");
    "Total number of unsynced slow watchers."
        slow_watchers: IntGauge = gauge("etcd_debugging_mvcc_slow_watcher_total");
    "Total number of watch streams." watch_streams: IntGauge = gauge("etcd_debugging_mvcc_watch_stream_total");
    "The total number of granted leases." leases_granted: IntCounter = counter("etcd_debugging_lease_granted_total");
    "The total number of revoked leases." leases_revoked: IntCounter = counter("etcd_debugging_lease_revoked_total");
    "The number of renewed leases seen by the leader."
        leases_renewed: IntCounter = counter("etcd_debugging_lease_renewed_total");
    "The total number of expired leases."
        leases_expired: IntCounter = counter("etcd_debugging_server_lease_expired_total");

    "The latency distributions of fsync called by WAL."
        wal_fsync: Histogram = histogram("etcd_disk_wal_fsync_duration_seconds", 0.001, 14);
    "Total number of bytes written in WAL." wal_bytes: Gauge = float("etcd_disk_wal_write_bytes_total");
    "The latency distributions of commit called by backend."
        backend_commit: Histogram = histogram("etcd_disk_backend_commit_duration_seconds", 0.001, 14);
    "Whether or not defrag is active on the member. 1 means active, 0 means not."
        defrag_inflight: IntGauge = gauge("etcd_disk_defrag_inflight");

    "The total number of bytes sent to grpc clients."
        client_sent_bytes: IntCounter = counter("etcd_network_client_grpc_sent_bytes_total");
    "The total number of bytes received from grpc clients."
        client_received_bytes: IntCounter = counter("etcd_network_client_grpc_received_bytes_total");
    "Round-Trip-Time histogram between peers"
        peer_round_trip: HistogramVec =
        histograms("etcd_network_peer_round_trip_time_seconds", 0.0001, 16, &["To"]);
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// A call has begun. Drop the guard, or better tell it how the call ended.
    pub fn rpc(&self, service: &'static str, name: &'static str, kind: &'static str) -> RpcGuard {
        self.rpc.begin(service, name, kind)
    }

    /// Requests waiting for their entry to be applied: one more, or one less.
    pub fn proposal_pending(&self, change: i64) {
        self.proposals_pending.add(change);
    }

    /// A request failed on its way through the log.
    pub fn proposal_failed(&self) {
        self.proposals_failed.inc();
    }

    /// Role and leader, now and before.
    pub fn standing(&self, is_leader: bool, leader: Option<u64>, before: Option<u64>) {
        self.is_leader.set(i64::from(is_leader));
        self.has_leader.set(i64::from(leader.is_some()));
        if leader.is_some() && leader != before {
            self.leader_changes.inc();
        }
    }

    /// The commit index moved.
    pub fn committed(&self, index: u64) {
        self.proposals_committed.set(as_gauge(index));
    }

    /// An entry was applied.
    pub fn applied(&self, index: u64, took: Duration) {
        self.proposals_applied.set(as_gauge(index));
        self.apply_duration.observe(took.as_secs_f64());
    }

    /// A batch became durable in the log.
    pub fn wal_synced(&self, took: Duration, bytes: u64) {
        self.wal_fsync.observe(took.as_secs_f64());
        self.wal_bytes.add(bytes as f64);
    }

    /// A heartbeat came back from `peer`.
    pub fn round_trip(&self, peer: u64, took: Duration) {
        self.peer_round_trip.with_label_values(&[&format!("{peer:x}")]).observe(took.as_secs_f64());
    }

    /// Adds a family that is counted elsewhere.
    pub fn register(&self, family: Box<dyn prometheus::core::Collector>) {
        self.registry.register(family).expect("each name is registered once");
    }

    /// Everything, in Prometheus' text format. `facts` fills in what is not counted here.
    pub fn render(&self, facts: &Facts) -> String {
        self.is_learner.set(i64::from(facts.is_learner));
        self.has_leader.set(i64::from(facts.leader != 0));
        self.quota_bytes.set(as_gauge(facts.quota_bytes));
        self.db_total_bytes.set(as_gauge(facts.db_total_bytes));
        self.db_in_use_bytes.set(as_gauge(facts.db_in_use_bytes));
        self.keys.set(as_gauge(facts.keys));
        self.current_revision.set(facts.current_revision);
        self.compact_revision.set(facts.compact_revision);
        self.pending_events.set(as_gauge(facts.pending_events));
        self.watchers.set(as_gauge(facts.watchers));
        self.slow_watchers.set(as_gauge(facts.slow_watchers));
        self.watch_streams.set(as_gauge(facts.watch_streams));
        self.server_version.with_label_values(&[facts.release.server()]).set(1);
        self.server_id.with_label_values(&[&format!("{:x}", facts.member_id)]).set(1);
        self.cluster_version.reset();
        if let Some(version) = &facts.cluster_version {
            self.cluster_version.with_label_values(&[minor(version)]).set(1);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// `3.7` of `3.7.0`.
fn minor(version: &str) -> &str {
    version.match_indices('.').nth(1).map_or(version, |(at, _)| &version[..at])
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
