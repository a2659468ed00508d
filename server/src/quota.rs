//! The space quota: what a request would add, and the alarm that stops writes when it is used up.
//!
//! Counted are live bytes, keys and values of all stored versions: compaction and deletion make room at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::request_op::Request;

use crate::env::point;
use crate::error::RequestError;
use crate::member::Member;

/// What a put costs beside its key and value (etcd's figure).
const PUT_OVERHEAD_BYTES: u64 = 256;
/// What a lease costs (etcd's figure).
const LEASE_BYTES: u64 = 64;

/// Keeps one alarm on its way at a time.
#[derive(Default)]
pub struct Quota {
    raising: AtomicBool,
}

/// What a request would add to the store; none for those that are always allowed.
pub fn cost(request: &pb::InternalRaftRequest) -> Option<u64> {
    if let Some(put) = &request.put {
        return Some(put_cost(put));
    }
    if let Some(txn) = &request.txn {
        return Some(txn_cost(txn)).filter(|cost| 0 < *cost);
    }
    request.lease_grant.as_ref().map(|_| LEASE_BYTES)
}

fn put_cost(put: &pb::PutRequest) -> u64 {
    put.key.len() as u64 + put.value.len() as u64 + PUT_OVERHEAD_BYTES
}

/// The dearer branch, nested transactions included.
fn txn_cost(txn: &pb::TxnRequest) -> u64 {
    let branch = |ops: &[pb::RequestOp]| {
        ops.iter()
            .map(|op| match &op.request {
                Some(Request::RequestPut(put)) => put_cost(put),
                Some(Request::RequestTxn(txn)) => txn_cost(txn),
                _ => 0,
            })
            .sum::<u64>()
    };
    branch(&txn.success).max(branch(&txn.failure))
}

impl Member {
    /// Refuses a request that does not fit into the quota any more, and raises the alarm.
    pub(crate) fn check_quota(&self, request: &pb::InternalRaftRequest) -> Result<(), RequestError> {
        let Some((quota, cost)) = self.config().quota_backend_bytes.zip(cost(request)) else { return Ok(()) };
        if self.live_bytes() + cost < quota {
            return Ok(());
        }
        if let Some(member) = self.handle()
            && !self.quota().raising.swap(true, Ordering::Relaxed)
        {
            tokio::spawn(raise(member));
        }
        Err(RequestError::NoSpace)
    }
}

async fn raise(member: Arc<Member>) {
    let alarm = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate as i32,
        member_id: member.ids().member,
        alarm: pb::AlarmType::Nospace as i32,
    };
    tracing::warn!("the space quota is used up: compact and delete, then disarm the alarm, or raise the quota");
    let request = pb::InternalRaftRequest { alarm: Some(alarm), ..Default::default() };
    point!(member.env(), "alarm.before_raise");
    if let Err(error) = member.propose(request).await {
        tracing::warn!(%error, "the space alarm could not be raised; the next refused request tries again");
    }
    member.quota().raising.store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: usize) -> pb::PutRequest {
        pb::PutRequest { key: "k".into(), value: vec![0; bytes].into(), ..Default::default() }
    }

    fn op(request: Request) -> pb::RequestOp {
        pb::RequestOp { request: Some(request) }
    }

    #[test]
    fn a_transaction_costs_its_dearer_branch_with_nested_ones() {
        let nested = pb::TxnRequest { success: vec![op(Request::RequestPut(put(1000)))], ..Default::default() };
        let txn = pb::TxnRequest {
            success: vec![op(Request::RequestPut(put(10)))],
            failure: vec![op(Request::RequestTxn(nested))],
            ..Default::default()
        };
        let request = pb::InternalRaftRequest { txn: Some(txn), ..Default::default() };
        assert_eq!(cost(&request), Some(1 + 1000 + PUT_OVERHEAD_BYTES));
    }

    #[test]
    fn deletes_compactions_and_reads_cost_nothing() {
        let delete = pb::InternalRaftRequest { delete_range: Some(Default::default()), ..Default::default() };
        let compact = pb::InternalRaftRequest { compaction: Some(Default::default()), ..Default::default() };
        let txn = pb::InternalRaftRequest { txn: Some(Default::default()), ..Default::default() };
        for request in [delete, compact, txn] {
            assert_eq!(cost(&request), None);
        }
    }
}
