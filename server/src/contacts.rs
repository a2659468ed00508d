//! Since when each other member has been heard without interruption.
//!
//! Silence for an election timeout is an interruption, and so is the end of its process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use evenkeel_raft::NodeId;

#[derive(Clone, Copy)]
struct Contact {
    since: Duration,
    last: Duration,
}

/// See the module's text. Times are the member's monotonic ones.
pub struct Contacts {
    silence_max: Duration,
    peers: Mutex<BTreeMap<NodeId, Contact>>,
}

impl Contacts {
    /// Nobody was heard yet. A member silent for `silence_max` is out of contact.
    pub fn new(silence_max: Duration) -> Contacts {
        Contacts { silence_max, peers: Mutex::default() }
    }

    /// A message of `peer` came at `now`.
    pub fn heard(&self, peer: NodeId, now: Duration) {
        let mut peers = self.peers.lock().expect("not poisoned");
        let contact = peers.entry(peer).or_insert(Contact { since: now, last: now });
        if contact.last + self.silence_max < now {
            contact.since = now;
        }
        contact.last = now;
    }

    /// The process of `peer` is gone.
    pub fn lost(&self, peer: NodeId) {
        self.peers.lock().expect("not poisoned").remove(&peer);
    }

    /// Since when `peer` is in contact; none when it is not.
    pub fn since(&self, peer: NodeId, now: Duration) -> Option<Duration> {
        let peers = self.peers.lock().expect("not poisoned");
        peers.get(&peer).filter(|contact| now <= contact.last + self.silence_max).map(|contact| contact.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn contact_lasts_from_the_first_message_after_an_interruption() {
        let contacts = Contacts::new(at(2));
        assert_eq!(contacts.since(PEER, at(0)), None);
        for second in [1, 2, 4] {
            contacts.heard(PEER, at(second));
        }
        assert_eq!(contacts.since(PEER, at(6)), Some(at(1)));
        assert_eq!(contacts.since(PEER, at(7)), None, "silent for too long");
        contacts.heard(PEER, at(8));
        assert_eq!(contacts.since(PEER, at(8)), Some(at(8)), "it begins anew");
        contacts.lost(PEER);
        assert_eq!(contacts.since(PEER, at(8)), None);
    }
}
