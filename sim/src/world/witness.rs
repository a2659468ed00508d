//! What is known of one member, and what follows from it: a change of its standing is an election, or a leader's end.
//!
//! A simulated member reports all of it itself (its server is told to look there); a real one is asked again and again.

use std::sync::Mutex;
use std::time::Duration;

use evenkeel_check::observation::Observation;
use evenkeel_check::{MemberId, Term};
use evenkeel_raft::Standing;
use evenkeel_raft::ready::Role;
use evenkeel_scenario::{Event as Happening, Value as Told};

use super::feed::Feed;
use super::names::Names;
use crate::chain::Value;

/// What expressions may ask about one member, as last reported.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Term, role, leader.
    pub standing: Standing,
    /// Commit index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// Store revision.
    pub revision: i64,
    /// State hash.
    pub state_hash: u128,
    /// It serves clients.
    pub ready: bool,
    /// Why its server gave up.
    pub fatal: Option<String>,
    /// The release it runs at, such as `3.6`.
    pub release: Option<&'static str>,
    /// The level of its stored data.
    pub storage: Option<&'static str>,
    /// The migration of its stored data that goes on: its place among what happened.
    pub(crate) migration: Option<usize>,
    /// When entries entered its log, and how many.
    pub appended: Vec<(Duration, u64)>,
    /// Snapshots it sent that were taken.
    pub snapshots_sent: u64,
    /// The most entries its log has held in memory.
    pub log_entries: u64,
    /// The most payload bytes.
    pub log_bytes: u64,
}

/// So many of the newest appends are known one by one; older ones count as one.
const APPENDS_KEPT: usize = 1 << 16;

impl Seen {
    /// Entries enter its log.
    pub(crate) fn appended(&mut self, at: Duration, entries: u64) {
        self.appended.push((at, entries));
        if APPENDS_KEPT < self.appended.len() {
            let older: u64 = self.appended.drain(..APPENDS_KEPT / 4).map(|(_, count)| count).sum();
            self.appended[0].1 += older;
        }
    }
}

/// One member's witness; lives as long as the run, over restarts of the member.
pub struct Witness {
    pub(crate) number: MemberId,
    pub(crate) feed: Feed,
    pub(crate) names: Names,
    seen: Mutex<Seen>,
}

impl Witness {
    /// Of the member with this number nothing is known yet.
    pub fn new(number: u64, feed: Feed, names: Names) -> Witness {
        Witness { number: MemberId(number), feed, names, seen: Mutex::default() }
    }

    /// Looks at what was reported last.
    pub fn with<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("one thread"))
    }

    /// Term, role and leader.
    pub fn standing(&self) -> Standing {
        self.with(|seen| seen.standing)
    }

    /// The process is gone: nothing it reported about its standing holds any more.
    pub fn stopped(&self) {
        let led = {
            let mut seen = self.seen.lock().expect("one thread");
            let led = seen.standing.role == Role::Leader;
            seen.migration.take().into_iter().for_each(|place| self.feed.ended(place));
            seen.standing = Standing { term: seen.standing.term, ..Standing::default() };
            seen.ready = false;
            led
        };
        if led {
            self.feed.observe(Observation::SteppedDown { member: self.number });
        }
        self.feed.observe(Observation::Stopped { member: self.number });
    }

    /// The process is asked to stop. It may take as long as a request may, serving nobody: nobody counts on it any more.
    pub fn stopping(&self) {
        self.feed.observe(Observation::Stopping { member: self.number });
    }

    /// The server would not start.
    pub fn refused(&self, reason: &str) {
        self.change(|seen| seen.fatal = Some(reason.to_owned()));
        self.exited();
        self.feed.log("refused", &[("node", Value::U64(self.number.0)), ("reason", Value::Text(reason))]);
    }

    /// Something new is known.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().expect("one thread"));
    }

    /// The server ended by itself, and not because it was asked to. It serves nobody until it is started again.
    pub(crate) fn exited(&self) {
        self.feed.observe(Observation::Stopped { member: self.number });
        self.happened("exit", [("code", Told::Number(1.0))]);
    }

    /// Something happened at this member. Gives its place among what happened.
    pub(crate) fn happened<const N: usize>(&self, name: &str, fields: [(&str, Told); N]) -> usize {
        self.feed.note(Happening {
            name: name.to_owned(),
            at: self.feed.nanos(),
            until: Some(self.feed.nanos()),
            node: Some(self.number.0),
            step: None,
            fields: fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect(),
        })
    }

    /// Its term, role or leader are these now.
    pub(crate) fn stands(&self, standing: Standing) {
        let before = self.standing();
        self.change(|seen| seen.standing = standing);
        self.feed.coverage().stands(self.number.0, standing.role);
        let member = self.number;
        self.feed.log(
            "standing",
            &[
                ("node", Value::U64(member.0)),
                ("term", Value::U64(standing.term.0)),
                ("role", Value::Text(role_name(standing.role))),
                ("leader", Value::U64(standing.leader.map_or(0, |id| self.names.number(id.0)))),
            ],
        );
        if before.term < standing.term {
            self.feed.observe(Observation::Term { member, term: Term(standing.term.0) });
        }
        let (led, leads) = (before.role == Role::Leader, standing.role == Role::Leader);
        if led && (!leads || before.term != standing.term) {
            self.feed.observe(Observation::SteppedDown { member });
            self.feed.happened("step_down", Some(member.0));
        }
        if leads && (!led || before.term != standing.term) {
            self.feed.observe(Observation::Elected { member, term: Term(standing.term.0) });
            let release = self.with(|seen| seen.release).unwrap_or_default();
            let fields = [("term", Told::Number(standing.term.0 as f64)), ("release", Told::Text(release.into()))];
            self.happened("elected", fields);
        }
    }
}

/// The word for a role.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}
