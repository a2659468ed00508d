//! The Cluster service. Changing the membership is not offered yet.

use std::sync::Arc;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::rpc::{self, Method};
use crate::error::RequestError;
use crate::member::Member;

const SERVICE: &str = "etcdserverpb.Cluster";

const UNSUPPORTED: RequestError = RequestError::Unsupported("evenkeel: membership changes are not supported yet");

/// `etcdserverpb.Cluster`.
#[derive(Clone)]
pub struct ClusterService {
    member: Arc<Member>,
}

impl ClusterService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> ClusterService {
        ClusterService { member }
    }

    async fn list(&self, request: pb::MemberListRequest) -> Result<pb::MemberListResponse, Status> {
        if request.linearizable {
            self.member.read_barrier().await?;
        }
        // Headers of this service carry no revision.
        Ok(pb::MemberListResponse { header: Some(self.member.header(0)), members: self.member.members() })
    }

    async fn refuse<Q, R>(&self, name: &'static str, request: Request<Q>) -> Result<Response<R>, Status> {
        rpc::unary(&self.member, Method::unary(SERVICE, name), request, |_| async { Err(UNSUPPORTED.into()) }).await
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let method = Method::unary(SERVICE, "MemberList");
        rpc::unary(&self.member, method, request, |request| self.list(request)).await
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.refuse("MemberAdd", request).await
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.refuse("MemberRemove", request).await
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.refuse("MemberUpdate", request).await
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.refuse("MemberPromote", request).await
    }
}
