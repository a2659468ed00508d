//! Points: named places in the code that a scenario can wait for, `when = "fp(wal.before_sync) on leader"`.
//!
//! A point stands where being interrupted is worth a story: just before or after something becomes durable, or between
//! looking and acting. The task that comes to one waits there until the scenario has done what it wants (cut a link,
//! taken the power), and goes on if it still exists. A call is one line, `env::point(env, "NAME").await`, and is nothing
//! at all in a server release.

/// A point: its name, and where it is.
pub type Point = (&'static str, &'static str);

/// All of them, by name.
pub const POINTS: &[Point] = &[
    ("checkpoint.before_rename", "the records are written; the checkpoint does not exist yet"),
    ("checkpoint.written", "the checkpoint is durable; older ones and the log before it are still there"),
    ("lease.before_revoke", "a leader that was just confirmed is about to propose the revocation of due leases"),
    ("membership.joint.appended", "a joint change is in the leader's log; others may have it or not"),
    ("snapshot.before_install", "a received snapshot is about to replace log and state"),
    ("snapshot.installed", "its checkpoint is durable; the log does not say so yet"),
    ("snapshot.before_send", "a snapshot for a member that lags is about to be sent"),
    ("storage.migrate.before_checkpoint", "stored data is about to be written at another level"),
    ("storage.migrate.before_commit", "it is written; the checkpoint of the old level still counts"),
    ("storage.migrate.after_commit", "the level has changed; nobody was told"),
    ("wal.before_write", "a batch is about to be written to the log"),
    ("wal.synced", "a batch is durable; nobody was told"),
];
