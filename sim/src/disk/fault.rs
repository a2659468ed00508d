//! What can be wrong with a disk, switched while the run goes on.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// The faults of one disk at this moment. The default is a healthy disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Syncs take this long instead of the disk's usual time.
    pub slow_sync: Option<Range<Duration>>,
    /// The share of writes that fail with EIO and change nothing.
    pub write_error: f64,
    /// The share of syncs that fail with EIO. What they should have made durable never will be, although reads
    /// still see it: the page cache has forgotten that it is dirty.
    pub sync_error: f64,
    /// Nothing can grow: ENOSPC for new files and longer files; overwriting works.
    pub full: bool,
    /// Syncs begun from now on, or still under way, do not finish until this is switched off.
    pub stuck: bool,
    /// Every n-th sync reports success and does nothing.
    pub lying_sync: Option<u64>,
    /// After this many more operations every operation fails, until the next crash.
    pub fuse: Option<u64>,
    /// The next write reaches the medium this many bytes away from where it belongs; reads see it in place as
    /// long as it is cached. Used once.
    pub misdirect: Option<i64>,
    /// The share of long reads, such as a log's at a start, that find one bit flipped, anywhere but in what was written
    /// last: damage there cannot be told from a write that was torn.
    pub rot: f64,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults { slow_sync, write_error, sync_error, full, stuck, lying_sync, fuse, misdirect, rot } = self;
        let said = [
            slow_sync.as_ref().map(|took| format!("syncs take {took:?}")),
            (*write_error > 0.0).then(|| format!("{:.0} % of writes fail", write_error * 100.0)),
            (*sync_error > 0.0).then(|| format!("{:.0} % of syncs fail", sync_error * 100.0)),
            full.then(|| "full".to_owned()),
            stuck.then(|| "syncs do not finish".to_owned()),
            lying_sync.map(|every| format!("every {every}th sync does nothing")),
            fuse.map(|left| format!("fails after {left} operations")),
            misdirect.map(|by| format!("the next write lands {by} bytes away")),
            (*rot > 0.0).then(|| format!("{:.0} % of long reads find a flipped bit", rot * 100.0)),
        ];
        f.write_str(&said.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
