//! Who takes part, and how that changes.
//!
//! - A configuration is **in force once its entry is in the log**, committed or not (dissertation 4.1); an entry that
//!   is cut away takes it along. So a member always acts on the newest configuration in its log, and what it restarts
//!   with follows from its log alone. (Putting it in force when it is *applied*, as etcd does, needs a durable commit
//!   index: after a restart a member would campaign with a configuration that is long past.)
//! - A change of one voter is one entry: majorities of neighbouring configurations meet. A change of several goes
//!   through a *joint* configuration (Raft paper, section 6), which the leader leaves by itself once it is committed;
//!   a new leader finds it in its log and leaves it as well.
//! - An entry that changes the configuration is committed by a quorum of the configuration *before* it (without those it
//!   takes the vote from), or of its own;
//!   what follows it by a quorum of its own only. Either decides: a later leader without the entry would have to be
//!   elected by the configuration before it. So a lone voter adds a second one that has not started yet.
//! - One change at a time, and none before an entry of the leader's own term is committed: otherwise two leaders could
//!   each change from a configuration that the other does not know (Ongaro, raft-dev, 2015).
//! - A leader that is not a voter any more works on, without counting itself, until that is committed; then it hands
//!   over and steps down.
//! - A member that its newest configuration leaves out may still campaign while that configuration is not known to be
//!   committed: the others may depend on its log (dissertation 4.2.2).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Raft;
use crate::message::Body;
use crate::mutant::Mutant;
use crate::progress::Progress;
use crate::quorum;
use crate::ready::Data;
use crate::stand::Stand;
use crate::types::{ConfigEntry, Configuration, Entry, Index, NodeId, Payload};

/// One wish about who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// A new voter, or a learner that becomes one.
    AddVoter(NodeId),
    /// A new learner, or a voter that becomes one.
    AddLearner(NodeId),
    /// Takes part no more.
    Remove(NodeId),
}

/// Why a change was not taken. Nothing has happened to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// This member does not lead. Ask the hinted one.
    NotLeader {
        /// The leader, when known.
        hint: Option<NodeId>,
    },
    /// A leader's first entry is not committed yet. Try again soon.
    TooEarly,
    /// Another change is under way. Try again when it is committed.
    InProgress,
    /// The leader is handing over. Ask the next one.
    Transferring,
    /// Nobody would vote, or the wish names nobody.
    Impossible,
    /// It is so already.
    NoChange,
}

impl Configuration {
    /// This configuration with `changes` made, joint when more than one voter comes or goes.
    fn changed(&self, changes: &[MemberChange]) -> Result<Configuration, ChangeError> {
        let (mut voters, mut learners) = (self.voters.clone(), self.learners.clone());
        for &change in changes {
            let (MemberChange::AddVoter(member) | MemberChange::AddLearner(member) | MemberChange::Remove(member)) =
                change;
            voters.remove(&member);
            learners.remove(&member);
            match change {
                MemberChange::AddVoter(_) => _ = voters.insert(member),
                MemberChange::AddLearner(_) => _ = learners.insert(member),
                MemberChange::Remove(_) => {}
            }
        }
        let moved = self.voters.symmetric_difference(&voters).count();
        let outgoing = if moved > 1 { self.voters.clone() } else { BTreeSet::new() };
        let next = Configuration { voters, outgoing, learners };
        match next {
            next if !next.is_possible() => Err(ChangeError::Impossible),
            next if next == *self && !changes.is_empty() => Err(ChangeError::NoChange),
            next => Ok(next),
        }
    }
}

/// The configurations that a truncation could still bring back: the newest committed one, and all after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Configurations {
    /// By the index of their entries, oldest first; never empty.
    stack: Vec<(Index, Configuration)>,
    /// The newest is not the one the world knows.
    is_news: bool,
}

impl Configurations {
    pub(crate) fn new(index: Index, configuration: Configuration) -> Configurations {
        Configurations { stack: alloc::vec![(index, configuration)], is_news: true }
    }

    pub(crate) fn newest(&self) -> &(Index, Configuration) {
        self.stack.last().expect("there is always one")
    }

    /// The one before the newest, while a truncation could bring it back.
    fn previous(&self) -> Option<&Configuration> {
        let before = self.stack.len().checked_sub(2)?;
        Some(&self.stack[before].1)
    }

    pub(crate) fn appended(&mut self, entry: &Entry) {
        if let Payload::Config(config) = &entry.payload {
            self.stack.push((entry.index, config.configuration.clone()));
            self.is_news = true;
        }
    }

    pub(crate) fn truncated(&mut self, keep: Index) {
        let before = self.stack.len();
        self.stack.retain(|(index, _)| *index <= keep);
        self.is_news |= self.stack.len() < before;
        assert!(!self.stack.is_empty(), "the committed configuration was cut away at {keep}");
    }

    /// The newest entry that a quorum holds, `matched` being what each voter holds.
    ///
    /// An entry that changes the configuration, and those before it, are decided by the configuration before as well as
    /// by the new one: whoever lacks the entry can only be elected by the former, whoever has it does not threaten it.
    /// (So a lone voter can add a second that is not up yet, and of two voters one can remove the other that is down.)
    pub(crate) fn held(&self, committed: Index, matched: impl Fn(NodeId) -> Index) -> Index {
        let (index, newest) = self.newest();
        let by_newest = quorum::agreed(newest, &matched);
        match self.previous().filter(|_| committed < *index) {
            Some(previous) => {
                // Whoever the entry takes the vote from may be gone as soon as it is committed.
                let stays = |voter| if newest.is_voter(voter) { matched(voter) } else { Index(0) };
                by_newest.max(quorum::agreed(previous, stays).min(*index))
            }
            None => by_newest,
        }
    }

    /// Whether these can still decide something. As in [`Configurations::held`], the configuration before counts while the
    /// newest is not committed, and is of this leader's term: a lone leader that adds a second member need not hear it to
    /// commit that. (Nothing of an earlier term is committed by counting.)
    pub(crate) fn can_decide(&self, committed: Index, own_term_start: Index, is_in: impl Fn(NodeId) -> bool) -> bool {
        let (index, newest) = self.newest();
        let by_previous = |previous| quorum::is_quorum(previous, |voter| newest.is_voter(voter) && is_in(voter));
        let is_open = committed < *index && own_term_start <= *index;
        quorum::is_quorum(newest, &is_in) || self.previous().filter(|_| is_open).is_some_and(by_previous)
    }

    /// Whether the world is to be told of the newest.
    pub(crate) fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.is_news)
    }

    pub(crate) fn committed(&mut self, upto: Index) {
        let settled = self.stack.partition_point(|(index, _)| *index <= upto);
        self.stack.drain(..settled.saturating_sub(1));
    }
}

impl Raft {
    /// Who takes part: the newest configuration in the log.
    pub fn configuration(&self) -> &Configuration {
        &self.configurations.newest().1
    }

    /// The entry that put [`Raft::configuration`] in force, or the start or snapshot it came with.
    pub fn configuration_index(&self) -> Index {
        self.configurations.newest().0
    }

    /// Changes who takes part, as the leader; no changes at all say again what is in force, for the sake of `data`. `data` goes to the state machine with the entry, whose index is returned.
    /// The change is in force at once; it is done when the entry (and after a joint one the next configuration, which
    /// follows by itself) is committed.
    pub fn propose_change(&mut self, changes: &[MemberChange], data: Data) -> Result<Index, ChangeError> {
        let Stand::Leader(leading) = &self.stand else { return Err(ChangeError::NotLeader { hint: self.leader() }) };
        if leading.transfer.is_some() {
            return Err(ChangeError::Transferring);
        }
        let (index, newest) = self.configurations.newest();
        let early = self.committed < leading.own_term_start;
        let in_progress = self.committed < *index || newest.is_joint();
        if !self.config.mutants.bites(Mutant::ConfChangeUnapplied, || early || in_progress) {
            if early {
                return Err(ChangeError::TooEarly);
            }
            if in_progress {
                return Err(ChangeError::InProgress);
            }
        }
        let configuration = newest.changed(changes)?;
        self.append_own(Payload::Config(Arc::new(ConfigEntry { configuration, data })));
        Ok(self.log.last())
    }

    /// Whether this member may ask for votes.
    pub(crate) fn may_campaign(&self) -> bool {
        let (index, newest) = self.configurations.newest();
        let was_voter = || self.configurations.previous().is_some_and(|previous| previous.is_voter(self.config.id));
        newest.is_voter(self.config.id) || (self.committed < *index && was_voter())
    }

    /// Another configuration may be in force: a leader sends to those who take part, and counts them.
    pub(crate) fn reconfigure(&mut self) {
        let Raft { config, configurations, stand: Stand::Leader(leading), log, .. } = self else { return };
        let mut members = configurations.newest().1.members();
        members.remove(&config.id);
        let mut progress: BTreeMap<NodeId, Progress> = core::mem::take(&mut leading.progress);
        progress.retain(|member, _| members.contains(member));
        for member in members {
            // It has had no time to show life yet: the next count of the quorum is none of its.
            progress.entry(member).or_insert_with(|| Progress { active: true, ..Progress::new(log.last().next()) });
        }
        leading.progress = progress;
        if let Some(transfer) = &leading.transfer
            && !configurations.newest().1.voters.contains(&transfer.to)
        {
            leading.transfer = None;
        }
        // A quorum may be smaller now.
        self.advance_commit();
        self.answer_reads();
    }

    /// The commit index moved: leaves a committed joint configuration, and leadership when it is not ours any more.
    pub(crate) fn configuration_committed(&mut self) {
        self.configurations.committed(self.committed);
        let Stand::Leader(leading) = &self.stand else { return };
        let (index, newest) = self.configurations.newest();
        if self.committed < *index || self.committed < leading.own_term_start {
            return;
        }
        if newest.is_joint() {
            let began_it = leading.own_term_start <= *index;
            if self.config.mutants.bites(Mutant::LeaveNotReproposed, || !began_it) {
                return;
            }
            let configuration = newest.left();
            self.append_own(Payload::Config(Arc::new(ConfigEntry { configuration, data: Data::default() })));
        } else if !newest.is_voter(self.config.id) {
            self.retire();
        }
    }

    /// Steps down for good, and has the voter with the longest log campaign at once.
    fn retire(&mut self) {
        let Stand::Leader(leading) = &self.stand else { return };
        let voters = &self.configurations.newest().1.voters;
        let followers = leading.progress.iter().filter(|(member, _)| voters.contains(member));
        let heir = followers.max_by_key(|(_, progress)| (progress.active, progress.matched)).map(|(&member, _)| member);
        if let Some(heir) = heir {
            self.broadcast(); // What it lacks, and the commit index, first.
            self.send(heir, Body::TimeoutNow);
        }
        self.become_follower(self.hard_state.term);
    }
}
