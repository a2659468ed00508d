//! What the member must know of itself at every call, without looking into the state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use evenkeel_proto::store as storepb;

use crate::member::Member;
use crate::state::Cluster;

/// See the module's text.
#[derive(Default)]
pub struct Own {
    version: AtomicU64,
    is_learner: AtomicBool,
    urls: RwLock<Arc<[String]>>,
}

impl Own {
    /// As `cluster` knows the member `id`.
    pub fn new(cluster: &Cluster, id: u64) -> Own {
        let own = Own::default();
        own.changed(cluster, id);
        own
    }

    fn changed(&self, cluster: &Cluster, id: u64) {
        if let Some(info) = cluster.members.get(&id) {
            self.is_learner.store(info.is_learner, Ordering::Relaxed);
            *self.urls.write().expect("not poisoned") = info.peer_urls.clone().into();
        }
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl Member {
    /// It does not vote.
    pub fn is_learner(&self) -> bool {
        self.own().is_learner.load(Ordering::Relaxed)
    }

    /// Where the others reach it.
    pub fn peer_urls(&self) -> Arc<[String]> {
        Arc::clone(&self.own().urls.read().expect("not poisoned"))
    }

    /// Members that the log's newest configuration has and the state does not know yet.
    pub fn coming(&self) -> Vec<storepb::Member> {
        self.coming.lock().expect("not poisoned").clone()
    }

    pub(crate) fn set_coming(&self, coming: Vec<storepb::Member>) {
        *self.coming.lock().expect("not poisoned") = coming;
    }

    /// Another number whenever the applied members have changed.
    pub fn membership_version(&self) -> u64 {
        self.own().version.load(Ordering::Acquire)
    }

    /// The applied members have changed.
    pub(crate) fn membership_changed(self: &Arc<Self>) {
        let state = self.state();
        self.own().changed(state.cluster(), self.ids().member);
        if state.cluster().removed.contains(&self.ids().member) {
            self.was_removed();
        }
    }

    /// This member does not belong to the cluster any more. What it still has to say (answers, the rest of its reign)
    /// gets an election timeout.
    pub(crate) fn was_removed(self: &Arc<Self>) {
        let member = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = member.stopping() => return,
                () = member.env().clock.sleep(member.config().election_timeout) => {}
            }
            tracing::warn!(member = format!("{:x}", member.ids().member), "{}", super::REMOVED);
            member.expelled(super::REMOVED);
        });
    }
}
