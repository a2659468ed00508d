//! The members of a run as processes of this machine, started, killed, paused and started again.
//!
//! As in the simulated world there is a machine for every member there will ever be: here a directory, two ports and a
//! list of arguments.

#![allow(clippy::disallowed_methods, reason = "real files")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::boot::member_id;
use evenkeel::version::Release;
use evenkeel_check::observation::{Booted, Observation};
use evenkeel_check::suite::Config as OracleConfig;
use evenkeel_check::{MemberId, NANOS_PER_SECOND};
use evenkeel_raft::ready::Role;
use evenkeel_scenario::cluster::Cluster as Settings;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::look::{Agreement, Look};
use super::ports;
use super::process::Process;
use crate::disk::Crash;
use crate::draw::Draws;
use crate::world::connection::Connection;
use crate::world::feed::Feed;
use crate::world::names::{Names, release};

/// The cluster token of every run.
const TOKEN: &str = "parity";
/// A member asked to stop is killed when it has not done so after this long.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// What was committed so long ago is applied by every member that has caught up.
const CATCH_UP: Duration = Duration::from_secs(1);
/// A machine with other work to do may be late by so much, and nobody is to blame.
const LATENESS_NANOS: u64 = 5 * NANOS_PER_SECOND;

/// What a cluster needs of the world outside.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The server's program.
    pub server: PathBuf,
}

/// One member's place.
pub struct Machine {
    /// n1 is 1.
    pub number: u64,
    /// What is known of its member.
    pub look: Arc<Look>,
    client: u16,
    peer: u16,
    /// Another port of its, for a member that tells a second address.
    spare: u16,
    directory: PathBuf,
    told: Mutex<Told>,
    /// The releases of the roll under way, old and new.
    roll: Mutex<Option<(Release, Release)>>,
    life: Mutex<Option<Life>>,
    /// The process before, which may still have to end.
    before: Mutex<Option<Arc<Process>>>,
}

/// What its next process is told, besides what every one is.
#[derive(Clone)]
struct Told {
    release: Release,
    members: Vec<u64>,
    joins: bool,
    replaces: bool,
}

/// One process life.
#[derive(Clone)]
struct Life {
    /// None until the one before has ended.
    process: Arc<Mutex<Option<Arc<Process>>>>,
    /// It ended by itself, or was killed.
    over: Arc<std::sync::atomic::AtomicBool>,
}

impl Life {
    fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().expect("one thread").clone()
    }

    fn is_over(&self) -> bool {
        self.over.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// All members.
pub struct Cluster {
    /// n1 first.
    pub machines: Vec<Machine>,
    /// Who is who.
    pub names: Names,
    feed: Feed,
    settings: Settings,
    ground: Ground,
    agreement: Arc<Agreement>,
    directory: TempDir,
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The name of a member.
pub fn name(number: u64) -> String {
    format!("n{number}")
}

/// Members are seen as clients see them.
pub const FROM_OUTSIDE: bool = true;

/// What the oracles are told about a world that shows only what clients see, on a machine that may be busy.
pub fn oracles(config: OracleConfig) -> OracleConfig {
    OracleConfig {
        black_box_only: true,
        fast_ppm: 0,
        slow_ppm: 0,
        lease_slack_nanos: config.lease_slack_nanos + LATENESS_NANOS,
        watch_delivery_nanos: config.watch_delivery_nanos + LATENESS_NANOS,
        ..config
    }
}

impl Cluster {
    /// Places with empty directories and no process: one for each founder, and as many more as will join. One
    /// port is enough for a real one's clients.
    pub fn new(settings: &Settings, joiners: u64, _: u16, feed: &Feed, _: &Draws, ground: &Ground) -> Cluster {
        let directory = TempDir::with_prefix("evenkeel-parity-").expect("a temporary directory can be made");
        let names = Names::default();
        let agreement = Arc::<Agreement>::default();
        let machine = |number: u64| Machine {
            number,
            look: Look::new(number, feed.clone(), names.clone(), Arc::clone(&agreement)),
            client: ports::free(),
            peer: ports::free(),
            spare: ports::free(),
            directory: directory.path().join(name(number)),
            told: Mutex::new(Told {
                release: release(settings.release),
                members: (1..=settings.nodes).collect(),
                joins: false,
                replaces: false,
            }),
            roll: Mutex::default(),
            life: Mutex::default(),
            before: Mutex::default(),
        };
        let machines: Vec<Machine> = (1..=settings.nodes + joiners).map(machine).collect();
        for machine in machines.iter().take(settings.nodes as usize) {
            names.learn(machine.number, member_id(&[url(machine.peer)], TOKEN));
            names.joined(machine.number);
        }
        let (feed, settings, ground) = (feed.clone(), settings.clone(), ground.clone());
        Cluster { machines, names, feed, settings, ground, agreement, directory }
    }

    /// Runs something beside the members.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(task)
    }

    /// What members showed that cannot be: the oracle, and one sentence.
    pub fn broken(&self) -> Option<(&'static str, String)> {
        self.agreement.broken()
    }

    /// The machine with this number.
    pub fn machine(&self, number: u64) -> &Machine {
        &self.machines[number as usize - 1]
    }

    /// Where members find a member.
    pub fn peer_url(&self, number: u64) -> String {
        url(self.machine(number).peer)
    }

    /// Another address of the same machine, on which nobody listens.
    pub fn spare_peer_url(&self, number: u64) -> String {
        url(self.machine(number).spare)
    }

    /// Where clients find a member.
    pub fn client_urls(&self, number: u64) -> Vec<String> {
        vec![url(self.machine(number).client)]
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

    /// Starts a member, as soon as its process before has ended.
    pub fn start(&self, number: u64) {
        let machine = self.machine(number);
        assert!(!machine.is_up(), "n{number} runs already");
        let life = Life { process: Arc::default(), over: Arc::default() };
        *machine.life.lock().expect("one thread") = Some(life.clone());
        let before = machine.before.lock().expect("one thread").take();
        let (server, arguments) = (self.ground.server.clone(), self.arguments(number));
        let log = self.directory.path().join(format!("{}.log", name(number)));
        let (look, feed, port) = (Arc::clone(&machine.look), self.feed.clone(), machine.client);
        let connection = Connection::lazy(&self.client_urls(number), self.feed.time().clone());
        tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.ended().wait_for(Option::is_some).await;
            }
            let process = match Process::start(&server, &arguments, &log) {
                Ok(process) => Arc::new(process),
                Err(error) => return look.refused(&format!("cannot start {}: {error}", server.display())),
            };
            *life.process.lock().expect("one thread") = Some(Arc::clone(&process));
            look.started();
            feed.happened("boot", Some(number));
            feed.observe(Observation::Booted { member: MemberId(number), found: Booted::default() });
            let (alive, over) = (Arc::clone(&process), Arc::clone(&life.over));
            let lives = move || alive.end().is_none() && !over.load(std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(Arc::clone(&look).watch(connection, port, lives));
            let mut ended = process.ended();
            let Ok(end) = ended.wait_for(Option::is_some).await.map(|end| end.clone()) else { return };
            life.over.store(true, std::sync::atomic::Ordering::Relaxed);
            if let Some(end) = end.filter(|_| !process.is_signalled()) {
                if end.panicked {
                    feed.happened("panic", Some(number));
                }
                look.refused(&format!("{}: {}", end.how, end.last));
            }
        });
    }

    fn arguments(&self, number: u64) -> Vec<String> {
        let (machine, settings) = (self.machine(number), &self.settings);
        let told = machine.told.lock().expect("one thread").clone();
        let tick = settings.tick.to_std();
        let (client, peer) = (url(machine.client), url(machine.peer));
        let members = told.members.iter().map(|n| format!("{}={}", name(*n), self.peer_url(*n)));
        let flags = [
            ("name", name(number)),
            ("data-dir", machine.directory.display().to_string()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer),
            ("initial-cluster", members.collect::<Vec<_>>().join(",")),
            ("initial-cluster-state", if told.joins { "existing" } else { "new" }.to_owned()),
            ("initial-cluster-token", TOKEN.to_owned()),
            ("heartbeat-interval", (tick * settings.heartbeat_ticks as u32).as_millis().to_string()),
            ("election-timeout", (tick * settings.election_ticks as u32).as_millis().to_string()),
            ("pre-vote", settings.pre_vote.to_string()),
            ("initial-election-tick-advance", settings.tick_advance.to_string()),
            ("snapshot-count", settings.snapshot_count.min(settings.checkpoint_every).to_string()),
            ("snapshot-catchup-entries", settings.snapshot_catchup.to_string()),
            ("snapshot-transfer-rate", settings.snapshot_rate.0.to_string()),
            ("watch-progress-notify-interval", format!("{}ms", settings.watch_progress.to_std().as_millis())),
            ("release-level", told.release.minor().to_owned()),
            ("replace", told.replaces.to_string()),
        ];
        flags.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect()
    }

    /// Ends a member's process at once.
    pub fn kill(&self, number: u64, _: Crash) {
        let machine = self.machine(number);
        let Some(life) = machine.life.lock().expect("one thread").take() else { return };
        // What it answered before is not news any more: a dead leader would be elected once again.
        life.over.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(process) = life.process() {
            process.signal(Signal::KILL);
            *machine.before.lock().expect("one thread") = Some(process);
        }
        machine.look.stopped();
        self.feed.happened("fault.kill", Some(number));
    }

    /// Asks a member to stop, and waits until it has.
    pub async fn stop(&self, number: u64) {
        let life = self.machine(number).life.lock().expect("one thread").clone();
        let Some(process) = life.and_then(|life| life.process()) else { return };
        self.machine(number).look.stopping();
        process.signal(Signal::TERM);
        let mut ended = process.ended();
        let _ = tokio::time::timeout(STOP_PATIENCE, ended.wait_for(Option::is_some)).await;
        self.kill(number, Crash::Kill);
    }

    /// Stops a member's process where it is.
    pub fn pause(&self, number: u64) {
        self.machine(number).signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self, number: u64) {
        self.machine(number).signal(Signal::CONT);
    }

    /// The machine's next process joins the cluster as it is now.
    pub fn will_join(&self, number: u64) {
        let mut members = self.names.present();
        members.push(number);
        members.sort_unstable();
        members.dedup();
        let mut told = self.machine(number).told.lock().expect("one thread");
        (told.members, told.joins) = (members, true);
    }

    /// For a machine that joined, or was to join: the list of members may have changed since it was told.
    pub fn rejoin(&self, number: u64) {
        let joins = self.machine(number).told.lock().expect("one thread").joins;
        if joins {
            self.will_join(number);
        }
    }

    /// The machine's directory is emptied, and its next process takes the place of the member that was there.
    pub fn will_replace(&self, number: u64) {
        let machine = self.machine(number);
        // Out of the way, whoever still writes there.
        let aside = self.directory.path().join(format!("{}.lost", name(number)));
        let _ = std::fs::remove_dir_all(&aside);
        let _ = std::fs::rename(&machine.directory, aside);
        self.will_join(number);
        machine.told.lock().expect("one thread").replaces = true;
    }

    /// The machine's next process is of another release.
    pub fn set_release(&self, number: u64, release: Release) {
        self.machine(number).told.lock().expect("one thread").release = release;
    }

    /// A roll to a release begins: until it ends, the machine may come back with either.
    pub fn begin_roll(&self, number: u64, to: Release) {
        let machine = self.machine(number);
        *machine.roll.lock().expect("one thread") = Some((machine.release(), to));
    }

    /// It has ended.
    pub fn end_roll(&self, number: u64) {
        *self.machine(number).roll.lock().expect("one thread") = None;
    }

    /// All members serve in the same term, and have applied what anybody had committed `CATCH_UP` ago. They are not
    /// looked at in one moment, and the load may go on: more cannot be seen. (That equal revisions have equal hashes is
    /// looked at all the time.)
    pub fn converged(&self) -> bool {
        let goal = self.agreement.committed(self.feed.now().saturating_sub(CATCH_UP));
        let mut terms = self.members().map(|machine| machine.look.standing().term);
        let first = terms.next();
        terms.all(|term| Some(term) == first)
            && self
                .members()
                .all(|machine| machine.is_up() && machine.look.with(|seen| seen.ready && goal <= seen.applied))
    }
}

impl Cluster {
    /// Kills every process and waits until it is gone.
    pub async fn end(&self) {
        for machine in &self.machines {
            let life = machine.life.lock().expect("one thread").take();
            let before = machine.before.lock().expect("one thread").take();
            for process in life.and_then(|life| life.process()).into_iter().chain(before) {
                process.signal(Signal::KILL);
                let _ = process.ended().wait_for(Option::is_some).await;
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.machines.iter().for_each(|machine| machine.signal(Signal::KILL));
    }
}

impl Machine {
    fn signal(&self, signal: Signal) {
        let life = self.life.lock().expect("one thread").clone();
        if let Some(process) = life.and_then(|life| life.process()) {
            process.signal(signal);
        }
    }

    /// The release of its next process.
    pub fn release(&self) -> Release {
        self.told.lock().expect("one thread").release
    }

    /// Bytes of all files in its directory.
    pub fn disk_bytes(&self) -> u64 {
        fn of(directory: &std::path::Path) -> u64 {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let size = |entry: std::fs::DirEntry| match entry.metadata() {
                Ok(data) if data.is_dir() => of(&entry.path()),
                Ok(data) => data.len(),
                Err(_) => 0,
            };
            entries.map(size).sum()
        }
        of(&self.directory)
    }

    /// Syncs of its log, as its process tells.
    pub fn syncs(&self) -> u64 {
        self.look.syncs()
    }

    /// The releases of the roll under way, old and new.
    pub fn rolling(&self) -> Option<(Release, Release)> {
        *self.roll.lock().expect("one thread")
    }

    /// Its process runs (and did not end by itself).
    pub fn is_up(&self) -> bool {
        self.life.lock().expect("one thread").as_ref().is_some_and(|life| !life.is_over())
    }

    /// Its process was started and neither killed nor stopped by the scenario; it may have ended by itself.
    pub fn is_meant_to_run(&self) -> bool {
        self.life.lock().expect("one thread").is_some()
    }
}
