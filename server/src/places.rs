//! Where the payloads of entries lie that are durable but not yet applied.

use std::collections::BTreeMap;
use std::sync::Mutex;

use evenkeel_raft::Index;
use evenkeel_storage::Place;
use tokio::sync::Notify;

/// Filled by the log task, emptied by the apply task.
#[derive(Default)]
pub struct Places {
    map: Mutex<BTreeMap<u64, Place>>,
    filled: Notify,
}

impl Places {
    /// Notes the places of entries; those of an overwritten entry are replaced.
    pub fn put(&self, indexes: impl Iterator<Item = Index>, places: &[Place]) {
        let mut map = self.map.lock().expect("not poisoned");
        map.extend(indexes.map(|i| i.0).zip(places.iter().copied()));
        drop(map);
        self.filled.notify_one();
    }

    /// The places of the log's entries as a restart found them.
    pub fn restore(&self, found: impl Iterator<Item = (Index, Place)>) {
        self.map.lock().expect("not poisoned").extend(found.map(|(index, place)| (index.0, place)));
    }

    /// Forgets the entries that a snapshot stands for.
    pub fn forget_upto(&self, index: Index) {
        let mut map = self.map.lock().expect("not poisoned");
        *map = map.split_off(&(index.0 + 1));
    }

    /// The place of an entry. Entries are applied only when durable, so it is there, unless a planted bug hands
    /// entries out early: then it has to be waited for ([`Places::filled`]).
    pub fn take(&self, index: Index) -> Option<Place> {
        self.map.lock().expect("not poisoned").remove(&index.0)
    }

    /// Resolves when places may have come.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}
