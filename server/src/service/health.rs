//! gRPC's health service. The server as a whole (the empty name) is the only service it knows, and it serves.

use std::sync::Arc;

use evenkeel_proto::health as pb;
use evenkeel_proto::health::health_check_response::ServingStatus;
use evenkeel_proto::health::health_server::Health;
use tonic::{Request, Response, Status};

use super::rpc::{self, Answers, Ending, Method, Source};
use crate::member::Member;

const SERVICE: &str = "grpc.health.v1.Health";

/// `grpc.health.v1.Health`.
#[derive(Clone)]
pub struct HealthService {
    member: Arc<Member>,
}

impl HealthService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> HealthService {
        HealthService { member }
    }
}

fn answer(status: ServingStatus) -> pb::HealthCheckResponse {
    pb::HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        let method = Method::unary(SERVICE, "Check").on_learners();
        rpc::unary(&self.member, method, request, |request| async move {
            match request.service.as_str() {
                "" => Ok(answer(ServingStatus::Serving)),
                _ => Err(Status::not_found("unknown service")),
            }
        })
        .await
    }

    async fn list(&self, request: Request<pb::HealthListRequest>) -> Result<Response<pb::HealthListResponse>, Status> {
        let method = Method::unary(SERVICE, "List").on_learners();
        rpc::unary(&self.member, method, request, |_| async {
            Ok(pb::HealthListResponse { statuses: [(String::new(), answer(ServingStatus::Serving))].into() })
        })
        .await
    }

    type WatchStream = Answers<pb::HealthCheckResponse>;

    async fn watch(&self, request: Request<pb::HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let method = Method::server_stream(SERVICE, "Watch").on_learners();
        rpc::streaming(&self.member, method, request, |request, ending| async move {
            let known = request.service.is_empty();
            let status = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
            Ok(HealthWatch { news: Some(status), ending })
        })
        .await
    }
}

/// Tells the status once; it does not change before the end.
struct HealthWatch {
    news: Option<ServingStatus>,
    ending: Ending,
}

impl Source for HealthWatch {
    type Answer = pb::HealthCheckResponse;

    async fn next(&mut self) -> Result<Option<pb::HealthCheckResponse>, Status> {
        match self.news.take() {
            Some(status) => Ok(Some(answer(status))),
            None => Err(self.ending.reached().await.into()),
        }
    }
}
