//! Requests that arrived while nobody takes them, in an election or a transfer: they wait instead of failing.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_raft::{Data, Term};

/// Requests that may wait for a leader.
const PARKED_MAX: usize = 4_096;
/// Their bytes; one request may always wait.
const PARKED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Whose request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// One of this member's own.
    Own {
        /// Who waits for it.
        id: u64,
        /// It may only be taken while this member leads in this term.
        only_in_term: Option<u64>,
    },
    /// One that another member forwarded to the leader of this term. Only that leader may take it (see
    /// [`crate::waiters`]).
    Forwarded(Term),
}

struct Waiting {
    data: Data,
    whose: Parked,
    since: Duration,
}

/// The waiting requests, oldest first.
#[derive(Default)]
pub struct Parking {
    parked: VecDeque<Waiting>,
    bytes: usize,
}

impl Parking {
    /// Lets a request wait from `now` on; false when too many wait.
    pub fn park(&mut self, data: Data, whose: Parked, now: Duration) -> bool {
        let bytes = self.bytes + data.len();
        if PARKED_MAX <= self.parked.len() || (PARKED_BYTES_MAX < bytes && !self.parked.is_empty()) {
            return false;
        }
        self.bytes = bytes;
        self.parked.push_back(Waiting { data, whose, since: now });
        true
    }

    /// Everything that waits, oldest first.
    pub fn take(&mut self) -> Vec<(Data, Parked)> {
        self.bytes = 0;
        self.parked.drain(..).map(|p| (p.data, p.whose)).collect()
    }

    /// Drops requests older than `limit` and names those of own clients.
    pub fn expire(&mut self, now: Duration, limit: Duration) -> Vec<u64> {
        let old = self.parked.iter().take_while(|p| p.since + limit <= now).count();
        let mut own = Vec::with_capacity(old);
        for waiting in self.parked.drain(..old) {
            self.bytes -= waiting.data.len();
            own.extend(if let Parked::Own { id, .. } = waiting.whose { Some(id) } else { None });
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(id: u64) -> Parked {
        Parked::Own { id, only_in_term: None }
    }

    fn request(bytes: usize) -> Data {
        vec![0; bytes].into()
    }

    #[test]
    fn waiting_requests_are_bounded_in_bytes_and_return_them() {
        let (mut parking, now) = (Parking::default(), Duration::ZERO);
        assert!(parking.park(request(PARKED_BYTES_MAX + 1), own(1), now), "one always fits");
        assert!(!parking.park(request(1), own(2), now));
        assert_eq!(parking.expire(Duration::from_secs(9), Duration::from_secs(7)), [1]);
        assert!(parking.park(request(PARKED_BYTES_MAX / 2), own(3), now));
        assert!(parking.park(request(PARKED_BYTES_MAX / 2), own(4), now));
        assert!(!parking.park(request(1), own(5), now));
        assert_eq!(parking.take().len(), 2);
        assert_eq!(parking.bytes, 0);
    }

    #[test]
    fn waiting_requests_are_bounded_in_number() {
        let mut parking = Parking::default();
        let taken = (0..PARKED_MAX as u64 + 5).filter(|id| parking.park(request(0), own(*id), Duration::ZERO)).count();
        assert_eq!(taken, PARKED_MAX);
    }
}
