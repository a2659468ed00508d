//! Reading an interval at a revision.
//!
//! Costs, for n keys of which c changed after the revision asked for: the count is exact in O(log n + c), and a plain
//! range with a limit takes O(log n + limit + c). Sorting and filters read the whole interval first, as the meaning of
//! `limit` demands.
//!
//! etcd's rules that surprise: the floor itself is readable; `count` ignores limit and filters; the order "none" by
//! anything but the key means ascending, but the limit is applied *before* that sort, so it sorts the first rows by
//! key; a keys-only answer carries no leases, unless it is sorted by value.

use crate::command::{RangeQuery, RangeResult, SortOrder, SortTarget};
use crate::error::Error;
use crate::history::Row;
use crate::interval::Interval;
use crate::revision::{LeaseId, Revision};
use crate::store::Store;
use crate::value::{self, ValueRef, Values};
use alloc::vec::Vec;
use core::cmp::Ordering;

impl Store {
    /// Answers a range. The outer error is a value that could not be read, the inner one the client's.
    pub fn range<V: Values>(&self, query: &RangeQuery, values: &V) -> Result<Result<RangeResult, Error>, V::Error> {
        self.range_seen(query, self.revision, values)
    }

    /// What is wrong with a range whatever the store holds.
    pub fn check_range(query: &RangeQuery) -> Result<(), Error> {
        if query.interval.start.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
    }

    /// A range by a reader for whom `current` is the current revision.
    pub(crate) fn range_seen<V: Values>(
        &self,
        query: &RangeQuery,
        current: i64,
        values: &V,
    ) -> Result<Result<RangeResult, Error>, V::Error> {
        let main = match Store::check_range(query).and_then(|()| self.readable(query.revision, current)) {
            Ok(main) => main,
            Err(error) => return Ok(Err(error)),
        };
        let mut result = RangeResult { revision: Revision(current), ..RangeResult::default() };
        if query.count_only {
            result.count = self.count(&query.interval, main);
            return Ok(Ok(result));
        }
        let limit = usize::try_from(query.limit).ok().filter(|limit| 0 < *limit);
        let fetch = limit.filter(|_| !query.needs_all()).map(|limit| limit.saturating_add(1));
        let (mut rows, complete) = self.rows(&query.interval, main, fetch.unwrap_or(usize::MAX));
        result.count = if complete { rows.len() as i64 } else { self.count(&query.interval, main) };
        rows.retain(|row| query.admits(row));
        let mut rows = sort(rows, query, values)?;
        if let Some(limit) = limit
            && limit < rows.len()
        {
            rows.truncate(limit);
            result.more = true;
        }
        if query.keys_only {
            let keeps_lease = query.target == SortTarget::Value;
            for row in &mut rows {
                row.value = ValueRef::EMPTY;
                row.lease = if keeps_lease { row.lease } else { LeaseId::NONE };
            }
        }
        result.rows = rows;
        Ok(Ok(result))
    }

    /// The first rows of an interval at a readable revision, and whether these are all.
    fn rows(&self, interval: &Interval, main: i64, most: usize) -> (Vec<Row>, bool) {
        let mut rows = Vec::new();
        let scan = self.keys.scan(Some(&*interval.start), interval.upper(), |keys| 0 < keys.live || main < keys.newest);
        for (key, history) in scan {
            let Some(row) = history.at(main).and_then(|stored| stored.row(key)) else { continue };
            if rows.len() == most {
                return (rows, false);
            }
            rows.push(row);
        }
        (rows, true)
    }

    /// How many keys an interval holds at a readable revision.
    pub(crate) fn count(&self, interval: &Interval, main: i64) -> i64 {
        let mut count = 0u64;
        self.keys.fold(
            Some(&*interval.start),
            interval.upper(),
            &mut count,
            |count, keys| {
                // Keys that have not changed since are as they are now.
                let settled = keys.newest <= main;
                *count += if settled { keys.live } else { 0 };
                settled
            },
            |count, _, history| *count += u64::from(history.at(main).is_some_and(|stored| stored.version.is_live())),
        );
        i64::try_from(count).expect("fewer than 2^63 keys")
    }
}

impl RangeQuery {
    /// True when the limit can be applied only after all rows are known.
    fn needs_all(&self) -> bool {
        let by_key = match self.order {
            SortOrder::None => true,
            SortOrder::Ascend => self.target == SortTarget::Key,
            SortOrder::Descend => false,
        };
        !by_key || [self.min_mod, self.max_mod, self.min_create, self.max_create].iter().any(|bound| *bound != 0)
    }

    /// The filters by revision.
    fn admits(&self, row: &Row) -> bool {
        let within =
            |revision: Revision, min: i64, max: i64| (max == 0 || revision.0 <= max) && (min == 0 || min <= revision.0);
        within(row.modified, self.min_mod, self.max_mod) && within(row.create, self.min_create, self.max_create)
    }
}

/// Sorts rows that are in key order. Equal rows stay in key order.
fn sort<V: Values>(mut rows: Vec<Row>, query: &RangeQuery, values: &V) -> Result<Vec<Row>, V::Error> {
    let descend = query.order == SortOrder::Descend;
    let directed = |ordering: Ordering| if descend { ordering.reverse() } else { ordering };
    match query.target {
        SortTarget::Key if descend => rows.reverse(),
        SortTarget::Key => {}
        SortTarget::Version => rows.sort_by(|a, b| directed(a.version.cmp(&b.version))),
        SortTarget::Create => rows.sort_by(|a, b| directed(a.create.cmp(&b.create))),
        SortTarget::Mod => rows.sort_by(|a, b| directed(a.modified.cmp(&b.modified))),
        SortTarget::Value => {
            let mut loaded = Vec::with_capacity(rows.len());
            for row in rows {
                loaded.push((value::load(values, &row.value)?, row));
            }
            loaded.sort_by(|(a, _), (b, _)| directed(a.cmp(b)));
            rows = loaded.into_iter().map(|(_, row)| row).collect();
        }
    }
    Ok(rows)
}
