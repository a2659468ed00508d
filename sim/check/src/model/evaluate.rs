//! What an operation answers and writes, computed from the state before it.
//!
//! A transaction's guards, nested ones included, look at the state before the whole transaction; its operations see
//! what earlier ones of the same transaction wrote. All its writes share one revision.

use bytes::Bytes;

use super::{Live, Model, Write};
use crate::history::*;
use crate::ids::*;

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Its answer.
    pub body: Body,
    /// Its changes, in order. Empty: the revision stays.
    pub writes: Vec<Write>,
}

/// A state with the changes of the running operation on top.
pub(super) struct Overlay<'a> {
    pub(super) model: &'a Model,
    /// The state before the operation.
    pub(super) before: Revision,
    pub(super) writes: Vec<Write>,
}

impl Model {
    /// What the operation does in the state after `before`. `None` for operations that neither read nor write keys,
    /// and for those the store would refuse there. Where several answers are right, the one most like `like` is given.
    pub fn evaluate(&self, before: Revision, request: &Request, like: Option<&Body>) -> Option<Effect> {
        let mut state = Overlay { model: self, before, writes: Vec::new() };
        let body = match request {
            Request::Put(put) => Body::Put(state.put(put)),
            Request::Range(range) => {
                let like = if let Some(Body::Range(like)) = like { Some(like) } else { None };
                Body::Range(state.range(range, like)?)
            }
            Request::DeleteRange(delete) => Body::DeleteRange(state.delete(delete)),
            Request::Txn(txn) => {
                let like = if let Some(Body::Txn(like)) = like { Some(like) } else { None };
                Body::Txn(state.txn(txn, like)?)
            }
            Request::LeaseRevoke { lease } => {
                state.revoke(*lease);
                Body::LeaseRevoke
            }
            _ => return None,
        };
        Some(Effect { body, writes: state.writes })
    }
}

impl Overlay<'_> {
    fn next(&self) -> Revision {
        self.before.next()
    }

    fn get(&self, key: &[u8]) -> Option<(Revision, &Live)> {
        match self.writes.iter().rev().find(|write| write.key == key) {
            Some(write) => write.live.as_ref().map(|live| (self.next(), live)),
            None => self.model.get(key, self.before),
        }
    }

    fn put(&mut self, put: &Put) -> PutReply {
        let old = self.get(&put.key);
        let live = Live {
            value: put.value.clone(),
            created: old.map_or(self.next(), |(_, live)| live.created),
            version: old.map_or(1, |(_, live)| live.version + 1),
            lease: put.lease,
        };
        let prev_kv = if put.prev_kv { old.map(|(modified, live)| live.row(&put.key, modified)) } else { None };
        self.writes.push(Write { key: put.key.clone(), live: Some(live) });
        PutReply { prev_kv }
    }

    fn delete(&mut self, delete: &DeleteRange) -> DeleteReply {
        let rows = self.rows(&delete.keys);
        let deleted = rows.len() as i64;
        self.writes.extend(rows.iter().map(|row| Write { key: row.key.clone(), live: None }));
        DeleteReply { deleted, prev_kvs: if delete.prev_kv { rows } else { Vec::new() } }
    }

    fn revoke(&mut self, lease: LeaseId) {
        let keys: Vec<Bytes> = self.model.attached(lease, self.before).cloned().collect();
        self.writes.extend(keys.into_iter().map(|key| Write { key, live: None }));
    }

    fn txn(&mut self, txn: &Txn, like: Option<&TxnReply>) -> Option<TxnReply> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let replies = branch
            .iter()
            .enumerate()
            .map(|(n, op)| {
                Some(match (op, like.and_then(|like| like.replies.get(n))) {
                    (TxnOp::Put(put), _) => TxnOpReply::Put(self.put(put)),
                    (TxnOp::Range(range), Some(TxnOpReply::Range(like))) => {
                        TxnOpReply::Range(self.range(range, Some(like))?)
                    }
                    (TxnOp::Range(range), _) => TxnOpReply::Range(self.range(range, None)?),
                    (TxnOp::DeleteRange(delete), _) => TxnOpReply::DeleteRange(self.delete(delete)),
                    (TxnOp::Txn(txn), Some(TxnOpReply::Txn(like))) => TxnOpReply::Txn(self.txn(txn, Some(like))?),
                    (TxnOp::Txn(txn), _) => TxnOpReply::Txn(self.txn(txn, None)?),
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(TxnReply { succeeded, replies })
    }

    /// Guards see the state before the transaction, not the overlay.
    fn holds(&self, compare: &Compare) -> bool {
        let mut rows = self.model.rows(&compare.keys, self.before).peekable();
        if rows.peek().is_none() {
            return match &compare.target {
                Target::Value(_) => false,
                Target::Version(wanted) => related(compare.relation, &0, wanted),
                Target::Created(wanted) | Target::Modified(wanted) => related(compare.relation, &Revision(0), wanted),
                Target::Lease(wanted) => related(compare.relation, &LeaseId::NONE, wanted),
            };
        }
        rows.all(|(_, modified, live)| match &compare.target {
            Target::Value(wanted) => related(compare.relation, &live.value, wanted),
            Target::Version(wanted) => related(compare.relation, &live.version, wanted),
            Target::Created(wanted) => related(compare.relation, &live.created, wanted),
            Target::Modified(wanted) => related(compare.relation, &modified, wanted),
            Target::Lease(wanted) => related(compare.relation, &live.lease, wanted),
        })
    }
}

fn related<T: Ord>(relation: Relation, stored: &T, wanted: &T) -> bool {
    match relation {
        Relation::Equal => stored == wanted,
        Relation::NotEqual => stored != wanted,
        Relation::Greater => stored > wanted,
        Relation::Less => stored < wanted,
    }
}
