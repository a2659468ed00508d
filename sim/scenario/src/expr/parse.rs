//! Expressions from text: grammar, names and kinds in one pass, so that every message points at a place.

use super::lex::{Token, lex};
use super::{Arg, At, EventFilter, Expr, ExprNode, Op, ProbeCall, STEP_EVENT, Test, Window};
use crate::problem::unknown;
use crate::read::{Cx, Names};
use crate::registry::{
    ArgKind, EVENTS, EventDoc, FUNCTIONS, Function, Kind, PROBES, find_event, find_function, find_probe,
};
use crate::select::Selector;
use crate::time::Nanos;
use crate::tree::Node;
use crate::value::Value;
use crate::verb;

/// Where an expression stands, which decides what it may mention.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// `only`, `where`: matrix parameters and values.
    Cell,
    /// About one run.
    Run,
    /// `compare`: functions over the runs of cells, labelled by the values of this parameter.
    Compare(String),
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ty {
    kind: Kind,
    /// A list: one value per member or client, or written out.
    many: bool,
    /// An event, which counts as true once it has happened.
    event: bool,
    /// Whether a window can limit it.
    windowed: bool,
}

impl Ty {
    const fn one(kind: Kind) -> Ty {
        Ty { kind, many: false, event: false, windowed: false }
    }
}

type Fail = (At, String);
type Typed = (Expr, Ty);

/// How deep parentheses and operators may nest.
const DEPTH_MAX: u32 = 64;

/// Settings of the cluster that expressions may name.
pub const CONSTANTS: &[(&str, Kind)] = &[
    ("nodes", Kind::Number),
    ("tick", Kind::Duration),
    ("election_ticks", Kind::Number),
    ("heartbeat_ticks", Kind::Number),
    ("snapshot_count", Kind::Number),
    ("snapshot_catchup", Kind::Number),
    ("checkpoint_every", Kind::Number),
    ("pre_vote", Kind::Bool),
    ("check_quorum", Kind::Bool),
    ("tick_advance", Kind::Bool),
];

/// Reads the text of `node` as a condition; problems go to `cx`.
pub fn read(cx: &mut Cx<'_>, node: &Node, mode: Mode) -> Option<Expr> {
    let text = cx.text(node, "an expression in quotes")?;
    let result = Parser::new(text, &cx.names, mode).and_then(|mut parser| {
        let (expr, ty) = parser.scope()?;
        parser.expect_end()?;
        condition(&expr, ty)?;
        Ok(expr)
    });
    report(cx, node, result)
}

/// Reads the text of `node` as the name of an event, a verb or a step.
pub fn read_event(cx: &mut Cx<'_>, node: &Node) -> Option<EventFilter> {
    let text = cx.text(node, "an event or a step")?;
    let result = Parser::new(text, &cx.names, Mode::Run).and_then(|mut parser| {
        let event = parser.event()?;
        parser.expect_end()?;
        Ok(event)
    });
    report(cx, node, result)
}

fn report<T>(cx: &mut Cx<'_>, node: &Node, result: Result<T, Fail>) -> Option<T> {
    result
        .map_err(|(at, message)| {
            let span = match cx.text_start(node) {
                Some(start) => start + at.start..start + at.end,
                None => node.span.clone(),
            };
            cx.problem(span, message);
        })
        .ok()
}

/// A condition is true or false, an event, or something that may be missing (a leader).
fn condition(expr: &Expr, ty: Ty) -> Result<(), Fail> {
    let leader = matches!(&expr.node, ExprNode::Probe(call) if call.name == "leader");
    if ty.many {
        return Err((expr.at, "this is a list: gather it with all(…), any(…) or count(…)".to_owned()));
    }
    if ty.event || ty.kind == Kind::Bool || leader {
        return Ok(());
    }
    Err((expr.at, format!("expected a condition, found {}", ty.kind.words())))
}

struct Parser<'a> {
    tokens: Vec<(Token, At)>,
    position: usize,
    names: &'a Names,
    mode: Mode,
    /// Inside a labelled function of a `compare`.
    in_label: bool,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn new(text: &str, names: &'a Names, mode: Mode) -> Result<Parser<'a>, Fail> {
        Ok(Parser { tokens: lex(text)?, position: 0, names, mode, in_label: false, depth: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.position].0
    }

    fn peek_after(&self, ahead: usize) -> &Token {
        &self.tokens[(self.position + ahead).min(self.tokens.len() - 1)].0
    }

    fn at(&self) -> At {
        self.tokens[self.position].1
    }

    fn next(&mut self) -> (Token, At) {
        let token = self.tokens[self.position].clone();
        self.position = (self.position + 1).min(self.tokens.len() - 1);
        token
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    fn need(&mut self, symbol: &str) -> Result<(), Fail> {
        if self.eat(symbol) { Ok(()) } else { self.fail(format!("expected \"{symbol}\" here")) }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Fail> {
        Err((self.at(), message.into()))
    }

    fn expect_end(&self) -> Result<(), Fail> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Name(name) => self.fail(unknown(
                "operator",
                name,
                ["in", "during", "while", "unless", "subset", "from", "on", "&&", "||"],
            )),
            _ => self.fail("expected an operator or the end of the expression"),
        }
    }

    /// From an earlier place to the end of the last token read.
    fn since(&self, start: At) -> At {
        let end = if self.position == 0 { start.end } else { self.tokens[self.position - 1].1.end };
        At { start: start.start, end: end.max(start.end) }
    }

    fn scope(&mut self) -> Result<Typed, Fail> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail("the expression is nested too deeply");
        }
        let start = self.at();
        let (mut left, mut ty) = self.binary(2)?;
        while let Token::Name(word) = self.peek() {
            let op = match word.as_str() {
                "unless" => Op::Unless,
                "while" => Op::While,
                "during" => Op::During,
                _ => break,
            };
            self.next();
            let (right, right_ty) = self.binary(2)?;
            condition(&left, ty)?;
            condition(&right, right_ty)?;
            if op == Op::During {
                for (side, ty) in [(&left, ty), (&right, right_ty)] {
                    if !ty.event {
                        return Err((side.at, "`during` stands between two events; use `while` for states".to_owned()));
                    }
                }
            }
            let windowed = ty.windowed || right_ty.windowed;
            left = Expr { node: ExprNode::Binary(op, Box::new(left), Box::new(right)), at: self.since(start) };
            ty = Ty { windowed, ..Ty::one(Kind::Bool) };
        }
        self.depth -= 1;
        Ok((left, ty))
    }

    fn operator(&self) -> Option<Op> {
        let op = match self.peek() {
            Token::Symbol("||") => Op::Or,
            Token::Symbol("&&") => Op::And,
            Token::Symbol("==") => Op::Eq,
            Token::Symbol("!=") => Op::Ne,
            Token::Symbol("<") => Op::Lt,
            Token::Symbol("<=") => Op::Le,
            Token::Symbol(">") => Op::Gt,
            Token::Symbol(">=") => Op::Ge,
            Token::Symbol("+") => Op::Add,
            Token::Symbol("-") => Op::Sub,
            Token::Symbol("*") => Op::Mul,
            Token::Symbol("/") => Op::Div,
            Token::Name(word) if word == "subset" => Op::Subset,
            Token::Name(word) if word == "in" => Op::In,
            _ => return None,
        };
        Some(op)
    }

    /// Operators of at least this strength.
    fn binary(&mut self, strength: u8) -> Result<Typed, Fail> {
        let start = self.at();
        let (mut left, mut ty) = self.unary()?;
        while let Some(op) = self.operator()
            && op.strength() >= strength
        {
            let op_at = self.at();
            self.next();
            let (right, right_ty) = self.binary(op.strength() + 1)?;
            let result = self.combine(op, op_at, (&left, ty), (&right, right_ty))?;
            if op.strength() == Op::Eq.strength()
                && self.operator().is_some_and(|next| next.strength() == op.strength())
            {
                return self.fail("comparisons do not chain: join two of them with &&");
            }
            left = Expr { node: ExprNode::Binary(op, Box::new(left), Box::new(right)), at: self.since(start) };
            ty = result;
        }
        Ok((left, ty))
    }

    fn combine(&self, op: Op, op_at: At, left: (&Expr, Ty), right: (&Expr, Ty)) -> Result<Ty, Fail> {
        let ((a, a_ty), (b, b_ty)) = (left, right);
        let windowed = a_ty.windowed || b_ty.windowed;
        let many = a_ty.many || b_ty.many;
        let mismatch = || {
            let (left, right) = (a_ty.kind.words(), b_ty.kind.words());
            Err((op_at, format!("\"{}\" cannot go between {left} and {right}", op.symbol())))
        };
        if !matches!(op, Op::And | Op::Or) {
            for (side, ty) in [left, right] {
                if ty.event {
                    return Err((
                        side.at,
                        format!("{side} is an event, not a value; count(…) says how often it happened"),
                    ));
                }
            }
        }
        let kind = match op {
            Op::And | Op::Or | Op::Unless | Op::While | Op::During => {
                condition(a, a_ty)?;
                condition(b, b_ty)?;
                Kind::Bool
            }
            Op::Eq | Op::Ne if a_ty.kind == b_ty.kind => {
                self.known_value(a, b)?;
                self.known_value(b, a)?;
                Kind::Bool
            }
            Op::Lt | Op::Le | Op::Gt | Op::Ge if a_ty.kind == b_ty.kind && a_ty.kind != Kind::Bool => Kind::Bool,
            Op::In | Op::Subset => {
                if !b_ty.many {
                    return Err((b.at, format!("\"{}\" needs a list such as ['a', 'b'] on its right", op.symbol())));
                }
                if op == Op::Subset && !a_ty.many {
                    return Err((a.at, "\"subset\" needs a list on its left; use \"in\" for one value".to_owned()));
                }
                if a_ty.kind != b_ty.kind {
                    return mismatch();
                }
                if let ExprNode::List(items) = &b.node {
                    items.iter().try_for_each(|item| self.known_value(a, item))?;
                }
                return Ok(Ty { many: op == Op::In && a_ty.many, windowed, ..Ty::one(Kind::Bool) });
            }
            Op::Add | Op::Sub if a_ty.kind == b_ty.kind && matches!(a_ty.kind, Kind::Number | Kind::Duration) => {
                a_ty.kind
            }
            Op::Mul => match (a_ty.kind, b_ty.kind) {
                (Kind::Number, Kind::Number) => Kind::Number,
                (Kind::Number, Kind::Duration) | (Kind::Duration, Kind::Number) => Kind::Duration,
                _ => return mismatch(),
            },
            Op::Div => match (a_ty.kind, b_ty.kind) {
                (Kind::Number, Kind::Number) | (Kind::Duration, Kind::Duration) => Kind::Number,
                (Kind::Duration, Kind::Number) => Kind::Duration,
                _ => return mismatch(),
            },
            _ => return mismatch(),
        };
        Ok(Ty { many, windowed, ..Ty::one(kind) })
    }

    /// A matrix parameter may only be compared with a value that it has.
    fn known_value(&self, param: &Expr, value: &Expr) -> Result<(), Fail> {
        let (ExprNode::Name(name), ExprNode::Literal(literal)) = (&param.node, &value.node) else { return Ok(()) };
        let Some(param) = self.names.params.iter().find(|param| param.name == *name) else { return Ok(()) };
        if param.values.iter().any(|known| known.value == *literal) {
            return Ok(());
        }
        let plain = match literal {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        };
        let known: Vec<String> = param.values.iter().map(crate::matrix::ParamValue::plain).collect();
        Err((
            value.at,
            unknown(&format!("value of the matrix parameter {name}"), &plain, known.iter().map(String::as_str)),
        ))
    }

    fn unary(&mut self) -> Result<Typed, Fail> {
        let start = self.at();
        if self.eat("!") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return self.fail("the expression is nested too deeply");
            }
            let (inner, ty) = self.unary()?;
            self.depth -= 1;
            if !(ty.many && ty.kind == Kind::Bool) {
                condition(&inner, ty)?;
            }
            let not = Expr { node: ExprNode::Not(Box::new(inner)), at: self.since(start) };
            return Ok((not, Ty { many: ty.many, windowed: ty.windowed, ..Ty::one(Kind::Bool) }));
        }
        if self.eat("-") {
            let (inner, ty) = self.postfix()?;
            if !matches!(ty.kind, Kind::Number | Kind::Duration) || ty.event {
                return Err((inner.at, "only a number or a duration can be negative".to_owned()));
            }
            return Ok((Expr { node: ExprNode::Negate(Box::new(inner)), at: self.since(start) }, ty));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Typed, Fail> {
        let start = self.at();
        let (mut expr, mut ty) = self.primary()?;
        loop {
            if self.is_word("in") && !matches!(self.peek_after(1), Token::Symbol("[")) {
                self.next();
                let window = self.window()?;
                let state = !ty.windowed && !ty.event;
                if state && (ty.kind != Kind::Bool || ty.many) {
                    let message =
                        format!("{expr} is a value at a moment: put the window behind a condition in parentheses");
                    return Err((expr.at, message));
                }
                expr = Expr { node: ExprNode::Within(Box::new(expr), window), at: self.since(start) };
                ty = Ty {
                    event: false,
                    windowed: true,
                    kind: if ty.event { Kind::Bool } else { ty.kind },
                    many: ty.many,
                };
            } else if self.is_word("from") {
                let from_at = self.at();
                self.next();
                let event = self.event()?;
                let ExprNode::TimeTo { from, .. } = &mut expr.node else {
                    return Err((from_at, "`from` only follows time_to(…)".to_owned()));
                };
                *from = Some(event);
                expr.at = self.since(start);
            } else if self.is_word("on") {
                let on_at = self.at();
                self.next();
                let selector = self.selector()?;
                let ExprNode::Event(event) = &mut expr.node else {
                    return Err((on_at, "`on` only follows an event".to_owned()));
                };
                event.node = Some(selector);
                expr.at = self.since(start);
            } else {
                return Ok((expr, ty));
            }
        }
    }

    fn window(&mut self) -> Result<Window, Fail> {
        let start = self.at();
        let (Token::Duration(from), _) = self.next() else {
            return Err((start, "expected a window such as 10s..60s, or a list such as ['a', 'b']".to_owned()));
        };
        self.need("..")?;
        let to = match self.peek() {
            Token::Duration(to) => {
                let to = *to;
                self.next();
                to
            }
            _ => Nanos::MAX,
        };
        if to < from {
            return Err((self.since(start), format!("empty window {from}..{to}: it ends before it begins")));
        }
        Ok(Window { from, to })
    }

    fn primary(&mut self) -> Result<Typed, Fail> {
        let start = self.at();
        let literal =
            |value: Value, kind: Kind| Ok((Expr { node: ExprNode::Literal(value), at: start }, Ty::one(kind)));
        match self.peek().clone() {
            Token::Number(value) => {
                self.next();
                literal(Value::Number(value), Kind::Number)
            }
            Token::Duration(value) => {
                self.next();
                literal(Value::Duration(value), Kind::Duration)
            }
            Token::Text(text) => {
                self.next();
                literal(Value::Text(text), Kind::Text)
            }
            Token::Name(name) if name == "true" || name == "false" => {
                self.next();
                literal(Value::Bool(name == "true"), Kind::Bool)
            }
            Token::Symbol("(") => {
                self.next();
                let (expr, ty) = self.scope()?;
                self.need(")")?;
                Ok((expr, ty))
            }
            Token::Symbol("[") => self.list(),
            Token::Name(name) => self.named(&name),
            Token::End => self.fail("the expression ends too early"),
            Token::Symbol(symbol) => {
                self.fail(format!("\"{symbol}\" cannot stand here: expected a value or a condition"))
            }
        }
    }

    fn list(&mut self) -> Result<Typed, Fail> {
        let start = self.at();
        self.need("[")?;
        let mut items: Vec<Expr> = Vec::new();
        let mut kind = None;
        while !self.eat("]") {
            if !items.is_empty() {
                self.need(",")?;
            }
            let (item, ty) = self.binary(5)?;
            if ty.many || ty.event || kind.is_some_and(|kind| kind != ty.kind) {
                return Err((item.at, "the elements of a list are single values of one kind".to_owned()));
            }
            kind = Some(ty.kind);
            items.push(item);
        }
        let Some(kind) = kind else { return Err((self.since(start), "an empty list".to_owned())) };
        Ok((Expr { node: ExprNode::List(items), at: self.since(start) }, Ty { many: true, ..Ty::one(kind) }))
    }

    /// A function, probe, event, matrix parameter or setting.
    fn named(&mut self, name: &str) -> Result<Typed, Fail> {
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
        self.known_value(&Expr { node: ExprNode::Name(param), at: self.at() }, &literal)?;
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

    fn selector(&mut self) -> Result<Selector, Fail> {
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

    fn event(&mut self) -> Result<EventFilter, Fail> {
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
                let value = self.literal(kind)?;
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

fn apply_type(function: Function, labelled: bool, of: &Expr, ty: Ty) -> Result<Ty, Fail> {
    let list = |kinds: &[Kind], words: &str| {
        if !ty.many && !labelled {
            return Err((of.at, format!("{}(…) needs a list: one value per member or client", function.name())));
        }
        if labelled && ty.many {
            return Err((of.at, "gather the list within a run first, such as max(…)".to_owned()));
        }
        if ty.event || !kinds.contains(&ty.kind) {
            return Err((of.at, format!("{}(…) needs {words}", function.name())));
        }
        Ok(())
    };
    let kind = match function {
        Function::All | Function::Any => {
            list(&[Kind::Bool], "conditions")?;
            Kind::Bool
        }
        Function::Count => {
            list(&[Kind::Bool], "an event, or a list of conditions")?;
            Kind::Number
        }
        Function::Min | Function::Max => {
            list(&[Kind::Number, Kind::Duration, Kind::Text], "values that have an order")?;
            ty.kind
        }
        Function::Mean | Function::P50 | Function::P99 | Function::Sum => {
            list(&[Kind::Number, Kind::Duration], "numbers or durations")?;
            ty.kind
        }
        Function::Monotone => {
            if ty.event || ty.kind == Kind::Bool {
                return Err((of.at, "monotone(…) needs a value that has an order".to_owned()));
            }
            Kind::Bool
        }
        Function::TimeTo => unreachable!("read before"),
    };
    Ok(Ty { windowed: ty.windowed, ..Ty::one(kind) })
}

/// An expression of ours, which only uses registered names.
pub fn parse_builtin(text: &str) -> Expr {
    let names = Names { nodes: 1, ..Names::default() };
    let mut parser = Parser::new(text, &names, Mode::Run).expect("our own expressions have valid words");
    let (expr, _) = parser.scope().expect("our own expressions are valid");
    parser.expect_end().expect("our own expressions end");
    expr
}
