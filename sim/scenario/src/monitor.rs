//! Expectations decided while a run goes on: a violation is found at the moment it happens.
//!
//! The simulator calls `observe` whenever something may have changed (after each event, or at a fixed pace) and
//! `finish` once at the end. A monitor that has found a violation stays silent afterwards.

use crate::expect::{Expect, ExpectKind};
use crate::expr::eval::{self, EvalError, Memory, Probes};
use crate::expr::{EventFilter, Expr, ExprNode, Op, Window};
use crate::time::Nanos;
use std::collections::VecDeque;
use std::fmt;

/// An expectation that did not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The expectation.
    pub expect: String,
    /// When it was found.
    pub at: Nanos,
    /// What was seen.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.6}s: {}", self.expect, self.at.as_secs_f64(), self.message)
    }
}

/// What one run says about one expectation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It held.
    Held,
    /// Nothing was asked: the event that starts a `within` never came.
    Vacuous,
    /// It did not hold.
    Violated(Violation),
    /// The run ended before it could be decided.
    Undecided(String),
    /// For `sometimes`: which of its conditions were seen.
    Seen(Vec<bool>),
    /// For `ratio`: whether this run counts.
    Counts(bool),
}

/// More events than this that wait for their condition at once are merged: the oldest decides.
const WAITING_MAX: usize = 1_000;

#[derive(Debug)]
enum State {
    Always(Expr),
    Never(Expr),
    Within { within: Nanos, after: EventFilter, that: Expr, seen: usize, waiting: VecDeque<Nanos> },
    AtEnd(Expr),
    Sometimes { conditions: Vec<Expr>, seen: Vec<bool> },
    Ratio(Expr),
}

/// One expectation of one run.
#[derive(Debug)]
pub struct Monitor {
    id: String,
    state: State,
    memory: Memory,
    violated: Option<Violation>,
}

impl Monitor {
    /// A monitor for a resolved expectation.
    pub fn new(expect: &Expect) -> Monitor {
        let state = match expect.kind.clone() {
            ExpectKind::Always(expr) => State::Always(expr),
            ExpectKind::Never(expr) => State::Never(expr),
            ExpectKind::Within { within, after, that } => {
                State::Within { within, after, that, seen: 0, waiting: VecDeque::new() }
            }
            ExpectKind::AtEnd(expr) => State::AtEnd(expr),
            ExpectKind::Sometimes(conditions) => State::Sometimes { seen: vec![false; conditions.len()], conditions },
            ExpectKind::Ratio { of, .. } => State::Ratio(of),
        };
        Monitor { id: expect.id.clone(), state, memory: Memory::default(), violated: None }
    }

    /// The expectation's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Looks at the present moment; says so once when the expectation is violated.
    pub fn observe(&mut self, probes: &dyn Probes) -> Result<Option<Violation>, EvalError> {
        if self.violated.is_some() {
            return Ok(None);
        }
        let message = match &mut self.state {
            State::Always(expr) => match eval::condition(expr, probes, &mut self.memory, None)? {
                Some(false) => Some(explain(expr, false, probes)),
                _ => None,
            },
            State::Never(expr) => match eval::condition(expr, probes, &mut self.memory, None)? {
                Some(true) => Some(explain(expr, true, probes)),
                _ => None,
            },
            State::Within { within, after, that, seen, waiting } => {
                let events = probes.events(after, Window::ALL);
                waiting.extend(events.iter().skip(*seen).map(|event| event.at));
                waiting.truncate(WAITING_MAX);
                *seen = events.len().max(*seen);
                overdue(probes, &mut self.memory, waiting, *within, that)?
                    .map(|since| format!("{within} after {after} (at {since}) this is still not so: {that}"))
            }
            State::Sometimes { conditions, seen } => {
                for (condition, seen) in conditions.iter().zip(seen).filter(|(_, seen)| !**seen) {
                    *seen = eval::condition(condition, probes, &mut self.memory, None)? == Some(true);
                }
                None
            }
            State::AtEnd(_) | State::Ratio(_) => None,
        };
        self.violated = message.map(|message| Violation { expect: self.id.clone(), at: probes.now(), message });
        Ok(self.violated.clone())
    }

    /// Whether something has still to come true: a `within` that waits for its condition, or one whose time has not
    /// begun.
    pub fn waits(&self) -> bool {
        matches!(&self.state, State::Within { seen, waiting, .. } if *seen == 0 || !waiting.is_empty())
    }

    /// Looks at the last moment and decides.
    pub fn finish(&mut self, probes: &dyn Probes) -> Result<Outcome, EvalError> {
        self.observe(probes)?;
        if let Some(violation) = &self.violated {
            return Ok(Outcome::Violated(violation.clone()));
        }
        Ok(match &self.state {
            State::Always(_) | State::Never(_) => Outcome::Held,
            State::Within { seen: 0, .. } => Outcome::Vacuous,
            State::Within { after, that, waiting, .. } => match waiting.front() {
                Some(since) => {
                    Outcome::Undecided(format!("the run ended too soon after {after} (at {since}) for: {that}"))
                }
                None => Outcome::Held,
            },
            State::AtEnd(expr) => match eval::condition(expr, probes, &mut self.memory, None)? {
                Some(true) => Outcome::Held,
                _ => Outcome::Violated(Violation {
                    expect: self.id.clone(),
                    at: probes.now(),
                    message: explain(expr, false, probes),
                }),
            },
            State::Sometimes { seen, .. } => Outcome::Seen(seen.clone()),
            State::Ratio(expr) => Outcome::Counts(eval::condition(expr, probes, &mut self.memory, None)? == Some(true)),
        })
    }
}

/// Drops the events whose condition has come true; returns one that waits for too long. The condition sees the time
/// since its event, and must be true at one moment not later than the deadline.
fn overdue(
    probes: &dyn Probes,
    memory: &mut Memory,
    waiting: &mut VecDeque<Nanos>,
    within: Nanos,
    that: &Expr,
) -> Result<Option<Nanos>, EvalError> {
    let now = probes.now();
    let mut still = VecDeque::new();
    for since in waiting.drain(..) {
        let deadline = since + within;
        let window = Window { from: since, to: deadline.min(now) };
        let holds = eval::condition(that, probes, memory, Some(window))? == Some(true);
        if now > deadline && !(holds && only_past(that)) {
            return Ok(Some(since));
        }
        if !holds {
            still.push_back(since);
        }
    }
    *waiting = still;
    Ok(None)
}

/// Whether the condition is about a stretch of time only, so that it can be decided after its deadline.
fn only_past(expr: &Expr) -> bool {
    let mut past = true;
    expr.walk(&mut |part| {
        if let ExprNode::Probe(call) = &part.node {
            past &= crate::registry::find_probe(call.name).is_some_and(|doc| doc.windowed);
        }
    });
    past
}

/// Why a condition has this value: the part that decides, and the values compared.
fn explain(expr: &Expr, value: bool, probes: &dyn Probes) -> String {
    let truth = |expr: &Expr| eval::condition(expr, probes, &mut Memory::default(), None).ok().flatten();
    let splits = match &expr.node {
        ExprNode::Binary(Op::And, left, right) if !value => Some((left, right)),
        ExprNode::Binary(Op::Or, left, right) if value => Some((left, right)),
        _ => None,
    };
    if let Some((left, right)) = splits {
        let part = if truth(left) == Some(value) { left } else { right };
        return explain(part, value, probes);
    }
    if let ExprNode::Binary(op, left, _) = &expr.node
        && op.strength() == Op::Eq.strength()
        && let Ok(found) = eval::value(left, probes, &mut Memory::default())
    {
        return format!("`{expr}` is {value}: `{left}` is {found}");
    }
    format!("`{expr}` is {value}")
}

/// The trigger `when`: a condition or an event, and which time of it counts.
#[derive(Debug)]
pub struct Watch {
    condition: Expr,
    left: u64,
    was: bool,
    memory: Memory,
}

impl Watch {
    /// Waits for the n-th time, from 1.
    pub fn new(condition: &Expr, nth: u64) -> Watch {
        assert!(nth > 0, "times are counted from 1");
        Watch { condition: condition.clone(), left: nth, was: false, memory: Memory::default() }
    }

    /// Looks at the present moment; true exactly once. Events are counted; a state counts when it becomes true.
    pub fn observe(&mut self, probes: &dyn Probes) -> Result<bool, EvalError> {
        if self.left == 0 {
            return Ok(false);
        }
        let (filter, window) = match &self.condition.node {
            ExprNode::Event(filter) => (Some(filter), Window::ALL),
            ExprNode::Within(inner, window) => match &inner.node {
                ExprNode::Event(filter) => (Some(filter), *window),
                _ => (None, *window),
            },
            _ => (None, Window::ALL),
        };
        if let Some(filter) = filter {
            let fires = probes.events(filter, window).len() as u64 >= self.left;
            if fires {
                self.left = 0;
            }
            return Ok(fires);
        }
        let is = eval::condition(&self.condition, probes, &mut self.memory, None)? == Some(true);
        if is && !self.was {
            self.left -= 1;
        }
        let fires = is && !self.was && self.left == 0;
        self.was = is;
        Ok(fires)
    }
}
