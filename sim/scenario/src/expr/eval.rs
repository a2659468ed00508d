//! Expressions evaluated at a moment of a run.
//!
//! A condition is true, false, or does not apply (`None`): a state outside its window. Not applying is neither a
//! violation of `always` nor of `never`, and passes through `&&`, `||` and `!` in the way that keeps that sense.

use super::{EventFilter, Expr, ExprNode, Op, ProbeCall, Window};
use crate::registry::Function;
use crate::stats;
use crate::time::Nanos;
use crate::value::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// The run, as expressions see it. The simulator implements it.
pub trait Probes {
    /// The present moment.
    fn now(&self) -> Nanos;

    /// What a probe answers now. `call.window` limits probes that sum up a stretch of time; without one they cover
    /// the run so far. A plural call (`ProbeCall::is_plural`) answers with a `Value::List`, leaving out members that
    /// are down.
    fn value(&self, call: &ProbeCall) -> Result<Value, EvalError>;

    /// The events that `filter` means and that began inside `window` and not after now, in the order of time.
    fn events(&self, filter: &EventFilter, window: Window) -> Vec<Occurrence>;
}

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// When it began.
    pub at: Nanos,
    /// When it ended; `None` while it goes on.
    pub until: Option<Nanos>,
}

impl Occurrence {
    /// An event without length.
    pub fn instant(at: Nanos) -> Occurrence {
        Occurrence { at, until: Some(at) }
    }
}

/// Why an expression has no value. Always a fault of the testbed, never of the system under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// The simulator does not provide this probe (yet).
    Unsupported(String),
    /// A name that was not replaced by its value.
    Unbound(String),
    /// A probe answered with a kind that the registry does not promise.
    WrongKind(String),
    /// A window begins so long ago that not everything in it is known any more.
    Forgotten(String),
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Unsupported(what) => write!(f, "the simulator has no probe {what}"),
            EvalError::Unbound(name) => write!(f, "the name {name} has no value here"),
            EvalError::WrongKind(what) => write!(f, "{what} gave a value of an unexpected kind"),
            EvalError::Forgotten(what) => {
                write!(
                    f,
                    "{what}: of so many answers the first are forgotten; give it a later window, or a shorter run"
                )
            }
        }
    }
}

impl std::error::Error for EvalError {}

/// What one expression remembers between moments (the earlier values of `monotone`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    before: BTreeMap<String, Value>,
}

/// The condition `expr` now; `None` where it does not apply. `window` limits events and sums that have none of
/// their own.
pub fn condition(
    expr: &Expr,
    probes: &dyn Probes,
    memory: &mut Memory,
    window: Option<Window>,
) -> Result<Option<bool>, EvalError> {
    Eval { probes, memory, window }.truth(expr)
}

/// The value of `expr` now.
pub fn value(expr: &Expr, probes: &dyn Probes, memory: &mut Memory) -> Result<Value, EvalError> {
    Eval { probes, memory, window: None }.value(expr)
}

/// A condition over names only, such as `only`.
pub fn cell_condition(expr: &Expr, values: &BTreeMap<String, Value>) -> bool {
    let nothing = Nothing;
    let result = condition(&expr.substitute(values), &nothing, &mut Memory::default(), None);
    result.expect("a condition on cells has only names of the matrix").expect("and no windows")
}

/// A run without probes.
struct Nothing;

impl Probes for Nothing {
    fn now(&self) -> Nanos {
        Nanos::ZERO
    }
    fn value(&self, call: &ProbeCall) -> Result<Value, EvalError> {
        Err(EvalError::Unsupported(call.to_string()))
    }
    fn events(&self, _: &EventFilter, _: Window) -> Vec<Occurrence> {
        Vec::new()
    }
}

struct Eval<'a> {
    probes: &'a dyn Probes,
    memory: &'a mut Memory,
    window: Option<Window>,
}

impl Eval<'_> {
    fn truth(&mut self, expr: &Expr) -> Result<Option<bool>, EvalError> {
        match &expr.node {
            ExprNode::Binary(Op::And | Op::While, left, right) => {
                let (a, b) = (self.truth(left)?, self.truth(right)?);
                Ok(if a == Some(false) || b == Some(false) { Some(false) } else { a.and(b) })
            }
            ExprNode::Binary(Op::Or | Op::Unless, left, right) => {
                let (a, b) = (self.truth(left)?, self.truth(right)?);
                Ok(if a == Some(true) || b == Some(true) { Some(true) } else { a.and(b) })
            }
            ExprNode::Binary(Op::During, left, right) => self.during(left, right).map(Some),
            ExprNode::Not(inner) => Ok(self.truth(inner)?.map(|value| !value)),
            ExprNode::Event(filter) => {
                let window = self.window.unwrap_or(Window::ALL);
                Ok(Some(!self.probes.events(filter, window).is_empty()))
            }
            ExprNode::Within(inner, window) if is_state(inner) => {
                if window.contains(self.probes.now()) {
                    self.truth(inner)
                } else {
                    Ok(None)
                }
            }
            ExprNode::Within(inner, window) => {
                let outer = self.window.replace(*window);
                let result = self.truth(inner);
                self.window = outer;
                result
            }
            _ => Ok(Some(self.value(expr)?.is_true())),
        }
    }

    fn value(&mut self, expr: &Expr) -> Result<Value, EvalError> {
        match &expr.node {
            ExprNode::Literal(value) => Ok(value.clone()),
            ExprNode::List(items) => {
                items.iter().map(|item| self.value(item)).collect::<Result<_, _>>().map(Value::List)
            }
            ExprNode::Name(name) => Err(EvalError::Unbound(name.clone())),
            ExprNode::Probe(call) => self.probe(call),
            ExprNode::Count(filter) => {
                let events = self.probes.events(filter, self.window.unwrap_or(Window::ALL));
                Ok(Value::Number(events.len() as f64))
            }
            ExprNode::TimeTo { to, from } => Ok(self.time_to(to, from.as_ref())),
            ExprNode::Apply { function, of, .. } => self.apply(*function, of),
            ExprNode::Negate(inner) => match self.value(inner)? {
                Value::Number(value) => Ok(Value::Number(-value)),
                Value::Duration(value) => Ok(Value::Duration(Nanos(-value.0))),
                _ => Ok(Value::Missing),
            },
            ExprNode::Not(inner) if !matches!(inner.node, ExprNode::Event(_)) => {
                let value = self.value(inner)?;
                Ok(each(&value, &|item| Value::Bool(!item.is_true())))
            }
            ExprNode::Within(inner, window) if !is_state(inner) && !matches!(inner.node, ExprNode::Event(_)) => {
                let outer = self.window.replace(*window);
                let result = self.value(inner);
                self.window = outer;
                result
            }
            ExprNode::Binary(op, left, right) if op.strength() >= Op::Eq.strength() => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                Ok(binary(*op, &left, &right))
            }
            ExprNode::Binary(..) | ExprNode::Event(_) | ExprNode::Not(_) | ExprNode::Within(..) => {
                Ok(self.truth(expr)?.map_or(Value::Missing, Value::Bool))
            }
        }
    }

    fn probe(&mut self, call: &ProbeCall) -> Result<Value, EvalError> {
        let value = match self.window {
            Some(window) => self.probes.value(&ProbeCall { window: Some(window), ..call.clone() })?,
            None => self.probes.value(call)?,
        };
        if matches!(value, Value::List(_)) != call.is_plural() && value != Value::Missing {
            return Err(EvalError::WrongKind(call.to_string()));
        }
        Ok(value)
    }

    fn during(&mut self, left: &Expr, right: &Expr) -> Result<bool, EvalError> {
        let (ExprNode::Event(left), ExprNode::Event(right)) = (&left.node, &right.node) else {
            return Err(EvalError::WrongKind("during".to_owned()));
        };
        let inner = self.probes.events(left, self.window.unwrap_or(Window::ALL));
        let outer = self.probes.events(right, Window::ALL);
        let overlaps =
            |at: Nanos| outer.iter().any(|event| event.at <= at && event.until.is_none_or(|until| at <= until));
        Ok(inner.iter().any(|event| overlaps(event.at)))
    }

    fn time_to(&mut self, to: &EventFilter, from: Option<&EventFilter>) -> Value {
        let window = self.window.unwrap_or(Window::ALL);
        let start = match from {
            Some(from) => self.probes.events(from, window).first().map(|event| event.at),
            None => Some(window.from),
        };
        let Some(start) = start else { return Value::Missing };
        let found = self.probes.events(to, Window { from: start, to: window.to });
        found.first().map_or(Value::Missing, |event| Value::Duration(event.at - start))
    }

    fn apply(&mut self, function: Function, of: &Expr) -> Result<Value, EvalError> {
        let value = self.value(of)?;
        if function == Function::Monotone {
            return Ok(Value::Bool(self.monotone(of, value)));
        }
        let Value::List(items) = value else {
            return if value == Value::Missing {
                Ok(Value::Missing)
            } else {
                Err(EvalError::WrongKind(of.to_string()))
            };
        };
        let trues = items.iter().filter(|item| item.is_true()).count();
        Ok(match function {
            Function::All => Value::Bool(trues == items.len()),
            Function::Any => Value::Bool(trues > 0),
            Function::Count => Value::Number(trues as f64),
            _ => stats::gather(function, &items),
        })
    }

    /// Whether no element is below its value at the moment before: so a fall that is excused (`monotone(x) unless y`) is
    /// excused for good. Lists are compared element by element only while
    /// their length stays, since a member that is down leaves a gap.
    fn monotone(&mut self, of: &Expr, now: Value) -> bool {
        let key = of.to_string();
        let before = self.memory.before.get(&key);
        let below = |now: &Value, before: &Value| now.order(before) == Some(Ordering::Less);
        let falls = match (before, &now) {
            (Some(Value::List(before)), Value::List(now)) if before.len() == now.len() => {
                now.iter().zip(before).any(|(now, before)| below(now, before))
            }
            (Some(before), now) => below(now, before),
            (None, _) => false,
        };
        if now != Value::Missing {
            self.memory.before.insert(key, now);
        }
        !falls
    }
}

/// Whether a window gates the expression by the present moment, instead of limiting events and sums in it.
fn is_state(expr: &Expr) -> bool {
    let mut state = true;
    expr.walk(&mut |part| match &part.node {
        ExprNode::Event(_) | ExprNode::Count(_) | ExprNode::TimeTo { .. } => state = false,
        ExprNode::Probe(call) => {
            state &= !crate::registry::find_probe(call.name).is_some_and(|doc| doc.windowed);
        }
        _ => {}
    });
    state
}

fn each(value: &Value, f: &dyn Fn(&Value) -> Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(f).collect()),
        single => f(single),
    }
}

/// Whether the comparison holds between two single values; with something missing it does not.
pub(crate) fn compare(op: Op, left: &Value, right: &Value) -> bool {
    let Some(order) = left.order(right) else { return false };
    match op {
        Op::Eq => order == Ordering::Equal,
        Op::Ne => order != Ordering::Equal,
        Op::Lt => order == Ordering::Less,
        Op::Le => order != Ordering::Greater,
        Op::Gt => order == Ordering::Greater,
        Op::Ge => order != Ordering::Less,
        _ => false,
    }
}

/// An operator between two values, element by element where one is a list. Lists of different lengths (a member
/// went down between two probes) are compared as far as both go.
pub(crate) fn binary(op: Op, left: &Value, right: &Value) -> Value {
    match (op, left, right) {
        (Op::Subset, Value::List(left), Value::List(right)) => {
            Value::Bool(left.iter().all(|item| right.iter().any(|other| compare(Op::Eq, item, other))))
        }
        (Op::Subset, ..) => Value::Bool(false),
        (Op::In, _, Value::List(right)) => {
            each(left, &|item| Value::Bool(right.iter().any(|other| compare(Op::Eq, item, other))))
        }
        (_, Value::List(left), Value::List(right)) => {
            Value::List(left.iter().zip(right).map(|(left, right)| binary(op, left, right)).collect())
        }
        (_, Value::List(_), right) => each(left, &|item| binary(op, item, right)),
        (_, left, Value::List(_)) => each(right, &|item| binary(op, left, item)),
        _ => single(op, left, right),
    }
}

fn single(op: Op, left: &Value, right: &Value) -> Value {
    use Value::{Duration, Number};
    match (op, left, right) {
        (Op::Add, Number(a), Number(b)) => Number(a + b),
        (Op::Sub, Number(a), Number(b)) => Number(a - b),
        (Op::Mul, Number(a), Number(b)) => Number(a * b),
        (Op::Div, Number(_), Number(0.0)) | (Op::Div, Duration(_), Number(0.0)) => Value::Missing,
        (Op::Div, Duration(_), Duration(Nanos(0))) => Value::Missing,
        (Op::Div, Number(a), Number(b)) => Number(a / b),
        (Op::Add, Duration(a), Duration(b)) => Duration(*a + *b),
        (Op::Sub, Duration(a), Duration(b)) => Duration(*a - *b),
        (Op::Mul, Duration(a), Number(b)) | (Op::Mul, Number(b), Duration(a)) => Duration(a.times(*b)),
        (Op::Div, Duration(a), Number(b)) => Duration(a.times(1.0 / b)),
        (Op::Div, Duration(a), Duration(b)) => Number(a.0 as f64 / b.0 as f64),
        (Op::Add | Op::Sub | Op::Mul | Op::Div, ..) => Value::Missing,
        _ => Value::Bool(compare(op, left, right)),
    }
}
