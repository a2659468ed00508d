//! Where everything a run shows comes together: the event log, the oracles, and what expressions may ask about.
//!
//! One lock, one thread: it is never waited for. Every report gets the next moment, so that no two are equal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_check::history::{Asked, Outcome, Request};
use evenkeel_check::observation::Observation;
use evenkeel_check::{ClientId, MemberId, Moment, OpId, Oracles, Violation};
use evenkeel_scenario::Nanos;
use evenkeel_scenario::expr::Event;
use serde_json::{Value as Json, json};

use super::coverage::Coverage;
use super::points::Points;
use super::stats::Stats;
use super::{told, words};
use crate::chain::{Field, Value};
use crate::report::SharedRecorder;
use crate::timer::Time;

/// A handle to the run's record.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Mutex<Inner>>,
    recorder: SharedRecorder,
    time: Time,
    points: Arc<Points>,
    coverage: Arc<Coverage>,
}

/// What the handle leads to.
pub struct Inner {
    /// The oracles.
    pub oracles: Oracles,
    /// What happened so far, for expressions.
    pub happenings: Vec<Event>,
    /// How clients fare.
    pub stats: Stats,
    /// What the cluster has agreed on, as of the newest entry that says so.
    pub agreed: Agreed,
    releases: BTreeMap<u64, &'static str>,
    sequence: u64,
    operations: u64,
    /// When all faults ended for good.
    healed: Option<Duration>,
    /// The violation is in the event log.
    broken: bool,
}

/// What the cluster has agreed on about versions.
#[derive(Clone, Debug, Default)]
pub struct Agreed {
    index: u64,
    /// The cluster version, such as `3.6`.
    pub version: Option<String>,
    /// A downgrade is under way.
    pub downgrade: bool,
}

impl Feed {
    /// An empty record of a run with so many groups of clients.
    pub fn new(recorder: SharedRecorder, oracles: Oracles, groups: usize, time: Time) -> Feed {
        let inner = Inner {
            oracles,
            happenings: Vec::new(),
            stats: Stats::new(groups),
            agreed: Agreed::default(),
            releases: BTreeMap::new(),
            sequence: 0,
            operations: 0,
            healed: None,
            broken: false,
        };
        Feed { inner: Arc::new(Mutex::new(inner)), recorder, time, points: Arc::default(), coverage: Arc::default() }
    }

    /// The run's clock.
    pub fn time(&self) -> &Time {
        &self.time
    }

    /// The points in the code, and who waits for them.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// Where the run has come.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Time since the run began.
    pub fn now(&self) -> Duration {
        self.time.now()
    }

    /// The record itself.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the event log.
    pub fn log(&self, kind: &'static str, fields: &[Field<'_>]) {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).event(self.now(), kind, fields);
    }

    /// Adds a line of which the trace tells more; see [`crate::chain::Recorder::event_with`].
    pub fn log_with(&self, kind: &'static str, fields: &[Field<'_>], detail: impl FnOnce() -> Json) {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).event_with(self.now(), kind, fields, detail);
    }

    /// Notes something in the trace only; see [`crate::chain::Recorder::aside`].
    pub fn aside(&self, kind: &'static str, detail: impl FnOnce() -> Json) {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).aside(self.now(), kind, detail);
    }

    /// Tells the oracles.
    pub fn observe(&self, observation: Observation) {
        self.tell_watch(&observation);
        self.tell(&mut self.lock(), self.now(), observation);
    }

    fn tell(&self, inner: &mut Inner, now: Duration, observation: Observation) {
        inner.observe(now, observation);
        if !inner.broken
            && let Some(violation) = inner.oracles.violations().first()
        {
            inner.broken = true;
            let related: Vec<String> = violation.related.iter().map(ToString::to_string).collect();
            let (oracle, at) = (violation.oracle, violation.at.nanos);
            self.violated(oracle, || json!({"at_ns": at, "message": violation.message, "related": related}));
        }
    }

    /// A promise or an expectation is broken, unless that was told before.
    pub fn broken(&self, what: &str, at: Duration, message: &str) {
        if !std::mem::replace(&mut self.lock().broken, true) {
            self.violated(what, || json!({"at_ns": at.as_nanos() as u64, "message": message, "related": []}));
        }
    }

    fn violated(&self, what: &str, detail: impl FnOnce() -> Json) {
        self.log_with("violation", &[("what", Value::Text(what))], detail);
    }

    /// What a client sees of its watches, in the event log.
    fn tell_watch(&self, observation: &Observation) {
        match observation {
            Observation::WatchOpen { watch, member, request, resumes, .. } => {
                let what = told::watched(request);
                let fields = [
                    ("watch", Value::U64(watch.0)),
                    ("node", Value::U64(member.0)),
                    ("what", Value::Text(&what)),
                    ("resumes", Value::U64(resumes.map_or(0, |before| before.0))),
                ];
                self.log("watch", &fields);
            }
            Observation::WatchEvents { watch, events, .. } => {
                let last = events.last().map_or(0, |event| event.kv.modified.0);
                let fields = [
                    ("watch", Value::U64(watch.0)),
                    ("count", Value::U64(events.len() as u64)),
                    ("revision", Value::I64(last)),
                ];
                self.log_with("watch_events", &fields, || json!({"text": words::events(events)}));
            }
            Observation::WatchCanceled { watch, compact_revision, reason } => {
                let fields = [
                    ("watch", Value::U64(watch.0)),
                    ("compacted", Value::I64(compact_revision.0)),
                    ("reason", Value::Text(reason)),
                ];
                self.log("watch_canceled", &fields);
            }
            _ => {}
        }
    }

    /// Notes something for expressions, and in the event log. Gives its place, to end it later.
    pub fn happened(&self, name: &str, node: Option<u64>) -> usize {
        self.note(Event {
            name: name.to_owned(),
            at: self.nanos(),
            until: Some(self.nanos()),
            node,
            step: None,
            fields: BTreeMap::new(),
        })
    }

    /// As [`Feed::happened`], with everything given.
    pub fn note(&self, event: Event) -> usize {
        let fields = [
            ("what", Value::Text(&event.name)),
            ("node", Value::U64(event.node.unwrap_or(0))),
            ("step", Value::Text(event.step.as_deref().unwrap_or(""))),
        ];
        self.log_with("happened", &fields, || {
            let known = event.fields.iter().map(|(name, value)| (name.clone(), Json::from(value.to_string())));
            known.collect::<serde_json::Map<_, _>>().into()
        });
        let mut inner = self.lock();
        inner.happenings.push(event);
        inner.happenings.len() - 1
    }

    /// Something that lasted has ended.
    pub fn ended(&self, place: usize) {
        let now = self.nanos();
        self.lock().happenings[place].until = Some(now);
    }

    /// Something goes on until [`Feed::ended`].
    pub fn goes_on(&self, place: usize) {
        self.lock().happenings[place].until = None;
    }

    /// A member runs at this release.
    pub fn runs(&self, node: u64, release: &'static str) {
        self.lock().releases.insert(node, release);
    }

    /// The release a member ran at last.
    pub fn release_of(&self, node: u64) -> Option<&'static str> {
        self.lock().releases.get(&node).copied()
    }

    /// A member applied the entry at `index`, which says this. True when a downgrade begins with it.
    pub fn agreed(&self, index: u64, version: Option<String>, downgrade: bool) -> bool {
        let mut inner = self.lock();
        // A member that lags, or reads its log again, knows nothing newer.
        if index <= inner.agreed.index {
            return false;
        }
        let begins = downgrade && !inner.agreed.downgrade;
        inner.agreed = Agreed { index, version, downgrade };
        begins
    }

    /// All faults have ended for good.
    pub fn healed(&self) {
        let now = self.now();
        self.lock().healed.get_or_insert(now);
    }

    /// What a group of clients has still to see answered before it is healed, if all faults have ended.
    pub fn owed(&self, group: usize) -> Option<Asked> {
        let now = self.now();
        let inner = self.lock();
        inner.stats.group(group).owed(inner.healed?, now)
    }

    /// The present moment in the language's unit.
    pub fn nanos(&self) -> Nanos {
        Nanos(self.now().as_nanos() as i64)
    }

    /// The first broken promise, if any.
    pub fn violation(&self) -> Option<Violation> {
        self.lock().oracles.violations().first().cloned()
    }

    /// A client sends a request.
    pub fn call(&self, group: usize, client: ClientId, member: MemberId, request: &Request) -> OpId {
        let now = self.now();
        let mut inner = self.lock();
        inner.operations += 1;
        let op = OpId(inner.operations);
        let what = told::asked(request);
        let fields = [
            ("op", Value::U64(op.0)),
            ("client", Value::U64(client.0)),
            ("node", Value::U64(member.0)),
            ("request", Value::Text(kind_of(request))),
            ("what", Value::Text(&what)),
        ];
        self.log_with("call", &fields, || {
            let (text, keys) = words::request(request);
            json!({"text": text, "keys": keys, "group": group, "local": request.is_serializable()})
        });
        inner.stats.called(group, op, now, request);
        self.tell(&mut inner, now, Observation::Call { op, client, member, request: request.clone() });
        op
    }

    /// A request of a client has ended.
    pub fn returned(&self, op: OpId, outcome: Outcome) {
        let now = self.now();
        let mut inner = self.lock();
        let (result, revision) = match &outcome {
            Outcome::Ok(header, _) => ("ok", header.revision.0),
            Outcome::Unknown(doubt) => (doubt_name(*doubt), 0),
            Outcome::DefinitelyNot(_) => ("refused", 0),
        };
        let answer = told::answered(&outcome);
        let fields = [
            ("op", Value::U64(op.0)),
            ("result", Value::Text(result)),
            ("revision", Value::I64(revision)),
            ("answer", Value::Text(&answer)),
        ];
        self.log_with("return", &fields, || json!({"text": words::outcome(&outcome)}));
        inner.stats.returned(op, now, &outcome);
        self.tell(&mut inner, now, Observation::Return { op, outcome });
    }
}

impl Inner {
    fn observe(&mut self, now: Duration, observation: Observation) {
        let moment = self.moment(now);
        self.oracles.observe(moment, observation);
    }

    /// The next moment.
    pub fn moment(&mut self, now: Duration) -> Moment {
        self.sequence += 1;
        Moment::new(now.as_nanos() as u64, self.sequence)
    }
}

/// The word for a request in the event log.
pub fn kind_of(request: &Request) -> &'static str {
    match request {
        Request::Put(_) => "put",
        Request::Range(_) => "range",
        Request::DeleteRange(_) => "delete",
        Request::Txn(_) => "txn",
        Request::Compact { .. } => "compact",
        Request::LeaseGrant { .. } => "lease_grant",
        Request::LeaseRevoke { .. } => "lease_revoke",
        Request::LeaseKeepAlive { .. } => "keep_alive",
        Request::LeaseTimeToLive { .. } => "time_to_live",
        Request::LeaseLeases => "leases",
    }
}

/// The word for an unknown outcome, as expressions use it.
pub fn doubt_name(doubt: evenkeel_check::history::Doubt) -> &'static str {
    use evenkeel_check::history::Doubt;
    match doubt {
        Doubt::Timeout => "timeout",
        Doubt::Unavailable => "unavailable",
        Doubt::ConnectionReset => "connection_reset",
        Doubt::LeaderChanged => "leader_changed",
        Doubt::Stopped => "stopped",
        Doubt::Cancelled => "cancelled",
        Doubt::Other => "other",
    }
}
