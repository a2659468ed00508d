//! The store against the model.

use crate::model::Model;
use crate::pool::{Pool, loaded};
use crate::random;
use evenkeel_mvcc::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A store and its model, fed with the same commands.
pub struct Pair {
    pub store: Store,
    pub model: Model,
    pub pool: Pool,
}

impl Pair {
    pub fn new() -> Pair {
        Pair { store: Store::new(), model: Model::new(), pool: Pool::default() }
    }

    /// Applies a command to both and compares all that comes of it. Returns the events.
    pub fn apply(&mut self, mut command: Command) -> Option<Arc<RevisionEvents>> {
        random::place_values(&mut command, &self.pool);
        let (index, term) = self.store.applied();
        let read_only = match &command {
            Command::Txn(txn) => Some(loaded(self.store.read_only_txn(txn, &self.pool))),
            _ => None,
        };
        let pinned = self.store.clone();
        let before = (pinned.state_hash(), pinned.header());
        let outcome = loaded(self.store.apply(index + 1, term, &command, &self.pool));
        assert_eq!((pinned.state_hash(), pinned.header()), before, "a clone does not change");
        let (answer, events, freed) = self.model.apply(&command, &self.pool);
        assert_eq!(outcome.result, answer, "{command:?}");
        if let Some(read_only) = read_only {
            assert_eq!(read_only, answer, "a transaction is answered the same way without applying it");
        }
        assert_eq!(outcome.revision.0, self.model.revision);
        let told = outcome.events.as_ref().map(|events| (events.revision, &events.events));
        let expected = (!events.is_empty()).then_some((outcome.revision, &events));
        assert_eq!(told, expected, "{command:?}");
        let places: Vec<u32> = outcome.freed.iter().map(|value| value.offset).collect();
        assert_eq!(places.iter().copied().collect::<BTreeSet<_>>(), freed);
        assert_eq!(places.len(), freed.len(), "a place is freed once");
        outcome.events
    }

    /// Compares the whole state.
    pub fn compare(&self) {
        let Pair { store, model, .. } = self;
        assert_eq!(store.revision().0, model.revision);
        assert_eq!(store.compacted().0, model.compacted);
        assert_eq!(store.state_hash(), state_hash_of(store), "the hash is kept up to date");
        assert_eq!(store.key_count(), model.state(model.revision).len() as u64);
        let rows: Vec<VersionRow> = store.versions().collect();
        let expected: Vec<VersionRow> = model
            .stored()
            .into_iter()
            .map(|change| VersionRow {
                key: change.row.key.clone(),
                main: Revision(change.main),
                sub: change.sub,
                create: change.row.create,
                version: change.row.version,
                lease: change.row.lease,
                kind: if change.deleted { VersionKind::Tombstone } else { VersionKind::Put(change.row.value) },
            })
            .collect();
        assert_eq!(rows, expected);
        let usage = store.usage();
        assert_eq!(usage.versions, rows.len() as u64);
        assert_eq!(usage.key_bytes, rows.iter().map(|row| row.key.len() as u64).sum::<u64>());
        let value_bytes =
            |row: &VersionRow| if let VersionKind::Put(value) = row.kind { u64::from(value.len) } else { 0 };
        assert_eq!(usage.value_bytes, rows.iter().map(value_bytes).sum::<u64>());
        let leases =
            store.leases().map(|(id, lease)| (id, (lease.ttl_seconds, lease.remaining_seconds, lease.granted_at)));
        assert!(leases.eq(model.leases.iter().map(|(id, lease)| (*id, *lease))));
        for (id, lease) in store.leases() {
            let mut keys: Vec<Row> = model.state(model.revision).into_values().collect();
            keys.retain(|row| row.lease == id);
            assert!(lease.keys().eq(keys.iter().map(|row| &row.key)));
            assert_eq!(lease.key_count(), keys.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn does_what_the_model_does(
        commands in vec(random::command(), 1..50),
        queries in vec(random::range(), 1..25),
        pin_at in 0..50usize,
    ) {
        let mut pair = Pair::new();
        let mut pinned = None;
        for (step, command) in commands.into_iter().enumerate() {
            pair.apply(command);
            pair.compare();
            if step == pin_at {
                pinned = Some((pair.store.clone(), pair.model.clone()));
            }
        }
        for query in &queries {
            for (store, model) in [(&pair.store, &pair.model)].into_iter().chain(pinned.as_ref().map(|(s, m)| (s, m))) {
                let answer = loaded(store.range(query, &pair.pool));
                prop_assert_eq!(answer, model.range(query, &pair.pool), "{:?}", query);
            }
            let main = if query.revision <= 0 { pair.model.revision } else { query.revision };
            let readable = pair.model.compacted <= main && main <= pair.model.revision;
            let row = pair.model.state(main).remove(&query.interval.start).filter(|_| readable);
            prop_assert_eq!(pair.store.get(&query.interval.start, query.revision), row);
        }
    }

    #[test]
    fn versions_come_by_revision_too(commands in vec(random::command(), 1..40), from in 0..40i64, to in 0..40i64) {
        let mut pair = Pair::new();
        for command in commands {
            pair.apply(command);
        }
        let mut expected: Vec<VersionRow> =
            pair.store.versions().filter(|row| (from..=to).contains(&row.main.0)).collect();
        expected.sort_by_key(|row| (row.main, row.sub));
        prop_assert!(pair.store.versions_by_revision(Revision(from), Revision(to)).eq(expected));
    }

    #[test]
    fn moving_values_changes_nothing_else(commands in vec(random::command(), 1..40)) {
        let mut pair = Pair::new();
        for command in commands {
            pair.apply(command);
        }
        let hash = pair.store.state_hash();
        let rows: Vec<VersionRow> = pair.store.versions().collect();
        for row in &rows {
            let VersionKind::Put(from) = row.kind else { continue };
            let to = ValueRef { segment: from.segment + 1, ..from };
            let first = rows.iter().find(|other| other.key == row.key && other.kind == row.kind);
            let moves = !from.is_empty() && first == Some(row);
            prop_assert_eq!(pair.store.relocate(&row.key, row.main, row.sub, from, to), moves);
        }
        prop_assert_eq!(pair.store.state_hash(), hash);
        let moved = |row: &VersionRow| !matches!(row.kind, VersionKind::Put(v) if v.segment == 1);
        prop_assert!(pair.store.versions().all(|row| moved(&row)));
    }

    #[test]
    fn the_check_before_proposing_is_a_plain_search(commands in vec(random::command(), 1..20), max_ops in 0..8usize) {
        for command in &commands {
            if let Command::Txn(txn) = command {
                let pool = Pool::default();
                let mut command = command.clone();
                random::place_values(&mut command, &pool);
                let lists = naive_lists(txn, max_ops as i64);
                let expected = lists.and_then(|()| {
                    naive_changes(&txn.success)?;
                    naive_changes(&txn.failure).map(|_| ())
                });
                prop_assert_eq!(Store::check_txn(txn, max_ops), expected);
            }
        }
    }
}

/// Many keys make a deep index, whose inner nodes answer for whole subtrees.
#[test]
fn a_large_store_answers_as_a_small_one() {
    let pool = Pool::default();
    let key = |number: u64| Key::from(format!("k{number:04}").as_bytes());
    let (mut store, mut now, mut then) = (Store::new(), BTreeMap::new(), Vec::new());
    let mut changes: Vec<(i64, Key)> = Vec::new();
    let mut random = 7u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for step in 1..6000 {
        let key = key(below(1500));
        // Waves of writing and deleting, so that whole subtrees are dead at times.
        let command = if below(2000) < step % 2000 {
            now.remove(&key);
            Command::DeleteRange(DeleteRange { interval: Interval::single(key.clone()), prev_kv: false })
        } else {
            now.insert(key.clone(), step);
            let (key, lease) = (key.clone(), LeaseId::NONE);
            let value = pool.place(b"x");
            Command::Put(Put { key, value, lease, prev_kv: false, ignore_value: false, ignore_lease: false })
        };
        let outcome = loaded(store.apply(2 * step, 1, &command, &pool));
        if let Some(events) = outcome.events {
            changes.push((events.revision.0, key));
        }
        if step % 50 == 0 {
            then.push((outcome.revision.0, now.clone()));
        }
        if step == 2500 {
            let revision = Revision(outcome.revision.0 - 700);
            let outcome = loaded(store.apply(2 * step + 1, 1, &Command::Compact { revision }, &pool));
            assert!(outcome.result.is_ok());
        }
    }
    changes.retain(|(revision, _)| store.compacted().0 <= *revision);
    then.retain(|(revision, _)| store.compacted().0 <= *revision);
    assert!(30 < then.len());
    let intervals = [(0, 1500), (100, 101), (37, 555), (800, 1500), (850, 20)]
        .map(|(from, to)| Interval { start: key(from), end: End::Before(key(to)) });
    for (revision, rows) in &then {
        for interval in &intervals {
            let expected: Vec<&Key> = rows.keys().filter(|key| interval.contains(key)).collect();
            let query = RangeQuery { revision: *revision, ..RangeQuery::all(interval.clone()) };
            let count_only = RangeQuery { count_only: true, ..query.clone() };
            assert_eq!(loaded(store.range(&count_only, &pool)).unwrap().count, expected.len() as i64);
            for limit in [0, 1, 9] {
                let query = RangeQuery { limit, ..query.clone() };
                let result = loaded(store.range(&query, &pool)).unwrap();
                let most = if limit == 0 { usize::MAX } else { limit as usize };
                assert!(result.rows.iter().map(|row| &row.key).eq(expected.iter().copied().take(most)));
                assert_eq!(result.count, expected.len() as i64);
                assert_eq!(result.more, most < expected.len());
            }
        }
    }

    // Watchers catch up from the history, in pieces; also those that start with the newest change of some subtree.
    let mut watchers = Watchers::new(store.revision(), 0);
    let starts = then.iter().map(|(revision, _)| *revision).step_by(9);
    for start in starts.chain(store.revision().0 - 40..=store.revision().0) {
        for interval in &intervals {
            let spec = WatchSpec { start_revision: start, ..WatchSpec::from_now(interval.clone()) };
            let id = watchers.create(spec);
            let mut told = Vec::new();
            while let Pull::Batch(batch) = watchers.pull(id, &store, PullLimit { events: 400, bytes: usize::MAX }) {
                let events = batch.revisions.iter().flat_map(|revision| revision.events());
                told.extend(events.map(|event| (event.row.modified.0, event.row.key.clone())));
            }
            let due = changes.iter().filter(|(revision, key)| start <= *revision && interval.contains(key));
            assert!(told.iter().eq(due));
        }
    }

    // Compaction finds everything there is to drop: records that still hold some are refused.
    let before = store.version_count();
    let compact = Command::Compact { revision: store.revision() };
    let outcome = loaded(store.apply(20_000, 1, &compact, &pool));
    assert!(2000 < before - store.version_count() && 1000 < outcome.freed.len());
    let copy = restore(store.header(), store.lease_records(), store.versions()).unwrap();
    assert_eq!(copy.state_hash(), store.state_hash());
    assert_eq!(store.state_hash(), state_hash_of(&store));
}

fn naive_lists(txn: &Txn, max_ops: i64) -> Result<(), Error> {
    let ops = [txn.compare.len(), txn.success.len(), txn.failure.len()].into_iter().max().unwrap() as i64;
    if max_ops < ops {
        return Err(Error::TooManyOps);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Put(put) => Store::check_put(put)?,
            Op::Txn(nested) => naive_lists(nested, max_ops - ops)?,
            _ => {}
        }
    }
    Ok(())
}

type Keys<'a> = (Vec<&'a Key>, Vec<&'a Interval>);

/// etcd's rule, with lists and nested loops.
fn naive_changes(ops: &[Op]) -> Result<Keys<'_>, Error> {
    let mut puts: Vec<&Key> = Vec::new();
    let mut deletes: Vec<&Interval> = Vec::new();
    let hit = |deletes: &[&Interval], key: &Key| {
        deletes.iter().any(|interval| interval.end != End::Open && interval.contains(key))
    };
    for op in ops {
        if let Op::DeleteRange(delete) = op {
            deletes.push(&delete.interval);
        }
    }
    for op in ops {
        if let Op::Txn(nested) = op {
            let (then_puts, then_deletes) = naive_changes(&nested.success)?;
            let (else_puts, else_deletes) = naive_changes(&nested.failure)?;
            for key in &then_puts {
                if puts.contains(key) || hit(&deletes, key) {
                    return Err(Error::DuplicateKey);
                }
                puts.push(key);
            }
            for key in else_puts {
                if (puts.contains(&key) && !then_puts.contains(&key)) || hit(&deletes, key) {
                    return Err(Error::DuplicateKey);
                }
                // Whoever nests this must not take what either branch puts for two puts.
                if !puts.contains(&key) {
                    puts.push(key);
                }
            }
            deletes.extend(then_deletes);
            deletes.extend(else_deletes);
        }
    }
    for op in ops {
        if let Op::Put(put) = op {
            if puts.contains(&&put.key) || hit(&deletes, &put.key) {
                return Err(Error::DuplicateKey);
            }
            puts.push(&put.key);
        }
    }
    Ok((puts, deletes))
}
