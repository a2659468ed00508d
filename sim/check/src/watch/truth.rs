//! A watch against the replayed writes.

use bytes::Bytes;

use super::{Claim, Watch, fail};
use crate::history::*;
use crate::ids::*;
use crate::linearizable::{Cover, Linearizable};
use crate::model::{Model, Write};
use crate::violation::{Related, Verdict};

impl Watch {
    /// All wanted changes from `next` to `upto` have been shown.
    pub(super) fn cover(&self, upto: Revision) -> Cover {
        Cover { keys: self.request.keys.clone(), filters: self.request.filters, from: self.next, upto }
    }

    /// The wanted writes of `from..=upto`.
    fn wanted<'a>(
        &'a self,
        model: &'a Model,
        from: Revision,
        upto: Revision,
    ) -> impl Iterator<Item = (Revision, &'a Write)> {
        let cover = self.cover(upto);
        let revisions = (from.max(model.oldest().next()).0..=upto.0).map(Revision);
        revisions
            .flat_map(|revision| model.writes(revision).iter().map(move |write| (revision, write)))
            .filter(move |(_, write)| cover.wants(write))
    }

    pub(super) fn check(&mut self, at: Moment, key: WatchKey, claim: &Claim, truth: &Linearizable) -> Verdict {
        let upto = claim.revision();
        let received = match claim {
            Claim::Events(events) => &events[..],
            Claim::Bookmark(_) => &[],
        };
        let mut received = received.iter();
        for (revision, write) in self.wanted(truth.model(), self.checked, upto) {
            let Some(event) = received.next() else {
                let message = match claim {
                    Claim::Bookmark(_) => format!("got bookmark {upto} without {:?} at {revision}", write.key),
                    Claim::Events(_) => format!("missed {:?} at {revision} up to {upto}", write.key),
                };
                return Err(fail(at, key, message).with([Related::Revision(revision)]));
            };
            if (revision, &write.key) != (event.kv.modified, &event.kv.key) {
                let message = format!(
                    "got {:?} at {} where {:?} at {revision} was next",
                    event.kv.key, event.kv.modified, write.key
                );
                return Err(fail(at, key, message).with([Related::Revision(revision)]));
            }
            self.check_event(at, key, revision, write, event, truth)?;
        }
        if let Some(event) = received.next() {
            let message = format!("got {:?} at {}, which did not happen", event.kv.key, event.kv.modified);
            return Err(fail(at, key, message).with([Related::Revision(event.kv.modified)]));
        }
        self.checked = upto.next();
        Ok(())
    }

    fn check_event(
        &self,
        at: Moment,
        watch: WatchKey,
        revision: Revision,
        write: &Write,
        event: &Event,
        truth: &Linearizable,
    ) -> Verdict {
        let kv = match &write.live {
            Some(live) => live.row(&write.key, revision),
            None => KeyValue { key: write.key.clone(), modified: revision, ..KeyValue::default() },
        };
        if event.deleted != write.live.is_none() || event.kv != kv {
            let message = format!("got {:?} (deleted: {}) instead of {kv:?}", event.kv, event.deleted);
            return Err(fail(at, watch, message).with([Related::Revision(revision)]));
        }
        let before = truth.model().get(&write.key, revision.prev());
        let prev = before.map(|(modified, live)| live.row(&write.key, modified));
        let right = match (&event.prev_kv, &prev) {
            (None, _) if !self.request.prev_kv => true,
            // The state before may be compacted already; then it is left out.
            (None, Some(_)) => revision.prev() < truth.possibly_compacted(),
            (got, prev) => self.request.prev_kv && got == prev,
        };
        if right {
            return Ok(());
        }
        let message = format!("got {:?} at {revision} with prev_kv {:?} instead of {prev:?}", write.key, event.prev_kv);
        Err(fail(at, watch, message).with([Related::Revision(revision)]))
    }

    /// The first wanted write that is due and was not delivered.
    pub(super) fn first_missing(
        &self,
        truth: &Linearizable,
        due: impl Fn(Revision) -> bool,
    ) -> Option<(Revision, Bytes)> {
        let model = truth.model();
        let mut missing = self.wanted(model, self.next, model.head());
        missing.find(|(revision, _)| due(*revision)).map(|(revision, write)| (revision, write.key.clone()))
    }
}
