//! The same semantics, written without any cleverness: all changes ever made, in a list.

use crate::pool::Pool;
use evenkeel_mvcc::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone)]
pub struct Change {
    pub main: i64,
    pub sub: u32,
    /// The key after the change; only key and revision count when it was deleted.
    pub row: Row,
    pub deleted: bool,
}

#[derive(Clone)]
pub struct Model {
    pub changes: Vec<Change>,
    pub revision: i64,
    pub compacted: i64,
    /// Time to live, remaining time, and the number of the command that granted it.
    pub leases: BTreeMap<LeaseId, (i64, i64, u64)>,
    pub applied: u64,
}

type Answer = Result<Response, Error>;

/// Decisions of a transaction and of those nested in its branch.
struct Decided(bool, Vec<Decided>);

impl Model {
    pub fn new() -> Model {
        Model { changes: Vec::new(), revision: 1, compacted: -1, leases: BTreeMap::new(), applied: 0 }
    }

    /// All keys as of a revision.
    pub fn state(&self, main: i64) -> BTreeMap<Key, Row> {
        let mut state = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.main <= main) {
            if change.deleted {
                state.remove(&change.row.key);
            } else {
                state.insert(change.row.key.clone(), change.row.clone());
            }
        }
        state
    }

    fn rows(&self, interval: &Interval, main: i64) -> Vec<Row> {
        self.state(main).into_values().filter(|row| interval.contains(&row.key)).collect()
    }

    /// What compaction has to leave.
    pub fn stored(&self) -> Vec<&Change> {
        let keys: BTreeSet<_> = self.changes.iter().map(|change| change.row.key.clone()).collect();
        let mut kept = Vec::new();
        for key in keys {
            let (old, young): (Vec<&Change>, Vec<&Change>) = self
                .changes
                .iter()
                .filter(|change| change.row.key == key)
                .partition(|change| change.main < self.compacted);
            if let Some(last) = old.last()
                && !last.deleted
                && young.iter().all(|change| change.main != self.compacted)
            {
                kept.push(*last);
            }
            kept.extend(young);
        }
        kept
    }

    fn places(&self) -> BTreeSet<u32> {
        let values = self.stored().into_iter().filter(|change| !change.deleted).map(|change| change.row.value);
        values.filter(|value| !value.is_empty()).map(|value| value.offset).collect()
    }

    pub fn events(&self, main: i64) -> Vec<Event> {
        let before = self.state(main - 1);
        let event = |change: &Change| {
            let row = change.row.clone();
            let kind = if change.deleted { EventKind::Delete } else { EventKind::Put };
            let prev = before.get(&row.key).filter(|_| row.create.0 != main).cloned();
            Event { kind, row, prev }
        };
        self.changes.iter().filter(|change| change.main == main).map(event).collect()
    }

    /// Applies a command; the freed places come in no order.
    pub fn apply(&mut self, command: &Command, pool: &Pool) -> (Answer, Vec<Event>, BTreeSet<u32>) {
        self.applied += 1;
        let places = self.places();
        let mut next = self.clone();
        let answer = next.run(command, pool);
        let mut events = Vec::new();
        if answer.is_ok() {
            events = next.events(self.revision + 1);
            next.revision = next.seen();
            *self = next;
        }
        let freed = match command {
            Command::Compact { .. } => places.difference(&self.places()).copied().collect(),
            _ => BTreeSet::new(),
        };
        (answer, events, freed)
    }

    /// The revision a read sees now, in the middle of a command.
    fn seen(&self) -> i64 {
        self.changes.last().map_or(self.revision, |last| self.revision.max(last.main))
    }

    fn run(&mut self, command: &Command, pool: &Pool) -> Answer {
        match command {
            Command::Put(put) => self.put(put),
            Command::DeleteRange(delete) => self.delete(delete),
            Command::Txn(txn) => {
                let decided = self.decide(txn, 1, pool)?;
                self.check(txn, &decided)?;
                self.txn(txn, &decided, pool)
            }
            Command::Compact { revision } if revision.0 <= self.compacted => {
                Err(Error::Compacted { compacted: Revision(self.compacted) })
            }
            Command::Compact { revision } if self.revision < revision.0 => {
                Err(Error::FutureRevision { current: Revision(self.revision) })
            }
            Command::Compact { revision } => {
                self.compacted = revision.0;
                Ok(Response::Compact)
            }
            Command::LeaseGrant { id: LeaseId(0), .. } => Err(Error::LeaseNotFound),
            Command::LeaseGrant { ttl_seconds: 9_000_000_001.., .. } => Err(Error::LeaseTtlTooLarge),
            Command::LeaseGrant { id, .. } if self.leases.contains_key(id) => Err(Error::LeaseExists),
            Command::LeaseGrant { id, ttl_seconds } => {
                self.leases.insert(*id, (*ttl_seconds, 0, self.applied));
                Ok(Response::LeaseGrant { id: *id, ttl_seconds: *ttl_seconds })
            }
            Command::LeaseRevoke { id, granted_at } => {
                let meant = self.leases.get(id).is_some_and(|lease| granted_at.is_none_or(|at| at == lease.2));
                meant.then(|| self.leases.remove(id)).ok_or(Error::LeaseNotFound)?;
                let keys: Vec<Key> =
                    self.state(self.revision).into_values().filter(|row| row.lease == *id).map(|row| row.key).collect();
                keys.iter().for_each(|key| self.remove(key));
                Ok(Response::LeaseRevoke { deleted: keys.len() as i64 })
            }
            Command::LeaseCheckpoint(checkpoints) => {
                for LeaseCheckpoint { id, remaining_seconds, granted_at } in checkpoints {
                    let lease = self.leases.get_mut(id).filter(|lease| granted_at.is_none_or(|at| at == lease.2));
                    lease.into_iter().for_each(|lease| lease.1 = *remaining_seconds);
                }
                Ok(Response::LeaseCheckpoint)
            }
        }
    }

    fn add(&mut self, row: Row, deleted: bool) {
        let main = self.revision + 1;
        let sub = self.changes.iter().filter(|change| change.main == main).count() as u32;
        self.changes.push(Change { main, sub, row, deleted });
    }

    fn remove(&mut self, key: &Key) {
        let modified = Revision(self.revision + 1);
        let (create, lease, value) = (Revision(0), LeaseId(0), ValueRef::EMPTY);
        self.add(Row { key: key.clone(), create, modified, version: 0, lease, value }, true);
    }

    fn put(&mut self, put: &Put) -> Answer {
        if put.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        if put.lease.0 != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Error::LeaseNotFound);
        }
        let old = self.state(self.seen()).remove(&put.key);
        if (put.ignore_value || put.ignore_lease) && old.is_none() {
            return Err(Error::KeyNotFound);
        }
        let modified = Revision(self.revision + 1);
        let mut row =
            Row { key: put.key.clone(), create: modified, modified, version: 1, lease: put.lease, value: put.value };
        if let Some(old) = &old {
            row.create = old.create;
            row.version = old.version + 1;
            row.lease = if put.ignore_lease { old.lease } else { put.lease };
            row.value = if put.ignore_value { old.value } else { put.value };
        }
        self.add(row, false);
        Ok(Response::Put { prev: old.filter(|_| put.prev_kv) })
    }

    fn delete(&mut self, delete: &DeleteRange) -> Answer {
        if delete.interval.start.is_empty() {
            return Err(Error::EmptyKey);
        }
        let rows = self.rows(&delete.interval, self.seen());
        rows.iter().for_each(|row| self.remove(&row.key));
        let deleted = rows.len() as i64;
        Ok(Response::DeleteRange { deleted, prev: if delete.prev_kv { rows } else { Vec::new() } })
    }

    fn decide(&self, txn: &Txn, depth: usize, pool: &Pool) -> Result<Decided, Error> {
        if 8 < depth {
            return Err(Error::TooManyOps);
        }
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare, pool));
        let mut nested = Vec::new();
        for op in if succeeded { &txn.success } else { &txn.failure } {
            if let Op::Txn(txn) = op {
                nested.push(self.decide(txn, depth + 1, pool)?);
            }
        }
        Ok(Decided(succeeded, nested))
    }

    fn holds(&self, compare: &Compare, pool: &Pool) -> bool {
        let accepts = |ordering: Ordering| match compare.result {
            CompareResult::Equal => ordering == Ordering::Equal,
            CompareResult::NotEqual => ordering != Ordering::Equal,
            CompareResult::Greater => ordering == Ordering::Greater,
            CompareResult::Less => ordering == Ordering::Less,
        };
        let rows = self.rows(&compare.interval, self.revision);
        let one = |row: Option<&Row>| match &compare.target {
            CompareTarget::Version(x) => accepts(row.map_or(0, |row| row.version).cmp(x)),
            CompareTarget::Create(x) => accepts(row.map_or(0, |row| row.create.0).cmp(x)),
            CompareTarget::Mod(x) => accepts(row.map_or(0, |row| row.modified.0).cmp(x)),
            CompareTarget::Lease(x) => accepts(row.map_or(0, |row| row.lease.0).cmp(x)),
            CompareTarget::Value(x) => row.is_some_and(|row| accepts(pool.bytes(&row.value).cmp(x))),
        };
        if rows.is_empty() { one(None) } else { rows.iter().all(|row| one(Some(row))) }
    }

    fn check(&self, txn: &Txn, decided: &Decided) -> Result<(), Error> {
        let mut nested = decided.1.iter();
        for op in if decided.0 { &txn.success } else { &txn.failure } {
            match op {
                Op::Range(query) if query.interval.start.is_empty() => return Err(Error::EmptyKey),
                Op::DeleteRange(delete) if delete.interval.start.is_empty() => return Err(Error::EmptyKey),
                Op::Range(RangeQuery { revision: 0, .. }) | Op::DeleteRange(_) => {}
                Op::Range(query) if self.revision < query.revision => {
                    return Err(Error::FutureRevision { current: Revision(self.revision) });
                }
                Op::Range(query) if query.revision < self.compacted => {
                    return Err(Error::Compacted { compacted: Revision(self.compacted) });
                }
                Op::Range(_) => {}
                Op::Put(put) => drop(self.clone().put(put)?),
                Op::Txn(txn) => self.check(txn, nested.next().unwrap())?,
            }
        }
        Ok(())
    }

    fn txn(&mut self, txn: &Txn, decided: &Decided, pool: &Pool) -> Answer {
        let mut nested = decided.1.iter();
        let mut responses = Vec::new();
        for op in if decided.0 { &txn.success } else { &txn.failure } {
            let response = match op {
                Op::Range(query) => Response::Range(self.range_at(query, self.seen(), pool)?),
                Op::Put(put) => self.put(put)?,
                Op::DeleteRange(delete) => self.delete(delete)?,
                Op::Txn(txn) => self.txn(txn, nested.next().unwrap(), pool)?,
            };
            responses.push((response, Revision(self.seen())));
        }
        Ok(Response::Txn { succeeded: decided.0, responses })
    }

    pub fn range(&self, query: &RangeQuery, pool: &Pool) -> Result<RangeResult, Error> {
        self.range_at(query, self.revision, pool)
    }

    fn range_at(&self, query: &RangeQuery, current: i64, pool: &Pool) -> Result<RangeResult, Error> {
        if query.interval.start.is_empty() {
            return Err(Error::EmptyKey);
        }
        if current < query.revision {
            return Err(Error::FutureRevision { current: Revision(current) });
        }
        let main = if query.revision <= 0 { current } else { query.revision };
        if main < self.compacted {
            return Err(Error::Compacted { compacted: Revision(self.compacted) });
        }
        let mut rows = self.rows(&query.interval, main);
        let count = rows.len() as i64;
        let revision = Revision(current);
        if query.count_only {
            return Ok(RangeResult { rows: Vec::new(), count, more: false, revision });
        }
        let unfiltered = query.max_mod == 0 && query.min_mod == 0 && query.max_create == 0 && query.min_create == 0;
        if query.order == SortOrder::None && unfiltered && 0 < query.limit {
            rows.truncate(query.limit as usize + 1); // The limit goes before a sort that nobody asked for.
        }
        rows.retain(|row| query.max_mod == 0 || row.modified.0 <= query.max_mod);
        rows.retain(|row| query.min_mod == 0 || query.min_mod <= row.modified.0);
        rows.retain(|row| query.max_create == 0 || row.create.0 <= query.max_create);
        rows.retain(|row| query.min_create == 0 || query.min_create <= row.create.0);
        rows.sort_by(|a, b| {
            let ordering = match query.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create.cmp(&b.create),
                SortTarget::Mod => a.modified.cmp(&b.modified),
                SortTarget::Value => pool.bytes(&a.value).cmp(&pool.bytes(&b.value)),
            };
            if query.order == SortOrder::Descend { ordering.reverse() } else { ordering }
        });
        let more = 0 < query.limit && query.limit < rows.len() as i64;
        if more {
            rows.truncate(query.limit as usize);
        }
        if query.keys_only {
            for row in &mut rows {
                row.value = ValueRef::EMPTY;
                if query.target != SortTarget::Value {
                    row.lease = LeaseId::NONE;
                }
            }
        }
        Ok(RangeResult { rows, count, more, revision })
    }
}
