//! The look inside a member: what its server reports becomes observations, happenings and lines of the event log.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use evenkeel::env::{Event, Observer};
use evenkeel_check::model::{Live, Write};
use evenkeel_check::observation::{Applied, Booted, Cause, Observation, Stored};
use evenkeel_check::{Index, LeaseId, MemberId, Revision, Term};
use evenkeel_mvcc::EventKind;
use evenkeel_raft::{HardState, Payload, Standing};
use evenkeel_scenario::Value as Told;
use serde_json::json;

use super::feed::Feed;
use super::names::Names;
use super::points::Pause;
use super::witness::Witness;
use super::words;
use crate::chain::Value;
use crate::disk::SimDisk;

/// Of what one entry wrote, so much is told in a trace.
const WRITES_TOLD: usize = 6;

/// One member's reporter; lives as long as the run, over restarts of the member.
pub struct Look {
    witness: Witness,
    disk: SimDisk,
    /// Written, but the disk did not have it for good when it was last asked.
    undurable: Mutex<Vec<Batch>>,
}

struct Batch {
    segment: u32,
    offset: u64,
    len: u64,
    stored: Vec<Stored>,
}

impl Deref for Look {
    type Target = Witness;

    fn deref(&self) -> &Witness {
        &self.witness
    }
}

impl Look {
    /// A reporter for the member with this number.
    pub fn new(number: u64, feed: Feed, names: Names, disk: SimDisk) -> Arc<Look> {
        Arc::new(Look { witness: Witness::new(number, feed, names), disk, undurable: Mutex::default() })
    }

    /// The process is gone: nothing it reported about its standing holds any more.
    pub fn stopped(&self) {
        self.undurable.lock().expect("one thread").clear();
        self.witness.stopped();
    }

    /// Reports what has become durable of what was written.
    fn settle(&self) {
        let mut waiting = self.undurable.lock().expect("one thread");
        let mut durable = Vec::new();
        waiting.retain_mut(|batch| {
            let file = format!("wal/{:016x}.seg", batch.segment);
            let arrived = self.disk.is_durable(&file, batch.offset, batch.len);
            if arrived {
                durable.append(&mut batch.stored);
            }
            !arrived
        });
        drop(waiting);
        if !durable.is_empty() {
            self.feed.aside("durable", || {
                let mut told = json!({"node": self.number.0});
                for stored in &durable {
                    match stored {
                        Stored::HardState { term, vote } => {
                            (told["term"], told["vote"]) = (term.0.into(), vote.map_or(0, |vote| vote.0).into());
                        }
                        Stored::Entry { index, .. } | Stored::Snapshot { index, .. } => told["index"] = index.0.into(),
                    }
                }
                told
            });
        }
        for stored in durable {
            self.feed.observe(Observation::Durable { member: self.number, stored });
        }
    }

    /// Tells who takes part from an entry on. Who is unknown so far gives its machine away by its address.
    fn configured(&self, entry: &evenkeel_raft::Entry, config: &evenkeel_raft::ConfigEntry) {
        let configuration = &config.configuration;
        for id in configuration.members() {
            if self.names.number(id.0) == 0
                && let Some(number) = addressed(&config.data)
                && self.names.learn(number, id.0)
            {
                self.feed.observe(Observation::Replaced { member: MemberId(number) });
            }
        }
        let told = |of: &std::collections::BTreeSet<evenkeel_raft::NodeId>| {
            of.iter().map(|id| self.names.known_as(id.0)).collect::<std::collections::BTreeSet<_>>()
        };
        let told = evenkeel_check::configurations::Configuration {
            voters: told(&configuration.voters),
            outgoing: told(&configuration.outgoing),
            learners: told(&configuration.learners),
        };
        self.names.set_learners(told.learners.iter().map(|member| member.0).collect());
        let text = format!("{told:?}");
        self.feed.log(
            "configured",
            &[
                ("node", Value::U64(self.number.0)),
                ("index", Value::U64(entry.index.0)),
                ("members", Value::Text(&text)),
            ],
        );
        let (index, term) = (Index(entry.index.0), Term(entry.term.0));
        self.feed.observe(Observation::Configured { index, term, configuration: told });
    }

    fn placed(
        &self,
        (segment, offset, len): (u32, u64, u64),
        hard_state: Option<HardState>,
        entries: &[evenkeel_raft::Entry],
        snapshot: Option<(evenkeel_raft::Index, evenkeel_raft::Term)>,
    ) {
        let snapshot = snapshot.map(|(index, term)| Stored::Snapshot { index: Index(index.0), term: Term(term.0) });
        let hard_state = hard_state.map(|state| Stored::HardState {
            term: Term(state.term.0),
            vote: state.vote.map(|id| MemberId(self.names.number(id.0))),
        });
        let entries = entries.iter().map(|e| Stored::Entry { index: Index(e.index.0), term: Term(e.term.0) });
        let stored = snapshot.into_iter().chain(hard_state).chain(entries).collect();
        self.undurable.lock().expect("one thread").push(Batch { segment, offset, len, stored });
        self.settle();
    }
}

impl Observer for Look {
    fn point(&self, name: &'static str) -> Option<Pause> {
        self.feed.points().visit(&self.feed, self.number.0, name)
    }

    fn observe(&self, event: Event<'_>) {
        let member = self.number;
        let node = ("node", Value::U64(member.0));
        match event {
            Event::Booted { hard_state, last_index, last_term, applied, storage, release, log } => {
                self.change(|seen| {
                    seen.standing = Standing { term: hard_state.term, ..Standing::default() };
                    seen.applied = applied.0;
                    seen.committed = applied.0;
                    seen.fatal = None;
                    seen.storage = Some(storage.minor());
                    seen.release = Some(release.minor());
                });
                self.feed.runs(member.0, release.minor());
                let fields = [node, ("term", Value::U64(hard_state.term.0)), ("last", Value::U64(last_index.0))];
                self.feed.log_with("booted", &fields, || {
                    let vote = hard_state.vote.map_or(0, |id| self.names.number(id.0));
                    let (release, storage) = (release.minor(), storage.minor());
                    json!({"vote": vote, "last_term": last_term.0, "applied": applied.0, "release": release, "storage": storage})
                });
                self.feed.happened("boot", Some(member.0));
                let found = Booted {
                    term: Term(hard_state.term.0),
                    vote: hard_state.vote.map(|id| self.names.member(id.0)),
                    last_index: Index(last_index.0),
                    last_term: Term(last_term.0),
                };
                self.feed.observe(Observation::Booted { member, found });
                // Opening the log syncs its tail: what survived without a sync is durable from here on.
                let stored = Stored::HardState { term: found.term, vote: found.vote };
                self.feed.observe(Observation::Durable { member, stored });
                for (place, (index, term)) in log.iter().enumerate() {
                    let (index, term) = (Index(index.0), Term(term.0));
                    let stored = match place {
                        0 => Stored::Snapshot { index, term },
                        _ => Stored::Entry { index, term },
                    };
                    self.feed.observe(Observation::Durable { member, stored });
                }
            }
            Event::Standing(standing) => self.stands(standing),
            Event::Appended { entries } => {
                let now = self.feed.now();
                self.change(|seen| seen.appended(now, entries.len() as u64));
                if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                    self.feed.aside("appended", || {
                        let (text, ops) = words::entries(entries, &self.names);
                        let (first, last, term) = (first.index.0, last.index.0, last.term.0);
                        json!({"node": member.0, "first": first, "last": last, "term": term, "text": text, "ops": ops})
                    });
                }
                for entry in entries {
                    if let Payload::Config(config) = &entry.payload {
                        self.configured(entry, config);
                    }
                    self.feed.observe(Observation::Appended {
                        member,
                        index: Index(entry.index.0),
                        term: Term(entry.term.0),
                        payload: payload_hash(&entry.payload),
                    });
                }
            }
            Event::Placed { segment, offset, len, hard_state, entries, snapshot } => {
                self.placed((segment, offset, len), hard_state, entries, snapshot);
            }
            Event::Committed { index } => {
                self.change(|seen| seen.committed = index.0);
                self.feed.aside("committed", || json!({"node": member.0, "index": index.0}));
                self.feed.observe(Observation::Committed { member, index: Index(index.0) });
            }
            Event::Applied { index, term, revision, state_hash, lease_revoked, changes, values, .. } => {
                self.change(|seen| {
                    seen.applied = index.0;
                    seen.revision = revision;
                    seen.state_hash = state_hash;
                });
                let fields = [
                    node,
                    ("index", Value::U64(index.0)),
                    ("term", Value::U64(term.0)),
                    ("revision", Value::I64(revision)),
                    ("state", Value::U128(state_hash)),
                ];
                let writes = changes.map(|changes| writes(changes, values));
                let cause = match lease_revoked {
                    Some(lease) => Cause::LeaseRevoked(LeaseId(lease)),
                    None => writes.as_deref().map_or(Cause::Unknown, |writes| self.names.cause(writes)),
                };
                self.feed.log_with("applied", &fields, || {
                    let writes = writes.as_deref().unwrap_or_default().iter().take(WRITES_TOLD);
                    let write = |write: &Write| {
                        let value = write.live.as_ref().map(|live| words::bytes(&live.value));
                        json!([words::bytes(&write.key), value])
                    };
                    let mut told = json!({"writes": writes.map(write).collect::<Vec<_>>()});
                    if let Cause::Operation(op) = &cause {
                        told["op"] = op.0.into();
                    }
                    told
                });
                let applied = Applied {
                    index: Index(index.0),
                    term: Term(term.0),
                    revision: Revision(revision),
                    hash: Some(state_hash as u64 ^ (state_hash >> 64) as u64),
                    cause,
                    writes,
                };
                self.feed.observe(Observation::Applied { member, applied });
            }
            Event::LogHeld { entries, bytes } => self.change(|seen| {
                seen.log_entries = seen.log_entries.max(entries);
                seen.log_bytes = seen.log_bytes.max(bytes);
            }),
            Event::Checkpoint { index, storage } => {
                self.change(|seen| seen.storage = Some(storage.minor()));
                self.feed.log("checkpoint", &[node, ("index", Value::U64(index.0))]);
                self.feed.happened("checkpoint", Some(member.0));
            }
            Event::SnapshotBegun { to, index } => {
                let to = self.names.number(to.0);
                self.feed.log("snapshot_begun", &[node, ("to", Value::U64(to)), ("index", Value::U64(index.0))]);
                self.feed.happened("snapshot_begin", Some(member.0));
            }
            Event::SnapshotSent { to, index } => {
                let to = self.names.number(to.0);
                self.feed.log("snapshot_sent", &[node, ("to", Value::U64(to)), ("index", Value::U64(index.0))]);
                self.change(|seen| seen.snapshots_sent += 1);
            }
            Event::SnapshotInstalled { index, term, revision } => {
                self.change(|seen| seen.committed = seen.committed.max(index.0));
                let fields = [node, ("index", Value::U64(index.0))];
                self.feed.log_with("snapshot_installed", &fields, || json!({"revision": revision, "term": term.0}));
                let (to, leader) = self.with(|seen| (seen.release, seen.standing.leader));
                let from = leader.and_then(|leader| self.feed.release_of(self.names.number(leader.0)));
                let text = |release: Option<&str>| Told::Text(release.unwrap_or_default().to_owned());
                self.happened("snapshot", [("from", text(from)), ("to", text(to))]);
                self.feed.observe(Observation::SnapshotInstalled { member, index: Index(index.0), term: Term(term.0) });
            }
            Event::StateReplaced { index, revision, state_hash } => {
                self.change(|seen| {
                    seen.applied = index.0;
                    seen.revision = revision;
                    seen.state_hash = state_hash;
                });
                self.feed.observe(Observation::StateReplaced { member, index: Index(index.0) });
            }
            Event::LeaseExpired { lease } => {
                self.feed.log("lease_expired", &[node, ("lease", Value::I64(lease))]);
                self.feed.happened("lease_expired", Some(member.0));
            }
            Event::ClusterVersion { version, downgrade } => {
                let minor =
                    |version: evenkeel::version::release::Version| format!("{}.{}", version.major, version.minor);
                // Told before the entry itself is.
                let index = self.with(|seen| seen.applied) + 1;
                if self.feed.agreed(index, version.map(minor), downgrade.is_some()) {
                    self.feed.happened("downgrade.enabled", None);
                }
                let text = |version: Option<_>| version.map_or_else(|| "none".to_owned(), |v| format!("{v}"));
                let (version, downgrade) = (text(version), text(downgrade));
                let fields = [node, ("version", Value::Text(&version)), ("downgrade", Value::Text(&downgrade))];
                self.feed.log("cluster_version", &fields);
            }
            Event::Migrating { from, to } => {
                let fields = [node, ("from", Value::Text(from.minor())), ("to", Value::Text(to.minor()))];
                self.feed.log("storage_migrating", &fields);
                let place = self.happened("storage.migrate", []);
                self.feed.goes_on(place);
                self.change(|seen| seen.migration = Some(place));
            }
            Event::Migrated { to } => {
                self.feed.log("storage_migrated", &[node, ("to", Value::Text(to.minor()))]);
                self.change(|seen| {
                    seen.storage = Some(to.minor());
                    seen.migration.take().into_iter().for_each(|place| self.feed.ended(place));
                });
            }
            Event::Ready => {
                self.change(|seen| seen.ready = true);
                self.feed.log("ready", &[node]);
            }
            Event::Fatal { reason } => {
                self.change(|seen| seen.fatal = Some(reason.to_owned()));
                self.exited();
                self.feed.log("fatal", &[node, ("reason", Value::Text(reason))]);
            }
        }
    }
}

/// The machine whose address occurs in what an entry tells the state machine.
fn addressed(data: &[u8]) -> Option<u64> {
    let (before, after) = (super::cluster::PEER_URL.0.as_bytes(), super::cluster::PEER_URL.1.as_bytes());
    let start = data.windows(before.len()).position(|window| window == before)? + before.len();
    let digits = data[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&data[start..start + digits]).ok()?;
    data[start + digits..].starts_with(after).then(|| number.parse().ok())?
}

fn payload_hash(payload: &Payload) -> u64 {
    let bytes: &[u8] = match payload {
        Payload::Empty => return 0,
        Payload::Data(data) => data,
        Payload::Config(config) => &config.data,
    };
    (u64::from(crc32c::crc32c(bytes)) << 32) | (bytes.len() as u64 + 1)
}

fn writes(changes: &evenkeel_mvcc::RevisionEvents, values: &evenkeel::reader::Reader) -> Vec<Write> {
    let write = |event: &evenkeel_mvcc::Event| {
        let key = event.row.key.to_vec().into();
        let live = match event.kind {
            EventKind::Delete => None,
            EventKind::Put => Some(Live {
                value: values.bytes(&event.row.value).unwrap_or_default(),
                created: Revision(event.row.create.0),
                version: event.row.version,
                lease: LeaseId(event.row.lease.0),
            }),
        };
        Write { key, live }
    };
    changes.events.iter().map(write).collect()
}
