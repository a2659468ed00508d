use std::time::Duration;

use tonic::Code;

use super::*;

fn text(metrics: &Metrics) -> String {
    metrics.render(&Facts { cluster_version: Some("3.7.0".into()), ..Facts::default() })
}

#[test]
fn names_that_dashboards_read_are_there_from_the_start() {
    let text = text(&Metrics::new());
    for line in [
        "# TYPE etcd_server_proposals_committed_total gauge",
        "# TYPE etcd_server_proposals_applied_total gauge",
        "# TYPE etcd_server_leader_changes_seen_total counter",
        "# TYPE etcd_disk_wal_fsync_duration_seconds histogram",
        "# TYPE etcd_disk_backend_commit_duration_seconds histogram",
        "# TYPE etcd_mvcc_db_total_size_in_bytes gauge",
        "etcd_server_has_leader 0",
        "etcd_server_version{server_version=\"3.7.3\"} 1",
        "etcd_cluster_version{cluster_version=\"3.7\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn a_leader_change_is_counted_when_a_leader_is_found() {
    let metrics = Metrics::new();
    for (leader, before, changes) in
        [(None, None, 0), (Some(1), None, 1), (Some(1), Some(1), 1), (None, Some(1), 1), (Some(2), None, 2)]
    {
        metrics.standing(false, leader, before);
        assert_eq!(metrics.leader_changes.get(), changes, "{before:?} to {leader:?}");
        assert_eq!(metrics.has_leader.get(), i64::from(leader.is_some()));
    }
}

#[test]
fn a_call_that_is_dropped_was_cancelled() {
    let metrics = Metrics::new();
    metrics.rpc("etcdserverpb.KV", "Put", "unary").done(Code::Ok);
    metrics.rpc("etcdserverpb.KV", "Put", "unary").done(Code::ResourceExhausted);
    drop(metrics.rpc("etcdserverpb.KV", "Put", "unary"));
    let text = text(&metrics);
    for line in [
        r#"grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 3"#,
        r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
        r#"grpc_server_handled_total{grpc_code="ResourceExhausted",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
        r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn members_in_one_process_count_apart() {
    let (one, two) = (Metrics::new(), Metrics::new());
    one.wal_synced(Duration::from_millis(3), 100);
    assert_eq!((one.wal_bytes.get(), two.wal_bytes.get()), (100.0, 0.0));
    assert_eq!((one.wal_fsync.get_sample_count(), two.wal_fsync.get_sample_count()), (1, 0));
}
