//! The pieces of a snapshot in the hands of its receiver, put back into order.
//!
//! Pieces come in any order, some more than once. What follows the part already taken in is handed out; what lies
//! behind a gap is held, within a bound. A piece that does not fit is dropped: its sender will send it again.

use std::collections::BTreeMap;

use crate::snapshot_window::{self as window, Piece};

/// Pieces and bytes held behind a gap: what a sender may have under way.
const HELD_MAX: usize = window::PIECES_MAX;
const HELD_BYTES_MAX: usize = 2 * window::BYTES_MAX;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Assembly {
    received: u64,
    held: BTreeMap<u64, Piece>,
    bytes: usize,
    ended: bool,
}

impl Assembly {
    /// Takes a piece that arrived.
    pub fn take(&mut self, piece: Piece) {
        let known = piece.offset < self.received || self.held.contains_key(&piece.offset) || self.ended;
        let next = piece.offset == self.received;
        let fits = self.held.len() < HELD_MAX && self.bytes + piece.data.len() <= HELD_BYTES_MAX;
        if !known && (next || fits) {
            self.bytes += piece.data.len();
            self.held.insert(piece.offset, piece);
        }
    }

    /// The next piece of the stream, when it is here. It counts as received.
    pub fn pop(&mut self) -> Option<Piece> {
        let piece = self.held.remove(&self.received)?;
        self.bytes -= piece.data.len();
        self.received += piece.data.len() as u64;
        self.ended = piece.last;
        Some(piece)
    }

    /// Everything before this offset was handed out.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Where the pieces begin that are held behind a gap.
    pub fn held(&self) -> Vec<u64> {
        self.held.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, bytes: usize, last: bool) -> Piece {
        Piece { offset, data: vec![1; bytes].into(), last }
    }

    #[test]
    fn pieces_behind_a_gap_wait_for_it() {
        let mut assembly = Assembly::default();
        assembly.take(piece(10, 5, true));
        assert_eq!((assembly.pop(), assembly.held()), (None, vec![10]));
        assembly.take(piece(0, 10, false));
        assert_eq!(assembly.pop().map(|piece| piece.offset), Some(0));
        assert_eq!(assembly.pop().map(|piece| piece.offset), Some(10));
        assembly.take(piece(15, 5, false));
        assert_eq!((assembly.pop(), assembly.received()), (None, 15), "nothing follows the end");
    }

    #[test]
    fn what_is_held_is_bounded_but_the_next_piece_always_fits() {
        let mut assembly = Assembly::default();
        for place in 1..100 {
            assembly.take(piece(place * 10, 10, false));
        }
        assert_eq!(assembly.held().len(), HELD_MAX);
        assembly.take(piece(0, 10, false));
        let taken = std::iter::from_fn(|| assembly.pop()).count();
        assert_eq!((taken, assembly.bytes), (HELD_MAX + 1, 0));
    }
}
