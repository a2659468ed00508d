//! Generates both flavours (tonic's and the simulator's) from the `.proto` files, without a `protoc` binary.
#![allow(clippy::disallowed_methods, reason = "a build script reads and writes files")]

use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 14] = [
    "etcd/auth.proto",
    "etcd/cluster.proto",
    "etcd/election.proto",
    "etcd/header.proto",
    "etcd/kv.proto",
    "etcd/lease.proto",
    "etcd/lock.proto",
    "etcd/maintenance.proto",
    "etcd/membership.proto",
    "etcd/mvcc.proto",
    "etcd/raft_internal.proto",
    "etcd/user.proto",
    "etcd/watch.proto",
    "grpc/health.proto",
];

const OURS: [&str; 2] = ["evenkeel/peer.proto", "evenkeel/store.proto"];

/// Rare requests live behind a pointer, so that every log entry does not carry room for them.
const RARE: [&str; 7] = [
    "authenticate",
    "auth_user_add",
    "auth_user_change_password",
    "auth_user_grant_role",
    "auth_user_revoke_role",
    "auth_role_grant_permission",
    "auth_role_revoke_permission",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for folder in ["etcd", "grpc", "evenkeel"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let protos: Vec<&str> = PROTOS.into_iter().chain(OURS).collect();
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(&descriptors, protox::compile(&protos, ["."])?.encode_to_vec())?;

    let mut builder = tonic_build::configure()
        .file_descriptor_set_path(&descriptors)
        .skip_protoc_run()
        .emit_rerun_if_changed(false)
        .bytes(["."])
        .btree_map(["."]);
    for field in RARE {
        builder = builder.boxed(format!(".etcdserverpb.InternalRaftRequest.{field}"));
    }
    builder.compile_protos(&protos, &["."])?;
    Ok(())
}
