//! The values of an event: encoded once, for the hash, for the ring of last events and for the trace.

use std::fmt::Write;

/// Longer texts and bytes are kept as their length, their beginning and a hash.
const KEPT_BYTES_MAX: usize = 240;

/// A value of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number or an id.
    U64(u64),
    /// A number that may be negative.
    I64(i64),
    /// Yes or no.
    Bool(bool),
    /// A hash.
    U128(u128),
    /// A text.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

/// A named value.
pub type Field<'a> = (&'static str, Value<'a>);

macro_rules! from {
    ($($from:ty => $variant:ident $(as $to:ty)?),* $(,)?) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from(value: $from) -> Value<'a> {
                Value::$variant(value $(as $to)?)
            }
        }
    )*};
}
from!(u64 => U64, u32 => U64 as u64, usize => U64 as u64, i64 => I64, bool => Bool, u128 => U128, &'a str => Text, &'a [u8] => Bytes);

impl Value<'_> {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Value::U64(value) => tagged(out, 0, value.to_le_bytes()),
            Value::I64(value) => tagged(out, 1, value.to_le_bytes()),
            Value::Bool(value) => tagged(out, 2, [u8::from(value)]),
            Value::U128(value) => tagged(out, 3, value.to_le_bytes()),
            Value::Text(text) => blob(out, 4, text.as_bytes()),
            Value::Bytes(bytes) => blob(out, 5, bytes),
        }
    }
}

fn tagged<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    out.reserve(1 + N);
    out.push(tag);
    out.extend_from_slice(&bytes);
}

fn blob(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    tagged(out, tag, (bytes.len() as u64).to_le_bytes());
    if bytes.len() <= KEPT_BYTES_MAX {
        out.extend_from_slice(bytes);
    } else {
        let mut chain = super::Chain::default();
        chain.bytes(bytes);
        out.extend_from_slice(&bytes[..KEPT_BYTES_MAX]);
        out.extend_from_slice(&chain.hash().0.to_le_bytes());
    }
}

/// Reads encoded values back, to be shown. The encoding is ours and never leaves the process.
pub(super) struct Decoder<'a>(pub &'a [u8]);

impl<'a> Decoder<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_first_chunk().expect("an encoded value is whole");
        self.0 = tail;
        *head
    }

    fn blob(&mut self) -> (&'a [u8], bool) {
        let len = u64::from_le_bytes(self.take()) as usize;
        let (kept, rest) = self.0.split_at(len.min(KEPT_BYTES_MAX));
        self.0 = if len <= KEPT_BYTES_MAX { rest } else { &rest[16..] };
        (kept, KEPT_BYTES_MAX < len)
    }

    /// Appends the next value as JSON, or as plain text for people.
    pub fn show(&mut self, out: &mut String, json: bool) {
        let tag = self.take::<1>()[0];
        let fits = "writing to a string cannot fail";
        match tag {
            0 => write!(out, "{}", u64::from_le_bytes(self.take())).expect(fits),
            1 => write!(out, "{}", i64::from_le_bytes(self.take())).expect(fits),
            2 => out.push_str(if self.take::<1>()[0] == 1 { "true" } else { "false" }),
            3 => {
                let hash = u128::from_le_bytes(self.take());
                let quote = if json { "\"" } else { "" };
                write!(out, "{quote}{hash:032x}{quote}").expect(fits);
            }
            4 | 5 => {
                let (kept, cut) = self.blob();
                let mut text =
                    if tag == 4 { String::from_utf8_lossy(kept).into_owned() } else { kept.escape_ascii().to_string() };
                if cut {
                    text.push('…');
                }
                match json {
                    true => out.push_str(&serde_json::Value::from(text).to_string()),
                    false if text.is_empty() || text.contains([' ', '=']) => write!(out, "{text:?}").expect(fits),
                    false => out.push_str(&text),
                }
            }
            other => unreachable!("no value has the tag {other}"),
        }
    }
}
