//! How long a cluster of three real processes is without a leader, and its clients without acknowledged writes: after
//! the leader was killed (SIGKILL), and after it was asked to stop (SIGTERM).
//!
//! As a test it makes a few trials and holds them against generous bounds. `scripts/failover` makes many, prints a
//! table, and does the same for a release build.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "measures how long real processes take")]

mod support;

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel_proto::etcdserverpb::kv_client::KvClient;
use evenkeel_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use evenkeel_proto::etcdserverpb::{PutRequest, StatusRequest};
use support::{Cluster, Node, PATIENCE, READY};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Clients that write at the same time.
const WRITERS: usize = 8;
/// Trials of a test; `FAILOVER_TRIALS` asks for another number.
const TRIALS: usize = 3;
/// Members are in contact for so long before anything happens to them, and watched for so long afterwards.
const QUIET: Duration = Duration::from_millis(1_500);
/// How often the others are asked who leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Default time-outs are 100 ms and 1 s. Suspicion makes an election begin within two ticks; without it a new leader
/// would need 1 to 2 s. Tests share the machine with other tests.
const KILLED_LEADERLESS_MAX: Duration = Duration::from_millis(900);
const HANDED_OVER_LEADERLESS_MAX: Duration = Duration::from_millis(500);
const HANDED_OVER_GAP_MAX: Duration = Duration::from_millis(500);

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: Mutex<Vec<Instant>>,
    failed: Mutex<Vec<String>>,
}

fn channel(endpoint: &str) -> Channel {
    Endpoint::from_shared(endpoint.to_owned()).expect("our own URL").connect_lazy()
}

/// Whether the server has certainly not seen the request, so that any client tries again elsewhere: nobody listens, or
/// the connection was given up before the request was on it.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let refused = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
        if refused || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Writes one key after the other, to one member until it goes away.
async fn write(writer: usize, endpoints: Vec<String>, seen: Arc<Seen>) {
    let mut at = writer % endpoints.len();
    let mut client = KvClient::new(channel(&endpoints[at]));
    let mut number = 0;
    while !seen.stop.load(Ordering::Relaxed) {
        let request = PutRequest { key: format!("{writer}/{number}").into(), value: "v".into(), ..Default::default() };
        match client.put(request).await {
            Ok(_) => {
                number += 1;
                seen.answered.lock().unwrap().push(Instant::now());
            }
            Err(status) => {
                if !was_not_sent(&status) {
                    seen.failed.lock().unwrap().push(format!("{status:?}"));
                    number += 1;
                }
                at = (at + 1) % endpoints.len();
                client = KvClient::new(channel(&endpoints[at]));
            }
        }
    }
}

/// Who a member is, and whom it follows.
async fn status(endpoint: &str) -> Result<(u64, u64), Status> {
    let mut client = MaintenanceClient::new(channel(endpoint));
    let status = client.status(StatusRequest::default()).await?.into_inner();
    Ok((status.header.map_or(0, |header| header.member_id), status.leader))
}

/// The place of the leader in the cluster, and its id.
async fn leader(cluster: &Cluster) -> (usize, u64) {
    let mut members = Vec::new();
    for endpoint in cluster.endpoints() {
        members.push(status(&endpoint).await.expect("every member answers"));
    }
    let found = members.iter().position(|(id, leader)| id == leader).expect("a leader");
    (found, members[found].0)
}

/// Waits until one of the others says that another member leads than `old`.
async fn next_leader(endpoints: &[String], old: u64) -> Instant {
    let waiting = async {
        loop {
            for endpoint in endpoints {
                if let Ok((_, leader)) = status(endpoint).await
                    && leader != 0
                    && leader != old
                {
                    return Instant::now();
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("somebody leads in time")
}

/// What a trial has shown.
struct Trial {
    /// Until another member was seen to lead.
    leaderless: Duration,
    /// The longest time between two acknowledged writes, around the event.
    gap: Duration,
    /// Until the process had ended.
    ended: Duration,
    /// Writes that failed, and how.
    failed: Vec<String>,
}

/// Ends the leader by `end` under load, and starts it again.
async fn trial(cluster: &mut Cluster, end: fn(&mut Node)) -> Trial {
    let endpoints = cluster.endpoints();
    let seen = Arc::new(Seen::default());
    let writer = |writer| tokio::spawn(write(writer, endpoints.clone(), Arc::clone(&seen)));
    let writers: Vec<JoinHandle<()>> = (0..WRITERS).map(writer).collect();
    tokio::time::sleep(QUIET).await;

    let (place, id) = leader(cluster).await;
    let others: Vec<String> = endpoints.iter().filter(|other| **other != endpoints[place]).cloned().collect();
    let mut old = cluster.nodes.remove(place);
    let looking = tokio::spawn(async move { next_leader(&others, id).await });
    let began = Instant::now();
    let ending = tokio::task::spawn_blocking(move || {
        end(&mut old);
        (old, Instant::now())
    });
    let leaderless = looking.await.unwrap() - began;
    let (old, ended) = ending.await.unwrap();
    tokio::time::sleep(QUIET).await;
    seen.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let answered = seen.answered.lock().unwrap();
    let gaps = answered.windows(2).filter(|pair| began <= pair[1]).map(|pair| pair[1] - pair[0]);
    let gap = gaps.max().expect("writing goes on");
    cluster.nodes.insert(place, old);
    cluster.nodes[place].start();
    cluster.nodes[place].logged(READY);
    let failed = std::mem::take(&mut *seen.failed.lock().unwrap());
    Trial { leaderless, gap, ended: ended - began, failed }
}

/// Median, 99th percentile and maximum.
fn figures(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    [at(0.5), at(0.99), at(1.0)]
}

fn table(what: &str, trials: &[Trial]) -> String {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut text = format!("{what}: {} trials, {build} build\n{:<34} median    p99    max\n", trials.len(), "");
    let mut row = |name: &str, time: fn(&Trial) -> Duration| {
        let [median, p99, max] = figures(trials.iter().map(time).collect()).map(|time| time.as_millis());
        let _ = writeln!(text, "{name:<32} {median:>5} ms {p99:>3} ms {max:>3} ms");
    };
    row("until another member leads", |trial| trial.leaderless);
    row("longest gap between acks", |trial| trial.gap);
    row("until the process has ended", |trial| trial.ended);
    let failed: usize = trials.iter().map(|trial| trial.failed.len()).sum();
    let _ = writeln!(text, "failed writes: {failed}");
    text
}

async fn trials(what: &str, end: fn(&mut Node)) -> Vec<Trial> {
    let count = std::env::var("FAILOVER_TRIALS").map_or(TRIALS, |count| count.parse().expect("a number of trials"));
    let mut cluster = Cluster::serving(3);
    let mut trials = Vec::new();
    for _ in 0..count {
        trials.push(trial(&mut cluster, end).await);
    }
    println!("{}", table(what, &trials));
    trials
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_before_the_election_timeout() {
    let trials = trials("leader killed", Node::kill).await;
    let [median, ..] = figures(trials.iter().map(|trial| trial.leaderless).collect());
    assert!(median < KILLED_LEADERLESS_MAX, "{median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_asked_to_stop_hands_over_and_no_write_fails() {
    let trials = trials("leader asked to stop", |node| _ = node.terminate()).await;
    let failed: Vec<&String> = trials.iter().flat_map(|trial| &trial.failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    for trial in &trials {
        assert!(trial.leaderless < HANDED_OVER_LEADERLESS_MAX, "{:?}", trial.leaderless);
        assert!(trial.gap < HANDED_OVER_GAP_MAX, "{:?}", trial.gap);
    }
}
