//! A 128-bit mix, and with it the canonical hash of a state.
//!
//! The hash of a state is a *sum*, modulo 2^128, of one mix per stored version and one per lease. A sum does not care
//! about order, so it can be kept up to date with one addition per version that comes and one subtraction per version
//! that goes, and a store rebuilt from a dump in any order arrives at the same number. Counters (revision, floor,
//! applied index and term) are folded in when the hash is read.
//!
//! The mix is not cryptographic. It has to tell states apart that bugs and bit flips make, not those an adversary
//! searches for.

use crate::history::{Version, VersionKind};
use crate::revision::{At, LeaseId};

/// Odd, no pattern (digits of the golden ratio and of pi): what is absorbed spreads upwards by multiplication.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const SEED: u128 = 0x2436_a0f4_3d6b_1e2f_243f_6a88_85a3_08d3;

/// What kind of thing is mixed, so that a lease never looks like a version.
const VERSION_TAG: u64 = 1;
const LEASE_TAG: u64 = 2;
const STATE_TAG: u64 = 3;

/// Absorbs words; each step is a bijection of the state for a given word, so nothing absorbed is lost at once.
struct Mixer(u128);

impl Mixer {
    fn new(tag: u64) -> Mixer {
        let mut mixer = Mixer(SEED);
        mixer.word(tag);
        mixer
    }

    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ u128::from(word)).wrapping_mul(SPREAD);
        self.0 = mixed ^ (mixed >> 67);
    }

    fn signed(&mut self, word: i64) {
        self.word(word.cast_unsigned());
    }

    fn wide(&mut self, word: u128) {
        self.word((word >> 64) as u64);
        self.word(word as u64);
    }

    /// The length goes first, so that no two byte strings absorb the same words.
    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    fn finish(mut self) -> u128 {
        self.word(0);
        self.word(0);
        self.0
    }
}

/// The share of one stored version. Covers the value's length and checksum, not its place.
pub(crate) fn version(key: &[u8], at: At, version: &Version) -> u128 {
    let mut mixer = Mixer::new(VERSION_TAG);
    mixer.bytes(key);
    mixer.signed(at.main);
    mixer.word(u64::from(at.sub));
    match version.kind {
        VersionKind::Tombstone => mixer.word(0),
        VersionKind::Put(value) => {
            mixer.word(1);
            mixer.signed(version.create);
            mixer.signed(version.version);
            mixer.signed(version.lease);
            mixer.word(u64::from(value.len) << 32 | u64::from(value.crc));
        }
    }
    mixer.finish()
}

/// The share of one lease. Its keys are not covered: the versions say which lease they hang on.
pub(crate) fn lease(id: LeaseId, ttl_seconds: i64, remaining_seconds: i64, granted_at: u64) -> u128 {
    let mut mixer = Mixer::new(LEASE_TAG);
    mixer.signed(id.0);
    mixer.signed(ttl_seconds);
    mixer.signed(remaining_seconds);
    mixer.word(granted_at);
    mixer.finish()
}

/// The hash of a whole state: the sum of the shares with the counters folded in.
pub(crate) fn state(shares: u128, revision: i64, compacted: i64, applied: (u64, u64)) -> u128 {
    let mut mixer = Mixer::new(STATE_TAG);
    mixer.wide(shares);
    mixer.signed(revision);
    mixer.signed(compacted);
    mixer.word(applied.0);
    mixer.word(applied.1);
    mixer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueRef;
    use std::collections::BTreeSet;

    fn put(len: u32, crc: u32) -> Version {
        let value = ValueRef { segment: 9, offset: 9, len, crc };
        Version { create: 2, version: 1, lease: 0, kind: VersionKind::Put(value) }
    }

    #[test]
    fn every_field_counts() {
        let at = At { main: 2, sub: 0 };
        let base = put(3, 4);
        let mut seen = BTreeSet::new();
        let mut add = |hash: u128| assert!(seen.insert(hash), "two different rows have the same mix");
        add(version(b"k", at, &base));
        add(version(b"k\0", at, &base));
        add(version(b"", at, &base));
        add(version(b"k", At { main: 3, sub: 0 }, &base));
        add(version(b"k", At { main: 2, sub: 1 }, &base));
        add(version(b"k", at, &Version { create: 1, ..base }));
        add(version(b"k", at, &Version { version: 2, ..base }));
        add(version(b"k", at, &Version { lease: 7, ..base }));
        add(version(b"k", at, &put(4, 4)));
        add(version(b"k", at, &put(3, 5)));
        add(version(b"k", at, &Version { kind: VersionKind::Tombstone, ..base }));
        add(lease(LeaseId(2), 3, 4, 5));
        add(lease(LeaseId(2), 4, 3, 5));
        add(lease(LeaseId(-2), 3, 4, 5));
        add(lease(LeaseId(2), 3, 4, 6));
    }

    #[test]
    fn the_place_of_a_value_does_not_count() {
        let at = At { main: 2, sub: 0 };
        let moved = ValueRef { segment: 1, offset: 2, len: 3, crc: 4 };
        let moved = Version { kind: VersionKind::Put(moved), ..put(3, 4) };
        assert_eq!(version(b"k", at, &put(3, 4)), version(b"k", at, &moved));
    }

    #[test]
    fn one_bit_in_changes_about_half_the_bits_out() {
        for bit in 0..64 {
            let (a, b) = (lease(LeaseId(0), 0, 5, 1), lease(LeaseId(1 << bit), 0, 5, 1));
            let changed = (a ^ b).count_ones();
            assert!((35..=93).contains(&changed), "bit {bit} changes {changed} of 128");
        }
    }

    /// Members of different builds compare these numbers: the function must not drift.
    #[test]
    fn the_function_is_fixed() {
        expect_test::expect![["ab8cd6d5b13faf20ccafbf13aa9612f1"]]
            .assert_eq(&format!("{:032x}", state(version(b"key", At { main: 2, sub: 0 }, &put(3, 4)), 2, -1, (7, 1))));
    }
}
