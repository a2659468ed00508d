//! The members of a run: the server's own `serve` on simulated disks, clocks and network, started, killed, paused
//! and started again.
//!
//! There is a machine for every member there will ever be; who is one at present, [`Names`] knows.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::boot::member_id;
use evenkeel::config::{ClusterState, Config};
use evenkeel::env::Env;
use evenkeel::serve;
use evenkeel::service::watch_hub::WatchLimits;
use evenkeel::version::Release;
use evenkeel_check::suite::Config as OracleConfig;
use evenkeel_mvcc::PullLimit;
use evenkeel_raft::NodeId;
use evenkeel_raft::ready::Role;
use evenkeel_scenario::cluster::Cluster as Settings;
use madsim::runtime::{Handle, NodeHandle};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::feed::Feed;
use super::look::Look;
use super::mutants;
use super::names::{Names, release};
use super::tap;
use crate::clock::SimClock;
use crate::disk::{Crash, SimDisk};
use crate::draw::Draws;
use crate::net::{End, Quality, SimNet};
use crate::runtime::create_node;

/// The cluster token of every run.
const TOKEN: &str = "simulation";
/// The machine that clients run on.
const CLIENT_MACHINE: u8 = 200;
/// Members listen for clients here, and on the ports that follow.
const CLIENT_PORT: u16 = 2379;
/// Between two of these ports: the peers' port is not among them.
const DOOR_STEP: u16 = 10;
/// Who has not applied what was committed so long ago is behind.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(1);
/// A member asked to stop is killed when it has not done so after this long.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// What a stopped member has said is on its way for so long; its machine still delivers it.
const LAST_PACKETS: Duration = Duration::from_millis(100);

/// One member and the machine it runs on.
pub struct Machine {
    /// n1 is 1.
    pub number: u64,
    /// Its disk.
    pub disk: SimDisk,
    /// Its clocks.
    pub clock: SimClock,
    /// What it reports.
    pub look: Arc<Look>,
    node: NodeHandle,
    config: Mutex<Config>,
    /// The releases of the roll under way, old and new.
    roll: Mutex<Option<(Release, Release)>>,
    life: Mutex<Option<Life>>,
}

/// One process life.
struct Life {
    stop: Option<oneshot::Sender<()>>,
    ended: watch::Receiver<bool>,
}

/// All members.
pub struct Cluster {
    /// n1 first.
    pub machines: Vec<Machine>,
    /// The network between them.
    pub net: SimNet,
    /// Who is who.
    pub names: Names,
    feed: Feed,
    draws: Draws,
    clients: NodeHandle,
    doors: u16,
    /// When [`Cluster::converged`] last took a mark, and what was committed then.
    caught_up: Mutex<(Duration, u64)>,
}

/// What a cluster needs of the world outside: a simulated one needs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground;

/// Where members find a member, around its number.
pub const PEER_URL: (&str, &str) = ("http://10.0.0.", ":2380");

/// The name of a member.
pub fn name(number: u64) -> String {
    format!("n{number}")
}

/// Members tell all of what they do.
pub const FROM_OUTSIDE: bool = false;

/// What the oracles are told: everything is seen, and nothing is late.
pub fn oracles(config: OracleConfig) -> OracleConfig {
    config
}

fn peer_url(number: u64) -> String {
    format!("{}{number}{}", PEER_URL.0, PEER_URL.1)
}

/// Where clients find a member that listens on so many ports.
fn client_urls(number: u64, doors: u16) -> Vec<String> {
    (0..doors).map(|door| format!("http://10.0.0.{number}:{}", CLIENT_PORT + DOOR_STEP * door)).collect()
}

fn listening(doors: u16) -> Vec<String> {
    (0..doors).map(|door| format!("http://{}:{}", Ipv4Addr::UNSPECIFIED, CLIENT_PORT + DOOR_STEP * door)).collect()
}

fn station(number: u64) -> NodeId {
    NodeId(member_id(&[peer_url(number)], TOKEN))
}

impl Cluster {
    /// Machines with empty disks, switched off: one for each founder, and as many more as will join. Each listens for
    /// clients on `doors` ports.
    pub fn new(settings: &Settings, joiners: u64, doors: u16, feed: &Feed, draws: &Draws, _: &Ground) -> Cluster {
        let names = Names::new((1..=settings.nodes).map(|n| station(n).0).collect());
        let latency = settings.net.latency.low.to_std()..settings.net.latency.high.to_std();
        let quality = Quality {
            latency,
            loss: settings.net.loss.0,
            duplicate: settings.net.duplicate.0,
            reorder: settings.net.reorder.0,
            bandwidth: None,
        };
        let (record, who) = (feed.clone(), names.clone());
        let net = SimNet::start(draws, quality, Box::new(move |event| tap::report(&record, &who, event)));
        let machine = |number| Machine::new(config(number, settings, doors), settings, number, feed, draws, &names);
        let machines = (1..=settings.nodes + joiners).map(machine).collect();
        for number in 1..=settings.nodes + joiners {
            net.add(station(number), &name(number));
            net.listens(station(number), &peer_url(number));
        }
        let clients = create_node("clients", CLIENT_MACHINE);
        let caught_up = Mutex::default();
        Cluster { machines, net, names, feed: feed.clone(), draws: draws.clone(), clients, doors, caught_up }
    }

    /// Runs something on the clients' machine.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.clients.spawn(task)
    }

    /// Nothing outlives a simulation.
    pub async fn end(&self) {}

    /// What members showed that cannot be, and that no oracle is told: the oracles see all of it.
    pub fn broken(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Where members find a member.
    pub fn peer_url(&self, number: u64) -> String {
        peer_url(number)
    }

    /// Another address of the same machine, on which nobody listens.
    pub fn spare_peer_url(&self, number: u64) -> String {
        peer_url(number).replace(PEER_URL.1, ":2390")
    }

    /// Where clients find a member.
    pub fn client_urls(&self, number: u64) -> Vec<String> {
        client_urls(number, self.doors)
    }

    /// The machine with this number.
    pub fn machine(&self, number: u64) -> &Machine {
        &self.machines[number as usize - 1]
    }

    /// The machine, as the network knows it: its founder's id, whoever runs on it now.
    pub fn station(&self, number: u64) -> NodeId {
        station(number)
    }

    /// The numbers of all members, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        self.names.present().into_iter()
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = &Machine> {
        self.numbers().map(|number| self.machine(number))
    }

    /// A machine that never ran, for a new member.
    pub fn spare(&self) -> Option<u64> {
        self.machines.iter().map(|machine| machine.number).find(|number| self.names.id(*number) == 0)
    }

    /// The leader of the newest term, as it sees itself.
    pub fn leader(&self) -> Option<u64> {
        let leaders = self.members().filter(|m| m.look.standing().role == Role::Leader && m.is_up());
        leaders.max_by_key(|m| m.look.standing().term).map(|m| m.number)
    }

    /// Starts a member.
    pub fn start(&self, number: u64) {
        let machine = self.machine(number);
        assert!(!machine.is_up(), "n{number} runs already");
        let seed = self.draws.draw(self.draws.label(&format!("node/n{number}/seed")));
        let env = Env {
            disk: machine.disk.mount(),
            network: self.net.plug(station(number)),
            clock: Arc::new(machine.clock.clone()),
            seed,
            observer: machine.look.clone(),
        };
        self.feed.aside("starting", || json!({"node": number, "release": machine.config().release.minor()}));
        let (stop, stop_wanted) = oneshot::channel();
        let (has_ended, ended) = watch::channel(false);
        let config = machine.config();
        let look = machine.look.clone();
        // A machine that was killed has a new handle: the old one's tasks never run.
        let node = Handle::current().get_node(machine.node.id()).expect("the machine exists");
        node.spawn(async move {
            match serve(config, env).await {
                Ok(server) => {
                    tokio::select! {
                        biased;
                        _ = stop_wanted => server.stop().await,
                        _ = server.wait() => {}
                    }
                }
                Err(error) => look.refused(&error.to_string()),
            }
            let _ = has_ended.send(true);
        });
        *machine.life.lock().expect("one thread") = Some(Life { stop: Some(stop), ended });
    }

    /// Ends a member's process at once.
    pub fn kill(&self, number: u64, crash: Crash) {
        let machine = self.machine(number);
        if machine.life.lock().expect("one thread").take().is_none() {
            return;
        }
        machine.disk.crash(crash);
        let end = if matches!(crash, Crash::PowerLoss(_)) { End::Silent } else { End::Refused };
        self.net.unplug(station(number), end);
        machine.look.stopped();
        let handle = Handle::current();
        handle.kill(machine.node.id());
        handle.restart(machine.node.id());
        if matches!(crash, Crash::PowerLoss(_)) {
            self.feed.happened("fault.power_loss", Some(number));
        } else {
            self.feed.happened("fault.kill", Some(number));
        }
    }

    /// Asks a member to stop, and waits until it has.
    pub async fn stop(&self, number: u64) {
        let machine = self.machine(number);
        let (stop, mut ended) = {
            let mut life = machine.life.lock().expect("one thread");
            let Some(life) = life.as_mut() else { return };
            (life.stop.take(), life.ended.clone())
        };
        self.feed.aside("stopping", || json!({"node": number}));
        machine.look.stopping();
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => {}
            () = self.feed.time().sleep(STOP_PATIENCE) => {}
        }
        self.feed.time().sleep(LAST_PACKETS).await;
        self.kill(number, Crash::Kill);
    }

    /// Stops a member's tasks where they are.
    pub fn pause(&self, number: u64) {
        self.feed.aside("paused", || json!({"node": number}));
        Handle::current().pause(self.machine(number).node.id());
    }

    /// Lets them go on.
    pub fn resume(&self, number: u64) {
        self.feed.aside("resumed", || json!({"node": number}));
        Handle::current().resume(self.machine(number).node.id());
    }

    fn configure(&self, number: u64, change: impl FnOnce(&mut Config)) {
        change(&mut self.machine(number).config.lock().expect("one thread"));
    }

    /// The machine's next process joins the cluster as it is now.
    pub fn will_join(&self, number: u64) {
        let mut members = self.names.present();
        members.push(number);
        members.sort_unstable();
        members.dedup();
        let urls = |n: u64| self.machine(n).config().initial_advertise_peer_urls;
        let members = members.into_iter().map(|n| (name(n), urls(n))).collect();
        self.configure(number, |config| {
            config.initial_cluster = members;
            config.initial_cluster_state = ClusterState::Existing;
        });
    }

    /// The machine gets a new disk, and its next process takes the place of the member that was there.
    pub fn will_replace(&self, number: u64) {
        self.machine(number).disk.wipe();
        self.will_join(number);
        self.configure(number, |config| config.replace = true);
    }

    /// For a machine that joined, or was to join: the list of members may have changed since it was told.
    pub fn rejoin(&self, number: u64) {
        if self.machine(number).config().initial_cluster_state == ClusterState::Existing {
            self.will_join(number);
        }
    }

    /// The machine's next process is of another release.
    pub fn set_release(&self, number: u64, release: Release) {
        self.configure(number, |config| config.release = release);
    }

    /// A roll to a release begins: until it ends, the machine may come back with either.
    pub fn begin_roll(&self, number: u64, to: Release) {
        let machine = self.machine(number);
        *machine.roll.lock().expect("one thread") = Some((machine.config().release, to));
    }

    /// It has ended.
    pub fn end_roll(&self, number: u64) {
        *self.machine(number).roll.lock().expect("one thread") = None;
    }

    /// All members run and hold the same log, commit index and state.
    ///
    /// Since that may never be so at one moment while there is load, it is enough that all follow in one term and have
    /// applied whatever was committed when this was asked before.
    pub fn converged(&self) -> bool {
        let now = self.feed.now();
        let mut caught_up = self.caught_up.lock().expect("one thread");
        let (asked, mark) = *caught_up;
        let fresh = asked <= now && now <= asked + CAUGHT_UP_MAX;
        let seen: Vec<(u64, u64, u64)> = (self.members())
            .map(|machine| machine.look.with(|seen| (seen.standing.term.0, seen.committed, seen.applied)))
            .collect();
        let one_term = seen.iter().all(|(term, ..)| *term == seen[0].0);
        let reached = seen.iter().all(|(.., applied)| mark <= *applied);
        if !fresh || reached {
            *caught_up = (now, seen.iter().map(|(_, committed, _)| *committed).max().unwrap_or(0));
        }
        let in_motion = fresh && asked < now && reached && one_term && self.leader().is_some();
        self.members().all(Machine::is_up) && (in_motion || self.at_rest())
    }

    fn at_rest(&self) -> bool {
        let mut states = self.members().map(|machine| {
            machine.look.with(|seen| (seen.standing.term, seen.committed, seen.applied, seen.state_hash))
        });
        let first = states.next().expect("a cluster has a member");
        first.1 == first.2 && states.all(|state| state == first)
    }
}

impl Machine {
    fn new(config: Config, settings: &Settings, number: u64, feed: &Feed, draws: &Draws, names: &Names) -> Machine {
        let fsync = settings.disk.fsync.low.to_std()..settings.disk.fsync.high.to_std();
        let disk = SimDisk::new(&name(number), draws, fsync, None);
        let error_rate = settings.disk.error_rate.0;
        disk.set_faults(|faults| (faults.write_error, faults.sync_error) = (error_rate, error_rate));
        let offset = draws.with(|d| settings.clock.offset.draw(d, &format!("clock/n{number}/offset")));
        let drift = draws.with(|d| settings.clock.drift.draw(d, &format!("clock/n{number}/drift")));
        let clock = SimClock::new(offset.0);
        clock.set_drift((drift * 1e6) as i32);
        let look = Look::new(number, feed.clone(), names.clone(), disk.clone());
        let node = create_node(&name(number), number as u8);
        let config = Mutex::new(config);
        Machine { number, disk, clock, look, node, config, roll: Mutex::default(), life: Mutex::default() }
    }

    /// The release of its next process.
    pub fn release(&self) -> Release {
        self.config().release
    }

    /// Bytes of all files on its disk.
    pub fn disk_bytes(&self) -> u64 {
        self.disk.files().iter().map(|(_, len)| len).sum()
    }

    /// Syncs of its disk.
    pub fn syncs(&self) -> u64 {
        self.disk.counters().syncs
    }

    fn config(&self) -> Config {
        self.config.lock().expect("one thread").clone()
    }

    /// The releases of the roll under way, old and new.
    pub fn rolling(&self) -> Option<(Release, Release)> {
        *self.roll.lock().expect("one thread")
    }

    /// Its process runs (and was not given up by itself).
    pub fn is_up(&self) -> bool {
        self.life.lock().expect("one thread").as_ref().is_some_and(|life| !*life.ended.borrow())
    }

    /// Its process was started and neither killed nor stopped by the scenario; it may have ended by itself.
    pub fn is_meant_to_run(&self) -> bool {
        self.life.lock().expect("one thread").is_some()
    }
}

fn config(number: u64, settings: &Settings, doors: u16) -> Config {
    let tick = settings.tick.to_std();
    let members = (1..=settings.nodes).map(|n| (name(n), vec![peer_url(n)]));
    Config {
        release: release(settings.release),
        name: name(number),
        data_dir: format!("{}.etcd", name(number)),
        listen_client_urls: listening(doors),
        listen_peer_urls: vec![peer_url(number)],
        advertise_client_urls: client_urls(number, 1),
        initial_advertise_peer_urls: vec![peer_url(number)],
        initial_cluster: members.collect(),
        initial_cluster_token: TOKEN.into(),
        initial_cluster_state: ClusterState::New,
        heartbeat_interval: tick * settings.heartbeat_ticks as u32,
        election_timeout: tick * settings.election_ticks as u32,
        pre_vote: settings.pre_vote,
        check_quorum: settings.check_quorum,
        initial_election_tick_advance: settings.tick_advance,
        snapshot_count: settings.snapshot_count.min(settings.checkpoint_every),
        snapshot_catchup_entries: settings.snapshot_catchup,
        snapshot_transfer_rate: settings.snapshot_rate.0,
        snapshot_piece_bytes: settings.snapshot_piece.0 as usize,
        raft_log_bytes: settings.raft_log_bytes.0 as usize,
        wal_segment_bytes: settings.segment_bytes.0 as u32,
        value_cache_bytes: 256 * 1024,
        watch_progress_notify_interval: settings.watch_progress.to_std(),
        watch_fragment_bytes: Some(settings.watch_fragment.0 as usize),
        watch_limits: watch_limits(settings),
        lease_checkpoint_interval: Some(settings.lease_checkpoint.to_std()).filter(|interval| !interval.is_zero()),
        mutants: mutants::of(settings, number),
        ..Config::default()
    }
}

/// As of a server that ships, unless a response carries less: then history is looked through in smaller parts as well.
fn watch_limits(settings: &Settings) -> WatchLimits {
    let (usual, events) = (WatchLimits::USUAL, settings.watch_batch as usize);
    WatchLimits {
        log_events: settings.watch_log as usize,
        batch: PullLimit { events, ..usual.batch },
        slice_events: usual.slice_events.min(events * 4),
        keys_per_turn: usual.keys_per_turn.min(events * 4),
    }
}
