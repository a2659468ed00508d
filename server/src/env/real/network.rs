//! Messages between members over long-lived gRPC streams: one [`Link`] out per member, one port in.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_raft::NodeId;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::inbound::{Own, PeerPort, Receiver};
use super::link::{self, Link};
use crate::config::Config;
use crate::env::{Inbound, MessageKind, Network, Peer, QUERY_TIMEOUT};
use crate::front::Inspect;
use crate::front::accept::{self, BindError, Tuning};
use crate::metrics::PeerMetrics;
use crate::queue::Sender;

/// Streams open at once on one connection of a member; it uses one.
const STREAMS_MAX: u32 = 64;
/// A silent member is asked whether it lives, so that its dead connections do not stay.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The network of one process with one member. Its ports are taken when it is made, and served from
/// [`Network::start`] on.
pub struct RealNetwork {
    state: Mutex<State>,
    metrics: PeerMetrics,
    inspect: Arc<OnceLock<Arc<dyn Inspect>>>,
    own: Arc<OnceLock<Own>>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    listeners: Vec<TcpListener>,
    own: Option<(NodeId, Sender<Inbound>)>,
    links: BTreeMap<NodeId, Link>,
}

impl RealNetwork {
    /// Takes the ports for members, or none. Must be called inside the runtime that will serve them.
    pub fn bind(config: &Config) -> Result<RealNetwork, BindError> {
        let take = |url: &String| accept::bind(url, "listen-peer-urls", config.socket_reuse_port);
        let listeners = config.listen_peer_urls.iter().map(take).collect::<Result<_, _>>()?;
        Ok(RealNetwork {
            state: Mutex::new(State { listeners, ..State::default() }),
            metrics: PeerMetrics::new(),
            inspect: Arc::default(),
            own: Arc::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens, until it has started.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.state().listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Shows `member` on the peer port, and the network's counters among the member's.
    pub fn show(&self, member: Arc<dyn Inspect>) {
        self.metrics.show_in(member.metrics());
        assert!(self.inspect.set(member).is_ok(), "one network serves one member");
    }

    /// Ends all streams, in and out.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let mut state = self.state();
        state.own = None;
        state.links.clear();
    }

    /// Serves the ports, from the first question or the start on.
    fn open(&self) {
        let listeners = std::mem::take(&mut self.state().listeners);
        if listeners.is_empty() {
            return;
        }
        let receiver = Receiver::new(Arc::clone(&self.own), self.metrics.clone(), self.stop.subscribe());
        let port = PeerPort::new(receiver, Arc::clone(&self.inspect));
        let tuning = Tuning { streams_max: STREAMS_MAX, ping_interval: Some(PING_INTERVAL), ..Tuning::default() };
        for listener in listeners {
            tokio::spawn(accept::serve(listener, port.clone(), tuning.clone(), self.stop.subscribe()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }
}

impl Network for RealNetwork {
    fn start(&self, me: NodeId, cluster: u64, inbox: Sender<Inbound>) {
        let own = Own { me, cluster, inbox: inbox.clone() };
        assert!(self.own.set(own).is_ok(), "one network serves one member");
        self.open();
        self.state().own = Some((me, inbox));
    }

    fn set_peers(&self, peers: Vec<Peer>) {
        let mut state = self.state();
        let State { own: Some((me, inbox)), links, .. } = &mut *state else { return };
        links.retain(|_, link| peers.contains(&link.peer));
        for peer in peers {
            if peer.id != *me && !links.contains_key(&peer.id) {
                let counters = self.metrics.out(me.0, peer.id.0);
                links.insert(peer.id, Link::open(peer, inbox.clone(), counters));
            }
        }
    }

    fn active_peers(&self) -> usize {
        self.state().links.values().filter(|link| link.is_up()).count()
    }

    fn send(&self, to: NodeId, kind: MessageKind, bytes: Bytes) {
        if let Some(link) = self.state().links.get(&to) {
            link.send(kind, bytes);
        }
    }

    fn query(&self, url: String, bytes: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>> {
        self.open();
        Box::pin(async move {
            let asked = tokio::time::timeout(QUERY_TIMEOUT, link::ask(&url, bytes));
            asked.await.unwrap_or_else(|_| Err(format!("no answer within {QUERY_TIMEOUT:?}")))
        })
    }
}
