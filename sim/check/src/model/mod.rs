//! The sequential store everything is compared with: every version of every key, readable at any past revision.
//!
//! It grows by [`Model::commit`], one revision at a time, and can step back by [`Model::undo`], which is what lets a
//! search try an order and drop it. [`Model::evaluate`] computes what an operation answers and writes in the state
//! *after a given revision*, without changing anything: an answer can therefore be checked long after its slot was
//! replayed, and nothing has to be held back. Compaction is not modelled; history below a compaction stays readable
//! here until [`Model::forget`] lets it go, and the rules about refusing such reads are interval rules (see
//! [`crate::linearizable`]).

mod evaluate;
mod range;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::history::{KeyRange, KeyValue};
use crate::ids::*;

pub use evaluate::Effect;

/// What is stored under a live key, its modification revision apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The value.
    pub value: Bytes,
    /// Revision of the put that created this generation.
    pub created: Revision,
    /// Puts in this generation.
    pub version: i64,
    /// The attached lease.
    pub lease: LeaseId,
}

/// One change of one key; `None` deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// What is there afterwards.
    pub live: Option<Live>,
}

#[derive(Clone, Debug)]
struct Version {
    modified: Revision,
    live: Option<Live>,
}

impl Live {
    /// The row as a client sees it.
    pub fn row(&self, key: &Bytes, modified: Revision) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            created: self.created,
            modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// Every version of every key, up to a head revision.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// `journal[n]` holds the writes of revision `n + 2 + forgotten`.
    journal: VecDeque<Vec<Write>>,
    /// So many revisions were forgotten.
    forgotten: i64,
    /// Keys that were attached to the lease at any time: a superset of those attached now.
    ever_attached: BTreeMap<LeaseId, BTreeSet<Bytes>>,
}

impl Model {
    /// The newest replayed revision.
    pub fn head(&self) -> Revision {
        Revision(self.forgotten + self.journal.len() as i64 + 1)
    }

    /// The oldest state that can be read: what later revisions changed is known.
    pub fn oldest(&self) -> Revision {
        Revision(self.forgotten + 1)
    }

    /// What this revision, newer than the oldest state, changed, in order.
    pub fn writes(&self, revision: Revision) -> &[Write] {
        &self.journal[self.slot(revision)]
    }

    fn slot(&self, revision: Revision) -> usize {
        assert!(self.oldest() < revision, "no writes of {revision} are known");
        (revision.0 - 2 - self.forgotten) as usize
    }

    /// Lets go of everything that only states before `oldest` need. Looks at every version of the keys concerned: to be
    /// called for many revisions at a time.
    pub fn forget(&mut self, oldest: Revision) {
        let count = (oldest.0 - self.oldest().0).clamp(0, self.journal.len() as i64);
        self.forgotten += count;
        let oldest = self.oldest();
        let gone: BTreeSet<Bytes> = self.journal.drain(..count as usize).flatten().map(|write| write.key).collect();
        for key in gone {
            let Some(versions) = self.keys.get_mut(&key) else { continue };
            let upto = versions.partition_point(|version| version.modified <= oldest);
            let stays = versions[..upto].last().is_some_and(|version| version.live.is_some());
            versions.drain(..upto - usize::from(stays));
            if versions.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    /// Makes these writes the next revision.
    pub fn commit(&mut self, writes: Vec<Write>) {
        assert!(!writes.is_empty(), "a revision changes something");
        let modified = self.head().next();
        for write in &writes {
            if let Some(live) = &write.live
                && live.lease != LeaseId::NONE
            {
                self.ever_attached.entry(live.lease).or_default().insert(write.key.clone());
            }
            let version = Version { modified, live: write.live.clone() };
            match self.keys.get_mut(&write.key) {
                Some(versions) => versions.push(version),
                None => drop(self.keys.insert(write.key.clone(), vec![version])),
            }
        }
        self.journal.push_back(writes);
    }

    /// Takes the newest revision back.
    pub fn undo(&mut self) {
        let writes = self.journal.pop_back().expect("undo without commit");
        for write in writes {
            self.keys.get_mut(&write.key).and_then(Vec::pop).expect("the journal names existing versions");
        }
    }

    /// The key as of `at`.
    pub fn get(&self, key: &[u8], at: Revision) -> Option<(Revision, &Live)> {
        newest(self.keys.get(key)?, at)
    }

    /// The live keys of a range as of `at`, in key order.
    pub fn rows<'a>(
        &'a self,
        range: &KeyRange,
        at: Revision,
    ) -> impl Iterator<Item = (&'a Bytes, Revision, &'a Live)> + use<'a> {
        let start: &[u8] = &range.key;
        let (low, high) = if range.end.is_empty() {
            (Bound::Included(start), Bound::Included(start))
        } else if range.is_open() {
            (Bound::Included(start), Bound::Unbounded)
        } else {
            // An empty or inverted range holds nothing; the map would panic on it.
            (Bound::Included(start), Bound::Excluded(range.end.as_ref().max(start)))
        };
        let empty = matches!(high, Bound::Excluded(end) if end == start);
        let low = if empty { Bound::Excluded(start) } else { low };
        let high = if empty { Bound::Included(start) } else { high };
        self.keys
            .range::<[u8], _>((low, high))
            .filter_map(move |(key, versions)| newest(versions, at).map(|(modified, live)| (key, modified, live)))
    }

    /// The keys attached to a lease as of `at`, in key order.
    pub fn attached<'a>(&'a self, lease: LeaseId, at: Revision) -> impl Iterator<Item = &'a Bytes> + use<'a> {
        self.ever_attached
            .get(&lease)
            .into_iter()
            .flatten()
            .filter(move |key| self.get(key, at).is_some_and(|(_, live)| live.lease == lease))
    }

    /// Leases that have keys as of `at`.
    pub fn attached_leases(&self, at: Revision) -> impl Iterator<Item = LeaseId> + '_ {
        self.ever_attached.keys().copied().filter(move |lease| self.attached(*lease, at).next().is_some())
    }

    /// A number that names the current state: equal states are equal, different ones differ almost certainly.
    pub fn digest(&self) -> u64 {
        let mut mix = Mix::default();
        for (key, versions) in &self.keys {
            let Some(Version { modified, live: Some(live) }) = versions.last() else { continue };
            mix.bytes(key);
            mix.bytes(&live.value);
            for number in [modified.0, live.created.0, live.version, live.lease.0] {
                mix.number(number as u64);
            }
        }
        mix.0
    }
}

fn newest(versions: &[Version], at: Revision) -> Option<(Revision, &Live)> {
    let upto = match versions.last() {
        Some(last) if last.modified <= at => versions.len(),
        _ => versions.partition_point(|version| version.modified <= at),
    };
    let version = &versions[upto.checked_sub(1)?];
    version.live.as_ref().map(|live| (version.modified, live))
}

/// A fixed hash: the same in every process and on every machine.
#[derive(Clone, Copy)]
pub(crate) struct Mix(pub u64);

impl Default for Mix {
    fn default() -> Self {
        Mix(0xcbf2_9ce4_8422_2325)
    }
}

impl Mix {
    pub(crate) fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }
}
