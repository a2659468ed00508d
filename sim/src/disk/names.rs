//! Which path names which file, now and after a power loss.

use std::collections::BTreeMap;

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ino(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Dir,
    File(Ino),
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link { path: String, target: Target },
    Unlink { path: String },
    Rename { from: String, to: String, target: Target },
}

impl NameChange {
    fn dir(&self) -> &str {
        match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path } => parent(path),
            NameChange::Rename { to, .. } => parent(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Target>) {
        match self {
            NameChange::Link { path, target } => {
                names.insert(path.clone(), *target);
            }
            NameChange::Unlink { path } => {
                names.remove(path);
            }
            NameChange::Rename { from, to, target } => {
                if names.get(from) == Some(target) {
                    names.remove(from);
                }
                names.insert(to.clone(), *target);
            }
        }
    }
}

/// All names of a disk. The root is the empty path and always there.
#[derive(Debug, Default)]
pub(super) struct Names {
    view: BTreeMap<String, Target>,
    durable: BTreeMap<String, Target>,
    pending: Vec<(u64, NameChange)>,
}

impl Names {
    pub fn get(&self, path: &str) -> Option<Target> {
        if path.is_empty() { Some(Target::Dir) } else { self.view.get(path).copied() }
    }

    pub fn change(&mut self, seq: u64, change: NameChange) {
        change.apply(&mut self.view);
        self.pending.push((seq, change));
    }

    /// The plain file names in `dir`, sorted.
    pub fn files_in(&self, dir: &str) -> Vec<String> {
        let inside = |(path, target): (&String, &Target)| {
            (parent(path) == dir && matches!(target, Target::File(_))).then(|| leaf(path).to_owned())
        };
        self.view.iter().filter_map(inside).collect()
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, Ino)> {
        self.view.iter().filter_map(|(path, target)| match target {
            Target::File(ino) => Some((path.as_str(), *ino)),
            Target::Dir => None,
        })
    }

    /// Makes the changes in `dir` up to `upto` durable.
    pub fn sync(&mut self, dir: &str, upto: u64) {
        let Names { durable, pending, .. } = self;
        pending.retain(|(seq, change)| {
            let covered = *seq <= upto && change.dir() == dir;
            if covered {
                change.apply(durable);
            }
            !covered
        });
    }

    /// True when `path` would name the same file after a power loss, whatever it keeps.
    pub fn is_durable(&self, path: &str) -> bool {
        let settled = |path: &str| {
            self.durable.get(path).is_some_and(|target| self.view.get(path) == Some(target))
                && !self.pending.iter().any(|(_, change)| match change {
                    NameChange::Link { path: changed, .. } | NameChange::Unlink { path: changed } => changed == path,
                    NameChange::Rename { from, to, .. } => from == path || to == path,
                })
        };
        ancestors(path).all(settled)
    }

    pub fn pending_seqs(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|(seq, _)| *seq)
    }

    /// A power loss: of the pending changes those survive for which `keep` says so.
    pub fn lose_power(&mut self, keep: impl Fn(u64) -> bool) {
        for (seq, change) in std::mem::take(&mut self.pending) {
            if keep(seq) {
                change.apply(&mut self.durable);
            }
        }
        // A file whose directory is gone cannot be found any more. Parents come first in the order of paths.
        let mut found: BTreeMap<String, Target> = BTreeMap::new();
        for (path, target) in std::mem::take(&mut self.durable) {
            if parent(&path).is_empty() || found.get(parent(&path)) == Some(&Target::Dir) {
                found.insert(path, target);
            }
        }
        self.durable.clone_from(&found);
        self.view = found;
    }

    /// True when some name, now or after a power loss, leads to the file.
    pub fn mentions(&self, ino: Ino) -> bool {
        let file = Target::File(ino);
        self.view.values().chain(self.durable.values()).any(|target| *target == file)
            || self.pending.iter().any(|(_, change)| match change {
                NameChange::Link { target, .. } | NameChange::Rename { target, .. } => *target == file,
                NameChange::Unlink { .. } => false,
            })
    }
}

/// The path without a trailing or leading slash; `.` is the root.
pub(super) fn normal(path: &str) -> &str {
    let path = path.trim_matches('/');
    if path == "." { "" } else { path.strip_prefix("./").unwrap_or(path) }
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn leaf(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The path itself and every directory above it, without the root.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(parent(path))).take_while(|path| !path.is_empty())
}
