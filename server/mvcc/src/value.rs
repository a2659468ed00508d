//! Values are elsewhere: the store knows where a value's bytes are, never the bytes.

use alloc::vec::Vec;

/// Where a value's bytes are in this member's log, and their CRC32C. Opaque to this crate.
///
/// `len` and `crc` are equal on every member, `segment` and `offset` are this member's own business: the state hash
/// covers the first two and ignores the place. `len` 0 is the empty value, which has no bytes anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueRef {
    /// Number of the log segment that holds the bytes.
    pub segment: u32,
    /// Offset of the first byte in the segment.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
    /// CRC32C of the bytes.
    pub crc: u32,
}

impl ValueRef {
    /// The empty value.
    pub const EMPTY: ValueRef = ValueRef { segment: 0, offset: 0, len: 0, crc: 0 };

    /// True for the empty value, which is never loaded.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Reads the bytes of a value. Needed only to compare with a value and to sort by value.
pub trait Values {
    /// What reading can fail with. It ends the operation and leaves the store as it was.
    type Error;

    /// The bytes at `at`. Never called for the empty value.
    fn load(&self, at: &ValueRef) -> Result<Vec<u8>, Self::Error>;
}

/// Loads through `values`, except for the empty value.
pub(crate) fn load<V: Values>(values: &V, at: &ValueRef) -> Result<Vec<u8>, V::Error> {
    if at.is_empty() { Ok(Vec::new()) } else { values.load(at) }
}
