//! The client port in simulation: tonic's simulated server with the same services. No plain HTTP.

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
use tonic::transport::Server;

use super::Inspect;
use crate::config::Config;
use crate::service::Services;

/// Why a port could not be taken.
#[derive(Debug)]
pub struct BindError(String);

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not an address in simulation: use http://IP:PORT", self.0)
    }
}

impl std::error::Error for BindError {}

/// Addresses to serve.
pub struct Listeners {
    clients: Vec<SocketAddr>,
}

/// Reads the addresses; the simulated network binds them when they are served.
pub async fn bind(config: &Config) -> Result<Listeners, BindError> {
    let parse = |url: &String| url.strip_prefix("http://").unwrap_or(url).parse().map_err(|_| BindError(url.clone()));
    Ok(Listeners { clients: config.listen_client_urls.iter().map(parse).collect::<Result<_, _>>()? })
}

impl Listeners {
    /// There are no metrics ports in simulation.
    pub fn serve_metrics(&mut self, _: Arc<dyn Inspect>) {}

    /// Serves clients until the member leaves.
    pub async fn serve(self, services: Services, inspect: Arc<dyn Inspect>) -> io::Result<()> {
        let serving: Vec<_> = self
            .clients
            .into_iter()
            .map(|address| {
                let router = Server::builder()
                    .add_service(KvServer::new(services.kv.clone()))
                    .add_service(WatchServer::new(services.watch.clone()))
                    .add_service(LeaseServer::new(services.lease.clone()))
                    .add_service(ClusterServer::new(services.cluster.clone()))
                    .add_service(MaintenanceServer::new(services.maintenance.clone()))
                    .add_service(AuthServer::new(services.auth.clone()))
                    .add_service(HealthServer::new(services.health.clone()));
                let inspect = Arc::clone(&inspect);
                tokio::spawn(async move { router.serve_with_shutdown(address, inspect.leaving()).await })
            })
            .collect();
        for task in serving {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }
}
