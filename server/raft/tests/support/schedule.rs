//! A random schedule over a cluster: loss, repetition, reordering, partitions, crashes that lose unsynced writes, slow
//! disks, snapshots, compaction, reads and proposals; with [`Plan::changes`] also members that come and go, leaders that
//! hand over, and suspicions, most of them wrong. Everything follows from the seed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use evenkeel_raft::*;

use super::{Cluster, Packet, describe, show_configuration};

/// Ticks within which all is well again. Without pre-vote, members whose logs are too short may campaign in vain for long.
const ROUNDS: usize = 600;

/// SplitMix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

#[derive(Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub steps: u32,
    pub mutants: Mutants,
    /// Judge by consequences, not by the ledger.
    pub consequences_only: bool,
    /// The configuration changes, over three to seven members in all.
    pub changes: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        Plan { seed, steps: 1500, mutants: Mutants::NONE, consequences_only: false, changes: false }
    }
}

/// What a run did, so that a test can tell that it did something.
#[derive(Default)]
pub struct Outcome {
    pub violation: Option<String>,
    pub decided: u64,
    pub terms_led: usize,
    pub reads_confirmed: usize,
    pub snapshots_installed: usize,
    /// Configurations decided.
    pub configurations: usize,
}

/// Runs a schedule; a failed assertion of the core is a violation too.
pub fn run(plan: Plan) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| Run::new(plan).go())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Outcome { violation: Some(format!("panic: {}", text.unwrap_or_default())), ..Default::default() }
    })
}

struct Run {
    plan: Plan,
    chance: Chance,
    cluster: Cluster,
    cut_off: BTreeSet<NodeId>,
    /// Those cut off are all but stopped, and their clocks stand still: they do not notice.
    pauses: bool,
    /// Packets that linger somewhere on their way, past partitions and elections.
    late: Vec<Packet>,
    next_context: u64,
    next_value: u64,
    /// Members 1..=N, in the configuration or not.
    members: u64,
}

impl Run {
    fn new(plan: Plan) -> Run {
        let mut chance = Chance(plan.seed);
        let voters = if plan.changes { chance.pick(&[1, 2, 3, 3, 4, 5]) } else { chance.pick(&[1, 3, 3, 3, 3, 5]) };
        let learners = chance.pick(&[0, 0, 1]);
        let members = if plan.changes { (voters + learners + chance.below(3)).clamp(3, 7) } else { voters + learners };
        let (pre_vote, check_quorum) = (!chance.one_in(3), !chance.one_in(3));
        let small = chance.one_in(2);
        let mut cluster = Cluster::new(voters, learners, |id| Config {
            pre_vote,
            check_quorum,
            max_message_bytes: if small { 8 } else { 1 << 20 },
            max_inflight_messages: if small { 2 } else { 256 },
            max_inflight_bytes: if small { 20 } else { 1 << 20 },
            max_uncommitted_bytes: 200,
            max_committed_batch_bytes: if small { 5 } else { 1 << 20 },
            max_waiting_reads: 4,
            mutants: plan.mutants,
            ..Config::new(id, plan.seed ^ (id.0 << 32))
        });
        (voters + learners + 1..=members).for_each(|id| cluster.join(NodeId(id)));
        cluster.oracle.consequences_only = plan.consequences_only;
        for id in cluster.ids() {
            cluster.member(id).holds_writes = true;
        }
        Run {
            plan,
            chance,
            cluster,
            cut_off: BTreeSet::new(),
            pauses: false,
            late: Vec::new(),
            next_context: 0,
            next_value: 0,
            members,
        }
    }

    fn go(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for step in 0..self.plan.steps {
            self.act();
            if step % 64 == 0 {
                self.check_logs();
            }
            if self.cluster.oracle.violation.is_some() {
                break;
            }
        }
        self.check_logs();
        if self.cluster.oracle.violation.is_none() {
            self.settle();
        }
        let oracle = &mut self.cluster.oracle;
        outcome.violation = oracle.violation.take();
        outcome.decided = oracle.decided().0;
        outcome.terms_led = oracle.terms_led();
        outcome.configurations = oracle.configurations();
        outcome.reads_confirmed = oracle.reads_confirmed;
        let installs = |event: &&String| event.contains("installs snapshot");
        outcome.snapshots_installed = self.cluster.events.iter().filter(installs).count();
        outcome
    }

    fn check_logs(&mut self) {
        let Cluster { members, oracle, .. } = &mut self.cluster;
        oracle.logs_match(members.values().filter_map(|member| member.raft.as_ref()));
    }

    fn act(&mut self) {
        let id = NodeId(1 + self.chance.below(self.members));
        if self.pauses && self.cut_off.contains(&id) && !self.chance.one_in(20) {
            return;
        }
        if self.plan.changes && self.chance.one_in(12) {
            return self.reorganise(id);
        }
        match self.chance.below(200) {
            0..100 => self.deliver_any(),
            100..135 => {
                let count = 1 + self.chance.below(3) as usize;
                self.cluster.persist(id, count);
            }
            135..150 => {
                // Sometimes the same member again and again: time is not equal everywhere.
                let paused = self.pauses && self.cut_off.contains(&id);
                for _ in 0..if paused { 0 } else { self.chance.pick(&[1, 1, 1, 2, 25]) } {
                    self.cluster.step_only(id, Input::Tick);
                }
                self.cluster.drain(id);
            }
            150..170 => {
                for _ in 0..self.chance.pick(&[1, 1, 3]) {
                    self.next_value += 1;
                    let value = format!("v{}", self.next_value);
                    let _ = self.cluster.propose(id, value.as_bytes(), true);
                }
                self.cluster.drain(id);
            }
            170..182 => {
                self.next_context += 1;
                self.cluster.step(id, Input::Read { context: ReadContext(self.next_context) });
            }
            182..185 => {
                let keep = self.chance.below(3);
                self.cluster.compact(id, None, keep);
            }
            185..187 => {
                let survive = self.chance.below(3) as usize;
                self.cluster.crash(id, survive);
            }
            187..193 => self.cluster.restart(id),
            193..195 => {
                let leads =
                    |id: &NodeId| self.cluster.raft(*id).is_some_and(|raft| raft.standing().role == Role::Leader);
                let leader = self.cluster.ids().into_iter().find(leads).filter(|_| self.chance.one_in(2));
                let others = (0..self.members / 2).map(|_| NodeId(1 + self.chance.below(self.members)));
                self.cut_off = leader.map_or_else(|| others.collect(), |leader| BTreeSet::from([leader]));
                self.pauses = self.chance.one_in(2);
            }
            195 => self.cut_off.clear(),
            196..198 => {
                if !self.late.is_empty() {
                    let at = self.chance.below(self.late.len() as u64);
                    let packet = self.late.swap_remove(at as usize);
                    self.cluster.deliver(packet);
                }
            }
            198 => {
                let peer = NodeId(1 + self.chance.below(self.members));
                self.cluster.step(id, Input::Unreachable { peer });
            }
            _ => self.cluster.step(id, Input::Campaign),
        }
    }

    /// Who takes part, and who leads.
    fn reorganise(&mut self, id: NodeId) {
        let leads = |id: &NodeId| self.cluster.raft(*id).is_some_and(|raft| raft.standing().role == Role::Leader);
        let leader = self.cluster.ids().into_iter().find(leads);
        let peer = NodeId(1 + self.chance.below(self.members));
        match self.chance.below(8) {
            0..4 => {
                let mut change = || {
                    let member = NodeId(1 + self.chance.below(self.members));
                    let kinds = [MemberChange::AddVoter, MemberChange::AddVoter, MemberChange::AddLearner];
                    if self.chance.one_in(3) { MemberChange::Remove(member) } else { self.chance.pick(&kinds)(member) }
                };
                let (first, more) = (change(), [change(), change()]);
                let more = &more[..self.chance.pick(&[0, 0, 1, 2])];
                let changes = [&[first], more].concat();
                let leader = leader.unwrap_or(id);
                if let Some(raft) = &mut self.cluster.member(leader).raft {
                    let _ = raft.propose_change(&changes, Data::from(&b"change"[..]));
                }
                self.cluster.drain(leader);
            }
            4..6 => self.cluster.step(leader.unwrap_or(id), Input::Transfer { to: peer }),
            _ => {
                let leader = self.cluster.raft(id).and_then(|raft| raft.standing().leader);
                self.cluster.step(id, Input::Suspect { peer: leader.unwrap_or(peer) });
            }
        }
    }

    fn deliver_any(&mut self) {
        let waiting = self.cluster.packets.len() as u64;
        if waiting == 0 {
            return;
        }
        // Mostly in order, sometimes any; an old packet may stay back for long.
        let reorders = self.chance.one_in(4);
        let at = if reorders { self.chance.below(waiting) } else { self.chance.below(waiting.min(3)) };
        let packet = self.cluster.packets.remove(at as usize).expect("in range");
        let is_cut = self.cut_off.contains(&packet.from) != self.cut_off.contains(&packet.to);
        if is_cut || self.chance.one_in(20) {
            return self.cluster.lose(packet);
        }
        if self.chance.one_in(20) {
            self.cluster.packets.push_back(packet.clone());
        }
        if self.chance.one_in(30) {
            return self.late.push(packet);
        }
        if self.chance.one_in(3) && !matches!(packet.message.body, Body::Snapshot { .. }) {
            // More inputs before the effects are taken.
            self.cluster.step_only(packet.to, Input::Message { from: packet.from, message: packet.message });
        } else {
            self.cluster.deliver(packet);
        }
    }

    /// All faults end: a leader must emerge, and everybody must hold the same.
    fn settle(&mut self) {
        let ids = self.cluster.ids();
        for &id in &ids {
            self.cluster.restart(id);
            self.cluster.member(id).holds_writes = false;
            self.cluster.persist(id, usize::MAX);
        }
        self.cluster.packets.extend(self.late.drain(..));
        for round in 0..ROUNDS {
            // Who is known to be removed is stopped: without pre-vote it would disturb the others for ever.
            let members = self.leader().map(|leader| leader.configuration().members());
            for &id in ids.iter().filter(|id| members.as_ref().is_none_or(|members| members.contains(id))) {
                self.cluster.step(id, Input::Tick);
            }
            for delivered in 0.. {
                let Some(packet) = self.cluster.packets.pop_front() else { break };
                self.cluster.deliver(packet);
                if delivered > 100_000 {
                    return self.fail("the members never fall silent".into());
                }
            }
            if round == ROUNDS - 50 && ids.iter().all(|&id| self.cluster.propose(id, b"end", false) != Some(Ok(()))) {
                self.fail("no leader emerges after all faults ended".into());
            }
        }
        let members = match self.leader() {
            Some(leader) if !leader.configuration().is_joint() => leader.configuration().members(),
            _ => return self.fail("in the end nobody leads, or in a joint configuration".into()),
        };
        let rafts: Vec<&Raft> = members.iter().filter_map(|&id| self.cluster.raft(id)).collect();
        let ends: BTreeSet<_> =
            rafts.iter().map(|raft| (raft.last_index(), raft.committed(), raft.applied())).collect();
        let pending: usize = rafts.iter().map(|raft| raft.uncommitted_bytes()).sum();
        let (last, committed, applied) = *ends.first().expect("members");
        if ends.len() > 1 || last != committed || committed != applied {
            self.fail(format!("members do not agree in the end: (last, committed, applied) {ends:?}"));
        }
        if pending > 0 {
            self.fail(format!("{pending} uncommitted bytes remain"));
        }
        self.check_logs();
    }

    /// The newest leader, once its configuration is decided.
    fn leader(&self) -> Option<&Raft> {
        let rafts = self.cluster.members.values().filter_map(|member| member.raft.as_ref());
        let leaders = rafts.filter(|raft| raft.standing().role == Role::Leader);
        let newest = leaders.max_by_key(|raft| raft.standing().term)?;
        (newest.configuration_index() <= newest.committed()).then_some(newest)
    }

    fn fail(&mut self, what: String) {
        let show = |(id, raft): (NodeId, &Raft)| {
            let (config, last_term) = (show_configuration(raft.configuration()), raft.term_at(raft.last_index()));
            let standing = describe(&raft.standing());
            format!(
                "n{id} {standing}, {config}@{}, last {}@{}, committed {}",
                raft.configuration_index(),
                raft.last_index(),
                last_term.unwrap_or_default(),
                raft.committed()
            )
        };
        let members = self.cluster.ids().into_iter().filter_map(|id| Some((id, self.cluster.raft(id)?)));
        let shown: Vec<String> = members.map(show).collect();
        self.cluster.oracle.violation.get_or_insert(format!("{what}:\n{}", shown.join("\n")));
    }
}
