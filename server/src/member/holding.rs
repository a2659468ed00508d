//! The state a member holds: who reads it, and the two who change it.

use std::sync::{RwLockReadGuard, RwLockWriteGuard, TryLockError};

use evenkeel_mvcc::Store;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::Index;

use super::Member;
use crate::state::State;
use crate::version::release::Version;

/// Looks at the state before its reader waits for it: longer than most entries take to apply.
const READ_SPINS: usize = 1_000;

/// Bytes of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSize {
    /// On disk.
    pub total_bytes: u64,
    /// Of these, live.
    pub in_use_bytes: u64,
}

impl Member {
    /// Keys and values of all stored versions.
    pub fn live_bytes(&self) -> u64 {
        self.read().store.live_bytes()
    }

    /// A pinned copy of the key space, cheap to make.
    pub fn view(&self) -> Store {
        self.read().store.clone()
    }

    /// As [`Member::view`], with the values in it: they can be read for as long as the hold lives.
    pub fn held_view(&self) -> (Store, evenkeel_storage::Hold) {
        // Under the lock no value of the state can go out of use before the hold is there.
        let state = self.read();
        (state.store.clone(), self.values.hold())
    }

    /// A pinned copy of everything.
    pub fn state(&self) -> State {
        self.read().clone()
    }

    /// A pinned copy of everything, with the values in it: they can be read for as long as the hold lives.
    pub fn held_state(&self) -> (State, evenkeel_storage::Hold) {
        // Under the lock no value of the state can go out of use before the hold is there.
        let state = self.read();
        (state.clone(), self.values.hold())
    }

    /// A pinned copy of everything, and the segments in which none of its values lies.
    pub(crate) fn checkpoint_state(&self) -> (State, std::collections::BTreeSet<u32>) {
        // Under the lock, so that the copy and the counts are of one moment.
        let state = self.read();
        (state.clone(), self.values.log().unused_segments())
    }

    /// The state, which an entry that takes long may hold for seconds: whoever waits for it that long must not keep the
    /// driver, which sends heartbeats, from a thread.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        for _ in 0..READ_SPINS {
            match self.state.try_read() {
                Ok(state) => return state,
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                Err(TryLockError::Poisoned(_)) => break,
            }
        }
        let mut state = None;
        self.env.clock.blocked(&mut || state = Some(self.state.read().expect("not poisoned")));
        state.expect("it was waited for")
    }

    /// The state, to be changed. Whoever has to wait, for a long copy or for another change, keeps no thread either.
    fn write(&self) -> RwLockWriteGuard<'_, State> {
        match self.state.try_write() {
            Ok(state) => return state,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
        let mut state = None;
        self.env.clock.blocked(&mut || state = Some(self.state.write().expect("not poisoned")));
        state.expect("it was waited for")
    }

    /// Changes the state: the apply task's, but for the places of values, which collection moves.
    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.write())
    }

    /// Replaces the state by a snapshot's.
    pub fn install(&self, state: State) {
        let mut current = self.write();
        let applied = Index(state.store.applied().0);
        self.values.replaced(&current.store);
        *current = state;
        self.watches.reset(&current.store, self.config.mutants);
        self.leases.replaced(&current.store, self.lease_now());
        drop(current);
        if let Some(member) = self.handle() {
            member.membership_changed();
        }
        self.publish_applied(applied);
    }

    /// The members, by id.
    pub fn members(&self) -> Vec<pb::Member> {
        let state = self.read();
        let members = state.cluster().members.iter();
        members
            .map(|(id, info)| pb::Member {
                id: *id,
                name: info.name.clone(),
                peer_urls: info.peer_urls.clone(),
                client_urls: info.client_urls.clone(),
                is_learner: info.is_learner,
            })
            .collect()
    }

    /// Active alarms.
    pub fn alarms(&self) -> Vec<pb::AlarmMember> {
        let state = self.read();
        state.cluster().alarms.iter().map(|(id, kind)| pb::AlarmMember { member_id: *id, alarm: *kind }).collect()
    }

    /// The agreed API version.
    pub fn cluster_version(&self) -> Option<Version> {
        self.read().cluster().version
    }

    /// Where an enabled downgrade goes.
    pub fn downgrade(&self) -> Option<Version> {
        self.read().cluster().downgrade
    }

    /// Bytes on disk and in use.
    pub fn store_size(&self) -> StoreSize {
        let state = self.read();
        let in_use_bytes = state.store.live_bytes();
        StoreSize { total_bytes: self.values.disk_bytes().max(in_use_bytes), in_use_bytes }
    }
}
