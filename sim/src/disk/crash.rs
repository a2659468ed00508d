//! The end of a process or of the power.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inode::Inode;
use super::names::Ino;
use super::store::Store;

/// How a member went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process died; the page cache, and with it every write, is still there.
    Kill,
    /// The power failed; of what was not synced, this much is there.
    PowerLoss(Keep),
}

/// What a power loss leaves of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything: the disk is one that never loses what it took.
    Everything,
    /// Nothing.
    Nothing,
    /// The oldest changes of the whole disk, the last of them perhaps torn.
    Prefix,
    /// Each change on its own: lost, kept, or torn.
    Subset,
    /// One of the three before this, drawn.
    Drawn,
}

/// What a crash did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Changes of bytes and names that were not synced. They survive a kill.
    pub pending: usize,
    /// Of these, how many reached the medium, torn ones included.
    pub kept: usize,
    /// Of these, how many reached it in part.
    pub torn: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    Torn,
}

impl Store {
    /// Crashes the disk's machine. Every handle from before is dead afterwards.
    pub fn crash(&mut self, now: Duration, crash: Crash) -> CrashReport {
        self.settle(now);
        self.new_epoch();
        let mut seqs: Vec<u64> = self.names.pending_seqs().collect();
        seqs.extend(self.inodes.values().flat_map(|inode| inode.pending.iter().map(|op| op.seq)));
        seqs.sort_unstable();
        let mut report = CrashReport { pending: seqs.len(), ..CrashReport::default() };
        let Crash::PowerLoss(keep) = crash else {
            report.kept = report.pending;
            return report;
        };

        let fates = self.draw_fates(keep, seqs);
        let mut inodes = std::mem::take(&mut self.inodes);
        for inode in inodes.values_mut() {
            self.land(inode, &fates, &mut report);
        }
        self.inodes = inodes;
        report.kept = fates.values().filter(|fate| **fate != Fate::Lost).count();
        self.names.lose_power(|seq| fates[&seq] != Fate::Lost);
        let named: Vec<Ino> = self.names.files().map(|(_, ino)| ino).collect();
        self.inodes.retain(|ino, _| named.contains(ino));
        self.in_flight.clear();
        report
    }

    fn draw_fates(&self, keep: Keep, seqs: Vec<u64>) -> BTreeMap<u64, Fate> {
        let (draws, labels) = (&self.draws, &self.labels);
        let keep = match keep {
            Keep::Drawn => [Keep::Nothing, Keep::Prefix, Keep::Subset][draws.below(labels.keep, 3) as usize],
            chosen => chosen,
        };
        match keep {
            Keep::Everything => seqs.into_iter().map(|seq| (seq, Fate::Kept)).collect(),
            Keep::Nothing => seqs.into_iter().map(|seq| (seq, Fate::Lost)).collect(),
            Keep::Prefix => {
                let kept = draws.below(labels.prefix, seqs.len() as u64 + 1) as usize;
                let torn = draws.chance(labels.tear, 0.5);
                let fate = |rank: usize| match rank + 1 {
                    next if next == kept && torn => Fate::Torn,
                    next if next <= kept => Fate::Kept,
                    _ => Fate::Lost,
                };
                seqs.into_iter().enumerate().map(|(rank, seq)| (seq, fate(rank))).collect()
            }
            Keep::Subset => {
                let fate = || [Fate::Lost, Fate::Kept, Fate::Torn][draws.below(labels.op, 3) as usize];
                seqs.into_iter().map(|seq| (seq, fate())).collect()
            }
            Keep::Drawn => unreachable!("was drawn above"),
        }
    }

    fn land(&self, inode: &mut Inode, fates: &BTreeMap<u64, Fate>, report: &mut CrashReport) {
        for op in std::mem::take(&mut inode.pending) {
            match fates[&op.seq] {
                Fate::Lost => {}
                Fate::Kept => op.change.land(&mut inode.durable),
                Fate::Torn => {
                    let keep = || self.draws.draw(self.labels.sector) & 1 == 1;
                    report.torn += usize::from(op.change.land_torn(&mut inode.durable, keep));
                }
            }
        }
        inode.view = inode.durable.clone();
        inode.last_write = 0; // Nobody knows what is the last that is left.
        inode.astray = false;
        inode.handles = 0;
    }
}
