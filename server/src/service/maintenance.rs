//! The Maintenance service. Snapshots are not offered yet.

use std::sync::Arc;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::maintenance_server::Maintenance;
use evenkeel_raft::{Mutant, NodeId};
use pb::alarm_request::AlarmAction;
use pb::downgrade_request::DowngradeAction;
use tonic::{Request, Response, Status};

use super::hash_kv;
use super::rpc::{self, Answers, Method};
use crate::checkpoint;
use crate::error::RequestError;
use crate::member::Member;
use crate::version::Release;

const SERVICE: &str = "etcdserverpb.Maintenance";

/// How a quota that is switched off is told.
const NO_QUOTA: i64 = -1;

/// `etcdserverpb.Maintenance`.
#[derive(Clone)]
pub struct MaintenanceService {
    member: Arc<Member>,
}

impl MaintenanceService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> MaintenanceService {
        MaintenanceService { member }
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.member.header(self.member.view().revision().0))
    }

    /// Answered without a leader, and by learners.
    async fn answer_status(&self) -> Result<pb::StatusResponse, Status> {
        let member = &self.member;
        let raft = member.raft_status();
        let size = member.store_size();
        let no_leader = (raft.leader == 0).then(|| RequestError::NoLeader.text().to_owned());
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let release = member.config().release;
        let told = Release::V3_6 <= release;
        Ok(pb::StatusResponse {
            header: self.header(),
            version: release.server().to_owned(),
            db_size: signed(size.total_bytes),
            leader: raft.leader,
            raft_index: raft.committed,
            raft_term: raft.term,
            raft_applied_index: raft.applied,
            errors: no_leader.into_iter().chain(member.alarms().iter().map(alarm_text)).collect(),
            db_size_in_use: signed(size.in_use_bytes),
            is_learner: raft.is_learner,
            storage_version: member.storage().version().filter(|_| told).unwrap_or_default().to_owned(),
            db_size_quota: if told { member.config().quota_backend_bytes.map_or(NO_QUOTA, signed) } else { 0 },
            downgrade_info: told.then(|| pb::DowngradeInfo {
                enabled: member.downgrade().is_some(),
                target_version: member.downgrade().map(|target| target.to_string()).unwrap_or_default(),
            }),
        })
    }

    async fn answer_alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Status> {
        let unknown = |_| Status::invalid_argument("evenkeel: unknown alarm or action");
        let kind = pb::AlarmType::try_from(request.alarm).map_err(unknown)?;
        let alarms = match AlarmAction::try_from(request.action).map_err(unknown)? {
            AlarmAction::Get => {
                self.member.read_barrier().await?;
                // Of any member: etcd does not look at the member's id here.
                let of_kind = |alarm: &pb::AlarmMember| kind == pb::AlarmType::None || alarm.alarm == kind as i32;
                self.member.alarms().into_iter().filter(of_kind).collect()
            }
            AlarmAction::Activate => self.change_alarm(request, kind, true).await?,
            AlarmAction::Deactivate => {
                let named = pb::AlarmMember { member_id: request.member_id, alarm: request.alarm };
                let was_active = self.member.alarms().contains(&named);
                self.change_alarm(request, kind, was_active).await?
            }
        };
        Ok(pb::AlarmResponse { header: self.header(), alarms })
    }

    /// Proposes a change of one alarm. The answer names it when the change means something.
    async fn change_alarm(
        &self,
        request: pb::AlarmRequest,
        kind: pb::AlarmType,
        means_something: bool,
    ) -> Result<Vec<pb::AlarmMember>, Status> {
        let named = pb::AlarmMember { member_id: request.member_id, alarm: request.alarm };
        if kind != pb::AlarmType::None {
            let request = pb::InternalRaftRequest { alarm: Some(request), ..Default::default() };
            self.member.propose(request).await?.result.map_err(RequestError::from)?;
        }
        Ok(Some(named).filter(|_| means_something && kind != pb::AlarmType::None).into_iter().collect())
    }

    async fn answer_hash(&self) -> Result<pb::HashResponse, Status> {
        let state = self.member.state();
        let hash = state.hash();
        // Folded: the answer has room for 32 bits.
        let hash = (0..4).fold(0, |folded, word| folded ^ (hash >> (32 * word)) as u32);
        Ok(pb::HashResponse { header: Some(self.member.header(state.store.revision().0)), hash })
    }

    async fn answer_hash_kv(&self, request: pb::HashKvRequest) -> Result<pb::HashKvResponse, Status> {
        // It takes turns: meanwhile a compaction must not free what it has still to read.
        let (store, _hold) = self.member.held_view();
        let found = hash_kv::hash_kv(&store, request.revision, &*self.member).await?;
        Ok(pb::HashKvResponse {
            header: Some(self.member.header(store.revision().0)),
            hash: found.hash,
            compact_revision: found.compacted.0,
            hash_revision: found.revision.0,
        })
    }

    async fn answer_downgrade(&self, request: pb::DowngradeRequest) -> Result<pb::DowngradeResponse, Status> {
        let member = &self.member;
        let version = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => member.downgrade_validate(&request.version).await,
            Ok(DowngradeAction::Enable) => member.downgrade_enable(&request.version).await,
            Ok(DowngradeAction::Cancel) => member.downgrade_cancel().await,
            Err(_) => return Err(Status::unknown("etcdserver: unknown method")),
        };
        let version = version.inspect_err(|error| tracing::warn!(%error, "reject downgrade request"))?;
        Ok(pb::DowngradeResponse { header: self.header(), version })
    }

    async fn refuse<Q, R>(
        &self,
        method: Method,
        request: Request<Q>,
        why: &'static str,
    ) -> Result<Response<R>, Status> {
        let refused = RequestError::Unsupported(why);
        rpc::unary(&self.member, method, request, |_| async { Err(refused.into()) }).await
    }
}

/// An alarm as protobuf's text format has it, which is what etcd puts into a status.
fn alarm_text(alarm: &pb::AlarmMember) -> String {
    let kind = pb::AlarmType::try_from(alarm.alarm).map_or("UNKNOWN", |kind| kind.as_str_name());
    format!("memberID:{} alarm:{kind} ", alarm.member_id)
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let method = Method::unary(SERVICE, "Alarm");
        rpc::unary(&self.member, method, request, |request| self.answer_alarm(request)).await
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let method = Method::unary(SERVICE, "Status").on_learners();
        rpc::unary(&self.member, method, request, |_| self.answer_status()).await
    }

    /// There is nothing to defragment: done at once.
    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        let method = Method::unary(SERVICE, "Defragment");
        rpc::unary(&self.member, method, request, |_| async {
            if self.member.config().mutants.has(Mutant::DefragSkipsCi)
                && let Err(error) = checkpoint::rewrite(&self.member).await
            {
                tracing::warn!(error, "the newest checkpoint could not be rewritten");
            }
            Ok(pb::DefragmentResponse::default())
        })
        .await
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let method = Method::unary(SERVICE, "Hash");
        rpc::unary(&self.member, method, request, |_| self.answer_hash()).await
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        let method = Method::unary(SERVICE, "HashKV");
        rpc::unary(&self.member, method, request, |request| self.answer_hash_kv(request)).await
    }

    type SnapshotStream = Answers<pb::SnapshotResponse>;

    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let method = Method::server_stream(SERVICE, "Snapshot").on_learners();
        self.refuse(method, request, "evenkeel: snapshots are not supported yet").await
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let method = Method::unary(SERVICE, "MoveLeader");
        rpc::unary(&self.member, method, request, |request| async move {
            self.member.transfer_leadership(NodeId(request.target_id)).await?;
            Ok(pb::MoveLeaderResponse::default())
        })
        .await
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        let method = Method::unary(SERVICE, "Downgrade");
        rpc::unary(&self.member, method, request, |request| self.answer_downgrade(request)).await
    }
}

#[cfg(all(test, not(madsim)))]
mod tests;
