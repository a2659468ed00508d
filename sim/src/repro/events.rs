//! The events of a run, read back from its trace.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One event, as `--trace` writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 0.
    pub n: u64,
    /// Simulated time.
    pub at_ns: u64,
    /// Its kind.
    #[serde(rename = "event")]
    pub kind: String,
    /// Its values by name.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

impl Event {
    /// A text; empty when there is none of this name.
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number; 0 when there is none of this name.
    pub fn number(&self, name: &str) -> u64 {
        self.fields.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A number that may be negative.
    pub fn signed(&self, name: &str) -> i64 {
        self.fields.get(name).and_then(Value::as_i64).unwrap_or(0)
    }
}

/// Reads a whole trace. Asides, which are no events, are left out.
pub fn read(trace: impl BufRead) -> io::Result<Vec<Event>> {
    let read = |line: io::Result<String>| Ok(serde_json::from_str::<serde_json::Map<String, Value>>(&line?)?);
    let lines = trace.lines().map(read).filter(|line| !matches!(line, Ok(line) if line.contains_key("aside")));
    lines.map(|line: io::Result<_>| Ok(serde_json::from_value(Value::Object(line?))?)).collect()
}
