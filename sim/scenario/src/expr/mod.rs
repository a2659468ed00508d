//! Expressions: what a scenario expects, said in terms of probes and events.
//!
//! Weakest first: `unless` `while` `during`; `||`; `&&`; comparisons, `in [list]`, `subset`; `+ -`; `* /`; `!` and
//! minus; and, tightest, `in A..B` (a stretch of time), `from EVENT`, `on SELECTOR` behind a probe or an event.
//! Everything is checked when the file is loaded: names, arguments, and that values of a kind meet their own kind.
//! Lists (one value per member) go through operators element by element and are gathered by `all`, `any`, `min` …

pub mod eval;
mod kinds;
mod lex;
mod names;
mod parse;
mod print;

use crate::registry::Function;
use crate::select::Selector;
use crate::time::Nanos;
use crate::value::Value;
use crate::verb;
use std::collections::BTreeMap;

pub(crate) use parse::{CONSTANTS, Mode, parse_builtin, read, read_event};

/// A place in a text that does not take part in comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub struct At {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl PartialEq for At {
    fn eq(&self, _: &At) -> bool {
        true
    }
}

/// A checked expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub node: ExprNode,
    /// Where it stands in its text.
    pub at: At,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprNode {
    /// A value.
    Literal(Value),
    /// `[a, b]`
    List(Vec<Expr>),
    /// A matrix parameter or a setting of the cluster; replaced by its value when a run is resolved.
    Name(String),
    /// The value of a probe.
    Probe(ProbeCall),
    /// An event has happened.
    Event(EventFilter),
    /// How often an event happened.
    Count(EventFilter),
    /// The time to an event.
    TimeTo {
        /// The event waited for.
        to: EventFilter,
        /// The event that starts the clock; the start of the run without it.
        from: Option<EventFilter>,
    },
    /// A function of a list, or, with a label, of the runs of a cell.
    Apply {
        /// The function.
        function: Function,
        /// The value of the `across` parameter.
        label: Option<Value>,
        /// Its argument.
        of: Box<Expr>,
    },
    /// `!a`
    Not(Box<Expr>),
    /// `-a`
    Negate(Box<Expr>),
    /// Two operands.
    Binary(Op, Box<Expr>, Box<Expr>),
    /// `a in 10s..60s`
    Within(Box<Expr>, Window),
}

/// The operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `a unless b`: a, or b.
    Unless,
    /// `a while b`: both at the same moment.
    While,
    /// `a during b`: event a happened while b went on.
    During,
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `a in [..]`
    In,
    /// `a subset [..]`
    Subset,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
}

/// A stretch of the run, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub from: Nanos,
    /// Last moment.
    pub to: Nanos,
}

impl Window {
    /// The whole run.
    pub const ALL: Window = Window { from: Nanos::ZERO, to: Nanos::MAX };

    /// Whether the moment lies inside.
    pub fn contains(self, at: Nanos) -> bool {
        self.from <= at && at <= self.to
    }
}

/// A probe with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeCall {
    /// Its name in the registry.
    pub name: &'static str,
    /// Its arguments, with left-out ones filled in.
    pub args: Vec<Arg>,
    /// Properties asked for.
    pub tests: Vec<Test>,
    /// The stretch of time it is limited to; filled in when it is evaluated.
    pub window: Option<Window>,
}

impl ProbeCall {
    /// The members asked about, when the probe is about members.
    pub fn nodes(&self) -> Option<&Selector> {
        self.args.iter().find_map(|arg| if let Arg::Nodes(selector) = arg { Some(selector) } else { None })
    }

    /// The client asked about: `Some(None)` for all of them.
    pub fn client(&self) -> Option<Option<&str>> {
        self.args.iter().find_map(|arg| if let Arg::Client(client) = arg { Some(client.as_deref()) } else { None })
    }

    /// The word argument, when given.
    pub fn word(&self) -> Option<&str> {
        self.args.iter().find_map(|arg| if let Arg::Word(word) = arg { Some(word.as_str()) } else { None })
    }

    /// Whether the answer is a list: one value per member or client. Otherwise it is a single value.
    pub fn is_plural(&self) -> bool {
        // The errors of a client are several even for one client.
        self.name == "errors"
            || self.args.iter().any(|arg| match arg {
                Arg::Nodes(selector) => !selector.is_single(),
                Arg::Client(client) => client.is_none(),
                Arg::Word(_) => false,
            })
    }
}

/// One argument of a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// Members.
    Nodes(Selector),
    /// A client by id, or all.
    Client(Option<String>),
    /// A word.
    Word(String),
}

/// `release: '3.6'` or `code != 0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The property.
    pub field: &'static str,
    /// The comparison.
    pub op: Op,
    /// The value compared with.
    pub value: Value,
}

impl Test {
    /// Whether a value passes.
    pub fn holds(&self, value: &Value) -> bool {
        eval::compare(self.op, value, &self.value)
    }
}

/// Which events are meant.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFilter {
    /// The event's name, the verb of a step, or `step` for a step by id.
    pub name: String,
    /// Only events of the step with this id.
    pub step: Option<String>,
    /// Only events at these members.
    pub node: Option<Selector>,
    /// Only events with these properties.
    pub tests: Vec<Test>,
}

/// The name in a filter that means "the step with this id has fired (or finished, if it takes long)": any event named
/// like a verb, of that step.
pub const STEP_EVENT: &str = "step";

/// Something that happened in a run, as the simulator records it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// A name of the registry, or the verb of the step that has fired (or finished, if it takes long).
    pub name: String,
    /// When it began.
    pub at: Nanos,
    /// When it ended, for those that last.
    pub until: Option<Nanos>,
    /// The member at which it happened.
    pub node: Option<u64>,
    /// The id of the step that caused it.
    pub step: Option<String>,
    /// Its properties.
    pub fields: BTreeMap<String, Value>,
}

impl EventFilter {
    /// Every event of this name.
    pub fn named(name: impl Into<String>) -> EventFilter {
        EventFilter { name: name.into(), step: None, node: None, tests: Vec::new() }
    }

    /// Whether `event` is meant; `members` evaluates selectors.
    pub fn matches(&self, event: &Event, members: impl Fn(&Selector) -> Vec<u64>) -> bool {
        let at_node = match &self.node {
            None | Some(Selector::Any | Selector::All) => true,
            Some(selector) => event.node.is_some_and(|node| members(selector).contains(&node)),
        };
        at_node
            && (self.name == event.name || self.name == STEP_EVENT && verb::is_verb(&event.name))
            && self.step.as_ref().is_none_or(|step| event.step.as_ref() == Some(step))
            && self.tests.iter().all(|test| event.fields.get(test.field).is_some_and(|value| test.holds(value)))
    }
}

impl Expr {
    /// The value as an expression.
    pub fn literal(value: Value) -> Expr {
        Expr { node: ExprNode::Literal(value), at: At::default() }
    }

    /// Every direct part.
    pub fn parts(&self) -> Vec<&Expr> {
        match &self.node {
            ExprNode::Literal(_)
            | ExprNode::Name(_)
            | ExprNode::Probe(_)
            | ExprNode::Event(_)
            | ExprNode::Count(_)
            | ExprNode::TimeTo { .. } => vec![],
            ExprNode::List(items) => items.iter().collect(),
            ExprNode::Apply { of, .. } => vec![of],
            ExprNode::Not(inner) | ExprNode::Negate(inner) | ExprNode::Within(inner, _) => vec![inner],
            ExprNode::Binary(_, left, right) => vec![left, right],
        }
    }

    fn parts_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.node {
            ExprNode::Literal(_)
            | ExprNode::Name(_)
            | ExprNode::Probe(_)
            | ExprNode::Event(_)
            | ExprNode::Count(_)
            | ExprNode::TimeTo { .. } => vec![],
            ExprNode::List(items) => items.iter_mut().collect(),
            ExprNode::Apply { of, .. } => vec![of],
            ExprNode::Not(inner) | ExprNode::Negate(inner) | ExprNode::Within(inner, _) => vec![inner],
            ExprNode::Binary(_, left, right) => vec![left, right],
        }
    }

    /// This expression and all its parts.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        for part in self.parts() {
            part.walk(visit);
        }
    }

    /// With names replaced by their values.
    #[must_use]
    pub fn substitute(&self, values: &BTreeMap<String, Value>) -> Expr {
        self.rewrite(&|part| match &part.node {
            ExprNode::Name(name) => {
                values.get(name).map(|value| Expr { node: ExprNode::Literal(value.clone()), at: part.at })
            }
            _ => None,
        })
    }

    /// With every part for which `replace` gives something replaced by that.
    #[must_use]
    pub fn rewrite(&self, replace: &dyn Fn(&Expr) -> Option<Expr>) -> Expr {
        if let Some(replacement) = replace(self) {
            return replacement;
        }
        let mut expr = self.clone();
        for part in expr.parts_mut() {
            *part = part.rewrite(replace);
        }
        expr
    }

    /// The last moment any window in it ends, when one has an end.
    pub fn last_moment(&self) -> Option<Nanos> {
        let mut last = None;
        self.walk(&mut |expr| {
            if let ExprNode::Within(_, window) = &expr.node
                && window.to != Nanos::MAX
            {
                last = last.max(Some(window.to));
            }
        });
        last
    }
}
