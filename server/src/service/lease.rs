//! The Lease service. Grants and revocations go through the log; renewals go to the leader's clock.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::lease_server::Lease;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::rpc::{self, Answers, Ending, Method, Source};
use crate::error::RequestError;
use crate::member::Member;

const SERVICE: &str = "etcdserverpb.Lease";

/// Renewals of one stream under way at once.
const STREAM_RENEWALS_MAX: usize = 256;
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

    async fn renew(self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
        // Filled before renewing: a lease revoked at revision 3 must not seem alive at revision 4.
        let header = self.header();
        let ttl = self.member.lease_renew(id).await?;
        Ok(pb::LeaseKeepAliveResponse { header, id, ttl })
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
            Ok(KeepAlive::new(self.clone(), requests, ending))
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

/// Renews leases as the client asks, and answers in that order. Renewals of one stream wait together: the confirmation
/// of leadership that one needs serves all.
struct KeepAlive<R> {
    service: LeaseService,
    /// `None` once the client asks nothing more.
    requests: Option<R>,
    renewals: FuturesOrdered<BoxFuture<'static, Result<pb::LeaseKeepAliveResponse, Status>>>,
    ending: Ending,
}

impl<R> KeepAlive<R> {
    fn new(service: LeaseService, requests: R, ending: Ending) -> KeepAlive<R> {
        KeepAlive { service, requests: Some(requests), renewals: FuturesOrdered::new(), ending }
    }
}

impl<R> Source for KeepAlive<R>
where
    R: Stream<Item = Result<pb::LeaseKeepAliveRequest, Status>> + Send + Unpin + 'static,
{
    type Answer = pb::LeaseKeepAliveResponse;

    async fn next(&mut self) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
        loop {
            let KeepAlive { service, requests, renewals, ending } = self;
            if requests.is_none() && renewals.is_empty() {
                return Ok(None);
            }
            let asks = requests.is_some() && renewals.len() < STREAM_RENEWALS_MAX;
            tokio::select! {
                biased;
                ended = ending.reached() => return Err(ended.into()),
                Some(renewed) = renewals.next() => return renewed.map(Some),
                request = next_request(requests), if asks => match request {
                    Some(Ok(request)) => renewals.push_back(service.clone().renew(request.id).boxed()),
                    // A client that went away ends its stream cleanly in one world and with an error in the other.
                    Some(Err(_)) | None => *requests = None,
                },
            }
        }
    }
}

async fn next_request<R: Stream + Unpin>(requests: &mut Option<R>) -> Option<R::Item> {
    requests.as_mut()?.next().await
}

#[cfg(all(test, not(madsim)))]
mod tests;
