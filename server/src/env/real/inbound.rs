//! The port for other members: their streams, and `/version` and `/members` for whoever asks.
#![allow(clippy::disallowed_methods, reason = "this is where the real clocks are read")]

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_proto::peer::peer_server::{Peer, PeerServer};
use evenkeel_proto::peer::{Frame, StreamEnd};
use evenkeel_raft::NodeId;
use futures_core::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, Response};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::body::Body;
use tonic::{Status, Streaming};

use crate::env::Inbound;
use crate::front::Inspect;
use crate::front::accept::{Answer, is_grpc, plain, through};
use crate::http::{self, Surface};
use crate::metrics::{PeerIn, PeerMetrics};
use crate::queue::Sender;

/// A batch of entries, or one record of the largest size, with room to spare.
const FRAME_BYTES_MAX: usize = 512 << 20;
/// One refusal is logged this often.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The first fields of an envelope. Decoding them skips the rest.
#[derive(Clone, PartialEq, prost::Message)]
struct Address {
    #[prost(uint64, tag = "1")]
    cluster: u64,
    #[prost(uint64, tag = "2")]
    from: u64,
    #[prost(uint64, tag = "3")]
    to: u64,
}

/// Whom the port receives for, from the start on.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) me: NodeId,
    pub(super) cluster: u64,
    pub(super) inbox: Sender<Inbound>,
}

/// Takes the streams of other members. Before the start it says that it is too early: who founds a cluster asks the
/// others, who may be about to do the same.
pub(super) struct Receiver {
    own: Arc<OnceLock<Own>>,
    metrics: PeerMetrics,
    stop: watch::Receiver<bool>,
    refusal_logged: Mutex<Option<Instant>>,
}

impl Receiver {
    pub(super) fn new(own: Arc<OnceLock<Own>>, metrics: PeerMetrics, stop: watch::Receiver<bool>) -> Receiver {
        Receiver { own, metrics, stop, refusal_logged: Mutex::default() }
    }

    fn own(&self) -> Result<&Own, Status> {
        self.own.get().ok_or_else(|| Status::unavailable("the member has not started yet"))
    }

    /// Who sent this, if it is for us.
    fn check(own: &Own, envelope: &Bytes) -> Result<NodeId, Status> {
        let Own { me, cluster, .. } = own;
        let address = Address::decode(envelope.clone()).map_err(|e| Status::invalid_argument(e.to_string()))?;
        if address.cluster != *cluster {
            return Err(Status::failed_precondition(format!(
                "cluster ID mismatch: this member belongs to cluster {:x}, the message to {:x}",
                cluster, address.cluster
            )));
        }
        if address.to != me.0 || address.from == me.0 || address.from == 0 {
            return Err(Status::failed_precondition(format!(
                "member ID mismatch: this is member {:x}, the message goes from {:x} to {:x}",
                me.0, address.from, address.to
            )));
        }
        Ok(NodeId(address.from))
    }

    fn log_refusal(&self, status: &Status) {
        let mut logged = self.refusal_logged.lock().expect("not poisoned");
        if logged.is_none_or(|at| at.elapsed() >= REFUSAL_LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!(reason = status.message(), "rejected connection on peer endpoint");
        }
    }

    async fn receive(&self, mut frames: Streaming<Frame>) -> Result<(), Status> {
        let own = self.own()?;
        let mut counters: Option<(NodeId, PeerIn)> = None;
        while let Some(Frame { envelope }) = frames.message().await? {
            let from = Self::check(own, &envelope).inspect_err(|status| self.log_refusal(status))?;
            let (_, counters) = match &mut counters {
                Some(counters) if counters.0 == from => counters,
                other => other.insert((from, self.metrics.inbound(from.0))),
            };
            counters.received_bytes.inc_by(envelope.len() as u64);
            match own.inbox.try_send(Inbound::Message { from, bytes: envelope }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => counters.failures.inc(),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(Status::unavailable("the member has stopped")),
            }
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Peer for Receiver {
    async fn ask(&self, request: tonic::Request<Frame>) -> Result<tonic::Response<Frame>, Status> {
        let stopped = || Status::unavailable("the member has stopped");
        let (reply, answer) = oneshot::channel();
        let question = Inbound::Query { bytes: request.into_inner().envelope, reply };
        self.own()?
            .inbox
            .try_send(question)
            .map_err(|_| Status::unavailable("the member is too busy or has stopped"))?;
        let mut stop = self.stop.clone();
        let envelope = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(stopped()),
            answer = answer => answer.map_err(|_| stopped())?,
        };
        Ok(tonic::Response::new(Frame { envelope }))
    }

    async fn stream(&self, request: tonic::Request<Streaming<Frame>>) -> Result<tonic::Response<StreamEnd>, Status> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            received = self.receive(request.into_inner()) => received?,
        }
        Ok(tonic::Response::new(StreamEnd {}))
    }
}

/// What the peer port answers.
#[derive(Clone)]
pub(super) struct PeerPort {
    streams: PeerServer<Receiver>,
    inspect: Arc<OnceLock<Arc<dyn Inspect>>>,
}

impl PeerPort {
    pub(super) fn new(receiver: Receiver, inspect: Arc<OnceLock<Arc<dyn Inspect>>>) -> PeerPort {
        PeerPort { streams: PeerServer::new(receiver).max_decoding_message_size(FRAME_BYTES_MAX), inspect }
    }
}

impl Answer for PeerPort {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        if !is_grpc(&request) {
            let inspect = Arc::clone(&self.inspect);
            Box::pin(async move {
                let (method, uri) = (request.method().as_str(), request.uri());
                let inspect = inspect.get().map(|inspect| &**inspect);
                plain(http::respond(inspect, Surface::Peer, method, uri.path(), uri.query()).await)
            })
        } else if request.uri().path().starts_with("/evenkeel.peer.Peer/") {
            through(self.streams.clone(), request)
        } else {
            // A client that was given the wrong port deserves a hint.
            let text = "this port is for members of the cluster: use the client URL";
            Box::pin(async move { Status::unimplemented(text).into_http() })
        }
    }
}
