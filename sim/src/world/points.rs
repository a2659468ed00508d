//! Points in the code: which steps wait for one, and the members that stand at one until a step has acted.
//!
//! A step can also hold up whoever comes to a point again and again (`stall`), as a busy machine would.
//!
//! A member that comes to a point at which a step fires is held there for [`HOLD`], long enough for the step to cut a
//! link or take the power, and then goes on if it still exists. All other visits cost nothing and are only counted.
#![cfg_attr(not(madsim), allow(dead_code, reason = "a released server has no points"))]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_scenario::expr::ExprNode;
use evenkeel_scenario::registry::POINT;
use evenkeel_scenario::step::Trigger;
use evenkeel_scenario::verb::covers;
use evenkeel_scenario::{Event, EventFilter, Expr, Resolved, Selector, Value, Window};
use tokio::sync::oneshot;

use super::feed::Feed;

/// How long a member stands at a point for a step.
pub const HOLD: Duration = Duration::from_millis(1);

/// A pause of a task that came to a point.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The points of one run.
#[derive(Default)]
pub struct Points(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Vec<Waiting>,
    /// Points that expressions mention: each visit is an event.
    mentioned: BTreeSet<String>,
    /// By where the name lies, which is sooner compared than what it says: there are hundreds of visits a second, to a
    /// dozen points.
    visits: Vec<(&'static str, u64)>,
    stalls: Vec<(StallId, String, Wait)>,
    last_stall: u64,
}

/// A stall that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallId(u64);

/// How long a member waits at a visit, if it does.
type Wait = Box<dyn Fn(u64) -> Option<Duration> + Send + Sync>;

/// Evaluates a selector now.
type Members = Box<dyn Fn(&Selector) -> Vec<u64> + Send + Sync>;

struct Waiting {
    filter: EventFilter,
    window: Window,
    members: Members,
    left: u64,
    arrived: oneshot::Sender<Arrived>,
}

/// A member stands at a point. Dropped, it goes on.
pub struct Arrived {
    /// The member.
    pub node: u64,
    _hold: oneshot::Sender<()>,
}

impl Points {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which points the run's script and expectations mention.
    pub fn learn(&self, resolved: &Resolved) {
        let mut filters: Vec<EventFilter> = Vec::new();
        let in_expr = |expr: &Expr, filters: &mut Vec<EventFilter>| {
            expr.walk(&mut |part| match &part.node {
                ExprNode::Event(filter) | ExprNode::Count(filter) => filters.push(filter.clone()),
                ExprNode::TimeTo { to, from } => {
                    filters.extend([Some(to), from.as_ref()].into_iter().flatten().cloned())
                }
                _ => {}
            });
        };
        for step in &resolved.steps {
            match &step.trigger {
                Trigger::At(_) => {}
                Trigger::After(filter, _) => filters.push(filter.clone()),
                Trigger::When { condition, .. } => in_expr(condition, &mut filters),
            }
        }
        for expect in &resolved.expects {
            expect.expressions().into_iter().for_each(|expr| in_expr(expr, &mut filters));
            filters.extend(expect.starts_after().cloned());
        }
        let tests = filters.iter().filter(|filter| filter.name == POINT).flat_map(|filter| &filter.tests);
        let names =
            tests.filter_map(|test| if let Value::Text(name) = &test.value { Some(name.clone()) } else { None });
        self.lock().mentioned.extend(names);
    }

    /// For a trigger that is a point and nothing else: tells when a member stands there for the n-th time.
    pub fn arm(&self, trigger: &Trigger, members: Members) -> Option<oneshot::Receiver<Arrived>> {
        let Trigger::When { condition, nth, .. } = trigger else { return None };
        let (filter, window) = match &condition.node {
            ExprNode::Event(filter) => (filter, Window::ALL),
            ExprNode::Within(inner, window) => match &inner.node {
                ExprNode::Event(filter) => (filter, *window),
                _ => return None,
            },
            _ => return None,
        };
        if filter.name != POINT {
            return None;
        }
        let (arrived, tell) = oneshot::channel();
        self.lock().waiting.push(Waiting { filter: filter.clone(), window, members, left: *nth, arrived });
        Some(tell)
    }

    /// From now on members wait at a point, or at all of a part, as long as `wait` says.
    pub fn stall(&self, point: &str, wait: Wait) -> StallId {
        let mut inner = self.lock();
        inner.last_stall += 1;
        let id = StallId(inner.last_stall);
        inner.stalls.push((id, point.to_owned(), wait));
        id
    }

    /// Ends one stall.
    pub fn end(&self, stall: StallId) {
        self.lock().stalls.retain(|(id, ..)| *id != stall);
    }

    /// Ends all stalls.
    pub fn release(&self) {
        self.lock().stalls.clear();
    }

    /// A task of a member has come to a point.
    pub fn visit(&self, feed: &Feed, node: u64, name: &'static str) -> Option<Pause> {
        feed.coverage().point(name);
        let (mentioned, stalled) = {
            let mut inner = self.lock();
            match inner.visits.iter_mut().find(|(known, _)| std::ptr::eq(*known, name)) {
                Some((_, count)) => *count += 1,
                None => inner.visits.push((name, 1)),
            }
            let here = inner.stalls.iter().filter(|(_, stalled, _)| covers(stalled, name));
            (inner.mentioned.contains(name), here.filter_map(|(.., wait)| wait(node)).max())
        };
        let stall = stalled.map(|stalled| feed.time().sleep(stalled));
        if !mentioned {
            return stall.map(|stall| Box::pin(stall) as Pause);
        }
        let event = Event {
            name: POINT.to_owned(),
            at: feed.nanos(),
            until: Some(feed.nanos()),
            node: Some(node),
            step: None,
            fields: [("point".to_owned(), Value::Text(name.to_owned()))].into(),
        };
        feed.note(event.clone());
        // Selectors are evaluated without the lock: they look at members.
        let waiting = std::mem::take(&mut self.lock().waiting);
        let mut holds = Vec::new();
        let mut still = Vec::new();
        for mut wait in waiting {
            let meant = wait.window.contains(event.at) && wait.filter.matches(&event, &wait.members);
            wait.left -= u64::from(meant);
            if wait.left > 0 {
                still.push(wait);
                continue;
            }
            let (hold, held) = oneshot::channel();
            if wait.arrived.send(Arrived { node, _hold: hold }).is_ok() {
                holds.push(held);
            }
        }
        self.lock().waiting = still;
        if holds.is_empty() {
            return stall.map(|stall| Box::pin(stall) as Pause);
        }
        Some(Box::pin(async move {
            if let Some(stall) = stall {
                stall.await;
            }
            for held in holds {
                let _ = held.await;
            }
        }))
    }

    /// How often each point was come to, by all members together.
    pub fn visits(&self) -> BTreeMap<&'static str, u64> {
        let mut visits = BTreeMap::new();
        for (name, count) in &self.lock().visits {
            *visits.entry(*name).or_default() += count;
        }
        visits
    }
}
