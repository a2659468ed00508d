//! One change, from the member that was asked to the leader and back.
//!
//! A question to the leader may be lost or repeated. It carries the request's id; the leader keeps the newest ids with
//! their outcomes, so a repeated question waits for, or gets, the outcome of the first. Only an answer that says that
//! nothing has happened lets the asked member try another leader, under a new id.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_proto::etcdserverpb;
use evenkeel_proto::peer::MembershipChanged;
use evenkeel_proto::store as pb;
use evenkeel_raft::{ChangeError, Data, Index, MemberChange, Mutant};
use prost::Message;
use tokio::sync::{oneshot, watch};

use super::rules::{self, Health, Limits};
use super::{Change, MembershipChange, for_raft};
use crate::env::point;
use crate::error::RequestError;
use crate::member::Member;
use crate::node::Input;

/// Requests whose outcome a leader remembers.
const REMEMBERED_MAX: usize = 256;

/// What the leader says about a change.
pub type Outcome = Result<MembershipChanged, RequestError>;

/// A change for the driver of the leader.
pub struct Proposal {
    /// Only while it leads in this term,
    pub term: u64,
    /// and the configuration is still the one that was checked.
    pub configuration_index: Index,
    /// What Raft is told.
    pub changes: Vec<MemberChange>,
    /// What the state machine is told.
    pub data: Data,
    /// Gets the entry's index.
    pub reply: oneshot::Sender<Result<Index, ChangeError>>,
}

/// The changes a leader was asked for lately.
#[derive(Default)]
pub struct Changes {
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    outcomes: BTreeMap<u64, watch::Receiver<Option<Outcome>>>,
    /// Oldest first.
    order: VecDeque<u64>,
}

impl Changes {
    /// Where the outcome of this request will be, and, when it is new, whom to tell.
    #[expect(clippy::type_complexity, reason = "the two ends of one channel")]
    fn join(
        &self,
        request: u64,
    ) -> Result<(watch::Receiver<Option<Outcome>>, Option<watch::Sender<Option<Outcome>>>), RequestError> {
        let mut asked = self.asked.lock().expect("not poisoned");
        if let Some(outcome) = asked.outcomes.get(&request) {
            return Ok((outcome.clone(), None));
        }
        if REMEMBERED_MAX <= asked.order.len() {
            let oldest = asked.order.front().expect("not empty");
            if asked.outcomes[oldest].borrow().is_none() {
                return Err(RequestError::TooManyRequests);
            }
            let oldest = asked.order.pop_front().expect("not empty");
            asked.outcomes.remove(&oldest);
        }
        let (tell, outcome) = watch::channel(None);
        asked.outcomes.insert(request, outcome.clone());
        asked.order.push_back(request);
        Ok((outcome, Some(tell)))
    }
}

impl Member {
    /// Changes who belongs to the cluster: here, or at the leader. Gives the members after it.
    pub async fn change_membership(
        self: &Arc<Self>,
        change: Change,
    ) -> Result<Vec<etcdserverpb::Member>, RequestError> {
        let deadline = self.now() + self.request_timeout();
        let done = self.ask_for_change(change, deadline).await?;
        if done.members.iter().any(|member| member.id == self.ids().member) {
            self.wait_applied(Index(done.index), deadline).await?;
        }
        Ok(done.members.into_iter().map(public).collect())
    }

    async fn ask_for_change(self: &Arc<Self>, change: Change, deadline: Duration) -> Outcome {
        let request =
            |change: &Change| MembershipChange { request_id: self.next_request_id(), change: Some(change.clone()) };
        let mut told = request(&change);
        let mut asked = None;
        loop {
            let standing = self.standing();
            let asking = standing.leader.map(|leader| (leader, standing.term));
            if asked.is_some() && asked != asking {
                // The one that was asked may have done it, and another one would do it again.
                return Err(RequestError::TimeoutLeaderFail);
            }
            let outcome = match asking {
                Some((leader, _)) if leader.0 == self.ids().member => self.change_as_leader(told.clone()).await,
                Some((leader, _)) => self.asks().change_membership(self, leader, told.clone()).await,
                None => Err(RequestError::NoLeader),
            };
            match outcome {
                // Nothing has happened.
                Err(RequestError::NotLeader | RequestError::NoLeader) => (told, asked) = (request(&change), None),
                // No answer yet: ask the same one again.
                Err(RequestError::LeaderChanged) => asked = asking,
                outcome => return outcome,
            }
            if deadline <= self.now() {
                return Err(RequestError::Timeout);
            }
            self.pause().await?;
        }
    }

    /// As the leader. A request that was asked for before has one outcome.
    pub async fn change_as_leader(self: &Arc<Self>, change: MembershipChange) -> Outcome {
        let (mut outcome, first) = self.changes().join(change.request_id)?;
        if let Some(tell) = first {
            let member = Arc::clone(self);
            // On its own: whoever asked may give up, or be gone with its connection.
            tokio::spawn(async move {
                let made = member.make(change).await;
                let _ = tell.send(Some(made));
            });
        }
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().expect("waited for"),
            Err(_) => Err(RequestError::Stopped),
        }
    }

    async fn make(&self, change: MembershipChange) -> Outcome {
        let deadline = self.now() + self.request_timeout();
        let Some(term) = self.reign() else { return Err(RequestError::NotLeader) };
        let told = change.change.clone().ok_or(RequestError::MemberNotFound)?;
        let limits = Limits { strict: self.config().strict_reconfig_check, max_learners: self.config().max_learners };
        let applied = self.await_answer(change.request_id);
        let index = loop {
            let mut health = self.health().await?;
            if self.config().mutants.on(Mutant::PromoteUnready) {
                health.persisted = Index(0); // Everybody is as far as that.
            }
            if health.term != term || self.reign() != Some(term) {
                return Err(RequestError::NotLeader);
            }
            self.wait_applied(health.configuration_index, deadline).await?;
            let state = self.state();
            if state.cluster().configuration.is_joint() {
                // It will be left.
                self.pause().await?;
                if deadline <= self.now() {
                    return Err(RequestError::Timeout);
                }
                continue;
            }
            rules::check(state.cluster(), &health, limits, &told).inspect_err(|error| {
                tracing::warn!(change = ?told, %error, "rejecting a change of membership");
            })?;
            let (reply, index) = oneshot::channel();
            let proposal = Proposal {
                term,
                configuration_index: health.configuration_index,
                changes: for_raft(state.cluster(), &told),
                data: change.encode_to_vec().into(),
                reply,
            };
            let is_joint = proposal.changes.len() > 1 && matches!(told, Change::Promote(_));
            self.hand_in(Input::Change(proposal))?;
            match index.await.map_err(|_| RequestError::Stopped)? {
                Ok(index) => {
                    if is_joint {
                        point(self.env(), "membership.joint.appended").await;
                    }
                    break index;
                }
                Err(ChangeError::NotLeader { .. }) => return Err(RequestError::NotLeader),
                Err(ChangeError::Impossible) => return Err(RequestError::NotEnoughStartedMembers),
                Err(ChangeError::NoChange) => return Err(RequestError::MemberExists),
                Err(ChangeError::TooEarly | ChangeError::InProgress | ChangeError::Transferring) => {}
            }
            if deadline <= self.now() {
                return Err(RequestError::Timeout);
            }
            self.pause().await?;
        };
        tracing::info!(index = index.0, change = ?told, "proposed a change of membership");
        let left = deadline.saturating_sub(self.now());
        tokio::select! {
            biased;
            answer = applied.answer => answer.unwrap_or(Err(RequestError::Stopped))?,
            () = self.stopping() => return Err(RequestError::Stopped),
            () = self.env().clock.sleep(left) => {
                return Err(if self.reign() == Some(term) { RequestError::Timeout } else { RequestError::TimeoutLeaderFail });
            }
        };
        // Whom it replaced goes when the joint configuration is left.
        while self.state().cluster().configuration.is_joint() && self.now() < deadline {
            self.pause().await?;
        }
        let state = self.state();
        let members = state.cluster().members.iter().map(|(id, info)| info.to_proto(*id)).collect();
        Ok(MembershipChanged { index: index.0, members })
    }

    /// What the driver sees of the others.
    pub async fn health(&self) -> Result<Health, RequestError> {
        let (reply, health) = oneshot::channel();
        self.hand_in(Input::Health { reply })?;
        health.await.map_err(|_| RequestError::Stopped)
    }

    async fn pause(&self) -> Result<(), RequestError> {
        tokio::select! {
            biased;
            () = self.stopping() => Err(RequestError::Stopped),
            () = self.env().clock.sleep(self.config().heartbeat_interval) => Ok(()),
        }
    }
}

/// As clients see a member.
fn public(member: pb::Member) -> etcdserverpb::Member {
    let pb::Member { id, name, peer_urls, client_urls, is_learner, .. } = member;
    etcdserverpb::Member { id, name, peer_urls, client_urls, is_learner }
}
