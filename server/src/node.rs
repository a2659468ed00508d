//! The driver: one task, one loop, owner of the Raft core.
//!
//! Everything that can happen to the core is one [`Input`] of this loop; everything the core owes is carried out
//! here or handed on: messages to the network, writes to the log task, committed entries to the apply task. The
//! loop never waits for the disk or for the state machine: what they have finished is a value that it looks at, and
//! what the state machine has not taken yet waits here. So neither delays heartbeats, and no two tasks can wait for
//! each other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_raft::message::{Body, Message};
use evenkeel_raft::ready::{Input as RaftInput, ProposeError, Ready, Role, WriteSeq};
use evenkeel_raft::{ChangeError, Configuration, Data, Entry, Index, Mutant, NodeId, Raft, Term};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::{ApplyWork, Staged};
use crate::env::{Event, Inbound, point};
use crate::error::RequestError;
use crate::first_ticks::{self, FirstTicks};
use crate::member::{Member, SplitMix};
use crate::membership::change::Proposal;
use crate::membership::roster::Roster;
use crate::membership::{query, rules};
use crate::parking::{Parked, Parking};
use crate::queue::{Limits, Receiver, Weigh};
use crate::reads::Reads;
use crate::retention::{self, Retention};
use crate::wal::LogWork;
use crate::{ask, handover, peer, snapshot_receive, snapshot_send, version};

/// Requests and completions waiting for the driver: as many bytes as the core takes in before it refuses.
pub const INPUT_QUEUE: Limits = Limits { items: 16_384, bytes: 256 << 20 };
/// Messages from other members waiting for the driver: twice what a leader has under way to one follower.
pub const INBOX_QUEUE: Limits = Limits { items: 4_096, bytes: 128 << 20 };
/// Inputs taken before the core is asked what it owes.
const BURST_INPUTS_MAX: usize = 1_024;

/// What the driver can be told.
pub enum Input {
    /// A client's request to put into the log.
    Propose {
        /// The encoded request.
        data: Data,
        /// The term in which this member must lead, or `None` to let any leader have it.
        only_in_term: Option<u64>,
        /// Its id; who waits for it is told when it is refused.
        id: u64,
    },
    /// Leadership is to change hands.
    Transfer {
        /// The next leader; none to leave the choice to the driver.
        to: Option<NodeId>,
        /// Told who it will be, if a transfer has begun.
        began: oneshot::Sender<Option<NodeId>>,
    },
    /// A read wants an index.
    Read {
        /// Gets the index to wait for.
        reply: oneshot::Sender<Result<Index, RequestError>>,
    },
    /// A transfer of a snapshot has ended.
    SnapshotDone {
        /// The receiver.
        peer: NodeId,
    },
    /// A change of who takes part.
    Change(Proposal),
    /// What is seen of the others.
    Health {
        /// Gets it.
        reply: oneshot::Sender<rules::Health>,
    },
    /// A snapshot has arrived completely and waits to replace the state.
    SnapshotArrived(Box<Staged>),
}

impl Weigh for Input {
    fn weight_bytes(&self) -> usize {
        match self {
            Input::Propose { data, .. } | Input::Change(Proposal { data, .. }) => data.len(),
            Input::Transfer { .. } | Input::Read { .. } | Input::Health { .. } => 0,
            // Its values are on disk, and few can wait (see `STAGED_MAX`).
            Input::SnapshotDone { .. } | Input::SnapshotArrived(_) => 0,
        }
    }
}

/// Snapshots that have arrived and wait for the core's decision.
const STAGED_MAX: usize = 2;
/// Keeps read contexts apart from other numbers drawn from the seed.
const READS_SALT: u64 = 0x7265_6164;

/// The driver's own state.
pub struct Node {
    raft: Raft,
    member: Arc<Member>,
    inputs: Receiver<Input>,
    inbox: Receiver<Inbound>,
    log: mpsc::Sender<LogWork>,
    apply: mpsc::Sender<ApplyWork>,
    reads: Reads,
    parking: Parking,
    #[expect(clippy::vec_box, reason = "they came boxed, and go on boxed to the log task")]
    staged: Vec<Box<Staged>>,
    receiver: snapshot_receive::Receiver,
    retention: Retention,
    last_term: u64,
    roster: Roster,
    /// The newest entry handed to the log task.
    handed: Index,
    /// What the log task has made durable, and how much of it the core knows.
    persisted: watch::Receiver<WriteSeq>,
    told: WriteSeq,
    /// Committed entries that the apply task has no room for yet; they are in the core's log as well.
    unapplied: VecDeque<Vec<Entry>>,
    /// The term of the newest applied entry.
    applied_term: Term,
}

impl Node {
    /// A driver for `raft`.
    pub fn new(
        raft: Raft,
        member: Arc<Member>,
        inputs: Receiver<Input>,
        inbox: Receiver<Inbound>,
        log: mpsc::Sender<LogWork>,
        apply: mpsc::Sender<ApplyWork>,
        persisted: watch::Receiver<WriteSeq>,
    ) -> Node {
        let receiver = snapshot_receive::Receiver::new(Arc::clone(&member), log.clone());
        let last_term = raft.standing().term.0;
        let reads_base = SplitMix(member.env().seed ^ READS_SALT).next();
        let handed = raft.last_index();
        Node {
            handed,
            persisted,
            told: WriteSeq::default(),
            unapplied: VecDeque::new(),
            applied_term: Term(0),
            raft,
            member,
            inputs,
            inbox,
            log,
            apply,
            reads: Reads::starting_at(reads_base),
            parking: Parking::default(),
            staged: Vec::new(),
            receiver,
            retention: Retention::default(),
            last_term,
            roster: Roster::default(),
        }
    }

    /// Runs until the member stops.
    pub async fn run(mut self) {
        let mut applied = self.member.applied();
        let apply = self.apply.clone();
        let tick = self.member.config().heartbeat_interval;
        let clock = Arc::clone(&self.member.env().clock);
        let mut next_tick = clock.sleep(first_ticks::first(self.member.env().seed, tick));
        let network = Arc::clone(&self.member.env().network);
        let members = self.raft.configuration();
        let members = members.voters.len() + members.learners.len();
        let mut first_ticks = FirstTicks::new(self.member.config(), Arc::clone(&clock), members);
        let mut stopping = std::pin::pin!(self.member.clone().stopping_owned());
        self.member.publish_standing(self.raft.standing());
        self.roster.refresh(&self.raft, &self.member, true);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                () = &mut next_tick => {
                    next_tick = clock.sleep(tick);
                    self.tick();
                }
                ticks = first_ticks.due(|| network.active_peers()), if !first_ticks.are_over() => {
                    (0..ticks).for_each(|_| self.raft.step(RaftInput::Tick));
                }
                changed = self.persisted.changed() => if changed.is_err() { return },
                changed = applied.changed() => if changed.is_err() { return },
                permit = apply.reserve(), if !self.unapplied.is_empty() => match permit {
                    Ok(permit) => permit.send(ApplyWork::Entries(self.unapplied.pop_front().expect("not empty"))),
                    Err(_) => return,
                },
                Some(inbound) = self.inbox.recv() => self.inbound(inbound),
                Some(input) = self.inputs.recv() => self.input(input),
                else => return,
            }
            self.completed();
            let index = *applied.borrow_and_update();
            self.applied(index);
            self.forget(index);
            self.roster.refresh(&self.raft, &self.member, false);
            self.take_more();
            if !self.discharge().await {
                return;
            }
            self.watch_transfer();
        }
    }

    /// Lets go of entries in memory that no follower is waited for with.
    fn forget(&mut self, applied: Index) {
        let config = self.member.config();
        let limits = retention::Limits { entries: config.snapshot_catchup_entries, bytes: config.raft_log_bytes };
        let upto = self.retention.forgettable(&self.raft, applied, limits, self.member.now());
        if self.raft.first_index() <= upto {
            self.raft.step(RaftInput::Compact { upto });
        }
        let entries = self.raft.last_index().0 + 1 - self.raft.first_index().0;
        self.member.env().observer.observe(Event::LogHeld { entries, bytes: self.raft.log_bytes() as u64 });
    }

    /// Takes what else waits, so that one message and one write serve the whole burst.
    fn take_more(&mut self) {
        for _ in 0..BURST_INPUTS_MAX {
            // One of each: clients must not keep the members' messages waiting.
            let inbound = self.inbox.try_recv();
            let input = self.inputs.try_recv();
            if inbound.is_err() && input.is_err() {
                return;
            }
            inbound.into_iter().for_each(|inbound| self.inbound(inbound));
            input.into_iter().for_each(|input| self.input(input));
        }
    }

    /// Tells the core what the log task has finished.
    fn completed(&mut self) {
        let write = *self.persisted.borrow_and_update();
        if self.told < write {
            self.told = write;
            self.raft.step(RaftInput::Persisted { write });
        }
    }

    fn tick(&mut self) {
        self.raft.step(RaftInput::Tick);
        let now = self.member.env().clock.monotonic();
        self.reads.expire(now, self.member.request_timeout());
        for id in self.parking.expire(now, self.member.request_timeout()) {
            self.member.answer(id, Err(RequestError::TimeoutLeaderFail));
        }
        let patience = READ_RETRY.max(self.member.config().election_timeout);
        if let Some(context) = self.reads.retry(now, patience) {
            self.raft.step(RaftInput::Read { context });
        }
        self.receiver.tick(now);
        self.wonder_whether_removed();
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Propose { data, only_in_term, id } => self.propose(data, only_in_term, id),
            Input::Transfer { to, began } => self.transfer(to, began),
            Input::Read { reply } => {
                let now = self.member.env().clock.monotonic();
                self.reads.add(reply, now);
            }
            Input::Change(proposal) => self.change(proposal),
            Input::Health { reply } => {
                let _ = reply.send(self.roster.health(&self.raft, &self.member));
            }
            Input::SnapshotDone { peer } => {
                self.retention.ended(peer, self.member.now());
                self.raft.step(RaftInput::SnapshotDone { peer });
            }
            Input::SnapshotArrived(staged) => {
                let (from, message) =
                    (staged.from, Message { term: staged.term, body: Body::Snapshot { meta: staged.meta.clone() } });
                // The core may want an earlier one still, whose write is not handed out yet.
                self.staged.push(staged);
                self.raft.step(RaftInput::Message { from, message });
            }
        }
    }

    fn change(&mut self, proposal: Proposal) {
        let standing = self.raft.standing();
        let outcome = if standing.term.0 != proposal.term {
            Err(ChangeError::NotLeader { hint: standing.leader })
        } else if self.raft.configuration_index() != proposal.configuration_index {
            Err(ChangeError::InProgress)
        } else {
            self.raft.propose_change(&proposal.changes, proposal.data)
        };
        if outcome.is_ok() {
            self.member.waiters().proposed(proposal.id, standing.term, None);
        }
        let _ = proposal.reply.send(outcome);
    }

    /// Without a leader for long, a member asks whether it still belongs to the cluster: who was removed is sent
    /// nothing, not even the entry that says so.
    fn wonder_whether_removed(&mut self) {
        let (silent, timeout) = (self.raft.elapsed_since_leader_ticks(), self.member.config().election_ticks());
        let members = self.raft.configuration().members();
        let alone = !members.is_empty() && members.iter().all(|id| id.0 == self.member.ids().member);
        if !alone && 2 * timeout <= silent && silent.is_multiple_of(timeout) {
            let turn = (silent / timeout) as usize;
            if let Some(url) = self.roster.somebody(turn) {
                query::whether_removed(&self.member, url);
            }
        }
    }

    fn propose(&mut self, data: Data, only_in_term: Option<u64>, id: u64) {
        let standing = self.raft.standing();
        if let Some(term) = only_in_term
            && (standing.role != Role::Leader || standing.term.0 != term)
        {
            self.member.answer(id, Err(RequestError::NotLeader));
            return;
        }
        match self.raft.propose(Arc::clone(&data), only_in_term.is_none()) {
            Ok(()) => {
                let again = only_in_term.is_none().then_some(data);
                self.member.waiters().proposed(id, standing.term, again);
            }
            Err(ProposeError::NoLeader | ProposeError::Transferring) => {
                // An election is under way: the request waits for its outcome, as a client would.
                let now = self.member.env().clock.monotonic();
                if !self.parking.park(data, Parked::Own { id, only_in_term }, now) {
                    self.member.answer(id, Err(RequestError::TooManyRequests));
                }
            }
            Err(ProposeError::NotLeader { .. }) => {
                self.member.answer(id, Err(RequestError::NotLeader));
            }
            Err(ProposeError::Busy) => {
                self.member.answer(id, Err(RequestError::TooManyRequests));
            }
        }
    }

    fn inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Down { peer } => self.raft.step(RaftInput::Unreachable { peer }),
            Inbound::Reset { peer } => self.gone(peer),
            Inbound::Message { from, bytes } => {
                self.message(from, &bytes);
            }
            Inbound::Query { bytes, reply } => query::answer(&self.member, &self.raft, bytes, reply),
        }
    }

    fn message(&mut self, from: NodeId, bytes: &Bytes) {
        let now = self.member.now();
        let content = match peer::decode(bytes, self.member.ids(), from) {
            Ok((urls, content)) if self.roster.admits(&self.member, from, &urls) => content,
            refused => {
                if self.roster.may_log_refusal(now) {
                    let reason =
                        refused.err().map_or_else(|| "it is no member of this cluster".into(), |e| e.to_string());
                    tracing::warn!(%reason, peer = %from, "dropped a message of another member");
                }
                return;
            }
        };
        self.member.contacts().heard(from, now);
        match content {
            peer::Content::Raft(Message { body: Body::Propose { data }, .. })
                if !version::may_be_forwarded(Arc::clone(&data)) =>
            {
                if self.roster.may_log_refusal(now) {
                    tracing::warn!(peer = %from, bytes = data.len(), "dropped a proposal that no member could apply");
                }
            }
            peer::Content::Raft(Message { term, body: Body::Propose { data } }) if self.must_wait(term) => {
                // Its proposer learns nothing when there is no room, and times out.
                let _ = self.parking.park(data, Parked::Forwarded(term), now);
            }
            peer::Content::Raft(message) => self.raft.step(RaftInput::Message { from, message }),
            peer::Content::SnapshotChunk(chunk) => self.receiver.chunk(from, chunk),
            peer::Content::SnapshotAck(ack) => self.member.transfers().acknowledged(from, ack),
            peer::Content::Ask(question) => ask::answer(&self.member, from, question),
            peer::Content::Answer(answer) => self.member.asks().answered(from, answer),
        }
    }

    /// Carries out everything the core owes. False when the member is going down.
    async fn discharge(&mut self) -> bool {
        while let Some(ready) = self.raft.take_ready() {
            let Ready { standing, configuration, messages, write, committed, reads, snapshots_wanted } = ready;
            if let Some(standing) = standing {
                self.standing_changed(standing);
            }
            if let Some(Configuration { voters, outgoing, learners }) = configuration {
                tracing::info!(?voters, ?outgoing, ?learners, "raft configuration in force");
                self.roster.refresh(&self.raft, &self.member, true);
            }
            self.member.send_all(messages);
            point!(self.member.env(), "node.sent");
            if let Some(write) = write {
                if let Some(meta) = &write.snapshot {
                    self.handed = meta.index;
                    // The snapshot stands for them; after it they would come too late.
                    self.unapplied.clear();
                    self.member.waiters().in_doubt_until(meta.term);
                }
                let staged = match &write.snapshot {
                    Some(meta) => match self.staged.iter().position(|staged| staged.meta == *meta) {
                        Some(place) => {
                            let staged = self.staged.swap_remove(place);
                            self.staged.clear();
                            self.member.env().observer.observe(Event::SnapshotInstalled {
                                index: meta.index,
                                term: meta.term,
                                revision: staged.state.store.revision().0,
                            });
                            Some(staged)
                        }
                        None => {
                            self.member.fail("the core installed a snapshot that has not arrived".into());
                            return false;
                        }
                    },
                    None => None,
                };
                // Behind the snapshot, when one write holds both.
                if let Some(last) = write.entries.last() {
                    self.handed = last.index;
                    self.member.env().observer.observe(Event::Appended { entries: &write.entries });
                }
                let seq = write.seq;
                if self.log.send(LogWork::Write { write, staged }).await.is_err() {
                    return false;
                }
                point!(self.member.env(), "node.handed_to_log");
                if self.member.config().mutants.on(Mutant::SyncInDriver) {
                    self.wait_for_disk(seq).await;
                }
            }
            if !committed.is_empty() {
                point!(self.member.env(), "node.committed");
                self.hand_to_apply(committed);
            }
            for state in reads {
                self.reads.resolve(state);
            }
            for peer in snapshots_wanted {
                if self.member.config().mutants.on(Mutant::NoSnapshots) {
                    continue;
                }
                let index = snapshot_send::begin(&self.member, peer, self.raft.first_index());
                if !self.member.config().mutants.on(Mutant::SnapshotNoRetention) {
                    self.retention.began(peer, index);
                }
            }
            // An entry the log task has not been given yet is not known outside the core.
            let committed = self.raft.committed().min(self.handed);
            self.member.publish_progress(committed, self.raft.last_index());
        }
        // What the core has moved past it will never take.
        let committed = self.raft.committed();
        let writing = self.raft.pending_snapshot().cloned();
        self.staged.retain(|staged| writing.as_ref() == Some(&staged.meta) || committed < staged.meta.index);
        if STAGED_MAX < self.staged.len() {
            self.staged.remove(0);
        }
        if let Some(context) = self.reads.next_batch(self.member.now()) {
            self.raft.step(RaftInput::Read { context });
            return Box::pin(self.discharge()).await;
        }
        true
    }

    /// In order, and without waiting.
    fn hand_to_apply(&mut self, entries: Vec<Entry>) {
        if !self.unapplied.is_empty() {
            self.unapplied.push_back(entries);
            return;
        }
        // A closed queue means that the member goes down.
        if let Err(TrySendError::Full(ApplyWork::Entries(entries))) = self.apply.try_send(ApplyWork::Entries(entries)) {
            self.unapplied.push_back(entries);
        }
    }

    /// The planted bug of a driver that syncs by itself: nothing else happens meanwhile.
    async fn wait_for_disk(&mut self, seq: WriteSeq) {
        let _ = self.persisted.wait_for(|upto| seq <= *upto).await.is_ok();
        self.completed();
    }

    fn standing_changed(&mut self, standing: evenkeel_raft::Standing) {
        tracing::info!(
            term = standing.term.0,
            role = ?standing.role,
            leader = standing.leader.map_or_else(|| "none".into(), |id| id.to_string()),
            "raft standing changed"
        );
        let reign_began = standing.role == Role::Leader && standing.term.0 != self.last_term;
        if standing.role == Role::Leader {
            self.last_term = standing.term.0;
        }
        self.member.publish_standing(standing);
        if reign_began {
            self.member.reign_began(standing.term.0);
        }
        if standing.leader.is_some() {
            self.unpark();
            self.reads.leader_known();
            if self.member.config().mutants.on(Mutant::RetryInDoubt) {
                self.propose_again(standing.term);
            }
        }
    }
}

/// Leadership that changes hands, and what becomes of requests meanwhile.
impl Node {
    fn transfer(&mut self, to: Option<NodeId>, began: oneshot::Sender<Option<NodeId>>) {
        let choice = || handover::successor(&self.raft, self.member.contacts(), self.member.now());
        let to = to.or_else(choice);
        if let Some(to) = to {
            self.raft.step(RaftInput::Transfer { to });
        }
        let transferring = self.raft.transferring();
        self.member.transferring().send_replace(transferring);
        let _ = began.send(to.filter(|_| transferring == to));
    }

    /// A transfer that ended without a new standing was given up: requests are taken again.
    fn watch_transfer(&mut self) {
        let transferring = self.raft.transferring();
        let changed = |before: &mut Option<NodeId>| std::mem::replace(before, transferring) != transferring;
        if self.member.transferring().send_if_modified(changed) && transferring.is_none() {
            self.unpark();
        }
    }

    /// Whether a proposal that was forwarded to the leader of `term` may still be taken here, but not now.
    fn must_wait(&self, term: Term) -> bool {
        self.raft.transferring().is_some() && self.raft.standing().term == term
    }

    /// Hands on what waited. What cannot be handed on yet waits again.
    fn unpark(&mut self) {
        for (data, whose) in self.parking.take() {
            match whose {
                Parked::Own { id, only_in_term } if self.member.awaits(id) => {
                    let forgets = self.member.config().mutants.on(Mutant::ParkedForgetsTerm);
                    self.propose(data, only_in_term.filter(|_| !forgets), id);
                }
                Parked::Own { .. } => {}
                Parked::Forwarded(term) if self.raft.standing().term == term => {
                    // As if it had arrived now.
                    let _ = self.raft.propose(data, false);
                }
                Parked::Forwarded(_) => {} // Its proposer sees a later term, and proposes it again.
            }
        }
    }

    /// Entries up to `index` were applied.
    fn applied(&mut self, index: Index) {
        if self.raft.applied() < index {
            self.raft.step(RaftInput::Applied { index }); // The loop turns for many other reasons.
        }
        let Some(term) = self.raft.term_at(index).filter(|term| self.applied_term < *term) else { return };
        self.applied_term = term;
        self.propose_again(term);
    }

    /// What leaders of terms before `term` were given, and lost, is proposed again.
    fn propose_again(&mut self, term: Term) {
        for lost in self.member.waiters().lost_before(term) {
            match lost.again {
                Some(data) => self.propose(data, None, lost.id),
                None => self.member.answer(lost.id, Err(RequestError::LeaderChanged)),
            }
        }
    }

    /// The process of `peer` is gone.
    fn gone(&mut self, peer: NodeId) {
        self.raft.step(RaftInput::Unreachable { peer });
        self.member.contacts().lost(peer);
        if !self.member.config().mutants.on(Mutant::NoSuspicion) {
            self.raft.step(RaftInput::Suspect { peer });
            self.member.asks().lost(peer);
        }
    }
}

/// A read index not confirmed within this is asked for again, under a new context.
const READ_RETRY: Duration = Duration::from_millis(500);
