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

    /// Forgets everything: the log was replaced.
    pub fn clear(&self) {
        self.map.lock().expect("not poisoned").clear();
    }

    /// The place of an entry. Entries are applied only when durable, so it is there, unless a planted bug hands
    /// entries out early: then it is waited for.
    pub async fn take(&self, index: Index) -> Place {
        loop {
            let found = self.map.lock().expect("not poisoned").remove(&index.0);
            match found {
                Some(place) => return place,
                None => self.filled.notified().await,
            }
        }
    }
}
