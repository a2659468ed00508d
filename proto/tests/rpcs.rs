//! Every RPC of etcd's API exists under its own path, with its own shape.

use evenkeel_proto::DESCRIPTORS;
use prost::Message;
use prost_types::FileDescriptorSet;

/// Path, and `<` for a client stream, `>` for a server stream.
const RPCS: &str = "\
/etcdserverpb.Auth/AuthDisable
/etcdserverpb.Auth/AuthEnable
/etcdserverpb.Auth/AuthStatus
/etcdserverpb.Auth/Authenticate
/etcdserverpb.Auth/RoleAdd
/etcdserverpb.Auth/RoleDelete
/etcdserverpb.Auth/RoleGet
/etcdserverpb.Auth/RoleGrantPermission
/etcdserverpb.Auth/RoleList
/etcdserverpb.Auth/RoleRevokePermission
/etcdserverpb.Auth/UserAdd
/etcdserverpb.Auth/UserChangePassword
/etcdserverpb.Auth/UserDelete
/etcdserverpb.Auth/UserGet
/etcdserverpb.Auth/UserGrantRole
/etcdserverpb.Auth/UserList
/etcdserverpb.Auth/UserRevokeRole
/etcdserverpb.Cluster/MemberAdd
/etcdserverpb.Cluster/MemberList
/etcdserverpb.Cluster/MemberPromote
/etcdserverpb.Cluster/MemberRemove
/etcdserverpb.Cluster/MemberUpdate
/etcdserverpb.KV/Compact
/etcdserverpb.KV/DeleteRange
/etcdserverpb.KV/Put
/etcdserverpb.KV/Range
/etcdserverpb.KV/RangeStream>
/etcdserverpb.KV/Txn
/etcdserverpb.Lease/LeaseGrant
/etcdserverpb.Lease/LeaseKeepAlive<>
/etcdserverpb.Lease/LeaseLeases
/etcdserverpb.Lease/LeaseRevoke
/etcdserverpb.Lease/LeaseTimeToLive
/etcdserverpb.Maintenance/Alarm
/etcdserverpb.Maintenance/Defragment
/etcdserverpb.Maintenance/Downgrade
/etcdserverpb.Maintenance/Hash
/etcdserverpb.Maintenance/HashKV
/etcdserverpb.Maintenance/MoveLeader
/etcdserverpb.Maintenance/Snapshot>
/etcdserverpb.Maintenance/Status
/etcdserverpb.Watch/Watch<>
/evenkeel.peer.Peer/Ask
/evenkeel.peer.Peer/Stream<
/grpc.health.v1.Health/Check
/grpc.health.v1.Health/List
/grpc.health.v1.Health/Watch>
/v3electionpb.Election/Campaign
/v3electionpb.Election/Leader
/v3electionpb.Election/Observe>
/v3electionpb.Election/Proclaim
/v3electionpb.Election/Resign
/v3lockpb.Lock/Lock
/v3lockpb.Lock/Unlock
";

#[test]
fn every_rpc_is_at_its_path() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("our own descriptors").file;
    let mut found = Vec::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let arrow = match (method.client_streaming(), method.server_streaming()) {
                    (false, false) => "",
                    (true, false) => "<",
                    (false, true) => ">",
                    (true, true) => "<>",
                };
                found.push(format!("/{}.{}/{}{arrow}\n", file.package(), service.name(), method.name()));
            }
        }
    }
    found.sort();
    assert_eq!(found.concat(), RPCS);
}

#[test]
fn responses_carry_their_header_first() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("our own descriptors").file;
    let headerless = ["RangeStreamResponse", "ResponseOp", "EmptyResponse"];
    for message in files.iter().filter(|f| f.package() == "etcdserverpb").flat_map(|f| &f.message_type) {
        if message.name().ends_with("Response") && !headerless.contains(&message.name()) {
            let header = &message.field[0];
            assert_eq!((header.name(), header.number()), ("header", 1), "{}", message.name());
        }
    }
}
