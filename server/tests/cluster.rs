//! Three real processes and SIGKILL: what was acknowledged stays, and writing goes on.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "measures how long real processes take")]

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, KeyValue};
use support::{Cluster, PATIENCE, READY};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Clients that write at the same time.
const WRITERS: usize = 8;
/// Writes acknowledged before anything is killed.
const WRITES_BEFORE: usize = 300;
/// Writes acknowledged after the leader's death before the load ends.
const WRITES_AFTER: usize = 300;
/// After this a request is given up, its fate unknown.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
/// From the death of the leader to the next acknowledged write.
const FAILOVER: Duration = Duration::from_secs(3);

/// A write that a client was told is done.
struct Acknowledged {
    key: String,
    revision: i64,
    asked: Instant,
    answered: Instant,
}

/// What the writers do and have been told.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

impl Load {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until `done` holds of what was acknowledged.
    async fn until(&self, done: impl Fn(&[Acknowledged]) -> bool) {
        let waiting = async {
            while !done(&self.acknowledged.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("writes are acknowledged in time");
    }
}

/// Writes `writer/0`, `writer/1`, … one after the other, each once, to whichever member answers.
async fn write(writer: usize, endpoints: Vec<String>, load: Arc<Load>) {
    let mut clients: Vec<Option<Client>> = vec![None; endpoints.len()];
    let mut at = writer;
    for number in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            return;
        }
        let index = at % endpoints.len();
        let key = format!("{writer}/{number}");
        let asked = Instant::now();
        let put = async {
            let client = match clients[index].take() {
                Some(client) => client,
                None => Client::connect([&endpoints[index]], None).await?,
            };
            let client = clients[index].insert(client);
            client.put(key.as_str(), value(&key), None).await
        };
        match timeout(REQUEST_TIMEOUT, put).await {
            Ok(Ok(put)) => {
                let revision = put.header().expect("an answer has a header").revision();
                let written = Acknowledged { key, revision, asked, answered: Instant::now() };
                load.acknowledged.lock().unwrap().push(written);
            }
            Ok(Err(_)) | Err(_) => {
                clients[index] = None;
                at += 1;
                // A refused connection is an answer at once; the members deserve a pause.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The one value ever written to a key.
fn value(key: &str) -> String {
    format!("value of {key}")
}

fn writers(endpoints: &[String], load: &Arc<Load>) -> Vec<JoinHandle<()>> {
    (0..WRITERS).map(|writer| tokio::spawn(write(writer, endpoints.to_vec(), Arc::clone(load)))).collect()
}

/// The index of the member that leads, as the members say.
async fn leader(cluster: &Cluster) -> usize {
    let mut leaders = Vec::new();
    for endpoint in cluster.endpoints() {
        let status = Client::connect([endpoint], None).await.unwrap().status().await.unwrap();
        leaders.push((status.header().unwrap().member_id(), status.leader()));
    }
    let found = leaders.iter().position(|(member, _)| leaders.iter().all(|(_, leader)| leader == member));
    found.unwrap_or_else(|| panic!("the members do not agree who leads: {leaders:x?}"))
}

/// Asserts that a member holds every acknowledged write as it was acknowledged.
async fn holds_everything(endpoint: &str, load: &Load) {
    let mut client = Client::connect([endpoint], None).await.unwrap();
    let got = client.get("", Some(GetOptions::new().with_all_keys())).await.unwrap();
    let found = |key: &str| -> Option<&KeyValue> {
        got.kvs().binary_search_by(|kv| kv.key().cmp(key.as_bytes())).ok().map(|index| &got.kvs()[index])
    };
    let acknowledged = load.acknowledged.lock().unwrap();
    for Acknowledged { key, revision, .. } in &*acknowledged {
        let kv = found(key).unwrap_or_else(|| panic!("{endpoint} has lost {key}, acknowledged at revision {revision}"));
        assert_eq!((kv.value(), kv.mod_revision(), kv.version()), (value(key).as_bytes(), *revision, 1), "{key}");
    }
}

/// Asserts that no two writes were acknowledged with the same revision, and that revisions respect time.
fn revisions_are_in_order(load: &Load) {
    let mut acknowledged = load.acknowledged.lock().unwrap();
    acknowledged.sort_by_key(|written| written.revision);
    let mut latest_ask = None;
    for pair in acknowledged.windows(2) {
        assert!(pair[0].revision < pair[1].revision, "{} and {} share a revision", pair[0].key, pair[1].key);
        latest_ask = latest_ask.max(Some(pair[0].asked));
        let in_order = latest_ask < Some(pair[1].answered);
        assert!(in_order, "{} was acknowledged before a write of a lower revision was asked for", pair[1].key);
    }
}

#[tokio::test]
async fn killing_the_leader_loses_nothing_and_writing_goes_on_in_three_seconds() {
    let mut cluster = Cluster::serving(3);
    let endpoints = cluster.endpoints();
    let load = Arc::new(Load::default());
    let writers = writers(&endpoints, &load);
    load.until(|written| written.len() >= WRITES_BEFORE).await;

    let victim = leader(&cluster).await;
    cluster.nodes[victim].kill();
    let killed = Instant::now();
    load.until(|written| written.iter().any(|written| killed < written.asked)).await;
    let first = load.acknowledged.lock().unwrap().iter().find(|written| killed < written.asked).unwrap().answered;
    let gap = first.duration_since(killed);
    eprintln!("the first write after the leader's death was acknowledged after {gap:?}");
    assert!(gap < FAILOVER, "{gap:?}");

    let before = load.count();
    load.until(|written| before + WRITES_AFTER <= written.len()).await;
    cluster.nodes[victim].start();
    cluster.nodes[victim].logged(READY);
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    for endpoint in &endpoints {
        holds_everything(endpoint, &load).await;
    }
    revisions_are_in_order(&load);

    // Everybody at once, and back: nothing but the disks is left.
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    cluster.start();
    for endpoint in &endpoints {
        holds_everything(endpoint, &load).await;
    }
}

#[tokio::test]
async fn killing_all_members_under_load_loses_nothing() {
    let mut cluster = Cluster::serving(3);
    let endpoints = cluster.endpoints();
    let load = Arc::new(Load::default());
    let writers = writers(&endpoints, &load);
    for _ in 0..2 {
        let before = load.count();
        load.until(|written| before + WRITES_BEFORE <= written.len()).await;
        cluster.nodes.iter_mut().for_each(|node| node.kill());
        cluster.start();
    }
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    for endpoint in &endpoints {
        holds_everything(endpoint, &load).await;
    }
    revisions_are_in_order(&load);
}
