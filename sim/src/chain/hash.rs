//! The rolling hash.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A hash as reports carry it: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash128(pub u128);

impl fmt::Display for Hash128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Hash128 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash128 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Hash128).map_err(D::Error::custom)
    }
}

impl JsonSchema for Hash128 {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Hash128".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{1,32}$" })
    }
}

/// Two lanes of folded multiplication. Not a cryptographic hash: nobody here forges events.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    left: u64,
    right: u64,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { left: 0x243f_6a88_85a3_08d3, right: 0x1319_8a2e_0370_7344 }
    }
}

impl Chain {
    /// Folds one word in.
    pub fn word(&mut self, word: u64) {
        self.left = fold(self.left ^ word, 0xa076_1d64_78bd_642f).wrapping_add(self.right);
        self.right = fold(self.right.rotate_left(29) ^ word, 0xe703_7ed1_a0b4_28db) ^ self.left.rotate_left(17);
    }

    /// Folds bytes and their number in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(word));
        }
    }

    /// The hash of everything folded in so far.
    pub fn hash(&self) -> Hash128 {
        Hash128(u128::from(self.left) << 64 | u128::from(self.right))
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hash(bytes: &[u8]) -> Hash128 {
        let mut chain = Chain::default();
        chain.bytes(bytes);
        chain.hash()
    }

    #[test]
    fn every_flipped_bit_and_every_length_gives_another_hash() {
        let base = *b"the quick brown fox jumps";
        let mut seen = BTreeSet::from([hash(&base)]);
        for bit in 0..base.len() * 8 {
            let mut flipped = base;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(hash(&flipped)), "bit {bit}");
        }
        for len in 0..40 {
            assert!(seen.insert(hash(&[0; 40][..len])), "length {len}");
        }
    }

    #[test]
    fn the_hash_of_given_bytes_never_changes() {
        assert_eq!(hash(b"evenkeel").to_string(), "7821bae563eefc871ac7658a27e37132");
    }
}
