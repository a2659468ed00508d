//! A bounded cache of values, keyed by where they lie. Second chance ("clock") replacement: a hit costs a flag.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Segment and offset.
pub(crate) type Key = (u32, u32);

/// Bytes a cached value costs beside its own.
const SLOT_BYTES: usize = 96;
/// A value longer than this part of the whole cache is not kept.
const LARGEST_PART: usize = 8;

struct Slot {
    key: Key,
    value: Bytes,
    used: bool,
}

pub(crate) struct Cache {
    limit_bytes: usize,
    bytes: usize,
    places: BTreeMap<Key, usize>,
    slots: Vec<Slot>,
    hand: usize,
}

impl Cache {
    pub fn new(limit_bytes: usize) -> Cache {
        Cache { limit_bytes, bytes: 0, places: BTreeMap::new(), slots: Vec::new(), hand: 0 }
    }

    pub fn get(&mut self, key: Key) -> Option<Bytes> {
        let slot = &mut self.slots[*self.places.get(&key)?];
        slot.used = true;
        Some(slot.value.clone())
    }

    /// Takes in a value that owns its memory.
    pub fn insert(&mut self, key: Key, value: Bytes) {
        let cost = value.len() + SLOT_BYTES;
        if self.limit_bytes / LARGEST_PART < cost {
            return;
        }
        if let Some(&at) = self.places.get(&key) {
            self.remove_at(at);
        }
        while self.limit_bytes < self.bytes + cost {
            self.evict();
        }
        self.bytes += cost;
        self.places.insert(key, self.slots.len());
        self.slots.push(Slot { key, value, used: false });
    }

    /// Forgets everything of a segment.
    pub fn forget(&mut self, segment: u32) {
        let gone: Vec<Key> = self.places.range((segment, 0)..=(segment, u32::MAX)).map(|(&key, _)| key).collect();
        for key in gone {
            let at = self.places[&key];
            self.remove_at(at);
        }
    }

    fn evict(&mut self) {
        assert!(!self.slots.is_empty(), "an empty cache of {} bytes is over its limit", self.bytes);
        loop {
            self.hand %= self.slots.len();
            let slot = &mut self.slots[self.hand];
            if !slot.used {
                break;
            }
            slot.used = false;
            self.hand += 1;
        }
        self.remove_at(self.hand);
    }

    fn remove_at(&mut self, at: usize) {
        let gone = self.slots.swap_remove(at);
        self.places.remove(&gone.key);
        self.bytes -= gone.value.len() + SLOT_BYTES;
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.key, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    #[test]
    fn never_exceeds_its_limit_and_keeps_what_is_used() {
        let mut cache = Cache::new(10_000);
        cache.insert((1, 0), value(100));
        for offset in 1..1000 {
            cache.insert((1, offset), value(100 + offset as usize % 50));
            assert!(cache.bytes <= 10_000);
            assert_eq!(cache.bytes, cache.slots.iter().map(|slot| slot.value.len() + SLOT_BYTES).sum::<usize>());
            assert_eq!(cache.places.len(), cache.slots.len());
            assert!(cache.get((1, 0)).is_some(), "the hot value was evicted at {offset}");
        }
    }

    #[test]
    fn forgets_a_segment_and_nothing_else() {
        let mut cache = Cache::new(10_000);
        for segment in 1..4 {
            for offset in 0..5 {
                cache.insert((segment, offset), value(10));
            }
        }
        cache.forget(2);
        for segment in 1..4 {
            for offset in 0..5 {
                assert_eq!(cache.get((segment, offset)).is_some(), segment != 2);
            }
        }
    }

    #[test]
    fn huge_value_is_not_kept() {
        let mut cache = Cache::new(10_000);
        cache.insert((1, 0), value(9_000));
        assert!(cache.get((1, 0)).is_none());
    }
}
