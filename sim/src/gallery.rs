//! The gallery: bugs planted on purpose, so that the testbed can show that it finds them.
//!
//! A green run proves nothing until the oracles are seen to fire. So known bugs of other systems, and of textbooks, are
//! planted in our own code, each behind a switch that a scenario sets (`mutants = ["ack-before-fsync"]`, or on one member
//! only) and that a release does not have. Where our design leaves no place for a bug as it was, its nearest relative
//! stands in for it, and [`Origin::Known`] says so.
//!
//! Harmless changes are planted too ([`Origin::Benign`]): they must never be found. And one that nobody may overlook.
//!
//! To add one: a variant of `Mutant` (`server/raft/src/mutant.rs`) with a doc comment, one readable `if mutants.on(…)`
//! at the place where it acts, and a row here.

use std::collections::BTreeMap;

use evenkeel_raft::Mutant;

/// Where a planted bug comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody else had it.
    Known {
        /// Who.
        source: &'static str,
        /// Why it cannot be here as it was, and what is planted instead; empty when it is planted as it was.
        relative: &'static str,
    },
    /// It switches off what our own design depends on.
    Own,
    /// It changes how, not what.
    Benign,
    /// It must be found by every run.
    Canary,
}

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plant {
    /// Its name in scenarios.
    pub name: &'static str,
    /// The switch.
    pub mutant: Mutant,
    /// What it does wrong.
    pub about: &'static str,
    /// Where it comes from.
    pub origin: Origin,
}

const fn known(name: &'static str, mutant: Mutant, source: &'static str, about: &'static str) -> Plant {
    Plant { name, mutant, about, origin: Origin::Known { source, relative: "" } }
}

const fn own(name: &'static str, mutant: Mutant, about: &'static str) -> Plant {
    Plant { name, mutant, about, origin: Origin::Own }
}

const fn benign(name: &'static str, mutant: Mutant, about: &'static str) -> Plant {
    Plant { name, mutant, about, origin: Origin::Benign }
}

impl Plant {
    const fn instead(self, relative: &'static str) -> Plant {
        match self.origin {
            Origin::Known { source, .. } => Plant { origin: Origin::Known { source, relative }, ..self },
            _ => self,
        }
    }
}

/// Every planted bug; the known ones first, the most valuable first.
pub const GALLERY: &[Plant] = &[
    known("ci-ahead", Mutant::CiAhead, "etcd 13766", "a checkpoint is named after an entry it does not hold yet")
        .instead("index and state are pinned together and compared when read; the relative also renames the state"),
    known("vote-not-durable", Mutant::VoteNotDurable, "redpanda 14", "a vote is answered before it is durable"),
    known("ack-before-fsync", Mutant::AckBeforeFsync, "etcd 14143", "entries are acknowledged before they are durable"),
    known(
        "commit-old-term",
        Mutant::CommitOldTerm,
        "Raft, figure 8",
        "a leader commits entries of earlier terms by counting copies",
    ),
    known(
        "readindex-reuse",
        Mutant::ReadIndexReuse,
        "etcd 20418",
        "answers to a round that began before a read arrived confirm it",
    )
    .instead("contexts confirm nothing here, only numbered rounds do; the relative counts a round that began earlier"),
    known(
        "readindex-no-term-commit",
        Mutant::ReadIndexNoTermCommit,
        "etcd 7331",
        "a leader serves reads before an entry of its own term is committed",
    ),
    known(
        "confchange-unapplied",
        Mutant::ConfChangeUnapplied,
        "etcd 12133, Ongaro 2015",
        "a leader changes the configuration before an own-term commit, and while an earlier change is under way",
    )
    .instead("nobody can campaign with an unapplied change: it is in force once it is in the log"),
    known(
        "watch-time-travel",
        Mutant::WatchTimeTravel,
        "etcd 15271",
        "after a snapshot watchers see again what they saw",
    )
    .instead("cursors of synced watchers are not kept per event; the relative sets them back to their start"),
    known(
        "watch-starved-loss",
        Mutant::WatchStarvedLoss,
        "etcd 17529",
        "a watcher that compaction passed goes on from what is left",
    )
    .instead("a cancellation is pulled, never queued, so it cannot fail; the relative leaves it out"),
    known(
        "progress-unsynced",
        Mutant::ProgressUnsynced,
        "etcd 15220",
        "progress that was asked for overtakes events that are still to be sent",
    ),
    known(
        "compact-drops-tombstone",
        Mutant::CompactDropsTombstone,
        "etcd 18089",
        "compaction at a revision drops that revision's own tombstones",
    ),
    known("rev-decrease", Mutant::RevDecrease, "etcd 17780", "a restart recovers the revision from what is stored")
        .instead(
            "the newest tombstone outlives every compaction and the revision is a record; the relative overlooks it",
        ),
    known(
        "single-node-ack",
        Mutant::SingleNodeAck,
        "etcd 14370",
        "who votes alone applies and answers before its disk has the entry",
    ),
    known(
        "txn-strip",
        Mutant::TxnStrip,
        "etcd 18667",
        "reads within transactions, and their errors, are left out where no client waits",
    ),
    known(
        "defrag-skips-ci",
        Mutant::DefragSkipsCi,
        "etcd 14685",
        "defragmentation stores the state without its place in the log",
    )
    .instead("there is nothing to defragment; the relative rewrites the newest checkpoint with the present state"),
    known(
        "old-leader-revokes",
        Mutant::OldLeaderRevokes,
        "etcd 15247",
        "a deposed leader's expiry is forwarded to its successor",
    ),
    known(
        "renew-after-revoke",
        Mutant::RenewAfterRevoke,
        "etcd 20615",
        "a renewal that had to wait does not look whether the lease is still there",
    ),
    known("future-watch", Mutant::FutureWatch, "etcd 20221", "a snapshot lowers the start of a watch in the future"),
    known(
        "trunc-on-stale-append",
        Mutant::TruncOnStaleAppend,
        "textbook",
        "a follower cuts its log after the place an append refers to, even where the entries agree",
    ),
    known(
        "async-append-aba",
        Mutant::AsyncAppendAba,
        "etcd raft 897e1cf",
        "truncating the log leaves hand-overs in flight, whose completions attest what was cut",
    ),
    known(
        "prevote-term-echo",
        Mutant::PreVoteTermEcho,
        "etcd raft d4471b2",
        "a granted pre-vote carries the voter's own term",
    ),
    known("fsync-retry", Mutant::FsyncRetry, "PostgreSQL 2018", "a sync that failed is tried again, and believed"),
    known(
        "midlog-as-torn",
        Mutant::MidlogAsTorn,
        "FAST 2018",
        "damage in the middle of the log is cut off like a torn end",
    ),
    known(
        "snap-wal-order",
        Mutant::SnapWalOrder,
        "etcd 10219",
        "the log says that a snapshot is installed before its checkpoint exists",
    )
    .instead("the checkpoint's rename alone decides; the relative writes the log's marker first"),
    own(
        "read-without-confirm",
        Mutant::ReadWithoutConfirm,
        "a leader serves reads without confirming that it still leads",
    ),
    own("learner-counts", Mutant::LearnerCounts, "a learner counts like a voter when entries are committed"),
    own("joint-one-half", Mutant::JointOneHalf, "a joint configuration asks only its new half"),
    own("leave-not-reproposed", Mutant::LeaveNotReproposed, "a joint configuration is left only by who began it"),
    own("promote-unready", Mutant::PromoteUnready, "a learner is promoted however far behind it is"),
    own(
        "transfer-for-ever",
        Mutant::TransferForEver,
        "a transfer of leadership that does not happen is never given up",
    ),
    own("wiped-disk-accepted", Mutant::WipedDiskAccepted, "a member with an empty disk comes back under the id it had"),
    own("downgrade-unchecked", Mutant::DowngradeUnchecked, "a downgrade may go anywhere"),
    own("sync-in-driver", Mutant::SyncInDriver, "the driver waits for its own disk before it does anything else"),
    own("no-snapshots", Mutant::NoSnapshots, "no snapshot is sent to a member that lacks entries"),
    own("snapshot-restart", Mutant::SnapshotRestart, "a snapshot of which a piece is lost is sent from the beginning"),
    own(
        "snapshot-no-takeover",
        Mutant::SnapshotNoTakeover,
        "a receiver stays with the snapshot it began to receive, whoever leads by now",
    ),
    own("snapshot-no-hold", Mutant::SnapshotNoHold, "segments are freed although a snapshot is still read from them"),
    own(
        "snapshot-no-retention",
        Mutant::SnapshotNoRetention,
        "the log is forgotten although the receiver of a snapshot will need it",
    ),
    own(
        "version-without-all",
        Mutant::VersionWithoutAll,
        "the cluster version rises without the members that do not answer",
    ),
    own(
        "gate-by-release",
        Mutant::GateByRelease,
        "what an entry does depends on the release of the member that applies it",
    ),
    own(
        "snapshot-at-own-level",
        Mutant::SnapshotAtOwnLevel,
        "a snapshot is written at the level of its sender, not of the cluster",
    ),
    own("no-collection", Mutant::NoCollection, "log segments that are mostly garbage are left as they are"),
    own(
        "collect-without-checkpoint",
        Mutant::CollectWithoutCheckpoint,
        "segments emptied by collection are freed before a checkpoint says where their values went",
    ),
    own("read-through-log", Mutant::ReadThroughLog, "linearizable reads go through the log"),
    own("watch-from-now", Mutant::WatchFromNow, "a watch begins now, whatever start revision was asked for"),
    own("no-periodic-progress", Mutant::NoPeriodicProgress, "quiet watches get no bookmark unless they ask"),
    own("lease-no-grace", Mutant::LeaseNoGrace, "a new leader takes leases for expired"),
    own("lease-by-wall-clock", Mutant::LeaseByWallClock, "lease deadlines follow the wall clock"),
    own(
        "leases-all-at-once",
        Mutant::LeasesAllAtOnce,
        "due leases are revoked without a limit, and a new leader does not spread them",
    ),
    own("no-handover", Mutant::NoHandover, "a leader stops without handing its leadership over"),
    own(
        "no-suspicion",
        Mutant::NoSuspicion,
        "a leader whose process is gone is missed by nobody until the election timeout",
    ),
    own(
        "retry-in-doubt",
        Mutant::RetryInDoubt,
        "what was proposed to an earlier leader is proposed again, lost or not",
    ),
    own(
        "parked-forgets-term",
        Mutant::ParkedForgetsTerm,
        "what may be proposed in one term only, and waits for a transfer, is handed to the next leader",
    ),
    benign(
        "benign-small-batches",
        Mutant::BenignSmallBatches,
        "a group commit leaves out the one hand-over that waits behind it",
    ),
    benign("benign-extra-heartbeat", Mutant::BenignExtraHeartbeat, "every proposal begins a heartbeat round"),
    benign("benign-yield", Mutant::BenignYield, "the task that applies lets others go first"),
    Plant {
        name: "canary",
        mutant: Mutant::Canary,
        about: "every answer to a put names the revision before its own",
        origin: Origin::Canary,
    },
];

/// Their names.
pub fn names() -> Vec<&'static str> {
    GALLERY.iter().map(|plant| plant.name).collect()
}

/// The planted bug of this name.
pub fn find(name: &str) -> Option<&'static Plant> {
    GALLERY.iter().find(|plant| plant.name == name)
}

/// What [`counters`] calls how often a planted bug was come to.
pub fn reached_counter(name: &str) -> String {
    format!("mutant {name} reached")
}

/// What [`counters`] calls how often it made a difference.
pub fn diverged_counter(name: &str) -> String {
    format!("mutant {name} diverged")
}

/// How often planted bugs were come to in this process, and how often they made a difference: those that were.
pub fn counters() -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for plant in GALLERY.iter().filter(|plant| 0 < plant.mutant.reached()) {
        counters.insert(reached_counter(plant.name), plant.mutant.reached());
        counters.insert(diverged_counter(plant.name), plant.mutant.diverged());
    }
    counters
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bug_is_planted_once_and_says_what_it_is() {
        assert_eq!(GALLERY.iter().map(|plant| plant.name).collect::<BTreeSet<_>>().len(), GALLERY.len());
        assert_eq!(GALLERY.iter().map(|plant| plant.mutant).collect::<BTreeSet<_>>().len(), GALLERY.len());
        assert!(GALLERY.iter().all(|plant| !plant.about.is_empty()));
    }

    #[test]
    fn the_known_bugs_are_twenty_four() {
        let known = GALLERY.iter().filter(|plant| matches!(plant.origin, Origin::Known { .. })).count();
        assert_eq!(known, 24, "auth-cache-stale waits for auth");
        assert!(GALLERY[..known].iter().all(|plant| matches!(plant.origin, Origin::Known { .. })), "they come first");
    }

    #[test]
    fn the_page_about_scenarios_names_every_planted_bug() {
        let page = include_str!("../../scenarios/README.md");
        let named = |plant: &&Plant| page.contains(&format!("`{}`", plant.name));
        let missing: Vec<&str> = GALLERY.iter().filter(|plant| !named(plant)).map(|plant| plant.name).collect();
        assert_eq!(missing, [""; 0]);
        let table = &page[page.find("| Bug | What is wrong |").expect("the page has the table")..];
        let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).skip(2).collect();
        for row in &rows {
            let name = row.strip_prefix("| `").and_then(|row| row.split_once("` |")).map(|(name, _)| name);
            assert!(name.and_then(find).is_some(), "a row is about no planted bug: {row}");
        }
        assert!(!rows.is_empty());
    }
}
