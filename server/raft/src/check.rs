//! What must always hold, checked after every step, in production too. Cheap: nothing here walks the log.
//!
//! ```text
//!   base <= applied <= delivered <= committed <= last
//!                      delivered <= persisted <= handed over <= last
//! ```
//! A snapshot that is being installed stands for everything up to the base, before the disk has confirmed it.

use crate::Raft;
use crate::mutant::Mutant;
use crate::stand::Stand;

impl Raft {
    pub(crate) fn check(&self) {
        let (base, last, persisted) = (self.log.base(), self.log.last(), self.hand_overs.persisted());
        assert!(base <= self.applied, "base {base} > applied {}", self.applied);
        assert!(self.applied <= self.delivered, "applied {} > delivered {}", self.applied, self.delivered);
        assert!(self.delivered <= self.committed, "delivered {} > committed {}", self.delivered, self.committed);
        assert!(self.committed <= last, "committed {} > last {last}", self.committed);
        self.hand_overs.check(&self.log);
        let durable = persisted.max(base);
        let early = || self.config.mutants.on(Mutant::AckBeforeFsync) || self.config.mutants.on(Mutant::SingleNodeAck);
        assert!(self.delivered <= durable || early(), "delivered {} > durable {durable}", self.delivered);

        let term = self.hard_state.term;
        assert!(self.log.last_term() <= term, "an entry of term {} in term {term}", self.log.last_term());
        match &self.stand {
            Stand::Follower(following) => {
                assert_ne!(following.leader, Some(self.config.id), "follows itself");
                assert!(following.forwarded.len() <= self.config.max_waiting_reads);
            }
            Stand::PreCandidate(_) => {}
            Stand::Candidate(_) => assert_eq!(self.hard_state.vote, Some(self.config.id)),
            Stand::Leader(leading) => {
                assert_eq!(self.hard_state.vote, Some(self.config.id));
                assert_eq!(self.log.last_term(), term, "a leader's log ends in its term");
                assert!(leading.waiting.len() <= self.config.max_waiting_reads);
                assert!(leading.own_term_start <= last);
                let others = leading.progress.keys().filter(|&&member| self.configuration().contains(member));
                assert_eq!(others.count(), leading.progress.len(), "replicates to a stranger");
                if self.committed == last {
                    assert_eq!(leading.uncommitted_bytes, 0, "all is committed");
                }
            }
        }
    }
}
