//! A run made by hand: answers of probes, and events, at a moment that moves on.

#![allow(dead_code, reason = "each test file uses a part")]

use evenkeel_scenario::expr::{Event, ExprNode};
use evenkeel_scenario::{
    Decisions, EvalError, EventFilter, Expect, ExpectKind, Expr, Nanos, Occurrence, ProbeCall, Probes, Resolved,
    Scenario, Value, Window,
};
use std::collections::BTreeMap;

pub struct Run {
    pub now: Nanos,
    answers: BTreeMap<String, Value>,
    events: Vec<Event>,
}

impl Run {
    pub fn at(now: &str) -> Run {
        Run { now: time(now), answers: BTreeMap::new(), events: Vec::new() }
    }

    pub fn answer(&mut self, probe: &str, value: Value) -> &mut Run {
        self.answers.insert(probe.to_owned(), value);
        self
    }

    pub fn event(&mut self, name: &str, at: &str) -> &mut Run {
        self.lasting(name, at, at)
    }

    /// A member ends by itself with this code.
    pub fn exit(&mut self, code: f64, at: &str) -> &mut Run {
        self.event("exit", at);
        let exit = self.events.last_mut().expect("just added");
        exit.fields.insert("code".to_owned(), Value::Number(code));
        self
    }

    pub fn lasting(&mut self, name: &str, at: &str, until: &str) -> &mut Run {
        let (at, until) = (time(at), Some(time(until)));
        self.events.push(Event {
            name: name.to_owned(),
            at,
            until,
            node: Some(1),
            step: None,
            fields: BTreeMap::new(),
        });
        self
    }
}

pub fn time(text: &str) -> Nanos {
    Nanos::parse(text).expect("a test knows its times")
}

impl Probes for Run {
    fn now(&self) -> Nanos {
        self.now
    }

    fn value(&self, call: &ProbeCall) -> Result<Value, EvalError> {
        // Progress is computed, so that windows can be seen to arrive.
        if call.name == "progress" {
            let window = call.window.unwrap_or(Window::ALL);
            let acked = self
                .events
                .iter()
                .any(|event| event.name == "ack" && event.at <= self.now && window.contains(event.at));
            return Ok(Value::Bool(acked));
        }
        self.answers.get(&call.to_string()).cloned().ok_or_else(|| EvalError::Unsupported(call.to_string()))
    }

    fn events(&self, filter: &EventFilter, window: Window) -> Vec<Occurrence> {
        let meant =
            |event: &&Event| window.contains(event.at) && event.at <= self.now && filter.matches(event, |_| vec![1]);
        self.events.iter().filter(meant).map(|event| Occurrence { at: event.at, until: event.until }).collect()
    }
}

const FRAME: &str = r#"scn = 1
name = "x"
[[client]]
id = "w"
[[step]]
at = "1s"
do = "bind"
L = "leader"
[[step]]
id = "down"
at = "2s"
do = "roll"
to = "3.6"
[[step]]
at = "3s"
do = "restart"
node = "n1"
[[step]]
at = "9s"
do = "quiesce"
"#;

/// The only run of a small file with these expectations.
pub fn resolve(expects: &str) -> Resolved {
    let scenario =
        Scenario::parse(&format!("{FRAME}{expects}"), "x.toml").unwrap_or_else(|problems| panic!("{}", problems[0]));
    scenario.resolve(&scenario.cells()[0], &mut Decisions::new(0))
}

/// The expectation with these keys.
pub fn expectation(keys: &str) -> Expect {
    resolve(&format!("[[expect]]\nid = \"e\"\n{keys}")).expects.remove(0)
}

/// The expression `text`, resolved.
pub fn at_end(text: &str) -> Expr {
    match expectation(&format!("at_end = \"{text}\"")).kind {
        ExpectKind::AtEnd(expr) => expr,
        kind => panic!("{kind:?}"),
    }
}

/// The expression with brackets around every part that has parts.
pub fn bracketed(expr: &Expr) -> String {
    let part = |expr: &Expr| bracketed(expr);
    match &expr.node {
        ExprNode::Binary(op, left, right) => format!("({} {} {})", part(left), op.symbol(), part(right)),
        ExprNode::Not(inner) => format!("(! {})", part(inner)),
        ExprNode::Negate(inner) => format!("(- {})", part(inner)),
        ExprNode::Within(inner, window) => format!("({} in {window})", part(inner)),
        ExprNode::Apply { function, of, .. } => format!("{}[{}]", function.name(), part(of)),
        _ => expr.to_string(),
    }
}
