//! The heap of a simulator process: a run allocates two hundred times per operation, nearly always little.
//!
//! Small blocks come from lists by size, which belong to their thread: a block is one load and one store away, coming and
//! going, because who frees a block says how large it was. What is freed goes to whoever asks for that size next; it is
//! never given back, which is right for a process that plays one run. Larger blocks are mimalloc's.
//!
//! A block may be freed by another thread than the one that asked for it: it then serves that thread.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

use mimalloc::MiMalloc;

/// Sizes differ by this; no small block is aligned to more.
const STEP_BYTES: usize = 16;
/// The largest small block has so many steps.
const STEPS_MAX: usize = 256;
/// Small blocks are cut from pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// Where a free block says which one is free after it.
type Link = Option<NonNull<u8>>;

/// The small blocks of one thread.
struct Lists {
    free: [Cell<Link>; STEPS_MAX],
    /// What is left of the newest piece.
    rest: Cell<*mut u8>,
    rest_bytes: Cell<usize>,
}

thread_local! {
    static LISTS: Lists = const {
        Lists { free: [const { Cell::new(None) }; STEPS_MAX], rest: Cell::new(ptr::null_mut()), rest_bytes: Cell::new(0) }
    };
}

impl Lists {
    /// A block of `list + 1` steps; null when there is no memory.
    #[inline]
    fn take(&self, list: usize) -> *mut u8 {
        match self.free[list].get() {
            Some(block) => {
                // SAFETY: `put` wrote the link there, and nobody has had the block since.
                self.free[list].set(unsafe { block.cast::<Link>().read() });
                block.as_ptr()
            }
            None => self.cut((list + 1) * STEP_BYTES),
        }
    }

    /// # Safety
    /// The block is one of `list + 1` steps that `take` gave out, and nobody uses it any more.
    #[inline]
    unsafe fn put(&self, list: usize, block: NonNull<u8>) {
        // SAFETY: every block has room for a link and is aligned for one.
        unsafe { block.cast::<Link>().write(self.free[list].get()) };
        self.free[list].set(Some(block));
    }

    #[cold]
    fn cut(&self, bytes: usize) -> *mut u8 {
        if self.rest_bytes.get() < bytes {
            let layout = Layout::from_size_align(PIECE_BYTES, STEP_BYTES).expect("a valid layout");
            // SAFETY: the size is not zero.
            let piece = unsafe { MiMalloc.alloc(layout) };
            if piece.is_null() {
                return piece;
            }
            self.rest.set(piece);
            self.rest_bytes.set(PIECE_BYTES);
        }
        let block = self.rest.get();
        // SAFETY: the piece goes on for at least so many bytes.
        self.rest.set(unsafe { block.add(bytes) });
        self.rest_bytes.set(self.rest_bytes.get() - bytes);
        block
    }
}

/// The allocator of the program `sim`.
pub struct Heap;

/// The list for blocks like this one, if it is small.
#[inline]
fn list(layout: Layout) -> Option<usize> {
    let list = layout.size().wrapping_sub(1) / STEP_BYTES;
    (list < STEPS_MAX && layout.align() <= STEP_BYTES).then_some(list)
}

// SAFETY: a block is in one list or in one owner's hands, never both; it is as large and aligned as its list says. What is
// small is told by the layout alone, which is the same when a block comes and when it goes.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match list(layout) {
            Some(list) => LISTS.with(|lists| lists.take(list)),
            // SAFETY: the caller's promise.
            None => unsafe { MiMalloc.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match (list(layout), NonNull::new(block)) {
            // SAFETY: the caller's promise: it came from `alloc` with this layout.
            (Some(list), Some(block)) => LISTS.with(|lists| unsafe { lists.put(list, block) }),
            // SAFETY: likewise.
            _ => unsafe { MiMalloc.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if list(layout).is_none() {
            // SAFETY: the caller's promise.
            return unsafe { MiMalloc.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise; a block is at least as large as its layout says.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, rounded up, does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (list(layout), list(new)) {
            (Some(before), Some(after)) if before == after => block,
            // SAFETY: the caller's promise; both are mimalloc's.
            (None, None) => unsafe { MiMalloc.realloc(block, layout, new_size) },
            // SAFETY: the caller's promise; both blocks are as large as is copied.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of many sizes and alignments come, grow and go; each keeps its bytes, and none overlaps another.
    #[test]
    fn blocks_keep_their_bytes_and_never_overlap() {
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let holds = |block: *mut u8, len: usize, byte: u8| {
            // SAFETY: the block is live and so long.
            unsafe { std::slice::from_raw_parts(block, len) }.iter().all(|found| *found == byte)
        };
        for turn in 0..20_000u32 {
            let byte = turn as u8;
            let size = 1 + draw(if turn % 7 == 0 { 9_000 } else { 200 }) as usize;
            match draw(5) {
                0 | 1 => {
                    let layout = Layout::from_size_align(size, 1 << draw(7)).unwrap();
                    // SAFETY: the size is not zero; the block is filled as far as it goes.
                    let block = unsafe { Heap.alloc(layout) };
                    assert_eq!(block.align_offset(layout.align()), 0, "{layout:?}");
                    unsafe { block.write_bytes(byte, size) };
                    blocks.push((block, layout, byte));
                }
                2 if !blocks.is_empty() => {
                    let at = draw(blocks.len() as u64) as usize;
                    let (block, layout, byte) = blocks[at];
                    // SAFETY: the block is live, and has this layout.
                    let grown = unsafe { Heap.realloc(block, layout, size) };
                    assert!(holds(grown, size.min(layout.size()), byte), "{layout:?} to {size}");
                    unsafe { grown.write_bytes(byte, size) };
                    blocks[at] = (grown, Layout::from_size_align(size, layout.align()).unwrap(), byte);
                }
                3 if !blocks.is_empty() => {
                    let (block, layout, byte) = blocks.swap_remove(draw(blocks.len() as u64) as usize);
                    assert!(holds(block, layout.size(), byte), "{layout:?}");
                    // SAFETY: the block is live, and has this layout.
                    unsafe { Heap.dealloc(block, layout) };
                }
                _ => {
                    let layout = Layout::from_size_align(size, 8).unwrap();
                    // SAFETY: the size is not zero.
                    let block = unsafe { Heap.alloc_zeroed(layout) };
                    assert!(holds(block, size, 0), "{layout:?}");
                    blocks.push((block, layout, 0));
                }
            }
        }
        blocks.iter().for_each(|(block, layout, byte)| assert!(holds(*block, layout.size(), *byte), "{layout:?}"));
    }
}
