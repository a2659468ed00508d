//! The switchboard behind the server's `Network` seam, and the one task that delivers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::env::{Inbound, MessageKind, Network, Peer, QUERY_TIMEOUT};
use evenkeel::queue::Sender;
use evenkeel_raft::NodeId;
use std::collections::BTreeMap;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::counters::Counters;
use super::rule::{Quality, Rule, RuleId};
use super::switchboard::{Arrival, End, Fate, Life, Switchboard};
use crate::draw::Draws;
use crate::timer::{Alarm, SimTime};

/// What the network tells its tap.
#[derive(Clone, Copy, Debug)]
pub enum NetEvent<'a> {
    /// A member sent a message.
    Sent {
        /// When.
        at: Duration,
        /// Names the message.
        id: u64,
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
        /// Names the message.
        id: u64,
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
    /// A member learnt that another one's process is gone.
    Reset {
        /// When.
        at: Duration,
        /// Who learnt it.
        member: NodeId,
        /// About whom.
        peer: NodeId,
        /// False when the inbox was full.
        taken: bool,
    },
    /// A trouble is put on a link.
    Troubled {
        /// Its name.
        id: RuleId,
        /// What it is.
        rule: &'a Rule,
    },
    /// A trouble is taken back.
    Relieved {
        /// Its name.
        id: RuleId,
    },
}

/// A question under way.
struct Open {
    reply: oneshot::Sender<Result<Bytes, String>>,
    /// It has arrived; a repetition of it is none.
    asked: bool,
}

type Tap = Box<dyn Fn(&NetEvent<'_>) + Send + Sync>;

struct State {
    board: Switchboard,
    inboxes: BTreeMap<NodeId, Sender<Inbound>>,
    questions: BTreeMap<u64, Open>,
    last_question: u64,
    /// The delivery task looks again at this time.
    armed: Option<Duration>,
    pump: Option<Waker>,
}

impl State {
    /// The delivery task, when something is due before it looks again.
    fn wakes_pump(&mut self) -> Option<Waker> {
        let earlier = match (self.board.next_due(), self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (due, None) => due.is_some(),
            (None, _) => false,
        };
        if earlier { self.pump.take() } else { None }
    }
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
        let state = State {
            board,
            inboxes: BTreeMap::new(),
            questions: BTreeMap::new(),
            last_question: 0,
            armed: None,
            pump: None,
        };
        let shared = Arc::new(Shared { time: SimTime::current(), state: Mutex::new(state), tap });
        tokio::spawn(pump(shared.clone()));
        SimNet(shared)
    }

    /// Adds a member; see [`Switchboard::add`].
    pub fn add(&self, id: NodeId, name: &str) {
        self.0.with(|state, _| state.board.add(id, name));
    }

    /// See [`Switchboard::listens`].
    pub fn listens(&self, id: NodeId, url: &str) {
        self.0.with(|state, _| state.board.listens(id, url));
    }

    /// The network as a process of member `id` sees it that starts now.
    pub fn plug(&self, id: NodeId) -> Arc<dyn Network> {
        let life = self.0.with(|state, now| {
            state.inboxes.remove(&id);
            state.board.up(now, id)
        });
        let member = Mutex::new(id);
        Arc::new(Socket { net: self.0.clone(), id, member, life, peers: Mutex::new(Vec::new()) })
    }

    /// The process of member `id` is gone, in this way.
    pub fn unplug(&self, id: NodeId, end: End) {
        let waker = self.0.with(|state, now| {
            state.inboxes.remove(&id);
            state.board.down(now, id, end);
            state.wakes_pump()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    /// See [`Switchboard::break_connection`].
    pub fn break_connection(&self, from: NodeId, to: NodeId) {
        self.0.with(|state, _| state.board.break_connection(from, to));
    }

    /// See [`Switchboard::refuse_connection`].
    pub fn refuse_connection(&self, from: NodeId, to: NodeId) {
        let waker = self.0.with(|state, now| {
            state.board.refuse_connection(now, from, to);
            state.wakes_pump()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    /// See [`Switchboard::set_quality`].
    pub fn set_quality(&self, from: NodeId, to: NodeId, quality: Quality) {
        self.0.with(|state, _| state.board.set_quality(from, to, quality));
    }

    /// See [`Switchboard::add_rule`].
    pub fn add_rule(&self, rule: Rule) -> RuleId {
        let id = self.0.with(|state, _| state.board.add_rule(rule.clone()));
        (self.0.tap)(&NetEvent::Troubled { id, rule: &rule });
        id
    }

    /// See [`Switchboard::remove_rule`].
    pub fn remove_rule(&self, id: RuleId) -> bool {
        let found = self.0.with(|state, _| state.board.remove_rule(id));
        if found {
            (self.0.tap)(&NetEvent::Relieved { id });
        }
        found
    }

    /// What became of the messages.
    pub fn counters(&self) -> Counters {
        self.0.with(|state, _| *state.board.counters())
    }
}

/// One process's end of the network.
struct Socket {
    net: Arc<Shared>,
    /// The station.
    id: NodeId,
    /// Who runs there: known from the start on when it joins.
    member: Mutex<NodeId>,
    life: Life,
    peers: Mutex<Vec<NodeId>>,
}

impl Network for Socket {
    fn start(&self, me: NodeId, _cluster: u64, inbox: Sender<Inbound>) {
        *self.member.lock().expect("one thread") = me;
        self.net.with(|state, _| {
            state.board.moves(me, self.id);
            if state.board.lives(self.id, self.life) {
                state.inboxes.insert(self.id, inbox);
            }
        });
    }

    fn set_peers(&self, peers: Vec<Peer>) {
        *self.peers.lock().expect("no panic while the peers are locked") =
            peers.into_iter().map(|peer| peer.id).collect();
    }

    fn active_peers(&self) -> usize {
        let peers = self.peers.lock().expect("no panic while the peers are locked").clone();
        self.net.with(|state, now| peers.iter().filter(|peer| state.board.connected(now, self.id, **peer)).count())
    }

    fn send(&self, to: NodeId, kind: MessageKind, bytes: Bytes) {
        let me = *self.member.lock().expect("one thread");
        if to == me || !self.peers.lock().expect("no panic while the peers are locked").contains(&to) {
            return;
        }
        let sent = self.net.with(|state, now| {
            if !state.board.lives(self.id, self.life) {
                return None;
            }
            let fate = state.board.send(now, me, to, kind, bytes.clone());
            Some((now, state.board.last_message(), fate, state.wakes_pump()))
        });
        if let Some((at, id, fate, waker)) = sent {
            waker.into_iter().for_each(Waker::wake);
            (self.net.tap)(&NetEvent::Sent { at, id, from: me, to, kind, bytes: &bytes, fate });
        }
    }

    fn query(&self, url: String, bytes: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>> {
        let (reply, answer) = oneshot::channel();
        let me = *self.member.lock().expect("one thread");
        let (id, life) = (self.id, self.life);
        let found = self.net.with(|state, _| {
            let to = state.board.at(&url).filter(|to| *to != id && state.board.lives(id, life))?;
            state.questions.retain(|_, open| !open.reply.is_closed());
            state.last_question += 1;
            state.questions.insert(state.last_question, Open { reply, asked: false });
            Some((to, state.last_question))
        });
        if let Some((to, ticket)) = found {
            self.net.ask((me, to), ticket, false, bytes);
        }
        let net = self.net.clone();
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer.unwrap_or_else(|_| Err(format!("nobody listens at {url}"))),
                () = net.time.sleep(QUERY_TIMEOUT) => Err(format!("no answer from {url} within {QUERY_TIMEOUT:?}")),
            }
        })
    }
}

impl Shared {
    /// Puts a question or its answer on its way.
    fn ask(&self, (from, to): (NodeId, NodeId), ticket: u64, answers: bool, bytes: Bytes) {
        let (at, id, fate, waker) = self.with(|state, now| {
            let fate = state.board.ask(now, (from, to), ticket, answers, bytes.clone());
            if fate == Fate::Dead {
                state.questions.remove(&ticket);
            }
            (now, state.board.last_message(), fate, state.wakes_pump())
        });
        waker.into_iter().for_each(Waker::wake);
        (self.tap)(&NetEvent::Sent { at, id, from, to, kind: MessageKind::Ask, bytes: &bytes, fate });
    }

    /// A question has arrived, or its answer.
    fn asked(self: &Arc<Self>, (from, to): (NodeId, NodeId), ticket: u64, answers: bool, bytes: Bytes) -> bool {
        let (question, inbox) = self.with(|state, _| {
            if answers {
                let open = state.questions.remove(&ticket);
                return (open.map(|open| open.reply), None);
            }
            let first = state.questions.get_mut(&ticket).is_some_and(|open| !std::mem::replace(&mut open.asked, true));
            let inbox = if first { state.inboxes.get(&state.board.station(to)).cloned() } else { None };
            if first && inbox.is_none() {
                state.questions.remove(&ticket); // It runs, but does not listen yet.
            }
            (None, inbox)
        });
        if let Some(reply) = question {
            return reply.send(Ok(bytes)).is_ok();
        }
        let Some(inbox) = inbox else { return false };
        let (reply, answer) = oneshot::channel();
        let net = self.clone();
        tokio::spawn(async move {
            if let Ok(answer) = answer.await {
                net.ask((to, from), ticket, true, answer);
            }
        });
        match inbox.try_send(Inbound::Query { bytes, reply }) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Closed(_)) => {
                // Whoever listened there has ended: its port is closed.
                self.with(|state, _| state.questions.remove(&ticket));
                false
            }
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

fn deliver(net: &Arc<Shared>) {
    while let Some((at, arrival, inbox)) = net.with(|state, now| {
        let arrival = state.board.pop_due(now)?;
        let (Arrival::Message { to, .. }
        | Arrival::Question { to, .. }
        | Arrival::Down { to, .. }
        | Arrival::Reset { to, .. }) = &arrival;
        let inbox = state.inboxes.get(&state.board.station(*to)).cloned();
        Some((now, arrival, inbox))
    }) {
        match arrival {
            Arrival::Message { id, from, to, kind, bytes } => {
                let inbound = Inbound::Message { from, bytes: bytes.clone() };
                let taken = inbox.is_some_and(|inbox| inbox.try_send(inbound).is_ok());
                net.with(|state, _| state.board.delivered(kind, taken));
                (net.tap)(&NetEvent::Arrived { at, id, from, to, kind, bytes: &bytes, taken });
            }
            Arrival::Question { id, from, to, ticket, answers, bytes } => {
                let taken = net.asked((from, to), ticket, answers, bytes.clone());
                net.with(|state, _| state.board.delivered(MessageKind::Ask, taken));
                (net.tap)(&NetEvent::Arrived { at, id, from, to, kind: MessageKind::Ask, bytes: &bytes, taken });
            }
            Arrival::Down { peer, .. } => {
                // A full inbox loses the word; the sender will hear again.
                let _ = inbox.map(|inbox| inbox.try_send(Inbound::Down { peer }));
            }
            Arrival::Reset { to, peer, .. } => {
                let taken = inbox.is_some_and(|inbox| inbox.try_send(Inbound::Reset { peer }).is_ok());
                (net.tap)(&NetEvent::Reset { at, member: to, peer, taken });
            }
        }
    }
}
