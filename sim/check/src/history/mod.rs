//! Operations as the client saw them: what was asked, what came back, or that nothing is known.
//!
//! The shapes follow etcd's messages with the fields that matter to a checker. Nested headers are left out: only the
//! top-level header carries a promise. Every value put is unique in the run (`client:sequence`), which names the
//! writer of whatever is read later.

mod reply;
mod request;
pub mod words;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::ids::*;

pub use reply::*;
pub use request::*;

/// Writes bytes as text, for traces a person reads.
fn text<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&String::from_utf8_lossy(bytes))
}

/// Writes a list of bytes as texts.
fn texts<S: Serializer>(list: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|bytes| String::from_utf8_lossy(bytes)))
}

/// Keys in etcd's convention: no end is one key, an end of one zero byte is everything from `key` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KeyRange {
    /// The first key.
    #[serde(serialize_with = "text")]
    pub key: Bytes,
    /// The first key after the range, empty, or one zero byte.
    #[serde(serialize_with = "text")]
    pub end: Bytes,
}

impl KeyRange {
    /// One key.
    pub fn one(key: impl Into<Bytes>) -> Self {
        KeyRange { key: key.into(), end: Bytes::new() }
    }
    /// `[key, end)`.
    pub fn span(key: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        KeyRange { key: key.into(), end: end.into() }
    }
    /// Every key.
    pub fn all() -> Self {
        KeyRange::span(&b"\0"[..], &b"\0"[..])
    }
    /// Whether the range has no upper end.
    pub fn is_open(&self) -> bool {
        self.end.as_ref() == b"\0"
    }
    /// Whether the key lies inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.end.is_empty() {
            return self.key == key;
        }
        self.key.as_ref() <= key && (self.is_open() || key < self.end.as_ref())
    }
}

/// A key and what is stored under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyValue {
    /// The key.
    #[serde(serialize_with = "text")]
    pub key: Bytes,
    /// The value.
    #[serde(serialize_with = "text")]
    pub value: Bytes,
    /// Revision of the put that created this generation of the key.
    pub created: Revision,
    /// Revision of the newest put.
    pub modified: Revision,
    /// Puts in this generation.
    pub version: i64,
    /// The attached lease.
    pub lease: LeaseId,
}
/// Which events a watch leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WatchFilters {
    /// No puts.
    pub no_put: bool,
    /// No deletes.
    pub no_delete: bool,
}

/// A request to create a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WatchRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// First wanted revision; 0 is "after now".
    pub start: Revision,
    /// Which events to leave out.
    pub filters: WatchFilters,
    /// Events carry what was there before.
    pub prev_kv: bool,
    /// Send bookmarks when idle.
    pub progress_notify: bool,
    /// Large responses may be split.
    pub fragment: bool,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// A delete; otherwise a put.
    pub deleted: bool,
    /// The new state; for a delete only key and `modified`.
    pub kv: KeyValue,
    /// The state before, if asked for and not compacted.
    pub prev_kv: Option<KeyValue>,
}
