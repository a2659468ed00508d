//! What clients' requests have to do with leases.

use crate::history::*;
use crate::ids::*;

/// What a request has to do with leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseCall {
    /// A grant; id 0 lets the server choose.
    Grant(LeaseId, i64),
    /// A revoke.
    Revoke(LeaseId),
    /// A keep-alive.
    KeepAlive(LeaseId),
    /// A time-to-live, and whether it asks for the keys.
    TimeToLive(LeaseId, bool),
    /// A list of all leases.
    Leases,
    /// A put that attaches.
    Attach(LeaseId),
    /// A transaction with puts that attach.
    Txn(Box<Txn>),
    /// A linearizable read of the newest state.
    Read,
    /// Nothing.
    Other,
}

impl LeaseCall {
    /// What this request has to do with leases.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::LeaseGrant { lease, ttl } => LeaseCall::Grant(*lease, *ttl),
            Request::LeaseRevoke { lease } => LeaseCall::Revoke(*lease),
            Request::LeaseKeepAlive { lease } => LeaseCall::KeepAlive(*lease),
            Request::LeaseTimeToLive { lease, keys } => LeaseCall::TimeToLive(*lease, *keys),
            Request::LeaseLeases => LeaseCall::Leases,
            Request::Put(put) if put.lease != LeaseId::NONE => LeaseCall::Attach(put.lease),
            Request::Txn(txn) if !named(txn).is_empty() => LeaseCall::Txn(Box::new(txn.clone())),
            Request::Range(range) if !range.serializable && range.revision.0 <= 0 => LeaseCall::Read,
            _ => LeaseCall::Other,
        }
    }
}

/// The leases that puts of a transaction name, in either branch.
pub(super) fn named(txn: &Txn) -> Vec<LeaseId> {
    let mut leases = Vec::new();
    txn.visit(&mut |op| match op {
        TxnOp::Put(put) if put.lease != LeaseId::NONE => leases.push(put.lease),
        _ => {}
    });
    leases.sort_unstable();
    leases.dedup();
    leases
}

/// The leases that the transaction attached keys to, by its answer.
pub(super) fn attached(txn: &Txn, reply: &TxnReply) -> Vec<LeaseId> {
    let branch = if reply.succeeded { &txn.success } else { &txn.failure };
    let each = branch.iter().zip(&reply.replies).flat_map(|both| match both {
        (TxnOp::Put(put), TxnOpReply::Put(_)) if put.lease != LeaseId::NONE => vec![put.lease],
        (TxnOp::Txn(inner), TxnOpReply::Txn(reply)) => attached(inner, reply),
        _ => Vec::new(),
    });
    each.collect()
}
