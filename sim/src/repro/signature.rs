//! What makes two failures the same failure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::Verdict;

/// The oracle or expectation that spoke, or the source file and message of a panic, numbers left out. It stays the
/// same when lines move and when values differ, which is what a shrinker and an old repro file need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Signature(String);

impl Signature {
    /// The signature of how a run ended; none when it passed, or when its process crashed and nothing is known.
    pub fn of(verdict: &Verdict) -> Option<Signature> {
        match verdict {
            Verdict::Pass | Verdict::Error { .. } => None,
            Verdict::Violation { what, .. } => Some(Signature(what.clone())),
            Verdict::Panic { message, .. } => Some(Signature(format!("panic: {}", without_numbers(message)))),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every run of digits that is no part of a word becomes `#`.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() && !before.is_ascii_alphabetic() {
            while chars.next_if(char::is_ascii_digit).is_some() {}
            out.push('#');
            before = '#';
        } else {
            out.push(c);
            before = c;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_same_one_whatever_its_numbers() {
        let of = |message: &str| {
            Signature::of(&Verdict::Panic { message: message.into(), at_ns: 7, events: vec![] }).unwrap()
        };
        let one = of("index 17 is above 16 (server/raft/src/log.rs:204)");
        assert_eq!(one.as_str(), "panic: index # is above # (server/raft/src/log.rs:#)");
        assert_eq!(one, of("index 3 is above 0 (server/raft/src/log.rs:9)"));
        assert_ne!(one, of("index 3 is above 0 (server/src/wal.rs:9)"));
        assert_eq!(Signature::of(&Verdict::Pass), None);
    }
}
