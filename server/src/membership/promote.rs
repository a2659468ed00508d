//! Learners that become voters by themselves: those that replace a member, and all with `--auto-promote-learners`.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_raft::Term;

use super::{Change, MembershipChange, rules};
use crate::member::Member;

/// The leader looks this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// As the leader of `term`, promotes learners that have caught up. Ends with the reign.
pub async fn learners(member: Arc<Member>, term: u64) {
    while member.reign() == Some(term) {
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.env().clock.sleep(INTERVAL) => {}
        }
        let state = member.state();
        let all = member.config().auto_promote_learners;
        let waiting = state
            .cluster()
            .members
            .iter()
            .filter(|(_, info)| info.is_learner && info.has_started() && (all || info.promote_when_ready));
        let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        if waiting.is_empty() {
            continue;
        }
        // Too busy to say so now: there is another look.
        let Ok(health) = member.health().await else { continue };
        if let Some(id) = waiting.into_iter().find(|id| rules::learner_is_ready(&health, *id).is_ok()) {
            let change = MembershipChange { request_id: member.next_request_id(), change: Some(Change::Promote(id)) };
            if let Err(error) = member.change_as_leader(change, Term(term)).await {
                tracing::debug!(learner = format!("{id:x}"), %error, "a learner could not be promoted yet");
            }
        }
    }
}
