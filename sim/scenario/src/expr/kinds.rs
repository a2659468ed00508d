//! Which kinds of values may meet.

use super::parse::Fail;
use super::{At, Expr, ExprNode, Op};
use crate::matrix::{Param, ParamValue};
use crate::problem::unknown;
use crate::registry::{Function, Kind};
use crate::value::Value;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ty {
    pub kind: Kind,
    /// A list: one value per member or client, or written out.
    pub many: bool,
    /// An event, which counts as true once it has happened.
    pub event: bool,
    /// Whether a window can limit it.
    pub windowed: bool,
}

impl Ty {
    pub const fn one(kind: Kind) -> Ty {
        Ty { kind, many: false, event: false, windowed: false }
    }
}

/// A condition is true or false, an event, or something that may be missing (a leader).
pub fn condition(expr: &Expr, ty: Ty) -> Result<(), Fail> {
    let leader = matches!(&expr.node, ExprNode::Probe(call) if call.name == "leader");
    if ty.many {
        return Err((expr.at, "this is a list: gather it with all(…), any(…) or count(…)".to_owned()));
    }
    if ty.event || ty.kind == Kind::Bool || leader {
        return Ok(());
    }
    Err((expr.at, format!("expected a condition, found {}", ty.kind.words())))
}

/// What an operator gives between two operands.
pub fn combine(params: &[Param], op: Op, op_at: At, left: (&Expr, Ty), right: (&Expr, Ty)) -> Result<Ty, Fail> {
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
                return Err((side.at, format!("{side} is an event, not a value; count(…) says how often it happened")));
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
            known_value(params, a, b)?;
            known_value(params, b, a)?;
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
                items.iter().try_for_each(|item| known_value(params, a, item))?;
            }
            return Ok(Ty { many: op == Op::In && a_ty.many, windowed, ..Ty::one(Kind::Bool) });
        }
        Op::Add | Op::Sub if a_ty.kind == b_ty.kind && matches!(a_ty.kind, Kind::Number | Kind::Duration) => a_ty.kind,
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
pub fn known_value(params: &[Param], param: &Expr, value: &Expr) -> Result<(), Fail> {
    let (ExprNode::Name(name), ExprNode::Literal(literal)) = (&param.node, &value.node) else { return Ok(()) };
    let Some(param) = params.iter().find(|param| param.name == *name) else { return Ok(()) };
    if param.values.iter().any(|known| known.value == *literal) {
        return Ok(());
    }
    let plain = match literal {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    };
    let known: Vec<String> = param.values.iter().map(ParamValue::plain).collect();
    Err((value.at, unknown(&format!("value of the matrix parameter {name}"), &plain, known.iter().map(String::as_str))))
}

/// What a function gives for an argument; `labelled` in a comparison between cells.
pub fn apply_type(function: Function, labelled: bool, of: &Expr, ty: Ty) -> Result<Ty, Fail> {
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
