//! The Cluster service: a change goes to whoever leads (see [`crate::membership`]).

use std::sync::Arc;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::cluster_server::Cluster;
use evenkeel_proto::store::Member as Record;
use tonic::{Request, Response, Status};

use super::rpc::{self, Method};
use crate::error::RequestError;
use crate::member::Member;
use crate::membership::{Change, member_id, sorted, urls_are_valid};

const SERVICE: &str = "etcdserverpb.Cluster";

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
        Ok(pb::MemberListResponse { header: self.header(), members: self.member.members() })
    }

    async fn add(&self, request: pb::MemberAddRequest) -> Result<pb::MemberAddResponse, Status> {
        if !urls_are_valid(&request.peer_urls) {
            return Err(RequestError::MemberBadUrls.into());
        }
        let peer_urls = sorted(&request.peer_urls);
        // The time is this member's and travels in the entry. The token is not part of a later member's id.
        let id = member_id(&peer_urls, "", Some(self.member.env().clock.wall()));
        let new = Record { id, peer_urls, is_learner: request.is_learner, ..Record::default() };
        let member =
            pb::Member { id, peer_urls: new.peer_urls.clone(), is_learner: new.is_learner, ..pb::Member::default() };
        let members = self.member.change_membership(Change::Add(new)).await?;
        Ok(pb::MemberAddResponse { header: self.header(), member: Some(member), members })
    }

    async fn remove(&self, request: pb::MemberRemoveRequest) -> Result<pb::MemberRemoveResponse, Status> {
        let members = self.member.change_membership(Change::Remove(request.id)).await?;
        Ok(pb::MemberRemoveResponse { header: self.header(), members })
    }

    async fn update(&self, request: pb::MemberUpdateRequest) -> Result<pb::MemberUpdateResponse, Status> {
        if !urls_are_valid(&request.peer_urls) {
            return Err(RequestError::MemberBadUrls.into());
        }
        let new = Record { id: request.id, peer_urls: sorted(&request.peer_urls), ..Record::default() };
        let members = self.member.change_membership(Change::Update(new)).await?;
        Ok(pb::MemberUpdateResponse { header: self.header(), members })
    }

    async fn promote(&self, request: pb::MemberPromoteRequest) -> Result<pb::MemberPromoteResponse, Status> {
        let members = self.member.change_membership(Change::Promote(request.id)).await?;
        Ok(pb::MemberPromoteResponse { header: self.header(), members })
    }

    // Headers of this service carry no revision.
    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.member.header(0))
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
        let method = Method::unary(SERVICE, "MemberAdd");
        rpc::unary(&self.member, method, request, |request| self.add(request)).await
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let method = Method::unary(SERVICE, "MemberRemove");
        rpc::unary(&self.member, method, request, |request| self.remove(request)).await
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let method = Method::unary(SERVICE, "MemberUpdate");
        rpc::unary(&self.member, method, request, |request| self.update(request)).await
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let method = Method::unary(SERVICE, "MemberPromote");
        rpc::unary(&self.member, method, request, |request| self.promote(request)).await
    }
}
