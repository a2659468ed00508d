//! Wire types and services, generated from the `.proto` files beside this crate. No logic.
//!
//! Field numbers and package names of etcd's part are etcd's: they are the protocol. A field whose name would read
//! badly in Rust (`peerURLs`) has another name here and etcd's as its JSON name. All `bytes` fields are
//! [`bytes::Bytes`], all maps are `BTreeMap`s.
//!
//! [`peer`] and [`store`] are ours.

macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

package!(
    /// etcd's services KV, Watch, Lease, Cluster, Maintenance and Auth, and the payload of a log entry.
    etcdserverpb, "etcdserverpb"
);
package!(
    /// Key-value pairs and events.
    mvccpb, "mvccpb"
);
package!(
    /// Users, roles and permissions.
    authpb, "authpb"
);
package!(
    /// Members, as they travel through the log.
    membershippb, "membershippb"
);
package!(
    /// The Election service.
    v3electionpb, "v3electionpb"
);
package!(
    /// The Lock service.
    v3lockpb, "v3lockpb"
);
package!(
    /// gRPC's health service.
    health, "grpc.health.v1"
);
package!(
    /// Between members.
    peer, "evenkeel.peer"
);
package!(
    /// In checkpoints.
    store, "evenkeel.store"
);

/// The descriptors of everything above, encoded as a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
