//! Equal hashes, equal futures: what tells one member's state from another's, for whoever explores states.
//!
//! Left out are a member's limits (they do not change), what the world was told, chance, and the clocks as far as chance
//! decides about them. So two states with equal hashes do the same for the same inputs, as long as a follower's time
//! passes in two ways only: past its lease, or past its timeout ([`Raft::advance_election_clock`] by a great number,
//! then a tick for a campaign).

use core::hash::{Hash, Hasher};

use crate::Raft;
use crate::stand::{Stand, Ticks};

impl Hash for Raft {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Raft { config, configurations, hard_state, stand, ticks, random: _, log, hand_overs, .. } = self;
        (configurations, hard_state, stand, log, hand_overs).hash(hasher);
        let Raft { committed, delivered, applied, messages, read_states, snapshots_wanted, told: _, .. } = self;
        (committed, delivered, applied, messages, read_states, snapshots_wanted).hash(hasher);
        let Ticks { elapsed, timeout: _, since_heartbeat, leaderless: _, suspicion } = ticks;
        match stand {
            Stand::Leader(_) => (elapsed, since_heartbeat).hash(hasher),
            _ => (config.election_ticks <= *elapsed, suspicion).hash(hasher),
        }
    }
}
