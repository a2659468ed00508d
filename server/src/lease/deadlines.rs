//! When each lease ends, as the leader's clock counts: an ordered index, so that nothing is looked through while
//! nothing is due.
//!
//! Pure: time comes in as a number. Empty unless this member leads.
//!
//! A lease whose remaining time stands in a checkpoint, or may stand in one that is under way, is not renewed before
//! that is taken back: otherwise the next leader would let it end by the old count although its client was promised a
//! whole time to live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use evenkeel_mvcc::{Command, Lease, LeaseCheckpoint, LeaseId, Store};

/// Leases that may end in one second after a change of leaders: three quarters of what is revoked in that time, so
/// that a pile-up leaves room for leases that end in their own time.
pub const SPREAD_PER_SECOND: usize = 3 * super::expiry::REVOKED_PER_SECOND / 4;

/// Deadlines by lease; empty unless this member leads.
#[derive(Default)]
pub struct Leases {
    reign: Mutex<Option<Reign>>,
}

/// How a reign treats what leases had left.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Added for the time without a leader; none is a planted bug: then leases have no time at all.
    pub grace: Option<Duration>,
    /// Whether leases that would end at once are spread; that they are not is a planted bug.
    pub spread: bool,
    /// Between two checkpoints of a lease that is not renewed; none when there are no checkpoints.
    pub checkpoint_interval: Option<Duration>,
}

struct Reign {
    term: u64,
    terms: Terms,
    /// An entry of the term is applied. Before that the state may lack what earlier leaders promised.
    caught_up: bool,
    use_remaining: bool,
    leases: BTreeMap<LeaseId, Timed>,
    /// By deadline.
    due: BTreeSet<(Duration, LeaseId)>,
    /// By when to look whether a checkpoint is needed; only leases that live longer than the interval.
    unchecked: BTreeSet<(Duration, LeaseId)>,
}

struct Timed {
    /// Which lease of that id.
    granted_at: u64,
    ttl: Duration,
    deadline: Duration,
    renewed: Duration,
    /// Its place in `unchecked`.
    check_at: Option<Duration>,
    checkpoint: Checkpoint,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    /// This reign has made none, or took it back.
    None,
    /// On its way.
    Proposed,
    /// It may be in the log.
    Made,
}

/// The outcome of a renewal on the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It has its whole time again.
    Renewed,
    /// It is past its deadline and waits for its revocation.
    Expired,
    /// A checkpoint of it is on its way: ask again soon.
    BeingCheckpointed,
    /// Its remaining time is in a checkpoint, which has to be taken back first.
    Checkpointed,
    /// Another lease, or none, has this id here by now: look again.
    Changed,
    /// This member does not lead in that term.
    NotLeader,
}

/// A lease past its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its id.
    pub id: LeaseId,
    /// Which lease of that id.
    pub granted_at: u64,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Option<Reign>> {
        self.reign.lock().expect("not poisoned")
    }

    /// A reign begins. It knows no leases before it has caught up.
    pub fn reign_began(&self, term: u64, terms: Terms) {
        *self.lock() = Some(Reign::new(term, terms));
    }

    /// An entry of `term` was applied, so everything that earlier leaders promised is in the state. If this is the
    /// first one of a reign, every lease gets what it had left, else its whole time to live, and the grace. Where that
    /// lets too many end at once, some get more.
    /// `use_remaining` says whether what they had left counts.
    pub fn caught_up(&self, term: u64, store: &Store, use_remaining: bool, now: Duration) {
        let mut reign = self.lock();
        if let Some(reign) = reign.as_mut().filter(|reign| reign.term == term && !reign.caught_up) {
            reign.use_remaining = use_remaining;
            reign.begin(store, now);
        }
    }

    /// The reign is over.
    pub fn deposed(&self) {
        *self.lock() = None;
    }

    /// The state was replaced by a snapshot's.
    pub fn replaced(&self, store: &Store, now: Duration) {
        let mut reign = self.lock();
        if let Some(reign) = reign.as_mut().filter(|reign| reign.caught_up) {
            *reign = Reign { use_remaining: reign.use_remaining, ..Reign::new(reign.term, reign.terms) };
            reign.begin(store, now);
        }
    }

    /// A command was applied, and this is the state after it.
    pub fn applied(&self, command: &Command, store: &Store, now: Duration) {
        let mut reign = self.lock();
        let Some(reign) = reign.as_mut().filter(|reign| reign.caught_up) else { return };
        if let Command::LeaseGrant { id, .. } | Command::LeaseRevoke { id, .. } = command {
            reign.follow(*id, store, now);
        }
    }

    /// Gives a lease its whole time again. `lease` is what the state said after leadership in `term` was confirmed for
    /// this renewal.
    pub fn renew(&self, id: LeaseId, lease: &Lease, term: u64, now: Duration) -> Renewal {
        let mut reign = self.lock();
        let Some(reign) = reign.as_mut().filter(|reign| reign.term == term) else { return Renewal::NotLeader };
        match reign.leases.get_mut(&id) {
            Some(timed) if timed.granted_at == lease.granted_at => {
                if timed.deadline <= now {
                    return Renewal::Expired;
                }
                match timed.checkpoint {
                    Checkpoint::Proposed => return Renewal::BeingCheckpointed,
                    Checkpoint::Made => return Renewal::Checkpointed,
                    Checkpoint::None if lease.remaining_seconds != 0 => return Renewal::Checkpointed,
                    Checkpoint::None => {}
                }
                timed.renewed = now;
                let deadline = now + timed.ttl;
                reign.move_deadline(id, deadline);
                Renewal::Renewed
            }
            _ => Renewal::Changed,
        }
    }

    /// Seconds left, 0 for one whose time is over and whose end is not in the log yet; none for an unknown lease.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<i64> {
        let reign = self.lock();
        let deadline = reign.as_ref()?.leases.get(&id)?.deadline;
        Some(deadline.saturating_sub(now).as_secs() as i64)
    }

    /// The term of the reign, and the first `max` leases past their deadline; none when there are none.
    pub fn due(&self, now: Duration, max: usize) -> Option<(u64, Vec<Due>)> {
        let reign = self.lock();
        let reign = reign.as_ref()?;
        let past = reign.due.iter().take_while(|(deadline, _)| *deadline <= now).take(max);
        let due: Vec<Due> = past.map(|(_, id)| Due { id: *id, granted_at: reign.leases[id].granted_at }).collect();
        (!due.is_empty()).then_some((reign.term, due))
    }

    /// Whether that very lease is still there.
    pub fn is_known(&self, due: Due) -> bool {
        let reign = self.lock();
        reign.as_ref().and_then(|reign| reign.leases.get(&due.id)).is_some_and(|l| l.granted_at == due.granted_at)
    }

    /// At most `max` leases whose remaining time is to be put into the log: they live longer than the interval, and
    /// were neither renewed nor checkpointed for so long. Until [`Leases::checkpointed`] they are not renewed.
    pub fn take_checkpoints(&self, now: Duration, max: usize) -> Option<(u64, Vec<LeaseCheckpoint>)> {
        let mut reign = self.lock();
        let reign = reign.as_mut()?;
        let interval = reign.terms.checkpoint_interval?;
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((at, id)) = reign.unchecked.first().copied()
            && at <= now
        {
            reign.unchecked.remove(&(at, id));
            let timed = reign.leases.get_mut(&id).expect("only leases that are there are to be checked");
            let left = timed.deadline.saturating_sub(now);
            let renewed = now < timed.renewed + interval;
            let next = if renewed { timed.renewed + interval } else { now + interval };
            timed.check_at = (!left.is_zero()).then_some(next);
            reign.unchecked.extend(timed.check_at.map(|next| (next, id)));
            if renewed || left.is_zero() {
                continue;
            }
            timed.checkpoint = Checkpoint::Proposed;
            taken.push(LeaseCheckpoint {
                id,
                remaining_seconds: left.as_nanos().div_ceil(NANOS_PER_SECOND) as i64, // never too short, never 0
                granted_at: Some(timed.granted_at),
            });
        }
        (!taken.is_empty()).then_some((reign.term, taken))
    }

    /// These checkpoints are in the log, or nobody knows whether they are.
    pub fn checkpointed(&self, term: u64, checkpoints: &[LeaseCheckpoint]) {
        self.mark(term, checkpoints, Checkpoint::Proposed, Checkpoint::Made);
    }

    /// A checkpoint that takes back those of this lease was applied.
    pub fn uncheckpointed(&self, term: u64, checkpoint: LeaseCheckpoint) {
        self.mark(term, &[checkpoint], Checkpoint::Made, Checkpoint::None);
    }

    fn mark(&self, term: u64, checkpoints: &[LeaseCheckpoint], from: Checkpoint, to: Checkpoint) {
        let mut reign = self.lock();
        let Some(reign) = reign.as_mut().filter(|reign| reign.term == term) else { return };
        for checkpoint in checkpoints {
            let timed = reign.leases.get_mut(&checkpoint.id);
            let timed =
                timed.filter(|timed| Some(timed.granted_at) == checkpoint.granted_at && timed.checkpoint == from);
            timed.into_iter().for_each(|timed| timed.checkpoint = to);
        }
    }
}

impl Reign {
    fn new(term: u64, terms: Terms) -> Reign {
        let (leases, due, unchecked) = Default::default();
        Reign { term, terms, caught_up: false, use_remaining: true, leases, due, unchecked }
    }

    fn begin(&mut self, store: &Store, now: Duration) {
        assert!(self.leases.is_empty(), "before a reign has caught up it knows no leases");
        self.caught_up = true;
        let mut deadlines: Vec<(Duration, LeaseId)> =
            store.leases().map(|(id, lease)| (self.first_deadline(lease, now), id)).collect();
        deadlines.sort_unstable();
        if self.terms.spread {
            spread(&mut deadlines);
        }
        for (deadline, id) in deadlines {
            self.insert(id, store.lease(id).expect("it was there just now"), deadline, now);
        }
    }

    fn insert(&mut self, id: LeaseId, lease: &Lease, deadline: Duration, now: Duration) {
        let ttl = seconds(lease.ttl_seconds);
        let interval = self.terms.checkpoint_interval.filter(|interval| *interval < ttl);
        let check_at = interval.map(|interval| now + interval);
        let checkpoint = Checkpoint::None;
        let timed = Timed { granted_at: lease.granted_at, ttl, deadline, renewed: now, check_at, checkpoint };
        self.due.insert((deadline, id));
        self.unchecked.extend(check_at.map(|at| (at, id)));
        self.leases.insert(id, timed);
    }

    fn remove(&mut self, id: LeaseId) {
        if let Some(timed) = self.leases.remove(&id) {
            self.due.remove(&(timed.deadline, id));
            timed.check_at.map(|at| self.unchecked.remove(&(at, id)));
        }
    }

    fn move_deadline(&mut self, id: LeaseId, deadline: Duration) {
        let timed = self.leases.get_mut(&id).expect("only leases that are there are moved");
        self.due.remove(&(timed.deadline, id));
        timed.deadline = deadline;
        self.due.insert((deadline, id));
    }

    /// Brings the deadline of an id in line with the state.
    fn follow(&mut self, id: LeaseId, store: &Store, now: Duration) {
        let lease = store.lease(id);
        if lease.map(|lease| lease.granted_at) == self.leases.get(&id).map(|timed| timed.granted_at) {
            return;
        }
        self.remove(id);
        if let Some(lease) = lease {
            self.insert(id, lease, now + seconds(lease.ttl_seconds), now);
        }
    }

    fn first_deadline(&self, lease: &Lease, now: Duration) -> Duration {
        let Some(grace) = self.terms.grace else { return now };
        let whole = seconds(lease.ttl_seconds);
        let counts = self.use_remaining && lease.remaining_seconds != 0;
        let left = if counts { seconds(lease.remaining_seconds).min(whole) } else { whole };
        now + left + grace
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(0) as u64)
}

/// Puts off deadlines, given in order, so that no second holds more than [`SPREAD_PER_SECOND`] of them.
fn spread(deadlines: &mut [(Duration, LeaseId)]) {
    for place in SPREAD_PER_SECOND..deadlines.len() {
        let earliest = deadlines[place - SPREAD_PER_SECOND].0 + Duration::from_secs(1);
        deadlines[place].0 = deadlines[place].0.max(earliest);
    }
}

#[cfg(test)]
mod tests;
