//! Arguments, environment and file in; configuration, or error and exit code, out.

use std::io;
use std::time::Duration;

use super::*;
use crate::config::{ClusterState, Config, DEFAULT_QUOTA_BYTES};

fn run(arguments: &str, environment: &[(&str, &str)], file: &str) -> Result<Command, Refusal> {
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let environment: Vec<_> = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    parse(&arguments, &environment, |path| match path {
        "f" => Ok(file.to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

fn serve(arguments: &str) -> Settings {
    match run(arguments, &[], "") {
        Ok(Command::Serve(settings)) => *settings,
        other => panic!("{arguments}: {other:?}"),
    }
}

fn refused(result: Result<Command, Refusal>) -> (u8, String) {
    let refusal = result.expect_err("refused");
    assert!(!refusal.message.contains('\n'), "{}", refusal.message);
    (refusal.exit, refusal.message)
}

#[test]
fn without_flags_the_defaults_are_etcds() {
    let settings = serve("");
    assert_eq!(format!("{:?}", settings.config), format!("{:?}", Config::default()));
    assert_eq!(settings.log, LogSettings::default());
}

#[test]
fn syntax_is_gos() {
    for arguments in ["--name=a", "-name a", "--name a", "-name=a", "--name=x --name=a", "--name a --"] {
        assert_eq!(serve(arguments).config.name, "a", "{arguments}");
    }
    assert!(!serve("--pre-vote=false").config.pre_vote);
    assert!(serve("--pre-vote").config.pre_vote);
    assert_eq!(serve("--snapshot-count=0x10").config.snapshot_count, 16);
}

#[test]
fn a_name_alone_makes_a_cluster_of_one() {
    let config = serve("--name a").config;
    assert_eq!(config.data_dir, "a.etcd");
    assert_eq!(config.initial_cluster, [("a".to_owned(), vec!["http://localhost:2380".to_owned()])]);
}

#[test]
fn a_member_of_three_is_described_as_by_etcd() {
    let settings = serve(
        "--name b --data-dir /d --listen-peer-urls http://10.0.0.2:2380 --initial-advertise-peer-urls \
         http://10.0.0.2:2380 --listen-client-urls http://10.0.0.2:2379,http://127.0.0.1:2379 --advertise-client-urls \
         http://b.example:2379 --initial-cluster c=http://10.0.0.3:2380,a=http://10.0.0.1:2380,b=http://10.0.0.2:2380 \
         --initial-cluster-token t --initial-cluster-state existing --heartbeat-interval 50 --election-timeout 500 \
         --quota-backend-bytes -1 --watch-progress-notify-interval=5s --log-level warn --log-outputs stdout,/l",
    );
    let config = settings.config;
    assert_eq!(config.listen_client_urls, ["http://10.0.0.2:2379", "http://127.0.0.1:2379"]);
    let names: Vec<&str> = config.initial_cluster.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, config.initial_cluster_token.as_str()), (vec!["a", "b", "c"], "t"));
    assert_eq!(config.initial_cluster_state, ClusterState::Existing);
    assert_eq!(
        (config.heartbeat_interval, config.election_timeout),
        (Duration::from_millis(50), Duration::from_millis(500))
    );
    assert_eq!(config.quota_backend_bytes, None);
    assert_eq!(config.watch_progress_notify_interval, Duration::from_secs(5));
    assert_eq!(settings.log.level, LogLevel::Warn);
    assert_eq!(settings.log.outputs, [LogOutput::Stdout, LogOutput::File("/l".into())]);
}

#[test]
fn what_kubeadm_passes_without_tls_is_accepted() {
    serve(
        "--name=node --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
         --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
         --data-dir=/var/lib/etcd --snapshot-count=10000 --listen-metrics-urls=http://127.0.0.1:2381 \
         --feature-gates=InitialCorruptCheck=true --watch-progress-notify-interval=5s \
         --initial-cluster=node=http://127.0.0.1:2380 --client-cert-auth=false --cert-file=",
    );
}

#[test]
fn flags_that_tune_what_we_do_not_have_are_accepted() {
    serve(
        "--max-wals 0 --max-snapshots 1 --backend-batch-interval 1s --backend-batch-limit 5 \
         --backend-bbolt-freelist-type array --raft-read-timeout 9s --enable-pprof=false --metrics extensive --cors x \
         --compaction-batch-limit 9 --strict-reconfig-check=false --snapshot=7 --v --auth-token simple \
         --discovery-dial-timeout 9s --auto-compaction-retention 0 --corrupt-check-time 0s",
    );
}

#[test]
fn lease_checkpoints_are_on_unless_turned_off() {
    let interval = |flags: &str| serve(flags).config.lease_checkpoint_interval.map(|interval| interval.as_secs());
    let cases = [
        ("", Some(300)),
        ("--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true", Some(300)),
        ("--feature-gates=LeaseCheckpoint=false", None),
        ("--feature-gates=LeaseCheckpoint=false,LeaseCheckpoint=true", Some(300)),
        ("--feature-gates=CompactHashCheck=false", Some(300)),
    ];
    for (flags, expected) in cases {
        assert_eq!(interval(flags), expected, "{flags}");
    }
}

#[test]
fn wrong_usage_exits_2() {
    for (arguments, message) in [
        ("--nam a", "flag provided but not defined: -nam; did you mean --name?"),
        (
            "--listen-client-url x",
            "flag provided but not defined: -listen-client-url; did you mean --listen-client-urls?",
        ),
        ("--whatever", "flag provided but not defined: -whatever; see --help for the list"),
        ("--discovery x", "flag provided but not defined: -discovery; it belonged to etcd's v2 API: remove it"),
        (
            "--experimental-initial-corrupt-check",
            "flag provided but not defined: -experimental-initial-corrupt-check; \
             etcd 3.7 has no experimental flags: use --feature-gates=InitialCorruptCheck=true",
        ),
        (
            "--experimental-watch-progress-notify-interval=5s",
            "flag provided but not defined: -experimental-watch-progress-notify-interval; \
             etcd 3.7 has no experimental flags: use --watch-progress-notify-interval",
        ),
        ("--name", "flag needs an argument: -name"),
        ("---name a", "bad flag syntax: ---name"),
        ("--=a", "bad flag syntax: --=a"),
        ("--pre-vote=maybe", "invalid value \"maybe\" for flag -pre-vote: parse error; it must be true or false"),
        (
            "--election-timeout=1s",
            "invalid value \"1s\" for flag -election-timeout: parse error; it must be a number, 0 or more",
        ),
        (
            "--grpc-keepalive-timeout 5",
            "invalid value \"5\" for flag -grpc-keepalive-timeout: parse error; \
             it must be a duration like 100ms, 5s or 1h30m",
        ),
        (
            "--initial-cluster-state old",
            "invalid value \"old\" for flag -initial-cluster-state: it must be one of new, existing",
        ),
    ] {
        assert_eq!(refused(run(arguments, &[], "")), (2, message.to_owned()), "{arguments}");
    }
    let (exit, message) = refused(run("--feature-gates=Nope=true", &[], ""));
    assert!(exit == 2 && message.contains("unrecognized feature gate: Nope"), "{message}");
}

#[test]
fn bad_configuration_exits_1() {
    for (arguments, message) in [
        ("serve", "'serve' is not a valid flag"),
        ("--pre-vote false", "'false' is not a valid flag"),
        ("-- x", "'x' is not a valid flag"),
        ("grpc-proxy start", "'grpc-proxy' is not supported yet"),
        ("--heartbeat-interval 0", "--heartbeat-interval must be >0"),
        (
            "--election-timeout 400",
            "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        ("--election-timeout 50001", "--election-timeout[50001ms] is too long"),
        ("--listen-client-urls http://127.0.0.1:1", "--advertise-client-urls is required when --listen-client-urls"),
        ("--listen-peer-urls http://example.org:2380", "--listen-peer-urls: expected IP in URL for binding"),
        ("--listen-peer-urls 127.0.0.1:2380", "--listen-peer-urls: a URL must look like http://HOST:PORT"),
        ("--listen-peer-urls http://127.0.0.1", "--listen-peer-urls: URL address does not have the form"),
        ("--listen-peer-urls http://127.0.0.1:1/x", "--listen-peer-urls: URL must not contain a path"),
        ("--listen-peer-urls http://127.0.0.1:70000", "--listen-peer-urls: the port must be a number"),
        ("--listen-peer-urls https://127.0.0.1:1", "--listen-peer-urls: TLS is not supported yet"),
        ("--listen-metrics-urls unix:///x", "--listen-metrics-urls: unix sockets are not supported yet"),
        ("--initial-cluster a", "--initial-cluster: empty URL given for \"a\"; write it as a=http://HOST:PORT"),
        ("--cert-file /c", "--cert-file is not supported yet (\"/c\"); remove it"),
        ("--client-cert-auth", "--client-cert-auth is not supported yet (\"true\"); remove it or turn it off"),
        ("--peer-auto-tls=true", "--peer-auto-tls is not supported yet"),
        ("--auth-token jwt,sign-method=RS256", "--auth-token is not supported yet"),
        ("--auto-compaction-retention 1", "--auto-compaction-retention is not supported yet"),
        ("--auto-compaction-mode x", "unknown auto-compaction-mode \"x\""),
        ("--corrupt-check-time 1h", "--corrupt-check-time is not supported yet"),
        ("--replace", "--replace needs --initial-cluster-state existing"),
        ("--max-learners=-1", "--max-learners must be 0 or more"),
        ("--discovery-srv example.org", "--discovery-srv is not supported yet"),
        ("--wal-dir /w", "--wal-dir is not supported yet"),
        ("--listen-client-http-urls http://127.0.0.1:1", "--listen-client-http-urls is not supported yet"),
        ("--enable-pprof", "--enable-pprof is not supported yet"),
        ("--host-whitelist a", "--host-whitelist is not supported yet"),
        ("--log-level loud", "unrecognized level: \"loud\""),
        ("--log-format xml", "unknown log format: \"xml\""),
        ("--logger capnslog", "unknown logger option \"capnslog\""),
        ("--snapshot-count 0", "--snapshot-count must be >0"),
        ("--max-request-bytes 999999999999", "--max-request-bytes must be at most"),
        ("--watch-progress-notify-interval 1ms", "--watch-progress-notify-interval must be at least 100ms"),
        ("--compact-hash-check-time 0", "--compact-hash-check-time must be >0"),
        ("--config-file nowhere", "cannot read the configuration file nowhere"),
    ] {
        let (exit, found) = refused(run(arguments, &[], ""));
        assert_eq!(exit, 1, "{arguments}: {found}");
        assert!(found.starts_with(message), "{arguments}: {found}");
    }
}

#[test]
fn help_and_version_are_printed() {
    for arguments in ["-h", "--help", "-help --name"] {
        let Ok(Command::Print(text)) = run(arguments, &[], "") else { panic!("{arguments}") };
        assert!(text.contains("--listen-client-urls 'http://localhost:2379'"), "{text}");
    }
    let Ok(Command::Print(text)) = run("--version", &[], "") else { panic!("version") };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "etcd Version: 3.7.3");
    assert!(lines[1].starts_with("Git SHA: ") && lines[2].starts_with("Go Version: "), "{text}");
    assert!(lines[3].starts_with("Go OS/Arch: linux/"), "{text}");
}

#[test]
fn the_environment_counts_unless_a_flag_says_the_same() {
    let environment = [("ETCD_NAME", "e"), ("ETCD_WHAT", "x"), ("ETCD_DATA_DIR", ""), ("HOME", "/")];
    let Ok(Command::Serve(settings)) = run("--data-dir d", &environment, "") else { panic!() };
    assert_eq!((settings.config.name.as_str(), settings.config.data_dir.as_str()), ("e", "d"));
    assert_eq!(settings.warnings, ["unrecognized environment variable ETCD_WHAT=x"]);
    assert_eq!(settings.used_environment, ["ETCD_NAME=e"]);

    let (exit, message) = refused(run("--name a", &[("ETCD_NAME", "a")], ""));
    assert_eq!(exit, 1);
    assert!(message.starts_with("conflicting environment variable \"ETCD_NAME\" is shadowed"), "{message}");
    let (exit, message) = refused(run("", &[("ETCD_HEARTBEAT_INTERVAL", "x")], ""));
    assert_eq!(exit, 1);
    assert!(message.starts_with("invalid value \"x\" for ETCD_HEARTBEAT_INTERVAL"), "{message}");
    let (exit, message) = refused(run("", &[("ETCD_CERT_FILE", "/c")], ""));
    assert_eq!((exit, message.as_str()), (1, "ETCD_CERT_FILE is not supported yet (\"/c\"); remove it"));
}

fn from_file(file: &str) -> Settings {
    // Flags and environment beside a file are ignored.
    match run("--config-file f --name flag", &[("ETCD_NAME", "e"), ("ETCD_X", "y")], file) {
        Ok(Command::Serve(settings)) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_replaces_flags_and_environment() {
    let file = "name: n\nheartbeat-interval: 50\ngrpc-keepalive-timeout: 3000000000\nwatch-progress-notify-interval: 5s\n\
        pre-vote: false\nlog-outputs: [stdout, stderr]\ninitial-cluster: n=http://localhost:2380\n";
    let settings = from_file(file);
    let config = settings.config;
    assert_eq!((config.name.as_str(), config.heartbeat_interval), ("n", Duration::from_millis(50)));
    assert_eq!(config.grpc_keepalive_timeout, Duration::from_secs(3));
    assert_eq!(config.watch_progress_notify_interval, Duration::from_secs(5));
    assert!(!config.pre_vote);
    assert_eq!(settings.log.outputs, [LogOutput::Stdout, LogOutput::Stderr]);
    assert_eq!(config.quota_backend_bytes, Some(DEFAULT_QUOTA_BYTES));
    assert_eq!(from_file(r#"{"name": "j", "snapshot-count": 7}"#).config.snapshot_count, 7);
    let Ok(Command::Serve(settings)) = run("", &[("ETCD_CONFIG_FILE", "f")], "name: v") else { panic!() };
    assert_eq!(settings.config.name, "v");
}

/// The keys and values of the sample that etcd ships.
const SAMPLE: &str = "
name: 'default'
data-dir:
wal-dir:
snapshot-count: 10000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://localhost:2379
max-snapshots: 5
cors:
initial-advertise-peer-urls: http://localhost:2380
advertise-client-urls: http://localhost:2379
discovery:
discovery-fallback: 'proxy'
discovery-proxy:
discovery-srv:
initial-cluster:
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
proxy-failure-wait: 5000
proxy-read-timeout: 0
client-transport-security:
  cert-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
peer-transport-security:
  cert-file:
  client-cert-auth: false
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: \"1\"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
";

#[test]
fn etcds_sample_file_starts_a_server_and_says_what_is_missing() {
    let settings = from_file(SAMPLE);
    assert_eq!(settings.config.data_dir, "default.etcd");
    let missing = |name: &str| {
        settings.warnings.iter().any(|warning| warning.starts_with(&format!("{name} in the configuration file is not")))
    };
    assert!(missing("auto-compaction-retention") && missing("enable-pprof"), "{:?}", settings.warnings);
}

#[test]
fn a_wrong_file_is_refused_with_its_place() {
    for (file, message) in [
        ("a: [", "configuration file f: unclosed bracket '[' at line 1, column 4"),
        ("- a", "configuration file f: it must be a map"),
        ("pre-vote: 3", "configuration file f: invalid value \"3\" for pre-vote"),
        ("name: {a: b}", "configuration file f: name: expected a plain value"),
        ("peer-transport-security: {cert-file: /c}", "peer-cert-file in the configuration file is not supported yet"),
        (
            "client-transport-security: {allowed-hostnames: [a]}",
            "client-cert-allowed-hostname in the configuration file",
        ),
        ("client-transport-security: {crt-file: /c}", "configuration file f: unknown key crt-file about TLS"),
        ("replace: true", "--replace needs --initial-cluster-state existing"),
    ] {
        let (exit, found) = refused(run("--config-file f", &[], file));
        assert_eq!(exit, 1, "{file}");
        assert!(found.starts_with(message), "{file}: {found}");
    }
}

#[test]
fn every_flag_has_one_row_and_a_fitting_default() {
    let mut names: Vec<&str> = Vec::new();
    for flag in table::FLAGS.iter().flat_map(|(_, flags)| *flags) {
        assert!(!names.contains(&flag.name), "{} twice", flag.name);
        names.push(flag.name);
        assert_eq!(flag.check(flag.default), Ok(()), "{}", flag.name);
        assert!(!flag.differs(flag.default), "{}", flag.name);
    }
}
