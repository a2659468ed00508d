//! Compaction has no revision of its own: interval rules stand in.
//!
//! A read at `r` that succeeded: no compaction above `r` had *returned* before the read was called. A read at `r`
//! refused as compacted: some compaction above `r` was *called* before the refusal came.

use std::collections::BTreeMap;

use super::{Done, Linearizable, Op, fail, impossible};
use crate::history::*;
use crate::ids::*;
use crate::violation::{Related, Verdict};

/// Which compactions may and must have happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Compactions {
    called: BTreeMap<Revision, u32>,
    returned: Revision,
}

impl Compactions {
    pub fn called(&mut self, revision: Revision) {
        *self.called.entry(revision).or_default() += 1;
    }

    pub fn returned(&mut self, revision: Revision) {
        self.returned = self.returned.max(revision);
        // Lower ones say nothing any more.
        self.called = self.called.split_off(&self.returned);
    }

    /// This one certainly did not happen.
    pub fn refused(&mut self, revision: Revision) {
        if let Some(count) = self.called.get_mut(&revision) {
            *count -= 1;
            if *count == 0 {
                self.called.remove(&revision);
            }
        }
    }

    /// History below this is certainly gone.
    pub fn certain(&self) -> Revision {
        self.returned
    }

    /// History below this may be gone.
    pub fn possible(&self) -> Revision {
        self.called.keys().next_back().copied().unwrap_or_default()
    }
}

impl Linearizable {
    pub(super) fn reads_above_compaction(&self, done: &Done) -> Verdict {
        let (id, floor) = (done.op.id, done.op.compacted);
        let oldest = match (&done.op.request, &done.body) {
            (Request::Range(range), _) => Some(range.revision),
            (Request::Txn(txn), Body::Txn(reply)) => txn.oldest_read(reply),
            _ => None,
        };
        let Some(revision) = oldest.filter(|revision| 0 < revision.0 && *revision < floor) else { return Ok(()) };
        let message = format!("{id} read at {revision}, although a compaction to {floor} had returned before");
        Err(fail(done.returned, message).with([Related::Op(id)]))
    }

    pub(super) fn compact_answered(&mut self, done: &Done, wanted: Revision) -> Verdict {
        let (id, at) = (done.op.id, done.returned);
        if wanted <= done.op.compacted {
            let floor = done.op.compacted;
            let message = format!("{id} compacted to {wanted}, although a compaction to {floor} had returned before");
            return Err(fail(at, message).with([Related::Op(id)]));
        }
        if done.revision < wanted {
            let message = format!("{id} compacted to {wanted}, above the head it answers, {}", done.revision);
            return Err(fail(at, message).with([Related::Op(id)]));
        }
        self.compactions.returned(wanted);
        Ok(())
    }

    pub(super) fn refused(&mut self, at: Moment, op: Op, refusal: Refusal) -> Verdict {
        let id = op.id;
        let serializable = op.request.is_serializable();
        let mut wanted: Vec<Revision> = Vec::new();
        op.request.visit_ranges(&mut |range| wanted.push(range.revision));
        wanted.retain(|revision| 0 < revision.0);
        if let Request::Compact { revision } = op.request {
            self.compactions.refused(revision);
            wanted.push(revision);
        }
        let (low, high) = (wanted.iter().min().copied(), wanted.iter().max().copied());
        let possible = self.compactions.possible();
        let compact = matches!(op.request, Request::Compact { .. });
        match (refusal, low, high) {
            (Refusal::Compacted, None, _) => {
                return Err(fail(at, format!("{id} was refused as compacted but names no revision")));
            }
            (Refusal::Compacted, Some(low), _) if possible < low || (possible == low && !compact) => {
                let message = format!("{id} at {low} was refused as compacted, but nobody asked to compact beyond it");
                return Err(fail(at, message).with([Related::Op(id)]));
            }
            (Refusal::FutureRevision, _, high) if !serializable => {
                let head = op.floor.position.0;
                if high.is_none_or(|high| high <= head) {
                    let message = format!("{id} was refused as a future revision, but {head} had been seen before");
                    return Err(fail(at, message).with([Related::Op(id)]));
                }
            }
            _ => {}
        }
        if let Some(revision) = self.spent.get(&id) {
            return Err(impossible(at, id, *revision));
        }
        if op.request.may_write() {
            self.refused.insert(id);
        }
        Ok(())
    }
}
