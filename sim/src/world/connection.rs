//! A client's way to one member: real service stubs, a deadline on every call, and every end of a call counted.
//!
//! A simulated gRPC port takes one request after the other: the next one only when the one before has come all the way.
//! Where there is more to do, a member listens on several ports ([`doors`]), and its clients take turns with them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_check::history::*;
use evenkeel_check::{LeaseId, MemberId};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::cluster_client::ClusterClient;
use evenkeel_proto::etcdserverpb::kv_client::KvClient;
use evenkeel_proto::etcdserverpb::lease_client::LeaseClient;
use evenkeel_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use evenkeel_proto::etcdserverpb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};

use super::wire;
use crate::timer::Time;

/// Clients' operations per second, of all of them, that one port of each member is for.
const RATE_PER_DOOR: f64 = 200.0;
/// Ports at most.
const DOORS_MAX: u16 = 16;

/// How many ports a member needs for so many operations per second.
pub fn doors(rate: f64) -> u16 {
    ((rate / RATE_PER_DOOR).ceil() as u16).clamp(1, DOORS_MAX)
}

/// What is odd about an answer, if anything: our requests are all valid, and no fault makes a server answer just anything.
fn oddity(request: &Request, status: &tonic::Status) -> Option<(tonic::Code, String)> {
    let odd = matches!(wire::failed(status), Outcome::Unknown(Doubt::Other) | Outcome::DefinitelyNot(Refusal::Invalid));
    let (code, text) = (status.code(), status.message());
    odd.then(|| (code, format!("to {request:?} no member may answer {code:?}: {text}")))
}

/// Stubs for one member.
#[derive(Clone)]
pub struct Connection {
    channels: Arc<[Channel]>,
    turn: Arc<AtomicUsize>,
    time: Time,
    odd: Arc<Mutex<Option<(tonic::Code, String)>>>,
}

impl Connection {
    /// Connects when first used, to the ports in turn.
    pub fn lazy(urls: &[String], time: Time) -> Connection {
        let channel = |url: &String| Endpoint::from_shared(url.clone()).expect("our own URL").connect_lazy();
        Connection { channels: urls.iter().map(channel).collect(), turn: Arc::default(), time, odd: Arc::default() }
    }

    /// The first answer that none of our requests, which are all valid, may get.
    pub fn odd(&self) -> Option<(tonic::Code, String)> {
        self.odd.lock().expect("one thread").clone()
    }

    fn channel(&self) -> Channel {
        self.channels[self.turn.fetch_add(1, Ordering::Relaxed) % self.channels.len()].clone()
    }

    /// The watch stub.
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel())
    }

    /// The membership stub.
    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }

    /// The maintenance stub.
    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel())
    }

    /// Asks for the hash of the whole history.
    pub async fn hash_kv(&self, patience: Duration) -> Result<pb::HashKvResponse, String> {
        let mut stub = self.maintenance();
        match self.bounded(Box::pin(stub.hash_kv(pb::HashKvRequest { revision: 0 })), patience).await {
            None => Err("no answer to HashKV".to_owned()),
            Some(Err(status)) => Err(status.to_string()),
            Some(Ok(answer)) => Ok(answer.into_inner()),
        }
    }

    /// Sends one request and tells how it ended. A call that takes longer than `patience` is given up: a cut link
    /// never gives an error, it is just silent.
    pub async fn call(
        &self,
        request: &Request,
        patience: Duration,
        member: &(impl Fn(&pb::ResponseHeader) -> MemberId + Sync),
    ) -> Outcome {
        // On the heap: by value it would lie in every future above it, twice in some.
        let sent = Box::pin(self.send(request, member));
        match self.bounded(sent, patience).await {
            None => Outcome::Unknown(Doubt::Timeout),
            Some(Ok((header, body))) => Outcome::Ok(header, body),
            Some(Err(status)) => {
                if let Some(odd) = oddity(request, &status) {
                    // A value that cannot be read may have its reason: anything else counts more.
                    let mut first = self.odd.lock().expect("one thread");
                    if first.as_ref().is_none_or(|(known, _)| *known == tonic::Code::DataLoss) {
                        *first = Some(odd);
                    }
                }
                wire::failed(&status)
            }
        }
    }

    async fn bounded<T>(&self, mut work: Pin<Box<impl Future<Output = T>>>, patience: Duration) -> Option<T> {
        tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = self.time.sleep(patience) => None,
        }
    }

    async fn send(
        &self,
        request: &Request,
        member: &(impl Fn(&pb::ResponseHeader) -> MemberId + Sync),
    ) -> Result<(Header, Body), tonic::Status> {
        let channel = self.channel();
        let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel));
        Ok(match request {
            Request::Put(put) => {
                let reply = kv.put(wire::put(put)).await?.into_inner();
                (wire::header(reply.header.as_ref(), member), Body::Put(wire::put_reply(reply)))
            }
            Request::Range(range) => {
                let reply = kv.range(wire::range(range)).await?.into_inner();
                (wire::header(reply.header.as_ref(), member), Body::Range(wire::range_reply(reply)))
            }
            Request::DeleteRange(delete) => {
                let reply = kv.delete_range(wire::delete(delete)).await?.into_inner();
                (wire::header(reply.header.as_ref(), member), Body::DeleteRange(wire::delete_reply(reply)))
            }
            Request::Txn(txn) => {
                let reply = kv.txn(wire::txn(txn)).await?.into_inner();
                let header = wire::header(reply.header.as_ref(), member);
                let reply = wire::txn_reply(reply).ok_or_else(|| tonic::Status::internal("an incomplete answer"))?;
                (header, Body::Txn(reply))
            }
            Request::Compact { revision } => {
                let request = pb::CompactionRequest { revision: revision.0, physical: false };
                let reply = kv.compact(request).await?.into_inner();
                (wire::header(reply.header.as_ref(), member), Body::Compact)
            }
            Request::LeaseGrant { lease: id, ttl } => {
                let reply = lease.lease_grant(pb::LeaseGrantRequest { id: id.0, ttl: *ttl }).await?.into_inner();
                let body = Body::LeaseGrant { lease: LeaseId(reply.id), ttl: reply.ttl };
                (wire::header(reply.header.as_ref(), member), body)
            }
            Request::LeaseRevoke { lease: id } => {
                let reply = lease.lease_revoke(pb::LeaseRevokeRequest { id: id.0 }).await?.into_inner();
                (wire::header(reply.header.as_ref(), member), Body::LeaseRevoke)
            }
            Request::LeaseKeepAlive { lease: id } => {
                let requests = futures_util::stream::iter([pb::LeaseKeepAliveRequest { id: id.0 }]);
                let mut stream = lease.lease_keep_alive(requests).await?.into_inner();
                let reply = stream.message().await?;
                let reply = reply.ok_or_else(|| tonic::Status::unavailable("the stream ended"))?;
                let body = Body::LeaseKeepAlive { ttl: reply.ttl };
                (wire::header(reply.header.as_ref(), member), body)
            }
            Request::LeaseTimeToLive { lease: id, keys } => {
                let request = pb::LeaseTimeToLiveRequest { id: id.0, keys: *keys };
                let reply = lease.lease_time_to_live(request).await?.into_inner();
                let header = wire::header(reply.header.as_ref(), member);
                let body = Body::LeaseTimeToLive { ttl: reply.ttl, granted: reply.granted_ttl, keys: reply.keys };
                (header, body)
            }
            Request::LeaseLeases => {
                let reply = lease.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
                let leases = reply.leases.into_iter().map(|lease| LeaseId(lease.id)).collect();
                (wire::header(reply.header.as_ref(), member), Body::LeaseLeases { leases })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};

    #[test]
    fn an_answer_that_no_member_may_give_is_caught() {
        for (code, text, odd) in [
            (Code::Internal, "etcdserver: something broke", true),
            (Code::Unknown, "context canceled", true),
            (Code::DataLoss, "a value cannot be read", true),
            (Code::InvalidArgument, "etcdserver: key is not provided", true),
            (Code::Unavailable, "etcdserver: no leader", false),
            (Code::DeadlineExceeded, "too late", false),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", false),
            (Code::NotFound, "etcdserver: requested lease not found", false),
            (Code::Unknown, "error reading a body from connection", false),
        ] {
            let found = oddity(&Request::LeaseLeases, &Status::new(code, text));
            assert_eq!(found.is_some(), odd, "{code:?} {text}: {found:?}");
        }
    }
}
