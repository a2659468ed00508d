//! Who is who: the servers' 64-bit ids against the numbers n1, n2, …, who takes part at present, and operations by the
//! values they put.
//!
//! A number is a machine. Its member's id may change when the machine's disk is replaced; the old id still names it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use evenkeel::version::Release;
use evenkeel_check::history::Request;
use evenkeel_check::model::Write;
use evenkeel_check::observation::Cause;
use evenkeel_check::{MemberId, OpId};
use evenkeel_proto::etcdserverpb::ResponseHeader;

/// See the module's text.
#[derive(Clone, Default)]
pub struct Names {
    people: Arc<Mutex<People>>,
    writers: Arc<Mutex<Writers>>,
}

/// Values whose writers are remembered: the newest.
const VALUES_KEPT: usize = 1 << 16;

/// Who puts which value.
#[derive(Default)]
struct Writers {
    by_value: BTreeMap<Bytes, OpId>,
    /// Oldest first.
    order: VecDeque<Bytes>,
}

impl Writers {
    fn insert(&mut self, value: Bytes, op: OpId) {
        if self.by_value.insert(value.clone(), op).is_none() {
            self.order.push_back(value);
        }
        if VALUES_KEPT < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_value.remove(&oldest);
        }
    }
}

#[derive(Default)]
struct People {
    /// Every id there ever was.
    numbers: BTreeMap<u64, u64>,
    /// The newest id of each machine.
    ids: BTreeMap<u64, u64>,
    /// Machines that are members, as far as the script knows.
    present: BTreeSet<u64>,
    /// Machines that the newest configuration has as learners.
    learners: BTreeSet<u64>,
    /// The id of the cluster, as the first answer had it.
    cluster: Option<u64>,
    /// Another one, of a later answer.
    stray: Option<u64>,
}

impl Names {
    /// Names for members with these ids, n1 first.
    pub fn new(ids: Vec<u64>) -> Names {
        let names = Names::default();
        for (number, id) in (1..).zip(ids) {
            names.learn(number, id);
            names.joined(number);
        }
        names
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().expect("one thread")
    }

    /// The number of the member with this id; 0 when there is none.
    pub fn number(&self, id: u64) -> u64 {
        self.people().numbers.get(&id).copied().unwrap_or(0)
    }

    /// The same as the history names it.
    pub fn member(&self, id: u64) -> MemberId {
        MemberId(self.number(id))
    }

    /// Who signed an answer. All answers of a run are one cluster's.
    pub fn signer(&self, header: &ResponseHeader) -> MemberId {
        let mut people = self.people();
        if *people.cluster.get_or_insert(header.cluster_id) != header.cluster_id {
            people.stray = Some(header.cluster_id);
        }
        drop(people);
        self.member(header.member_id)
    }

    /// The id of a cluster, in some answer, that is not the one of the first answer; with that.
    pub fn stray(&self) -> Option<(u64, u64)> {
        let people = self.people();
        people.stray.zip(people.cluster)
    }

    /// As [`Names::member`], but whoever has been replaced on its machine is told apart from who is there now.
    pub fn known_as(&self, id: u64) -> MemberId {
        let member = self.member(id);
        if member == MemberId(0) || self.id(member.0) == id { member } else { member.before() }
    }

    /// The id of the member with this number; 0 when it never had one.
    pub fn id(&self, number: u64) -> u64 {
        self.people().ids.get(&number).copied().unwrap_or(0)
    }

    /// The machine's member has this id from now on. Whether it had another one before.
    pub fn learn(&self, number: u64, id: u64) -> bool {
        let mut people = self.people();
        people.numbers.insert(id, number);
        people.ids.insert(number, id).is_some_and(|before| before != id)
    }

    /// The machine is one of the cluster's.
    pub fn joined(&self, number: u64) {
        self.people().present.insert(number);
    }

    /// It is one no more.
    pub fn left(&self, number: u64) {
        self.people().present.remove(&number);
    }

    /// Who does not vote, by the newest configuration anybody has.
    pub fn set_learners(&self, learners: BTreeSet<u64>) {
        self.people().learners = learners;
    }

    /// Whether this one votes.
    pub fn learns(&self, number: u64, learner: bool) {
        let learners = &mut self.people().learners;
        if learner {
            learners.insert(number);
        } else {
            learners.remove(&number);
        }
    }

    /// The numbers of all members, in order.
    pub fn present(&self) -> Vec<u64> {
        self.people().present.iter().copied().collect()
    }

    /// The numbers of all members that are no learners.
    pub fn voters(&self) -> Vec<u64> {
        let people = self.people();
        people.present.difference(&people.learners).copied().collect()
    }

    /// Notes who puts the values of a request.
    pub fn called(&self, op: OpId, request: &Request) {
        let mut writers = self.writers.lock().expect("one thread");
        request.visit_puts(&mut |put| {
            writers.insert(put.value.clone(), op);
        });
    }

    /// Who puts this value.
    pub fn writer(&self, value: &[u8]) -> Option<OpId> {
        self.writers.lock().expect("one thread").by_value.get(value).copied()
    }

    /// Who caused these writes, as far as their values tell.
    pub fn cause(&self, writes: &[Write]) -> Cause {
        let writers = self.writers.lock().expect("one thread");
        let named = writes.iter().filter_map(|write| write.live.as_ref());
        named
            .into_iter()
            .find_map(|live| writers.by_value.get(&live.value).copied())
            .map_or(Cause::Unknown, Cause::Operation)
    }
}

/// The server's word for a release level.
pub fn release(level: evenkeel_scenario::cluster::Release) -> Release {
    match level {
        evenkeel_scenario::cluster::Release::V3_5 => Release::V3_5,
        evenkeel_scenario::cluster::Release::V3_6 => Release::V3_6,
        evenkeel_scenario::cluster::Release::V3_7 => Release::V3_7,
    }
}
