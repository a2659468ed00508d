//! Between the wire and the store: requests become commands and queries.
//!
//! Nothing is decided here. A request that has no meaning (an unknown sort order, an empty operation) is an error;
//! met in a log entry, which it cannot reach through our services, it becomes a command that the store refuses.
//!
//! The values in a decoded log entry are slices of its payload, so a value's place in the log is the payload's
//! place plus the slice's offset: see [`value_ref`]. The way back is in `compose`.

use bytes::Bytes;
use evenkeel_mvcc::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Error, Interval, Key, LeaseCheckpoint, LeaseId, Op,
    Put, RangeQuery, Revision, SortOrder, SortTarget, Txn, ValueRef,
};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_storage::Place;
use pb::compare::{CompareResult as PbResult, CompareTarget as PbTarget, TargetUnion};
use pb::request_op::Request as PbOp;

/// Where a value lies in the log, given the payload it was decoded from and where that lies.
///
/// Panics when `value` is not a slice of `payload`: then the decoder copied, and the place would be a lie.
pub fn value_ref(place: Place, payload: &Bytes, value: &Bytes) -> ValueRef {
    if value.is_empty() {
        return ValueRef::EMPTY;
    }
    assert_eq!(place.len as usize, payload.len(), "the place is the payload's");
    let offset = (value.as_ptr() as usize).wrapping_sub(payload.as_ptr() as usize);
    let inside = offset.checked_add(value.len()).is_some_and(|end| end <= payload.len());
    assert!(inside, "a value is a slice of its payload");
    ValueRef {
        segment: place.segment,
        offset: place.offset + offset as u32, // Fits: the payload does.
        len: value.len() as u32,
        crc: evenkeel_storage::value_crc(value),
    }
}

/// A value that has no place yet: enough to check a request before it is proposed.
pub fn unplaced(value: &Bytes) -> ValueRef {
    ValueRef { len: u32::try_from(value.len()).unwrap_or(u32::MAX), ..ValueRef::EMPTY }
}

/// The command in a log entry; `None` when the entry is about something other than keys and leases.
pub fn command(request: &pb::InternalRaftRequest, place: impl Fn(&Bytes) -> ValueRef) -> Option<Command> {
    if let Some(request) = &request.put {
        return Some(Command::Put(put(request, &place)));
    }
    if let Some(request) = &request.delete_range {
        return Some(Command::DeleteRange(delete_range(request)));
    }
    if let Some(request) = &request.txn {
        return Some(txn(request, &place).map_or_else(|_| refused(), Command::Txn));
    }
    if let Some(request) = &request.compaction {
        return Some(Command::Compact { revision: Revision(request.revision) });
    }
    if let Some(request) = &request.lease_grant {
        return Some(Command::LeaseGrant { id: LeaseId(request.id), ttl_seconds: request.ttl });
    }
    let granted_at = request.lease_granted_at;
    if let Some(request) = &request.lease_revoke {
        return Some(Command::LeaseRevoke { id: LeaseId(request.id), granted_at: index(granted_at) });
    }
    if let Some(request) = &request.lease_checkpoint {
        let checkpoints = request.checkpoints.iter().map(|checkpoint| LeaseCheckpoint {
            id: LeaseId(checkpoint.id),
            remaining_seconds: checkpoint.remaining_ttl,
            granted_at: index(checkpoint.granted_at),
        });
        return Some(Command::LeaseCheckpoint(checkpoints.collect()));
    }
    None
}

/// An index in an entry; 0 is none.
fn index(index: u64) -> Option<u64> {
    (index != 0).then_some(index)
}

/// What every store refuses: a put without a key.
fn refused() -> Command {
    Command::Put(put(&pb::PutRequest::default(), &unplaced))
}

/// A put.
pub fn put(request: &pb::PutRequest, place: &impl Fn(&Bytes) -> ValueRef) -> Put {
    Put {
        key: Key::from(&*request.key),
        value: place(&request.value),
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A deletion.
pub fn delete_range(request: &pb::DeleteRangeRequest) -> DeleteRange {
    DeleteRange { interval: Interval::from_wire(&request.key, &request.range_end), prev_kv: request.prev_kv }
}

/// A range. The key is looked at before the order, as etcd does.
pub fn range_query(request: &pb::RangeRequest) -> Result<RangeQuery, Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(RangeQuery {
        interval: Interval::from_wire(&request.key, &request.range_end),
        revision: request.revision,
        limit: request.limit,
        order: SortOrder::from_wire(request.sort_order)?,
        target: SortTarget::from_wire(request.sort_target)?,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod: request.min_mod_revision,
        max_mod: request.max_mod_revision,
        min_create: request.min_create_revision,
        max_create: request.max_create_revision,
    })
}

/// A transaction.
pub fn txn(request: &pb::TxnRequest, place: &impl Fn(&Bytes) -> ValueRef) -> Result<Txn, Error> {
    let ops = |ops: &[pb::RequestOp]| ops.iter().map(|request| op(request, place)).collect::<Result<Vec<_>, _>>();
    Ok(Txn {
        compare: request.compare.iter().map(compare).collect(),
        success: ops(&request.success)?,
        failure: ops(&request.failure)?,
    })
}

fn op(request: &pb::RequestOp, place: &impl Fn(&Bytes) -> ValueRef) -> Result<Op, Error> {
    Ok(match &request.request {
        Some(PbOp::RequestRange(request)) => Op::Range(range_query(request)?),
        Some(PbOp::RequestPut(request)) => Op::Put(put(request, place)),
        Some(PbOp::RequestDeleteRange(request)) => Op::DeleteRange(delete_range(request)),
        Some(PbOp::RequestTxn(request)) => Op::Txn(txn(request, place)?),
        None => return Err(Error::KeyNotFound), // etcd's answer to an empty operation.
    })
}

/// A comparison. A missing operand, or one of another kind, is zero, as in etcd. An unknown result means "equal" and
/// an unknown target the version; etcd lets such a comparison hold.
fn compare(request: &pb::Compare) -> Compare {
    let result = match PbResult::try_from(request.result) {
        Ok(PbResult::Equal) | Err(_) => CompareResult::Equal,
        Ok(PbResult::Greater) => CompareResult::Greater,
        Ok(PbResult::Less) => CompareResult::Less,
        Ok(PbResult::NotEqual) => CompareResult::NotEqual,
    };
    let operand = &request.target_union;
    let target = match PbTarget::try_from(request.target) {
        Ok(PbTarget::Version) | Err(_) => CompareTarget::Version(match operand {
            Some(TargetUnion::Version(version)) => *version,
            _ => 0,
        }),
        Ok(PbTarget::Create) => CompareTarget::Create(match operand {
            Some(TargetUnion::CreateRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(PbTarget::Mod) => CompareTarget::Mod(match operand {
            Some(TargetUnion::ModRevision(revision)) => *revision,
            _ => 0,
        }),
        Ok(PbTarget::Value) => CompareTarget::Value(match operand {
            Some(TargetUnion::Value(value)) => value.to_vec(),
            _ => Vec::new(),
        }),
        Ok(PbTarget::Lease) => CompareTarget::Lease(match operand {
            Some(TargetUnion::Lease(lease)) => *lease,
            _ => 0,
        }),
    };
    Compare { interval: Interval::from_wire(&request.key, &request.range_end), result, target }
}

/// True when all ranges of a transaction that only reads may be answered by one member alone.
pub fn is_serializable(request: &pb::TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).all(|op| match &op.request {
        Some(PbOp::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

/// True when a branch of the transaction, or of one inside it, puts something.
pub fn has_put(request: &pb::TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).any(|op| match &op.request {
        Some(PbOp::RequestPut(_)) => true,
        Some(PbOp::RequestTxn(nested)) => has_put(nested),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
