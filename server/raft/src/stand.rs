//! Where a member stands: its role, with the state only that role has, and the ways from one to another.
//!
//! ```text
//!               timeout                 could win               won, vote durable
//!   Follower ------------> PreCandidate ----------> Candidate --------------------> Leader
//!      ^                       |                        |                              |
//!      +-----------------------+------------------------+------------------------------+
//!         a leader's sign · a higher term · a quorum refused · a leader without quorum
//! ```
//!
//! Leaving a role ends what it began: waiting reads are dropped (the shell asks again), votes and progress are gone.

use alloc::collections::{BTreeMap, VecDeque};
use core::mem;

use crate::Raft;
use crate::message::ReadContext;
use crate::read::WaitingRead;
use crate::ready::{ReadState, Role, Standing};
use crate::replication::Leading;
use crate::transfer::{SUSPICION_CAMPAIGNS, SUSPICION_TICKS};
use crate::types::{NodeId, Term};

#[derive(Clone, Debug, Hash)]
pub(crate) enum Stand {
    Follower(Following),
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Leading),
}

/// Answers so far, the first of each voter.
pub(crate) type Votes = BTreeMap<NodeId, bool>;

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Following {
    pub(crate) leader: Option<NodeId>,
    /// Batches of reads the leader was asked about, oldest first.
    pub(crate) forwarded: VecDeque<ReadContext>,
}

impl Stand {
    pub(crate) fn follower(leader: Option<NodeId>) -> Stand {
        Stand::Follower(Following { leader, forwarded: VecDeque::new() })
    }
}

/// Everything counted in ticks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks {
    /// Since the last sign of a leader, the last vote given, the last campaign; of a leader: since it counted its quorum.
    pub(crate) elapsed: u32,
    /// A campaign begins when `elapsed` reaches this; drawn anew each time.
    pub(crate) timeout: u32,
    /// Of a leader: since its last heartbeat.
    pub(crate) since_heartbeat: u32,
    /// Since the last sign of a leader, over any number of campaigns.
    pub(crate) leaderless: u32,
    /// Campaigns that begin early, because the leader's process is gone.
    pub(crate) suspicion: u32,
}

impl Raft {
    /// This member's role, term and leader.
    pub fn standing(&self) -> Standing {
        Standing { term: self.hard_state.term, role: self.role(), leader: self.leader() }
    }

    pub(crate) fn role(&self) -> Role {
        match self.stand {
            Stand::Follower(_) => Role::Follower,
            Stand::PreCandidate(_) => Role::PreCandidate,
            Stand::Candidate(_) => Role::Candidate,
            Stand::Leader(_) => Role::Leader,
        }
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.stand {
            Stand::Follower(following) => following.leader,
            Stand::PreCandidate(_) | Stand::Candidate(_) => None,
            Stand::Leader(_) => Some(self.config.id),
        }
    }

    /// The one way from stand to stand.
    pub(crate) fn take_stand(&mut self, stand: Stand) {
        match mem::replace(&mut self.stand, stand) {
            Stand::Follower(following) => {
                let dropped = following.forwarded.into_iter().map(|context| ReadState::Dropped { context });
                self.read_states.extend(dropped);
            }
            Stand::Leader(leading) => {
                let local = leading.waiting.into_iter().filter_map(WaitingRead::dropped);
                self.read_states.extend(local);
            }
            Stand::PreCandidate(_) | Stand::Candidate(_) => {}
        }
        self.restart_election_clock();
        self.ticks.since_heartbeat = 0;
    }

    pub(crate) fn restart_election_clock(&mut self) {
        self.ticks.elapsed = 0;
        self.ticks.timeout = match self.ticks.suspicion.checked_sub(1) {
            Some(left) => {
                self.ticks.suspicion = left;
                let turn = SUSPICION_CAMPAIGNS - left;
                1 + self.random.below((SUSPICION_TICKS * turn).min(self.config.election_ticks))
            }
            None => self.config.election_ticks + self.random.below(self.config.election_ticks),
        };
    }

    /// Enters `term` as a follower that knows no leader yet, or gives up a role within the current term.
    pub(crate) fn become_follower(&mut self, term: Term) {
        assert!(self.hard_state.term <= term, "terms never go back");
        if self.hard_state.term < term {
            self.hard_state.term = term;
            self.hard_state.vote = None;
        }
        self.take_stand(Stand::follower(None));
    }

    /// `from` speaks as the leader of our term. False when it cannot be: the term has another leader.
    pub(crate) fn follow(&mut self, from: NodeId) -> bool {
        if !matches!(self.stand, Stand::Leader(_)) {
            self.ticks.suspicion = 0;
        }
        match &self.stand {
            Stand::Leader(_) => return false,
            Stand::Follower(Following { leader: Some(leader), .. }) if *leader != from => return false,
            Stand::Follower(Following { leader: Some(_), .. }) => self.ticks.elapsed = 0,
            Stand::Follower(_) | Stand::PreCandidate(_) | Stand::Candidate(_) => {
                self.take_stand(Stand::follower(Some(from)));
            }
        }
        self.ticks.leaderless = 0;
        true
    }
}
