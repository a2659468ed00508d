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

/// A word of hexadecimal digits that is this long, and not letters alone, is the id of a member or lease, or a hash.
const ID_DIGITS_MIN: usize = 8;

/// Every run of digits that is no part of a word becomes `#`, and so does every id: they are drawn anew for each seed.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = if before.is_ascii_alphanumeric() { 0 } else { id_length(rest) };
        if 0 < word {
            rest = &rest[word..];
            out.push('#');
            before = '#';
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c.is_ascii_digit() && !before.is_ascii_alphanumeric() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            out.push('#');
            before = '#';
        } else {
            out.push(c);
            before = c;
        }
    }
    out
}

/// How long the id is that the text begins with; 0 when it begins with anything else.
fn id_length(text: &str) -> usize {
    let length = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let word = &text[..length];
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_long = ID_DIGITS_MIN <= digits.len() && digits.bytes().any(|byte| byte.is_ascii_digit());
    if is_hex && (is_long || digits.len() < word.len()) { length } else { 0 }
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

        let ids = of("member 8e9e05c52164694d lost lease 32695410dcc0ca06 at n3 (server/src/lease.rs:9)");
        assert_eq!(ids.as_str(), "panic: member # lost lease # at n3 (server/src/lease.rs:#)");
        assert_eq!(ids, of("member f1a5b0cc00000001 lost lease 7 at n3 (server/src/lease.rs:11)"));
        assert_eq!(of("at 0x1f, 0xffee").as_str(), "panic: at #, #");
        // Words stay, and short ones with digits mean something: n2 is not n3, and a u64 no u32.
        for word in ["deadbeef", "defaced", "n2", "u64", "raft2", "3ms", "e5", "v3rsion"] {
            assert_eq!(of(word).as_str().contains('#'), word == "3ms", "{word}");
        }
    }
}
