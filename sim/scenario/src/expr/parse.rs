//! Expressions from text: grammar, names and kinds in one pass, so that every message points at a place.

use super::kinds::{Ty, combine, condition};
use super::lex::{Token, lex};
use super::{At, EventFilter, Expr, ExprNode, Op, Window};
use crate::problem::unknown;
use crate::read::{Cx, Names};
use crate::registry::Kind;
use crate::time::Nanos;
use crate::tree::Node;
use crate::value::Value;

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

pub type Fail = (At, String);
pub type Typed = (Expr, Ty);

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
        Ok((expr, parser.points))
    });
    report(cx, node, result)
}

/// Reads the text of `node` as the name of an event, a verb or a step.
pub fn read_event(cx: &mut Cx<'_>, node: &Node) -> Option<EventFilter> {
    let text = cx.text(node, "an event or a step")?;
    let result = Parser::new(text, &cx.names, Mode::Run).and_then(|mut parser| {
        let event = parser.event()?;
        parser.expect_end()?;
        Ok((event, parser.points))
    });
    report(cx, node, result)
}

fn report<T>(cx: &mut Cx<'_>, node: &Node, result: Result<(T, Vec<(String, At)>), Fail>) -> Option<T> {
    let start = cx.text_start(node);
    let span = |at: At| start.map_or(node.span.clone(), |start| start + at.start..start + at.end);
    match result {
        Ok((found, points)) => {
            cx.points.extend(points.into_iter().map(|(name, at)| (name, span(at))));
            Some(found)
        }
        Err((at, message)) => {
            cx.problem(span(at), message);
            None
        }
    }
}

pub struct Parser<'a> {
    pub(super) tokens: Vec<(Token, At)>,
    pub(super) position: usize,
    pub(super) names: &'a Names,
    pub(super) mode: Mode,
    /// Inside a labelled function of a `compare`.
    pub(super) in_label: bool,
    /// Points in the code that were mentioned, and where.
    pub(super) points: Vec<(String, At)>,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn new(text: &str, names: &'a Names, mode: Mode) -> Result<Parser<'a>, Fail> {
        Ok(Parser { tokens: lex(text)?, position: 0, names, mode, in_label: false, points: Vec::new(), depth: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.position].0
    }

    pub(super) fn peek_after(&self, ahead: usize) -> &Token {
        &self.tokens[(self.position + ahead).min(self.tokens.len() - 1)].0
    }

    pub(super) fn at(&self) -> At {
        self.tokens[self.position].1
    }

    pub(super) fn next(&mut self) -> (Token, At) {
        let token = self.tokens[self.position].clone();
        self.position = (self.position + 1).min(self.tokens.len() - 1);
        token
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn need(&mut self, symbol: &str) -> Result<(), Fail> {
        if self.eat(symbol) { Ok(()) } else { self.fail(format!("expected \"{symbol}\" here")) }
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T, Fail> {
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
    pub(super) fn since(&self, start: At) -> At {
        let end = if self.position == 0 { start.end } else { self.tokens[self.position - 1].1.end };
        At { start: start.start, end: end.max(start.end) }
    }

    pub(super) fn scope(&mut self) -> Result<Typed, Fail> {
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

    pub(super) fn operator(&self) -> Option<Op> {
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
            let result = combine(&self.names.params, op, op_at, (&left, ty), (&right, right_ty))?;
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
}

/// An expression of ours, which only uses registered names.
pub fn parse_builtin(text: &str) -> Expr {
    let names = Names { nodes: 1, ..Names::default() };
    let mut parser = Parser::new(text, &names, Mode::Run).expect("our own expressions have valid words");
    let (expr, _) = parser.scope().expect("our own expressions are valid");
    parser.expect_end().expect("our own expressions end");
    expr
}
