//! What must hold, over all members and all time. A state's history is what the claims need to remember of its past.
//!
//! | Claim | Looked at |
//! |---|---|
//! | a term has one leader | everywhere |
//! | a member votes for one candidate in a term, over any number of crashes | when a vote leaves |
//! | committed entries are the same everywhere, for ever | everywhere |
//! | a leader of a later term holds every committed entry | everywhere |
//! | logs that agree at an index agree before it | everywhere |
//! | a read index covers what was committed anywhere before the read began | when a read is confirmed |
//! | the configuration in force is the newest in the log | everywhere |
//! | uncommitted bytes are those of the uncommitted entries, none without leadership | everywhere |
//! | ledger: a vote or an acceptance that leaves is on the disk | when it leaves |
//! | ledger: what a member believes durable is on its disk | everywhere |
//! | ledger: what a leader counts is on the follower's disk, until that one enters a later term | everywhere |

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_raft::*;

use crate::member::{Disk, Member};
use crate::show;

/// What the claims remember.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct History {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// Each committed entry, and the term in which that was first known.
    decided: Vec<(Entry, Term)>,
    /// How much was decided when the read began.
    reads: BTreeMap<(NodeId, ReadContext), Index>,
}

type Claim = Result<(), String>;

fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Claim {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl History {
    /// The newest entry committed anywhere.
    pub fn decided(&self) -> Index {
        Index(self.decided.len() as u64)
    }

    /// A message leaves.
    pub fn sends(
        &mut self,
        from: NodeId,
        to: NodeId,
        message: &Message,
        disk: &Disk,
        consequences_only: bool,
    ) -> Claim {
        let term = message.term;
        let vote = match message.body {
            Body::VoteRequest { pre_vote: false, .. } => Some(from),
            Body::VoteResponse { pre_vote: false, granted: true } => Some(to),
            _ => None,
        };
        if let Some(vote) = vote {
            let first = *self.votes.entry((from, term)).or_insert(vote);
            claim(first == vote, || format!("n{from} votes for n{first} and for n{vote} in term {term}"))?;
        }
        if consequences_only {
            return Ok(());
        }
        let HardState { term: durable_term, vote: durable_vote } = disk.hard_state;
        let is_durable = term < durable_term || (term == durable_term && durable_vote == vote);
        claim(vote.is_none() || is_durable, || format!("n{from}'s vote in term {term} is not on its disk"))?;
        match message.body {
            Body::AppendAccepted { matched } if term == durable_term => {
                claim(matched <= disk.last(), || format!("n{from} accepts {matched}, its disk ends at {}", disk.last()))
            }
            _ => Ok(()),
        }
    }

    /// A batch of reads begins.
    pub fn read_began(&mut self, id: NodeId, context: ReadContext) {
        self.reads.insert((id, context), self.decided());
    }

    /// It ends.
    pub fn read_ended(&mut self, id: NodeId, read: ReadState) -> Claim {
        match read {
            ReadState::Dropped { context } => {
                self.reads.remove(&(id, context));
                Ok(())
            }
            ReadState::Confirmed { context, index } => match self.reads.remove(&(id, context)) {
                None => Err(format!("n{id} confirms read {} that nobody waits for", context.0)),
                Some(floor) => claim(floor <= index, || {
                    format!("stale read {} at n{id}: index {index}, but {floor} was committed before", context.0)
                }),
            },
        }
    }

    /// Nobody at `id` waits any more.
    pub fn crashed(&mut self, id: NodeId) {
        self.reads.retain(|(reader, _), _| *reader != id);
    }

    /// The member with the number `at` has changed.
    pub fn changed(&mut self, members: &[Arc<Member>], at: usize, consequences_only: bool) -> Claim {
        let (id, member) = (NodeId(at as u64 + 1), &members[at]);
        self.commits(id, &member.raft)?;
        if member.role() == Role::Leader {
            let first = *self.leaders.entry(member.term()).or_insert(id);
            claim(first == id, || format!("two leaders in term {}: n{first} and n{id}", member.term()))?;
        }
        for (leader, member) in (1..).map(NodeId).zip(members).filter(|(_, member)| member.role() == Role::Leader) {
            self.is_complete(leader, &member.raft)?;
        }
        if !consequences_only {
            trusts_its_disk(id, member)?;
            members.iter().try_for_each(|leader| is_trusted_rightly(leader, members))?;
        }
        counts_its_bytes(id, &member.raft)?;
        obeys_its_log(id, member)?;
        for (other, peer) in (1..).map(NodeId).zip(members).filter(|(other, _)| *other != id) {
            logs_match((id, &member.raft), (other, &peer.raft))?;
        }
        self.forget(members);
        Ok(())
    }

    fn commits(&mut self, id: NodeId, raft: &Raft) -> Claim {
        for index in raft.first_index().0..=raft.committed().0 {
            let entry = raft.entry(Index(index)).expect("first_index is in memory");
            match self.decided.get(index as usize - 1) {
                Some((decided, _)) => claim(decided == entry, || {
                    format!("n{id} commits {}, but {} was committed", show::entry(entry), show::entry(decided))
                })?,
                None => self.decided.push((entry.clone(), raft.hard_state().term)),
            }
        }
        claim(raft.committed() <= self.decided(), || format!("n{id} commits {} that nobody had", raft.committed()))
    }

    fn is_complete(&self, id: NodeId, raft: &Raft) -> Claim {
        let term = raft.hard_state().term;
        let must = self.decided.iter().filter(|(entry, since)| *since < term && raft.first_index() <= entry.index);
        for (decided, _) in must {
            claim(raft.entry(decided.index) == Some(decided), || {
                format!("leader n{id} of term {term} lacks {}, which is committed", show::entry(decided))
            })?;
        }
        Ok(())
    }

    /// What no later step can be compared with: terms that everybody has left for good.
    fn forget(&mut self, members: &[Arc<Member>]) {
        let term_of = |id: NodeId| members[id.0 as usize - 1].disk.hard_state.term;
        self.votes.retain(|(voter, term), _| term_of(*voter) <= *term);
        let oldest = members.iter().map(|member| member.disk.hard_state.term).min().unwrap_or_default();
        self.leaders.retain(|term, _| oldest <= *term);
    }
}

fn trusts_its_disk(id: NodeId, member: &Member) -> Claim {
    let persisted = member.raft.persisted();
    let Some(entry) = member.raft.entry(persisted) else { return Ok(()) };
    claim(member.disk.holds(entry), || format!("n{id} believes {} durable, it is not on its disk", show::entry(entry)))
}

fn is_trusted_rightly(leader: &Member, members: &[Arc<Member>]) -> Claim {
    for (peer, view) in leader.raft.progress() {
        let follower = &members[peer.0 as usize - 1];
        if leader.term() < follower.disk.hard_state.term {
            continue;
        }
        let Some(entry) = leader.raft.entry(view.matched) else { continue };
        let holds = follower.disk.holds(entry);
        claim(holds, || format!("a leader counts {} at n{peer}, it is not on its disk", show::entry(entry)))?;
    }
    Ok(())
}

fn counts_its_bytes(id: NodeId, raft: &Raft) -> Claim {
    let leads = raft.standing().role == Role::Leader;
    let entries = (raft.committed().0 + 1..=raft.last_index().0).filter_map(|index| raft.entry(Index(index)));
    let expected = if leads { entries.map(|entry| entry.payload.size_bytes()).sum() } else { 0 };
    let counted = raft.uncommitted_bytes();
    claim(counted == expected, || format!("n{id} counts {counted} uncommitted bytes, there are {expected}"))
}

fn obeys_its_log(id: NodeId, member: &Member) -> Claim {
    let raft = &member.raft;
    let entries = (raft.first_index().0..=raft.last_index().0).filter_map(|index| raft.entry(Index(index)));
    let mut configs = entries.filter_map(|entry| match &entry.payload {
        Payload::Config(config) => Some(&config.configuration),
        Payload::Empty | Payload::Data(_) => None,
    });
    // A snapshot whose write is not handed out yet is seen by the member alone.
    let older = member.writes.iter().filter_map(|write| write.snapshot.as_ref()).next_back();
    let older = &older.unwrap_or(&member.disk.snapshot).configuration;
    let newest = configs.next_back().unwrap_or(older);
    claim(raft.configuration() == newest, || {
        let (ours, newest) = (show::configuration(raft.configuration()), show::configuration(newest));
        format!("n{id} acts on {ours}, the newest in its log is {newest}")
    })
}

fn logs_match((a_id, a): (NodeId, &Raft), (b_id, b): (NodeId, &Raft)) -> Claim {
    let (first, last) = (a.first_index().max(b.first_index()), a.last_index().min(b.last_index()));
    let mut agree = None;
    for index in (first.0..=last.0).rev().map(Index) {
        if a.term_at(index) == b.term_at(index) {
            agree = agree.or(Some(index));
        }
        claim(agree.is_none() || a.entry(index) == b.entry(index), || {
            format!("the logs of n{a_id} and n{b_id} agree at {}, but not at {index}", agree.expect("some"))
        })?;
    }
    Ok(())
}
