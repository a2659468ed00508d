//! The switchboard behind the server's `Network` seam, and the one task that delivers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::env::{Inbound, MessageKind, Network, Peer};
use evenkeel_raft::NodeId;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

use super::counters::Counters;
use super::rule::{Quality, Rule, RuleId};
use super::switchboard::{Arrival, Fate, Life, Switchboard};
use crate::draw::Draws;
use crate::timer::{Alarm, SimTime};

/// What the network tells its tap.
#[derive(Clone, Copy, Debug)]
pub enum NetEvent<'a> {
    /// A member sent a message.
    Sent {
        /// When.
        at: Duration,
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// Its kind.
        kind: MessageKind,
        /// Its bytes.
        bytes: &'a Bytes,
        /// What becomes of it.
        fate: Fate,
    },
    /// A message reached its receiver's inbox.
    Arrived {
        /// When.
        at: Duration,
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// Its kind.
        kind: MessageKind,
        /// Its bytes.
        bytes: &'a Bytes,
        /// False when the inbox was full.
        taken: bool,
    },
}

type Tap = Box<dyn Fn(&NetEvent<'_>) + Send + Sync>;

struct State {
    board: Switchboard,
    inboxes: BTreeMap<NodeId, mpsc::Sender<Inbound>>,
    /// The delivery task looks again at this time.
    armed: Option<Duration>,
    pump: Option<Waker>,
}

struct Shared {
    time: SimTime,
    state: Mutex<State>,
    tap: Tap,
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut State, Duration) -> T) -> T {
        f(&mut self.state.lock().expect("no panic while the network is locked"), self.time.now())
    }
}

/// The network of one cluster, in the hands of the supervisor.
#[derive(Clone)]
pub struct SimNet(Arc<Shared>);

impl SimNet {
    /// A network in which every link is like `quality`, and its delivery task. Everything is told to `tap`.
    pub fn start(draws: &Draws, quality: Quality, tap: Tap) -> SimNet {
        let board = Switchboard::new(draws, quality);
        let state = State { board, inboxes: BTreeMap::new(), armed: None, pump: None };
        let shared = Arc::new(Shared { time: SimTime::current(), state: Mutex::new(state), tap });
        tokio::spawn(pump(shared.clone()));
        SimNet(shared)
    }

    /// Adds a member; see [`Switchboard::add`].
    pub fn add(&self, id: NodeId, name: &str) {
        self.0.with(|state, _| state.board.add(id, name));
    }

    /// The network as a process of member `id` sees it that starts now.
    pub fn plug(&self, id: NodeId) -> Arc<dyn Network> {
        let life = self.0.with(|state, _| {
            state.inboxes.remove(&id);
            state.board.up(id)
        });
        Arc::new(Socket { net: self.0.clone(), id, life, peers: Mutex::new(Vec::new()) })
    }

    /// The process of member `id` is gone.
    pub fn unplug(&self, id: NodeId) {
        self.0.with(|state, _| {
            state.inboxes.remove(&id);
            state.board.down(id);
        });
    }

    /// See [`Switchboard::set_quality`].
    pub fn set_quality(&self, from: NodeId, to: NodeId, quality: Quality) {
        self.0.with(|state, _| state.board.set_quality(from, to, quality));
    }

    /// See [`Switchboard::add_rule`].
    pub fn add_rule(&self, rule: Rule) -> RuleId {
        self.0.with(|state, _| state.board.add_rule(rule))
    }

    /// See [`Switchboard::remove_rule`].
    pub fn remove_rule(&self, id: RuleId) -> bool {
        self.0.with(|state, _| state.board.remove_rule(id))
    }

    /// What became of the messages.
    pub fn counters(&self) -> Counters {
        self.0.with(|state, _| *state.board.counters())
    }
}

/// One process's end of the network.
struct Socket {
    net: Arc<Shared>,
    id: NodeId,
    life: Life,
    peers: Mutex<Vec<NodeId>>,
}

impl Network for Socket {
    fn start(&self, me: NodeId, _cluster: u64, inbox: mpsc::Sender<Inbound>) {
        assert_eq!(me, self.id, "a member speaks as itself");
        self.net.with(|state, _| {
            if state.board.lives(self.id, self.life) {
                state.inboxes.insert(self.id, inbox);
            }
        });
    }

    fn set_peers(&self, peers: Vec<Peer>) {
        *self.peers.lock().expect("no panic while the peers are locked") =
            peers.into_iter().map(|peer| peer.id).collect();
    }

    fn send(&self, to: NodeId, kind: MessageKind, bytes: Bytes) {
        if to == self.id || !self.peers.lock().expect("no panic while the peers are locked").contains(&to) {
            return;
        }
        let sent = self.net.with(|state, now| {
            if !state.board.lives(self.id, self.life) {
                return None;
            }
            let fate = state.board.send(now, self.id, to, kind, bytes.clone());
            let earlier = match (state.board.next_due(), state.armed) {
                (Some(due), Some(armed)) => due < armed,
                (due, None) => due.is_some(),
                (None, _) => false,
            };
            let waker = if earlier { state.pump.take() } else { None };
            Some((now, fate, waker))
        });
        if let Some((at, fate, waker)) = sent {
            waker.into_iter().for_each(Waker::wake);
            (self.net.tap)(&NetEvent::Sent { at, from: self.id, to, kind, bytes: &bytes, fate });
        }
    }
}

/// Delivers for ever. Keeps at most one alarm that matters; an alarm that became useless only makes it look.
async fn pump(net: Arc<Shared>) {
    let mut alarm: Option<Alarm> = None;
    poll_fn(|cx| {
        loop {
            deliver(&net);
            match arm(&net, cx) {
                Arm::Now => {}
                Arm::Kept => return Poll::<()>::Pending,
                Arm::At(due) => {
                    let alarm = alarm.insert(net.time.alarm(due));
                    if Pin::new(alarm).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    })
    .await;
}

enum Arm {
    Now,
    Kept,
    At(Duration),
}

fn arm(net: &Shared, cx: &mut Context<'_>) -> Arm {
    net.with(|state, now| {
        state.pump = Some(cx.waker().clone());
        let armed = state.armed.filter(|armed| now < *armed);
        match (state.board.next_due(), armed) {
            (Some(due), _) if due <= now => Arm::Now,
            (Some(due), None) => {
                state.armed = Some(due);
                Arm::At(due)
            }
            (Some(due), Some(armed)) if due < armed => {
                state.armed = Some(due);
                Arm::At(due)
            }
            (_, armed) => {
                state.armed = armed;
                Arm::Kept
            }
        }
    })
}

fn deliver(net: &Shared) {
    while let Some((at, arrival, inbox)) = net.with(|state, now| {
        let arrival = state.board.pop_due(now)?;
        let (Arrival::Message { to, .. } | Arrival::Down { to, .. }) = &arrival;
        let inbox = state.inboxes.get(to).cloned();
        Some((now, arrival, inbox))
    }) {
        match arrival {
            Arrival::Message { from, to, kind, bytes } => {
                let inbound = Inbound::Message { from, bytes: bytes.clone() };
                let taken = inbox.is_some_and(|inbox| inbox.try_send(inbound).is_ok());
                net.with(|state, _| state.board.delivered(kind, taken));
                (net.tap)(&NetEvent::Arrived { at, from, to, kind, bytes: &bytes, taken });
            }
            Arrival::Down { peer, .. } => {
                // A full inbox loses the word; the sender will hear again.
                let _ = inbox.map(|inbox| inbox.try_send(Inbound::Down { peer }));
            }
        }
    }
}
