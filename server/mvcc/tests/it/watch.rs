//! Watchers against the history: whatever the pulls, the ring and the compactions, nothing is skipped or repeated.

use crate::random;
use crate::store::Pair;
use evenkeel_mvcc::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Apply(Command),
    Create(WatchSpec),
    /// Pulls once, for the n-th watcher.
    Pull(usize, PullLimit),
    Cancel(usize),
    /// Applies commands somewhere else and continues from there, as after a snapshot.
    Jump(Vec<Command>),
}

fn spec() -> impl Strategy<Value = WatchSpec> {
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), any::<bool>());
    (random::interval(), random::revision(), flags).prop_map(
        |(interval, start_revision, (no_put, no_delete, prev_kv))| WatchSpec {
            start_revision,
            no_put,
            no_delete,
            prev_kv,
            ..WatchSpec::from_now(interval)
        },
    )
}

fn limit() -> impl Strategy<Value = PullLimit> {
    (0..12usize, 0..40usize).prop_map(|(events, bytes)| PullLimit { events, bytes })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => random::command().prop_map(Step::Apply),
        3 => spec().prop_map(Step::Create),
        8 => (0..6usize, limit()).prop_map(|(at, limit)| Step::Pull(at, limit)),
        1 => (0..6usize).prop_map(Step::Cancel),
        1 => vec(random::command(), 0..6).prop_map(Step::Jump),
    ]
}

/// What a watcher must have seen so far.
struct Expected {
    spec: WatchSpec,
    /// The next revision it must be told about.
    next: i64,
}

struct Run {
    pair: Pair,
    watchers: Watchers,
    expected: BTreeMap<WatcherId, Expected>,
}

impl Run {
    fn apply(&mut self, command: Command) {
        let synced: Vec<WatcherId> = self.synced();
        if let Some(events) = self.pair.apply(command) {
            let mut ready = self.watchers.publish(&events);
            ready.sort();
            let woken = |id: &WatcherId| synced.contains(id) && !self.watchers.synced(*id);
            assert!(ready.iter().eq(self.expected.keys().filter(|id| woken(id))), "told once, when it falls behind");
            for id in synced {
                let expected = &self.expected[&id];
                let due =
                    expected.next <= events.revision.0 && !self.wanted(&expected.spec, events.revision.0).is_empty();
                assert_eq!(ready.contains(&id), due, "woken exactly when there is something");
                // A synced watcher has seen every revision that has nothing for it.
                let seen = events.revision.0 + i64::from(!due);
                let expected = self.expected.get_mut(&id).unwrap();
                expected.next = expected.next.max(seen);
            }
        }
    }

    fn synced(&self) -> Vec<WatcherId> {
        self.expected.keys().copied().filter(|id| self.watchers.synced(*id)).collect()
    }

    /// The events of a revision a watcher wants, as it is to be told now.
    fn wanted(&self, spec: &WatchSpec, main: i64) -> Vec<Event> {
        let hidden = |event: &Event| match event.kind {
            EventKind::Put => spec.no_put,
            EventKind::Delete => spec.no_delete,
        };
        let mut events = self.pair.model.events(main);
        events.retain(|event| spec.interval.contains(&event.row.key) && !hidden(event));
        if main <= self.pair.model.compacted {
            events.iter_mut().for_each(|event| event.prev = None);
        }
        events
    }

    /// Pulls once and checks the answer against the history. False when there is nothing more to pull.
    fn pull(&mut self, id: WatcherId, limit: PullLimit) -> bool {
        let before = self.expected[&id].next;
        let model = &self.pair.model;
        let (head, compacted) = (model.revision, model.compacted);
        let was_synced = self.watchers.synced(id);
        match self.watchers.pull(id, &self.pair.store, limit) {
            Pull::Batch(batch) => {
                assert!(!was_synced);
                assert!(compacted <= before, "history below the floor is not told");
                assert_eq!(batch.head.0, head);
                let spec = self.expected[&id].spec.clone();
                let next = batch.next.0;
                let told: Vec<(i64, Vec<Event>)> =
                    batch.revisions.iter().map(|r| (r.revision().0, r.events().cloned().collect())).collect();
                let due: Vec<(i64, Vec<Event>)> = (before..next)
                    .map(|main| (main, self.wanted(&spec, main)))
                    .filter(|(_, events)| !events.is_empty())
                    .collect();
                assert_eq!(told, due, "{before}..{next}");
                let events: usize = told.iter().map(|(_, events)| events.len()).sum();
                let bytes: usize = told.iter().flat_map(|(_, e)| e).map(|event| event.size_bytes(spec.prev_kv)).sum();
                assert!(told.len() == 1 || (events <= limit.events && bytes <= limit.bytes));
                self.expected.get_mut(&id).unwrap().next = next;
                true
            }
            Pull::UpToDate { revision } => {
                assert_eq!(revision.0, head);
                let due = (before.max(1)..=head).any(|main| !self.wanted(&self.expected[&id].spec, main).is_empty());
                assert!(!due, "up to date with something waiting from {before}");
                assert!(self.watchers.synced(id));
                let expected = self.expected.get_mut(&id).unwrap();
                expected.next = expected.next.max(head + 1);
                let progress = self.watchers.progress(id);
                assert_eq!(progress.map(|revision| revision.0), (expected.spec.start_revision <= head).then_some(head));
                false
            }
            Pull::Compacted { compact_revision } => {
                assert_eq!(compact_revision.0, compacted);
                assert!(before < compacted && !was_synced);
                assert_eq!(self.watchers.progress(id), None);
                assert_eq!(
                    self.watchers.pull(id, &self.pair.store, limit),
                    Pull::Compacted { compact_revision },
                    "it stays so"
                );
                false
            }
            Pull::Gone => panic!("the watcher exists"),
        }
    }

    fn nth(&self, at: usize) -> Option<WatcherId> {
        self.expected.keys().nth(at).copied()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Apply(command) => self.apply(command),
            Step::Create(spec) => {
                let id = self.watchers.create(spec.clone());
                let head = self.pair.model.revision;
                let next = if spec.start_revision == 0 { head + 1 } else { spec.start_revision };
                assert_eq!(self.watchers.synced(id), head < next);
                self.expected.insert(id, Expected { spec, next });
            }
            Step::Pull(at, limit) => {
                if let Some(id) = self.nth(at) {
                    self.pull(id, limit);
                }
            }
            Step::Cancel(at) => {
                if let Some(id) = self.nth(at) {
                    self.expected.remove(&id);
                    assert!(self.watchers.cancel(id));
                    assert!(!self.watchers.cancel(id));
                    let limit = PullLimit { events: 1, bytes: 1 };
                    assert_eq!(self.watchers.pull(id, &self.pair.store, limit), Pull::Gone);
                }
            }
            Step::Jump(commands) => {
                let seen = self.pair.model.revision;
                for id in self.synced() {
                    let expected = self.expected.get_mut(&id).unwrap();
                    expected.next = expected.next.max(seen + 1);
                }
                for command in commands {
                    self.pair.apply(command);
                }
                // The store arrives as records, as it would from another member.
                let store = &self.pair.store;
                let copy = restore(store.header(), store.lease_records(), store.versions()).unwrap();
                assert_eq!(copy.state_hash(), store.state_hash());
                self.pair.store = copy;
                let ready = self.watchers.reset(&self.pair.store);
                assert!(ready.iter().all(|id| !self.watchers.synced(*id)));
            }
        }
        let behind = self.expected.len() - self.synced().len();
        assert_eq!(self.watchers.behind(), behind);
        assert_eq!(self.watchers.len(), self.expected.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn watchers_see_the_history_once_and_in_order(
        steps in vec(step(), 1..70),
        ring in prop_oneof![Just(0usize), 1..12usize, Just(1000)],
        last in limit(),
    ) {
        let pair = Pair::new();
        let watchers = Watchers::new(pair.store.revision(), ring);
        let mut run = Run { pair, watchers, expected: BTreeMap::new() };
        for step in steps {
            run.step(step);
        }
        let ids: Vec<WatcherId> = run.expected.keys().copied().collect();
        for id in ids {
            while run.pull(id, last) {}
        }
    }

    #[test]
    fn a_slice_of_history_is_whole_however_it_is_looked_for_and_taken(
        commands in vec(random::command(), 1..50),
        spec in spec(),
        (size, taken) in (limit(), limit()),
        keys in 1..4usize,
        bounds in (0..30i64, 0..30i64),
    ) {
        let mut pair = Pair::new();
        for command in commands {
            pair.apply(command);
        }
        let run = Run { pair, watchers: Watchers::new(Revision(1), 0), expected: BTreeMap::new() };
        let store = &run.pair.store;
        let to = bounds.1.min(store.revision().0).max(1);
        let from = bounds.0.clamp(store.compacted().0.clamp(1, to), to);
        prop_assume!(store.compacted().0 <= from);
        let (mut cursor, mut told) = (Revision(from), Vec::new());
        while cursor.0 <= to {
            let mut slice = Slice::new(store.clone(), spec.clone(), cursor, Revision(to), size);
            while !slice.look(keys) {}
            loop {
                let (revisions, next) = slice.take(taken, store.compacted());
                prop_assert!(cursor < next);
                prop_assert!(revisions.iter().all(|r| cursor <= r.revision() && r.revision() < next));
                told.extend(revisions.iter().map(|r| (r.revision().0, r.events().cloned().collect::<Vec<_>>())));
                cursor = next;
                if slice.is_taken() {
                    break;
                }
            }
        }
        let due = (from..=to).map(|main| (main, run.wanted(&spec, main))).filter(|(_, events)| !events.is_empty());
        prop_assert_eq!(told, due.collect::<Vec<_>>());
        prop_assert_eq!(cursor.0, to + 1);
    }
}
