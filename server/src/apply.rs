//! The apply task: committed entries become state, answers and watch events, in log order.
//!
//! Where Raft meets MVCC. An entry's effect depends on the entry and the state alone; whether a client of this
//! member waits for it decides only who gets the answer.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_mvcc::{Command, Store};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::types::SnapshotMeta;
use evenkeel_raft::{ConfigEntry, Entry, Mutant, NodeId, Payload, Term};
use evenkeel_storage::Place;
use prost::Message;
use tokio::sync::mpsc;

use crate::checkpoint::Checkpointer;
use crate::env::{Event, point};
use crate::error::RequestError;
use crate::member::{Member, Reply};
use crate::membership;
use crate::quota;
use crate::reader::Pin;
use crate::service::translate;
use crate::state::State;
use crate::version::{self, Release, level};

/// Batches of committed entries waiting to be applied.
pub const APPLY_QUEUE: usize = 1_024;

/// What the apply task can be given.
pub enum ApplyWork {
    /// Committed entries, durable here, in order.
    Entries(Vec<Entry>),
    /// A snapshot replaces the state.
    Install(Box<Staged>),
}

/// A snapshot that has arrived completely: its values are durable in the log, its index is in memory.
pub struct Staged {
    /// The leader that sent it.
    pub from: NodeId,
    /// The leader's term when it did.
    pub term: Term,
    /// Names it.
    pub meta: SnapshotMeta,
    /// The state.
    pub state: State,
    /// Keeps its values' segments.
    pub pins: Vec<Pin>,
}

/// The apply task's state.
pub struct Applier {
    member: Arc<Member>,
    works: mpsc::Receiver<ApplyWork>,
    checkpointer: Checkpointer,
}

type Answer = Result<Reply, RequestError>;

impl Applier {
    /// An apply task that takes its work from `works`.
    pub fn new(member: Arc<Member>, works: mpsc::Receiver<ApplyWork>, checkpointer: Checkpointer) -> Applier {
        Applier { member, works, checkpointer }
    }

    /// Runs until the member stops.
    pub async fn run(mut self) {
        while let Some(work) = self.works.recv().await {
            match work {
                ApplyWork::Entries(entries) => {
                    if let Err(reason) = self.apply_all(entries).await {
                        self.member.fail(reason);
                        break;
                    }
                }
                ApplyWork::Install(staged) => self.install(*staged).await,
            }
        }
        self.checkpointer.stop().await;
    }

    async fn install(&mut self, staged: Staged) {
        point!(self.member.env(), "apply.before_install");
        let Staged { meta, state, pins, .. } = staged;
        let (index, revision, state_hash) = (meta.index, state.store.revision().0, state.hash());
        pins.into_iter().for_each(Pin::keep);
        self.member.places().forget_upto(meta.index);
        self.member.install(state);
        self.member.env().observer.observe(Event::StateReplaced { index, revision, state_hash });
        self.checkpointer.installed(meta.index);
        self.member.storage().cluster_changed();
        point!(self.member.env(), "apply.installed");
        tracing::info!(index = meta.index.0, revision, "applied snapshot");
    }

    async fn apply_all(&mut self, entries: Vec<Entry>) -> Result<(), String> {
        point!(self.member.env(), "apply.before_batch");
        if self.member.config().mutants.on(Mutant::BenignYield) {
            tokio::task::yield_now().await;
        }
        let last = entries.last().map(|e| (e.index, e.term));
        let bytes = entries.iter().map(|e| e.payload.size_bytes() as u64).sum();
        let mut answers = Vec::new();
        for entry in entries {
            match entry.payload {
                Payload::Empty => {
                    self.member.places().take(entry.index);
                    self.apply_unseen(entry.index, entry.term, |_| {});
                }
                Payload::Config(config) => {
                    point!(self.member.env(), "apply.before_config");
                    self.member.places().take(entry.index);
                    answers.extend(self.configure(entry.index, entry.term, &config)?);
                    point!(self.member.env(), "apply.configured");
                }
                Payload::Data(data) => {
                    let Some(place) = self.place(entry.index).await else { return Ok(()) };
                    let payload = Bytes::from_owner(data);
                    let (id, answer) = self.apply_one(entry.index, entry.term, &payload, place)?;
                    if self.member.awaits(id) {
                        answers.push((id, answer));
                    }
                }
            }
        }
        point!(self.member.env(), "apply.batch_applied");
        for (id, answer) in answers {
            self.member.answer(id, answer);
        }
        if let Some((index, _)) = last {
            self.member.publish_applied(index);
            self.checkpointer.applied(&self.member, index, bytes);
        }
        point!(self.member.env(), "apply.answered");
        Ok(())
    }

    /// Applies a configuration, and what it says about the members.
    fn configure(
        &self,
        index: evenkeel_raft::Index,
        term: Term,
        config: &ConfigEntry,
    ) -> Result<Option<(u64, Answer)>, String> {
        let mut outcome = Err(String::new());
        self.apply_unseen(index, term, |state| {
            state.change_cluster(|cluster| outcome = membership::apply::apply(cluster, config));
        });
        let outcome = outcome.map_err(|error| format!("entry {index} cannot be decoded: {error}"))?;
        self.member.membership_changed();
        let revision = self.member.view().revision().0;
        let answer = outcome.result.map(|()| Reply::done(revision));
        Ok(self.member.awaits(outcome.request_id).then_some((outcome.request_id, answer)))
    }

    /// Where the entry's payload lies; none when the member stops first.
    async fn place(&self, index: evenkeel_raft::Index) -> Option<Place> {
        loop {
            if let Some(place) = self.member.places().take(index) {
                return Some(place);
            }
            tokio::select! {
                biased;
                () = self.member.stopping() => return None,
                () = self.member.places().filled() => {}
            }
        }
    }

    /// Applies an entry that touches no key.
    fn apply_unseen(&self, index: evenkeel_raft::Index, term: Term, change: impl FnOnce(&mut State)) {
        let (revision, state_hash) = self.member.change(|state| {
            change(state);
            state.store.note_applied(index.0, term.0);
            // Each term's first entry is of this kind.
            let use_remaining = level::LEASE_TIME <= state.cluster().level();
            self.member.leases().caught_up(term.0, &state.store, use_remaining, self.member.lease_now());
            (state.store.revision().0, state.hash())
        });
        let values = self.member.values();
        let event = Event::Applied {
            index,
            term,
            revision,
            state_hash,
            request: 0,
            lease_revoked: None,
            changes: None,
            values,
        };
        self.member.env().observer.observe(event);
    }

    /// Applies one request. An error means that this member's copy of the data cannot be trusted.
    fn apply_one(
        &self,
        index: evenkeel_raft::Index,
        term: Term,
        payload: &Bytes,
        place: Place,
    ) -> Result<(u64, Answer), String> {
        let request = match pb::InternalRaftRequest::decode(payload.clone()) {
            Ok(request) => request,
            Err(error) => return Err(format!("entry {index} cannot be decoded: {error}")),
        };
        let id = request.header.as_ref().map_or(0, |h| h.id);
        let member = &self.member;
        version::arrives(member, index, &request)?;
        let began = member.env().clock.monotonic();
        let values = member.values();
        let mut changes = None;
        let (answer, revision, state_hash) = member.change(|state| {
            let answer = if let Some(refusal) = alarmed(state, &request) {
                state.store.note_applied(index.0, term.0);
                Ok(Err(refusal))
            } else if level::takes_effect(&request, self.level(state))
                && let Some(mut command) = translate::command(&request, |value| {
                    let at = translate::value_ref(place, payload, value);
                    values.remember(&at, value);
                    at
                })
            {
                if let Command::Txn(txn) = &mut command
                    && !member.awaits(id)
                    && member.config().mutants.bites(Mutant::TxnStrip, || txn.reads_and_writes())
                {
                    txn.strip_reads();
                }
                let outcome = state.store.apply(index.0, term.0, &command, values);
                if matches!(command, Command::Compact { .. }) && outcome.as_ref().is_ok_and(|o| o.result.is_ok()) {
                    level::compacted(state, self.level(state));
                    let drops = || 0 < state.store.drop_tombstones_of_floor();
                    member.config().mutants.bites(Mutant::CompactDropsTombstone, drops);
                }
                outcome
                    .map(|outcome| {
                        changes.clone_from(&outcome.events);
                        Ok(self.effects(&command, outcome, &state.store, member.awaits(id)))
                    })
                    .map_err(|error| format!("entry {index} needs a value that cannot be read: {error}"))
            } else {
                apply_cluster(state, &request);
                state.store.note_applied(index.0, term.0);
                Ok(Ok(Reply::done(state.store.revision().0)))
            };
            (answer, state.store.revision().0, state.hash())
        });
        version::applied(member, &request);
        let answer = answer?;
        let lease_revoked = request.lease_revoke.as_ref().filter(|_| succeeded(&answer)).map(|revoke| revoke.id);
        let changes = changes.as_deref();
        let event = Event::Applied { index, term, revision, state_hash, request: id, lease_revoked, changes, values };
        member.env().observer.observe(event);
        let took = member.env().clock.monotonic().saturating_sub(began);
        member.metrics().applied(index.0, took);
        if took > member.config().warning_apply_duration {
            tracing::warn!(index = index.0, took_ms = took.as_millis() as u64, "apply request took too long");
        }
        Ok((id, answer))
    }

    /// The level that decides what an entry does: that of the cluster version in the state, but for a planted bug.
    fn level(&self, state: &State) -> Release {
        let config = self.member.config();
        if config.mutants.on(Mutant::GateByRelease) { config.release } else { state.cluster().level() }
    }

    /// Watch events, lease deadlines and value accounting of one applied command.
    fn effects(&self, command: &Command, outcome: evenkeel_mvcc::Outcome, store: &Store, awaited: bool) -> Reply {
        let member = &self.member;
        // Before anything is freed: who asked reads the values later, and the log may shrink until then.
        let shown = outcome.result.as_ref().ok().filter(|_| awaited);
        let pin = shown.and_then(|response| member.values().pin_shown(response));
        if let Some(events) = &outcome.events {
            for event in &events.events {
                // A put that keeps the value refers to the bytes that were there before.
                if event.prev.as_ref().is_none_or(|prev| prev.value != event.row.value) {
                    member.values().written(&event.row.value);
                }
            }
            member.watches().publish(events);
        }
        member.values().freed(&outcome.freed);
        member.leases().applied(command, store, member.lease_now());
        let misread = matches!(command, Command::Put(_)) && member.config().mutants.on(Mutant::Canary);
        Reply { result: outcome.result, revision: outcome.revision.0 - i64::from(misread), pin }
    }
}

fn succeeded(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(|reply| reply.result.is_ok())
}

/// With an alarm raised, some requests are refused, on every member alike: with the space alarm what would make the
/// store grow, with the corruption alarm everything about keys and leases.
fn alarmed(state: &State, request: &pb::InternalRaftRequest) -> Option<RequestError> {
    let grows = quota::cost(request).is_some();
    let touches = grows
        || request.txn.is_some()
        || request.delete_range.is_some()
        || request.compaction.is_some()
        || request.lease_revoke.is_some();
    if touches && state.cluster().alarmed(pb::AlarmType::Corrupt) {
        return Some(RequestError::Corrupt);
    }
    (grows && state.cluster().alarmed(pb::AlarmType::Nospace)).then_some(RequestError::NoSpace)
}

/// Requests about the cluster itself.
fn apply_cluster(state: &mut State, request: &pb::InternalRaftRequest) {
    if let Some(set) = &request.cluster_version_set {
        level::set_cluster_version(state, &set.ver);
    }
    if let Some(set) = &request.downgrade_info_set {
        state.change_cluster(|c| c.downgrade = set.ver.parse().ok().filter(|_| set.enabled));
    }
    if let Some(set) = &request.cluster_member_attr_set
        && let Some(attributes) = &set.member_attributes
    {
        state.change_cluster(|c| {
            if let Some(info) = c.members.get_mut(&set.member_id) {
                info.name.clone_from(&attributes.name);
                info.client_urls.clone_from(&attributes.client_urls);
            }
        });
    }
    if let Some(alarm) = &request.alarm {
        let change = (alarm.member_id, alarm.alarm);
        match alarm.action() {
            pb::alarm_request::AlarmAction::Activate => state.change_cluster(|c| {
                c.alarms.insert(change);
            }),
            pb::alarm_request::AlarmAction::Deactivate => state.change_cluster(|c| {
                c.alarms.remove(&change);
            }),
            pb::alarm_request::AlarmAction::Get => {}
        }
    }
}
