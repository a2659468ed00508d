//! The planted bugs a scenario can switch on, by name.

use evenkeel_raft::{Mutant, Mutants};
use evenkeel_scenario::Selector;
use evenkeel_scenario::cluster::{Cluster as Settings, Planted};

/// A planted bug.
pub struct Plant {
    /// Its name in scenarios.
    pub name: &'static str,
    /// The switch.
    pub mutant: Mutant,
    /// What it does wrong.
    pub about: &'static str,
}

/// Every planted bug.
pub const GALLERY: &[Plant] = &[
    Plant {
        name: "ack-before-fsync",
        mutant: Mutant::AckBeforeFsync,
        about: "entries are acknowledged before they are durable",
    },
    Plant {
        name: "vote-not-durable",
        mutant: Mutant::VoteNotDurable,
        about: "a vote is answered before it is durable",
    },
    Plant {
        name: "read-without-confirm",
        mutant: Mutant::ReadWithoutConfirm,
        about: "a leader serves reads without confirming that it still leads",
    },
    Plant {
        name: "commit-old-term",
        mutant: Mutant::CommitOldTerm,
        about: "a leader commits entries of earlier terms by counting copies",
    },
    Plant {
        name: "readindex-reuse",
        mutant: Mutant::ReadIndexReuse,
        about: "answers to a round that began before a read arrived confirm it",
    },
    Plant {
        name: "readindex-no-term-commit",
        mutant: Mutant::ReadIndexNoTermCommit,
        about: "a leader serves reads before an entry of its own term is committed",
    },
    Plant {
        name: "confchange-unapplied",
        mutant: Mutant::ConfChangeUnapplied,
        about: "a leader changes the configuration before an own-term commit, and while an earlier change is under way",
    },
    Plant {
        name: "trunc-on-stale-append",
        mutant: Mutant::TruncOnStaleAppend,
        about: "a follower cuts its log after the place an append refers to, even where the entries agree",
    },
    Plant {
        name: "async-append-aba",
        mutant: Mutant::AsyncAppendAba,
        about: "truncating the log leaves hand-overs in flight, whose completions attest what was cut",
    },
    Plant {
        name: "prevote-term-echo",
        mutant: Mutant::PreVoteTermEcho,
        about: "a granted pre-vote carries the voter's own term",
    },
    Plant {
        name: "learner-counts",
        mutant: Mutant::LearnerCounts,
        about: "a learner counts like a voter when entries are committed",
    },
    Plant {
        name: "joint-one-half",
        mutant: Mutant::JointOneHalf,
        about: "a joint configuration asks only its new half",
    },
    Plant {
        name: "leave-not-reproposed",
        mutant: Mutant::LeaveNotReproposed,
        about: "a joint configuration is left only by the leader that began it",
    },
    Plant {
        name: "promote-unready",
        mutant: Mutant::PromoteUnready,
        about: "a learner is promoted however far behind it is",
    },
    Plant {
        name: "transfer-for-ever",
        mutant: Mutant::TransferForEver,
        about: "a transfer of leadership that does not happen is never given up",
    },
    Plant {
        name: "wiped-disk-accepted",
        mutant: Mutant::WipedDiskAccepted,
        about: "a member with an empty disk comes back under the id it had",
    },
    Plant { name: "downgrade-unchecked", mutant: Mutant::DowngradeUnchecked, about: "a downgrade may go anywhere" },
    Plant {
        name: "sync-in-driver",
        mutant: Mutant::SyncInDriver,
        about: "the driver waits for its own disk before it does anything else",
    },
    Plant {
        name: "no-snapshots",
        mutant: Mutant::NoSnapshots,
        about: "no snapshot is sent to a member that lacks entries",
    },
    Plant {
        name: "snapshot-restart",
        mutant: Mutant::SnapshotRestart,
        about: "a snapshot of which a piece is lost is sent from the beginning",
    },
    Plant {
        name: "snapshot-no-takeover",
        mutant: Mutant::SnapshotNoTakeover,
        about: "a receiver stays with the snapshot it began to receive, whoever leads by now",
    },
    Plant {
        name: "snapshot-no-hold",
        mutant: Mutant::SnapshotNoHold,
        about: "segments are freed although a snapshot is still read from them",
    },
    Plant {
        name: "snapshot-no-retention",
        mutant: Mutant::SnapshotNoRetention,
        about: "the log is forgotten although the receiver of a snapshot will need it",
    },
    Plant {
        name: "version-without-all",
        mutant: Mutant::VersionWithoutAll,
        about: "the cluster version rises without the members that do not answer",
    },
    Plant {
        name: "gate-by-release",
        mutant: Mutant::GateByRelease,
        about: "what an entry does depends on the release of the member that applies it",
    },
    Plant {
        name: "snapshot-at-own-level",
        mutant: Mutant::SnapshotAtOwnLevel,
        about: "a snapshot is written at the level of its sender, not of the cluster",
    },
    Plant {
        name: "no-collection",
        mutant: Mutant::NoCollection,
        about: "log segments that are mostly garbage are left as they are",
    },
    Plant {
        name: "collect-without-checkpoint",
        mutant: Mutant::CollectWithoutCheckpoint,
        about: "segments emptied by collection are freed before a checkpoint says where their values went",
    },
    Plant { name: "read-through-log", mutant: Mutant::ReadThroughLog, about: "linearizable reads go through the log" },
    Plant {
        name: "watch-from-now",
        mutant: Mutant::WatchFromNow,
        about: "a watch begins now, whatever start revision was asked for",
    },
    Plant { name: "lease-no-grace", mutant: Mutant::LeaseNoGrace, about: "a new leader takes leases for expired" },
    Plant {
        name: "lease-by-wall-clock",
        mutant: Mutant::LeaseByWallClock,
        about: "lease deadlines follow the wall clock",
    },
    Plant {
        name: "old-leader-revokes",
        mutant: Mutant::OldLeaderRevokes,
        about: "a deposed leader's expiry is forwarded to its successor",
    },
    Plant {
        name: "leases-all-at-once",
        mutant: Mutant::LeasesAllAtOnce,
        about: "due leases are revoked without a limit, and a new leader does not spread them",
    },
    Plant {
        name: "renew-after-revoke",
        mutant: Mutant::RenewAfterRevoke,
        about: "a renewal that had to wait does not look whether the lease is still there",
    },
    Plant {
        name: "watch-time-travel",
        mutant: Mutant::WatchTimeTravel,
        about: "after a snapshot watchers see again what they saw",
    },
    Plant {
        name: "future-watch",
        mutant: Mutant::FutureWatch,
        about: "a snapshot lowers the start of a watch in the future",
    },
    Plant {
        name: "no-handover",
        mutant: Mutant::NoHandover,
        about: "a leader stops without handing its leadership over",
    },
    Plant {
        name: "no-suspicion",
        mutant: Mutant::NoSuspicion,
        about: "a leader whose process is gone is missed by nobody until the election timeout",
    },
    Plant {
        name: "retry-in-doubt",
        mutant: Mutant::RetryInDoubt,
        about: "what was proposed to an earlier leader is proposed again, lost or not",
    },
];

/// Their names.
pub fn names() -> Vec<&'static str> {
    GALLERY.iter().map(|plant| plant.name).collect()
}

/// The bugs of one member.
pub fn of(settings: &Settings, number: u64) -> Mutants {
    let carries = |on: &Selector| match on {
        Selector::Node(node) => *node == number,
        _ => true,
    };
    let Planted(mutants) = &settings.mutants;
    let Planted(switches) = &settings.switches;
    let planted = mutants.iter().chain(switches).filter(|plant| carries(&plant.on));
    planted.fold(Mutants::NONE, |all, plant| {
        let found = GALLERY.iter().find(|known| known.name == plant.name);
        found.map_or(all, |known| all.with(known.mutant))
    })
}
