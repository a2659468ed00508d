//! Bugs planted on purpose, so that the testbed can show that it finds them (`--features mutants` only).

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mutant {
    /// A follower acknowledges entries, and a leader counts its own, before they are durable.
    AckBeforeFsync,
    /// A vote is answered before it is durable.
    VoteNotDurable,
    /// A leader serves reads without confirming that it still leads.
    ReadWithoutConfirm,
    /// A leader commits entries of earlier terms by counting copies.
    CommitOldTerm,
    /// Answers to a heartbeat round that began before a read arrived confirm it.
    ReadIndexReuse,
    /// A leader serves reads before an entry of its own term is committed.
    ReadIndexNoTermCommit,
    /// A leader changes the configuration before an entry of its own term is committed, and while an earlier change is
    /// not. (No member can campaign with an unapplied change here: a configuration is in force once it is in the log.)
    ConfChangeUnapplied,
    /// A follower cuts its log after the place an append refers to, even where the entries agree.
    TruncOnStaleAppend,
    /// Truncating the log leaves hand-overs in flight as they are, so that their completions attest what was cut.
    AsyncAppendAba,
    /// A granted pre-vote carries the voter's own term.
    PreVoteTermEcho,
    /// Whoever votes alone commits and applies entries before they are on its disk (etcd 14370).
    SingleNodeAck,
    /// The driver waits for its own disk before it does anything else (a bug of the shell, as all below).
    SyncInDriver,
    /// No snapshot is sent to a member that lacks entries.
    NoSnapshots,
    /// A snapshot of which a piece is lost is sent from the beginning.
    SnapshotRestart,
    /// A receiver of a snapshot stays with the transfer it began, whoever leads by now.
    SnapshotNoTakeover,
    /// Segments are freed although a snapshot is still read from them.
    SnapshotNoHold,
    /// The log is forgotten although the receiver of a snapshot will need it.
    SnapshotNoRetention,
    /// The cluster version rises without the members that do not answer.
    VersionWithoutAll,
    /// What an entry does depends on the release of the member that applies it.
    GateByRelease,
    /// A snapshot is written at the level of its sender.
    SnapshotAtOwnLevel,
    /// Log segments that are mostly garbage are left as they are.
    NoCollection,
    /// Segments emptied by collection are freed before a checkpoint says where their values went.
    CollectWithoutCheckpoint,
    /// Linearizable reads go through the log.
    ReadThroughLog,
    /// A watch begins now, whatever start revision was asked for.
    WatchFromNow,
    /// A new leader gives leases no time: what was left unspoken counts as gone.
    LeaseNoGrace,
    /// Lease deadlines follow the wall clock.
    LeaseByWallClock,
    /// A leader revokes due leases on what it last knew: it does not confirm that it still leads, and its proposal is
    /// forwarded to whoever does (etcd 15247).
    OldLeaderRevokes,
    /// Due leases are revoked without a limit, and a new leader does not spread them.
    LeasesAllAtOnce,
    /// A renewal that had to wait does not look again whether the lease is still there (etcd 20615). Here it waits for
    /// the revocation of a lease past its deadline, or until a checkpoint is taken back.
    RenewAfterRevoke,
    /// After a snapshot a watcher that was up to date begins again where it was created (etcd 15271). Here cursors of
    /// such watchers are not touched for what they do not want, so the nearest relative sets them back.
    WatchTimeTravel,
    /// A snapshot lowers the start of a watch in the future to the next revision (etcd 20221).
    FutureWatch,
    /// A leader stops without handing its leadership over.
    NoHandover,
    /// A leader whose process is gone is missed by nobody until the election timeout.
    NoSuspicion,
    /// What was proposed to an earlier leader is proposed again as soon as there is a new one, lost or not.
    RetryInDoubt,
    /// A request that may only be taken in one term, and waits for a transfer, is then handed to whoever leads.
    ParkedForgetsTerm,
    /// Quiet watches get no bookmark unless they ask.
    NoPeriodicProgress,
    /// A learner counts like a voter when entries are committed.
    LearnerCounts,
    /// A joint configuration asks only its new half for what is committed and who leads.
    JointOneHalf,
    /// A joint configuration is left only by the leader that began it.
    LeaveNotReproposed,
    /// A learner is promoted however far behind it is.
    PromoteUnready,
    /// A downgrade may go anywhere.
    DowngradeUnchecked,
    /// A transfer of leadership that does not happen is never given up.
    TransferForEver,
    /// A member with an empty disk comes back under the id it had.
    WipedDiskAccepted,
    /// A checkpoint is named after the entry that is applied when its records are durable, not after the one whose state
    /// it holds (etcd 13766: the consistent index ran ahead). Here both are pinned together, and a checkpoint that
    /// disagrees with its own records is refused; so the nearest relative renames the records as well.
    CiAhead,
    /// A watcher whose cursor was passed by compaction goes on from what is left, without a word (etcd 17529). Here a
    /// cancellation is pulled by the stream and never queued, so it cannot fail to be; the relative leaves it out.
    WatchStarvedLoss,
    /// Progress that a client asks for is told at once, before events that are still to be sent (etcd 15220).
    ProgressUnsynced,
    /// Compaction at a revision drops that revision's own tombstones (etcd 18089).
    CompactDropsTombstone,
    /// A restart takes the newest put for the newest revision (etcd 17780). Here the revision is a record of its own, and
    /// the newest tombstone outlives any compaction: the largest stored revision *is* the newest one. So the relative
    /// overlooks tombstones.
    RevDecrease,
    /// Reads within a transaction are left out by members that nobody waits at, and their errors with them (etcd 18667).
    TxnStrip,
    /// Defragmentation stores the state, but not up to where it is applied (etcd 14685). Here there is nothing to
    /// defragment; the relative rewrites the newest checkpoint in place, with the present state.
    DefragSkipsCi,
    /// A sync that failed is tried again, and believed.
    FsyncRetry,
    /// The log is cut at the first batch that cannot be read, wherever it is.
    MidlogAsTorn,
    /// The log says that a snapshot is installed before its checkpoint exists (etcd 10219). Here the checkpoint's rename
    /// alone decides; the relative swaps the two.
    SnapWalOrder,
    /// Harmless: a group commit leaves out the one hand-over that waits behind it.
    BenignSmallBatches,
    /// Harmless: leaders begin a heartbeat round with every append.
    BenignExtraHeartbeat,
    /// Harmless: the task that applies lets others go first.
    BenignYield,
    /// Every put that is answered names the revision before its own: what no testbed may overlook.
    Canary,
}

/// The bugs switched on in one member. Without the feature there is nothing to switch: it has no size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    set: u64,
}

impl Mutants {
    /// No bug.
    pub const NONE: Mutants = Mutants {
        #[cfg(feature = "mutants")]
        set: 0,
    };

    /// Whether `mutant` is planted; always false, and compiled away, without the feature.
    #[inline]
    pub const fn has(self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        {
            self.set & (1 << mutant as u8) != 0
        }
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }

    /// As [`Mutants::has`], at the place where it acts: that is counted.
    #[inline]
    pub fn on(self, mutant: Mutant) -> bool {
        self.bites(mutant, || true)
    }

    /// As [`Mutants::on`], at a place where it makes a difference only when `differs`.
    #[inline]
    pub fn bites(self, mutant: Mutant, differs: impl FnOnce() -> bool) -> bool {
        if !self.has(mutant) {
            return false;
        }
        let differs = differs();
        #[cfg(feature = "mutants")]
        counted::count(mutant, differs);
        differs
    }
}

#[cfg(feature = "mutants")]
mod counted {
    //! How often planted bugs were come to in this process, and how often they made a difference. Only ever read by
    //! who planted them: nothing depends on it.

    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::{Mutant, Mutants};

    static REACHED: [AtomicU64; u64::BITS as usize] = [const { AtomicU64::new(0) }; u64::BITS as usize];
    static DIVERGED: [AtomicU64; u64::BITS as usize] = [const { AtomicU64::new(0) }; u64::BITS as usize];

    pub(super) fn count(mutant: Mutant, differs: bool) {
        REACHED[mutant as usize].fetch_add(1, Relaxed);
        DIVERGED[mutant as usize].fetch_add(u64::from(differs), Relaxed);
    }

    impl Mutants {
        /// With `mutant` added.
        #[must_use]
        pub const fn with(self, mutant: Mutant) -> Mutants {
            Mutants { set: self.set | 1 << mutant as u8 }
        }
    }

    impl Mutant {
        /// How often this process came to where this bug acts, with the bug on.
        pub fn reached(self) -> u64 {
            REACHED[self as usize].load(Relaxed)
        }

        /// How often it made a difference there.
        pub fn diverged(self) -> u64 {
            DIVERGED[self as usize].load(Relaxed)
        }
    }
}
