//! Three real processes roll through releases under a writing client, up and down, and nothing is lost.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "starts real processes")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Client;
use evenkeel_proto::etcdserverpb as pb;
use pb::downgrade_request::DowngradeAction;
use pb::maintenance_client::MaintenanceClient;
use support::{Cluster, Node, PATIENCE, READY};
use tokio::time::{sleep, timeout};

/// A write that is not answered by then is tried again, elsewhere.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// A client that writes `1`, `2`, … one after the other, each until it is acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(endpoints: Vec<String>) -> Writer {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let mut client = None;
            for attempt in 0_usize.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let number = count.load(Ordering::Relaxed) + 1;
                let put = async {
                    let mut used = match client.take() {
                        Some(client) => client,
                        None => Client::connect([&endpoints[attempt % endpoints.len()]], None).await?,
                    };
                    used.put(format!("{number:06}"), format!("value of {number}"), None).await?;
                    Ok::<Client, etcd_client::Error>(used)
                };
                match timeout(WRITE_TIMEOUT, put).await {
                    Ok(Ok(used)) => {
                        client = Some(used);
                        count.store(number, Ordering::Relaxed);
                    }
                    // A refused connection is an answer at once; the members deserve a pause.
                    _ => sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Writer { stop, acknowledged, task }
    }

    /// Waits until so many more writes are acknowledged.
    async fn goes_on(&self) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + 20;
        until("writes are acknowledged", async || goal <= self.acknowledged.load(Ordering::Relaxed)).await;
    }

    /// Ends it; asserts that every member holds everything.
    async fn lost_nothing(self, cluster: &Cluster) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let count = self.acknowledged.load(Ordering::Relaxed);
        for endpoint in cluster.endpoints() {
            let mut client = Client::connect([&endpoint], None).await.unwrap();
            let all = etcd_client::GetOptions::new().with_all_keys();
            let got = client.get("", Some(all)).await.unwrap();
            for (number, kv) in (1..=count).zip(got.kvs()) {
                let (key, value) = (format!("{number:06}"), format!("value of {number}"));
                assert_eq!((kv.key_str().unwrap(), kv.value_str().unwrap()), (&*key, &*value), "{endpoint}");
            }
            assert!(count <= got.kvs().len(), "{endpoint} has {} of {count} keys", got.kvs().len());
        }
        count
    }
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn maintenance(endpoint: &str) -> Option<MaintenanceClient<tonic::transport::Channel>> {
    let endpoint = tonic::transport::Endpoint::from_shared(endpoint.to_owned()).expect("a URL");
    Some(MaintenanceClient::new(endpoint.connect().await.ok()?))
}

async fn status(endpoint: &str) -> Option<pb::StatusResponse> {
    let answer = maintenance(endpoint).await?.status(pb::StatusRequest {}).await.ok()?;
    Some(answer.into_inner())
}

/// Waits until every member says that its storage is of this version, and whether a downgrade is enabled.
async fn storage_is(cluster: &Cluster, version: &str, downgrade: bool) {
    until(&format!("storage version {version}, downgrade {downgrade}"), async || {
        for endpoint in cluster.endpoints() {
            let Some(told) = status(&endpoint).await else { return false };
            let enabled = told.downgrade_info.is_some_and(|info| info.enabled);
            if (told.storage_version.as_str(), enabled) != (version, downgrade) {
                return false;
            }
        }
        true
    })
    .await;
}

fn restart(node: &mut Node, release: &str) {
    node.terminate();
    node.add(&format!("--release-level={release}"));
    node.start();
    node.logged(READY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_rolls_up_and_down_and_loses_nothing() {
    let mut cluster = Cluster::new(3);
    for node in &mut cluster.nodes {
        for argument in ["--release-level=3.6", "--downgrade-check-time=200ms", "--snapshot-count=200"] {
            node.add(argument);
        }
    }
    cluster.start();
    storage_is(&cluster, "3.6.0", false).await;
    let writer = Writer::start(cluster.endpoints());
    writer.goes_on().await;

    for index in 0..3 {
        let last = index == 2;
        restart(&mut cluster.nodes[index], "3.7");
        writer.goes_on().await;
        let told = status(&cluster.nodes[index].endpoint).await.expect("it serves");
        assert_eq!(told.version, "3.7.3");
        assert!(last || told.storage_version == "3.6.0", "not everybody is at 3.7: {told:?}");
    }
    storage_is(&cluster, "3.7.0", false).await;
    writer.goes_on().await;

    // Without a downgrade there is no way back.
    let node = &mut cluster.nodes[0];
    node.terminate();
    node.add("--release-level=3.6");
    node.start();
    let (ended, log) = node.ends();
    assert_eq!(ended.code(), Some(1), "{log}");
    assert!(log.contains("server version is lower than determined storage version"), "{log}");
    assert!(log.contains("Start it with release 3.7; to go back to 3.6, then run"), "{log}");
    node.add("--release-level=3.7");
    node.start();
    node.logged(READY);
    writer.goes_on().await;

    let enable = pb::DowngradeRequest { action: DowngradeAction::Enable as i32, version: "3.6".into() };
    let mut client = maintenance(&cluster.nodes[1].endpoint).await.expect("it serves");
    assert_eq!(client.downgrade(enable).await.expect("enabled").into_inner().version, "3.7");
    for node in &mut cluster.nodes {
        node.logged("The server is ready to downgrade");
    }
    storage_is(&cluster, "3.6.0", true).await;
    writer.goes_on().await;
    restart(&mut cluster.nodes[0], "3.6");
    writer.goes_on().await;
    // One goes without a good-bye.
    let node = &mut cluster.nodes[1];
    node.kill();
    node.add("--release-level=3.6");
    node.start();
    node.logged(READY);
    writer.goes_on().await;
    storage_is(&cluster, "3.6.0", true).await;
    restart(&mut cluster.nodes[2], "3.6");
    // The leader notices by itself that it is over.
    storage_is(&cluster, "3.6.0", false).await;
    writer.goes_on().await;
    let count = writer.lost_nothing(&cluster).await;
    eprintln!("{count} acknowledged writes on the way from 3.6 to 3.7 and back");
}
