use evenkeel_mvcc::{Command, Interval, Key, LeaseId, Put, ValueRef, Values};

use super::super::catch_up::{CatchUp, Turn};
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
        let hub = WatchHub::new(&store, WatchLimits::USUAL);
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

    /// As after a restart: what happened is in the history only.
    fn restart_ring(&mut self) {
        self.hub = WatchHub::new(&self.store, WatchLimits::USUAL);
    }

    fn watch(&self, stream: StreamId, key: &str, start_revision: i64) -> WatcherId {
        let interval = Interval::from_wire(key.as_bytes(), b"");
        let spec = WatchSpec { start_revision, ..WatchSpec::from_now(interval) };
        self.hub.create(stream, spec).expect("there is room").0
    }

    /// The next delivery of a stream, as its watcher and the revisions in it.
    fn pull(&self, stream: StreamId) -> Option<(WatcherId, Vec<i64>)> {
        let mut catch_up = CatchUp::new(self.hub.large_slices());
        let (watcher, delivery) = loop {
            let (watcher, delivery) = self.hub.pull(stream, || self.store.clone(), Mutants::NONE)?;
            let Delivery::Missed(spec, missed) = delivery else { break (watcher, delivery) };
            if let Turn::Done(Some(batch)) = catch_up.turn(&self.hub, watcher, (spec, missed), || self.store.clone()) {
                break (watcher, Delivery::Batch(batch));
            }
        };
        match delivery {
            Delivery::Batch(batch) => Some((watcher, batch.revisions.iter().map(|r| r.revision().0).collect())),
            Delivery::Missed(..) => unreachable!("it was looked for"),
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

    let mut ahead = Rig { store: rig.store.clone(), hub: WatchHub::new(&rig.store, WatchLimits::USUAL) };
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
    let pulled = rig.hub.pull(stream, || views.borrow_mut().pop().expect("two looks are enough"), Mutants::NONE);
    assert_eq!(pulled.map(|(id, _)| id), Some(watcher));
    assert!(views.borrow().is_empty());
}

#[test]
fn slow_watchers_of_a_stream_catch_up_by_turns() {
    let mut rig = Rig::new();
    (0..2_500).for_each(|key| rig.put(&format!("{:04}", key % 1_250)));
    rig.restart_ring();
    let (stream, _) = rig.hub.open();
    let all = |start_revision| WatchSpec { start_revision, ..WatchSpec::from_now(Interval::from_wire(b"0", &[0])) };
    let watchers = [1, 1_000].map(|start| rig.hub.create(stream, all(start)).expect("there is room").0);
    let mut catch_up = CatchUp::new(rig.hub.large_slices());
    let (mut seen, mut batches) = (BTreeMap::from([(watchers[0], 2), (watchers[1], 1_000)]), 0);
    while let Some((watcher, Delivery::Missed(spec, missed))) =
        rig.hub.pull(stream, || rig.store.clone(), Mutants::NONE)
    {
        let turn = catch_up.turn(&rig.hub, watcher, (spec, missed), || rig.store.clone());
        let Turn::Done(Some(batch)) = turn else { continue };
        let next = seen.get_mut(&watcher).expect("one of the two");
        let revisions: Vec<i64> = batch.revisions.iter().map(|revision| revision.revision().0).collect();
        assert_eq!(revisions, (*next..batch.next.0).collect::<Vec<_>>(), "whole and in order");
        assert!(revisions.len() <= WatchLimits::USUAL.batch.events);
        (*next, batches) = (batch.next.0, batches + 1);
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [2_502, 2_502]);
    assert_eq!(batches, 3 + 2);
    assert_eq!(rig.hub.large_slices().available_permits(), LARGE_SLICES_MAX, "nothing is kept that was taken");
}

#[test]
fn only_some_streams_keep_a_large_part_of_history() {
    let mut rig = Rig::new();
    (0..2_500).for_each(|key| rig.put(&format!("{key:04}")));
    rig.restart_ring();
    let spec = WatchSpec { start_revision: 1, ..WatchSpec::from_now(Interval::from_wire(b"0", &[0])) };
    let mut catching_up = Vec::new();
    for number in 0..LARGE_SLICES_MAX + 2 {
        let (stream, _) = rig.hub.open();
        rig.hub.create(stream, spec.clone()).expect("there is room");
        let mut catch_up = CatchUp::new(rig.hub.large_slices());
        let Some((watcher, Delivery::Missed(spec, missed))) = rig.hub.pull(stream, || rig.store.clone(), Mutants::NONE)
        else {
            panic!("it is behind")
        };
        let Turn::Done(Some(batch)) = catch_up.turn(&rig.hub, watcher, (spec, missed), || rig.store.clone()) else {
            panic!("few keys are looked at in one turn")
        };
        assert_eq!(batch.revisions.len(), WatchLimits::USUAL.batch.events, "stream {number} is served all the same");
        let left = LARGE_SLICES_MAX.saturating_sub(number + 1);
        assert_eq!(rig.hub.large_slices().available_permits(), left);
        catching_up.push((watcher, catch_up));
    }
    for (watcher, catch_up) in &mut catching_up {
        catch_up.forget(*watcher);
    }
    assert_eq!(rig.hub.large_slices().available_permits(), LARGE_SLICES_MAX);
}
