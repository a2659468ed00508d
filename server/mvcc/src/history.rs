//! The versions of one key, oldest first.
//!
//! A version is a put or a tombstone at a position `(main, sub)`. A tombstone ends a *generation*: the next put creates
//! the key anew, with version 1. Most keys have one version, so that case is stored inline, without any allocation.
//!
//! What compaction at floor R keeps of a key: every version of revision R or later, so that a watcher may start at R;
//! and, when none of them is of R itself, the last version before R if it is a put, so that R can be read. A tombstone
//! *of* revision R stays (a watcher from R has to see the deletion, etcd #18089), an older one goes.

use crate::interval::Key;
use crate::revision::{At, LeaseId, Revision};
use crate::tree::{Summarize, Summary, Tree};
use crate::value::ValueRef;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

/// What a version did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionKind {
    /// Gave it this value.
    Put(ValueRef),
    /// Deleted it.
    Tombstone,
}

/// One version, without its key and position. A tombstone has zero for all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub create: i64,
    pub version: i64,
    pub lease: i64,
    pub kind: VersionKind,
}

impl Version {
    pub const TOMBSTONE: Version = Version { create: 0, version: 0, lease: 0, kind: VersionKind::Tombstone };

    pub fn is_live(&self) -> bool {
        matches!(self.kind, VersionKind::Put(_))
    }

    pub fn value(&self) -> ValueRef {
        match self.kind {
            VersionKind::Put(value) => value,
            VersionKind::Tombstone => ValueRef::EMPTY,
        }
    }
}

impl Summarize for Version {
    type Summary = ();
    fn summarize(&self) {}
}

/// A version and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub at: At,
    pub version: Version,
}

impl Stored {
    /// The row a client sees; `None` for a tombstone.
    pub fn row(&self, key: &Key) -> Option<Row> {
        self.version.is_live().then(|| Row {
            key: Key::clone(key),
            create: Revision(self.version.create),
            modified: Revision(self.at.main),
            version: self.version.version,
            lease: LeaseId(self.version.lease),
            value: self.version.value(),
        })
    }

    /// From which compaction floor on this version is not kept, given the next one.
    pub fn dead_at(&self, next: Option<&Stored>) -> i64 {
        let past = self.at.main.saturating_add(1);
        match next {
            _ if !self.version.is_live() => past,
            Some(next) => next.at.main.max(past), // One of the same revision stays as long as the revision does.
            None => i64::MAX,
        }
    }
}

/// A key as it was at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The revision that created the key.
    pub create: Revision,
    /// The revision of this version.
    pub modified: Revision,
    /// Counts the versions since the creation, from 1.
    pub version: i64,
    /// The lease the key hangs on, or 0.
    pub lease: LeaseId,
    /// Where its value is.
    pub value: ValueRef,
}

/// The versions of one key; never empty while it is in the index.
#[derive(Clone)]
pub(crate) enum History {
    /// The first version of a new key without a lease: the numbers follow from the position.
    Fresh { main: i64, sub: u32, value: ValueRef },
    /// Any other single version.
    One(Arc<Stored>),
    /// Two versions or more.
    Many(Tree<At, Version>),
}

impl History {
    pub fn one(at: At, version: Version) -> History {
        match version {
            Version { create, version: 1, lease: 0, kind: VersionKind::Put(value) } if create == at.main => {
                History::Fresh { main: at.main, sub: at.sub, value }
            }
            version => History::One(Arc::new(Stored { at, version })),
        }
    }

    fn single(&self) -> Option<Stored> {
        match self {
            History::Fresh { main, sub, value } => Some(Stored {
                at: At { main: *main, sub: *sub },
                version: Version { create: *main, version: 1, lease: 0, kind: VersionKind::Put(*value) },
            }),
            History::One(stored) => Some(**stored),
            History::Many(_) => None,
        }
    }

    pub fn latest(&self) -> Stored {
        match self {
            History::Many(versions) => stored(versions.last().expect("a history is not empty")),
            single => single.single().expect("not many"),
        }
    }

    /// The newest version of revision `main` or before.
    pub fn at(&self, main: i64) -> Option<Stored> {
        match self {
            History::Many(versions) => versions.floor(&At::end_of(main)).map(stored),
            single => single.single().filter(|single| single.at.main <= main),
        }
    }

    /// The versions from position `from` on, oldest first.
    pub fn since(&self, from: At) -> impl Iterator<Item = Stored> {
        let many = match self {
            History::Many(versions) => Some(versions),
            _ => None,
        };
        let many = many
            .into_iter()
            .flat_map(move |versions| versions.scan::<At, _>(Some(&from), Bound::Unbounded, |()| true).map(stored));
        self.single().into_iter().filter(move |single| from <= single.at).chain(many)
    }

    pub fn all(&self) -> impl Iterator<Item = Stored> {
        self.since(At { main: i64::MIN, sub: 0 })
    }

    /// Adds a version after all others.
    pub fn push(&mut self, at: At, version: Version) {
        match self {
            History::Many(versions) => {
                debug_assert!(versions.last().is_some_and(|(last, _)| *last < at));
                versions.insert(at, version);
            }
            _ => {
                let first = self.latest();
                assert!(first.at < at, "versions come in order: {:?} then {at:?}", first.at);
                let mut versions = Tree::new();
                versions.insert(first.at, first.version);
                versions.insert(at, version);
                *self = History::Many(versions);
            }
        }
    }

    /// Takes the newest version away again; `false` when it was the only one (it stays, to be removed with its key).
    pub fn pop(&mut self) -> bool {
        match self {
            History::Many(versions) => {
                let (&last, _) = versions.last().expect("a history is not empty");
                versions.remove(&last);
                self.settle();
                true
            }
            _ => false,
        }
    }

    /// The lowest floor at which something is dead.
    pub fn dead_at(&self) -> i64 {
        let mut oldest = self.all();
        let first = oldest.next().expect("a history is not empty");
        first.dead_at(oldest.next().as_ref())
    }

    /// Drops what is dead at `floor`. Returns the dropped versions, with whether each one's value goes with it (a
    /// later version may share the bytes), and whether any version is left.
    pub fn compact(&mut self, floor: i64) -> (Vec<(Stored, bool)>, bool) {
        let mut dead = Vec::new();
        let mut versions = self.all().peekable();
        while let Some(version) = versions.next() {
            let next = versions.peek();
            if floor < version.dead_at(next) {
                break; // Later versions die later.
            }
            let value = version.version.value();
            let shared = next.is_some_and(|next| next.version.value() == value);
            dead.push((version, !value.is_empty() && !shared));
        }
        drop(versions);
        let left = dead.last().is_none_or(|(last, _)| last.at != self.latest().at);
        if left && let History::Many(versions) = self {
            for (version, _) in &dead {
                versions.remove(&version.at);
            }
            self.settle();
        }
        (dead, left)
    }

    /// Points every version that has its value at `from` to `to`, beginning at position `at` or the first one after.
    pub fn relocate(&mut self, at: At, from: ValueRef, to: ValueRef) -> bool {
        // Versions that keep a value share its place; they follow each other.
        let sharing = |stored: &Stored| stored.version.value() == from && stored.version.is_live();
        let moved: Vec<Stored> = self.since(at).take_while(sharing).collect();
        for Stored { at, version } in &moved {
            let version = Version { kind: VersionKind::Put(to), ..*version };
            match self {
                History::Many(versions) => drop(versions.update(at, |old| *old = version)),
                _ => *self = History::one(*at, version),
            }
        }
        !moved.is_empty()
    }

    /// Stores a lone version the short way.
    fn settle(&mut self) {
        if let History::Many(versions) = self
            && versions.len() == 1
        {
            let Stored { at, version } = stored(versions.first().expect("one is left"));
            *self = History::one(at, version);
        }
    }
}

fn stored((at, version): (&At, &Version)) -> Stored {
    Stored { at: *at, version: *version }
}

/// What the index knows about a set of keys without looking at them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeySummary {
    /// How many exist now.
    pub live: u64,
    /// The newest change of any of them.
    pub newest: i64,
    /// The lowest floor at which compaction finds something to drop.
    pub dead_at: i64,
}

impl Summary for KeySummary {
    fn empty() -> Self {
        KeySummary { live: 0, newest: i64::MIN, dead_at: i64::MAX }
    }

    fn join(&mut self, other: &Self) {
        self.live += other.live;
        self.newest = self.newest.max(other.newest);
        self.dead_at = self.dead_at.min(other.dead_at);
    }

    fn replace(&mut self, old: &Self, new: &Self) -> bool {
        self.live = self.live - old.live + new.live;
        let mut known = true;
        if self.newest <= new.newest {
            self.newest = new.newest;
        } else {
            known &= old.newest < self.newest;
        }
        if new.dead_at <= self.dead_at {
            self.dead_at = new.dead_at;
        } else {
            known &= self.dead_at < old.dead_at;
        }
        known
    }
}

impl Summarize for History {
    type Summary = KeySummary;

    fn summarize(&self) -> KeySummary {
        let latest = self.latest();
        let dead_at = if let History::Many(_) = self { self.dead_at() } else { latest.dead_at(None) };
        KeySummary { live: u64::from(latest.version.is_live()), newest: latest.at.main, dead_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history from text: `2` is a put at (2, 0), `3t` a tombstone, `3.1` a put at (3, 1).
    fn history(text: &str) -> History {
        let mut history: Option<History> = None;
        for word in text.split_whitespace() {
            let (word, tombstone) = word.strip_suffix('t').map_or((word, false), |word| (word, true));
            let (main, sub) = word.split_once('.').unwrap_or((word, "0"));
            let at = At { main: main.parse().unwrap(), sub: sub.parse().unwrap() };
            let before = history.as_ref().map(History::latest).filter(|latest| latest.version.is_live());
            let value = ValueRef { segment: 1, offset: at.main as u32 * 10 + at.sub, len: 1, crc: 0 };
            let version = match before {
                _ if tombstone => Version::TOMBSTONE,
                Some(Stored { version, .. }) => {
                    Version { version: version.version + 1, kind: VersionKind::Put(value), ..version }
                }
                None => Version { create: at.main, version: 1, lease: 0, kind: VersionKind::Put(value) },
            };
            match &mut history {
                Some(history) => history.push(at, version),
                None => history = Some(History::one(at, version)),
            }
        }
        history.unwrap()
    }

    fn print(history: &History) -> String {
        let words = history.all().map(|Stored { at, version }| {
            let sub = if at.sub == 0 { String::new() } else { format!(".{}", at.sub) };
            format!("{}{sub}{}", at.main, if version.is_live() { "" } else { "t" })
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(versions: &str, floor: i64, kept: &str) {
        let mut history = history(versions);
        let dead_at = history.summarize().dead_at;
        let (dead, left) = history.compact(floor);
        assert_eq!(if left { print(&history) } else { String::new() }, kept);
        assert_eq!(dead_at <= floor, !dead.is_empty(), "the summary says when there is something to drop");
        if left {
            assert!(floor < history.summarize().dead_at, "compacting once is enough");
        }
    }

    #[test]
    fn the_last_put_before_the_floor_stays() {
        check("2 4 7", 1, "2 4 7");
        check("2 4 7", 3, "2 4 7");
        check("2 4 7", 4, "4 7");
        check("2 4 7", 6, "4 7");
        check("2 4 7", 7, "7");
        check("2 4 7", 90, "7");
    }

    #[test]
    fn a_tombstone_at_the_floor_stays_and_below_it_goes() {
        check("2 4 5t", 4, "4 5t");
        check("2 4 5t", 5, "5t");
        check("2 4 5t", 6, "");
        check("2 5t 9", 5, "5t 9");
        check("2 5t 9", 6, "9");
        check("2 5t 9", 9, "9");
    }

    #[test]
    fn a_revision_is_kept_whole_or_not_at_all() {
        check("2 5.0t 5.1", 5, "5t 5.1");
        check("2 5.0t 5.1", 6, "5.1");
        check("5.0 5.1t", 5, "5 5.1t");
        check("5.0 5.1t", 6, "");
        check("5.0 5.1 5.2 9", 5, "5 5.1 5.2 9");
        check("5.0 5.1 5.2 9", 6, "5.2 9");
    }

    #[test]
    fn etcds_own_example_of_generations() {
        for (floor, kept) in [(1, "1 2 3t 4 5t"), (2, "2 3t 4 5t"), (4, "4 5t"), (5, "5t"), (6, "")] {
            check("1 2 3t 4 5t", floor, kept);
        }
        check("1 2 3t 4 5t", 3, "3t 4 5t");
    }

    #[test]
    fn a_shared_value_goes_with_its_last_version() {
        let mut history = history("2 4 6");
        let value = history.latest().version.value();
        let keep = Version { lease: 7, ..history.latest().version };
        history.push(At { main: 8, sub: 0 }, keep);
        history.push(At { main: 9, sub: 0 }, Version::TOMBSTONE);
        let freed = |history: &mut History, floor| {
            let (dead, _) = history.compact(floor);
            dead.iter().filter(|(_, frees)| *frees).map(|(stored, _)| stored.version.value()).collect::<Vec<_>>()
        };
        assert_eq!(freed(&mut history, 7).len(), 2, "versions 2 and 4");
        assert_eq!(freed(&mut history, 8), [], "6 goes, 8 still has its value");
        assert_eq!(freed(&mut history, 9), [value]);
    }

    #[test]
    fn a_shared_value_moves_for_all_its_versions() {
        let mut history = history("2 4");
        let from = history.latest().version.value();
        let to = ValueRef { segment: 8, ..from };
        history.push(At { main: 6, sub: 0 }, Version { version: 3, ..history.latest().version });
        assert!(!history.relocate(At { main: 2, sub: 0 }, from, to), "version 2 has another value");
        assert!(history.relocate(At { main: 4, sub: 0 }, from, to));
        let places: Vec<_> = history.all().map(|stored| stored.version.value().segment).collect();
        assert_eq!(places, [1, 8, 8]);
        assert!(!history.relocate(At { main: 4, sub: 0 }, from, to), "nothing is left at the old place");
    }

    #[test]
    fn the_single_version_case_takes_no_allocation_and_32_bytes() {
        assert_eq!(size_of::<History>(), 32);
        assert!(matches!(history("2"), History::Fresh { .. }));
        let mut compacted = history("2 3t 4");
        compacted.compact(9);
        assert!(matches!(compacted, History::Fresh { .. }));
    }

    #[test]
    fn reads_between_versions_see_the_older_one() {
        let history = history("2 4 5t 8");
        let version_at = |main| history.at(main).map(|stored| stored.at.main);
        assert_eq!(
            (1..10).map(version_at).collect::<Vec<_>>(),
            [None, Some(2), Some(2), Some(4), Some(5), Some(5), Some(5), Some(8), Some(8)]
        );
    }
}
