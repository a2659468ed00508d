//! Linearizable reads that write nothing to the log (Raft dissertation, 6.4).
//!
//! A batch of reads may be served from a state machine that has applied the *read index*: the leader's commit index at
//! or after the batch's arrival, once two things are known.
//!
//! 1. An entry of the leader's own term is committed. Before, its commit index may trail the cluster's.
//! 2. A quorum answered a heartbeat round that *began after the batch arrived*: then nobody led a newer term when it
//!    arrived. Rounds are numbered by the leader, grow, and answers echo them. The caller's context plays no part in
//!    this, so neither repeated answers nor repeated contexts can confirm anything (etcd's issue 20418).
//!
//! A follower asks its leader and hands the answer back. What it asked about is remembered up to a limit, oldest
//! forgotten first, so answers that never come cost nothing. Every local batch ends as `Confirmed` or `Dropped`,
//! but one whose question or answer was lost ends only with a later change of leader or when newer ones push it out: the
//! shell sets a deadline and asks again under a new context.

use crate::Raft;
use crate::message::{Body, ReadContext, Round};
use crate::mutant::Mutant;
use crate::quorum;
use crate::ready::ReadState;
use crate::stand::{Following, Stand};
use crate::types::{Index, NodeId};

/// A batch of reads the leader has not answered yet.
#[derive(Clone, Debug, Hash)]
pub(crate) struct WaitingRead {
    context: ReadContext,
    /// The follower that asked; `None` for the leader's own.
    origin: Option<NodeId>,
    /// A quorum must answer this round or a later one.
    round: Round,
    /// Known once an entry of our term is committed.
    index: Option<Index>,
}

impl WaitingRead {
    /// What becomes of it when the leader is none any more. A follower hears of that by itself.
    pub(crate) fn dropped(self) -> Option<ReadState> {
        self.origin.is_none().then_some(ReadState::Dropped { context: self.context })
    }
}

impl Raft {
    pub(crate) fn read(&mut self, context: ReadContext) {
        match &mut self.stand {
            Stand::Leader(_) => self.queue_read(None, context),
            Stand::Follower(Following { leader: Some(leader), forwarded }) => {
                if forwarded.len() >= self.config.max_waiting_reads
                    && let Some(context) = forwarded.pop_front()
                {
                    self.read_states.push(ReadState::Dropped { context });
                }
                forwarded.push_back(context);
                let leader = *leader;
                self.send(leader, Body::ReadRequest { context });
            }
            _ => self.read_states.push(ReadState::Dropped { context }),
        }
    }

    pub(crate) fn read_requested(&mut self, from: NodeId, context: ReadContext) {
        if matches!(self.stand, Stand::Leader(_)) {
            self.queue_read(Some(from), context);
        }
    }

    fn queue_read(&mut self, origin: Option<NodeId>, context: ReadContext) {
        if self.config.mutants.on(Mutant::ReadWithoutConfirm) {
            return self.answer_read(origin, context, self.committed);
        }
        let Stand::Leader(leading) = &mut self.stand else { return };
        if leading.waiting.len() >= self.config.max_waiting_reads {
            if origin.is_none() {
                self.read_states.push(ReadState::Dropped { context });
            }
            return;
        }
        let term_begun = leading.own_term_start <= self.committed;
        let early = self.config.mutants.bites(Mutant::ReadIndexNoTermCommit, || !term_begun);
        let index = (early || term_begun).then_some(self.committed);
        let begun = self.config.mutants.on(Mutant::ReadIndexReuse);
        let round = Round(leading.round.0 + u64::from(!begun));
        leading.waiting.push_back(WaitingRead { context, origin, round, index });
        leading.round_wanted = true;
        self.answer_reads();
    }

    /// The commit index moved within our term: reads that waited for that get their index.
    pub(crate) fn index_reads(&mut self) {
        let Stand::Leader(leading) = &mut self.stand else { return };
        assert!(leading.own_term_start <= self.committed);
        // Those without an index came first of all, before the term's first commit.
        for read in leading.waiting.iter_mut().take_while(|read| read.index.is_none()) {
            read.index = Some(self.committed);
        }
        self.answer_reads();
    }

    /// Answers what a quorum has confirmed, in order of arrival.
    pub(crate) fn answer_reads(&mut self) {
        let Stand::Leader(leading) = &mut self.stand else { return };
        if leading.waiting.is_empty() {
            return;
        }
        let round_of = |voter: NodeId| match leading.progress.get(&voter) {
            Some(progress) => progress.round,
            None => Round(u64::MAX), // ourselves
        };
        let confirmed = quorum::agreed(&self.configurations.newest().1, round_of);
        let is_done = |read: &WaitingRead| read.round <= confirmed && read.index.is_some();
        let count = leading.waiting.iter().take_while(|read| is_done(read)).count();
        let done: alloc::vec::Vec<WaitingRead> = leading.waiting.drain(..count).collect();
        for WaitingRead { context, origin, index, .. } in done {
            self.answer_read(origin, context, index.expect("only indexed reads are done"));
        }
    }

    fn answer_read(&mut self, origin: Option<NodeId>, context: ReadContext, index: Index) {
        match origin {
            None => self.read_states.push(ReadState::Confirmed { context, index }),
            Some(follower) => self.send(follower, Body::ReadResponse { context, index }),
        }
    }

    /// The leader answers. Only the first answer to an open question counts.
    pub(crate) fn read_answered(&mut self, from: NodeId, context: ReadContext, index: Index) {
        let Stand::Follower(Following { leader, forwarded }) = &mut self.stand else { return };
        if *leader == Some(from)
            && let Some(at) = forwarded.iter().position(|&asked| asked == context)
        {
            forwarded.remove(at);
            self.read_states.push(ReadState::Confirmed { context, index });
        }
    }
}
