//! What must be known of the members at every call, without looking into the state: an entry may take seconds to apply,
//! and nobody sees the state meanwhile. The driver, which must not wait, looks here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use evenkeel_raft::Index;

use crate::member::Member;
use crate::state::{Cluster, State};

/// See the module's text.
#[derive(Default)]
pub struct Own {
    version: AtomicU64,
    is_learner: AtomicBool,
    urls: RwLock<Arc<[String]>>,
    /// The members as of this entry.
    known: RwLock<(Index, Arc<Cluster>)>,
    /// The newest configuration in the log, committed or not, lacks it.
    is_out: AtomicBool,
}

impl Own {
    /// As `state` knows the member `id`.
    pub fn new(state: &State, id: u64) -> Own {
        let own = Own::default();
        own.changed(state, id);
        own
    }

    fn changed(&self, state: &State, id: u64) {
        let cluster = state.cluster();
        if let Some(info) = cluster.members.get(&id) {
            self.is_learner.store(info.is_learner, Ordering::Relaxed);
            *self.urls.write().expect("not poisoned") = info.peer_urls.clone().into();
        }
        *self.known.write().expect("not poisoned") = (Index(state.store.applied().0), Arc::new(cluster.clone()));
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

    /// The cluster as it was when the applied members changed the last time, and the entry that changed them.
    pub fn known_cluster(&self) -> (Index, Arc<Cluster>) {
        self.own().known.read().expect("not poisoned").clone()
    }

    /// The driver looked at the newest configuration in the log.
    pub(crate) fn set_out(&self, is_out: bool) {
        self.own().is_out.store(is_out, Ordering::Release);
    }

    /// Another number whenever the applied members have changed.
    pub fn membership_version(&self) -> u64 {
        self.own().version.load(Ordering::Acquire)
    }

    /// The applied members have changed.
    pub(crate) fn membership_changed(self: &Arc<Self>) {
        let state = self.state();
        self.own().changed(&state, self.ids().member);
        // Unless it begins anew: then the entry that removed it is followed by one that says so.
        let is_out = |member: &Member| member.own().is_out.load(Ordering::Acquire);
        if state.cluster().removed.contains(&self.ids().member) && is_out(self) {
            let member = Arc::clone(self);
            tokio::spawn(async move {
                if member.said_farewell().await && is_out(&member) {
                    member.was_removed();
                }
            });
        }
    }

    /// What it still has to say (answers, the rest of its reign) gets an election timeout. False when it stops before.
    async fn said_farewell(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stopping() => false,
            () = self.env().clock.sleep(self.config().election_timeout) => true,
        }
    }

    /// This member does not belong to the cluster any more.
    pub(crate) fn was_removed(&self) {
        tracing::warn!(member = format!("{:x}", self.ids().member), "{}", super::REMOVED);
        self.expelled(super::REMOVED);
    }
}
