use std::convert::Infallible;

use evenkeel_mvcc::{ValueRef, Values};

use super::*;

const TERM: u64 = 3;
const GRACE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);
const TERMS: Terms = Terms { grace: Some(GRACE), spread: true, checkpoint_interval: Some(INTERVAL) };

struct NoValues;

impl Values for NoValues {
    type Error = Infallible;
    fn load(&self, _: &ValueRef) -> Result<Vec<u8>, Infallible> {
        unreachable!("leases have no values")
    }
}

/// A store and the deadlines of a leader that applies what is put into it.
struct Rig {
    store: Store,
    leases: Leases,
    now: Duration,
}

impl Rig {
    fn new() -> Rig {
        Rig { store: Store::new(), leases: Leases::default(), now: Duration::from_secs(1_000) }
    }

    fn leading(leases: &[(i64, i64)]) -> Rig {
        let mut rig = Rig::new();
        rig.begin(TERMS);
        leases.iter().for_each(|(id, ttl)| rig.grant(*id, *ttl));
        rig
    }

    fn begin(&mut self, terms: Terms) {
        self.leases.reign_began(TERM, terms);
        self.leases.caught_up(TERM, &self.store, true, self.now);
    }

    fn apply(&mut self, command: Command) {
        let (index, term) = self.store.applied();
        let Ok(_) = self.store.apply(index + 1, term, &command, &NoValues);
        self.leases.applied(&command, &self.store, self.now);
    }

    fn grant(&mut self, id: i64, ttl_seconds: i64) {
        self.apply(Command::LeaseGrant { id: LeaseId(id), ttl_seconds });
    }

    fn revoke(&mut self, id: i64, granted_at: Option<u64>) {
        self.apply(Command::LeaseRevoke { id: LeaseId(id), granted_at });
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn renew(&self, id: i64) -> Renewal {
        let lease = self.store.lease(LeaseId(id)).expect("the lease exists");
        self.leases.renew(LeaseId(id), lease, TERM, self.now)
    }

    fn due(&self) -> Vec<i64> {
        let due = self.leases.due(self.now, usize::MAX);
        due.map_or(Vec::new(), |(term, due)| {
            assert_eq!(term, TERM);
            due.into_iter().map(|due| due.id.0).collect()
        })
    }

    fn left(&self, id: i64) -> Option<i64> {
        self.leases.remaining(LeaseId(id), self.now)
    }

    fn take_checkpoints(&self) -> Vec<LeaseCheckpoint> {
        self.leases.take_checkpoints(self.now, usize::MAX).map_or(Vec::new(), |(_, taken)| taken)
    }
}

#[test]
fn a_lease_is_due_at_its_deadline_and_not_renewed_any_more() {
    let mut rig = Rig::leading(&[(1, 5), (2, 7)]);
    rig.pass(4);
    assert_eq!((rig.left(1), rig.due()), (Some(1), vec![]));
    assert_eq!(rig.renew(1), Renewal::Renewed);
    rig.pass(3);
    assert_eq!(rig.due(), [2], "the renewed one has 2 s left");
    assert_eq!((rig.renew(2), rig.left(2)), (Renewal::Expired, Some(0)));
    rig.pass(2);
    assert_eq!(rig.due(), [2, 1], "the oldest first");
    assert_eq!(rig.leases.due(rig.now, 1).map(|(_, due)| due.len()), Some(1));
    rig.revoke(2, None);
    assert_eq!(rig.due(), [1]);
}

#[test]
fn only_the_reign_it_was_confirmed_for_renews() {
    let rig = Rig::leading(&[(1, 5)]);
    let lease = rig.store.lease(LeaseId(1)).unwrap();
    assert_eq!(rig.leases.renew(LeaseId(1), lease, TERM - 1, rig.now), Renewal::NotLeader);
    rig.leases.deposed();
    assert_eq!(rig.renew(1), Renewal::NotLeader);
    assert_eq!((rig.left(1), rig.due()), (None, vec![]));
}

#[test]
fn a_lease_granted_again_has_a_deadline_of_its_own() {
    let mut rig = Rig::leading(&[(1, 5)]);
    let old = rig.store.lease(LeaseId(1)).unwrap().clone();
    let due = Due { id: LeaseId(1), granted_at: old.granted_at };
    rig.pass(5);
    assert_eq!(rig.due(), [1]);
    rig.revoke(1, None);
    rig.grant(1, 50);
    assert_eq!((rig.due(), rig.left(1)), (vec![], Some(50)));
    assert!(!rig.leases.is_known(due), "what was due is another lease");
    assert_eq!(rig.leases.renew(LeaseId(1), &old, TERM, rig.now), Renewal::Changed);
    // The revocation of the old one, late.
    rig.revoke(1, Some(old.granted_at));
    assert_eq!(rig.left(1), Some(50));
}

#[test]
fn a_new_leader_gives_what_was_left_and_the_grace() {
    let cases = [(0, true, 61), (20, true, 21), (90, true, 61), (20, false, 61)];
    for (remaining_seconds, use_remaining, expected) in cases {
        let mut rig = Rig::leading(&[(1, 60)]);
        let id = LeaseId(1);
        rig.apply(Command::LeaseCheckpoint(vec![LeaseCheckpoint { id, remaining_seconds, granted_at: None }]));
        rig.leases.reign_began(TERM, TERMS);
        rig.leases.caught_up(TERM, &rig.store, use_remaining, rig.now);
        assert_eq!(rig.left(1), Some(expected), "{remaining_seconds} s left, which counts: {use_remaining}");
    }
}

#[test]
fn a_reign_begins_with_what_earlier_leaders_have_promised() {
    let mut rig = Rig::leading(&[(1, 60)]);
    let checkpoint = LeaseCheckpoint { id: LeaseId(1), remaining_seconds: 20, granted_at: None };
    rig.apply(Command::LeaseCheckpoint(vec![checkpoint]));
    rig.leases.reign_began(TERM, TERMS);
    rig.leases.caught_up(TERM - 1, &rig.store, true, rig.now);
    assert_eq!((rig.left(1), rig.renew(1), rig.due()), (None, Renewal::Changed, vec![]), "it knows nothing yet");
    // The leader before took the checkpoint back, renewed the lease, and was gone.
    rig.apply(Command::LeaseCheckpoint(vec![LeaseCheckpoint { remaining_seconds: 0, ..checkpoint }]));
    rig.leases.caught_up(TERM, &rig.store, true, rig.now);
    assert_eq!(rig.left(1), Some(61));
    rig.pass(1);
    rig.leases.caught_up(TERM, &rig.store, true, rig.now);
    assert_eq!(rig.left(1), Some(60), "it begins once");
}

#[test]
fn what_an_earlier_leader_checkpointed_is_taken_back_too() {
    let mut rig = Rig::leading(&[(1, 60)]);
    let checkpoint = LeaseCheckpoint { id: LeaseId(1), remaining_seconds: 20, granted_at: None };
    rig.apply(Command::LeaseCheckpoint(vec![checkpoint]));
    rig.begin(TERMS);
    assert_eq!((rig.left(1), rig.renew(1)), (Some(21), Renewal::Checkpointed));
    rig.apply(Command::LeaseCheckpoint(vec![LeaseCheckpoint { remaining_seconds: 0, ..checkpoint }]));
    assert_eq!((rig.left(1), rig.renew(1), rig.left(1)), (Some(21), Renewal::Renewed, Some(60)));
}

#[test]
fn only_long_leases_that_nobody_renews_are_checkpointed() {
    let mut rig = Rig::leading(&[(1, 10), (2, 60), (3, 60)]);
    rig.pass(9);
    assert_eq!(rig.take_checkpoints(), []);
    assert_eq!(rig.renew(3), Renewal::Renewed);
    rig.pass(1);
    let granted_at = Some(rig.store.lease(LeaseId(2)).unwrap().granted_at);
    let taken = rig.take_checkpoints();
    assert_eq!(taken, [LeaseCheckpoint { id: LeaseId(2), remaining_seconds: 50, granted_at }]);
    assert_eq!(rig.take_checkpoints(), [], "not again before the interval is over");
    rig.pass(10);
    let again: Vec<(i64, i64)> = rig.take_checkpoints().iter().map(|c| (c.id.0, c.remaining_seconds)).collect();
    assert_eq!(again, [(3, 49), (2, 40)]);
}

#[test]
fn a_checkpointed_lease_is_renewed_only_after_that_was_taken_back() {
    let mut rig = Rig::leading(&[(1, 60)]);
    rig.pass(10);
    let taken = rig.take_checkpoints();
    assert_eq!(rig.renew(1), Renewal::BeingCheckpointed);
    rig.leases.checkpointed(TERM, &taken);
    assert_eq!(rig.renew(1), Renewal::Checkpointed, "even if nobody knows whether it is in the log");
    rig.apply(Command::LeaseCheckpoint(taken.clone()));
    assert_eq!(rig.left(1), Some(50), "it says what is known here");
    let back = LeaseCheckpoint { remaining_seconds: 0, ..taken[0] };
    rig.apply(Command::LeaseCheckpoint(vec![back]));
    rig.leases.uncheckpointed(TERM, back);
    assert_eq!((rig.renew(1), rig.left(1)), (Renewal::Renewed, Some(60)));
}

#[test]
fn a_checkpoint_rounds_up() {
    let mut rig = Rig::leading(&[(1, 60)]);
    rig.now += Duration::from_millis(59_001);
    assert_eq!(rig.take_checkpoints().iter().map(|c| c.remaining_seconds).collect::<Vec<_>>(), [1]);
}

#[test]
fn revoked_leases_leave_nothing_behind() {
    let mut rig = Rig::leading(&[(1, 60), (2, 5)]);
    rig.revoke(1, None);
    rig.revoke(2, None);
    let reign = rig.leases.lock();
    let reign = reign.as_ref().unwrap();
    assert!(reign.leases.is_empty() && reign.due.is_empty() && reign.unchecked.is_empty());
}

#[test]
fn a_new_leader_spreads_what_would_end_at_once() {
    let mut rig = Rig::new();
    let count = 3 * SPREAD_PER_SECOND + 10;
    (1..=count as i64).for_each(|id| rig.grant(id, 5));
    rig.grant(-1, 60);
    rig.begin(TERMS);
    rig.now += Duration::from_secs(5) + GRACE;
    for second in 1..=3 {
        assert_eq!(rig.due().len(), second * SPREAD_PER_SECOND);
        rig.pass(1);
    }
    assert_eq!(rig.due().len(), count);
    assert_eq!(rig.left(-1), Some(60 - 5 - 3), "who ends alone is not put off");
}

#[test]
fn a_snapshot_brings_leases_of_its_own() {
    let rig = Rig::leading(&[(1, 5)]);
    let mut other = Rig::new();
    other.grant(2, 7);
    rig.leases.replaced(&other.store, rig.now);
    assert_eq!((rig.left(1), rig.left(2)), (None, Some(8)));
    let follower = Leases::default();
    follower.replaced(&other.store, rig.now);
    assert_eq!(follower.remaining(LeaseId(2), rig.now), None, "only a leader counts time");
}
