//! All links and everything under way. Told the time with every call; never waits.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::env::MessageKind;
use evenkeel_raft::NodeId;

use super::counters::Counters;
use super::link::{Link, Passage};
use super::rule::{Quality, Rule, RuleId};
use crate::draw::Draws;

/// One life of a member's process, from boot to death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(u64);

/// What the network decided about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at this time.
    Arrives(Duration),
    /// It arrives twice: at this time and later once more.
    ArrivesTwice(Duration),
    /// Lost by chance.
    Lost,
    /// The link is cut for this kind.
    Cut,
    /// The receiver is not running.
    Dead,
    /// Too much is under way on the link.
    Full,
}

impl Fate {
    /// One word for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::Arrives(_) => "arrives",
            Fate::ArrivesTwice(_) => "twice",
            Fate::Lost => "lost",
            Fate::Cut => "cut",
            Fate::Dead => "dead",
            Fate::Full => "full",
        }
    }
}

/// Something for a member's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message.
    Message {
        /// Names it.
        id: u64,
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// Its kind.
        kind: MessageKind,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A question to whoever listens there, or its answer.
    Question {
        /// Names the message.
        id: u64,
        /// The asker.
        from: NodeId,
        /// Who listens.
        to: NodeId,
        /// Names the question.
        ticket: u64,
        /// It is the answer, on its way back from `from` to `to`.
        answers: bool,
        /// Its bytes.
        bytes: Bytes,
    },
    /// The word that messages from `to` to `peer` do not get through.
    Down {
        /// Who is told.
        to: NodeId,
        /// About whom.
        peer: NodeId,
    },
    /// The word that `peer`'s process, which was connected, is gone.
    Reset {
        /// Who is told.
        to: NodeId,
        /// About whom.
        peer: NodeId,
        /// It is not gone.
        wrongly: bool,
    },
}

/// How a process ends, as the others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its machine lives on and refuses connections: whoever was connected learns that it is gone.
    Refused,
    /// Its machine is gone as well: silence.
    Silent,
}

struct UnderWay {
    due: Duration,
    seq: u64,
    /// The life of the receiver that was meant.
    life: Life,
    arrival: Arrival,
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &UnderWay) -> bool {
        self.seq == other.seq
    }
}
impl Eq for UnderWay {}
impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &UnderWay) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for UnderWay {
    fn cmp(&self, other: &UnderWay) -> Ordering {
        (self.due, self.seq).cmp(&(other.due, other.seq))
    }
}

struct Station {
    name: String,
    url: String,
    life: Option<Life>,
    up_since: Duration,
}

/// The network of one cluster.
pub struct Switchboard {
    draws: Draws,
    quality: Quality,
    stations: BTreeMap<NodeId, Station>,
    /// Members by the stations they run on, when those were added under other ids.
    moved: BTreeMap<NodeId, NodeId>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    counters: Counters,
    last_seq: u64,
    last_message: u64,
    last_life: u64,
    last_rule: u64,
}

impl Switchboard {
    /// A network in which every link is like `quality`.
    pub fn new(draws: &Draws, quality: Quality) -> Switchboard {
        Switchboard {
            draws: draws.clone(),
            quality,
            stations: BTreeMap::new(),
            moved: BTreeMap::new(),
            links: BTreeMap::new(),
            under_way: BinaryHeap::new(),
            counters: Counters::default(),
            last_seq: 0,
            last_message: 0,
            last_life: 0,
            last_rule: 0,
        }
    }

    /// Adds a member; `name` is used in decision labels. It is not running yet.
    pub fn add(&mut self, id: NodeId, name: &str) {
        let station = Station { name: name.to_owned(), url: String::new(), life: None, up_since: Duration::ZERO };
        let before = self.stations.insert(id, station);
        assert!(before.is_none(), "{name} is there already");
    }

    /// The station that was added as `id` is found under `url` by who does not know its id.
    pub fn listens(&mut self, id: NodeId, url: &str) {
        url.clone_into(&mut self.stations.get_mut(&id).expect("only stations that were added listen").url);
    }

    /// Who listens there.
    pub fn at(&self, url: &str) -> Option<NodeId> {
        self.stations.iter().find(|(_, station)| station.url == url).map(|(id, _)| *id)
    }

    /// From now on member `id` runs on the station that was added as `station`: a member that joins gets its id then.
    pub fn moves(&mut self, id: NodeId, station: NodeId) {
        if id != station {
            self.moved.insert(id, station);
        }
    }

    /// The station on which member `id` runs.
    pub fn station(&self, id: NodeId) -> NodeId {
        self.moved.get(&id).copied().unwrap_or(id)
    }

    /// The member that runs there.
    fn member(&self, station: NodeId) -> NodeId {
        self.moved.iter().find(|(_, at)| **at == station).map_or(station, |(member, _)| *member)
    }

    /// A member's process begins to receive. What was sent to an earlier life never arrives.
    pub fn up(&mut self, now: Duration, id: NodeId) -> Life {
        self.last_life += 1;
        let life = Life(self.last_life);
        let station = self.stations.get_mut(&id).expect("only members that were added start");
        (station.life, station.up_since) = (Some(life), now);
        life
    }

    /// A member's process is gone. Whoever is connected to it finds its attempt to connect again refused, unless
    /// nothing comes through to it: three times the way, when the process has not come back by then.
    pub fn down(&mut self, now: Duration, id: NodeId, end: End) {
        if self.stations.get(&id).is_none_or(|station| station.life.is_none()) {
            return;
        }
        let others: Vec<NodeId> = self.stations.keys().copied().filter(|other| *other != id).collect();
        for other in others.into_iter().filter(|_| end == End::Refused) {
            if self.connected(now, other, id) {
                let draws = self.draws.clone();
                let there = self.link(other, id).travel(&draws);
                let back = self.link(id, other).travel(&draws);
                let life = self.stations[&other].life.expect("it is connected");
                let (to, peer) = (self.member(other), self.member(id));
                self.schedule(now + back + there + back, life, Arrival::Reset { to, peer, wrongly: false });
            }
        }
        self.stations.get_mut(&id).expect("it is there").life = None;
    }

    /// Whether `from` has had the time to connect to `to`, and nothing is in the way.
    pub fn connected(&mut self, now: Duration, from: NodeId, to: NodeId) -> bool {
        let round_trip = self.quality.latency.end * 2;
        let runs = |id: &NodeId| {
            let station = self.stations.get(&self.station(*id)).filter(|station| station.life.is_some());
            station.is_some_and(|station| station.up_since + round_trip <= now)
        };
        runs(&from) && runs(&to) && !self.link(from, to).is_dead() && !self.link(to, from).is_dead()
    }

    /// The connections from `from` to `to` break, and are made again at once: what is under way is lost, and nobody is
    /// told that anybody is gone.
    pub fn break_connection(&mut self, from: NodeId, to: NodeId) {
        let broken = (self.station(from), self.station(to));
        for Reverse(under_way) in std::mem::take(&mut self.under_way).into_vec() {
            match &under_way.arrival {
                Arrival::Message { from, to, bytes, .. } | Arrival::Question { from, to, bytes, .. }
                    if (self.station(*from), self.station(*to)) == broken =>
                {
                    self.link(*from, *to).arrived(bytes.len());
                }
                _ => self.under_way.push(Reverse(under_way)),
            }
        }
    }

    /// `from` is told, wrongly, that the process of `to` is gone: its attempt to connect again was refused. Nobody is
    /// told who is not connected.
    pub fn refuse_connection(&mut self, now: Duration, from: NodeId, to: NodeId) {
        if !self.connected(now, from, to) {
            return;
        }
        let draws = self.draws.clone();
        let round_trip = self.link(from, to).travel(&draws) + self.link(to, from).travel(&draws);
        let life = self.stations[&self.station(from)].life.expect("it is connected");
        let arrival = Arrival::Reset { to: self.member(from), peer: self.member(to), wrongly: true };
        self.schedule(now + round_trip, life, arrival);
    }

    /// True when the process with this life is running.
    pub fn lives(&self, id: NodeId, life: Life) -> bool {
        self.stations.get(&self.station(id)).is_some_and(|station| station.life == Some(life))
    }

    /// Makes one directed link like `quality`.
    pub fn set_quality(&mut self, from: NodeId, to: NodeId, quality: Quality) {
        self.link(from, to).set_quality(quality);
    }

    /// Puts a trouble on a link.
    pub fn add_rule(&mut self, rule: Rule) -> RuleId {
        self.last_rule += 1;
        let id = RuleId(self.last_rule);
        self.link(rule.from, rule.to).add(id, rule);
        id
    }

    /// Takes a trouble back; false when it was taken back before.
    pub fn remove_rule(&mut self, id: RuleId) -> bool {
        self.links.values_mut().any(|link| link.remove(id))
    }

    /// Decides about a message and puts it on its way.
    ///
    /// The sender gets word ([`Arrival::Down`]) soon when the receiver is not running, and after two seconds in
    /// which a cut let nothing through.
    pub fn send(&mut self, now: Duration, from: NodeId, to: NodeId, kind: MessageKind, bytes: Bytes) -> Fate {
        let (id, len) = (self.next_message(), bytes.len());
        self.pass(now, (from, to), kind, len, Arrival::Message { id, from, to, kind, bytes })
    }

    /// Decides about a question, or the answer to one, as about a message of [`MessageKind::Ask`].
    pub fn ask(
        &mut self,
        now: Duration,
        (from, to): (NodeId, NodeId),
        ticket: u64,
        answers: bool,
        bytes: Bytes,
    ) -> Fate {
        let (id, len) = (self.next_message(), bytes.len());
        self.pass(now, (from, to), MessageKind::Ask, len, Arrival::Question { id, from, to, ticket, answers, bytes })
    }

    fn next_message(&mut self) -> u64 {
        self.last_message += 1;
        self.last_message
    }

    /// The name of the message that was decided about last.
    pub fn last_message(&self) -> u64 {
        self.last_message
    }

    fn pass(
        &mut self,
        now: Duration,
        (from, to): (NodeId, NodeId),
        kind: MessageKind,
        len: usize,
        arrival: Arrival,
    ) -> Fate {
        assert_ne!(from, to, "a member does not send to itself");
        let counters = self.counters.of_mut(kind);
        counters.sent += 1;
        counters.sent_bytes += len as u64;
        let life = self.stations.get(&self.station(to)).and_then(|station| station.life);
        let Some(life) = life else {
            self.counters.of_mut(kind).dead += 1;
            self.tell_down(now, from, to, true);
            return Fate::Dead;
        };
        let draws = self.draws.clone();
        match self.link(from, to).pass(now, kind, len, &draws) {
            Passage::Arrives(due, copy) => {
                let fate = match copy {
                    None => Fate::Arrives(due),
                    Some(later) => {
                        self.counters.of_mut(kind).duplicated += 1;
                        self.schedule(later, life, arrival.clone());
                        Fate::ArrivesTwice(due)
                    }
                };
                self.schedule(due, life, arrival);
                fate
            }
            Passage::Lost => {
                self.counters.of_mut(kind).lost += 1;
                Fate::Lost
            }
            Passage::Cut => {
                self.counters.of_mut(kind).lost += 1;
                self.tell_down(now, from, to, false);
                Fate::Cut
            }
            Passage::Full => {
                self.counters.of_mut(kind).full += 1;
                Fate::Full
            }
        }
    }

    /// When the next arrival is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// The next arrival that is due; what was meant for a dead process is skipped.
    pub fn pop_due(&mut self, now: Duration) -> Option<Arrival> {
        while self.next_due().is_some_and(|due| due <= now) {
            let Reverse(UnderWay { life, arrival, .. }) = self.under_way.pop().expect("there is a next one");
            let to = match &arrival {
                Arrival::Message { from, to, bytes, .. } | Arrival::Question { from, to, bytes, .. } => {
                    self.link(*from, *to).arrived(bytes.len());
                    *to
                }
                Arrival::Down { to, .. } => *to,
                Arrival::Reset { to, peer, wrongly } => {
                    let returned =
                        self.stations.get(&self.station(*peer)).is_some_and(|station| station.life.is_some());
                    let cut = self.link(*to, *peer).is_dead() || self.link(*peer, *to).is_dead();
                    if (returned && !wrongly) || cut {
                        continue;
                    }
                    *to
                }
            };
            if self.lives(to, life) {
                return Some(arrival);
            }
            if let Arrival::Message { kind, .. } = arrival {
                self.counters.of_mut(kind).dead += 1;
            }
        }
        None
    }

    /// Counts what became of an arrival at the inbox.
    pub fn delivered(&mut self, kind: MessageKind, taken: bool) {
        let counters = self.counters.of_mut(kind);
        if taken {
            counters.delivered += 1;
        } else {
            counters.full += 1;
        }
    }

    /// What became of the messages.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn tell_down(&mut self, now: Duration, from: NodeId, to: NodeId, dead: bool) {
        let sender = self.stations.get(&self.station(from)).and_then(|station| station.life);
        let delay = self.quality.latency.start;
        if let Some(life) = sender
            && self.link(from, to).tells_down(now, dead)
        {
            self.schedule(now + delay, life, Arrival::Down { to: from, peer: to });
        }
    }

    fn schedule(&mut self, due: Duration, life: Life, arrival: Arrival) {
        self.last_seq += 1;
        self.under_way.push(Reverse(UnderWay { due, seq: self.last_seq, life, arrival }));
    }

    fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        let (from, to) = (self.station(from), self.station(to));
        let Switchboard { links, stations, draws, quality, .. } = self;
        let name = |id: NodeId| stations.get(&id).map_or_else(|| id.to_string(), |station| station.name.clone());
        links.entry((from, to)).or_insert_with(|| Link::new(&name(from), &name(to), quality.clone(), draws))
    }
}
