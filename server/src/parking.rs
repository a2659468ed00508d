//! Requests that arrived while nobody takes them, in an election or a transfer: they wait instead of failing.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_raft::{Data, Term};

/// Requests that may wait for a leader.
const PARKED_MAX: usize = 4_096;

/// Whose request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// That of a client of this member, by its id.
    Own(u64),
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
}

impl Parking {
    /// Lets a request wait from `now` on; false when too many wait.
    pub fn park(&mut self, data: Data, whose: Parked, now: Duration) -> bool {
        if self.parked.len() >= PARKED_MAX {
            return false;
        }
        self.parked.push_back(Waiting { data, whose, since: now });
        true
    }

    /// Everything that waits, oldest first.
    pub fn take(&mut self) -> Vec<(Data, Parked)> {
        self.parked.drain(..).map(|p| (p.data, p.whose)).collect()
    }

    /// Drops requests older than `limit` and names those of own clients.
    pub fn expire(&mut self, now: Duration, limit: Duration) -> Vec<u64> {
        let old = self.parked.iter().take_while(|p| p.since + limit <= now).count();
        let own = |p: Waiting| if let Parked::Own(id) = p.whose { Some(id) } else { None };
        self.parked.drain(..old).filter_map(own).collect()
    }
}
