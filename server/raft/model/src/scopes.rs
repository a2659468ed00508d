//! The scopes that are looked at.

use evenkeel_raft::MemberChange::*;
use evenkeel_raft::*;

use crate::scope::Luck::*;
use crate::scope::{Budget, Luck, Scope};

/// All of them. Each is looked at completely, in seconds; the command line can allow more.
pub fn all() -> Vec<Scope> {
    let led = |name, about, budget: &[(Luck, u8)]| Scope {
        budget: Budget::of(budget),
        leader: Some(NodeId(1)),
        ..Scope::new(name, about)
    };
    let unled = |name, about, budget| Scope { leader: None, ..led(name, about, budget) };
    let votes: &[_] = &[(Campaign, 2), (Crash, 1)];
    let old_terms: &[_] = &[(Campaign, 2), (Propose, 1)];
    let appends: &[_] = &[(Campaign, 1), (Propose, 1), (Repeat, 1), (Overtake, 1)];
    let overwrite: &[_] = &[(Campaign, 1), (Propose, 1), (Crash, 1)];
    let reads: &[_] = &[(Campaign, 1), (Propose, 1), (Read, 1)];
    let repeated_reads: &[_] = &[(Campaign, 1), (Read, 1), (Beat, 1), (Repeat, 1)];
    let snapshot: &[_] = &[(Campaign, 1), (Propose, 1), (Compact, 1), (Unreachable, 1)];
    let pre_votes: &[_] = &[(Campaign, 3), (Lapse, 1)];
    let suspicion: &[_] = &[(Campaign, 2), (Suspect, 2), (Propose, 1)];
    let transfer: &[_] = &[(Campaign, 1), (Propose, 1), (Transfer, 1)];
    let single: &[_] = &[(Campaign, 1), (Change, 2)];
    let promotion: &[_] = &[(Campaign, 1), (Change, 2), (Crash, 1)];
    let joint: &[_] = &[(Campaign, 2), (Change, 1), (Crash, 1)];
    let growth: &[_] = &[(Campaign, 1), (Change, 1), (Crash, 1)];
    let removal: &[_] = &[(Campaign, 1), (Change, 1), (Propose, 1)];
    vec![
        Scope { slow_disks: &[1, 2, 3], link_max: 1, ..unled("votes", "candidates, a crash, slow disks", votes) },
        Scope {
            single_entries: true,
            link_max: 1,
            ..led("old-terms", "entries of old terms, one in each append", old_terms)
        },
        led("appends", "appends repeated and overtaken", appends),
        Scope {
            slow_disks: &[1, 3],
            link_max: 1,
            ..led("overwrite", "entries replaced while they are being written", overwrite)
        },
        Scope { link_max: 1, ..led("reads", "reads while a leader is replaced", reads) },
        Scope { link_max: 1, ..led("repeated-reads", "answers to heartbeats that come again", repeated_reads) },
        led("snapshot", "a follower needs what the leader has forgotten", snapshot),
        Scope {
            pre_vote: true,
            check_quorum: true,
            link_max: 1,
            ..unled("pre-votes", "pre-votes, leases that end", pre_votes)
        },
        Scope {
            pre_vote: true,
            check_quorum: true,
            link_max: 1,
            ..led("suspicion", "anybody suspects the leader at any time, rightly or not", suspicion)
        },
        led("transfer", "leadership is handed over while others campaign", transfer),
        Scope {
            voters: 2,
            joiners: 1,
            changes: &[&[AddVoter(NodeId(3))], &[Remove(NodeId(1))], &[Remove(NodeId(2))]],
            link_max: 1,
            ..led("single-changes", "of two members one may go, a third may come", single)
        },
        Scope {
            voters: 2,
            learners: 1,
            changes: &[&[AddVoter(NodeId(3))], &[Remove(NodeId(1))]],
            slow_disks: &[1],
            link_max: 1,
            ..led("promotion", "a learner becomes a voter, the leader's disk is slow", promotion)
        },
        Scope {
            voters: 2,
            joiners: 1,
            changes: &[&[AddVoter(NodeId(3)), Remove(NodeId(1))], &[AddVoter(NodeId(3)), Remove(NodeId(2))]],
            ..led("joint-change", "one member for another, by joint consensus", joint)
        },
        Scope {
            voters: 1,
            joiners: 2,
            changes: &[&[AddVoter(NodeId(2)), AddVoter(NodeId(3))]],
            slow_disks: &[1],
            link_max: 1,
            ..led("growth", "one member becomes three at once, its disk is slow", growth)
        },
        Scope {
            changes: &[&[Remove(NodeId(1))], &[Remove(NodeId(2))], &[Remove(NodeId(3))]],
            link_max: 1,
            ..led("removal", "the leader goes, or a follower", removal)
        },
    ]
}

/// A planted bug of the core, and where it shows.
pub struct Prey {
    /// Its name.
    pub name: &'static str,
    /// How it is switched on.
    pub mutant: Mutant,
    /// The scope in which it shows.
    pub scope: &'static str,
    /// What has to happen more often there.
    pub allow: &'static [(Luck, u8)],
    /// Is it to be judged by what comes of it, not by the ledger?
    pub consequences_only: bool,
    /// Is it a bug of liveness, found by clusters that do not recover? All others are to break safety.
    pub is_liveness: bool,
}

/// All planted bugs of the core. Each has to be found.
pub const PREY: &[Prey] = &[
    prey("vote-not-durable", Mutant::VoteNotDurable, "votes", &[]).by_consequences(),
    prey("ack-before-fsync", Mutant::AckBeforeFsync, "overwrite", &[(Crash, 2)]).by_consequences(),
    prey("read-without-confirm", Mutant::ReadWithoutConfirm, "reads", &[]),
    prey("commit-old-term", Mutant::CommitOldTerm, "old-terms", &[(Campaign, 3)]),
    prey("readindex-reuse", Mutant::ReadIndexReuse, "repeated-reads", &[]),
    prey("readindex-no-term-commit", Mutant::ReadIndexNoTermCommit, "reads", &[]),
    prey("confchange-unapplied", Mutant::ConfChangeUnapplied, "removal", &[(Change, 2)]),
    prey("joint-one-half", Mutant::JointOneHalf, "growth", &[(Campaign, 2)]),
    prey("leave-not-reproposed", Mutant::LeaveNotReproposed, "joint-change", &[]).of_liveness(),
    prey("trunc-on-stale-append", Mutant::TruncOnStaleAppend, "appends", &[(Propose, 2), (Campaign, 0)]),
    prey("async-append-aba", Mutant::AsyncAppendAba, "overwrite", &[]),
    prey("prevote-term-echo", Mutant::PreVoteTermEcho, "pre-votes", &[]).of_liveness(),
];

const fn prey(name: &'static str, mutant: Mutant, scope: &'static str, allow: &'static [(Luck, u8)]) -> Prey {
    Prey { name, mutant, scope, allow, consequences_only: false, is_liveness: false }
}

impl Prey {
    const fn by_consequences(self) -> Prey {
        Prey { consequences_only: true, ..self }
    }

    const fn of_liveness(self) -> Prey {
        Prey { is_liveness: true, ..self }
    }

    /// Where to look for it.
    pub fn scope(&self) -> Scope {
        let scope = all().into_iter().find(|scope| scope.name == self.scope).expect("a scope's name");
        let budget = self.allow.iter().fold(scope.budget, |budget, &(luck, count)| budget.with(luck, count));
        let mutants = Mutants::NONE.with(self.mutant);
        Scope { budget, mutants, consequences_only: self.consequences_only, recovers: self.is_liveness, ..scope }
    }
}
