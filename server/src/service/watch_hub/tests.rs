use evenkeel_mvcc::{Command, Interval, Key, LeaseId, Put, ValueRef, Values};

use super::*;

struct NoValues;

impl Values for NoValues {
    type Error = std::convert::Infallible;
    fn load(&self, _: &ValueRef) -> Result<Vec<u8>, Self::Error> {
        unreachable!("no comparison by value here")
    }
}

/// A store and its hub, as the apply task has them.
struct Rig {
    store: Store,
    hub: WatchHub,
}

impl Rig {
    fn new() -> Rig {
        let store = Store::new();
        let hub = WatchHub::new(&store);
        Rig { store, hub }
    }

    fn apply(&mut self, command: Command) {
        let (index, term) = self.store.applied();
        let Ok(outcome) = self.store.apply(index + 1, term, &command, &NoValues);
        outcome.result.expect("the command is fine");
        if let Some(events) = &outcome.events {
            self.hub.publish(events);
        }
    }

    fn put(&mut self, key: &str) {
        let put = Put {
            key: Key::from(key.as_bytes()),
            value: ValueRef::EMPTY,
            lease: LeaseId::NONE,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        self.apply(Command::Put(put));
    }

    fn watch(&self, stream: StreamId, key: &str, start_revision: i64) -> WatcherId {
        let interval = Interval::from_wire(key.as_bytes(), b"");
        let spec = WatchSpec { start_revision, ..WatchSpec::from_now(interval) };
        self.hub.create(stream, spec).expect("there is room").0
    }

    /// The next delivery of a stream, as its watcher and the revisions in it.
    fn pull(&self, stream: StreamId) -> Option<(WatcherId, Vec<i64>)> {
        let (watcher, delivery) = self.hub.pull(stream, || self.store.clone())?;
        match delivery {
            Delivery::Batch(batch) => Some((watcher, batch.revisions.iter().map(|r| r.revision().0).collect())),
            Delivery::Compacted { compact_revision } => Some((watcher, vec![-compact_revision.0])),
        }
    }
}

/// Whether the stream was woken since the last time.
fn woken(wake: &Notify) -> bool {
    let mut notified = std::pin::pin!(wake.notified());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    notified.as_mut().poll(&mut context).is_ready()
}

#[test]
fn only_the_stream_that_wants_an_event_is_woken() {
    let mut rig = Rig::new();
    let ((one, wake_one), (two, wake_two)) = (rig.hub.open(), rig.hub.open());
    let a = rig.watch(one, "a", 0);
    rig.watch(two, "b", 0);
    rig.put("a");
    assert!(woken(&wake_one));
    assert!(!woken(&wake_two));
    assert_eq!(rig.pull(one), Some((a, vec![2])));
    assert_eq!(rig.pull(one), None);
    assert_eq!(rig.pull(two), None);
}

#[test]
fn watchers_of_a_stream_take_turns() {
    let mut rig = Rig::new();
    let (stream, _) = rig.hub.open();
    let (a, b) = (rig.watch(stream, "a", 0), rig.watch(stream, "b", 0));
    rig.put("a");
    rig.put("b");
    assert_eq!(rig.pull(stream), Some((a, vec![2])));
    rig.put("a");
    assert_eq!(rig.pull(stream), Some((b, vec![3])));
    assert_eq!(rig.pull(stream), Some((a, vec![4])));
    assert_eq!(rig.pull(stream), None);
}

#[test]
fn a_start_in_the_past_is_ready_at_once() {
    let mut rig = Rig::new();
    rig.put("a");
    rig.put("a");
    let (stream, _) = rig.hub.open();
    let watcher = rig.watch(stream, "a", 2);
    assert_eq!(rig.pull(stream), Some((watcher, vec![2, 3])));
}

#[test]
fn a_watcher_passed_by_compaction_is_told_and_gone() {
    let mut rig = Rig::new();
    let (stream, _) = rig.hub.open();
    let watcher = rig.watch(stream, "a", 0);
    rig.put("a");
    rig.put("a");
    rig.put("a");
    rig.apply(Command::Compact { revision: Revision(4) });
    assert_eq!(rig.pull(stream), Some((watcher, vec![-4])));
    assert_eq!(rig.pull(stream), None);
    assert_eq!(rig.hub.figures().watchers, 0);
}

#[test]
fn progress_waits_for_what_is_still_to_be_pulled() {
    let mut rig = Rig::new();
    let (stream, _) = rig.hub.open();
    assert_eq!(rig.hub.progress_all(stream), Progress::None, "nobody to tell");
    let a = rig.watch(stream, "a", 0);
    assert_eq!(rig.hub.progress_all(stream), Progress::Synced(Revision(1)));
    rig.put("a");
    assert_eq!(rig.hub.progress_all(stream), Progress::Behind);
    assert_eq!(rig.hub.progress(a), None);
    while rig.pull(stream).is_some() {}
    assert_eq!(rig.hub.progress_all(stream), Progress::Synced(Revision(2)));
    rig.put("elsewhere");
    assert_eq!(rig.hub.progress_all(stream), Progress::Synced(Revision(3)));
    rig.watch(stream, "b", 9);
    assert_eq!(rig.hub.progress_all(stream), Progress::None, "a start in the future has seen nothing");
}

#[test]
fn a_cancelled_watcher_and_a_closed_stream_leave_nothing_behind() {
    let mut rig = Rig::new();
    let (stream, _) = rig.hub.open();
    let (a, b) = (rig.watch(stream, "a", 0), rig.watch(stream, "b", 0));
    rig.put("a");
    rig.put("b");
    rig.hub.cancel(stream, a);
    assert_eq!(rig.pull(stream), Some((b, vec![3])));
    rig.hub.close(stream);
    assert_eq!(rig.hub.figures().watchers, 0);
    rig.put("b");
    assert_eq!(rig.pull(stream), None);
}

#[test]
fn a_snapshot_is_caught_up_with_from_history() {
    let mut rig = Rig::new();
    let (stream, wake) = rig.hub.open();
    let watcher = rig.watch(stream, "a", 0);
    rig.put("a");
    while rig.pull(stream).is_some() {}
    woken(&wake);

    let mut ahead = Rig { store: rig.store.clone(), hub: WatchHub::new(&rig.store) };
    ahead.put("a");
    ahead.put("b");
    ahead.put("a");
    rig.store = ahead.store;
    rig.hub.reset(&rig.store, Mutants::NONE);
    assert!(woken(&wake));
    assert_eq!(rig.pull(stream), Some((watcher, vec![3, 5])));
    assert_eq!(rig.pull(stream), None);
}

#[test]
fn a_view_older_than_what_was_published_is_taken_again() {
    let mut rig = Rig::new();
    let (stream, _) = rig.hub.open();
    let watcher = rig.watch(stream, "a", 0);
    let old = rig.store.clone();
    rig.put("a");
    let views = std::cell::RefCell::new(vec![rig.store.clone(), old]);
    let pulled = rig.hub.pull(stream, || views.borrow_mut().pop().expect("two looks are enough"));
    assert_eq!(pulled.map(|(id, _)| id), Some(watcher));
    assert!(views.borrow().is_empty());
}
