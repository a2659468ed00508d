//! Requests that arrived while there was no leader: they wait for the election instead of failing.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_raft::Data;

/// Requests that may wait for a leader.
const PARKED_MAX: usize = 4_096;

struct Parked {
    data: Data,
    id: u64,
    since: Duration,
}

/// The waiting requests, oldest first.
#[derive(Default)]
pub struct Parking {
    parked: VecDeque<Parked>,
}

impl Parking {
    /// Lets a request wait from `now` on; false when too many wait.
    pub fn park(&mut self, data: Data, id: u64, now: Duration) -> bool {
        if self.parked.len() >= PARKED_MAX {
            return false;
        }
        self.parked.push_back(Parked { data, id, since: now });
        true
    }

    /// Everything that waits, oldest first.
    pub fn take(&mut self) -> Vec<(Data, u64)> {
        self.parked.drain(..).map(|p| (p.data, p.id)).collect()
    }

    /// Drops requests older than `limit` and names them.
    pub fn expire(&mut self, now: Duration, limit: Duration) -> Vec<u64> {
        let old = self.parked.iter().take_while(|p| p.since + limit <= now).count();
        self.parked.drain(..old).map(|p| p.id).collect()
    }
}
