//! What is known of a real member: it is asked for its status again and again, and now and then for more.
//!
//! A look is as fresh as `LOOK_INTERVAL` allows, so an election is seen late by that much, and what begins and ends
//! between two looks is not seen. Members are also compared with each other, as far as a client can do that: nobody
//! else may lead in a term, and histories of equal revisions have equal hashes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::version::Release;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_raft::ready::Role;
use evenkeel_raft::{NodeId, Standing, Term};

use super::page::Page;
use crate::world::connection::Connection;
use crate::world::feed::Feed;
use crate::world::names::Names;
use crate::world::witness::Witness;

/// Between two questions for a member's status.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Between two looks at its metrics, and at the hash of its history.
const PAGE_INTERVAL: Duration = Duration::from_millis(500);
/// A member that does not answer for so long is asked anew.
const PATIENCE: Duration = Duration::from_millis(500);
/// Leaders and hashes of so many terms and revisions are remembered.
const REMEMBERED: usize = 10_000;

/// What members must agree on, as far as it was seen.
#[derive(Default)]
pub struct Agreement(Mutex<Agreed>);

#[derive(Default)]
struct Agreed {
    leaders: BTreeMap<u64, u64>,
    /// By compact revision and revision.
    hashes: BTreeMap<(i64, i64), (u64, u32)>,
    /// The largest commit index that anybody had, and when that was seen.
    committed: VecDeque<(Duration, u64)>,
    broken: Option<(&'static str, String)>,
}

impl Agreement {
    /// The oracle that has to say something, and what.
    pub fn broken(&self) -> Option<(&'static str, String)> {
        self.0.lock().expect("one thread").broken.clone()
    }

    /// The largest commit index that was seen up to a moment.
    pub fn committed(&self, until: Duration) -> u64 {
        let agreed = self.0.lock().expect("one thread");
        agreed.committed.iter().rev().find(|(at, _)| *at <= until).map_or(0, |(_, index)| *index)
    }

    fn commits(&self, now: Duration, index: u64) {
        let mut agreed = self.0.lock().expect("one thread");
        if agreed.committed.back().is_none_or(|(_, newest)| *newest < index) {
            agreed.committed.push_back((now, index));
        }
        while REMEMBERED < agreed.committed.len() {
            agreed.committed.pop_front();
        }
    }

    fn leads(&self, number: u64, term: u64) {
        let mut agreed = self.0.lock().expect("one thread");
        let first = *agreed.leaders.entry(term).or_insert(number);
        if first != number {
            let message = format!("n{number} and n{first} both lead in term {term}");
            agreed.broken.get_or_insert((evenkeel_check::raft::NAME, message));
        }
        while REMEMBERED < agreed.leaders.len() {
            agreed.leaders.pop_first();
        }
    }

    fn hash(&self, number: u64, at: (i64, i64), hash: u32) {
        let mut agreed = self.0.lock().expect("one thread");
        let (first, known) = *agreed.hashes.entry(at).or_insert((number, hash));
        if known != hash {
            let (compacted, revision) = at;
            let message = format!(
                "at revision {revision}, compacted at {compacted}, the hash of n{number} is {hash:08x} and that of \
                 n{first} {known:08x}"
            );
            agreed.broken.get_or_insert((evenkeel_check::state_hash::NAME, message));
        }
        while REMEMBERED < agreed.hashes.len() {
            agreed.hashes.pop_first();
        }
    }
}

/// One member's witness, and what it needs to ask.
pub struct Look {
    witness: Witness,
    page: Mutex<Page>,
    agreement: Arc<Agreement>,
    /// Entries that were counted as appended: those that were committed, since a process tells of no others.
    counted: AtomicU64,
}

impl Deref for Look {
    type Target = Witness;

    fn deref(&self) -> &Witness {
        &self.witness
    }
}

impl Look {
    /// Of the member with this number nothing is known yet.
    pub fn new(number: u64, feed: Feed, names: Names, agreement: Arc<Agreement>) -> Arc<Look> {
        Arc::new(Look {
            witness: Witness::new(number, feed, names),
            page: Mutex::default(),
            agreement,
            counted: AtomicU64::default(),
        })
    }

    /// Syncs of its log since it started.
    pub fn syncs(&self) -> u64 {
        self.page.lock().expect("one thread").syncs
    }

    /// Its process was started.
    pub fn started(&self) {
        *self.page.lock().expect("one thread") = Page::default();
        self.change(|seen| seen.fatal = None);
    }

    /// Looks at a member for as long as the process lives that `lives` tells of.
    pub async fn watch(self: Arc<Look>, connection: Connection, port: u16, lives: impl Fn() -> bool) {
        let time = self.feed.time().clone();
        let mut page_due = Duration::ZERO;
        while lives() {
            let next = time.now() + LOOK_INTERVAL;
            let mut service = connection.maintenance();
            let status = tokio::time::timeout(PATIENCE, service.status(pb::StatusRequest {})).await;
            if let Ok(Ok(status)) = status
                && lives()
            {
                let status = status.into_inner();
                self.tell(&status);
                if page_due <= time.now() {
                    page_due = time.now() + PAGE_INTERVAL;
                    self.page(&status, port).await;
                    self.hash(&connection).await;
                }
            }
            time.alarm(next).await;
        }
    }

    fn tell(&self, status: &pb::StatusResponse) {
        let header = status.header.unwrap_or_default();
        let (id, number) = (header.member_id, self.number.0);
        self.names.learn(number, id);
        self.names.learns(number, status.is_learner);
        let role = match status.leader {
            0 => Role::Candidate,
            leader if leader == id => Role::Leader,
            _ => Role::Follower,
        };
        let leader = Some(NodeId(status.leader)).filter(|leader| leader.0 != 0);
        let standing = Standing { term: Term(status.raft_term), role, leader };
        if role == Role::Leader {
            self.agreement.leads(number, status.raft_term);
        }
        let now = self.feed.now();
        self.agreement.commits(now, status.raft_index);
        self.change(|seen| {
            // A process that has just started knows little of what was committed; it was counted before.
            let counted = self.counted.fetch_max(status.raft_index, Ordering::Relaxed);
            if counted < status.raft_index {
                seen.appended(now, status.raft_index - counted);
            }
            seen.committed = status.raft_index;
            seen.applied = status.raft_applied_index;
            seen.revision = header.revision;
            seen.release = minor(&status.version);
            seen.storage = minor(&status.storage_version).or(seen.storage);
            seen.ready = true;
        });
        if self.standing() != standing {
            self.stands(standing);
        }
    }

    async fn page(&self, status: &pb::StatusResponse, port: u16) {
        let Ok(Ok(page)) = tokio::time::timeout(PATIENCE, Page::fetch(port)).await else { return };
        let before = std::mem::replace(&mut *self.page.lock().expect("one thread"), page.clone());
        for _ in before.leases_expired..page.leases_expired {
            self.happened("lease_expired", []);
        }
        let downgrade = status.downgrade_info.as_ref().is_some_and(|info| info.enabled);
        if page.cluster_version.is_some()
            && self.feed.agreed(status.raft_applied_index, page.cluster_version, downgrade)
        {
            self.feed.happened("downgrade.enabled", None);
        }
    }

    async fn hash(&self, connection: &Connection) {
        let mut service = connection.maintenance();
        let request = pb::HashKvRequest { revision: 0 };
        let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, service.hash_kv(request)).await else { return };
        let answer = answer.into_inner();
        self.agreement.hash(self.number.0, (answer.compact_revision, answer.hash_revision), answer.hash);
    }
}

/// The release in a version such as `3.6.11`.
fn minor(version: &str) -> Option<&'static str> {
    let is_meant = |release: &&Release| {
        version.strip_prefix(release.minor()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    Release::ALL.iter().find(is_meant).map(|release| release.minor())
}
