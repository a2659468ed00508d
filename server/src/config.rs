//! What a member is told at its start: checked values, no text left to parse.

use std::time::Duration;

use evenkeel_raft::mutant::Mutants;

use crate::service::watch_hub::WatchLimits;
use crate::version::Release;

/// A member's configuration. The flags have checked every value before [`crate::serve`] sees it.
#[derive(Clone, Debug)]
pub struct Config {
    /// What this member can do and says it is.
    pub release: Release,
    /// As the leader, look this often whether an enabled downgrade is complete.
    pub downgrade_check_time: Duration,
    /// Human-readable name, unique in the cluster.
    pub name: String,
    /// Where the data lives (for messages; the files themselves are reached through the disk seam).
    pub data_dir: String,
    /// Listen for clients here: `http://IP:PORT`.
    pub listen_client_urls: Vec<String>,
    /// Listen for members here.
    pub listen_peer_urls: Vec<String>,
    /// Serve `/metrics`, `/health`, `/livez` and `/readyz` here too.
    pub listen_metrics_urls: Vec<String>,
    /// Told to clients.
    pub advertise_client_urls: Vec<String>,
    /// Told to members; must equal this member's URLs in `initial_cluster`.
    pub initial_advertise_peer_urls: Vec<String>,
    /// The first members: name and peer URLs, sorted by name.
    pub initial_cluster: Vec<(String, Vec<String>)>,
    /// Tells clusters with equal URLs apart.
    pub initial_cluster_token: String,
    /// Whether this member founds a cluster or joins one.
    pub initial_cluster_state: ClusterState,
    /// One tick.
    pub heartbeat_interval: Duration,
    /// A follower waits between one and two of these before it campaigns.
    pub election_timeout: Duration,
    /// Ask before campaigning.
    pub pre_vote: bool,
    /// A leader that hears no quorum steps down (always on from the command line).
    pub check_quorum: bool,
    /// Fast-forward the first election clock.
    pub initial_election_tick_advance: bool,
    /// Applied entries between two checkpoints.
    pub snapshot_count: u64,
    /// Entries kept in memory behind a checkpoint for slow followers.
    pub snapshot_catchup_entries: u64,
    /// Payload bytes of applied entries kept in memory.
    pub raft_log_bytes: usize,
    /// Payload bytes applied, after which a checkpoint is due whatever their number.
    pub checkpoint_log_bytes: u64,
    /// Bytes per second of all snapshots sent to members; 0 is no limit.
    pub snapshot_transfer_rate: u64,
    /// Bytes of one piece of a snapshot.
    pub snapshot_piece_bytes: usize,
    /// Largest request, in bytes.
    pub max_request_bytes: usize,
    /// Watch responses of this size are split for clients that ask for that; `None` is a request's limit with what the
    /// transport adds.
    pub watch_fragment_bytes: Option<usize>,
    /// How much is kept and looked at to serve watches.
    pub watch_limits: WatchLimits,
    /// Most operations in one list of a transaction.
    pub max_txn_ops: usize,
    /// Store size at which writes stop; `None` is no limit.
    pub quota_backend_bytes: Option<u64>,
    /// Between two progress notifications of a quiet watch.
    pub watch_progress_notify_interval: Duration,
    /// Share listening ports with other processes (SO_REUSEPORT).
    pub socket_reuse_port: bool,
    /// HTTP/2 streams per client connection.
    pub max_concurrent_streams: u32,
    /// Clients may ping this often.
    pub grpc_keepalive_min_time: Duration,
    /// The server pings idle clients this often; zero is never.
    pub grpc_keepalive_interval: Duration,
    /// A ping unanswered for this long closes the connection.
    pub grpc_keepalive_timeout: Duration,
    /// Bytes of one log segment.
    pub wal_segment_bytes: u32,
    /// Bytes of recently read and written values kept in memory.
    pub value_cache_bytes: usize,
    /// Slower applies are logged.
    pub warning_apply_duration: Duration,
    /// Between two checkpoints of how long a lease has left; none when leases begin anew with each leader.
    pub lease_checkpoint_interval: Option<Duration>,
    /// Refuse changes of membership that could lose the quorum.
    pub strict_reconfig_check: bool,
    /// Learners at one time.
    pub max_learners: usize,
    /// Begin anew with this member's data, as a cluster of one.
    pub force_new_cluster: bool,
    /// With an empty disk, take the place of the member with these peer URLs.
    pub replace: bool,
    /// As the leader, promote every learner as soon as it has caught up.
    pub auto_promote_learners: bool,
    /// Planted bugs (testbed builds only).
    pub mutants: Mutants,
}

impl Config {
    /// The election timeout in ticks.
    pub fn election_ticks(&self) -> u32 {
        let ticks = self.election_timeout.as_millis() / self.heartbeat_interval.as_millis().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX).max(2)
    }
}

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// Found a new cluster.
    New,
    /// Join one that exists.
    Existing,
}

/// etcd's limit on a request.
pub const MAX_REQUEST_BYTES: usize = 1_572_864;
/// What etcd adds to it for the transport.
pub const REQUEST_OVERHEAD_BYTES: usize = 512 * 1024;
/// etcd's interval between checkpoints of how long leases have left.
pub const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// Half of a gigabit link: ten gigabytes in under three minutes.
pub const DEFAULT_SNAPSHOT_TRANSFER_RATE: u64 = 64 * 1024 * 1024;
/// etcd's default quota.
pub const DEFAULT_QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

impl Default for Config {
    fn default() -> Self {
        Config {
            release: Release::NEWEST,
            downgrade_check_time: Duration::from_secs(5),
            name: "default".into(),
            data_dir: "default.etcd".into(),
            listen_client_urls: vec!["http://localhost:2379".into()],
            listen_peer_urls: vec!["http://localhost:2380".into()],
            listen_metrics_urls: Vec::new(),
            advertise_client_urls: vec!["http://localhost:2379".into()],
            initial_advertise_peer_urls: vec!["http://localhost:2380".into()],
            initial_cluster: vec![("default".into(), vec!["http://localhost:2380".into()])],
            initial_cluster_token: "etcd-cluster".into(),
            initial_cluster_state: ClusterState::New,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            pre_vote: true,
            check_quorum: true,
            initial_election_tick_advance: true,
            snapshot_count: 10_000,
            snapshot_catchup_entries: 5_000,
            raft_log_bytes: 64 * 1024 * 1024,
            checkpoint_log_bytes: 256 * 1024 * 1024,
            snapshot_transfer_rate: DEFAULT_SNAPSHOT_TRANSFER_RATE,
            snapshot_piece_bytes: 256 * 1024,
            max_request_bytes: MAX_REQUEST_BYTES,
            watch_fragment_bytes: None,
            watch_limits: WatchLimits::USUAL,
            max_txn_ops: 128,
            quota_backend_bytes: Some(DEFAULT_QUOTA_BYTES),
            watch_progress_notify_interval: Duration::from_secs(600),
            socket_reuse_port: false,
            max_concurrent_streams: u32::MAX,
            grpc_keepalive_min_time: Duration::from_secs(5),
            grpc_keepalive_interval: Duration::from_secs(7200),
            grpc_keepalive_timeout: Duration::from_secs(20),
            wal_segment_bytes: 64 * 1024 * 1024,
            value_cache_bytes: 64 * 1024 * 1024,
            warning_apply_duration: Duration::from_millis(100),
            lease_checkpoint_interval: Some(LEASE_CHECKPOINT_INTERVAL),
            strict_reconfig_check: true,
            max_learners: 1,
            force_new_cluster: false,
            replace: false,
            auto_promote_learners: false,
            mutants: Mutants::NONE,
        }
    }
}
