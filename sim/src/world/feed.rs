//! Where everything a run shows comes together: the event log, the oracles, and what expressions may ask about.
//!
//! One lock, one thread: it is never waited for. Every report gets the next moment, so that no two are equal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use evenkeel_check::history::{Outcome, Request};
use evenkeel_check::observation::Observation;
use evenkeel_check::{ClientId, MemberId, Moment, OpId, Oracles, Violation};

use super::stats::Stats;
use crate::chain::{Field, Recorder, Value};
use crate::timer::SimTime;

/// Something expressions can count and place in time.
#[derive(Clone, Debug)]
pub struct Happening {
    /// When.
    pub at: Duration,
    /// The registered event.
    pub name: &'static str,
    /// The member it is about.
    pub node: Option<u64>,
    /// Further facts, such as the releases of a snapshot.
    pub facts: BTreeMap<&'static str, String>,
}

/// A handle to the run's record.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Mutex<Inner>>,
    time: SimTime,
}

/// What the handle leads to.
pub struct Inner {
    /// The event log.
    pub recorder: Recorder,
    /// The oracles.
    pub oracles: Oracles,
    /// What happened so far, for expressions.
    pub happenings: Vec<Happening>,
    /// How clients fare.
    pub stats: Stats,
    /// The first broken promise.
    pub violation: Option<Box<Violation>>,
    sequence: u64,
    operations: u64,
}

impl Feed {
    /// An empty record.
    pub fn new(recorder: Recorder, oracles: Oracles, time: SimTime) -> Feed {
        let inner = Inner {
            recorder,
            oracles,
            happenings: Vec::new(),
            stats: Stats::default(),
            violation: None,
            sequence: 0,
            operations: 0,
        };
        Feed { inner: Arc::new(Mutex::new(inner)), time }
    }

    /// The run's clock.
    pub fn time(&self) -> &SimTime {
        &self.time
    }

    /// Time since the run began.
    pub fn now(&self) -> Duration {
        self.time.now()
    }

    /// The record itself.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a line to the event log.
    pub fn log(&self, kind: &'static str, fields: &[Field<'_>]) {
        let now = self.now();
        self.lock().recorder.event(now, kind, fields);
    }

    /// Tells the oracles.
    pub fn observe(&self, observation: Observation) {
        let now = self.now();
        self.lock().observe(now, observation);
    }

    /// Notes something for expressions, and in the event log.
    pub fn happened(&self, name: &'static str, node: Option<u64>) {
        self.happened_with(name, node, BTreeMap::new());
    }

    /// As [`Feed::happened`], with facts.
    pub fn happened_with(&self, name: &'static str, node: Option<u64>, facts: BTreeMap<&'static str, String>) {
        let now = self.now();
        let mut inner = self.lock();
        inner.recorder.event(now, name, &[("node", Value::U64(node.unwrap_or(0)))]);
        inner.happenings.push(Happening { at: now, name, node, facts });
    }

    /// A client sends a request.
    pub fn call(&self, group: usize, client: ClientId, member: MemberId, request: &Request) -> OpId {
        let now = self.now();
        let mut inner = self.lock();
        inner.operations += 1;
        let op = OpId(inner.operations);
        let fields = [
            ("op", Value::U64(op.0)),
            ("client", Value::U64(client.0)),
            ("node", Value::U64(member.0)),
            ("request", Value::Text(kind_of(request))),
        ];
        inner.recorder.event(now, "call", &fields);
        inner.stats.called(group, op, now, request);
        inner.observe(now, Observation::Call { op, client, member, request: request.clone() });
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
        let fields = [("op", Value::U64(op.0)), ("result", Value::Text(result)), ("revision", Value::I64(revision))];
        inner.recorder.event(now, "return", &fields);
        inner.stats.returned(op, now, &outcome);
        inner.observe(now, Observation::Return { op, outcome });
    }
}

impl Inner {
    fn observe(&mut self, now: Duration, observation: Observation) {
        if self.violation.is_some() {
            return;
        }
        let moment = self.moment(now);
        if let Err(violation) = self.oracles.observe(moment, observation) {
            self.violation = Some(violation);
        }
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
