//! The process as its supervisor sees it: exit codes, messages, signals.
#![cfg(not(madsim))]

mod support;

use std::os::unix::process::ExitStatusExt;

use support::{Cluster, READY, evenkeel, run};

/// Exit code, standard output and standard error of `evenkeel ARGUMENTS`, which must end by itself.
fn ends(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&mut evenkeel(arguments));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Asserts that the server refuses to start, with this exit code and one line that contains all of `words`.
fn refused(arguments: &[&str], exit: i32, words: &[&str]) {
    let (code, _, stderr) = ends(arguments);
    assert_eq!(code, Some(exit), "{arguments:?}: {stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{arguments:?}: {word:?} is missing in: {last}");
    }
}

/// The arguments of a cluster of one, and one more that overrides.
fn with<'a>(cluster: &'a Cluster, argument: &'a str) -> Vec<&'a str> {
    cluster.nodes[0].arguments().iter().map(String::as_str).chain([argument]).collect()
}

#[test]
fn an_unknown_flag_is_wrong_usage_and_names_the_nearest() {
    refused(&["--listen-cleint-urls=x"], 2, &["-listen-cleint-urls", "--listen-client-urls"]);
}

#[test]
fn a_stray_argument_is_refused() {
    refused(&["serve"], 1, &["serve"]);
}

#[test]
fn a_contradiction_is_refused() {
    refused(&["--name=a", "--initial-cluster=b=http://127.0.0.1:1"], 1, &["initial-cluster"]);
    refused(&["--listen-client-urls=ftp://127.0.0.1:1"], 1, &["listen-client-urls"]);
    refused(&["--heartbeat-interval=1000", "--election-timeout=1000"], 1, &["election-timeout"]);
}

#[test]
fn an_unreadable_configuration_file_is_refused() {
    refused(&["--config-file=/nonexistent/etcd.yaml"], 1, &["/nonexistent/etcd.yaml"]);
}

#[test]
fn version_and_help_are_answers() {
    let (code, version, _) = ends(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(version.starts_with("etcd Version: 3.7."), "{version}");
    assert!(version.lines().any(|line| line.starts_with("Go OS/Arch: ")), "{version}");
    let (code, help, _) = ends(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("--listen-client-urls"), "{help}");
}

#[test]
fn a_used_port_is_named() {
    let cluster = Cluster::serving(1);
    let mut second = Cluster::new(1);
    let taken = cluster.nodes[0].endpoint.as_str();
    let client = format!("--listen-client-urls={taken}");
    refused(&with(&second, &client), 1, &["in use", taken, "--listen-client-urls"]);
    // Refused for the port alone: on its own ports it starts.
    second.start();
}

#[test]
fn a_used_data_directory_is_named() {
    let cluster = Cluster::serving(1);
    let taken = cluster.nodes[0].data().to_str().expect("readable");
    let data = format!("--data-dir={taken}");
    refused(&with(&Cluster::new(1), &data), 1, &[taken]);
}

#[test]
fn a_data_directory_of_another_cluster_is_refused() {
    let mut first = Cluster::serving(1);
    first.nodes[0].terminate();
    let foreign = first.nodes[0].data().to_str().expect("readable");
    let data = format!("--data-dir={foreign}");
    refused(&with(&Cluster::new(1), &data), 1, &[foreign, "cluster"]);
}

#[test]
fn sigterm_ends_a_member_cleanly() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].start();
    let ready = cluster.nodes[0].logged(READY);
    assert!(ready.starts_with(r#"{"level":"info","ts":""#), "{ready}");
    let (status, log) = cluster.nodes[0].terminate();
    // Dying by the signal is what supervisors expect of etcd; a container's first process exits with 0.
    assert!(status.signal() == Some(15) || status.code() == Some(0), "{status}: {log}");
    assert!(log.contains(r#""msg":"closed etcd server""#), "{log}");
    assert!(!log.contains(r#""level":"error""#) && !log.contains(r#""level":"fatal""#), "{log}");
}

#[test]
fn a_member_starts_again_where_it_stopped() {
    let mut cluster = Cluster::serving(1);
    for _ in 0..2 {
        cluster.nodes[0].terminate();
        cluster.start();
    }
}
