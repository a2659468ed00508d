//! Outcomes and values of the scenario language as they cross from the run's process to the runner's.

use evenkeel_scenario as scenario;
use evenkeel_scenario::Nanos;
use serde::{Deserialize, Serialize};

/// [`scenario::Value`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Nothing, for example the time to an event that never came.
    Missing,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Nanoseconds.
    Duration(i64),
    /// A word.
    Text(String),
    /// Several.
    List(Vec<Value>),
}

impl From<scenario::Value> for Value {
    fn from(value: scenario::Value) -> Value {
        match value {
            scenario::Value::Missing => Value::Missing,
            scenario::Value::Bool(value) => Value::Bool(value),
            // JSON has no infinities, and no such number can hold in a comparison.
            scenario::Value::Number(value) if !value.is_finite() => Value::Missing,
            scenario::Value::Number(value) => Value::Number(value),
            scenario::Value::Duration(Nanos(value)) => Value::Duration(value),
            scenario::Value::Text(value) => Value::Text(value),
            scenario::Value::List(values) => Value::List(values.into_iter().map(Value::from).collect()),
        }
    }
}

impl From<Value> for scenario::Value {
    fn from(value: Value) -> scenario::Value {
        match value {
            Value::Missing => scenario::Value::Missing,
            Value::Bool(value) => scenario::Value::Bool(value),
            Value::Number(value) => scenario::Value::Number(value),
            Value::Duration(value) => scenario::Value::Duration(Nanos(value)),
            Value::Text(value) => scenario::Value::Text(value),
            Value::List(values) => scenario::Value::List(values.into_iter().map(scenario::Value::from).collect()),
        }
    }
}

/// [`scenario::Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It held.
    Held,
    /// Nothing was asked.
    Vacuous,
    /// It did not hold.
    Violated {
        /// Simulated time.
        at_ns: i64,
        /// What was seen.
        message: String,
    },
    /// The run ended too soon.
    Undecided(String),
    /// Which conditions of a `sometimes` were seen.
    Seen(Vec<bool>),
    /// Whether the run counts for a `ratio`.
    Counts(bool),
}

impl From<scenario::Outcome> for Outcome {
    fn from(outcome: scenario::Outcome) -> Outcome {
        match outcome {
            scenario::Outcome::Held => Outcome::Held,
            scenario::Outcome::Vacuous => Outcome::Vacuous,
            scenario::Outcome::Violated(violation) => {
                Outcome::Violated { at_ns: violation.at.0, message: violation.message }
            }
            scenario::Outcome::Undecided(why) => Outcome::Undecided(why),
            scenario::Outcome::Seen(seen) => Outcome::Seen(seen),
            scenario::Outcome::Counts(counts) => Outcome::Counts(counts),
        }
    }
}

impl Outcome {
    /// The same for the scenario language; `expect` is whose outcome it is.
    pub fn of(self, expect: &str) -> scenario::Outcome {
        match self {
            Outcome::Held => scenario::Outcome::Held,
            Outcome::Vacuous => scenario::Outcome::Vacuous,
            Outcome::Violated { at_ns, message } => {
                let expect = expect.to_owned();
                scenario::Outcome::Violated(scenario::Violation { expect, at: Nanos(at_ns), message })
            }
            Outcome::Undecided(why) => scenario::Outcome::Undecided(why),
            Outcome::Seen(seen) => scenario::Outcome::Seen(seen),
            Outcome::Counts(counts) => scenario::Outcome::Counts(counts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crosses_comes_out_the_same() {
        use scenario::{Outcome as O, Value as V};
        let values = [
            V::Missing,
            V::Bool(true),
            V::Number(0.1),
            V::Duration(Nanos(-5)),
            V::Text("x".into()),
            V::List(vec![V::Number(1.0), V::Missing]),
        ];
        for value in values {
            let json = serde_json::to_string(&Value::from(value.clone())).unwrap();
            assert_eq!(V::from(serde_json::from_str::<Value>(&json).unwrap()), value);
        }
        let violation = scenario::Violation { expect: "e".into(), at: Nanos(7), message: "m".into() };
        for outcome in [
            O::Held,
            O::Vacuous,
            O::Violated(violation),
            O::Undecided("u".into()),
            O::Seen(vec![true]),
            O::Counts(false),
        ] {
            let json = serde_json::to_string(&Outcome::from(outcome.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap().of("e"), outcome);
        }
    }
}
