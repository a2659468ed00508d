//! Names in expressions: functions, probes, events, parameters, and their arguments.

use super::kinds::{Ty, apply_type, known_value};
use super::lex::Token;
use super::parse::{CONSTANTS, Fail, Mode, Parser, Typed};
use super::{Arg, At, EventFilter, Expr, ExprNode, Op, ProbeCall, STEP_EVENT, Test};
use crate::problem::unknown;
use crate::registry::{
    ArgKind, EVENTS, EventDoc, FUNCTIONS, Function, Kind, POINT, PROBES, find_event, find_function, find_probe,
};
use crate::select::Selector;
use crate::value::Value;
use crate::verb;

impl Parser<'_> {
    /// A function, probe, event, matrix parameter or setting.
    pub(super) fn named(&mut self, name: &str) -> Result<Typed, Fail> {
        let start = self.at();
        let called = matches!(self.peek_after(1), Token::Symbol("("));
        if called && let Some(function) = find_function(name) {
            return self.function(function);
        }
        // About a run, `release` is what members run at, even where the matrix sets it.
        let shadowed = self.mode != Mode::Cell && find_probe(name).is_some();
        if !shadowed && let Some(param) = self.names.params.iter().find(|param| param.name == name) {
            if matches!(self.mode, Mode::Compare(_)) && !self.in_label {
                return self
                    .fail(format!("{name} differs between cells: name its values as labels, such as mean(VALUE: …)"));
            }
            let kind = match param.values.first().map(|value| &value.value) {
                Some(Value::Bool(_)) => Kind::Bool,
                Some(Value::Number(_)) => Kind::Number,
                Some(Value::Duration(_)) => Kind::Duration,
                _ => Kind::Text,
            };
            self.next();
            return Ok((Expr { node: ExprNode::Name(name.to_owned()), at: start }, Ty::one(kind)));
        }
        if self.mode == Mode::Cell {
            return self.fail(unknown(
                "matrix parameter",
                name,
                self.names.params.iter().map(|param| param.name.as_str()),
            ));
        }
        if let Some((_, kind)) = CONSTANTS.iter().find(|(constant, _)| *constant == name) {
            if matches!(self.mode, Mode::Compare(_)) && !self.in_label && !self.names.constants.contains_key(name) {
                return self
                    .fail(format!("{name} is drawn for each seed: a comparison between cells needs a fixed value"));
            }
            self.next();
            return Ok((Expr { node: ExprNode::Name(name.to_owned()), at: start }, Ty::one(*kind)));
        }
        if matches!(self.mode, Mode::Compare(_)) && !self.in_label {
            return self
                .fail(format!("{name} is about one run: gather it with a label, such as mean(VALUE: {name} …)"));
        }
        if find_probe(name).is_some() {
            return self.probe(name);
        }
        if self.is_event(name) {
            let event = self.event()?;
            let ty = Ty { event: true, windowed: true, ..Ty::one(Kind::Bool) };
            return Ok((Expr { node: ExprNode::Event(event), at: self.since(start) }, ty));
        }
        if find_event(name).is_some() {
            return self.fail(of_step(name));
        }
        self.fail(unknown("probe, event or function", name, self.valid_names().iter().map(String::as_str)))
    }

    fn valid_names(&self) -> Vec<String> {
        let mut names: Vec<&str> = PROBES.iter().map(|probe| probe.name).collect();
        names.extend(EVENTS.iter().map(|event| event.name));
        names.extend(FUNCTIONS.iter().map(|(name, ..)| *name));
        verb::names().for_each(|name| names.push(name));
        names.extend(CONSTANTS.iter().map(|(name, _)| *name));
        names.extend(self.names.steps.iter().map(String::as_str));
        names.extend(self.names.params.iter().map(|param| param.name.as_str()));
        names.into_iter().map(str::to_owned).collect()
    }

    fn is_event(&self, name: &str) -> bool {
        find_event(name).is_some_and(|event| !event.of_step)
            || verb::is_verb(name)
            || self.names.steps.iter().any(|step| step == name)
            || self.step_event(name).is_some()
    }

    /// `down.swapped`: an event of a step.
    fn step_event<'n>(&self, name: &'n str) -> Option<(&'n str, &'static EventDoc)> {
        let (step, event) = name.split_once('.')?;
        let event = find_event(event).filter(|event| event.of_step)?;
        self.names.steps.iter().any(|known| known == step).then_some((step, event))
    }

    fn function(&mut self, function: Function) -> Result<Typed, Fail> {
        let start = self.at();
        if self.mode == Mode::Cell {
            return self.fail("`only` and `where` hold nothing but matrix parameters and their values");
        }
        self.next();
        self.need("(")?;
        let label = self.label(function, start)?;
        let is_event = matches!(self.peek(), Token::Name(name) if self.is_event(name));
        let result = match function {
            Function::Count if is_event && !matches!(self.peek_after(1), Token::Name(_)) => {
                let event = self.event()?;
                (ExprNode::Count(event), Ty { windowed: true, ..Ty::one(Kind::Number) })
            }
            Function::TimeTo => {
                let to = self.event()?;
                (ExprNode::TimeTo { to, from: None }, Ty { windowed: true, ..Ty::one(Kind::Duration) })
            }
            _ => {
                let was = self.in_label;
                self.in_label |= label.is_some();
                let (of, ty) = self.scope()?;
                self.in_label = was;
                let ty = apply_type(function, label.is_some(), &of, ty)?;
                (ExprNode::Apply { function, label, of: Box::new(of) }, ty)
            }
        };
        self.need(")")?;
        Ok((Expr { node: result.0, at: self.since(start) }, result.1))
    }

    /// `true:` at the head of a function in a `compare`.
    fn label(&mut self, function: Function, at: At) -> Result<Option<Value>, Fail> {
        let Mode::Compare(param) = &self.mode else { return Ok(None) };
        if self.in_label {
            return Ok(None);
        }
        let gathers = matches!(
            function,
            Function::Min | Function::Max | Function::Mean | Function::P50 | Function::P99 | Function::Sum
        );
        if !gathers {
            return Err((
                at,
                format!("{}(…) does not gather runs: use min, max, mean, p50, p99 or sum", function.name()),
            ));
        }
        let param = param.clone();
        let value = match self.peek().clone() {
            Token::Name(name) if name == "true" || name == "false" => Some(Value::Bool(name == "true")),
            Token::Text(text) | Token::Name(text) => Some(Value::Text(text)),
            Token::Number(number) => Some(Value::Number(number)),
            Token::Duration(duration) => Some(Value::Duration(duration)),
            _ => None,
        };
        let labelled = matches!(self.peek_after(1), Token::Symbol(":"));
        let Some(value) = value.filter(|_| labelled) else {
            return self.fail(format!(
                "in a comparison say which cells are meant: {}(VALUE: …), a value of {param}",
                function.name()
            ));
        };
        let literal = Expr { node: ExprNode::Literal(value.clone()), at: self.at() };
        known_value(&self.names.params, &Expr { node: ExprNode::Name(param), at: self.at() }, &literal)?;
        self.next();
        self.need(":")?;
        Ok(Some(value))
    }

    fn probe(&mut self, name: &str) -> Result<Typed, Fail> {
        let start = self.at();
        let doc = find_probe(name).expect("checked by the caller");
        self.next();
        let mut args = Vec::new();
        let mut tests = Vec::new();
        if self.eat("(") {
            let mut wanted = doc.args.iter();
            while !self.eat(")") {
                if !(args.is_empty() && tests.is_empty()) {
                    self.need(",")?;
                }
                if self.at_test() {
                    tests.push(self.test(name, doc.tests)?);
                    continue;
                }
                match wanted.next() {
                    Some(kind) => args.push(self.argument(name, *kind)?),
                    None => return self.fail(format!("{name} takes no further argument here")),
                }
            }
        }
        for missing in doc.args.iter().skip(args.len()) {
            match missing {
                ArgKind::Nodes => args.push(Arg::Nodes(Selector::All)),
                ArgKind::Clients => args.push(Arg::Client(None)),
                ArgKind::Word(_) => {}
                ArgKind::NeededWord(words) => {
                    return Err((
                        self.since(start),
                        format!("{name} needs one of {} as an argument", words.join(", ")),
                    ));
                }
            }
        }
        let call = ProbeCall { name: doc.name, args, tests, window: None };
        let kind = if call.tests.is_empty() { doc.kind } else { Kind::Bool };
        let ty = Ty { many: call.is_plural(), windowed: doc.windowed, ..Ty::one(kind) };
        Ok((Expr { node: ExprNode::Probe(call), at: self.since(start) }, ty))
    }

    fn argument(&mut self, probe: &str, kind: ArgKind) -> Result<Arg, Fail> {
        match kind {
            ArgKind::Nodes => self.selector().map(Arg::Nodes),
            ArgKind::Clients => {
                let Token::Name(name) = self.peek().clone() else {
                    return self.fail(format!("{probe} is about a client: name one"));
                };
                if name != "all" && !self.names.clients.contains(&name) {
                    let known = self.names.clients.iter().map(String::as_str).chain(["all"]);
                    return self.fail(unknown("client", &name, known));
                }
                self.next();
                Ok(Arg::Client(Some(name).filter(|name| name != "all")))
            }
            ArgKind::Word(words) | ArgKind::NeededWord(words) => match self.peek().clone() {
                Token::Name(word) if words.contains(&word.as_str()) => {
                    self.next();
                    Ok(Arg::Word(word))
                }
                Token::Name(word) => self.fail(unknown(&format!("argument of {probe}"), &word, words.iter().copied())),
                _ => self.fail(format!("expected one of {}", words.join(", "))),
            },
        }
    }

    pub(super) fn selector(&mut self) -> Result<Selector, Fail> {
        let start = self.at();
        let Token::Name(mut text) = self.peek().clone() else {
            return self.fail("expected a selector such as leader or n2");
        };
        self.next();
        if text == "random" && self.eat("(") {
            let inner = match self.next().0 {
                Token::Name(name) => name,
                Token::Number(number) => number.to_string(),
                _ => return Err((start, "write random(follower) or random(2)".to_owned())),
            };
            self.need(")")?;
            text = format!("random({inner})");
        }
        Selector::parse(&text, self.names.nodes, &self.names.bound).map_err(|message| (self.since(start), message))
    }

    /// `name: value` or `name != value`.
    fn at_test(&self) -> bool {
        matches!(self.peek(), Token::Name(_))
            && matches!(self.peek_after(1), Token::Symbol(":" | "==" | "!=" | "<" | "<=" | ">" | ">="))
    }

    fn test(&mut self, owner: &str, known: &[(&'static str, Kind)]) -> Result<Test, Fail> {
        let (Token::Name(name), at) = self.next() else { return self.fail("expected a property") };
        let Some((field, kind)) = known.iter().find(|(field, _)| *field == name) else {
            return Err((at, unknown(&format!("property of {owner}"), &name, known.iter().map(|(field, _)| *field))));
        };
        let op =
            if self.eat(":") { Op::Eq } else { self.operator().expect("a test begins with a name and an operator") };
        if !matches!(self.tokens[self.position - 1].0, Token::Symbol(":")) {
            self.next();
        }
        let value = self.literal(*kind)?;
        Ok(Test { field, op, value })
    }

    fn literal(&mut self, kind: Kind) -> Result<Value, Fail> {
        let value = match (self.peek().clone(), kind) {
            (Token::Number(value), Kind::Number) => Value::Number(value),
            (Token::Duration(value), Kind::Duration) => Value::Duration(value),
            (Token::Text(value), Kind::Text) => Value::Text(value),
            // A point in the code may stand without quotes.
            (Token::Name(value), Kind::Text) => Value::Text(value),
            _ => return self.fail(format!("expected {}", kind.words())),
        };
        self.next();
        Ok(value)
    }

    pub(super) fn event(&mut self) -> Result<EventFilter, Fail> {
        let (Token::Name(name), at) = self.next() else {
            self.position = self.position.saturating_sub(1);
            return self.fail("expected the name of an event or of a step");
        };
        let (mut event, doc) = if self.names.steps.contains(&name) {
            (EventFilter { step: Some(name.clone()), ..EventFilter::named(STEP_EVENT) }, None)
        } else if let Some((step, doc)) = self.step_event(&name) {
            (EventFilter { step: Some(step.to_owned()), ..EventFilter::named(doc.name) }, Some(doc))
        } else if let Some(doc) = find_event(&name).filter(|doc| !doc.of_step) {
            (EventFilter::named(doc.alias_of.unwrap_or(doc.name)), Some(doc))
        } else if verb::is_verb(&name) {
            if !self.names.verbs.contains(&name) {
                return Err((at, format!("no step does \"{name}\", so this would never happen")));
            }
            (EventFilter::named(name.clone()), None)
        } else if find_event(&name).is_some() {
            return Err((at, of_step(&name)));
        } else {
            let mut known: Vec<&str> = EVENTS.iter().map(|event| event.name).collect();
            verb::names().for_each(|name| known.push(name));
            known.extend(self.names.steps.iter().map(String::as_str));
            return Err((at, unknown("event or step", &name, known)));
        };
        if self.eat("(") {
            self.event_arguments(&name, doc, &mut event)?;
        }
        if self.is_word("on") {
            self.next();
            event.node = Some(self.selector()?);
        }
        Ok(event)
    }

    fn event_arguments(
        &mut self,
        name: &str,
        doc: Option<&'static EventDoc>,
        event: &mut EventFilter,
    ) -> Result<(), Fail> {
        let tests = doc.map_or(&[][..], |doc| doc.tests);
        let positional = doc.and_then(|doc| doc.positional);
        let known: Vec<(&'static str, Kind)> = tests.iter().copied().chain(positional).collect();
        let mut first = true;
        while !self.eat(")") {
            if !first {
                self.need(",")?;
            }
            if self.at_test() {
                let test = self.test(name, &known)?;
                event.tests.push(test);
            } else if let (Some((field, kind)), true) = (positional, first) {
                let at = self.at();
                let value = self.literal(kind)?;
                if let (POINT, Value::Text(point)) = (name, &value) {
                    self.points.push((point.clone(), at));
                }
                event.tests.push(Test { field, op: Op::Eq, value });
            } else if first && doc.is_none_or(|doc| doc.at_node) {
                event.node = Some(self.selector()?);
            } else {
                return self.fail(format!("{name} takes no such argument"));
            }
            first = false;
        }
        Ok(())
    }
}

fn of_step(event: &str) -> String {
    format!("\"{event}\" happens to a step: write STEP.{event} with the step's id")
}
