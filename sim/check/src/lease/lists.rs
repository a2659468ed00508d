//! Lists that members give: the keys of a lease, and all leases. Both are compared with the replayed truth, which may
//! come later.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::ids::*;
use crate::model::Model;

/// The keys that a lease was said to have.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub lease: LeaseId,
    pub keys: Vec<Bytes>,
    /// They were its keys at some revision from here …
    pub low: Revision,
    /// … to here; if nothing limits it, at any later one.
    pub high: Option<Revision>,
}

impl Keys {
    fn upto(&self, model: &Model) -> Revision {
        self.high.unwrap_or(model.head())
    }

    /// Why they are none, if they are none.
    fn wrong(&self, model: &Model) -> Option<(LeaseId, String)> {
        let (low, high) = (self.low, self.upto(model));
        if low < model.oldest() {
            return None; // Forgotten: it is believed.
        }
        let mut revisions = (low.0..=high.0).rev().map(Revision);
        let right = revisions.any(|revision| model.attached(self.lease, revision).eq(self.keys.iter()));
        let told =
            || format!("lists the keys {:?}, which were not its keys at any revision of {low}..={high}", self.keys);
        (!right).then(|| (self.lease, told()))
    }
}

/// The leases that a member said there are, and the revision it said so at.
#[derive(Clone, Debug)]
pub(super) struct All {
    pub leases: BTreeSet<LeaseId>,
    pub revision: Revision,
}

impl All {
    /// A lease that holds keys there, but is not listed.
    fn wrong(&self, model: &Model) -> Option<(LeaseId, String)> {
        if self.revision < model.oldest() {
            return None;
        }
        let missing = model.attached_leases(self.revision).find(|lease| !self.leases.contains(lease))?;
        Some((missing, format!("has keys at {}, but is not in the list of all leases there", self.revision)))
    }
}

/// Lists that wait for the truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    pub keys: VecDeque<Keys>,
    pub all: VecDeque<All>,
}

impl Lists {
    /// What is wrong with a list, as far as the truth reaches. At the end it reaches as far as it ever will.
    pub fn settle(&mut self, model: &Model, end: bool) -> Option<(LeaseId, String)> {
        while let Some(keys) = self.keys.front()
            && (end || keys.high.is_some_and(|high| high <= model.head()))
        {
            let wrong = keys.wrong(model);
            self.keys.pop_front();
            if wrong.is_some() {
                return wrong;
            }
        }
        while let Some(all) = self.all.front()
            && all.revision <= model.head()
        {
            let wrong = all.wrong(model);
            self.all.pop_front();
            if wrong.is_some() {
                return wrong;
            }
        }
        None
    }
}
