//! Values for tests. The segment says which value it is; the offset only makes places differ.

use evenkeel_mvcc::{ValueRef, Values};
use std::cell::RefCell;
use std::convert::Infallible;

/// Remembers values and hands out a new place for each, also for equal ones.
#[derive(Default)]
pub struct Pool {
    values: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    /// A new place for these bytes.
    pub fn place(&self, bytes: &[u8]) -> ValueRef {
        if bytes.is_empty() {
            return ValueRef::EMPTY;
        }
        let mut values = self.values.borrow_mut();
        values.push(bytes.to_vec());
        // FNV-1a in place of CRC32C: equal for equal bytes is all that counts.
        let crc = bytes.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        ValueRef { segment: 1, offset: values.len() as u32 - 1, len: bytes.len() as u32, crc }
    }

    pub fn bytes(&self, at: &ValueRef) -> Vec<u8> {
        if at.is_empty() { Vec::new() } else { self.values.borrow()[at.offset as usize].clone() }
    }
}

impl Values for Pool {
    type Error = Infallible;

    fn load(&self, at: &ValueRef) -> Result<Vec<u8>, Infallible> {
        assert!(!at.is_empty(), "the empty value is not loaded");
        Ok(self.bytes(at))
    }
}

/// The value of a result that cannot fail to load.
pub fn loaded<T>(result: Result<T, Infallible>) -> T {
    let Ok(value) = result;
    value
}
