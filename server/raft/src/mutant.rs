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
}

/// The bugs switched on in one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutants(u64);

impl Mutants {
    /// No bug.
    pub const NONE: Mutants = Mutants(0);

    /// With `mutant` added. Without the feature this changes nothing.
    #[must_use]
    pub const fn with(self, mutant: Mutant) -> Mutants {
        if cfg!(feature = "mutants") { Mutants(self.0 | 1 << mutant as u8) } else { self }
    }

    /// Whether `mutant` is on; always false, and compiled away, without the feature.
    #[inline]
    pub const fn on(self, mutant: Mutant) -> bool {
        cfg!(feature = "mutants") && self.0 & (1 << mutant as u8) != 0
    }
}
