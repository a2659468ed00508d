//! A client's way to one member: real service stubs, a deadline on every call, and every end of a call counted.

use std::future::Future;
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
use crate::timer::SimTime;

/// Stubs for one member.
#[derive(Clone)]
pub struct Connection {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    watch: WatchClient<Channel>,
    cluster: ClusterClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    time: SimTime,
}

impl Connection {
    /// Connects when first used.
    pub fn lazy(url: &str, time: SimTime) -> Connection {
        let channel = Endpoint::from_shared(url.to_owned()).expect("our own URL").connect_lazy();
        Connection {
            kv: KvClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            watch: WatchClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel),
            time,
        }
    }

    /// The watch stub.
    pub fn watch(&self) -> WatchClient<Channel> {
        self.watch.clone()
    }

    /// The membership stub.
    pub fn cluster(&self) -> ClusterClient<Channel> {
        self.cluster.clone()
    }

    /// The maintenance stub.
    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        self.maintenance.clone()
    }

    /// Sends one request and tells how it ended. A call that takes longer than `patience` is given up: a cut link
    /// never gives an error, it is just silent.
    pub async fn call(
        &self,
        request: &Request,
        patience: Duration,
        member: &(impl Fn(u64) -> MemberId + Sync),
    ) -> Outcome {
        let bounded = self.bounded(self.send(request, member), patience).await;
        match bounded {
            None => Outcome::Unknown(Doubt::Timeout),
            Some(Ok((header, body))) => Outcome::Ok(header, body),
            Some(Err(status)) => wire::failed(&status),
        }
    }

    async fn bounded<T>(&self, work: impl Future<Output = T>, patience: Duration) -> Option<T> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = self.time.sleep(patience) => None,
        }
    }

    async fn send(
        &self,
        request: &Request,
        member: &(impl Fn(u64) -> MemberId + Sync),
    ) -> Result<(Header, Body), tonic::Status> {
        let (mut kv, mut lease) = (self.kv.clone(), self.lease.clone());
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
        })
    }
}
