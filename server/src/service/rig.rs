//! A cluster of one for the services' tests: the whole server on a directory of its own, called without a network.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::etcdserverpb as pb;
use evenkeel_storage::real::RealDisk;
use futures_core::stream::BoxStream;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::Status;

use super::Services;
use super::rpc::Source;
use crate::config::Config;
use crate::env::real::{RealClock, RealNetwork};
use crate::env::{Env, Nobody};
use crate::member::Member;
use crate::{Server, serve};

/// Longer than anything takes here, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(20);

static RIGS: AtomicU32 = AtomicU32::new(0);

pub struct Rig {
    pub services: Services,
    pub member: Arc<Member>,
    _server: Server,
    dir: PathBuf,
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Rig {
        let number = RIGS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("evenkeel-services-{}-{number}", std::process::id()));
        let any_port = || vec!["http://127.0.0.1:0".to_owned()];
        let mut config = Config {
            data_dir: dir.display().to_string(),
            listen_client_urls: any_port(),
            listen_peer_urls: any_port(),
            heartbeat_interval: Duration::from_millis(10),
            election_timeout: Duration::from_millis(100),
            wal_segment_bytes: 8 << 20,
            ..Config::default()
        };
        change(&mut config);
        let env = Env {
            disk: Arc::new(RealDisk::open(&dir, true).expect("a directory of our own")),
            network: Arc::new(RealNetwork::bind(&config).expect("any port")),
            clock: Arc::new(RealClock::new()),
            seed: u64::from(number),
            observer: Arc::new(Nobody),
        };
        let server = serve(config, env).await.expect("a fresh member starts");
        tokio::time::timeout(PATIENCE, server.ready()).await.expect("a lone member serves soon");
        let member = Arc::clone(server.member());
        Rig { services: Services::new(Arc::clone(&member)), member, _server: server, dir }
    }

    pub fn stop(self) {
        self.member.stop();
    }
}

impl Drop for Rig {
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // The directory is the test's own.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A client's half of a stream.
pub struct Asking<Q>(mpsc::UnboundedSender<Result<Q, Status>>);

impl<Q: Send + 'static> Asking<Q> {
    pub fn new() -> (Asking<Q>, BoxStream<'static, Result<Q, Status>>) {
        let (asking, asked) = mpsc::unbounded_channel();
        let asked = stream::unfold(asked, |mut asked| async { asked.recv().await.map(|request| (request, asked)) });
        (Asking(asking), Box::pin(asked))
    }

    pub fn ask(&self, request: Q) {
        assert!(self.0.send(Ok(request)).is_ok(), "the stream listens");
    }

    pub fn fail(&self) {
        assert!(self.0.send(Err(Status::unknown("reset"))).is_ok(), "the stream listens");
    }
}

/// The next answer of a stream.
pub async fn next<S: Source>(source: &mut S) -> Result<Option<S::Answer>, Status> {
    tokio::time::timeout(PATIENCE, source.next()).await.expect("the stream says something")
}

/// True when the stream has nothing to say for now.
pub async fn is_quiet<S: Source>(source: &mut S) -> bool {
    tokio::time::timeout(Duration::from_millis(50), source.next()).await.is_err()
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

pub fn range(key: &str, range_end: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: bytes(key), range_end: bytes(range_end), ..Default::default() }
}
