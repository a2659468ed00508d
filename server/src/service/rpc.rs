//! What every call has in common: what its metadata demands, its place in the metrics, and how it ends.
//!
//! Transport layers do not exist in simulation, so all of this happens in the handlers, through one function per
//! kind of call: [`unary`] and [`streaming`]. A stream is pulled: its next answer is made when the transport asks
//! for it, so a slow client holds back its own stream and nothing is queued for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::stream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use crate::error::RequestError;
use crate::member::Member;
use crate::version::Release;

/// A call, as metrics name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    service: &'static str,
    name: &'static str,
    kind: &'static str,
    learners: bool,
    since: Option<(Release, &'static str)>,
}

impl Method {
    pub(super) const fn unary(service: &'static str, name: &'static str) -> Method {
        Method { service, name, kind: "unary", learners: false, since: None }
    }

    pub(super) const fn server_stream(service: &'static str, name: &'static str) -> Method {
        Method { service, name, kind: "server_stream", learners: false, since: None }
    }

    pub(super) const fn bidi_stream(service: &'static str, name: &'static str) -> Method {
        Method { service, name, kind: "bidi_stream", learners: false, since: None }
    }

    /// A learner answers it too (or decides for itself).
    pub(super) const fn on_learners(mut self) -> Method {
        self.learners = true;
        self
    }

    /// Members of a lower release have never heard of it, and say so.
    pub(super) const fn since(mut self, release: Release, unknown: &'static str) -> Method {
        self.since = Some((release, unknown));
        self
    }

    fn admit(self, member: &Member, metadata: &MetadataMap) -> Result<(), RequestError> {
        if let Some((release, unknown)) = self.since
            && member.config().release < release
        {
            return Err(RequestError::Unsupported(unknown));
        }
        if let Some(version) = metadata.get("client-api-version")
            && std::str::from_utf8(version.as_bytes()).is_err()
        {
            return Err(RequestError::InvalidClientApiVersion);
        }
        if !self.learners && member.is_learner() {
            return Err(RequestError::NotSupportedForLearner);
        }
        if wants_leader(metadata) && member.standing().leader.is_none() {
            return Err(RequestError::NoLeader);
        }
        Ok(())
    }
}

/// The client wants no answers from a member without a leader.
fn wants_leader(metadata: &MetadataMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value.as_bytes() == b"true")
}

/// One question, one answer.
pub(super) async fn unary<Q, R, F>(
    member: &Member,
    method: Method,
    request: Request<Q>,
    answer: impl FnOnce(Q) -> F,
) -> Result<Response<R>, Status>
where
    F: Future<Output = Result<R, Status>>,
{
    let guard = member.metrics().rpc(method.service, method.name, method.kind);
    let _in_flight = member.leave_taking().request();
    let result = match method.admit(member, request.metadata()) {
        Ok(()) => answer(request.into_inner()).await,
        Err(error) => Err(error.into()),
    };
    guard.done(result.as_ref().map_or_else(Status::code, |_| Code::Ok));
    result.map(Response::new)
}

/// Makes the answers of one stream.
pub(super) trait Source: Send + 'static {
    /// One answer.
    type Answer: Send + 'static;

    /// Waits for the next answer. `None` and an error both end the stream.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Answer>, Status>> + Send;
}

/// The answers of a stream, on their way to the transport.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Any number of answers. `open` checks the request and makes the source of the answers.
pub(super) async fn streaming<Q, S, F>(
    member: &Arc<Member>,
    method: Method,
    request: Request<Q>,
    open: impl FnOnce(Q, Ending) -> F,
) -> Result<Response<Answers<S::Answer>>, Status>
where
    S: Source,
    F: Future<Output = Result<S, Status>>,
{
    let guard = member.metrics().rpc(method.service, method.name, method.kind);
    let opened = match method.admit(member, request.metadata()) {
        Ok(()) => {
            let ending = Ending::new(member, wants_leader(request.metadata()));
            open(request.into_inner(), ending).await
        }
        Err(error) => Err(error.into()),
    };
    let source = match opened {
        Ok(source) => Box::new(source),
        Err(status) => {
            guard.done(status.code());
            return Err(status);
        }
    };
    let answers = stream::unfold(Some((source, guard)), |state| async {
        let (mut source, guard) = state?;
        match source.next().await {
            Ok(Some(answer)) => Some((Ok(answer), Some((source, guard)))),
            Ok(None) => {
                guard.done(Code::Ok);
                None
            }
            Err(status) => {
                guard.done(status.code());
                Some((Err(status), None))
            }
        }
    });
    Ok(Response::new(Box::pin(answers)))
}

/// Why a long-lived stream must end although its client wants it to go on.
pub(super) struct Ending {
    leaving: BoxFuture<'static, ()>,
    leader_lost: Option<BoxFuture<'static, ()>>,
}

impl Ending {
    pub(super) fn new(member: &Arc<Member>, wants_leader: bool) -> Ending {
        let leaving = {
            let member = Arc::clone(member);
            Box::pin(async move {
                member.leaving().await;
            })
        };
        let leader_lost = wants_leader.then(|| {
            let member = Arc::clone(member);
            Box::pin(async move { member.leader_lost().await }) as BoxFuture<'static, ()>
        });
        Ending { leaving, leader_lost }
    }

    /// Resolves once, when the stream must end. Safe to drop and call again before that.
    pub(super) async fn reached(&mut self) -> RequestError {
        match &mut self.leader_lost {
            Some(leader_lost) => tokio::select! {
                biased;
                () = &mut self.leaving => RequestError::Stopped,
                () = leader_lost => RequestError::NoLeader,
            },
            None => {
                (&mut self.leaving).await;
                RequestError::Stopped
            }
        }
    }
}
