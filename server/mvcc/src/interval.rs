//! Keys and intervals of keys: one algebra for range, delete, compare, watch and whoever checks permissions.

use alloc::sync::Arc;
use core::ops::Bound;

/// A key. Shared, because index, events and answers all name the same few keys.
pub type Key = Arc<[u8]>;

/// Where an interval ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The interval is the start key alone.
    Single,
    /// Every key from the start on.
    Open,
    /// Every key from the start on that is smaller than this one.
    Before(Key),
}

/// A set of neighbouring keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The smallest key of the interval.
    pub start: Key,
    /// Where it ends.
    pub end: End,
}

impl Interval {
    /// The interval a request names: no `range_end` is the one key, a single zero byte is an open end.
    pub fn from_wire(key: &[u8], range_end: &[u8]) -> Interval {
        let end = match range_end {
            [] => End::Single,
            [0] => End::Open,
            end => End::Before(Key::from(end)),
        };
        Interval { start: Key::from(key), end }
    }

    /// One key alone.
    pub fn single(key: Key) -> Interval {
        Interval { start: key, end: End::Single }
    }

    /// True when no key can be inside: it ends before it starts.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if end <= &self.start)
    }

    /// True when `key` is inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => *key == *self.start,
            End::Open => *self.start <= *key,
            End::Before(end) => *self.start <= *key && *key < **end,
        }
    }

    /// True when every key of `inner` is inside. An empty interval is inside any other.
    pub fn covers(&self, inner: &Interval) -> bool {
        if inner.is_empty() {
            return true;
        }
        if !self.contains(&inner.start) {
            return false;
        }
        match (&self.end, &inner.end) {
            (_, End::Single) | (End::Open, _) => true,
            (End::Before(end), End::Before(inner_end)) => inner_end <= end,
            // `[k, k + \0)` names one key, as `k` alone does.
            (End::Single, End::Before(inner_end)) => is_next_key(&self.start, inner_end),
            (End::Single | End::Before(_), End::Open) => false,
        }
    }

    /// True when some key can be in both.
    pub fn overlaps(&self, other: &Interval) -> bool {
        !self.is_empty() && !other.is_empty() && self.reaches(&other.start) && other.reaches(&self.start)
    }

    /// True when the interval does not end before `key`.
    fn reaches(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => *key <= *self.start,
            End::Open => true,
            End::Before(end) => *key < **end,
        }
    }

    /// The upper bound, for walks in key order.
    pub(crate) fn upper(&self) -> Bound<&[u8]> {
        match &self.end {
            End::Single => Bound::Included(&self.start),
            End::Open => Bound::Unbounded,
            End::Before(end) => Bound::Excluded(end),
        }
    }
}

/// True when `next` is the smallest key after `key`.
fn is_next_key(key: &[u8], next: &[u8]) -> bool {
    matches!(next.split_last(), Some((0, head)) if head == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(key: &str, end: &str) -> Interval {
        Interval::from_wire(key.as_bytes(), end.as_bytes())
    }

    #[test]
    fn no_end_is_the_key_alone() {
        let one = interval("b", "");
        assert!(one.contains(b"b"));
        assert!(!one.contains(b"a"));
        assert!(!one.contains(b"b\0"));
    }

    #[test]
    fn a_zero_byte_is_an_open_end() {
        let open = interval("b", "\0");
        assert!(open.contains(&[0xff; 9]));
        assert!(!open.contains(b"a"));
    }

    #[test]
    fn two_zero_bytes_are_an_ordinary_end() {
        assert_eq!(interval("a", "\0\0").end, End::Before(Key::from(&b"\0\0"[..])));
    }

    #[test]
    fn an_end_at_or_below_the_start_is_empty() {
        assert!(interval("b", "b").is_empty());
        assert!(interval("b", "a").is_empty());
        assert!(!interval("b", "a").contains(b"b"));
        assert!(!interval("b", "c").is_empty());
    }

    #[test]
    fn overlap_is_what_a_common_key_shows() {
        let ends = ["", "\0", "a", "b", "b\0", "c", "d"];
        let keys: [&[u8]; 8] = [b"\0", b"a", b"a\0", b"b", b"b\0", b"c", b"c\0", b"d"];
        for (a_key, a_end, b_key, b_end) in ends
            .iter()
            .flat_map(|x| ends.iter().flat_map(move |y| [("a", *x, "b", *y), ("b", *x, "b", *y), ("c", *x, "a", *y)]))
        {
            let (a, b) = (interval(a_key, a_end), interval(b_key, b_end));
            let common = keys.iter().any(|key| a.contains(key) && b.contains(key));
            assert_eq!(a.overlaps(&b), common, "{a:?} {b:?}");
            assert_eq!(b.overlaps(&a), common, "{a:?} {b:?}");
        }
    }

    #[test]
    fn covering_means_no_key_is_left_outside() {
        assert!(interval("a", "c").covers(&interval("b", "")));
        assert!(interval("a", "c").covers(&interval("a", "c")));
        assert!(!interval("a", "c").covers(&interval("a", "\0")));
        assert!(interval("a", "\0").covers(&interval("b", "\0")));
        assert!(interval("a", "").covers(&interval("a", "a\0")));
        assert!(!interval("a", "").covers(&interval("a", "b")));
        assert!(interval("a", "").covers(&interval("x", "b")), "an empty interval is inside any other");
    }
}
