//! The trace of a run, read back: its events and asides, in order.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One line of a trace.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// The event's number, counting from 0; of an aside, the number of the event before it.
    pub n: u64,
    /// Nanoseconds of simulated time.
    pub at_ns: u64,
    /// What kind of event it is; absent in an aside.
    pub event: Option<String>,
    /// What kind of aside it is; absent in an event.
    pub aside: Option<String>,
    /// What only traces tell.
    #[serde(default)]
    pub detail: Map<String, Value>,
    /// The event's values.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl Line {
    /// The kind of event or aside.
    pub fn kind(&self) -> &str {
        self.event.as_deref().or(self.aside.as_deref()).unwrap_or_default()
    }

    /// A value or a detail by name.
    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).or_else(|| self.detail.get(name)).unwrap_or(&Value::Null)
    }

    /// A number by name; 0 when there is none.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name).as_u64().unwrap_or(0)
    }

    /// A text by name; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_default()
    }

    /// A list of numbers by name.
    pub fn numbers(&self, name: &str) -> Vec<u64> {
        self.get(name).as_array().map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_u64).collect())
    }
}

/// Reads a trace file. A last line cut short, as a crash leaves it, is left out.
#[expect(clippy::disallowed_methods, reason = "the parent's side: real files, outside every run")]
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        match serde_json::from_str(&line?) {
            Ok(line) => lines.push(line),
            Err(error) if error.is_eof() => break,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(lines)
}
