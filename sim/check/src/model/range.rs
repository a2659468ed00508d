//! Range reads: collect, filter, sort, cut.
//!
//! Two right answers may differ: rows that tie under the sort target come in any order (and a limit may cut anywhere
//! among them), and keys-only rows carry the lease or not, by release. Where there is such freedom the computed answer
//! follows the received one, so that plain equality decides afterwards.

use std::collections::BTreeMap;

use super::evaluate::Overlay;
use crate::history::*;
use crate::ids::*;

impl Overlay<'_> {
    /// The live rows of a range, own writes included, in key order.
    pub(super) fn rows(&self, keys: &KeyRange) -> Vec<KeyValue> {
        let base = self.model.rows(keys, self.before).map(|(key, modified, live)| live.row(key, modified));
        let mut rows: Vec<KeyValue> = base.collect();
        for write in self.writes.iter().filter(|write| keys.contains(&write.key)) {
            let place = rows.binary_search_by(|row| row.key.cmp(&write.key));
            match (place, &write.live) {
                (Ok(n), Some(live)) => rows[n] = live.row(&write.key, self.before.next()),
                (Ok(n), None) => drop(rows.remove(n)),
                (Err(n), Some(live)) => rows.insert(n, live.row(&write.key, self.before.next())),
                (Err(_), None) => {}
            }
        }
        rows
    }

    /// `None`: the wanted revision lies in the future.
    pub(super) fn range(&self, range: &Range, like: Option<&RangeReply>) -> Option<RangeReply> {
        if self.before < range.revision {
            return None;
        }
        if range.count_only && range.revision.0 <= 0 && self.writes.is_empty() {
            let count = self.model.rows(&range.keys, self.before).count() as i64;
            return Some(RangeReply { count, ..RangeReply::default() });
        }
        let mut rows = if range.revision.0 > 0 {
            Overlay { model: self.model, before: range.revision, writes: Vec::new() }.rows(&range.keys)
        } else {
            self.rows(&range.keys)
        };
        let count = rows.len() as i64;
        if range.count_only {
            return Some(RangeReply { count, ..RangeReply::default() });
        }
        shape(range, like, &mut rows);
        let more = 0 < range.limit && range.limit < rows.len() as i64;
        if more {
            rows.truncate(range.limit as usize);
        }
        if range.keys_only {
            for (n, row) in rows.iter_mut().enumerate() {
                row.value.clear();
                if like.and_then(|like| like.kvs.get(n)).is_some_and(|other| other.lease == LeaseId::NONE) {
                    row.lease = LeaseId::NONE;
                }
            }
        }
        Some(RangeReply { kvs: rows, more, count })
    }
}

/// Filters and sorts.
fn shape(range: &Range, like: Option<&RangeReply>, rows: &mut Vec<KeyValue>) {
    let at_most = |bound: Revision, value: Revision| bound.0 == 0 || value <= bound;
    let at_least = |bound: Revision, value: Revision| bound.0 == 0 || bound <= value;
    if [range.min_modified, range.max_modified, range.min_created, range.max_created].iter().any(|bound| bound.0 != 0) {
        rows.retain(|row| {
            at_most(range.max_modified, row.modified)
                && at_least(range.min_modified, row.modified)
                && at_most(range.max_created, row.created)
                && at_least(range.min_created, row.created)
        });
    }
    match (range.sort_order, range.sort_target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => {}
        (SortOrder::Descend, SortTarget::Key) => rows.reverse(),
        (order, target) => {
            let kvs = like.map_or(&[][..], |like| &like.kvs);
            let places: BTreeMap<&[u8], usize> = kvs.iter().enumerate().map(|(n, row)| (row.key.as_ref(), n)).collect();
            let place = |row: &KeyValue| places.get(row.key.as_ref()).copied().unwrap_or(usize::MAX);
            rows.sort_by(|a, b| {
                let (first, second) = if order == SortOrder::Descend { (b, a) } else { (a, b) };
                by_target(target, first, second).then_with(|| place(a).cmp(&place(b)))
            });
        }
    }
}

fn by_target(target: SortTarget, a: &KeyValue, b: &KeyValue) -> std::cmp::Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Created => a.created.cmp(&b.created),
        SortTarget::Modified => a.modified.cmp(&b.modified),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
