//! Listening sockets and the connections that come in: HTTP/1 and HTTP/2 (prior knowledge) told apart by their
//! first bytes, one task per connection, all ended in good order on request.
//!
//! Shared by the client port, the metrics port and the port for other members.
//!
//! Clients may ping as often as they like: pings are answered by the transport, never with `too_many_pings`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;

use crate::http::Reply;

/// Connections waiting to be accepted.
const BACKLOG: u32 = 4096;
/// Room for a request of the largest usual size without waiting for the window to open.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const FRAME_BYTES: u32 = 64 << 10;
/// Answers waiting per stream.
const SEND_BUFFER_BYTES: usize = 1 << 20;
const HEADER_LIST_BYTES: u32 = 16 << 10;
/// Streams a client may abandon before we have looked at them; more is an attack (rapid reset).
const ABANDONED_STREAMS_MAX: usize = 512;
/// A client must have sent its HTTP/1 request line and headers by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After this, connections that do not end by themselves are cut.
const GRACE: Duration = Duration::from_secs(5);
/// When the process is out of file descriptors, accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a port could not be taken. Says what to do.
#[derive(Debug)]
pub struct BindError {
    url: String,
    flag: &'static str,
    error: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BindError { url, flag, error } = self;
        write!(f, "cannot listen on {url}: {error}; ")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "stop the process that uses this port, or choose another address with --{flag}")
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "this machine does not have that address: choose another with --{flag}")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "choose a port above 1023 with --{flag}, or give the process the right to use this one")
            }
            _ => write!(f, "check --{flag}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Takes the port of `url`, which came from `flag`.
pub fn bind(url: &str, flag: &'static str, reuse_port: bool) -> Result<TcpListener, BindError> {
    let listen = || {
        let address = address(url)?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        if reuse_port {
            socket.set_reuseport(true)?;
        }
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| BindError { url: url.to_owned(), flag, error })
}

/// The address of a checked `http://HOST:PORT`, where HOST is an address or `localhost`.
fn address(url: &str) -> io::Result<SocketAddr> {
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if let Some(port) = host.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a port"))?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    host.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not IP:PORT"))
}

/// How connections behave.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// HTTP/2 streams open at once on one connection.
    pub streams_max: u32,
    /// Ping a quiet connection this often; `None` is never.
    pub ping_interval: Option<Duration>,
    /// Cut a connection whose ping is unanswered for this long.
    pub ping_timeout: Duration,
    /// Counts bytes that went out.
    pub sent: Option<IntCounter>,
    /// Counts bytes that came in.
    pub received: Option<IntCounter>,
}

/// For ports that only health checks and scrapes use.
impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            streams_max: 128,
            ping_interval: None,
            ping_timeout: Duration::from_secs(20),
            sent: None,
            received: None,
        }
    }
}

impl Tuning {
    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams_max)
            .keep_alive_interval(self.ping_interval)
            .keep_alive_timeout(self.ping_timeout)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES)
            .max_pending_accept_reset_streams(ABANDONED_STREAMS_MAX);
        builder
    }
}

/// Answers requests. Cloned for each connection.
pub trait Answer: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>>;
}

/// Whether a request is a gRPC call.
pub fn is_grpc(request: &Request<Incoming>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A reply as the transport wants it.
pub fn plain(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).expect("a known status");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

/// Calls a generated server.
pub fn through<S>(mut server: S, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>>
where
    S: tonic::codegen::Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<'static, Result<Response<Body>, Infallible>>,
        >,
{
    // Generated servers are always ready, and their futures do not borrow from them.
    let call = server.call(request);
    Box::pin(async move {
        match call.await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    })
}

/// Serves every connection that comes in until `stop` turns true or its sender is gone; resolves when all
/// connections have ended.
pub async fn serve(listener: TcpListener, answer: impl Answer, tuning: Tuning, mut stop: watch::Receiver<bool>) {
    let builder = tuning.builder();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let io = Counted { stream, sent: tuning.sent.clone(), received: tuning.received.clone() };
                connections.spawn(connection(io, builder.clone(), answer.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    io: Counted,
    builder: Builder<TokioExecutor>,
    answer: impl Answer,
    mut stop: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |request| {
        let reply = answer.answer(request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    // An error here is a client that broke off or spoke something else: its own affair.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

/// A connection whose bytes are counted.
struct Counted {
    stream: TcpStream,
    sent: Option<IntCounter>,
    received: Option<IntCounter>,
}

impl Counted {
    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Some(sent)) = (&outcome, &self.sent) {
            sent.inc_by(*bytes as u64);
        }
        outcome
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(received) = &self.received {
            received.inc_by((buf.filled().len() - before) as u64);
        }
        outcome
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
