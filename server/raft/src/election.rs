//! Elections: whose time is up, who may ask, and who gets a vote.
//!
//! - **Timeouts** are drawn from `election_ticks..2 * election_ticks`, anew at each campaign and change of role.
//! - **Pre-vote** asks "would you vote for me in the next term?" and changes nothing on either side. A granted answer
//!   carries the term asked about; a refusal carries the voter's own term, so that an asker who is behind catches up.
//!   Of two that ask each other at once, one gives way: the shorter log, among equal ones the smaller id. Otherwise each
//!   would vote for itself, and of two that are left neither could win before the next time-out.
//! - **Everybody asked may vote**, whatever its own configuration says of itself and the asker: it may be behind, and the
//!   asker counts only those that vote in *its* configuration.
//! - **Lease**: with check-quorum, a member that heard a leader within `election_ticks` grants nothing to anybody else,
//!   and does not take over the asker's term, unless the request is forced.
//! - **A vote is durable before it counts**, the candidate's own included: the requests of a candidate are promises
//!   (see `handover`), and its own vote is counted when the hand-over that holds it completes. So no term ever has two
//!   leaders, even if each candidate crashes in between; the price is one sync before the requests leave, which a
//!   quick election would overlap with the voters' syncs. A lone voter takes the same path.
//! - **Check-quorum**: a leader that heard from no quorum during `election_ticks` steps down.
//!
//! Learners, and members outside the configuration, do not campaign.

use crate::Raft;
use crate::message::{Body, Message};
use crate::mutant::Mutant;
use crate::quorum::{self, Tally};
use crate::stand::{Stand, Votes};
use crate::types::{Configuration, Index, NodeId, Term};

/// What a candidate says of itself.
pub(crate) struct Ballot {
    pub(crate) pre_vote: bool,
    pub(crate) last_index: Index,
    pub(crate) last_term: Term,
    pub(crate) force: bool,
}

/// So many election time-outs longer does a leader wait that heard no quorum, before it campaigns.
const DEAF_TIMEOUTS: u32 = 2;

impl Raft {
    pub(crate) fn tick(&mut self) {
        self.ticks.elapsed = self.ticks.elapsed.saturating_add(1);
        if let Stand::Leader(leading) = &mut self.stand {
            self.ticks.since_heartbeat += 1;
            if self.config.heartbeat_ticks <= self.ticks.since_heartbeat {
                self.ticks.since_heartbeat = 0;
                leading.round_wanted = true;
            }
            if let Some(transfer) = &mut leading.transfer {
                transfer.ticks += 1;
                let for_ever = self.config.mutants.on(Mutant::TransferForEver);
                if self.config.election_ticks <= transfer.ticks && !for_ever {
                    leading.transfer = None;
                }
            }
            if self.config.election_ticks <= self.ticks.elapsed {
                self.ticks.elapsed = 0;
                self.count_quorum();
            }
        } else {
            self.ticks.leaderless = self.ticks.leaderless.saturating_add(1);
            if self.ticks.timeout <= self.ticks.elapsed {
                self.campaign();
            }
        }
    }

    /// Steps down unless enough to decide something showed life since the last count.
    fn count_quorum(&mut self) {
        let Stand::Leader(leading) = &mut self.stand else { return };
        let id = self.config.id;
        let is_active = |voter| voter == id || leading.progress.get(&voter).is_some_and(|progress| progress.active);
        let alone = !self.configurations.can_decide(self.committed, leading.own_term_start, is_active);
        leading.progress.values_mut().for_each(|progress| progress.active = false);
        if alone && self.config.check_quorum {
            self.become_follower(self.hard_state.term);
            // Whoever hears nobody cannot win, but its campaigns are heard and set the others back: they go first.
            self.ticks.timeout = self.ticks.timeout.saturating_add(DEAF_TIMEOUTS * self.config.election_ticks);
        }
    }

    /// Begins an election, if this member may.
    pub(crate) fn campaign(&mut self) {
        if matches!(self.stand, Stand::Leader(_)) {
            return;
        }
        if !self.may_campaign() {
            return self.restart_election_clock();
        }
        if self.config.pre_vote { self.ask_for_pre_votes() } else { self.ask_for_votes(false) }
    }

    fn ask_for_pre_votes(&mut self) {
        self.take_stand(Stand::PreCandidate(Votes::from([(self.config.id, true)])));
        let question = Message { term: self.hard_state.term.next(), body: self.vote_request(true, false) };
        for peer in self.other_voters() {
            self.messages.push((peer, question.clone()));
        }
        self.count_votes();
    }

    pub(crate) fn ask_for_votes(&mut self, force: bool) {
        self.hard_state.term = self.hard_state.term.next();
        self.hard_state.vote = Some(self.config.id);
        self.take_stand(Stand::Candidate(Votes::new()));
        let body = self.vote_request(false, force);
        for peer in self.other_voters() {
            self.promise(peer, body.clone());
        }
    }

    fn vote_request(&self, pre_vote: bool, force: bool) -> Body {
        Body::VoteRequest { pre_vote, last_index: self.log.last(), last_term: self.log.last_term(), force }
    }

    fn other_voters(&self) -> alloc::vec::Vec<NodeId> {
        let Configuration { voters, outgoing, .. } = self.configuration();
        voters.union(outgoing).copied().filter(|&voter| voter != self.config.id).collect()
    }

    /// Our vote for ourselves in `term` is durable.
    pub(crate) fn own_vote_persisted(&mut self, term: Term) {
        if let Stand::Candidate(votes) = &mut self.stand
            && term == self.hard_state.term
        {
            votes.insert(self.config.id, true);
            self.count_votes();
        }
    }

    /// An answer to the campaign we are in; any other is late and says nothing.
    pub(crate) fn voted(&mut self, from: NodeId, pre_vote: bool, granted: bool) {
        if !self.configuration().is_voter(from) {
            return;
        }
        match &mut self.stand {
            Stand::PreCandidate(votes) if pre_vote => _ = votes.entry(from).or_insert(granted),
            Stand::Candidate(votes) if !pre_vote => _ = votes.entry(from).or_insert(granted),
            _ => return,
        }
        self.count_votes();
    }

    fn count_votes(&mut self) {
        let (Stand::PreCandidate(votes) | Stand::Candidate(votes)) = &self.stand else { return };
        let vote_of = |voter| votes.get(&voter).copied();
        let mut tally = quorum::tally(self.configuration(), vote_of);
        if self.config.mutants.on(Mutant::JointOneHalf) {
            tally = quorum::tally(&self.configuration().left(), vote_of);
        }
        match tally {
            Tally::Open => {}
            Tally::Lost => self.become_follower(self.hard_state.term),
            Tally::Won if matches!(self.stand, Stand::PreCandidate(_)) => self.ask_for_votes(false),
            // The others' votes may be enough; still nobody leads in a term it could forget.
            Tally::Won if !votes.contains_key(&self.config.id) => {}
            Tally::Won => self.become_leader(),
        }
    }

    /// Somebody asks for a vote in `term`.
    pub(crate) fn vote_requested(&mut self, from: NodeId, term: Term, ballot: &Ballot) {
        let leased = self.config.check_quorum
            && self.leader().is_some_and(|leader| leader != from)
            && self.ticks.elapsed < self.config.election_ticks
            && !ballot.force;
        let up_to_date = (self.log.last_term(), self.log.last()) <= (ballot.last_term, ballot.last_index);
        let own_term = self.hard_state.term;

        if ballot.pre_vote {
            let granted = own_term < term && up_to_date && !leased;
            let even = (self.log.last_term(), self.log.last()) == (ballot.last_term, ballot.last_index);
            if granted && matches!(self.stand, Stand::PreCandidate(_)) && (!even || self.config.id < from) {
                self.become_follower(own_term);
            }
            let body = Body::VoteResponse { pre_vote: true, granted };
            let echo = self.config.mutants.bites(Mutant::PreVoteTermEcho, || granted);
            self.messages.push((from, Message { term: if granted && !echo { term } else { own_term }, body }));
            return;
        }
        if own_term < term {
            if leased {
                return;
            }
            let (before, led) = (self.ticks.clone(), matches!(self.stand, Stand::Leader(_)));
            self.become_follower(term);
            // Who lacks entries cannot win here, and must not keep back those who can: our clock goes on.
            if !up_to_date && !led {
                (self.ticks.elapsed, self.ticks.timeout) = (before.elapsed, before.timeout);
            }
        }
        let free = match self.hard_state.vote {
            Some(vote) => vote == from,
            None => self.leader().is_none(),
        };
        let granted = term == self.hard_state.term && free && up_to_date;
        let body = Body::VoteResponse { pre_vote: false, granted };
        if !granted {
            // A refusal promises nothing, and teaches an asker who is behind our term.
            self.send(from, body);
            return;
        }
        self.hard_state.vote = Some(from);
        self.ticks.suspicion = 0; // Somebody is on it.
        self.restart_election_clock();
        if self.config.mutants.on(Mutant::VoteNotDurable) { self.send(from, body) } else { self.promise(from, body) }
    }
}
