//! The pieces of a snapshot that a sender has under way.
//!
//! A snapshot is one stream of bytes, cut into pieces that keep their borders for as long as the transfer lives. The
//! receiver says how much of the beginning it has taken in, and which later pieces it holds beyond a gap. So a lost
//! piece costs that piece: the oldest one is sent again after a while without news, others as soon as later ones are
//! known to have arrived. What is acknowledged is forgotten here; a receiver that begins anew cannot be served any
//! more, and the transfer ends.
//!
//! Pure: times are given, nothing is sent.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// Pieces under way.
pub const PIECES_MAX: usize = 16;
/// Bytes under way.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The first guess of a round trip.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(150);
/// The oldest piece is sent again after three round trips without news, within these bounds; longer each time.
const PATIENCE_MIN: Duration = Duration::from_millis(200);
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// A stretch of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub data: Bytes,
    /// The stream ends behind it.
    pub last: bool,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

struct UnderWay {
    piece: Piece,
    /// It waits to be sent, for the first time or again.
    due: bool,
    sent: u32,
    sent_at: Duration,
    /// The receiver holds it, behind a gap.
    held: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this piece; `again` when it was sent before.
    Send {
        /// The piece.
        piece: Piece,
        /// It was sent before.
        again: bool,
    },
    /// Nothing until then, but for news from the receiver.
    Wait(Duration),
    /// Nothing is under way.
    Idle,
}

/// See the module's text.
pub struct Window {
    under_way: VecDeque<UnderWay>,
    bytes: usize,
    acknowledged: u64,
    round_trip: Duration,
    /// Since when an answer is owed to us.
    waiting: Option<Duration>,
    /// Repetitions of the oldest piece since the last news.
    tries: u32,
}

impl Default for Window {
    fn default() -> Window {
        Window {
            under_way: VecDeque::new(),
            bytes: 0,
            acknowledged: 0,
            round_trip: ROUND_TRIP_GUESS,
            waiting: None,
            tries: 0,
        }
    }
}

impl Window {
    /// Whether another piece may be put under way. One always may when there is none.
    pub fn has_room(&self) -> bool {
        self.under_way.is_empty() || (self.under_way.len() < PIECES_MAX && self.bytes < BYTES_MAX)
    }

    /// Puts the stream's next piece under way.
    pub fn push(&mut self, piece: Piece) {
        let expected = self.under_way.back().map_or(self.acknowledged, |before| before.piece.end());
        assert_eq!(piece.offset, expected, "pieces follow each other");
        self.bytes += piece.data.len();
        self.under_way.push_back(UnderWay { piece, due: true, sent: 0, sent_at: Duration::ZERO, held: false });
    }

    /// What is due at `now`. A piece that is handed out counts as sent.
    pub fn next(&mut self, now: Duration) -> Next {
        let patience = (3 * self.round_trip).max(PATIENCE_MIN) * (1 << self.tries.min(3));
        let Some(oldest) = self.under_way.front_mut() else { return Next::Idle };
        let overdue_at = oldest.sent_at.max(self.waiting.unwrap_or_default()) + patience.min(PATIENCE_MAX);
        if 0 < oldest.sent && !oldest.due && overdue_at <= now {
            oldest.due = true;
            self.tries += 1;
        }
        let Some(open) = self.under_way.iter_mut().find(|open| open.due) else { return Next::Wait(overdue_at) };
        (open.due, open.sent, open.sent_at) = (false, open.sent + 1, now);
        self.waiting.get_or_insert(now);
        Next::Send { piece: open.piece.clone(), again: 1 < open.sent }
    }

    /// The receiver has taken in everything before `received`, and holds the pieces that begin at `held`. What was
    /// never sent is not believed to have arrived. Whether that is news.
    pub fn acknowledged(&mut self, received: u64, held: &[u64], now: Duration) -> bool {
        let (mut news, mut newest) = (false, Duration::ZERO);
        while let Some(taken) = self.under_way.pop_front_if(|oldest| oldest.piece.end() <= received && 0 < oldest.sent)
        {
            if taken.sent == 1 && !taken.held {
                self.round_trip = (self.round_trip * 7 + now.saturating_sub(taken.sent_at)) / 8;
            }
            newest = newest.max(taken.sent_at);
            self.bytes -= taken.piece.data.len();
            self.acknowledged = taken.piece.end();
            news = true;
        }
        let newest_held = held.iter().copied().max().unwrap_or(0);
        for open in self.under_way.iter_mut().filter(|open| 0 < open.sent && !open.held) {
            if held.contains(&open.piece.offset) {
                (open.held, open.due) = (true, false);
                newest = newest.max(open.sent_at);
                news = true;
            } else if open.piece.offset < newest_held && open.sent_at + self.round_trip <= now {
                open.due = true;
            }
        }
        // What was sent well before something that has arrived is lost: a broken connection costs its whole window, and
        // must not cost a wait for each piece of it.
        let margin = self.round_trip / 4;
        for open in self.under_way.iter_mut().filter(|open| 0 < open.sent && !open.held) {
            open.due |= open.sent_at + margin < newest;
        }
        if news {
            self.tries = 0;
            self.waiting = self.under_way.iter().any(|open| 0 < open.sent).then_some(now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot_assembly::Assembly;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn window(pieces: u64) -> Window {
        let mut window = Window::default();
        for place in 0..pieces {
            window.push(Piece { offset: place * 10, data: vec![place as u8; 10].into(), last: place + 1 == pieces });
        }
        window
    }

    /// Offsets of what is due.
    fn due(window: &mut Window, now: Duration) -> Vec<u64> {
        std::iter::from_fn(|| match window.next(now) {
            Next::Send { piece, .. } => Some(piece.offset),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn the_window_is_bounded_in_pieces_and_bytes() {
        let mut window = window(PIECES_MAX as u64);
        assert!(!window.has_room());
        assert_eq!(due(&mut window, at(0)).len(), PIECES_MAX);
        assert!(window.acknowledged(10, &[], at(1)));
        assert!(window.has_room());
        let mut window = Window::default();
        window.push(Piece { offset: 0, data: vec![0; BYTES_MAX].into(), last: false });
        assert!(!window.has_room());
    }

    #[test]
    fn a_lost_piece_costs_one_piece() {
        let mut window = window(4);
        assert_eq!(due(&mut window, at(0)), [0, 10, 20, 30]);
        assert!(window.acknowledged(10, &[20], at(200)));
        assert_eq!(due(&mut window, at(200)), [10], "20 is known to be there, 30 may still be under way");
        assert!(window.acknowledged(30, &[], at(210)));
    }

    #[test]
    fn a_lost_window_is_sent_again_at_once_when_its_first_piece_has_arrived() {
        let mut window = window(4);
        assert_eq!(due(&mut window, at(0)).len(), 4);
        assert_eq!(due(&mut window, at(500)), [0], "probes whether the connection is back");
        assert!(window.acknowledged(10, &[], at(560)));
        assert_eq!(due(&mut window, at(560)), [10, 20, 30]);
    }

    #[test]
    fn silence_is_met_with_the_oldest_piece_ever_more_rarely() {
        let mut window = window(3);
        assert_eq!(due(&mut window, at(0)).len(), 3);
        let (mut now, mut pauses) = (at(0), Vec::new());
        for _ in 0..5 {
            let Next::Wait(until) = window.next(now) else { panic!("nothing is due") };
            pauses.push((until - now).as_millis());
            now = until;
            assert_eq!(due(&mut window, now), [0]);
        }
        assert_eq!(pauses, [450, 900, 1000, 1000, 1000]);
        assert!(window.acknowledged(10, &[], now));
        assert_eq!(due(&mut window, now), [10, 20], "the rest of the lost window");
        assert_eq!(window.next(now), Next::Wait(now + at(450)), "and patience begins anew");
    }

    #[test]
    fn old_and_false_answers_change_nothing() {
        let mut window = window(3);
        assert!(!window.acknowledged(1000, &[10], at(1)), "nothing was sent");
        assert_eq!(due(&mut window, at(2)), [0, 10, 20]);
        assert!(window.acknowledged(20, &[], at(3)));
        assert!(!window.acknowledged(10, &[], at(4)));
        assert!(window.acknowledged(30, &[], at(5)));
        assert_eq!(window.next(at(9)), Next::Idle);
    }

    /// Both halves over a network that loses, repeats and reorders by a fixed pattern.
    #[test]
    fn everything_arrives_once_and_in_order_whatever_the_network_does() {
        for pattern in 0..200u64 {
            let mut draw = crate::member::SplitMix(pattern);
            let (mut window, mut assembly) = (Window::default(), Assembly::default());
            let mut network: Vec<Piece> = Vec::new();
            let (mut made, mut got, mut now) = (0u64, Vec::new(), at(0));
            while got.len() < 600 {
                now += at(20);
                while window.has_room() && made < 60 {
                    window.push(Piece { offset: made * 10, data: vec![made as u8; 10].into(), last: made == 59 });
                    made += 1;
                }
                while let Next::Send { piece, .. } = window.next(now) {
                    match draw.next() % 5 {
                        0 => {}
                        1 => network.extend([piece.clone(), piece]),
                        _ => network.push(piece),
                    }
                }
                for _ in 0..draw.next() % 6 {
                    if network.is_empty() {
                        break;
                    }
                    let arrived = network.swap_remove(draw.next() as usize % network.len());
                    assembly.take(arrived);
                    while let Some(piece) = assembly.pop() {
                        got.extend_from_slice(&piece.data);
                    }
                    if !draw.next().is_multiple_of(3) {
                        window.acknowledged(assembly.received(), &assembly.held(), now);
                    }
                }
                assert!(now < at(600_000), "pattern {pattern} gets stuck");
            }
            let expected: Vec<u8> = (0..60).flat_map(|piece| [piece; 10]).collect();
            assert_eq!(got, expected, "pattern {pattern}");
        }
    }
}
