//! The log in memory: every entry after a base, which a checkpoint covers, and the base's term.
//!
//! ```text
//!   ...............| base | first ............................ last |
//!    forgotten      term   entries, contiguous, terms never decrease
//! ```
//!
//! This file knows positions and terms. What is durable is in `handover`, what is committed in `Raft`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::types::{Entry, Index, Term};

/// Entries in one slice, whatever their size: an empty one has none.
pub(crate) const SLICE_ENTRIES_MAX: usize = 16_384;

#[derive(Clone, Debug, Hash)]
pub(crate) struct Log {
    base: Index,
    base_term: Term,
    entries: VecDeque<Entry>,
    /// Payload bytes of `entries`.
    bytes: usize,
}

impl Log {
    /// Panics when the entries do not continue the base: then the disk gave us something that is not a log.
    pub(crate) fn new(base: Index, base_term: Term, entries: Vec<Entry>) -> Log {
        let mut log = Log { base, base_term, entries: VecDeque::with_capacity(entries.len()), bytes: 0 };
        for entry in entries {
            log.push(entry);
        }
        log
    }

    pub(crate) fn base(&self) -> Index {
        self.base
    }

    pub(crate) fn first(&self) -> Index {
        self.base.next()
    }

    pub(crate) fn last(&self) -> Index {
        Index(self.base.0 + self.entries.len() as u64)
    }

    pub(crate) fn last_term(&self) -> Term {
        self.entries.back().map_or(self.base_term, |entry| entry.term)
    }

    fn position(&self, index: Index) -> Option<usize> {
        index.0.checked_sub(self.base.0 + 1).map(|position| position as usize)
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.position(index)?)
    }

    /// `None` outside `base..=last`.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base { Some(self.base_term) } else { self.get(index).map(|entry| entry.term) }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last().next(), "a gap in the log");
        assert!(self.last_term() <= entry.term, "terms go back at {}", entry.index);
        self.bytes += entry.payload.size_bytes();
        self.entries.push_back(entry);
    }

    /// Payload bytes of all entries in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest position after which the entries hold at most `max_bytes`.
    pub(crate) fn newest_within(&self, max_bytes: usize) -> Index {
        let (mut bytes, mut at) = (self.bytes, self.base);
        for entry in &self.entries {
            if bytes <= max_bytes {
                break;
            }
            bytes -= entry.payload.size_bytes();
            at = entry.index;
        }
        at
    }

    /// Forgets everything after `keep`.
    pub(crate) fn truncate(&mut self, keep: Index) {
        assert!(self.base <= keep, "cannot truncate to {keep}: forgotten up to {}", self.base);
        self.bytes -= self.size_bytes(keep.next(), self.last());
        self.entries.truncate((keep.0 - self.base.0) as usize);
    }

    /// Forgets everything up to and including `upto`, which becomes the base.
    pub(crate) fn compact(&mut self, upto: Index) {
        let Some(term) = self.term_at(upto).filter(|_| self.base < upto) else { return };
        self.bytes -= self.size_bytes(self.first(), upto);
        self.entries.drain(..(upto.0 - self.base.0) as usize);
        (self.base, self.base_term) = (upto, term);
    }

    /// Replaces everything by a snapshot's last entry.
    pub(crate) fn reset(&mut self, base: Index, base_term: Term) {
        *self = Log { base, base_term, entries: VecDeque::new(), bytes: 0 };
    }

    /// Copies entries from `from` up to `upto`, at most [`SLICE_ENTRIES_MAX`] and as many as fit into `max_bytes`, but
    /// at least one, and their bytes.
    pub(crate) fn slice(&self, from: Index, upto: Index, max_bytes: usize) -> (Vec<Entry>, usize) {
        let Some(start) = self.position(from).filter(|_| from <= upto) else { return (Vec::new(), 0) };
        let most = ((upto.0 - from.0 + 1) as usize).min(SLICE_ENTRIES_MAX);
        let (mut count, mut bytes) = (0, 0);
        for entry in self.entries.range(start..).take(most) {
            let size = entry.payload.size_bytes();
            if count > 0 && bytes + size > max_bytes {
                break;
            }
            count += 1;
            bytes += size;
        }
        (self.entries.range(start..start + count).cloned().collect(), bytes)
    }

    /// Copies all entries from `from` on.
    pub(crate) fn suffix(&self, from: Index) -> Vec<Entry> {
        let start = self.position(from).expect("the suffix is in memory").min(self.entries.len());
        self.entries.range(start..).cloned().collect()
    }

    /// Payload bytes of the entries in `from..=upto`.
    pub(crate) fn size_bytes(&self, from: Index, upto: Index) -> usize {
        let Some(start) = self.position(from).filter(|_| from <= upto) else { return 0 };
        let end = start + (upto.0 - from.0 + 1) as usize;
        self.entries.range(start..end).map(|entry| entry.payload.size_bytes()).sum()
    }

    /// The newest position, not after `index`, whose term is at most `term`: the only place where a log with an entry
    /// of `term` at `index` can agree with this one. Term 0 stands for a position whose term is forgotten.
    pub(crate) fn newest_of_term(&self, index: Index, term: Term) -> (Index, Term) {
        if index < self.base {
            return (index, Term(0));
        }
        let count = self.entries.partition_point(|entry| entry.index <= index && entry.term <= term);
        match count.checked_sub(1) {
            Some(at) => (self.entries[at].index, self.entries[at].term),
            None if self.base_term <= term => (self.base, self.base_term),
            None => (self.base.prev(), Term(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use super::*;
    use crate::types::Payload;

    /// A log after base 10 (term 1) with an entry of three bytes for each term.
    fn log(terms: &[u64]) -> Log {
        let entry = |(at, &term): (usize, &u64)| Entry {
            term: Term(term),
            index: Index(11 + at as u64),
            payload: Payload::Data(Arc::from(&b"abc"[..])),
        };
        Log::new(Index(10), Term(1), terms.iter().enumerate().map(entry).collect())
    }

    #[test]
    fn slice_is_bounded_by_bytes_but_never_empty() {
        let log = log(&[1, 1, 2, 3]);
        let check = |from, upto, max_bytes, expected: &[u64]| {
            let (entries, bytes) = log.slice(Index(from), Index(upto), max_bytes);
            assert_eq!(entries.iter().map(|entry| entry.index.0).collect::<Vec<_>>(), expected);
            assert_eq!(bytes, 3 * expected.len());
        };
        check(11, 14, 1000, &[11, 12, 13, 14]);
        check(11, 14, 6, &[11, 12]);
        check(11, 14, 1, &[11]);
        check(12, 13, 1000, &[12, 13]);
        check(14, 20, 1000, &[14]);
        check(13, 12, 1000, &[]);
        check(15, 14, 1000, &[]);
    }

    #[test]
    fn newest_of_term_steps_over_whole_terms() {
        let log = log(&[1, 2, 2, 5]);
        let check = |index, term, expected: (u64, u64)| {
            assert_eq!(log.newest_of_term(Index(index), Term(term)), (Index(expected.0), Term(expected.1)));
        };
        check(14, 5, (14, 5));
        check(14, 4, (13, 2));
        check(14, 1, (11, 1));
        check(12, 2, (12, 2));
        check(99, 9, (14, 5));
        check(10, 1, (10, 1));
        check(14, 0, (9, 0));
        check(5, 9, (5, 0));
    }

    #[test]
    fn compaction_keeps_the_base_term() {
        let mut log = log(&[1, 2, 2, 5]);
        log.compact(Index(13));
        assert_eq!((log.first(), log.last(), log.term_at(Index(13))), (Index(14), Index(14), Some(Term(2))));
        assert_eq!(log.term_at(Index(12)), None);
        log.compact(Index(11));
        assert_eq!(log.first(), Index(14), "never back");
        log.truncate(Index(13));
        assert_eq!((log.last(), log.last_term()), (Index(13), Term(2)));
        assert_eq!(log.bytes(), 0);
    }

    #[test]
    fn bytes_are_counted_through_every_change() {
        let mut log = log(&[1, 2, 2, 5]);
        assert_eq!((log.bytes(), log.newest_within(12), log.newest_within(11)), (12, Index(10), Index(11)));
        assert_eq!((log.newest_within(6), log.newest_within(0)), (Index(12), Index(14)));
        log.truncate(Index(13));
        assert_eq!(log.bytes(), 9);
        log.compact(Index(12));
        assert_eq!(log.bytes(), 3);
        log.reset(Index(40), Term(6));
        assert_eq!((log.bytes(), log.newest_within(0)), (0, Index(40)));
    }
}
