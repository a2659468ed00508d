//! One change, from the member that was asked to the leader and back.
//!
//! A question to the leader may be lost or repeated, and the leader may be lost with it. At most one entry comes of one
//! wish all the same, because a question is for the leader of one term only and carries an id:
//!
//! - That leader keeps the newest ids with their outcomes, so a repeated question waits for, or gets, the outcome of
//!   the first.
//! - What that leader appended has its term. When an entry of a later term is applied where the change is waited for,
//!   and the change was not, it is lost for certain (see [`crate::waiters`]); where it was, its outcome is known, even
//!   if the leader cannot tell any more.
//!
//! Only when it is certain that nothing has happened, and nothing will, the next leader is asked, under a new id. So a
//! wish that is repeated never undoes what somebody else did meanwhile.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_proto::etcdserverpb;
use evenkeel_proto::peer::MembershipChanged;
use evenkeel_proto::store as pb;
use evenkeel_raft::{ChangeError, Data, Index, MemberChange, Mutant, NodeId, Standing, Term};
use prost::Message;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{oneshot, watch};

use super::rules::{self, Health, Limits};
use super::{Change, MembershipChange, for_raft};
use crate::env::point;
use crate::error::RequestError;
use crate::member::Member;
use crate::node::Input;
use crate::waiters::Answer;

/// Requests whose outcome a leader remembers, each for as long as it may be asked for again.
const REMEMBERED_MAX: usize = 1_024;

/// Election timeouts without a leader, after which nobody hopes for one any more.
const LEADERLESS_ELECTIONS_MAX: u32 = 3;

/// What the leader says about a change.
pub type Outcome = Result<MembershipChanged, RequestError>;

/// A change for the driver of the leader.
pub struct Proposal {
    /// The request.
    pub id: u64,
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
    /// Oldest first, with the time from which on nobody asks again.
    order: VecDeque<(u64, Duration)>,
}

impl Changes {
    /// Where the outcome of this request will be, and, when it is new, whom to tell. It may be asked for `until` then.
    #[expect(clippy::type_complexity, reason = "the two ends of one channel")]
    fn join(
        &self,
        request: u64,
        now: Duration,
        until: Duration,
    ) -> Result<(watch::Receiver<Option<Outcome>>, Option<watch::Sender<Option<Outcome>>>), RequestError> {
        let mut asked = self.asked.lock().expect("not poisoned");
        if let Some(outcome) = asked.outcomes.get(&request) {
            return Ok((outcome.clone(), None));
        }
        while let Some((oldest, _)) = asked.order.pop_front_if(|(_, until)| *until <= now) {
            asked.outcomes.remove(&oldest);
        }
        if REMEMBERED_MAX <= asked.order.len() {
            return Err(RequestError::TooManyRequests);
        }
        let (tell, outcome) = watch::channel(None);
        asked.outcomes.insert(request, outcome.clone());
        asked.order.push_back((request, until));
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
        let mut led = self.now();
        loop {
            let Standing { leader, term, .. } = self.standing();
            if leader.is_some() {
                led = self.now();
            } else if LEADERLESS_ELECTIONS_MAX * self.config().election_timeout < self.now() - led {
                self.may_be_hoped_for(&change)?;
            }
            let told = MembershipChange { request_id: self.next_request_id(), change: Some(change.clone()) };
            let outcome = match leader {
                Some(leader) if leader.0 == self.ids().member => self.change_as_leader(told, term).await,
                Some(leader) => self.ask_leader(leader, term, told, deadline).await,
                None => Err(RequestError::NoLeader),
            };
            match outcome {
                Err(RequestError::NotLeader | RequestError::NoLeader) => {}
                outcome => return outcome,
            }
            if deadline <= self.now() {
                let needs_leader = leader.is_none() && matches!(change, Change::Promote(_));
                return Err(if needs_leader { RequestError::NoLeader } else { RequestError::Timeout });
            }
            self.pause().await?;
        }
    }

    /// Without a leader there is no quorum, and nobody can be added. As with etcd, whoever is asked says so.
    fn may_be_hoped_for(&self, change: &Change) -> Result<(), RequestError> {
        let limits = self.limits();
        if !limits.strict || !matches!(change, Change::Add(_)) {
            return Ok(());
        }
        let alone = Health { own: self.ids().member, ..Health::default() };
        rules::check(self.state().cluster(), &alone, limits, change)
    }

    /// Asks the leader of `term` until the outcome is known, from it or from the log. [`RequestError::NotLeader`] when
    /// nothing has happened and nothing will.
    async fn ask_leader(&self, leader: NodeId, term: Term, change: MembershipChange, deadline: Duration) -> Outcome {
        let mut applied = self.await_answer(change.request_id);
        self.waiters().proposed(change.request_id, term, None);
        let mut standing = self.follow_standing();
        // From here on no later term can go by unnoticed.
        if standing.borrow().term != term {
            return Err(RequestError::NotLeader);
        }
        let asking = async {
            loop {
                let leads = |now: &Standing| now.leader == Some(leader) && now.term == term;
                if standing.wait_for(leads).await.is_err() {
                    return Err(RequestError::Stopped);
                }
                let said = self.asks().change_membership(self, leader, term, change.clone()).await;
                match said {
                    // It may have been done, and the log will say so.
                    Err(
                        RequestError::LeaderChanged
                        | RequestError::Stopped
                        | RequestError::Timeout
                        | RequestError::TimeoutLeaderFail,
                    ) => self.pause().await?,
                    said => return said,
                }
            }
        };
        tokio::select! {
            biased;
            answer = &mut applied.answer => {
                known(answer)?;
                self.made(None, deadline).await
            }
            said = asking => said,
            () = self.stopping() => Err(RequestError::Stopped),
            () = self.env().clock.sleep(deadline.saturating_sub(self.now())) => {
                let leads = self.standing().leader == Some(leader);
                Err(if leads { RequestError::Timeout } else { RequestError::TimeoutLeaderFail })
            }
        }
    }

    /// As the leader of `term`. A request that was asked for before has one outcome.
    pub async fn change_as_leader(self: &Arc<Self>, change: MembershipChange, term: Term) -> Outcome {
        let now = self.now();
        // As long as the other asks, and once more for clocks that differ.
        let (mut outcome, first) = self.changes().join(change.request_id, now, now + 2 * self.request_timeout())?;
        if let Some(tell) = first {
            let member = Arc::clone(self);
            // On its own: whoever asked may give up, or be gone with its connection.
            tokio::spawn(async move {
                let made = member.make(change, term.0).await;
                let _ = tell.send(Some(made));
            });
        }
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().expect("waited for"),
            Err(_) => Err(RequestError::Stopped),
        }
    }

    async fn make(&self, change: MembershipChange, term: u64) -> Outcome {
        let deadline = self.now() + self.request_timeout();
        let told = askable(&change).ok_or(RequestError::MemberNotFound)?;
        let limits = self.limits();
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
            let changes = for_raft(state.cluster(), &told);
            if let Some(id) = rules::unnamed(state.cluster(), &health, &changes) {
                // It will have its name soon.
                self.pause().await?;
                if deadline <= self.now() {
                    tracing::warn!(change = ?told, voter = format!("{id:x}"), "a voter that runs has no name yet");
                    return Err(RequestError::Timeout);
                }
                continue;
            }
            let (reply, index) = oneshot::channel();
            let proposal = Proposal {
                id: change.request_id,
                term,
                configuration_index: health.configuration_index,
                changes,
                data: change.encode_to_vec().into(),
                reply,
            };
            let is_joint = proposal.changes.len() > 1 && matches!(told, Change::Promote(_));
            point!(self.env(), "membership.before_propose");
            self.hand_in(Input::Change(proposal))?;
            match index.await.map_err(|_| RequestError::Stopped)? {
                Ok(index) => {
                    if is_joint {
                        point!(self.env(), "membership.joint.appended");
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
        point!(self.env(), "membership.appended");
        tracing::info!(index = index.0, change = ?told, "proposed a change of membership");
        let left = deadline.saturating_sub(self.now());
        tokio::select! {
            biased;
            answer = applied.answer => known(answer)?,
            () = self.stopping() => return Err(RequestError::Stopped),
            () = self.env().clock.sleep(left) => {
                return Err(if self.reign() == Some(term) { RequestError::Timeout } else { RequestError::TimeoutLeaderFail });
            }
        };
        point!(self.env(), "membership.applied");
        self.made(Some(index), deadline).await
    }

    /// The change was applied here, by this entry if it is known by which.
    async fn made(&self, index: Option<Index>, deadline: Duration) -> Outcome {
        // Whom it replaced goes when the joint configuration is left.
        while self.state().cluster().configuration.is_joint() && self.now() < deadline {
            self.pause().await?;
        }
        let state = self.state();
        let index = index.map_or(state.store.applied().0, |index| index.0);
        let members = state.cluster().members.iter().map(|(id, info)| info.to_proto(*id)).collect();
        Ok(MembershipChanged { index, members })
    }

    fn limits(&self) -> Limits {
        Limits { strict: self.config().strict_reconfig_check, max_learners: self.config().max_learners }
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

/// What may be asked of a leader. To begin anew is none of it: a member that stands alone does that by itself.
fn askable(change: &MembershipChange) -> Option<Change> {
    change.change.clone().filter(|change| !matches!(change, Change::Alone(_)))
}

/// What became of an entry that was waited for. [`RequestError::NotLeader`] when it is lost with its leader's term.
fn known(answer: Result<Answer, RecvError>) -> Result<(), RequestError> {
    match answer {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RequestError::LeaderChanged)) => Err(RequestError::NotLeader),
        Ok(Err(refused)) => Err(refused),
        Err(_) => Err(RequestError::Stopped),
    }
}

/// As clients see a member.
fn public(member: pb::Member) -> etcdserverpb::Member {
    let pb::Member { id, name, peer_urls, client_urls, is_learner, .. } = member;
    etcdserverpb::Member { id, name, peer_urls, client_urls, is_learner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_outcome_for_as_long_as_it_may_be_asked_for_again() {
        let (changes, at) = (Changes::default(), Duration::from_secs);
        let is_new = |id, now| changes.join(id, at(now), at(now + 14)).map(|(_, first)| first.is_some());
        assert_eq!(is_new(7, 0), Ok(true));
        assert_eq!(is_new(7, 13), Ok(false));
        for id in 100..100 + REMEMBERED_MAX as u64 - 1 {
            assert_eq!(is_new(id, 1), Ok(true));
        }
        assert_eq!(is_new(8, 13), Err(RequestError::TooManyRequests));
        assert_eq!(is_new(7, 13), Ok(false));
        assert_eq!(is_new(8, 14), Ok(true), "nobody asks for the first again");
        assert_eq!(changes.asked.lock().unwrap().outcomes.len(), REMEMBERED_MAX);
    }

    #[test]
    fn no_leader_is_asked_to_begin_anew() {
        let asked = |change| askable(&MembershipChange { request_id: 1, change });
        assert_eq!(asked(Some(Change::Alone(pb::Member { id: 1, ..Default::default() }))), None);
        assert_eq!(asked(None), None);
        assert_eq!(asked(Some(Change::Remove(2))), Some(Change::Remove(2)));
    }
}
