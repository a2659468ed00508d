//! Questions between members outside the log: a member that does not lead asks the leader about leases, and the leader
//! asks everybody what they are.
//!
//! A question is one message and its answer another; either may be lost, so the asker waits a bounded time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use evenkeel_proto::peer as pb;
use evenkeel_proto::peer::answer::Answer as Said;
use evenkeel_proto::peer::ask::Question;
use evenkeel_raft::{NodeId, Term};
use tokio::sync::oneshot;

use crate::env::MessageKind;
use crate::error::RequestError;
use crate::lease::LeaseTtl;
use crate::member::{Member, SplitMix};
use crate::membership::MembershipChange;
use crate::peer;

/// Questions open at once.
const OPEN_MAX: usize = 16_384;
/// What a member answers that does not lead.
const NOT_LEADER: &str = "not leader";

/// Keeps numbers of questions apart from others drawn from the seed.
const ASKS_SALT: u64 = 0x6173_6b73;

/// The open questions of a member.
pub struct Asks {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, (NodeId, oneshot::Sender<pb::Answer>)>>,
}

/// An open question, forgotten when nobody waits for its answer any more.
struct Open<'a> {
    asks: &'a Asks,
    id: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.asks.open.lock().expect("not poisoned").remove(&self.id);
    }
}

impl Asks {
    /// Numbers from this seed on: a late answer to an earlier life of the process must meet no question of this one.
    pub fn seeded(seed: u64) -> Asks {
        Asks { next: AtomicU64::new(SplitMix(seed ^ ASKS_SALT).next()), open: Mutex::default() }
    }

    async fn ask(&self, member: &Member, to: NodeId, question: Question) -> Result<Said, RequestError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut open = self.open.lock().expect("not poisoned");
            if open.len() >= OPEN_MAX {
                return Err(RequestError::TooManyRequests);
            }
            open.insert(id, (to, reply));
        }
        let _open = Open { asks: self, id };
        let bytes = peer::encode_ask(member.ids(), to, pb::Ask { id, question: Some(question) });
        member.env().network.send(to, MessageKind::Ask, bytes);
        // Shorter than the whole request may take: an answer that is lost must leave time for another question.
        let patience = 2 * member.config().election_timeout;
        let answer = tokio::select! {
            biased;
            // Without an answer when the one asked is gone.
            answer = answer => answer.map_err(|_| RequestError::LeaderChanged),
            () = member.stopping() => Err(RequestError::Stopped),
            () = member.env().clock.sleep(patience) => Err(RequestError::LeaderChanged),
        };
        let answer = answer?;
        match answer.answer {
            Some(said) => Ok(said),
            None if answer.error == NOT_LEADER => Err(RequestError::NotLeader),
            None => Err(RequestError::told(&answer.error).unwrap_or(RequestError::Timeout)),
        }
    }

    /// Asks the leader to renew a lease.
    pub async fn lease_renew(&self, member: &Member, leader: NodeId, lease: i64) -> Result<i64, RequestError> {
        match self.ask(member, leader, Question::LeaseRenew(pb::LeaseRenew { id: lease })).await? {
            Said::LeaseRenewed(renewed) => Ok(renewed.ttl),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    /// Asks a member what it is.
    pub async fn versions(&self, member: &Member, of: NodeId) -> Result<pb::VersionsTold, RequestError> {
        match self.ask(member, of, Question::Versions(pb::Versions {})).await? {
            Said::VersionsTold(told) => Ok(told),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    /// Asks the leader of `term` to change who belongs to the cluster. [`RequestError::LeaderChanged`] when no answer
    /// came, [`RequestError::NotLeader`] when it is certain that nothing has come of it, and never will.
    pub async fn change_membership(
        &self,
        member: &Member,
        leader: NodeId,
        term: Term,
        change: MembershipChange,
    ) -> Result<pb::MembershipChanged, RequestError> {
        let question = pb::ChangeMembership { change: Some(change), term: term.0 };
        match self.ask(member, leader, Question::ChangeMembership(question)).await? {
            Said::MembershipChanged(done) => Ok(done),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    /// Asks the leader for the time left of a lease.
    pub async fn lease_time_to_live(
        &self,
        member: &Member,
        leader: NodeId,
        lease: i64,
        keys: bool,
    ) -> Result<LeaseTtl, RequestError> {
        let question = Question::LeaseTimeToLive(pb::LeaseTimeToLive { id: lease, keys });
        match self.ask(member, leader, question).await? {
            Said::LeaseTtl(said) => Ok(LeaseTtl { ttl: said.ttl, granted_ttl: said.granted_ttl, keys: said.keys }),
            _ => Err(RequestError::LeaderChanged),
        }
    }

    /// The process of `peer` is gone: what it was asked will not be answered.
    pub fn lost(&self, peer: NodeId) {
        self.open.lock().expect("not poisoned").retain(|_, (asked, _)| *asked != peer);
    }

    /// Takes an answer; one that nobody waits for any more is dropped, and one of somebody else than was asked.
    pub fn answered(&self, from: NodeId, answer: pb::Answer) {
        let mut open = self.open.lock().expect("not poisoned");
        if open.get(&answer.id).is_some_and(|(asked, _)| *asked == from)
            && let Some((_, reply)) = open.remove(&answer.id)
        {
            let _ = reply.send(answer);
        }
    }
}

/// Answers another member's question.
pub fn answer(member: &Arc<Member>, from: NodeId, ask: pb::Ask) {
    let member = Arc::clone(member);
    tokio::spawn(async move {
        let said = match ask.question {
            Some(Question::LeaseRenew(q)) => {
                member.lease_renew_here(q.id).await.map(|ttl| Said::LeaseRenewed(pb::LeaseRenewed { ttl }))
            }
            Some(Question::LeaseTimeToLive(q)) => member.lease_time_to_live_here(q.id, q.keys).await.map(|found| {
                Said::LeaseTtl(pb::LeaseTtl { ttl: found.ttl, granted_ttl: found.granted_ttl, keys: found.keys })
            }),
            Some(Question::Versions(_)) => Ok(Said::VersionsTold(member.versions())),
            Some(Question::ChangeMembership(pb::ChangeMembership { change, term })) => {
                member.change_as_leader(change.unwrap_or_default(), Term(term)).await.map(Said::MembershipChanged)
            }
            None => return,
        };
        let (error, answer) = match said {
            Ok(said) => (String::new(), Some(said)),
            Err(RequestError::NotLeader) => (NOT_LEADER.to_owned(), None),
            Err(error) => (error.to_string(), None),
        };
        let bytes = peer::encode_answer(member.ids(), from, pb::Answer { id: ask.id, error, answer });
        member.env().network.send(from, MessageKind::Ask, bytes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_asked_in_this_life_answers() {
        let (asks, earlier) = (Asks::seeded(1), Asks::seeded(2));
        let (id, before) = (asks.next.load(Ordering::Relaxed), earlier.next.load(Ordering::Relaxed));
        assert!(id.abs_diff(before) > OPEN_MAX as u64);
        let (reply, mut answer) = oneshot::channel();
        asks.open.lock().unwrap().insert(id, (NodeId(2), reply));
        let said = |id| pb::Answer { id, ..pb::Answer::default() };
        asks.answered(NodeId(2), said(before));
        asks.answered(NodeId(3), said(id));
        assert!(answer.try_recv().is_err());
        asks.answered(NodeId(2), said(id));
        assert_eq!(answer.try_recv().unwrap().id, id);
    }
}
