//! What watchers are told: the changes of one revision, captured when they happen.

use crate::history::{Row, Stored};
use crate::interval::Key;
use crate::revision::{LeaseId, Revision};
use crate::value::ValueRef;
use alloc::vec::Vec;

/// What happened to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It got a value.
    Put,
    /// It was deleted.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key after the change; of a deletion only `key` and `modified` are set.
    pub row: Row,
    /// The key as the previous revision left it; none for a creation, and none when compaction took it. Captured
    /// whether or not a watcher wants it.
    pub prev: Option<Row>,
}

impl Event {
    pub(crate) fn new(key: &Key, stored: &Stored, prev: Option<Row>) -> Event {
        let (kind, row) = match stored.row(key) {
            Some(row) => (EventKind::Put, row),
            None => (EventKind::Delete, deleted(key, stored.at.main)),
        };
        let is_creation = kind == EventKind::Put && row.create == row.modified;
        Event { kind, row, prev: prev.filter(|_| !is_creation) }
    }

    /// How many bytes of keys and values the event carries.
    pub fn size_bytes(&self, with_prev: bool) -> usize {
        let of = |row: &Row| row.key.len() + row.value.len as usize;
        of(&self.row) + self.prev.as_ref().filter(|_| with_prev).map_or(0, of)
    }
}

fn deleted(key: &Key, main: i64) -> Row {
    Row {
        key: Key::clone(key),
        create: Revision(0),
        modified: Revision(main),
        version: 0,
        lease: LeaseId::NONE,
        value: ValueRef::EMPTY,
    }
}

/// All changes of one revision, in the order they happened.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionEvents {
    /// The revision.
    pub revision: Revision,
    /// Its changes: never none.
    pub events: Vec<Event>,
}
