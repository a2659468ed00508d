//! The client and metrics ports on real sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use evenkeel_proto::etcdserverpb::auth_server::AuthServer;
use evenkeel_proto::etcdserverpb::cluster_server::ClusterServer;
use evenkeel_proto::etcdserverpb::kv_server::KvServer;
use evenkeel_proto::etcdserverpb::lease_server::LeaseServer;
use evenkeel_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use evenkeel_proto::etcdserverpb::watch_server::WatchServer;
use evenkeel_proto::health::health_server::HealthServer;
use futures_core::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Request, Response};
use prometheus::process_collector::ProcessCollector;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;

use super::Inspect;
use super::accept::{self, Answer, Tuning, is_grpc, plain, through};
use crate::config::{Config, REQUEST_OVERHEAD_BYTES};
use crate::http::{self, Surface};
use crate::service::{
    AuthService, ClusterService, HealthService, KvService, LeaseService, MaintenanceService, Services, WatchService,
};

pub use super::accept::BindError;

/// Ports taken, not yet served.
pub struct Listeners {
    clients: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    tuning: Tuning,
    request_bytes_max: usize,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
}

/// Takes all client and metrics ports, or none.
pub async fn bind(config: &Config) -> Result<Listeners, BindError> {
    let take = |urls: &[String], flag| {
        urls.iter().map(|url| accept::bind(url, flag, config.socket_reuse_port)).collect::<Result<_, _>>()
    };
    Ok(Listeners {
        clients: take(&config.listen_client_urls, "listen-client-urls")?,
        metrics: take(&config.listen_metrics_urls, "listen-metrics-urls")?,
        tuning: Tuning {
            streams_max: config.max_concurrent_streams,
            ping_interval: Some(config.grpc_keepalive_interval).filter(|interval| !interval.is_zero()),
            ping_timeout: config.grpc_keepalive_timeout,
            ..Tuning::default()
        },
        request_bytes_max: config.max_request_bytes + REQUEST_OVERHEAD_BYTES,
        stop: watch::Sender::new(false),
        serving: JoinSet::new(),
    })
}

impl Listeners {
    /// The client ports as taken (a port 0 is resolved here).
    pub fn client_addresses(&self) -> Vec<SocketAddr> {
        self.clients.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The metrics ports as taken, until they are served.
    pub fn metrics_addresses(&self) -> Vec<SocketAddr> {
        self.metrics.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Begins to serve health and metrics on their own ports, before the member is ready for clients.
    pub fn serve_metrics(&mut self, inspect: Arc<dyn Inspect>) {
        inspect.metrics().register(Box::new(ProcessCollector::for_self()));
        let answer = Plain { inspect, surface: Surface::Metrics };
        for listener in std::mem::take(&mut self.metrics) {
            self.serving.spawn(accept::serve(listener, answer.clone(), Tuning::default(), self.stop.subscribe()));
        }
    }

    /// Serves clients until the member leaves. Resolves when all connections have ended.
    pub async fn serve(mut self, services: Services, inspect: Arc<dyn Inspect>) -> io::Result<()> {
        let tuning = Tuning {
            sent: Some(inspect.metrics().client_sent_bytes.clone()),
            received: Some(inspect.metrics().client_received_bytes.clone()),
            ..self.tuning
        };
        let answer = Clients {
            grpc: Grpc::new(services, self.request_bytes_max),
            plain: Plain { inspect: Arc::clone(&inspect), surface: Surface::Client },
        };
        for listener in self.clients {
            self.serving.spawn(accept::serve(listener, answer.clone(), tuning.clone(), self.stop.subscribe()));
        }
        inspect.leaving().await;
        self.stop.send_replace(true);
        while self.serving.join_next().await.is_some() {}
        Ok(())
    }
}

/// gRPC by its content type, everything else as plain HTTP.
#[derive(Clone)]
struct Clients {
    grpc: Grpc,
    plain: Plain,
}

impl Answer for Clients {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        if is_grpc(&request) { self.grpc.call(request) } else { self.plain.answer(request) }
    }
}

/// Plain HTTP.
#[derive(Clone)]
struct Plain {
    inspect: Arc<dyn Inspect>,
    surface: Surface,
}

impl Answer for Plain {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let Plain { inspect, surface } = self.clone();
        Box::pin(async move {
            let (method, uri) = (request.method().as_str(), request.uri());
            plain(http::respond(Some(&*inspect), surface, method, uri.path(), uri.query()).await)
        })
    }
}

/// The services by the first part of their paths. Any `:authority` will do: Go clients send odd ones.
#[derive(Clone)]
struct Grpc {
    kv: KvServer<KvService>,
    watch: WatchServer<WatchService>,
    lease: LeaseServer<LeaseService>,
    cluster: ClusterServer<ClusterService>,
    maintenance: MaintenanceServer<MaintenanceService>,
    auth: AuthServer<AuthService>,
    health: HealthServer<HealthService>,
}

impl Grpc {
    fn new(services: Services, request_bytes_max: usize) -> Grpc {
        macro_rules! limited {
            ($server:ident, $service:expr) => {
                $server::new($service)
                    .max_decoding_message_size(request_bytes_max)
                    .max_encoding_message_size(usize::MAX)
            };
        }
        Grpc {
            kv: limited!(KvServer, services.kv),
            watch: limited!(WatchServer, services.watch),
            lease: limited!(LeaseServer, services.lease),
            cluster: limited!(ClusterServer, services.cluster),
            maintenance: limited!(MaintenanceServer, services.maintenance),
            auth: limited!(AuthServer, services.auth),
            health: limited!(HealthServer, services.health),
        }
    }

    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match service.map(|(service, _)| service) {
            Some("etcdserverpb.KV") => through(self.kv.clone(), request),
            Some("etcdserverpb.Watch") => through(self.watch.clone(), request),
            Some("etcdserverpb.Lease") => through(self.lease.clone(), request),
            Some("etcdserverpb.Maintenance") => through(self.maintenance.clone(), request),
            Some("etcdserverpb.Cluster") => through(self.cluster.clone(), request),
            Some("etcdserverpb.Auth") => through(self.auth.clone(), request),
            Some("grpc.health.v1.Health") => through(self.health.clone(), request),
            _ => Box::pin(async { tonic::Status::unimplemented("unknown service").into_http() }),
        }
    }
}
