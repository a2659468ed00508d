//! The deterministic runtime of one run.
//!
//! A run gets a thread of its own: the random state of the standard library's maps belongs to the thread, and the
//! runtime can seed it only where nothing has used it yet. [`SALT`](crate::fork::SALT) in the environment changes it once
//! more: nothing that happens may depend on the order of such a map, and `check-determinism` makes sure.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::{Config, net};

use crate::timer::SimTime;

/// Stack of the run's thread.
const STACK_BYTES: usize = 64 << 20;

/// How often the list of finished tasks is swept; the runtime never does it by itself.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the runtime must know.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// The seed of everything that is not a labelled decision: the order of ready tasks, and libraries' randomness.
    pub seed: u64,
    /// A run that is longer panics.
    pub limit: Duration,
    /// How long a client's message takes, either way. Nothing is lost between clients and members.
    pub rpc_latency: Range<Duration>,
}

/// Runs `world` to its end, on a fresh thread.
///
/// # Panics
/// With the panic of any task, and when the run is longer than the limit or can never go on.
pub fn run<T, F, Fut>(options: RuntimeOptions, world: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    run_salted(options, crate::fork::salt(), world)
}

fn run_salted<T, F, Fut>(options: RuntimeOptions, salt: u16, world: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let body = move || {
        salt_maps(options.seed, salt);
        let config = Config {
            net: net::Config { packet_loss_rate: 0.0, send_latency: options.rpc_latency },
            ..Config::default()
        };
        let mut runtime = Runtime::with_seed_and_config(options.seed, config);
        runtime.set_time_limit(options.limit);
        runtime.block_on(async move {
            tokio::spawn(sweep());
            world().await
        })
    };
    #[expect(clippy::disallowed_methods, reason = "the one thread of the run, while this one waits for it")]
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(body).expect("one thread can be started");
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Gives the maps that this thread makes from now on another order than `seed` alone does.
#[expect(clippy::disallowed_types, reason = "it is the default hasher that is to be changed")]
fn salt_maps(seed: u64, salt: u16) {
    // The first runtime of a thread seeds its maps.
    drop(Runtime::with_seed_and_config(seed, Config::default()));
    // tokio takes the seed of its own random generator, by which waiters of a channel are chosen, from a hasher made when
    // the generator is asked for first. It may not be another one for another salt: so it is asked for now.
    let (_sender, mut receiver) = tokio::sync::watch::channel(());
    let mut change = std::pin::pin!(receiver.changed());
    let _ = change.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    // Each map's keys are those of the map before, and one.
    for _ in 0..salt {
        let _ = std::hash::RandomState::new();
    }
}

/// Creates the node `name` with the address `10.0.0.number`.
pub fn create_node(name: &str, number: u8) -> NodeHandle {
    Handle::current().create_node().name(name).ip(node_ip(number)).build()
}

/// The address of node `number`.
pub fn node_ip(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

async fn sweep() {
    let (time, handle) = (SimTime::current(), Handle::current());
    loop {
        time.sleep(SWEEP_EVERY).await;
        handle.metrics().num_tasks();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "measures, and shows that maps follow the seed")]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    use bytes::Bytes;
    use evenkeel::env::{Clock, Inbound, MessageKind, Peer};
    use evenkeel_raft::NodeId;
    use evenkeel_scenario::Decisions;
    use evenkeel_storage::OpenMode;

    use crate::clock::SimClock;
    use crate::disk::{Crash, Keep, SimDisk};
    use crate::draw::Draws;
    use crate::net::{NetEvent, Quality, SimNet};

    const MS: Duration = Duration::from_millis(1);

    fn simulate<T: Send + 'static, Fut: Future<Output = T> + 'static>(
        seed: u64,
        world: impl FnOnce() -> Fut + Send + 'static,
    ) -> T {
        run(RuntimeOptions { seed, limit: Duration::from_secs(3600), rpc_latency: MS..MS * 2 }, world)
    }

    fn draws() -> Draws {
        Draws::new(Decisions::new(1))
    }

    #[test]
    fn alarms_go_off_at_their_nanosecond() {
        simulate(1, || async {
            let time = SimTime::current();
            for nanos in [1, 999, 50_000, 1_500_000] {
                let start = time.now();
                time.sleep(Duration::from_nanos(nanos)).await;
                let late = (time.now() - start).as_nanos() as u64 - nanos;
                assert!(late < 1_000, "{nanos} ns were {late} ns late");
            }
        });
    }

    fn keys_of_a_map() -> Vec<u64> {
        (0..20).map(|i| (i, i)).collect::<HashMap<_, _>>().into_keys().collect()
    }

    #[test]
    fn a_salt_reorders_maps_and_leaves_the_runs_own_randomness_alone() {
        let look = |salt| {
            let options = RuntimeOptions { seed: 5, limit: Duration::from_secs(1), rpc_latency: MS..MS * 2 };
            run_salted(options, salt, || async { (keys_of_a_map(), madsim::rand::random::<u64>()) })
        };
        let (plain, salted, other) = (look(0), look(7), look(8));
        assert_eq!(look(7), salted);
        assert_ne!(salted.0, plain.0);
        assert_ne!(salted.0, other.0);
        assert_eq!((salted.1, other.1), (plain.1, plain.1));
    }

    #[test]
    fn maps_of_the_standard_library_follow_the_seed() {
        let order = |seed| {
            simulate(seed, || async {
                (0..20).map(|i| (i, i)).collect::<HashMap<_, _>>().into_keys().collect::<Vec<_>>()
            })
        };
        assert_eq!(order(5), order(5));
        assert_ne!(order(5), order(6));
    }

    #[test]
    fn a_sync_takes_simulated_time_and_a_crash_ends_it() {
        simulate(1, || async {
            let disk = SimDisk::new("n1", &draws(), MS * 10..MS * 10, None);
            let mount = disk.mount();
            let (file, time) = (mount.open("f", OpenMode::Create).unwrap(), SimTime::current());
            mount.sync_dir("").await.unwrap();
            let start = time.now();
            file.write_at_and_sync(0, Bytes::from_static(b"hello")).await.unwrap();
            assert_eq!((time.now() - start).as_millis(), 10);
            assert!(disk.is_durable("f", 0, 5));

            disk.set_faults(|faults| faults.stuck = true);
            let stuck = tokio::spawn(file.write_at_and_sync(5, Bytes::from_static(b" lost")));
            time.sleep(MS * 100).await;
            disk.crash(Crash::PowerLoss(Keep::Nothing));
            assert!(stuck.await.unwrap().is_err());
            assert!(file.write_at(0, Bytes::from_static(b"late")).await.is_err());

            let mut content = [0; 5];
            let file = disk.mount().open("f", OpenMode::Read).unwrap();
            file.read_at(0, &mut content).unwrap();
            assert_eq!((&content, file.len().unwrap()), (b"hello", 5));
        });
    }

    #[test]
    fn a_sync_nobody_waits_for_still_happens() {
        simulate(1, || async {
            let disk = SimDisk::new("n1", &draws(), MS..MS, None);
            let mount = disk.mount();
            let file = mount.open("f", OpenMode::Create).unwrap();
            mount.sync_dir("").await.unwrap();
            drop(file.write_at_and_sync(0, Bytes::from_static(b"x")));
            assert!(!disk.is_durable("f", 0, 1));
            SimTime::current().sleep(MS * 2).await;
            assert!(disk.is_durable("f", 0, 1));
        });
    }

    #[test]
    fn messages_arrive_in_order_with_their_latency_and_not_at_dead_processes() {
        simulate(1, || async {
            let quality = Quality { latency: MS * 3..MS * 5, ..Quality::default() };
            let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
            let log = seen.clone();
            let tap = move |event: &NetEvent<'_>| {
                if let NetEvent::Arrived { taken, .. } = event {
                    log.lock().unwrap().push(*taken);
                }
            };
            let net = SimNet::start(&draws(), quality, Box::new(tap));
            let (n1, n2) = (NodeId(1), NodeId(2));
            net.add(n1, "n1");
            net.add(n2, "n2");
            let (sender, receiver) = (net.plug(n1), net.plug(n2));
            let (inbox, mut mail) = evenkeel::queue::queue(evenkeel::queue::Limits { items: 8, bytes: 1 << 20 });
            receiver.start(n2, 1, inbox);
            sender.send(n2, MessageKind::Append, Bytes::from_static(b"to a stranger"));
            sender.set_peers(vec![Peer { id: n2, urls: Vec::new() }]);
            let (time, mut last) = (SimTime::current(), Duration::ZERO);
            for n in 0..5u8 {
                sender.send(n2, MessageKind::Append, Bytes::copy_from_slice(&[n]));
                time.sleep(MS / 10).await;
            }
            for n in 0..5u8 {
                let Some(Inbound::Message { from, bytes }) = mail.recv().await else { panic!("no message") };
                assert_eq!((from, &bytes[..]), (n1, &[n][..]));
                assert!(last <= time.now());
                last = time.now();
                assert!(MS * 3 <= last);
                assert!(last <= MS * 7);
            }

            for _ in 0..20 {
                sender.send(n2, MessageKind::Append, Bytes::from_static(b"x"));
            }
            time.sleep(MS * 10).await;
            assert_eq!(seen.lock().unwrap().iter().filter(|taken| !**taken).count(), 12, "the inbox holds eight");
            net.unplug(n2, crate::net::End::Silent);
            sender.send(n2, MessageKind::Append, Bytes::from_static(b"y"));
            receiver.set_peers(vec![Peer { id: n1, urls: Vec::new() }]);
            receiver.send(n1, MessageKind::Append, Bytes::from_static(b"from the dead"));
            time.sleep(MS * 10).await;
            assert_eq!(net.counters().of(MessageKind::Append).sent, 26);
            assert_eq!(net.counters().of(MessageKind::Append).dead, 1);
        });
    }

    #[test]
    fn a_clock_bends_sleeps_also_those_under_way() {
        simulate(1, || async {
            let (clock, time) = (SimClock::new(0), SimTime::current());
            clock.set_drift(-500_000);
            let start = time.now();
            clock.sleep(MS * 10).await;
            assert_eq!((time.now() - start).as_millis(), 20);
            let (start, sleep) = (time.now(), tokio::spawn(clock.sleep(MS * 100)));
            time.sleep(MS * 100).await;
            clock.set_drift(0);
            sleep.await.unwrap();
            assert_eq!((time.now() - start).as_millis(), 150);
            assert_eq!(clock.monotonic().as_millis(), 10 + 50 + 50);
        });
    }

    #[test]
    fn a_message_costs_a_few_microseconds_at_most() {
        let messages = 100_000u32;
        let start = std::time::Instant::now();
        simulate(1, move || async move {
            let net = SimNet::start(&draws(), Quality::default(), Box::new(|_| {}));
            let (n1, n2) = (NodeId(1), NodeId(2));
            net.add(n1, "n1");
            net.add(n2, "n2");
            let (sender, receiver) = (net.plug(n1), net.plug(n2));
            let (inbox, mut mail) = evenkeel::queue::queue(evenkeel::queue::Limits { items: 1024, bytes: 1 << 20 });
            receiver.start(n2, 1, inbox);
            sender.set_peers(vec![Peer { id: n2, urls: Vec::new() }]);
            let time = SimTime::current();
            tokio::spawn(async move {
                for _ in 0..messages {
                    sender.send(n2, MessageKind::Append, Bytes::from_static(b"x"));
                    time.sleep(MS / 10).await;
                }
            });
            for _ in 0..messages {
                mail.recv().await.unwrap();
            }
        });
        let each = start.elapsed() / messages;
        println!("{each:?} per message, one sleep of the sender included");
        assert!(each < Duration::from_micros(20), "{each:?}");
    }
}
