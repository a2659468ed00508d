//! Every flag of etcd 3.7, and what it does here.

use super::go;

/// What a flag's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    Uint,
    Int,
    Duration,
    OneOf(&'static [&'static str]),
    /// Any value, or none; from long ago.
    Ignored,
}

/// What a flag does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// What it says.
    Used,
    /// Nothing: it tunes what we do not have, or do without being asked.
    Tolerated,
    /// Nothing yet. An error on the command line; a warning in a configuration file, where samples set such things.
    Later,
    /// Nothing yet, and leaving it out would serve less safely than was asked for. An error everywhere.
    Unsafe,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) effect: Effect,
    pub(super) help: &'static str,
}

impl Flag {
    /// The flag of this name.
    pub(super) fn find(name: &str) -> Option<&'static Flag> {
        FLAGS.iter().flat_map(|(_, flags)| *flags).find(|flag| flag.name == name)
    }

    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Whether it may stand without a value.
    pub(super) fn is_boolean(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::Ignored)
    }

    /// Go's complaint about a value of the wrong kind.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        let fits = match self.kind {
            Kind::Text | Kind::Ignored => true,
            Kind::Bool => go::boolean(text).is_some(),
            Kind::Uint => go::unsigned(text).is_some(),
            Kind::Int => go::signed(text).is_some(),
            Kind::Duration => go::duration(text).is_some(),
            Kind::OneOf(choices) if choices.contains(&text) => true,
            Kind::OneOf(choices) => return Err(format!("it must be one of {}", choices.join(", "))),
        };
        let example = match self.kind {
            _ if fits => return Ok(()),
            Kind::Bool => "true or false",
            Kind::Uint => "a number, 0 or more",
            Kind::Duration => "a duration like 100ms, 5s or 1h30m",
            _ => "a whole number",
        };
        Err(format!("parse error; it must be {example}"))
    }

    /// Whether `text` asks for something else than what happens without the flag.
    pub(super) fn differs(&self, text: &str) -> bool {
        match self.kind {
            Kind::Bool => go::boolean(text) != go::boolean(self.default),
            Kind::Uint => go::unsigned(text) != go::unsigned(self.default),
            Kind::Int => go::signed(text) != go::signed(self.default),
            Kind::Duration => go::duration(text) != go::duration(self.default),
            _ => !text.is_empty() && text != self.default,
        }
    }
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, effect: Effect, help: &'static str) -> Flag {
    Flag { name, kind, default, effect, help }
}

use Effect::{Later, Tolerated, Unsafe, Used};
use Kind::{Bool, Duration, Ignored, Int, OneOf, Text, Uint};

/// All flags by section.
pub(super) const FLAGS: &[(&str, &[Flag])] = &[
    ("Member", MEMBER),
    ("Clustering", CLUSTERING),
    ("Discovery", DISCOVERY),
    ("Security", SECURITY),
    ("Auth", AUTH),
    ("Profiling and monitoring", MONITORING),
    ("Logging", LOGGING),
    ("Maintenance", MAINTENANCE),
    ("Unsafe", UNSAFE),
    ("General", GENERAL),
    ("Ignored, for compatibility", IGNORED),
];

#[rustfmt::skip]
const MEMBER: &[Flag] = &[
    flag("name", Text, "default", Used, "Human-readable name of this member."),
    flag("data-dir", Text, "", Used, "Path to the data directory (default ${name}.etcd)."),
    flag("wal-dir", Text, "", Later, "Path to a directory for the log alone."),
    flag("snapshot-count", Uint, "10000", Used, "Applied entries between two checkpoints."),
    flag("heartbeat-interval", Uint, "100", Used, "Milliseconds between two heartbeats of a leader."),
    flag("election-timeout", Uint, "1000", Used, "Milliseconds without a leader before an election."),
    flag("initial-election-tick-advance", Bool, "true", Used, "Shorten the first wait for a leader."),
    flag("listen-peer-urls", Text, "http://localhost:2380", Used, "URLs to listen on for members."),
    flag("listen-client-urls", Text, "http://localhost:2379", Used, "URLs to listen on for clients, gRPC and HTTP."),
    flag("listen-client-http-urls", Text, "", Later, "URLs to listen on for HTTP alone."),
    flag("max-snapshots", Uint, "5", Tolerated, "Snapshot files to keep."),
    flag("max-wals", Uint, "5", Tolerated, "Log files to keep."),
    flag("quota-backend-bytes", Int, "0", Used, "Store size at which writes stop (0 is 2 GiB, negative is no limit)."),
    flag("backend-bbolt-freelist-type", Text, "map", Tolerated, "Free list of etcd's storage engine."),
    flag("backend-batch-interval", Duration, "0", Tolerated, "Batching of etcd's storage engine."),
    flag("backend-batch-limit", Int, "0", Tolerated, "Batching of etcd's storage engine."),
    flag("max-txn-ops", Uint, "128", Used, "Operations in one list of a transaction."),
    flag("max-request-bytes", Uint, "1572864", Used, "Bytes of one request."),
    flag("max-concurrent-streams", Uint, "4294967295", Used, "Streams that a client may have open on one connection."),
    flag("grpc-keepalive-min-time", Duration, "5s", Tolerated, "How often clients may ping. They may always."),
    flag("grpc-keepalive-interval", Duration, "2h", Used, "Ping idle clients this often (0 is never)."),
    flag("grpc-keepalive-timeout", Duration, "20s", Used, "Cut clients that leave a ping unanswered this long."),
    flag("socket-reuse-port", Bool, "false", Used, "Share listening ports with other processes."),
    flag("socket-reuse-address", Bool, "false", Tolerated, "Bind to ports in TIME_WAIT. Always on."),
    flag("raft-read-timeout", Duration, "5s", Tolerated, "Read timeout between members."),
    flag("raft-write-timeout", Duration, "5s", Tolerated, "Write timeout between members."),
    flag("memory-mlock", Bool, "false", Later, "Keep the process in memory."),
];

#[rustfmt::skip]
const CLUSTERING: &[Flag] = &[
    flag("initial-advertise-peer-urls", Text, "http://localhost:2380", Used, "This member's URLs for other members."),
    flag("initial-cluster", Text, "", Used, "The first members: name=URL,name=URL (default ${name}=${initial-advertise-peer-urls})."),
    flag("initial-cluster-state", OneOf(&["new", "existing"]), "new", Used, "Found a cluster, or join one."),
    flag("initial-cluster-token", Text, "etcd-cluster", Used, "Tells clusters with equal URLs apart."),
    flag("advertise-client-urls", Text, "http://localhost:2379", Used, "This member's URLs for clients."),
    flag("strict-reconfig-check", Bool, "true", Used, "Refuse changes of membership that would lose the quorum."),
    flag("pre-vote", Bool, "true", Used, "Ask before calling an election."),
    flag("max-learners", Int, "1", Used, "Learners at one time."),
    flag("auto-promote-learners", Bool, "false", Used, "Evenkeel's own: as the leader, promote every learner as soon as it has caught up."),
    flag("replace", Bool, "false", Used, "Evenkeel's own: with --initial-cluster-state existing and an empty disk, take the place of the member with these peer URLs."),
    flag("snapshot-catchup-entries", Uint, "5000", Used, "Entries kept for slow followers."),
    flag("snapshot-transfer-rate", Uint, "67108864", Used, "Bytes per second of snapshots sent to members (0 is no limit). Not in etcd."),
    flag("enable-grpc-gateway", Bool, "true", Tolerated, "Serve JSON over HTTP."),
    flag("v2-deprecation", OneOf(&["write-only", "write-only-drop-data", "gone"]), "gone", Tolerated, "Phase of etcd's v2 store."),
];

#[rustfmt::skip]
const DISCOVERY: &[Flag] = &[
    flag("discovery-endpoints", Text, "", Later, "A cluster to find the other members with."),
    flag("discovery-token", Text, "", Later, "This cluster's name there."),
    flag("discovery-dial-timeout", Duration, "2s", Tolerated, "Timeout of discovery."),
    flag("discovery-request-timeout", Duration, "5s", Tolerated, "Timeout of discovery."),
    flag("discovery-keepalive-time", Duration, "2s", Tolerated, "Pings of discovery."),
    flag("discovery-keepalive-timeout", Duration, "6s", Tolerated, "Pings of discovery."),
    flag("discovery-insecure-transport", Bool, "true", Tolerated, "Discovery without TLS."),
    flag("discovery-insecure-skip-tls-verify", Bool, "false", Tolerated, "Discovery without checking certificates."),
    flag("discovery-cert", Text, "", Later, "Certificate for discovery."),
    flag("discovery-key", Text, "", Later, "Key for discovery."),
    flag("discovery-cacert", Text, "", Later, "CA for discovery."),
    flag("discovery-user", Text, "", Later, "User for discovery."),
    flag("discovery-password", Text, "", Later, "Password for discovery."),
    flag("discovery-srv", Text, "", Later, "Domain whose SRV records list the members."),
    flag("discovery-srv-name", Text, "", Later, "Suffix of the SRV record's name."),
    flag("discovery-fallback", OneOf(&["exit", "proxy"]), "exit", Later, "What to do when discovery fails."),
];

#[rustfmt::skip]
const SECURITY: &[Flag] = &[
    flag("cert-file", Text, "", Unsafe, "Certificate for clients."),
    flag("key-file", Text, "", Unsafe, "Its key."),
    flag("client-cert-file", Text, "", Unsafe, "Certificate for calls to ourselves."),
    flag("client-key-file", Text, "", Unsafe, "Its key."),
    flag("client-cert-auth", Bool, "false", Unsafe, "Clients must have a certificate."),
    flag("client-crl-file", Text, "", Unsafe, "Revoked certificates of clients."),
    flag("client-cert-allowed-hostname", Text, "", Unsafe, "Names allowed in certificates of clients."),
    flag("trusted-ca-file", Text, "", Unsafe, "CA of clients' certificates."),
    flag("auto-tls", Bool, "false", Unsafe, "Make a certificate for clients."),
    flag("peer-cert-file", Text, "", Unsafe, "Certificate for members."),
    flag("peer-key-file", Text, "", Unsafe, "Its key."),
    flag("peer-client-cert-file", Text, "", Unsafe, "Certificate for calls to members."),
    flag("peer-client-key-file", Text, "", Unsafe, "Its key."),
    flag("peer-client-cert-auth", Bool, "false", Unsafe, "Members must have a certificate."),
    flag("peer-trusted-ca-file", Text, "", Unsafe, "CA of members' certificates."),
    flag("peer-auto-tls", Bool, "false", Unsafe, "Make a certificate for members."),
    flag("peer-crl-file", Text, "", Unsafe, "Revoked certificates of members."),
    flag("peer-cert-allowed-cn", Text, "", Unsafe, "Names allowed in certificates of members."),
    flag("peer-cert-allowed-hostname", Text, "", Unsafe, "Names allowed in certificates of members."),
    flag("peer-skip-client-san-verification", Bool, "false", Tolerated, "Do not check the names of members' certificates."),
    flag("self-signed-cert-validity", Uint, "1", Tolerated, "Years that made certificates hold."),
    flag("cipher-suites", Text, "", Tolerated, "TLS cipher suites."),
    flag("tls-min-version", Text, "TLS1.2", Tolerated, "Oldest TLS version."),
    flag("tls-max-version", Text, "", Tolerated, "Newest TLS version."),
    flag("cors", Text, "*", Tolerated, "Origins allowed to use the JSON gateway."),
    flag("host-whitelist", Text, "*", Unsafe, "Host names that HTTP clients may use."),
];

#[rustfmt::skip]
const AUTH: &[Flag] = &[
    flag("auth-token", Text, "simple", Unsafe, "Kind of authentication token: simple or jwt."),
    flag("bcrypt-cost", Uint, "10", Tolerated, "Cost of hashing passwords."),
    flag("auth-token-ttl", Uint, "300", Tolerated, "Seconds that a simple token lives."),
];

#[rustfmt::skip]
const MONITORING: &[Flag] = &[
    flag("enable-pprof", Bool, "false", Later, "Serve profiles under /debug/pprof."),
    flag("metrics", OneOf(&["basic", "extensive"]), "basic", Tolerated, "Detail of the metrics."),
    flag("listen-metrics-urls", Text, "", Used, "URLs to listen on for metrics and health alone."),
    flag("warning-apply-duration", Duration, "100ms", Used, "Log applies that take longer."),
    flag("warning-unary-request-duration", Duration, "300ms", Tolerated, "Log requests that take longer."),
    flag("enable-distributed-tracing", Bool, "false", Later, "Send traces."),
    flag("distributed-tracing-address", Text, "localhost:4317", Tolerated, "Where to send traces."),
    flag("distributed-tracing-service-name", Text, "etcd", Tolerated, "Name in traces."),
    flag("distributed-tracing-instance-id", Text, "", Tolerated, "Instance in traces."),
    flag("distributed-tracing-sampling-rate", Int, "0", Tolerated, "Traces per million requests."),
];

#[rustfmt::skip]
const LOGGING: &[Flag] = &[
    flag("logger", Text, "zap", Used, "Kind of log; only zap's shape."),
    flag("log-outputs", Text, "default", Used, "Where to log: default, stderr, stdout or files."),
    flag("log-level", Text, "info", Used, "debug, info, warn, error, panic or fatal."),
    flag("log-format", Text, "json", Used, "json or console."),
    flag("enable-log-rotation", Bool, "false", Later, "Rotate a log file."),
    flag("log-rotation-config-json", Text, "", Tolerated, "How to rotate it."),
];

#[rustfmt::skip]
const MAINTENANCE: &[Flag] = &[
    flag("auto-compaction-retention", Text, "0", Later, "How much history to keep; 0 is all."),
    flag("auto-compaction-mode", Text, "periodic", Used, "Whether retention counts time (periodic) or revisions (revision)."),
    flag("compaction-batch-limit", Int, "0", Tolerated, "Batching of compaction."),
    flag("compaction-sleep-interval", Duration, "0", Tolerated, "Pauses of compaction."),
    flag("corrupt-check-time", Duration, "0", Later, "Compare members' data this often."),
    flag("compact-hash-check-time", Duration, "1m", Tolerated, "Compare members' compactions this often."),
    flag("watch-progress-notify-interval", Duration, "0", Used, "Tell quiet watchers the revision this often (0 is 10m)."),
    flag("downgrade-check-time", Duration, "5s", Used, "As the leader, look this often whether a downgrade is complete."),
    flag("release-level", OneOf(&["3.5", "3.6", "3.7"]), "3.7", Used, "Evenkeel's own: behave as this release, to roll a cluster through releases."),
    flag("bootstrap-defrag-threshold-megabytes", Uint, "0", Tolerated, "Defragment at start. There is nothing to defragment."),
    flag("feature-gates", Text, "", Used, "Feature gates: Name=true,Name=false."),
];

#[rustfmt::skip]
const UNSAFE: &[Flag] = &[
    flag("force-new-cluster", Bool, "false", Used, "Make a one-member cluster of this member's data."),
    flag("unsafe-no-fsync", Bool, "false", Used, "Do not wait for the disk. A power loss then loses data."),
];

#[rustfmt::skip]
const GENERAL: &[Flag] = &[
    flag("config-file", Text, "", Used, "Path to a configuration file. All other flags and the environment are then ignored."),
    flag("version", Bool, "false", Used, "Print the version."),
];

#[rustfmt::skip]
const IGNORED: &[Flag] = &[
    flag("cluster-active-size", Ignored, "", Tolerated, ""),
    flag("cluster-remove-delay", Ignored, "", Tolerated, ""),
    flag("cluster-sync-interval", Ignored, "", Tolerated, ""),
    flag("config", Ignored, "", Tolerated, ""),
    flag("force", Ignored, "", Tolerated, ""),
    flag("max-result-buffer", Ignored, "", Tolerated, ""),
    flag("max-retry-attempts", Ignored, "", Tolerated, ""),
    flag("peer-heartbeat-interval", Ignored, "", Tolerated, ""),
    flag("peer-election-timeout", Ignored, "", Tolerated, ""),
    flag("retry-interval", Ignored, "", Tolerated, ""),
    flag("snapshot", Ignored, "", Tolerated, ""),
    flag("v", Ignored, "", Tolerated, ""),
    flag("vv", Ignored, "", Tolerated, ""),
    flag("test.coverprofile", Ignored, "", Tolerated, ""),
    flag("test.outputdir", Ignored, "", Tolerated, ""),
];

/// Feature gates of etcd 3.7. All are accepted. `LeaseCheckpoint` does here what it does there, but is on unless turned
/// off; the others that matter to clients are always on, and the rest concern etcd's own workings.
pub(super) const FEATURE_GATES: &[&str] = &[
    "AllAlpha",
    "AllBeta",
    "CompactHashCheck",
    "FastLeaseKeepAlive",
    "InitialCorruptCheck",
    "LeaseCheckpoint",
    "LeaseCheckpointPersist",
    "PriorityRequest",
    "SetMemberLocalAddr",
    "StopGRPCServiceOnDefrag",
    "TxnModeWriteWithSharedBuffer",
];
