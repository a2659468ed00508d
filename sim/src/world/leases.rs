//! A client's lease: granted, attached to keys, kept alive for a while, then revoked or left to expire. And what clients
//! ask about anybody's leases.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_check::LeaseId;
use evenkeel_check::history::*;

use super::client::Client;

/// Leases that are remembered, so that others ask about them.
const KNOWN_MAX: usize = 16;
/// The first of the numbers that clients choose.
const CHOSEN: i64 = 1_000;

/// Leases that were granted to anybody, the newest last.
#[derive(Default)]
pub struct Known(Mutex<VecDeque<LeaseId>>);

impl Known {
    /// Somebody was granted this one.
    pub fn granted(&self, lease: LeaseId) {
        let mut known = self.0.lock().expect("one thread");
        if known.contains(&lease) {
            return;
        }
        if known.len() == KNOWN_MAX {
            known.pop_front();
        }
        known.push_back(lease);
    }

    fn at(&self, place: u64) -> Option<LeaseId> {
        let known = self.0.lock().expect("one thread");
        known.get(place as usize % known.len().max(1)).copied()
    }
}

impl Client {
    /// What a put is attached to.
    pub(super) fn some_lease(&self) -> LeaseId {
        let share = self.group.knobs.attach.0;
        if share <= 0.0 || !self.chance("attach", share) {
            return LeaseId::NONE;
        }
        self.any_lease()
    }

    /// One that was granted, or none.
    fn any_lease(&self) -> LeaseId {
        self.shared.leases.at(self.below("which-lease", KNOWN_MAX as u64)).unwrap_or(LeaseId::NONE)
    }

    /// The name that a new lease is to have.
    fn chosen_lease(&self) -> LeaseId {
        match self.group.knobs.lease_names {
            0 => LeaseId::NONE,
            names => LeaseId(CHOSEN + self.below("lease-name", names) as i64),
        }
    }

    fn lease_ttl(&self) -> i64 {
        self.at("lease-ttl", &self.group.knobs.lease_ttl).to_std().as_secs().max(1) as i64
    }

    /// Something about leases that concerns nobody in particular.
    pub(super) fn about_leases(&self) -> Request {
        let chosen = self.chosen_lease();
        let lease = if chosen != LeaseId::NONE && self.chance("lease-any", 0.5) { chosen } else { self.any_lease() };
        match self.below("lease-any", 12) {
            0..2 => Request::LeaseLeases,
            2 if chosen != LeaseId::NONE => Request::LeaseRevoke { lease: chosen },
            3 | 4 if chosen != LeaseId::NONE => Request::LeaseGrant { lease: chosen, ttl: self.lease_ttl() },
            5 => Request::LeaseKeepAlive { lease },
            _ => Request::LeaseTimeToLive { lease, keys: self.chance("lease-any", 0.8) },
        }
    }
}

/// Lives one lease from grant to end.
pub async fn keep(client: Client) {
    live(&client).await;
    client.kept[1].fetch_sub(1, Ordering::Relaxed);
}

async fn live(client: &Client) {
    let knobs = &client.group.knobs;
    let (wished, ttl) = (client.chosen_lease(), client.lease_ttl());
    let (_, outcome) = client.call(client.member(), Request::LeaseGrant { lease: wished, ttl }).await;
    let (lease, ttl) = match outcome {
        Outcome::Ok(_, Body::LeaseGrant { lease, ttl }) => (lease, ttl),
        // Somebody else has it: two live with it then.
        Outcome::DefinitelyNot(Refusal::LeaseExists) => (wished, ttl),
        _ => return,
    };
    for _ in 0..1 + client.below("lease", 2) {
        let put = Put { key: client.key(), value: client.value(), lease, ..Put::default() };
        client.call(client.member(), Request::Put(put)).await;
    }
    for _ in 0..client.at("lease-renewals", &knobs.lease_renewals).round() as u64 {
        let share = client.at("lease-pace", &knobs.lease_renew_at).max(0.0);
        client.pause(Duration::from_secs(ttl.max(1) as u64).mul_f64(share)).await;
        if client.stopped() {
            return;
        }
        let (_, outcome) = client.call(client.member(), Request::LeaseKeepAlive { lease }).await;
        if let Outcome::Ok(_, Body::LeaseKeepAlive { ttl }) = outcome
            && ttl <= 0
        {
            return;
        }
    }
    match client.below("lease", 3) {
        0 => {
            client.call(client.member(), Request::LeaseRevoke { lease }).await;
        }
        1 => {
            client.call(client.member(), Request::LeaseTimeToLive { lease, keys: true }).await;
        }
        _ => {}
    }
}
