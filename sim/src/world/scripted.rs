//! The listed operations of a group: each is sent at its time by a client of its own.
//!
//! Nothing is drawn but a member where none is named. So one operation can be taken from the list without changing what
//! the others ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use evenkeel_check::history::*;
use evenkeel_check::{LeaseId, MemberId, Revision};
use evenkeel_scenario::Selector;
use evenkeel_scenario::ops::{self, Ask, Of, Op, When};

use super::client::Client;
use super::{watcher, wire};

/// The leases of a group by the names its operations give them.
pub type Leases = Arc<Mutex<BTreeMap<String, LeaseId>>>;

/// Waits for the time of one operation and does it.
pub async fn play(client: Client, op: Op, leases: Leases) {
    client.shared.feed.time().alarm(op.at.to_std()).await;
    if client.stopped() {
        return;
    }
    let member = match op.on {
        Selector::Node(number) => MemberId(number),
        Selector::Leader => client.leader().unwrap_or_else(|| client.any_voter()),
        _ => client.any_voter(),
    };
    let scripted = Scripted { client, member, leases };
    scripted.ask(op.ask).await;
}

struct Scripted {
    client: Client,
    member: MemberId,
    leases: Leases,
}

impl Scripted {
    fn newest(&self) -> i64 {
        self.client.shared.newest.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn lease(&self, name: &str) -> Option<LeaseId> {
        self.leases.lock().expect("one thread").get(name).copied()
    }

    async fn call(&self, request: Request) -> Outcome {
        self.client.call(self.member, request).await.1
    }

    async fn ask(self, ask: Ask) {
        // A lease that was never granted leaves nothing to ask.
        let request = match ask {
            Ask::Put { lease: Some(name), .. } | Ask::KeepAlive(name) | Ask::Revoke(name) | Ask::TimeToLive(name)
                if self.lease(&name).is_none() =>
            {
                self.client.shared.feed.happened("lease_unknown", None);
                return;
            }
            Ask::Watch(watch) => return self.watch(watch).await,
            Ask::Cas { key, delete } => return self.compare_and_swap(key.into(), delete).await,
            Ask::Grant { name, ttl, id } => {
                if id != 0 {
                    self.leases.lock().expect("one thread").insert(name.clone(), LeaseId(id));
                }
                let outcome = self.call(Request::LeaseGrant { lease: LeaseId(id), ttl }).await;
                if let Outcome::Ok(_, Body::LeaseGrant { lease, .. }) = outcome {
                    self.leases.lock().expect("one thread").insert(name, lease);
                }
                return;
            }
            Ask::KeepAlive(name) => Request::LeaseKeepAlive { lease: self.lease(&name).expect("looked up above") },
            Ask::Revoke(name) => Request::LeaseRevoke { lease: self.lease(&name).expect("looked up above") },
            Ask::TimeToLive(name) => {
                Request::LeaseTimeToLive { lease: self.lease(&name).expect("looked up above"), keys: true }
            }
            Ask::Leases => Request::LeaseLeases,
            Ask::Compact(when) => match Revision(when.revision(self.newest())) {
                revision if revision.0 <= 1 => return,
                revision => Request::Compact { revision },
            },
            Ask::Read(read) => Request::Range(self.read(&read)),
            Ask::Delete { keys, prev_kv } => Request::DeleteRange(DeleteRange { keys: range_of(&keys), prev_kv }),
            Ask::Txn(txn) => Request::Txn(self.txn(&txn)),
            Ask::Put { key, lease, size, prev_kv } => {
                let lease = lease.and_then(|name| self.lease(&name)).unwrap_or(LeaseId::NONE);
                Request::Put(Put { key: key.into(), value: self.value(size), lease, prev_kv })
            }
        };
        self.call(request).await;
    }

    fn value(&self, size: u64) -> Bytes {
        let sequence = self.client.values.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        wire::unique_value(self.client.id.0, sequence, size as usize)
    }

    fn read(&self, read: &ops::Read) -> Range {
        let mut range = Range::of(range_of(&read.keys));
        range.revision = Revision(read.when.revision(self.newest()));
        range.limit = read.limit;
        range.serializable = read.serializable;
        range.count_only = read.count_only;
        range.keys_only = read.keys_only;
        if read.descending {
            (range.sort_order, range.sort_target) = (SortOrder::Descend, SortTarget::Modified);
        }
        range
    }

    fn txn(&self, txn: &ops::Txn) -> Txn {
        let op = |ask: &Ask| match ask {
            Ask::Put { key, lease, size, prev_kv } => Some(TxnOp::Put(Put {
                key: key.clone().into(),
                value: self.value(*size),
                lease: lease.as_ref().and_then(|name| self.lease(name)).unwrap_or(LeaseId::NONE),
                prev_kv: *prev_kv,
            })),
            Ask::Read(read) => Some(TxnOp::Range(self.read(read))),
            Ask::Delete { keys, prev_kv } => {
                Some(TxnOp::DeleteRange(DeleteRange { keys: range_of(keys), prev_kv: *prev_kv }))
            }
            Ask::Txn(inner) => Some(TxnOp::Txn(Box::new(self.txn(inner)))),
            _ => None,
        };
        Txn {
            compares: txn.guards.iter().map(compare).collect(),
            success: txn.then.iter().filter_map(op).collect(),
            failure: txn.otherwise.iter().filter_map(op).collect(),
        }
    }

    async fn compare_and_swap(&self, key: Bytes, delete: bool) {
        let keys = KeyRange::one(key.clone());
        let seen = self.call(Request::Range(Range::of(keys.clone()))).await;
        let Outcome::Ok(_, Body::Range(reply)) = &seen else { return };
        let modified = reply.kvs.first().map_or(Revision(0), |kv| kv.modified);
        let change = if delete {
            TxnOp::DeleteRange(DeleteRange { keys: keys.clone(), prev_kv: false })
        } else {
            let value = self.value(ops::SIZE_DEFAULT);
            TxnOp::Put(Put { key, value, ..Put::default() })
        };
        let target = Target::Modified(modified);
        let compares = vec![Compare { keys: keys.clone(), relation: Relation::Equal, target }];
        let failure = vec![TxnOp::Range(Range::of(keys))];
        self.call(Request::Txn(Txn { compares, success: vec![change], failure })).await;
    }

    async fn watch(self, watch: ops::WatchFor) {
        let start = match watch.when {
            When::Ahead(ahead) => self.newest() + ahead.max(1),
            when => when.revision(self.newest()),
        };
        let request = WatchRequest {
            keys: range_of(&watch.keys),
            start: Revision(start),
            filters: WatchFilters { no_put: watch.no_put, no_delete: watch.no_delete },
            prev_kv: watch.prev_kv,
            progress_notify: watch.progress,
            fragment: watch.fragment,
        };
        let until = self.client.shared.feed.now() + watch.hold.to_std();
        watcher::follow(&self.client, vec![request], watcher::Pace::STEADY, until, Some(self.member)).await;
    }
}

fn range_of(keys: &ops::Keys) -> KeyRange {
    KeyRange { key: keys.from.clone().into(), end: keys.to.clone().into() }
}

fn compare(guard: &ops::Guard) -> Compare {
    let relation = match guard.relation {
        ops::Relation::Equal => Relation::Equal,
        ops::Relation::Greater => Relation::Greater,
        ops::Relation::Less => Relation::Less,
        ops::Relation::NotEqual => Relation::NotEqual,
    };
    let target = match guard.of {
        Of::Version => Target::Version(guard.number),
        Of::Created => Target::Created(Revision(guard.number)),
        Of::Modified => Target::Modified(Revision(guard.number)),
    };
    Compare { keys: KeyRange::one(guard.key.clone()), relation, target }
}
