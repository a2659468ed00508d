//! Members come, learn, are promoted, replaced and removed, under a client that writes: real processes.
#![cfg(not(madsim))]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "starts real processes, waits for them, and measures real time"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, GetOptions, Member, MemberAddOptions};
use support::{Cluster, PATIENCE, READY};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A request of the writer is given up after this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at something that will be so soon.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

async fn client(endpoint: &str) -> Client {
    let options = ConnectOptions::new().with_timeout(PATIENCE);
    Client::connect([endpoint], Some(options)).await.expect("it serves")
}

/// Writes `0`, `1`, … each once, to whichever member answers, until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<u64>>>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(endpoints: Vec<String>) -> Writer {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, done) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let (mut at, mut connected) = (0, None);
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let put = async {
                    let mut client = match connected.take() {
                        Some(client) => client,
                        None => Client::connect([&endpoints[at % endpoints.len()]], None).await?,
                    };
                    client.put(format!("key/{number}"), number.to_string(), None).await?;
                    Ok::<_, Error>(client)
                };
                match timeout(REQUEST_TIMEOUT, put).await {
                    Ok(Ok(client)) => {
                        connected = Some(client);
                        done.lock().unwrap().push(number);
                    }
                    Ok(Err(_)) | Err(_) => {
                        at += 1;
                        sleep(LOOK_AGAIN).await;
                    }
                }
            }
        });
        Writer { stop, acknowledged, task }
    }

    /// Waits until writes that begin now are acknowledged.
    async fn goes_on(&self) {
        let before = self.acknowledged.lock().unwrap().len();
        let more = async {
            while self.acknowledged.lock().unwrap().len() < before + 5 {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, more).await.expect("writing goes on");
    }

    /// Stops, and gives what was acknowledged.
    async fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.clone()
    }
}

/// Asserts that a member holds every acknowledged write.
async fn holds(endpoint: &str, acknowledged: &[u64]) {
    let options = GetOptions::new().with_prefix();
    let got = client(endpoint).await.get("key/", Some(options)).await.unwrap();
    let held: std::collections::BTreeMap<&str, &str> =
        got.kvs().iter().map(|kv| (kv.key_str().unwrap(), kv.value_str().unwrap())).collect();
    for number in acknowledged {
        let value = held.get(format!("key/{number}").as_str());
        assert_eq!(value.copied(), Some(number.to_string().as_str()), "{endpoint} holds key/{number}");
    }
}

/// Tries until the cluster has been healthy for long enough, or the learner has caught up.
macro_rules! when_ready {
    ($what:expr) => {{
        let trying = async {
            loop {
                match $what.await {
                    Err(Error::GRpcStatus(status))
                        if ["etcdserver: unhealthy cluster", NOT_READY].contains(&status.message()) =>
                    {
                        sleep(LOOK_AGAIN).await;
                    }
                    outcome => break outcome,
                }
            }
        };
        timeout(PATIENCE, trying).await.expect("it is ready in time")
    }};
}

const NOT_READY: &str = "etcdserver: can only promote a learner member which is in sync with leader";

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, reason: &str) {
    match outcome {
        Err(Error::GRpcStatus(status)) => assert_eq!(status.message(), reason),
        other => panic!("{other:?}, not {reason}"),
    }
}

async fn members(endpoint: &str) -> Vec<Member> {
    client(endpoint).await.member_list().await.unwrap().members().to_vec()
}

/// The member of this name, once `endpoint` lists it as `wanted`.
async fn listed(endpoint: &str, name: &str, wanted: impl Fn(&Member) -> bool) -> Member {
    let looking = async {
        loop {
            if let Some(found) = members(endpoint).await.into_iter().find(|m| m.name() == name && wanted(m)) {
                return found;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("it is listed in time")
}

#[tokio::test]
async fn a_learner_joins_is_promoted_moves_and_is_removed_under_load() {
    let mut cluster = Cluster::serving(3);
    let writer = Writer::start(cluster.endpoints());
    let mut ctl = client(&cluster.nodes[1].endpoint).await;
    refused(ctl.member_add(["nonsense".to_owned()], None).await, "etcdserver: given member URLs are invalid");
    refused(ctl.member_remove(7).await, "etcdserver: member not found");
    refused(ctl.member_promote(7).await, "etcdserver: member not found");
    refused(ctl.member_update(7, ["http://127.0.0.1:1".to_owned()]).await, "etcdserver: member not found");

    let place = cluster.join();
    let peer = cluster.nodes[place].peer.clone();
    let as_learner = || Some(MemberAddOptions::new().with_is_learner());
    let added = when_ready!(ctl.member_add([peer.clone()], as_learner())).unwrap();
    let new = added.member().unwrap().clone();
    assert_eq!((new.name(), new.peer_urls(), new.is_learner()), ("", &[peer.clone()][..], true));
    assert_eq!((added.member_list().len(), added.header().unwrap().revision()), (4, 0));
    refused(
        ctl.member_add(["http://127.0.0.1:1".to_owned()], as_learner()).await,
        "etcdserver: too many learner members in cluster",
    );
    refused(ctl.member_promote(new.id()).await, NOT_READY);
    writer.goes_on().await;

    cluster.nodes[place].start();
    cluster.nodes[place].logged(READY);
    let endpoint = cluster.nodes[place].endpoint.clone();
    refused(client(&endpoint).await.get("key/0", None).await, "etcdserver: rpc not supported for learner");
    let promoted = when_ready!(ctl.member_promote(new.id())).unwrap();
    assert!(promoted.members().iter().all(|member| !member.is_learner()));
    refused(ctl.member_promote(new.id()).await, "etcdserver: can only promote a learner member");
    let again = when_ready!(ctl.member_add([peer.clone()], None));
    refused(again, "etcdserver: Peer URLs already exists");
    writer.goes_on().await;
    let so_far = writer.acknowledged.lock().unwrap().clone();
    holds(&endpoint, &so_far).await;

    let elsewhere = peer.replace("127.0.0.1", "localhost");
    let updated = ctl.member_update(new.id(), [elsewhere.clone()]).await.unwrap();
    let moved = updated.members().iter().find(|member| member.id() == new.id()).unwrap();
    assert_eq!(moved.peer_urls(), [elsewhere]);
    writer.goes_on().await;

    // Asked of the member itself: it hears that it is gone, and stops.
    let left = client(&endpoint).await.member_remove(new.id()).await.unwrap();
    assert_eq!(left.members().len(), 3);
    let (_, log) = cluster.nodes[place].ends();
    assert!(log.contains("the member has been permanently removed from the cluster"), "{log}");
    cluster.nodes[place].start();
    let (status, log) = cluster.nodes[place].ends();
    assert!(!status.success() && log.contains("permanently removed"), "{log}");
    writer.goes_on().await;
    let acknowledged = writer.stop().await;
    holds(&cluster.nodes[0].endpoint, &acknowledged).await;
}

#[tokio::test]
async fn a_member_with_a_new_address_starts_with_flags_that_name_it() {
    let mut cluster = Cluster::serving(1);
    let mut ctl = client(&cluster.nodes[0].endpoint).await;
    let me = ctl.member_list().await.unwrap().members()[0].clone();
    let moved = me.peer_urls()[0].replace("127.0.0.1", "localhost");
    ctl.member_update(me.id(), [moved.clone()]).await.unwrap();
    cluster.nodes[0].terminate();
    cluster.nodes[0].add(&format!("--initial-advertise-peer-urls={moved}"));
    cluster.nodes[0].add(&format!("--initial-cluster={}={moved}", me.name()));
    cluster.start();
}

#[tokio::test]
async fn an_emptied_disk_never_votes_again_and_is_replaced_in_one_command() {
    let mut cluster = Cluster::serving(3);
    let writer = Writer::start(cluster.endpoints());
    let endpoint = cluster.nodes[0].endpoint.clone();
    let old = listed(&endpoint, "n3", |_| true).await;
    writer.goes_on().await;
    cluster.nodes[2].kill();
    cluster.nodes[2].wipe();
    for state in ["--initial-cluster-state=new", "--initial-cluster-state=existing"] {
        cluster.nodes[2].add(state);
        cluster.nodes[2].start();
        let (status, log) = cluster.nodes[2].ends();
        let reason = format!("member {:x} has already been bootstrapped", old.id());
        assert!(!status.success() && log.contains(&reason) && log.contains("--replace"), "{log}");
    }
    cluster.nodes[2].add("--replace");
    cluster.nodes[2].start();
    cluster.nodes[2].logged(READY);
    // The old one is listed until the new one has its vote.
    let new = listed(&endpoint, "n3", |member| member.id() != old.id() && !member.is_learner()).await;
    let gone = async {
        while members(&endpoint).await.iter().any(|member| member.id() == old.id()) {
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the old one goes in time");
    assert_eq!((new.peer_urls(), members(&endpoint).await.len()), (old.peer_urls(), 3));
    writer.goes_on().await;
    // It counts: without one of the others there is a quorum again.
    cluster.nodes[1].kill();
    writer.goes_on().await;
    let acknowledged = writer.stop().await;
    holds(&cluster.nodes[2].endpoint, &acknowledged).await;
    // The flag may stay: a member with data just starts.
    cluster.nodes[2].kill();
    cluster.nodes[1].start();
    cluster.nodes[2].start();
    cluster.nodes[2].logged(READY);
    assert_eq!(listed(&endpoint, "n3", |_| true).await.id(), new.id());
}

#[tokio::test]
async fn a_removed_leader_hands_over_and_the_last_member_can_begin_anew() {
    let mut cluster = Cluster::serving(3);
    let writer = Writer::start(cluster.endpoints());
    let place = leader(&cluster, 0).await;
    let leader = listed(&cluster.nodes[0].endpoint, &cluster.nodes[place].name, |_| true).await;
    let survivor = (place + 1) % 3;
    let mut ctl = client(&cluster.nodes[survivor].endpoint).await;
    when_ready!(ctl.member_remove(leader.id())).unwrap();
    let (_, log) = cluster.nodes[place].ends();
    assert!(log.contains("the member has been permanently removed from the cluster"), "{log}");
    writer.goes_on().await;
    let acknowledged = writer.stop().await;

    cluster.nodes[(place + 2) % 3].kill();
    cluster.nodes[survivor].kill();
    cluster.nodes[survivor].add("--force-new-cluster");
    cluster.nodes[survivor].start();
    cluster.nodes[survivor].logged(READY);
    let endpoint = cluster.nodes[survivor].endpoint.clone();
    holds(&endpoint, &acknowledged).await;
    assert_eq!(members(&endpoint).await.len(), 1);
    // Once more is no harm.
    cluster.nodes[survivor].kill();
    cluster.nodes[survivor].start();
    cluster.nodes[survivor].logged(READY);
    holds(&endpoint, &acknowledged).await;
    assert_eq!(members(&endpoint).await.len(), 1);
}

/// The removal is in its log, and nobody can tell whether it is committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_log_ends_with_its_own_removal_can_begin_anew() {
    let mut cluster = Cluster::new(2);
    cluster.nodes.iter_mut().for_each(|node| node.add("--strict-reconfig-check=false"));
    cluster.start();
    let place = leader(&cluster, 0).await;
    let endpoint = cluster.nodes[place].endpoint.clone();
    let own = listed(&endpoint, &cluster.nodes[place].name, |_| true).await;
    let mut ctl = client(&endpoint).await;
    ctl.put("key/0", "0", None).await.unwrap();
    cluster.nodes[1 - place].kill();
    let id = own.id();
    let asked = tokio::spawn(async move { ctl.member_remove(id).await.map(|_| ()) });
    cluster.nodes[place].logged(PROPOSED);
    cluster.nodes[place].kill();
    assert!(asked.await.unwrap().is_err());

    cluster.nodes[place].add("--force-new-cluster");
    cluster.nodes[place].start();
    cluster.nodes[place].logged(READY);
    holds(&endpoint, &[0]).await;
    let members = members(&endpoint).await;
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].id(), members[0].peer_urls()), (own.id(), own.peer_urls()));
    // Who believes that it was removed leaves after an election timeout, a second. This one stays, and starts again.
    sleep(Duration::from_secs(2)).await;
    holds(&endpoint, &[0]).await;
    cluster.nodes[place].kill();
    cluster.nodes[place].start();
    cluster.nodes[place].logged(READY);
    holds(&endpoint, &[0]).await;
}

/// The lone voter has applied nothing after its restart, and can apply nothing without the second, which can join only
/// by what the first has in its log.
#[tokio::test]
async fn a_lone_member_killed_after_adding_a_second_serves_again_once_that_one_starts() {
    let mut cluster = Cluster::serving(1);
    let endpoint = cluster.nodes[0].endpoint.clone();
    let mut ctl = client(&endpoint).await;
    ctl.put("key/0", "0", None).await.unwrap();
    let place = cluster.join();
    let peer = cluster.nodes[place].peer.clone();
    let added = when_ready!(ctl.member_add([peer.clone()], None)).unwrap();
    assert_eq!(added.member_list().len(), 2, "answered at once, although the second does not run");
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.nodes[place].start();
    cluster.nodes[0].logged(READY);
    cluster.nodes[place].logged(READY);
    assert_eq!(members(&endpoint).await.len(), 2);
    let second = cluster.nodes[place].endpoint.clone();
    holds(&second, &[0]).await;
    // What it was founded with came as a snapshot of nothing else, and stays.
    cluster.nodes[place].kill();
    cluster.nodes[place].start();
    cluster.nodes[place].logged(READY);
    assert_eq!(members(&second).await.len(), 2);
}

/// The place of whoever leads, as this member sees it.
async fn leader(cluster: &Cluster, asked: usize) -> usize {
    let endpoint = &cluster.nodes[asked].endpoint;
    let looking = async {
        loop {
            let leader = client(endpoint).await.status().await.unwrap().leader();
            if leader != 0 {
                return leader;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    let id = timeout(PATIENCE, looking).await.expect("somebody leads in time");
    let leader = members(endpoint).await.into_iter().find(|member| member.id() == id).unwrap();
    cluster.nodes.iter().position(|node| node.name == leader.name()).unwrap()
}

const PROPOSED: &str = "proposed a change of membership";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_lost_with_its_leader_is_made_by_the_next() {
    let mut cluster = Cluster::new(3);
    for node in &mut cluster.nodes {
        node.add("--heartbeat-interval=50");
        node.add("--election-timeout=500");
    }
    cluster.start();
    let old = leader(&cluster, 0).await;
    let others = [(old + 1) % 3, (old + 2) % 3];
    let moved = listed(&cluster.nodes[old].endpoint, &cluster.nodes[others[0]].name, |_| true).await;
    let urls = |host: &str| [moved.peer_urls()[0].replace("127.0.0.1", host)];
    let update = |mut ctl: Client, host| {
        let (id, urls) = (moved.id(), urls(host));
        tokio::spawn(async move { ctl.member_update(id, urls).await.map(|_| ()) })
    };

    // Only the leader has it in its log, and the next one is elected without it.
    let ctl = client(&cluster.nodes[old].endpoint).await;
    others.iter().for_each(|other| cluster.nodes[*other].kill());
    let asked = update(ctl, "localhost");
    cluster.nodes[old].logged(PROPOSED);
    cluster.nodes[old].pause();
    others.iter().for_each(|other| cluster.nodes[*other].start());
    others.iter().for_each(|other| _ = cluster.nodes[*other].logged(READY));
    cluster.nodes[old].resume();
    timeout(PATIENCE, asked).await.unwrap().unwrap().expect("the next leader makes it");
    let name = &cluster.nodes[others[0]].name;
    listed(&cluster.nodes[others[1]].endpoint, name, |member| member.peer_urls() == urls("localhost")).await;

    // Asked of a follower, whose leader dies with or without the entry.
    let leads = leader(&cluster, old).await;
    let ctl = client(&cluster.nodes[(leads + 1) % 3].endpoint).await;
    let asked = update(ctl, "127.0.0.1");
    cluster.nodes[leads].logged(PROPOSED);
    cluster.nodes[leads].kill();
    timeout(PATIENCE, asked).await.unwrap().unwrap().expect("it is known what became of it");
    let name = &cluster.nodes[others[0]].name;
    listed(&cluster.nodes[(leads + 2) % 3].endpoint, name, |member| member.peer_urls() == urls("127.0.0.1")).await;
}
