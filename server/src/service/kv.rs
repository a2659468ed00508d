//! The KV service. Reads are answered from a pinned copy of the store, after a barrier unless the client allows
//! stale answers; writes go through the log.

use std::sync::Arc;

use evenkeel_mvcc::{Error, RangeQuery, Response as Applied, Store};
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::range_stream::RangeStream;
use super::rpc::{self, Answers, Method};
use super::{compose, translate};
use crate::env::point;
use crate::error::RequestError;
use crate::member::{Member, Reply};
use crate::reader::Pin;
use crate::version::Release;

const SERVICE: &str = "etcdserverpb.KV";

type Written = (Applied, pb::ResponseHeader, Option<Pin>);

/// `etcdserverpb.KV`.
#[derive(Clone)]
pub struct KvService {
    member: Arc<Member>,
}

impl KvService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> KvService {
        KvService { member }
    }

    /// Waits until a read of the asked kind may be answered here.
    async fn barrier(&self, serializable: bool) -> Result<(), RequestError> {
        if serializable { Ok(()) } else { self.member.read_barrier().await }
    }

    async fn ranged(&self, store: Store, query: &RangeQuery) -> Result<pb::RangeResponse, RequestError> {
        let result = store.range(query, self.member.values());
        drop(store);
        let result = result.map_err(|error| compose::unreadable_pinned(&error))??;
        Ok(pb::RangeResponse {
            header: Some(self.member.header(result.revision.0)),
            kvs: compose::key_values_in_turns(&result.rows, &*self.member).await?,
            more: result.more,
            count: result.count,
        })
    }

    /// A value may be freed or moved while it is looked at. Then the present state is asked once more, with all values
    /// held: so `Compacted` is the answer only where the request names a revision that is.
    pub(super) async fn answer_range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        let query = translate::range_query(&request).map_err(RequestError::from)?;
        if !request.serializable && self.member.raft_status().is_learner {
            return Err(RequestError::NotSupportedForLearner.into());
        }
        self.barrier(request.serializable).await?;
        let first = self.ranged(self.member.view(), &query).await;
        if !matches!(first, Err(RequestError::Compacted)) {
            return Ok(first?);
        }
        let (store, _hold) = self.member.held_view();
        Ok(self.ranged(store, &query).await?)
    }

    async fn open_range(&self, request: pb::RangeRequest) -> Result<RangeStream, Status> {
        let query = translate::range_query(&request).map_err(RequestError::from)?;
        RangeStream::check(&query)?;
        self.barrier(request.serializable).await?;
        Ok(RangeStream::new(Arc::clone(&self.member), query))
    }

    /// Proposes a write, and answers with what came of it. What that shows can be read while the pin lives.
    async fn write(&self, request: pb::InternalRaftRequest) -> Result<Written, RequestError> {
        let Reply { result, revision, pin } = self.member.propose(request).await?;
        Ok((result?, self.member.header(revision), pin))
    }

    pub(super) async fn answer_put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        Store::check_put(&translate::put(&request, &translate::unplaced)).map_err(RequestError::from)?;
        let request = pb::InternalRaftRequest { put: Some(request), ..Default::default() };
        match self.write(request).await? {
            (Applied::Put { prev }, header, _pin) => Ok(compose::put(prev.as_ref(), Some(header), &*self.member)?),
            (other, ..) => unreachable!("{other:?} does not answer a put"),
        }
    }

    pub(super) async fn answer_delete(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        Store::check_delete(&translate::delete_range(&request)).map_err(RequestError::from)?;
        let request = pb::InternalRaftRequest { delete_range: Some(request), ..Default::default() };
        match self.write(request).await? {
            (Applied::DeleteRange { deleted, prev }, header, _pin) => {
                Ok(compose::delete_range(deleted, &prev, Some(header), &*self.member)?)
            }
            (other, ..) => unreachable!("{other:?} does not answer a deletion"),
        }
    }

    pub(super) async fn answer_txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let txn = self.checked_txn(&request).map_err(RequestError::from)?;
        if txn.is_read_only() {
            self.barrier(translate::is_serializable(&request)).await?;
            let first = self.looked_up(&self.member.view(), &txn);
            if !matches!(first, Err(RequestError::Compacted)) {
                return Ok(first?);
            }
            let (store, _hold) = self.member.held_view();
            return Ok(self.looked_up(&store, &txn)?);
        }
        drop(txn);
        let (response, header, _pin) =
            self.write(pb::InternalRaftRequest { txn: Some(request), ..Default::default() }).await?;
        Ok(self.answered_txn(&response, header)?)
    }

    /// The present state's answer to a transaction that writes nothing.
    fn looked_up(&self, store: &Store, txn: &evenkeel_mvcc::Txn) -> Result<pb::TxnResponse, RequestError> {
        let result = store.read_only_txn(txn, self.member.values());
        let response = result.map_err(|error| compose::unreadable_pinned(&error))??;
        self.answered_txn(&response, self.member.header(store.revision().0))
    }

    fn answered_txn(&self, response: &Applied, header: pb::ResponseHeader) -> Result<pb::TxnResponse, RequestError> {
        match response {
            Applied::Txn { succeeded, responses } => compose::txn(*succeeded, responses, Some(header), &*self.member),
            other => unreachable!("{other:?} does not answer a transaction"),
        }
    }

    fn checked_txn(&self, request: &pb::TxnRequest) -> Result<evenkeel_mvcc::Txn, Error> {
        let max_ops = self.member.config().max_txn_ops;
        // Before any operation is looked at, as in etcd.
        if max_ops < request.compare.len().max(request.success.len()).max(request.failure.len()) {
            return Err(Error::TooManyOps);
        }
        let txn = translate::txn(request, &translate::unplaced)?;
        Store::check_txn(&txn, max_ops)?;
        Ok(txn)
    }

    /// Compaction drops versions while it is applied, so `physical` asks for nothing more.
    pub(super) async fn answer_compact(
        &self,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Status> {
        let request = pb::InternalRaftRequest { compaction: Some(request), ..Default::default() };
        point!(self.member.env(), "compaction.before_propose");
        let (_, header, _) = self.write(request).await?;
        Ok(pb::CompactionResponse { header: Some(header) })
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let method = Method::unary(SERVICE, "Range").on_learners();
        rpc::unary(&self.member, method, request, |request| self.answer_range(request)).await
    }

    type RangeStreamStream = Answers<pb::RangeStreamResponse>;

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let method = Method::server_stream(SERVICE, "RangeStream")
            .since(Release::V3_7, "unknown method RangeStream for service etcdserverpb.KV");
        rpc::streaming(&self.member, method, request, |request, _| self.open_range(request)).await
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let method = Method::unary(SERVICE, "Put");
        rpc::unary(&self.member, method, request, |request| self.answer_put(request)).await
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let method = Method::unary(SERVICE, "DeleteRange");
        rpc::unary(&self.member, method, request, |request| self.answer_delete(request)).await
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let method = Method::unary(SERVICE, "Txn");
        rpc::unary(&self.member, method, request, |request| self.answer_txn(request)).await
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let method = Method::unary(SERVICE, "Compact");
        rpc::unary(&self.member, method, request, |request| self.answer_compact(request)).await
    }
}
