//! The bytes of one file, kept in pages; a page that was only ever written with zeros costs nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

const PAGE_BYTES: u64 = 4096;

type Page = [u8; PAGE_BYTES as usize];

/// A sparse byte image. Clones share pages until one of them writes.
#[derive(Clone, Debug, Default)]
pub struct Image {
    len: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Image {
    /// Bytes in the image, holes included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` from `offset`; false when the image ends before that.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> bool {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| self.len < end) {
            return false;
        }
        for (page, inside, part) in pieces(offset, buffer.len()) {
            match self.pages.get(&page) {
                Some(bytes) => buffer[part.clone()].copy_from_slice(&bytes[inside]),
                None => buffer[part].fill(0),
            }
        }
        true
    }

    /// Writes `data` at `offset`, growing the image when needed.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (page, inside, part) in pieces(offset, data.len()) {
            let data = &data[part];
            match self.pages.entry(page) {
                Entry::Occupied(mut bytes) => Arc::make_mut(bytes.get_mut())[inside].copy_from_slice(data),
                Entry::Vacant(_) if all_zero(data) => {}
                Entry::Vacant(hole) => {
                    let mut bytes = [0; PAGE_BYTES as usize];
                    bytes[inside].copy_from_slice(data);
                    hole.insert(Arc::new(bytes));
                }
            }
        }
        if !data.is_empty() {
            self.len = self.len.max(offset + data.len() as u64);
        }
    }

    /// Keeps the pages that end within `range` together with `other`, where both hold the same bytes: a file that is
    /// only appended to is then in memory once.
    pub fn share(&mut self, other: &Image, range: Range<u64>) {
        for page in range.start / PAGE_BYTES..range.end / PAGE_BYTES {
            if let (Some(ours), Some(theirs)) = (self.pages.get_mut(&page), other.pages.get(&page))
                && ours == theirs
            {
                *ours = theirs.clone();
            }
        }
    }

    /// Cuts the image, or grows it with zeros.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            let inside = (len % PAGE_BYTES) as usize;
            if 0 < inside
                && let Some(bytes) = self.pages.get_mut(&(len / PAGE_BYTES))
            {
                Arc::make_mut(bytes)[inside..].fill(0);
            }
        }
        self.len = len;
    }

    /// True when both images hold the same bytes in `range`, all of them present.
    pub fn same(&self, other: &Image, range: Range<u64>) -> bool {
        if self.len.min(other.len) < range.end {
            return false;
        }
        pieces(range.start, (range.end - range.start) as usize).all(|(page, inside, _)| {
            match (self.pages.get(&page), other.pages.get(&page)) {
                (None, None) => true,
                (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours[inside.clone()] == theirs[inside],
                (Some(bytes), None) | (None, Some(bytes)) => all_zero(&bytes[inside]),
            }
        })
    }

    /// The end of the last byte that is not zero.
    pub fn used_len(&self) -> u64 {
        let last = |(page, bytes): (&u64, &Arc<Page>)| {
            bytes.iter().rposition(|byte| *byte != 0).map(|at| page * PAGE_BYTES + at as u64 + 1)
        };
        self.pages.iter().rev().find_map(last).unwrap_or(0)
    }

    /// Memory in use, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }
}

/// True when every byte is zero. Members fill whole segments with zeros before they write to them.
pub(super) fn all_zero(bytes: &[u8]) -> bool {
    // Without a way out inside a chunk it is compared as one vector.
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Cuts `len` bytes at `offset` along page borders: page number, range inside the page, range inside the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let inside = (at % PAGE_BYTES) as usize;
        let count = (PAGE_BYTES as usize - inside).min(len - done);
        let piece = (at / PAGE_BYTES, inside..inside + count, done..done + count);
        done += count;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(image: &Image) -> Vec<u8> {
        let mut all = vec![0xff; image.len() as usize];
        assert!(image.read(0, &mut all));
        all
    }

    proptest! {
        #[test]
        fn an_image_is_a_growing_byte_array(steps in prop::collection::vec((0u64..20_000, 0usize..9_000, any::<u8>()), 1..12)) {
            let (mut image, mut model) = (Image::default(), Vec::<u8>::new());
            for (offset, len, byte) in steps {
                if byte % 5 == 0 {
                    image.set_len(offset);
                    model.resize(offset as usize, 0);
                } else {
                    image.write(offset, &vec![byte; len]);
                    if len > 0 {
                        let end = offset as usize + len;
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].fill(byte);
                    }
                }
                prop_assert_eq!(&bytes(&image), &model);
                prop_assert_eq!(image.used_len() as usize, model.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1));
            }
        }
    }

    #[test]
    fn preallocated_zeros_cost_nothing_and_equal_written_zeros() {
        let mut hole = Image::default();
        hole.set_len(64 << 20);
        assert_eq!(hole.resident_bytes(), 0);
        let mut written = hole.clone();
        written.write(5_000, &[0; 9_000]);
        assert_eq!(written.resident_bytes(), 0);
        assert!(hole.same(&written, 0..64 << 20));
        written.write(5_000, &[7; 9_000]);
        written.write(5_000, &[0; 9_000]);
        assert!(hole.same(&written, 0..64 << 20));
        written.write(5_001, &[1]);
        assert!(!hole.same(&written, 5_001..5_002));
        assert!(hole.same(&written, 5_002..20_000));
    }

    #[test]
    fn reads_past_the_end_fail() {
        let mut image = Image::default();
        image.write(0, b"abc");
        assert!(image.read(1, &mut [0; 2]));
        assert!(!image.read(1, &mut [0; 3]));
        assert!(!image.read(u64::MAX, &mut [0; 3]));
    }

    #[test]
    fn pages_kept_together_part_again_at_the_next_write() {
        let page = PAGE_BYTES as usize;
        let (mut view, mut durable) = (Image::default(), Image::default());
        view.write(0, &vec![7; 2 * page + 10]);
        durable.write(0, &vec![7; 2 * page + 10]);
        durable.write(PAGE_BYTES, b"other");
        durable.share(&view, 5..2 * PAGE_BYTES + 10);
        let one = |view: &Image, durable: &Image, at| Arc::ptr_eq(&view.pages[&at], &durable.pages[&at]);
        assert_eq!([0, 1, 2].map(|at| one(&view, &durable, at)), [true, false, false], "full, different, not full");
        view.write(3, b"new");
        let mut bytes = [0; 6];
        assert!(durable.read(0, &mut bytes));
        assert_eq!(bytes, [7; 6]);
    }
}
