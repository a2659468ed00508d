//! A client's lease: granted, attached to keys, kept alive for a while, then revoked or left to expire.

use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_check::LeaseId;
use evenkeel_check::history::*;

use super::client::Client;

/// Lives one lease from grant to end.
pub async fn keep(client: Client) {
    live(&client).await;
    client.kept[1].fetch_sub(1, Ordering::Relaxed);
}

async fn live(client: &Client) {
    let knobs = &client.group.knobs;
    let ttl = client.at("lease-ttl", &knobs.lease_ttl).to_std().as_secs().max(1) as i64;
    let grant = Request::LeaseGrant { lease: LeaseId::NONE, ttl };
    let (_, outcome) = client.call(client.member(), grant).await;
    let Outcome::Ok(_, Body::LeaseGrant { lease, ttl }) = outcome else { return };
    for _ in 0..1 + client.below("lease", 2) {
        let put = Put { key: client.key(), value: client.value(), lease, prev_kv: false };
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
