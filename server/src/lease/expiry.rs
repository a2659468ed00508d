//! What a leader does about leases by itself: it revokes those past their deadline, and puts the remaining time of
//! long ones into the log now and then.
//!
//! Both happen in turns, at most so many leases in each: thousands that end at once end over some seconds, and leave
//! room for everything else. While nothing is due a turn is one look at the first entry of an ordered index.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_mvcc::LeaseCheckpoint;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::Mutant;
use evenkeel_raft::ready::Role;

use super::deadlines::Due;
use crate::env::{Event, point};
use crate::error::RequestError;
use crate::member::{Member, Reply};
use crate::version::{Release, level};

/// Between two looks for due leases.
const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// Leases revoked in one scan.
const REVOKED_PER_SCAN: usize = 500;
/// At most so many are revoked in a second.
pub const REVOKED_PER_SECOND: usize = REVOKED_PER_SCAN * 1_000 / SCAN_INTERVAL.as_millis() as usize;
/// Revocations in flight at once.
const REVOKING_AT_ONCE: usize = 16;
/// Leases in one checkpoint entry (etcd's limit), and entries in one turn.
const CHECKPOINTED_PER_SCAN: usize = 1_000;

/// Revokes due leases and checkpoints long ones for as long as the member runs.
pub async fn run(member: Arc<Member>) {
    let revoking = async {
        while next_turn(&member).await {
            revoke_due(&member).await;
        }
    };
    let checkpointing = async {
        while next_turn(&member).await {
            checkpoint_long(&member).await;
        }
    };
    futures_util::future::join(revoking, checkpointing).await;
}

/// Waits for the next turn. False when the member stops.
async fn next_turn(member: &Member) -> bool {
    tokio::select! {
        biased;
        () = member.stopping() => false,
        () = member.env().clock.sleep(SCAN_INTERVAL) => true,
    }
}

async fn revoke_due(member: &Member) {
    let unlimited = member.config().mutants.on(Mutant::LeasesAllAtOnce);
    let (per_scan, at_once) = if unlimited { (usize::MAX, usize::MAX) } else { (REVOKED_PER_SCAN, REVOKING_AT_ONCE) };
    let Some((term, due)) = member.leases().due(member.lease_now(), per_scan) else { return };
    // The planted bug believes what it knew when it looked, and lets whoever leads have the proposal.
    let believes = member.config().mutants.on(Mutant::OldLeaderRevokes);
    // Somebody else may lead by now, and renew: only a leadership confirmed after the look counts.
    if !believes && (member.read_barrier().await.is_err() || member.reign() != Some(term)) {
        return;
    }
    point!(member.env(), "lease.before_revoke");
    for chunk in due.chunks(at_once) {
        let known = chunk.iter().filter(|due| believes || member.leases().is_known(**due));
        let only_in_term = (!believes).then_some(term);
        let revocations = futures_util::future::join_all(known.map(|due| revoke(member, *due, only_in_term)));
        let outcomes = tokio::select! {
            biased;
            outcomes = revocations => outcomes,
            // What an old reign has not committed by now may never be answered.
            () = member.reign_ended(term), if !believes => return,
            () = member.stopping() => return,
        };
        point!(member.env(), "lease.revoked");
        for error in outcomes.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "a due lease could not be revoked; it is tried again");
        }
    }
}

async fn revoke(member: &Member, due: Due, only_in_term: Option<u64>) -> Result<Reply, RequestError> {
    member.env().observer.observe(Event::LeaseExpired { lease: due.id.0 });
    let request = pb::InternalRaftRequest {
        lease_revoke: Some(pb::LeaseRevokeRequest { id: due.id.0 }),
        lease_granted_at: due.granted_at,
        ..Default::default()
    };
    let outcome = member.propose_in(request, only_in_term).await;
    if outcome.as_ref().is_ok_and(|reply| reply.result.is_ok()) {
        member.metrics().leases_expired.inc();
    }
    outcome
}

async fn checkpoint_long(member: &Member) {
    if Release::turned_on_by(member.cluster_version()) < level::LEASE_TIME {
        return;
    }
    let Some((term, taken)) = member.leases().take_checkpoints(member.lease_now(), CHECKPOINTED_PER_SCAN) else {
        return;
    };
    point!(member.env(), "lease.before_checkpoint");
    let outcome = tokio::select! {
        biased;
        outcome = member.propose_in(request(&taken), Some(term)) => outcome.map(|_| ()),
        () = member.reign_ended(term) => return,
        () = member.stopping() => return,
    };
    // Whatever the outcome: it may be in the log, before everything this member proposes from now on.
    point!(member.env(), "lease.checkpointed");
    member.leases().checkpointed(term, &taken);
    if let Err(error) = outcome {
        tracing::warn!(%error, "the remaining time of leases could not be checkpointed; it is tried again");
    }
}

/// The entry that notes these remaining times.
pub(super) fn request(checkpoints: &[LeaseCheckpoint]) -> pb::InternalRaftRequest {
    let checkpoints = checkpoints.iter().map(|checkpoint| pb::LeaseCheckpoint {
        id: checkpoint.id.0,
        remaining_ttl: checkpoint.remaining_seconds,
        granted_at: checkpoint.granted_at.unwrap_or(0),
    });
    let lease_checkpoint = Some(pb::LeaseCheckpointRequest { checkpoints: checkpoints.collect() });
    pb::InternalRaftRequest { lease_checkpoint, ..Default::default() }
}

impl Member {
    /// Resolves when this member no longer leads in `term`.
    pub(crate) async fn reign_ended(&self, term: u64) {
        let mut standing = self.follow_standing();
        let ended = standing.wait_for(|standing| standing.role != Role::Leader || standing.term.0 != term);
        let _ = ended.await.is_ok();
    }
}
