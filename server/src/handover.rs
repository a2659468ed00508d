//! Leadership that changes hands on purpose: at an operator's wish (MoveLeader), and before a leader stops.
//!
//! The core does the transfer (`evenkeel_raft::transfer`); here is who gets it, and how long one waits for it. Requests
//! that arrive meanwhile are parked by the driver and go to the next leader, or are taken again when the transfer is
//! given up.

use std::time::Duration;

use evenkeel_raft::{Mutant, NodeId, Raft, Standing};
use tokio::sync::oneshot;

use crate::contacts::Contacts;
use crate::env::point;
use crate::error::RequestError;
use crate::member::Member;
use crate::node::Input;

/// A voter that lacks no more entries than this counts as up to date: under load everybody lacks some.
const LAG_MAX: u64 = 512;

/// Who should lead after this leader: of the voters in contact that are up to date, or else the nearest to it, the one
/// in contact for the longest time.
pub fn successor(raft: &Raft, contacts: &Contacts, now: Duration) -> Option<NodeId> {
    let last = raft.last_index().0;
    let voters = &raft.configuration().voters;
    raft.progress()
        .filter(|(peer, _)| voters.contains(peer))
        .filter_map(|(peer, progress)| {
            let lag = last.saturating_sub(progress.matched.0) / LAG_MAX;
            Some((lag, contacts.since(peer, now)?, peer))
        })
        .min()
        .map(|(.., peer)| peer)
}

impl Member {
    /// Moves leadership from this member to another voter. Resolves when that one leads.
    pub async fn transfer_leadership(&self, to: NodeId) -> Result<(), RequestError> {
        if self.reign().is_none() {
            return Err(RequestError::NotLeader);
        }
        let can_vote = self.state().cluster().members.get(&to.0).is_some_and(|member| !member.is_learner);
        if !can_vote {
            return Err(RequestError::BadLeaderTransferee);
        }
        if to.0 == self.ids().member {
            return Ok(());
        }
        self.transfer(Some(to)).await.map(|_| ())
    }

    /// Before this member stops: hands leadership over, if it leads and there is somebody to take it. A transfer that
    /// is given up is tried again, with whoever is the best choice by then.
    pub(crate) async fn hand_over(&self) {
        while self.reign().is_some() && !self.config().mutants.on(Mutant::NoHandover) {
            match self.transfer(None).await {
                Ok(to) => tracing::info!(to = %to, "handed leadership over"),
                Err(RequestError::TimeoutLeaderTransfer) => tracing::warn!("leadership could not be handed over yet"),
                Err(error) => return tracing::info!(%error, "leadership is not handed over"),
            }
        }
    }

    /// Transfers leadership to `to`, or to the [`successor`], and names it once it leads.
    async fn transfer(&self, to: Option<NodeId>) -> Result<NodeId, RequestError> {
        let reign = self.reign();
        let mut standing = self.follow_standing();
        let (began, chosen) = oneshot::channel();
        point!(self.env(), "transfer.before");
        self.hand_in(Input::Transfer { to, began })?;
        let Ok(Some(to)) = chosen.await else {
            return Err(if self.reign().is_some() {
                RequestError::BadLeaderTransferee
            } else {
                RequestError::NotLeader
            });
        };
        point!(self.env(), "transfer.begun");
        tracing::info!(%to, "leadership transfer starting");
        let given_up = async {
            // When it ends without a new standing, this member leads on.
            let mut transferring = self.transferring().subscribe();
            let _ = transferring.wait_for(|now| *now != Some(to)).await;
            if self.reign() != reign {
                std::future::pending().await
            }
        };
        let decided = |now: &Standing| now.leader == Some(to) || (now.leader.is_some() && reign < Some(now.term.0));
        tokio::select! {
            biased;
            () = self.stopping() => Err(RequestError::Stopped),
            // Somebody else may have won the election that this began.
            led_by = async { standing.wait_for(decided).await.map(|standing| standing.leader) } => match led_by {
                Ok(leader) if leader == Some(to) => Ok(to),
                Ok(_) => Err(RequestError::TimeoutLeaderTransfer),
                Err(_) => Err(RequestError::Stopped),
            },
            () = given_up => Err(RequestError::TimeoutLeaderTransfer),
            () = self.env().clock.sleep(self.request_timeout()) => Err(RequestError::TimeoutLeaderTransfer),
        }
    }
}
