//! The Lease service. Grants and revocations go through the log; renewals go to the leader's clock.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::lease_server::Lease;
use futures_core::Stream;
use futures_util::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::rpc::{self, Answers, Ending, Method, Source};
use crate::error::RequestError;
use crate::member::Member;

const SERVICE: &str = "etcdserverpb.Lease";

/// The longest time to live: what etcd allows.
pub const LEASE_TTL_MAX_SECONDS: i64 = 9_000_000_000;

/// The shortest time to live: a lease must outlive an election.
pub fn lease_ttl_min_seconds(election_timeout: Duration) -> i64 {
    let nanos = election_timeout.as_nanos() * 3 / 2;
    i64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(LEASE_TTL_MAX_SECONDS)
}

/// `etcdserverpb.Lease`.
#[derive(Clone)]
pub struct LeaseService {
    member: Arc<Member>,
}

impl LeaseService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> LeaseService {
        LeaseService { member }
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.member.header(self.member.view().revision().0))
    }

    async fn grant(&self, request: pb::LeaseGrantRequest) -> Result<pb::LeaseGrantResponse, Status> {
        if request.ttl > LEASE_TTL_MAX_SECONDS {
            return Err(RequestError::LeaseTtlTooLarge.into());
        }
        // Chosen before the request enters the log: applying must not depend on a member's configuration.
        let ttl = request.ttl.max(lease_ttl_min_seconds(self.member.config().election_timeout));
        let id = if request.id == 0 { self.member.next_lease_id() } else { request.id };
        let granted = pb::LeaseGrantRequest { ttl, id };
        let request = pb::InternalRaftRequest { lease_grant: Some(granted), ..Default::default() };
        let reply = self.member.propose(request).await?;
        reply.result.map_err(RequestError::from)?;
        Ok(pb::LeaseGrantResponse { header: Some(self.member.header(reply.revision)), id, ttl, error: String::new() })
    }

    async fn revoke(&self, request: pb::LeaseRevokeRequest) -> Result<pb::LeaseRevokeResponse, Status> {
        let request = pb::InternalRaftRequest { lease_revoke: Some(request), ..Default::default() };
        let reply = self.member.propose(request).await?;
        reply.result.map_err(RequestError::from)?;
        Ok(pb::LeaseRevokeResponse { header: Some(self.member.header(reply.revision)) })
    }

    async fn time_to_live(&self, request: pb::LeaseTimeToLiveRequest) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        let lease = self.member.lease_time_to_live(request.id, request.keys).await?;
        Ok(pb::LeaseTimeToLiveResponse {
            header: self.header(),
            id: request.id,
            ttl: lease.ttl,
            granted_ttl: lease.granted_ttl,
            keys: lease.keys,
        })
    }

    async fn leases(&self) -> Result<pb::LeaseLeasesResponse, Status> {
        let store = self.member.view();
        let leases = store.leases().map(|(id, _)| pb::LeaseStatus { id: id.0 }).collect();
        Ok(pb::LeaseLeasesResponse { header: Some(self.member.header(store.revision().0)), leases })
    }
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let method = Method::unary(SERVICE, "LeaseGrant");
        rpc::unary(&self.member, method, request, |request| self.grant(request)).await
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let method = Method::unary(SERVICE, "LeaseRevoke");
        rpc::unary(&self.member, method, request, |request| self.revoke(request)).await
    }

    type LeaseKeepAliveStream = Answers<pb::LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let method = Method::bidi_stream(SERVICE, "LeaseKeepAlive");
        rpc::streaming(&self.member, method, request, |requests, ending| async move {
            Ok(KeepAlive { service: self.clone(), requests, ending })
        })
        .await
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let method = Method::unary(SERVICE, "LeaseTimeToLive");
        rpc::unary(&self.member, method, request, |request| self.time_to_live(request)).await
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let method = Method::unary(SERVICE, "LeaseLeases");
        rpc::unary(&self.member, method, request, |_| self.leases()).await
    }
}

/// Renews one lease after the other, as the client asks.
struct KeepAlive<R> {
    service: LeaseService,
    requests: R,
    ending: Ending,
}

impl<R> Source for KeepAlive<R>
where
    R: Stream<Item = Result<pb::LeaseKeepAliveRequest, Status>> + Send + Unpin + 'static,
{
    type Answer = pb::LeaseKeepAliveResponse;

    async fn next(&mut self) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
        let KeepAlive { service, requests, ending } = self;
        let renew = async {
            // A client that went away ends its stream cleanly in one world and with an error in the other.
            let Some(Ok(request)) = requests.next().await else { return Ok(None) };
            // Filled before renewing: a lease revoked at revision 3 must not seem alive at revision 4.
            let header = service.header();
            let ttl = service.member.lease_renew(request.id).await?;
            Ok(Some(pb::LeaseKeepAliveResponse { header, id: request.id, ttl }))
        };
        tokio::select! {
            biased;
            ended = ending.reached() => Err(ended.into()),
            renewed = renew => renewed,
        }
    }
}

#[cfg(all(test, not(madsim)))]
mod tests;
