//! Equal state at equal applied index: members that applied the same log hold the same bytes.
//!
//! Every member reports a hash of its whole state after each entry; the first report for an index is compared with all
//! later ones at once, so a divergence shows at the entry that caused it. Memory is bounded: only the newest
//! [`WINDOW_ENTRIES`] indexes are kept. What a member applies that late is not compared, but counted.

use std::collections::VecDeque;

use crate::ids::*;
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "state-hash";

/// How many of the newest indexes are remembered.
pub const WINDOW_ENTRIES: usize = 1 << 16;

/// The oracle.
#[derive(Clone, Debug, Default)]
pub struct StateHash {
    /// The index of the first remembered entry.
    first: u64,
    seen: VecDeque<Option<(u64, MemberId)>>,
    unchecked: u64,
}

impl StateHash {
    /// A member has applied `index` and its state hashes to `hash`.
    pub fn applied(&mut self, at: Moment, member: MemberId, index: Index, hash: u64) -> Verdict {
        if self.seen.is_empty() {
            self.first = index.0;
        }
        if index.0 < self.first {
            self.unchecked += 1;
            return Ok(());
        }
        let place = (index.0 - self.first) as usize;
        if WINDOW_ENTRIES <= place.saturating_sub(self.seen.len()) {
            // A jump past the whole window: nothing remembered is comparable any more.
            self.seen.clear();
            self.first = index.0;
            self.seen.push_back(Some((hash, member)));
            return Ok(());
        }
        while self.seen.len() <= place {
            self.seen.push_back(None);
        }
        let slot = &mut self.seen[place];
        match *slot {
            Some((other, by)) if other != hash => {
                let message = format!("after {index} the state of {member} is {hash:016x}, that of {by} {other:016x}");
                let related = [Related::Member(member), Related::Member(by), Related::Index(index)];
                return Err(Violation::new(NAME, at, message).with(related));
            }
            Some(_) => {}
            None => *slot = Some((hash, member)),
        }
        while WINDOW_ENTRIES < self.seen.len() {
            self.seen.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// Reports that came too late to be compared.
    pub fn unchecked(&self) -> u64 {
        self.unchecked
    }
}
