//! Expressions back to text, with only the parentheses that are needed.

use super::{Arg, EventFilter, Expr, ExprNode, Op, ProbeCall, STEP_EVENT, Test, Window};
use crate::time::Nanos;
use std::fmt;

impl Op {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Op::Unless => "unless",
            Op::While => "while",
            Op::During => "during",
            Op::Or => "||",
            Op::And => "&&",
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::In => "in",
            Op::Subset => "subset",
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
        }
    }

    /// How tightly it binds: a larger number binds tighter.
    pub fn strength(self) -> u8 {
        match self {
            Op::Unless | Op::While | Op::During => 1,
            Op::Or => 2,
            Op::And => 3,
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::In | Op::Subset => 4,
            Op::Add | Op::Sub => 5,
            Op::Mul | Op::Div => 6,
        }
    }
}

const UNARY: u8 = 7;
const PRIMARY: u8 = 8;

impl Expr {
    fn strength(&self) -> u8 {
        match &self.node {
            ExprNode::Binary(op, ..) => op.strength(),
            ExprNode::Not(_) | ExprNode::Negate(_) => UNARY,
            _ => PRIMARY,
        }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, at_least: u8) -> fmt::Result {
        if self.strength() < at_least {
            f.write_str("(")?;
            self.print(f, 0)?;
            return f.write_str(")");
        }
        match &self.node {
            ExprNode::Literal(value) => write!(f, "{value}"),
            ExprNode::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    item.print(f, 0)?;
                }
                f.write_str("]")
            }
            ExprNode::Name(name) => f.write_str(name),
            ExprNode::Probe(call) => write!(f, "{call}"),
            ExprNode::Event(event) => write!(f, "{event}"),
            ExprNode::Count(event) => write!(f, "count({event})"),
            ExprNode::TimeTo { to, from } => {
                write!(f, "time_to({to})")?;
                from.as_ref().map_or(Ok(()), |from| write!(f, " from {from}"))
            }
            ExprNode::Apply { function, label, of } => {
                write!(f, "{}(", function.name())?;
                if let Some(label) = label {
                    write!(f, "{label}: ")?;
                }
                of.print(f, 0)?;
                f.write_str(")")
            }
            ExprNode::Not(inner) => {
                f.write_str("!")?;
                inner.print(f, UNARY)
            }
            ExprNode::Negate(inner) => {
                f.write_str("-")?;
                inner.print(f, UNARY)
            }
            ExprNode::Within(inner, window) => {
                inner.print(f, PRIMARY)?;
                write!(f, " in {window}")
            }
            ExprNode::Binary(op, left, right) => {
                // Comparisons do not chain, so both sides need parentheses there.
                let left_needs = op.strength() + u8::from(op.strength() == Op::Eq.strength());
                left.print(f, left_needs)?;
                write!(f, " {} ", op.symbol())?;
                right.print(f, op.strength() + 1)
            }
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, 0)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.from)?;
        if self.to == Nanos::MAX { Ok(()) } else { write!(f, "{}", self.to) }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            Op::Eq => write!(f, "{}: {}", self.field, self.value),
            op => write!(f, "{} {} {}", self.field, op.symbol(), self.value),
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Nodes(selector) => write!(f, "{selector}"),
            Arg::Client(Some(id)) => f.write_str(id),
            Arg::Client(None) => f.write_str("all"),
            Arg::Word(word) => f.write_str(word),
        }
    }
}

fn parenthesised(f: &mut fmt::Formatter<'_>, parts: &[String]) -> fmt::Result {
    if parts.is_empty() { Ok(()) } else { write!(f, "({})", parts.join(", ")) }
}

impl fmt::Display for ProbeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        let args = self.args.iter().map(Arg::to_string);
        parenthesised(f, &args.chain(self.tests.iter().map(Test::to_string)).collect::<Vec<_>>())
    }
}

impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) if self.name == STEP_EVENT => f.write_str(step)?,
            Some(step) => write!(f, "{step}.{}", self.name)?,
            None => f.write_str(&self.name)?,
        }
        parenthesised(f, &self.tests.iter().map(Test::to_string).collect::<Vec<_>>())?;
        self.node.as_ref().map_or(Ok(()), |node| write!(f, " on {node}"))
    }
}
