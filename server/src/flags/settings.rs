//! From values to a checked configuration. Every refusal names the flag and says what to do.

use std::time::Duration;

use super::table::{Effect, FEATURE_GATES};
use super::values::{Source, Values};
use super::{Refusal, urls};
use crate::config::{ClusterState, Config, DEFAULT_QUOTA_BYTES, LEASE_CHECKPOINT_INTERVAL};

/// etcd's longest election timeout.
const ELECTION_TIMEOUT_MAX_MS: u64 = 50_000;
const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
const WATCH_PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The leader asks every member at each look.
const DOWNGRADE_CHECK_MIN: Duration = Duration::from_millis(100);
/// Larger requests and quotas work, but other parts suffer; etcd warns, too.
const REQUEST_BYTES_WARN: u64 = 10 << 20;
const QUOTA_BYTES_WARN: i64 = 8 << 30;

/// Everything `main` needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The member's.
    pub config: Config,
    /// The log's.
    pub log: LogSettings,
    /// Do not wait for the disk.
    pub unsafe_no_fsync: bool,
    /// To be logged first: what was accepted without effect, and other doubts.
    pub warnings: Vec<String>,
    /// To be logged: environment variables used.
    pub used_environment: Vec<String>,
}

/// Where and how to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level shown.
    pub level: LogLevel,
    /// Of a line.
    pub format: LogFormat,
    /// All of these.
    pub outputs: Vec<LogOutput>,
}

/// zap's levels. Panic and fatal are above error: they silence everything else.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Columns for people.
    Console,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(String),
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { level: LogLevel::Info, format: LogFormat::Json, outputs: vec![LogOutput::Stderr] }
    }
}

pub(super) fn settings(mut values: Values) -> Result<Settings, Refusal> {
    let mut warnings = std::mem::take(&mut values.warnings);
    unsupported(&values, &mut warnings)?;
    let log = log(&values)?;
    let config = config(&values, &mut warnings)?;
    if config.name == "default" {
        warnings.push(
            "it isn't recommended to use default name, please set a value for --name: \
             members with equal names are hard to tell apart"
                .into(),
        );
    }
    let unsafe_no_fsync = values.is_true("unsafe-no-fsync");
    if unsafe_no_fsync {
        warnings.push("--unsafe-no-fsync is set: a power loss will lose acknowledged data".into());
    }
    Ok(Settings { config, log, unsafe_no_fsync, warnings, used_environment: values.used_environment })
}

/// Refuses what we cannot honour and must not overlook.
fn unsupported(values: &Values, warnings: &mut Vec<String>) -> Result<(), Refusal> {
    for (flag, value, source) in values.iter().filter(|(flag, value, _)| flag.differs(value)) {
        let origin = match source {
            Source::CommandLine => format!("--{}", flag.name),
            Source::Environment => flag.variable(),
            Source::File => format!("{} in the configuration file", flag.name),
        };
        match (flag.effect, source) {
            (Effect::Used | Effect::Tolerated, _) => {}
            (Effect::Later, Source::File) => {
                warnings.push(format!("{origin} is not supported yet and has no effect ({value:?})"));
            }
            (Effect::Later | Effect::Unsafe, _) => {
                let instead = match flag.default {
                    "" => "remove it",
                    "0" | "false" => "remove it or turn it off",
                    _ => "remove it or leave it at its default",
                };
                return Err(Refusal::config(format!("{origin} is not supported yet ({value:?}); {instead}")));
            }
        }
    }
    feature_gates(values)
}

fn feature_gates(values: &Values) -> Result<(), Refusal> {
    for gate in values.text("feature-gates").split(',').map(str::trim).filter(|gate| !gate.is_empty()) {
        let (name, value) = gate.split_once('=').unwrap_or((gate, ""));
        let wrong = if !FEATURE_GATES.contains(&name) {
            format!("unrecognized feature gate: {name}; known are {}", FEATURE_GATES.join(", "))
        } else if super::go::boolean(value).is_none() {
            format!("invalid value of {name}: write {name}=true or {name}=false")
        } else {
            continue;
        };
        return Err(Refusal::usage(format!("invalid value {gate:?} for flag -feature-gates: {wrong}")));
    }
    Ok(())
}

fn log(values: &Values) -> Result<LogSettings, Refusal> {
    if values.text("logger") != "zap" {
        return Err(Refusal::config(format!(
            "unknown logger option {:?}; --logger must be zap",
            values.text("logger")
        )));
    }
    let level = match values.text("log-level") {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        "error" => LogLevel::Error,
        "dpanic" | "panic" | "fatal" => LogLevel::Fatal,
        other => {
            let levels = "debug, info, warn, error, panic or fatal";
            return Err(Refusal::config(format!("unrecognized level: {other:?}; --log-level must be {levels}")));
        }
    };
    let format = match values.text("log-format") {
        "json" => LogFormat::Json,
        "console" => LogFormat::Console,
        other => {
            return Err(Refusal::config(format!(
                "unknown log format: {other:?}; --log-format must be json or console"
            )));
        }
    };
    let mut outputs = Vec::new();
    for output in values.text("log-outputs").split(',').map(str::trim).filter(|output| !output.is_empty()) {
        outputs.push(match output {
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            "systemd/journal" => {
                return Err(Refusal::config(
                    "--log-outputs systemd/journal is not supported yet; use stderr, which systemd records as well",
                ));
            }
            path => LogOutput::File(path.to_owned()),
        });
    }
    if outputs.is_empty() {
        outputs.push(LogOutput::Stderr);
    }
    Ok(LogSettings { level, format, outputs })
}

fn config(values: &Values, warnings: &mut Vec<String>) -> Result<Config, Refusal> {
    let name = values.text("name").to_owned();
    let (heartbeat, election) = timing(values)?;
    let listen = |flag| {
        let list = urls::list(flag, values.text(flag))?;
        urls::can_be_bound(flag, &list)?;
        Ok::<_, Refusal>(list)
    };
    let listen_peer_urls = listen("listen-peer-urls")?;
    let listen_client_urls = listen("listen-client-urls")?;
    let listen_metrics_urls =
        if values.set("listen-metrics-urls").is_some() { listen("listen-metrics-urls")? } else { Vec::new() };
    if values.set("listen-client-urls").is_some() && values.set("advertise-client-urls").is_none() {
        return Err(Refusal::config(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly; \
             set it to the URL that clients can reach",
        ));
    }
    let peer_urls = urls::list("initial-advertise-peer-urls", values.text("initial-advertise-peer-urls"))?;
    let initial_cluster = match values.set("initial-cluster") {
        Some(text) => urls::cluster(text)?,
        None => vec![(name.clone(), peer_urls.clone())],
    };
    match values.text("auto-compaction-mode") {
        "periodic" | "revision" => {}
        other => {
            return Err(Refusal::config(format!(
                "unknown auto-compaction-mode {other:?}; --auto-compaction-mode must be periodic or revision"
            )));
        }
    }
    if values.duration("compact-hash-check-time").is_zero() {
        return Err(Refusal::config("--compact-hash-check-time must be >0 (set to 0s)"));
    }
    Ok(Config {
        release: values.text("release-level").parse().expect("checked when set"),
        downgrade_check_time: downgrade_check(values)?,
        data_dir: values.set("data-dir").map_or_else(|| format!("{name}.etcd"), str::to_owned),
        name,
        listen_client_urls,
        listen_peer_urls,
        listen_metrics_urls,
        advertise_client_urls: urls::list("advertise-client-urls", values.text("advertise-client-urls"))?,
        initial_advertise_peer_urls: peer_urls,
        initial_cluster,
        initial_cluster_token: values.text("initial-cluster-token").to_owned(),
        initial_cluster_state: match values.text("initial-cluster-state") {
            "existing" => ClusterState::Existing,
            _ => ClusterState::New,
        },
        heartbeat_interval: heartbeat,
        election_timeout: election,
        pre_vote: values.is_true("pre-vote"),
        initial_election_tick_advance: values.is_true("initial-election-tick-advance"),
        snapshot_count: at_least_one(values, "snapshot-count")?,
        snapshot_catchup_entries: values.unsigned("snapshot-catchup-entries"),
        snapshot_transfer_rate: values.unsigned("snapshot-transfer-rate"),
        max_request_bytes: request_bytes(values, warnings)?,
        max_txn_ops: usize::try_from(at_least_one(values, "max-txn-ops")?).unwrap_or(usize::MAX),
        quota_backend_bytes: quota(values.signed("quota-backend-bytes"), warnings),
        watch_progress_notify_interval: watch_progress(values)?,
        socket_reuse_port: values.is_true("socket-reuse-port"),
        max_concurrent_streams: u32::try_from(at_least_one(values, "max-concurrent-streams")?).unwrap_or(u32::MAX),
        grpc_keepalive_min_time: values.duration("grpc-keepalive-min-time"),
        grpc_keepalive_interval: values.duration("grpc-keepalive-interval"),
        grpc_keepalive_timeout: values.duration("grpc-keepalive-timeout"),
        warning_apply_duration: values.duration("warning-apply-duration"),
        lease_checkpoint_interval: gate(values, "LeaseCheckpoint", true).then_some(LEASE_CHECKPOINT_INTERVAL),
        strict_reconfig_check: values.is_true("strict-reconfig-check"),
        max_learners: max_learners(values)?,
        force_new_cluster: values.is_true("force-new-cluster"),
        replace: replace(values)?,
        auto_promote_learners: values.is_true("auto-promote-learners"),
        ..Config::default()
    })
}

/// The last word about a feature gate.
fn gate(values: &Values, name: &str, unless_said: bool) -> bool {
    let gates = values.text("feature-gates").split(',').filter_map(|gate| gate.trim().split_once('='));
    let said = gates.filter(|(gate, _)| *gate == name).filter_map(|(_, value)| super::go::boolean(value)).next_back();
    said.unwrap_or(unless_said)
}

fn timing(values: &Values) -> Result<(Duration, Duration), Refusal> {
    let heartbeat = values.unsigned("heartbeat-interval");
    let election = values.unsigned("election-timeout");
    let wrong = if heartbeat == 0 {
        "--heartbeat-interval must be >0 (set to 0ms)".to_owned()
    } else if election == 0 {
        "--election-timeout must be >0 (set to 0ms)".to_owned()
    } else if heartbeat.saturating_mul(5) > election {
        format!("--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]")
    } else if election > ELECTION_TIMEOUT_MAX_MS {
        format!("--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_TIMEOUT_MAX_MS}ms")
    } else {
        return Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)));
    };
    Err(Refusal::config(wrong))
}

fn at_least_one(values: &Values, flag: &str) -> Result<u64, Refusal> {
    match values.unsigned(flag) {
        0 => Err(Refusal::config(format!("--{flag} must be >0; remove it to use the default"))),
        value => Ok(value),
    }
}

fn max_learners(values: &Values) -> Result<usize, Refusal> {
    let most = values.signed("max-learners");
    usize::try_from(most)
        .map_err(|_| Refusal::config(format!("--max-learners must be 0 or more (set to {most}); remove it to allow 1")))
}

fn replace(values: &Values) -> Result<bool, Refusal> {
    let replace = values.is_true("replace");
    if replace && values.text("initial-cluster-state") != "existing" {
        return Err(Refusal::config("--replace needs --initial-cluster-state existing: it joins a cluster that runs"));
    }
    Ok(replace)
}

fn downgrade_check(values: &Values) -> Result<Duration, Refusal> {
    let interval = values.duration("downgrade-check-time");
    if interval < DOWNGRADE_CHECK_MIN {
        return Err(Refusal::config(format!(
            "--downgrade-check-time must be at least {DOWNGRADE_CHECK_MIN:?} (set to {interval:?})"
        )));
    }
    Ok(interval)
}

fn request_bytes(values: &Values, warnings: &mut Vec<String>) -> Result<usize, Refusal> {
    let bytes = at_least_one(values, "max-request-bytes")?;
    // One request must fit into one record of the log, with room for its frame.
    let most = evenkeel_storage::RECORD_BYTES_MAX as u64 / 2;
    if bytes > most {
        return Err(Refusal::config(format!("--max-request-bytes must be at most {most} (set to {bytes})")));
    }
    if bytes > REQUEST_BYTES_WARN {
        warnings.push(format!("--max-request-bytes={bytes} is larger than the recommended {REQUEST_BYTES_WARN}"));
    }
    Ok(usize::try_from(bytes).expect("bounded above"))
}

fn quota(bytes: i64, warnings: &mut Vec<String>) -> Option<u64> {
    if bytes > QUOTA_BYTES_WARN {
        warnings.push(format!("--quota-backend-bytes={bytes} is larger than etcd's recommended {QUOTA_BYTES_WARN}"));
    }
    match bytes {
        0 => Some(DEFAULT_QUOTA_BYTES),
        _ => u64::try_from(bytes).ok(),
    }
}

fn watch_progress(values: &Values) -> Result<Duration, Refusal> {
    let interval = values.duration("watch-progress-notify-interval");
    if interval.is_zero() {
        Ok(WATCH_PROGRESS_INTERVAL)
    } else if interval < WATCH_PROGRESS_INTERVAL_MIN {
        Err(Refusal::config(format!(
            "--watch-progress-notify-interval must be at least {WATCH_PROGRESS_INTERVAL_MIN:?} (set to {interval:?})"
        )))
    } else {
        Ok(interval)
    }
}
