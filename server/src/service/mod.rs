//! The client's services: thin adapters between gRPC and the member.
//!
//! They translate and never decide: what a request means is the store's business, whether it may happen Raft's. Each
//! service is one file with one handler per call; what calls have in common is in `rpc`, what messages mean in
//! [`translate`] (in) and `compose` (out).
//!
//! The same source compiles against tonic and against the simulator's tonic, which has no layers, no deadlines and
//! no flow control. So every limit is kept here: streams are pulled, and nothing queues for a slow client.

pub mod catch_up;
mod compose;
pub mod lease;
pub mod translate;
pub mod watch_hub;

mod auth;
mod cluster;
mod fragment;
mod hash_kv;
mod health;
mod kv;
mod maintenance;
mod range_stream;
mod rpc;
mod watch;

#[cfg(all(test, not(madsim)))]
mod rig;
#[cfg(all(test, not(madsim)))]
mod tests;

use std::sync::Arc;

pub use auth::AuthService;
pub use cluster::ClusterService;
pub use health::HealthService;
pub use kv::KvService;
pub use lease::LeaseService;
pub use maintenance::MaintenanceService;
pub use watch::WatchService;

use crate::member::Member;

/// All services of one member. Election and Lock are not offered yet.
#[derive(Clone)]
pub struct Services {
    /// Keys.
    pub kv: KvService,
    /// Changes.
    pub watch: WatchService,
    /// Leases.
    pub lease: LeaseService,
    /// Members.
    pub cluster: ClusterService,
    /// Care of this member.
    pub maintenance: MaintenanceService,
    /// Users and roles.
    pub auth: AuthService,
    /// Whether it serves.
    pub health: HealthService,
}

impl Services {
    /// The services of `member`.
    pub fn new(member: Arc<Member>) -> Services {
        Services {
            kv: KvService::new(Arc::clone(&member)),
            watch: WatchService::new(Arc::clone(&member)),
            lease: LeaseService::new(Arc::clone(&member)),
            cluster: ClusterService::new(Arc::clone(&member)),
            maintenance: MaintenanceService::new(Arc::clone(&member)),
            auth: AuthService::new(Arc::clone(&member)),
            health: HealthService::new(member),
        }
    }
}
