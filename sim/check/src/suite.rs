//! All oracles behind one feed.
//!
//! [`Oracles::observe`] takes what happened, in order; [`Oracles::violations`] grows. An oracle that has found
//! something is not asked again (its picture may be off from there); the others go on. Oracles can be switched off by
//! name; in black-box mode only what clients and the environment see is used.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::availability::{self, Availability, AvailabilityConfig, ClientStats};
use crate::hash_kv::{self, HashKv};
use crate::headers::{self, Headers};
use crate::history::*;
use crate::ids::*;
use crate::lease::{self, LeaseCall, LeaseConfig, Leases};
use crate::ledger::{self, Ledger};
use crate::linearizable::{self, FinalRead, Linearizable};
use crate::observation::{Cause, Observation, Promise};
use crate::raft::{self, Raft};
use crate::state_hash::{self, StateHash};
use crate::violation::{Related, Verdict, Violation};
use crate::watch::{self, WatchConfig, Watches};

/// Every oracle by name.
pub const NAMES: [&str; 9] = [
    linearizable::NAME,
    watch::NAME,
    lease::NAME,
    raft::NAME,
    state_hash::NAME,
    ledger::NAME,
    availability::NAME,
    hash_kv::NAME,
    headers::NAME,
];

/// What the oracles must know about the cluster and the run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Voting members at first: numbers 1 to this.
    pub voters: usize,
    /// The configured election timeout.
    pub election_timeout_nanos: u64,
    /// How much too fast a clock may run, in parts per million: what is timed by it may come so much early.
    pub fast_ppm: u64,
    /// How much too slow, less than a million: what is timed by it may come late.
    pub slow_ppm: u64,
    /// What a lease may outlive its time by, elections apart.
    pub lease_slack_nanos: u64,
    /// How long a deposed leader may go on answering time-to-live.
    pub stale_leader_nanos: u64,
    /// In quiet, an event reaches every open watch within this.
    pub watch_delivery_nanos: u64,
    /// A watch's reader may be late by so much in all, by pauses of its own.
    pub watch_reader_nanos: u64,
    /// The server's watch progress interval; 0: bookmarks are not expected.
    pub watch_progress_nanos: u64,
    /// Use only what clients and the environment see.
    pub black_box_only: bool,
    /// Oracles to leave out, by name.
    pub off: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            voters: 3,
            election_timeout_nanos: NANOS_PER_SECOND,
            fast_ppm: 0,
            slow_ppm: 0,
            lease_slack_nanos: 3 * NANOS_PER_SECOND,
            stale_leader_nanos: 4 * NANOS_PER_SECOND,
            watch_delivery_nanos: 2 * NANOS_PER_SECOND,
            watch_reader_nanos: 0,
            watch_progress_nanos: 0,
            black_box_only: false,
            off: Vec::new(),
        }
    }
}

/// The end of the run.
#[derive(Clone, Debug, Default)]
pub struct Finish {
    /// A read of the whole key space on each member, called after everything else had ended.
    pub reads: Vec<FinalRead>,
    /// Each member's HashKV, likewise.
    pub hashes: Vec<HashKv>,
    /// No client waits longer than this for an answer, whatever happens. `None`: some may.
    pub patience_nanos: Option<u64>,
}

/// The verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was broken, earliest first. Empty: all held.
    pub violations: Vec<Violation>,
    /// The newest revision.
    pub revision: Revision,
    /// Per client.
    pub clients: BTreeMap<ClientId, ClientStats>,
    /// State hashes that came too late to be compared.
    pub hashes_unchecked: u64,
}

/// What the suite remembers of an open call.
#[derive(Clone, Debug)]
struct Called {
    at: Moment,
    client: ClientId,
    member: MemberId,
    asked: Option<Asked>,
    /// Its answer's header names a revision that was read or made.
    shows: bool,
    lease: LeaseCall,
}

/// The suite.
#[derive(Clone, Debug)]
pub struct Oracles {
    black_box_only: bool,
    off: BTreeSet<&'static str>,
    /// Oracles that have found something.
    spoken: BTreeSet<&'static str>,
    violations: Vec<Violation>,
    calls: BTreeMap<OpId, Called>,
    calm: Option<Moment>,
    /// The newest term that an answer named.
    told_term: Term,
    settled: Revision,
    linearizable: Linearizable,
    watches: Watches,
    leases: Leases,
    raft: Raft,
    state_hash: StateHash,
    ledger: Ledger,
    availability: Availability,
    headers: Headers,
}

impl Oracles {
    /// Oracles for a new cluster with an empty store. `Err`: an unknown name in `config.off`.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut off = BTreeSet::new();
        for name in &config.off {
            match NAMES.iter().find(|known| *known == name) {
                Some(known) => off.insert(*known),
                None => return Err(format!("no oracle is called {name:?}; there are {}", NAMES.join(", "))),
            };
        }
        let white_box = !config.black_box_only;
        Ok(Oracles {
            black_box_only: config.black_box_only,
            off,
            spoken: BTreeSet::new(),
            violations: Vec::new(),
            calls: BTreeMap::new(),
            calm: Some(Moment::default()),
            told_term: Term::default(),
            settled: Revision::FIRST,
            linearizable: Linearizable::new(config.fast_ppm),
            watches: Watches::new(WatchConfig {
                delivery_nanos: config.watch_delivery_nanos,
                reader_nanos: config.watch_reader_nanos,
                progress_interval_nanos: slowest(config.watch_progress_nanos, config.slow_ppm),
            }),
            leases: Leases::new(LeaseConfig {
                fast_ppm: config.fast_ppm,
                slow_ppm: config.slow_ppm,
                election_nanos: 2 * config.election_timeout_nanos,
                slack_nanos: config.lease_slack_nanos,
                stale_leader_nanos: config.stale_leader_nanos,
                white_box,
            }),
            raft: Raft::new(config.voters),
            state_hash: StateHash::default(),
            ledger: Ledger::new(config.voters),
            availability: Availability::new(
                AvailabilityConfig { election_timeout_nanos: config.election_timeout_nanos, white_box },
                config.voters,
            ),
            headers: Headers::default(),
        })
    }

    /// What was broken so far, earliest first.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The replayed truth and what is known about its order.
    pub fn truth(&self) -> &Linearizable {
        &self.linearizable
    }

    /// What clients felt so far.
    pub fn clients(&self) -> &BTreeMap<ClientId, ClientStats> {
        self.availability.clients()
    }

    /// Something happened. Moments must not go back.
    pub fn observe(&mut self, at: Moment, observation: Observation) {
        if self.black_box_only && !observation.is_black_box() {
            return;
        }
        self.dispatch(at, observation);
        self.settle(at);
        self.ask(availability::NAME, |all| all.availability.advance(at));
    }

    /// From when on, without more load or faults, it can be said of every open watch whether it caught up, and of every
    /// lease that has to end by `latest` whether it did.
    pub fn judged_from(&self, latest: u64) -> Option<u64> {
        let calm = self.calm?;
        let watches = self.watches.judged_from(calm, &self.linearizable);
        watches.max(self.leases.judged_from(latest))
    }

    /// The run is over.
    pub fn finish(&mut self, at: Moment, finish: &Finish) -> Report {
        self.ask(linearizable::NAME, |all| all.linearizable.finish(at, &finish.reads));
        self.ask(hash_kv::NAME, |_| hash_kv::agree(at, &finish.hashes));
        self.ask(watch::NAME, |all| all.watches.finish(at, all.calm, &all.linearizable));
        self.ask(lease::NAME, |all| all.leases.finish(at, &all.linearizable));
        self.ask(availability::NAME, |all| all.availability.finish(at));
        if let Some(patience) = finish.patience_nanos {
            self.ask(availability::NAME, |all| all.nobody_waits(at, patience));
        }
        Report {
            violations: self.violations.clone(),
            revision: self.linearizable.model().head(),
            clients: self.availability.clients().clone(),
            hashes_unchecked: self.state_hash.unchecked(),
        }
    }

    /// Every operation was answered or given up, as long as there was time for that.
    fn nobody_waits(&self, at: Moment, patience: u64) -> Verdict {
        let Some((op, called)) = self.calls.iter().find(|(_, called)| called.at.nanos + patience < at.nanos) else {
            return Ok(());
        };
        let Called { at: since, client, member, .. } = called;
        let message = format!("{op} of {client}, sent to {member} at {since}, was neither answered nor given up");
        Err(Violation::new(availability::NAME, at, message).with([Related::Op(*op)]))
    }

    /// Asks one oracle, unless it is off or has spoken.
    fn ask(&mut self, name: &'static str, question: impl FnOnce(&mut Self) -> Verdict) {
        // The truth is replayed even when nobody wants its verdict: others compare with it.
        let muted = self.off.contains(name);
        if (muted && name != linearizable::NAME) || self.spoken.contains(name) {
            return;
        }
        if let Err(violation) = question(self) {
            self.spoken.insert(name);
            if !muted {
                self.violations.push(*violation);
            }
        }
    }

    /// Oracles that wait for the truth go on as far as it reaches.
    fn settle(&mut self, at: Moment) {
        self.ask(watch::NAME, |all| all.watches.settle(at, &all.linearizable));
        let head = self.linearizable.model().head();
        if self.settled < head {
            self.settled = head;
            self.ask(lease::NAME, |all| all.leases.settle(at, &all.linearizable));
        }
    }

    fn dispatch(&mut self, at: Moment, observation: Observation) {
        use Observation::*;
        match observation {
            Call { op, client, member, request } => self.call(at, op, client, member, request),
            Return { op, outcome } => self.returned(at, op, outcome),
            Disturbed => {
                self.calm = None;
                self.leases.disturbed();
                self.availability.disturbed();
            }
            Calm => {
                self.calm = Some(at);
                self.leases.calm(at);
                self.availability.calm(at);
            }
            Booted { member, found } => {
                self.availability.booted(at, member);
                self.headers.booted(member);
                if !self.black_box_only {
                    self.ask(raft::NAME, |all| all.raft.booted(at, member, found));
                    self.ask(ledger::NAME, |all| all.ledger.booted(at, member, found));
                }
            }
            Stopping { member } => self.availability.stopping(member),
            Stopped { member } => self.availability.stopped(member),
            Term { member, term } => self.ask(raft::NAME, |all| all.raft.term(at, member, term)),
            Elected { member, term } => {
                self.availability.elected(member);
                self.leases.elected(at);
                self.ask(raft::NAME, |all| all.raft.elected(at, member, term));
            }
            SteppedDown { member } => {
                self.availability.stepped_down(member);
                self.raft.stepped_down(member);
            }
            Appended { member, index, term, payload } => {
                self.ledger.placed(member, index, term);
                self.ask(raft::NAME, |all| all.raft.appended(at, member, index, term, payload));
            }
            Configured { index, term, configuration } => {
                self.ledger.configured(index, term, configuration.clone());
                self.availability.configured(index, term, configuration.clone());
                self.raft.configured(index, term, configuration);
            }
            Replaced { member } => {
                let gone = member.before();
                self.raft.replaced(member, gone);
                self.ledger.replaced(member, gone);
                self.availability.replaced(member, gone);
            }
            SnapshotInstalled { member, index, term } => {
                self.ledger.snapshot_installed(member, index);
                self.ask(raft::NAME, |all| all.raft.snapshot_installed(at, member, index, term));
            }
            StateReplaced { member, index } => {
                self.ask(raft::NAME, |all| all.raft.state_replaced(at, member, index));
            }
            Committed { member, index } => {
                self.ask(raft::NAME, |all| all.raft.committed(at, member, index));
                self.ask(ledger::NAME, |all| all.ledger.committed(at, member, index));
            }
            Applied { member, applied } => self.applied(at, member, &applied),
            Durable { member, stored } => self.ask(ledger::NAME, |all| all.ledger.durable(at, member, stored)),
            Promised { member, promise } => {
                self.ask(ledger::NAME, |all| all.ledger.outgoing(at, member, promise));
                self.ask(raft::NAME, |all| all.raft.promised(at, member, promise));
            }
            watch => self.watch(at, watch),
        }
    }

    fn call(&mut self, at: Moment, op: OpId, client: ClientId, member: MemberId, request: Request) {
        let asked = request.asks();
        let lease = LeaseCall::of(&request);
        let shows = matches!(request, Request::Put(_) | Request::Range(_) | Request::DeleteRange(_) | Request::Txn(_));
        self.availability.call(at, client, member, asked);
        self.leases.call(&lease);
        self.headers.call(op, member);
        self.calls.insert(op, Called { at, client, member, asked, shows, lease });
        self.ask(linearizable::NAME, |all| all.linearizable.call(at, op, request));
    }

    fn returned(&mut self, at: Moment, op: OpId, outcome: Outcome) {
        let header = if let Outcome::Ok(header, _) = &outcome { Some(*header) } else { None };
        self.ask(headers::NAME, |all| all.headers.returned(at, op, header));
        if let Outcome::Ok(header, _) = &outcome
            && self.told_term < header.term
        {
            self.told_term = header.term;
            // All that clients see of an election, however long there was no leader before it.
            if self.black_box_only {
                self.leases.elected(at);
            }
        }
        if let Some(Called { at: called, client, member, asked, shows, lease }) = self.calls.remove(&op) {
            self.availability.returned(at, called, client, member, asked, &outcome);
            if let Outcome::Ok(header, _) = &outcome
                && shows
                && !self.black_box_only
            {
                let promise = Promise::Answer { revision: header.revision };
                self.ask(ledger::NAME, |all| all.ledger.outgoing(at, header.member, promise));
            }
            if lease != LeaseCall::Other {
                self.ask(lease::NAME, |all| all.leases.returned(at, called, &lease, &outcome, &all.linearizable));
            }
        }
        self.ask(linearizable::NAME, |all| all.linearizable.returned(at, op, outcome));
    }

    fn applied(&mut self, at: Moment, member: MemberId, applied: &crate::observation::Applied) {
        self.ledger.applied(applied);
        self.availability.applied(applied.index, applied.term);
        self.ask(raft::NAME, |all| all.raft.applied(at, member, applied.index, applied.term));
        if let Some(hash) = applied.hash {
            self.ask(state_hash::NAME, |all| all.state_hash.applied(at, member, applied.index, hash));
        }
        if let Cause::LeaseRevoked(lease) = applied.cause {
            self.ask(lease::NAME, |all| all.leases.ended(at, applied.index, lease));
        }
        self.ask(linearizable::NAME, |all| all.linearizable.applied(at, applied));
    }

    fn watch(&mut self, at: Moment, observation: Observation) {
        use Observation::*;
        let (revision, seen) = match &observation {
            WatchCreated { header, .. } | WatchProgress { header, .. } => (Some(header.revision), &[][..]),
            WatchEvents { header, events, .. } => (Some(header.revision), &events[..]),
            _ => (None, &[][..]),
        };
        self.ask(headers::NAME, |all| all.headers.observe(at, &observation));
        if let Some(revision) = revision {
            self.ask(linearizable::NAME, |all| all.linearizable.watched(at, revision, seen));
        }
        self.ask(watch::NAME, |all| {
            let (watches, truth) = (&mut all.watches, &all.linearizable);
            let head = truth.model().head();
            match observation {
                WatchOpen { watch, stream, member, request, resumes } => {
                    watches.open(at, watch, stream, member, request, resumes, truth)
                }
                WatchCreated { watch, watch_id, header } => watches.created(at, watch, watch_id, header),
                WatchEvents { watch, header, events, fragment } => {
                    watches.events(at, watch, header, events, fragment, head)
                }
                WatchProgress { stream, watch, header } => {
                    watches.progress(at, stream, watch, header, head)?;
                    all.calm.map_or(Ok(()), |calm| watches.idle(at, stream, calm, truth))
                }
                WatchCancel { watch } => watches.cancel(at, watch),
                WatchCanceled { watch, compact_revision, reason } => {
                    watches.canceled(at, watch, compact_revision, &reason, truth)
                }
                WatchClosed { watch } => watches.closed(at, watch),
                WatchStray { stream, member, watch_id, what } => Err(watch::stray(at, stream, member, watch_id, what)),
                other => unreachable!("{other:?} is no watch observation"),
            }
        });
        let shown = self.watches.take_shown();
        if !shown.is_empty() {
            self.ask(linearizable::NAME, |all| {
                shown.into_iter().for_each(|(cover, events)| all.linearizable.covered(cover, &events));
                all.linearizable.advance(at)
            });
        }
    }
}

/// What an interval may be on a clock that runs slow.
pub(crate) fn slowest(nanos: u64, slow_ppm: u64) -> u64 {
    const WHOLE: u64 = 1_000_000;
    let rate = WHOLE.saturating_sub(slow_ppm).max(1);
    u64::try_from(u128::from(nanos) * u128::from(WHOLE) / u128::from(rate)).unwrap_or(u64::MAX)
}
