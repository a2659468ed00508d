//! The run as expressions see it: probes answered from what members and clients reported.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_raft::ready::Role;
use evenkeel_scenario::{EvalError, EventFilter, Nanos, Occurrence, ProbeCall, Probes, Selector, Value, Window};

use super::cluster::{Cluster, Machine};
use super::feed::Feed;
use super::stats::Group;
use super::witness::Seen;

/// See the module's text.
#[derive(Clone)]
pub struct View {
    /// The members.
    pub cluster: Arc<Cluster>,
    /// The record.
    pub feed: Feed,
    /// Names given by `bind`.
    pub bound: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Client groups by id, in order.
    pub groups: Arc<Vec<String>>,
}

impl View {
    /// The member at which such an event happened last.
    pub fn last_at(&self, filter: &EventFilter) -> Option<u64> {
        let inner = self.feed.lock();
        let meant = EventFilter { name: alias(&filter.name).to_owned(), ..filter.clone() };
        let found = inner.happenings.iter().rev().find(|event| meant.matches(event, |selector| self.members(selector)));
        found.and_then(|event| event.node)
    }

    fn members(&self, selector: &Selector) -> Vec<u64> {
        let all: Vec<u64> = self.cluster.numbers().collect();
        let leader = self.cluster.leader();
        let followers = || all.iter().copied().filter(|n| Some(*n) != leader).collect::<Vec<u64>>();
        match selector {
            Selector::Node(number) => vec![*number],
            Selector::Leader => leader.into_iter().collect(),
            Selector::Follower | Selector::RandomFollower => followers().into_iter().take(1).collect(),
            Selector::Followers | Selector::Others => followers(),
            Selector::Bound(name) => self.bound.lock().expect("one thread").get(name).copied().into_iter().collect(),
            Selector::All | Selector::Any | Selector::Random(_) | Selector::Minority | Selector::SelfNode => all,
        }
    }

    /// One value per member, or the value of the one member meant.
    fn of_members(&self, call: &ProbeCall, value: impl Fn(&Machine) -> Value) -> Value {
        let members = self.members(call.nodes().unwrap_or(&Selector::All));
        let mut values = members.into_iter().map(|n| self.cluster.machine(n)).filter(|m| m.is_up()).map(value);
        if call.is_plural() { Value::List(values.collect()) } else { values.next().unwrap_or(Value::Missing) }
    }

    fn of_clients(&self, call: &ProbeCall, value: impl Fn(&Group) -> Value) -> Value {
        let inner = self.feed.lock();
        let wanted = call.client().flatten();
        let mut values = (self.groups.iter().enumerate())
            .filter(|(_, id)| wanted.is_none_or(|wanted| wanted == id.as_str()))
            .map(|(index, _)| value(inner.stats.group(index)));
        if wanted.is_none() { Value::List(values.collect()) } else { values.next().unwrap_or(Value::Missing) }
    }

    fn no_violation_of(&self, oracle: &str) -> Value {
        let inner = self.feed.lock();
        Value::Bool(!inner.oracles.violations().iter().any(|violation| violation.oracle == oracle))
    }
}

fn std(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos.0.max(0) as u64)
}

fn duration(value: Duration) -> Value {
    Value::Duration(Nanos(value.as_nanos() as i64))
}

fn number(value: impl TryInto<i64>) -> Value {
    Value::Number(value.try_into().unwrap_or(i64::MAX) as f64)
}

/// Probes that would say something wrong of a window whose first answers are forgotten. What only asks whether there was
/// any answer would not.
const COUNTED: [&str; 6] = ["stall", "max_unavail", "latency", "reads", "writes", "acks"];
/// Of these, whose value for the whole run is known all the same.
const GAPS: [&str; 2] = ["stall", "max_unavail"];

/// The cluster version before one is agreed on.
const UNDECIDED: &str = "3.0";

/// Of a member that boots nothing is known yet: the lowest there is.
fn version(release: Option<&str>) -> Value {
    Value::Text(release.unwrap_or(UNDECIDED).to_owned())
}

impl Probes for View {
    fn now(&self) -> Nanos {
        self.feed.nanos()
    }

    fn value(&self, call: &ProbeCall) -> Result<Value, EvalError> {
        let now = self.feed.now();
        let window = call.window.unwrap_or(Window { from: Nanos::ZERO, to: self.now() });
        let (from, to) = (std(window.from), std(window.to).min(now));
        let known: Option<fn(&Group, Duration) -> bool> = match call.name {
            "errors" => Some(Group::knows_errors_from),
            name if GAPS.contains(&name) && from.is_zero() => None,
            name => COUNTED.contains(&name).then_some(Group::knows_from),
        };
        if let Some(known) = known {
            let inner = self.feed.lock();
            if !(0..self.groups.len()).all(|index| known(inner.stats.group(index), from)) {
                return Err(EvalError::Forgotten(format!("{} in {}..", call.name, window.from)));
            }
        }
        Ok(match call.name {
            "leader" if !call.tests.is_empty() => {
                let release =
                    self.cluster.leader().and_then(|n| self.cluster.machine(n).look.with(|seen| seen.release));
                let release = release.map(|release| Value::Text(release.to_owned()));
                Value::Bool(release.is_some_and(|release| call.tests.iter().all(|test| test.holds(&release))))
            }
            "release" => self.of_members(call, |m| version(m.look.with(|seen| seen.release))),
            "storage_version" => self.of_members(call, |m| version(m.look.with(|seen| seen.storage))),
            "cluster_version" => {
                let agreed = self.feed.lock().agreed.version.clone();
                Value::Text(agreed.unwrap_or_else(|| UNDECIDED.to_owned()))
            }
            "downgrade.enabled" => Value::Bool(self.feed.lock().agreed.downgrade),
            "leader" => self.cluster.leader().map_or(Value::Missing, |n| Value::Text(format!("n{n}"))),
            "term" => self.of_members(call, |m| number(m.look.standing().term.0)),
            "role" => self.of_members(call, |m| {
                let role = match m.look.standing().role {
                    Role::Follower => "follower",
                    Role::PreCandidate => "pre_candidate",
                    Role::Candidate => "candidate",
                    Role::Leader => "leader",
                };
                Value::Text(role.into())
            }),
            "commit" => self.of_members(call, |m| number(m.look.with(|seen| seen.committed))),
            "applied" => self.of_members(call, |m| number(m.look.with(|seen| seen.applied))),
            "revision" => self.of_members(call, |m| number(m.look.with(|seen| seen.revision))),
            "log_entries" => self.of_members(call, |m| number(m.look.with(|seen| seen.log_entries))),
            "log_bytes" => self.of_members(call, |m| number(m.look.with(|seen| seen.log_bytes))),
            "disk_bytes" => self.of_members(call, |m| number(m.disk_bytes())),
            "wal_appends" => self.of_members(call, |m| {
                let inside = |at: &Duration| from <= *at && *at <= to;
                let appended = |seen: &Seen| {
                    seen.appended.iter().filter(|(at, _)| inside(at)).map(|(_, count)| count).sum::<u64>()
                };
                number(m.look.with(appended))
            }),
            "fsyncs" => self.of_members(call, |m| number(m.syncs())),
            "snapshots_sent" => {
                number(self.cluster.machines.iter().map(|m| m.look.with(|seen| seen.snapshots_sent)).sum::<u64>())
            }
            "snapshots_installed" => number(self.events(&EventFilter::named("snapshot"), window).len() as u64),
            "restarts" => {
                let boots = self.events(&EventFilter::named("boot"), window).len();
                number(boots.saturating_sub(self.cluster.machines.len()) as u64)
            }
            "progress" => self.of_clients(call, |group| Value::Bool(!group.acks(from, to).is_empty())),
            "served" => self.of_clients(call, |group| Value::Bool(group.is_served(from, to))),
            "stall" | "max_unavail" => self.of_clients(call, |group| duration(group.longest_gap(from, to))),
            "latency" => {
                let share = match call.word() {
                    Some("p90") => 0.9,
                    Some("p99") => 0.99,
                    Some("max") => 1.0,
                    _ => 0.5,
                };
                self.of_clients(call, |group| group.latency(share, from, to).map_or(Value::Missing, duration))
            }
            "errors" => {
                let inner = self.feed.lock();
                let wanted = call.client().flatten();
                let kinds = (self.groups.iter().enumerate())
                    .filter(|(_, id)| wanted.is_none_or(|wanted| wanted == id.as_str()))
                    .flat_map(|(index, _)| inner.stats.group(index).errors(from, to));
                Value::List(kinds.map(|kind| Value::Text(kind.into())).collect())
            }
            "reads" => self.of_clients(call, |g| number(g.acks(from, to).iter().filter(|a| a.read).count() as u64)),
            "writes" => self.of_clients(call, |g| number(g.acks(from, to).iter().filter(|a| !a.read).count() as u64)),
            "acks" => self.of_clients(call, |group| number(group.acks(from, to).len() as u64)),
            "leaders_per_term" => {
                let two = self.feed.lock().oracles.violations().iter().any(|v| v.oracle == "raft");
                Value::Number(if two { 2.0 } else { 1.0 })
            }
            "log_match" | "committed_never_lost" => self.no_violation_of(evenkeel_check::raft::NAME),
            "linearizable" => self.no_violation_of(evenkeel_check::linearizable::NAME),
            "watch_ok" => self.no_violation_of(evenkeel_check::watch::NAME),
            "lease_ok" => self.no_violation_of(evenkeel_check::lease::NAME),
            "hash_agree" => self.no_violation_of(evenkeel_check::state_hash::NAME),
            "ledger" => self.no_violation_of(evenkeel_check::ledger::NAME),
            "converged" => Value::Bool(self.cluster.converged()),
            other => return Err(EvalError::Unsupported(other.to_owned())),
        })
    }

    fn events(&self, filter: &EventFilter, window: Window) -> Vec<Occurrence> {
        let inner = self.feed.lock();
        let meant = EventFilter { name: alias(&filter.name).to_owned(), ..filter.clone() };
        let found = inner.happenings.iter().filter(|event| window.contains(event.at));
        // Selectors are looked up without the record's lock.
        let candidates: Vec<_> = found.filter(|event| event.name == meant.name).cloned().collect();
        drop(inner);
        let found = candidates.into_iter().filter(|event| meant.matches(event, |selector| self.members(selector)));
        found.map(|event| Occurrence { at: event.at, until: event.until }).collect()
    }
}

/// Two names for one event.
fn alias(name: &str) -> &str {
    if name == "leader" { "elected" } else { name }
}
