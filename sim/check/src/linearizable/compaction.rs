//! Compaction has no revision of its own: interval rules stand in.
//!
//! A read at `r` that succeeded: no compaction above `r` had *returned* before the read was called. A read at `r`
//! refused as compacted: some compaction above `r` was *called* before the refusal came.

use std::collections::BTreeMap;

use crate::ids::*;

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
