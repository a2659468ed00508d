//! Everything the simulator reports: the closed list.
//!
//! Observations come in the order of their moments. The first group is what clients and the environment see; the
//! second is the white box, and is ignored in black-box mode. Reports of the white box are made *at the point where
//! the thing happens*, before anything that follows from it leaves the member: `Applied` before the answer,
//! `Durable` when the disk really made the bytes durable, `Promised` when the message leaves.

use crate::configurations::Configuration;
use crate::history::*;
use crate::ids::*;
use crate::model::Write;

/// Why a revision or an entry came to be, as far as the reporter knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Not known; the writes tell.
    #[default]
    Unknown,
    /// This client operation.
    Operation(OpId),
    /// A lease ended, by a client's wish or by the server's.
    LeaseRevoked(LeaseId),
}

/// One entry applied by one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The entry's position.
    pub index: Index,
    /// The entry's term.
    pub term: Term,
    /// The store's revision afterwards.
    pub revision: Revision,
    /// Hash of the whole state afterwards.
    pub hash: Option<u64>,
    /// Who asked for it.
    pub cause: Cause,
    /// What it changed, in order; `None`: not reported. Needed once per revision at most, from any member.
    pub writes: Option<Vec<Write>>,
}

/// What lies on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Term and vote.
    HardState {
        /// The newest term seen.
        term: Term,
        /// Whom the member voted for in it.
        vote: Option<MemberId>,
    },
    /// One log entry. A different term at a durable position replaces it and all that follows.
    Entry {
        /// Its position.
        index: Index,
        /// Its term.
        term: Term,
    },
    /// A snapshot that stands for every entry up to `index`.
    Snapshot {
        /// The last entry it contains.
        index: Index,
        /// That entry's term.
        term: Term,
    },
}

/// What a member tells others, and must be able to keep after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// "I have every entry up to `matched`", said in `term`.
    AppendAccepted {
        /// The last entry it vouches for.
        matched: Index,
        /// The message's term.
        term: Term,
    },
    /// "You have my vote in `term`." A candidate's vote for itself counts when its requests leave.
    VoteGranted {
        /// The message's term.
        term: Term,
        /// Who got it.
        to: MemberId,
    },
    /// Any other message of this term (pre-votes excepted: they promise nothing).
    Message {
        /// The message's term.
        term: Term,
    },
    /// An answer to a client, read or write, that shows this revision.
    Answer {
        /// The revision of its header.
        revision: Revision,
    },
}

/// What a member finds on its disk when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booted {
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<MemberId>,
    /// The end of its log.
    pub last_index: Index,
    /// The term there.
    pub last_term: Term,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A client sends a request to a member.
    Call {
        /// The operation.
        op: OpId,
        /// Who.
        client: ClientId,
        /// To whom.
        member: MemberId,
        /// What.
        request: Request,
    },
    /// The client learns how it ended, or gives up.
    Return {
        /// The operation.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A client asks for a watch.
    WatchOpen {
        /// The watch.
        watch: WatchKey,
        /// On this stream.
        stream: StreamId,
        /// To this member.
        member: MemberId,
        /// What.
        request: WatchRequest,
        /// The watch it continues, which has ended; none after a cancel for compaction, which loses history.
        resumes: Option<WatchKey>,
    },
    /// The server says `created` (and does not refuse in the same breath: that is [`Observation::WatchCanceled`]).
    WatchCreated {
        /// The watch.
        watch: WatchKey,
        /// The id the server gave it.
        watch_id: i64,
        /// The header.
        header: Header,
    },
    /// Events arrive.
    WatchEvents {
        /// The watch.
        watch: WatchKey,
        /// The header.
        header: Header,
        /// The events.
        events: Vec<Event>,
        /// More of this response follows.
        fragment: bool,
    },
    /// A bookmark arrives.
    WatchProgress {
        /// The stream.
        stream: StreamId,
        /// The watch; `None` for all of the stream (`watch_id` -1).
        watch: Option<WatchKey>,
        /// The header; its revision is the bookmark.
        header: Header,
    },
    /// The client asks the server to cancel the watch.
    WatchCancel {
        /// The watch.
        watch: WatchKey,
    },
    /// The server says `canceled`.
    WatchCanceled {
        /// The watch.
        watch: WatchKey,
        /// Not 0: history below this is gone.
        compact_revision: Revision,
        /// The server's words.
        reason: String,
    },
    /// The stream of this watch ended, or the client dropped it.
    WatchClosed {
        /// The watch.
        watch: WatchKey,
    },
    /// Something comes on a stream of watches for a watch that its client never had.
    WatchStray {
        /// The stream.
        stream: StreamId,
        /// Whose it is.
        member: MemberId,
        /// What the server calls the watch.
        watch_id: i64,
        /// What came.
        what: &'static str,
    },
    /// A fault begins: nothing is promised about progress until [`Observation::Calm`].
    Disturbed,
    /// All faults are healed: every running member can reach every other, and a majority runs.
    Calm,
    /// A member's process starts, having read its disk.
    Booted {
        /// The member.
        member: MemberId,
        /// What it found.
        found: Booted,
    },
    /// A member's process is asked to end: nobody counts on it any more, but it may lead until it has handed that over.
    Stopping {
        /// The member.
        member: MemberId,
    },
    /// A member's process ends, cleanly or not.
    Stopped {
        /// The member.
        member: MemberId,
    },

    /// White box: the member's term grew; reported before anything the new term brings.
    Term {
        /// The member.
        member: MemberId,
        /// Its term now.
        term: Term,
    },
    /// White box: the member won an election.
    Elected {
        /// The member.
        member: MemberId,
        /// The term it leads.
        term: Term,
    },
    /// White box: the member no longer leads.
    SteppedDown {
        /// The member.
        member: MemberId,
    },
    /// White box: an entry was put into the member's log, in memory; one at an old position replaces the tail.
    Appended {
        /// The member.
        member: MemberId,
        /// Its position.
        index: Index,
        /// Its term.
        term: Term,
        /// A hash of its payload.
        payload: u64,
    },
    /// White box: an entry with a configuration was put into some member's log.
    Configured {
        /// Its position.
        index: Index,
        /// Its term.
        term: Term,
        /// Who takes part from there on.
        configuration: Configuration,
    },
    /// White box: a member that lost its disk has come back under a new identity, which is told apart from the old one
    /// by nothing but this. What it promised before does not bind it.
    Replaced {
        /// The member.
        member: MemberId,
    },
    /// White box: a snapshot replaced the member's log; its state follows ([`Observation::StateReplaced`]).
    SnapshotInstalled {
        /// The member.
        member: MemberId,
        /// The last entry it contains.
        index: Index,
        /// That entry's term.
        term: Term,
    },
    /// White box: a snapshot's state took the place of the member's.
    StateReplaced {
        /// The member.
        member: MemberId,
        /// The last entry it contains.
        index: Index,
    },
    /// White box: the member's commit index grew.
    Committed {
        /// The member.
        member: MemberId,
        /// Its commit index now.
        index: Index,
    },
    /// White box: the member applied an entry, an empty one included.
    Applied {
        /// The member.
        member: MemberId,
        /// What and with which result.
        applied: Applied,
    },
    /// White box: the member's disk made this durable.
    Durable {
        /// The member.
        member: MemberId,
        /// What.
        stored: Stored,
    },
    /// White box: a promise leaves the member.
    Promised {
        /// The member.
        member: MemberId,
        /// The promise.
        promise: Promise,
    },
}

impl Observation {
    /// Whether a client or the environment can see it.
    pub fn is_black_box(&self) -> bool {
        use Observation::*;
        !matches!(
            self,
            Term { .. }
                | Elected { .. }
                | SteppedDown { .. }
                | Appended { .. }
                | Configured { .. }
                | Replaced { .. }
                | SnapshotInstalled { .. }
                | StateReplaced { .. }
                | Committed { .. }
                | Applied { .. }
                | Durable { .. }
                | Promised { .. }
        )
    }
}
