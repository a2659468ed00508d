//! Who is who: the servers' 64-bit ids against the numbers n1, n2, …, and operations by the values they put.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use evenkeel_check::history::Request;
use evenkeel_check::model::Write;
use evenkeel_check::observation::Cause;
use evenkeel_check::{MemberId, OpId};

/// See the module's text.
#[derive(Clone)]
pub struct Names {
    ids: Arc<Vec<u64>>,
    writers: Arc<Mutex<BTreeMap<Bytes, OpId>>>,
}

impl Names {
    /// Names for members with these ids, n1 first.
    pub fn new(ids: Vec<u64>) -> Names {
        Names { ids: Arc::new(ids), writers: Arc::default() }
    }

    /// The number of the member with this id; 0 when there is none.
    pub fn number(&self, id: u64) -> u64 {
        self.ids.iter().position(|known| *known == id).map_or(0, |at| at as u64 + 1)
    }

    /// The same as the history names it.
    pub fn member(&self, id: u64) -> MemberId {
        MemberId(self.number(id))
    }

    /// The id of the member with this number.
    pub fn id(&self, number: u64) -> u64 {
        self.ids[number as usize - 1]
    }

    /// The number of members.
    pub fn count(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Notes who puts the values of a request.
    pub fn called(&self, op: OpId, request: &Request) {
        let mut writers = self.writers.lock().expect("one thread");
        request.visit_puts(&mut |put| {
            writers.insert(put.value.clone(), op);
        });
    }

    /// Who caused these writes, as far as their values tell.
    pub fn cause(&self, writes: &[Write]) -> Cause {
        let writers = self.writers.lock().expect("one thread");
        let named = writes.iter().filter_map(|write| write.live.as_ref());
        named.into_iter().find_map(|live| writers.get(&live.value).copied()).map_or(Cause::Unknown, Cause::Operation)
    }
}
