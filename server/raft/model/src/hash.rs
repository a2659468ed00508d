//! Fingerprints: 64 bits that stand for a state.
//!
//! Each word is folded in by a full 64 by 64 bit product, so every bit of the input reaches every bit of the result. Two
//! states of a million share a fingerprint with a chance of 1 in 30 million; then one of them is not looked at.

use std::hash::{Hash, Hasher};

/// A hasher that gives the same result in every run.
pub struct Fold(u64);

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Fold {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(word.rotate_left(24));
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, word: u8) {
        self.fold(word.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.fold(word.into());
    }
    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }
    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }
    fn write_isize(&mut self, word: isize) {
        self.fold(word as u64);
    }
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

/// The fingerprint of a value.
pub fn fingerprint(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = Fold(0x243f_6a88_85a3_08d3);
    value.hash(&mut hasher);
    hasher.finish()
}
