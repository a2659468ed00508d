//! What probes answer and expressions compute.

use crate::time::Nanos;
use std::cmp::Ordering;
use std::fmt;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: no leader, or an event that never came. Every comparison with it is false.
    Missing,
    /// True or false.
    Bool(bool),
    /// A count, a term, a share.
    Number(f64),
    /// A length of time.
    Duration(Nanos),
    /// A name, a release, a role. Texts of digits and dots compare as versions: `3.10` is above `3.9`.
    Text(String),
    /// One value for each of several members, or the elements of a list.
    List(Vec<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// The order of two single values; `None` when there is none.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(match (version(a), version(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.cmp(b),
            }),
            _ => None,
        }
    }

    /// A number, or a length of time in seconds.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(value) => Some(*value),
            Value::Duration(value) => Some(value.as_secs_f64()),
            _ => None,
        }
    }

    /// Whether the value counts as true where a yes or no is wanted.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Missing => false,
            Value::Bool(value) => *value,
            Value::Number(_) | Value::Duration(_) | Value::Text(_) => true,
            Value::List(items) => !items.is_empty(),
        }
    }
}

/// The parts of a version such as `3.6`.
fn version(text: &str) -> Option<Vec<u64>> {
    if !text.contains('.') {
        return None;
    }
    text.split('.').map(|part| part.parse().ok()).collect()
}

impl fmt::Display for Value {
    /// As the expression language writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Missing => f.write_str("missing"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Duration(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "'{value}'"),
            Value::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}
