//! Versions as clients see them, on a lone member. The texts are those that etcd 3.7.3 gave to the same requests.

use std::time::Duration;

use tonic::Code;

use evenkeel_proto::etcdserverpb::kv_server::Kv;

use super::*;
use crate::service::rig::{self, Rig};
use crate::version::Release;

/// Long enough for everything that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);

async fn status(rig: &Rig) -> pb::StatusResponse {
    rig.services.maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner()
}

async fn downgrade(rig: &Rig, action: DowngradeAction, version: &str) -> Result<String, (Code, String)> {
    let request = pb::DowngradeRequest { action: action as i32, version: version.to_owned() };
    let answer = rig.services.maintenance.downgrade(Request::new(request)).await;
    answer.map(|answer| answer.into_inner().version).map_err(|error| (error.code(), error.message().to_owned()))
}

/// Waits until cluster and storage are at this level.
async fn at(rig: &Rig, level: Release) {
    let reached = async {
        while rig.member.cluster_version() != Some(level.version()) || rig.member.storage().level() != level {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the level is reached");
}

#[tokio::test]
async fn a_downgrade_follows_the_rules_of_etcd() {
    use DowngradeAction::{Cancel, Enable, Validate};
    let rig = Rig::start().await;
    at(&rig, Release::V3_7).await;
    let invalid = || Err((Code::InvalidArgument, "etcdserver: invalid downgrade target version".to_owned()));
    let format = || Err((Code::InvalidArgument, "etcdserver: wrong downgrade target version format".to_owned()));
    let running = || Err((Code::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress".to_owned()));
    let cluster = |version: &str| Ok(version.to_owned());
    for (action, target, answer) in [
        (Validate, "3.6", cluster("3.7")),
        (Validate, "3.6.0", cluster("3.7")),
        (Validate, "3.6.5", cluster("3.7")),
        (Validate, "3.5", invalid()),
        (Validate, "3.7", invalid()),
        (Validate, "3.8", invalid()),
        (Validate, "abc", format()),
        (Validate, "3", format()),
        (Validate, "", format()),
        (Validate, "v3.6", format()),
        (Cancel, "", cluster("3.7")),
        (Enable, "3.5", invalid()),
        (Enable, "3.6", cluster("3.7")),
    ] {
        assert_eq!(downgrade(&rig, action, target).await, answer, "{action:?} {target:?}");
    }
    at(&rig, Release::V3_6).await;
    let told = status(&rig).await;
    let info = Some(pb::DowngradeInfo { enabled: true, target_version: "3.6.0".into() });
    assert_eq!((told.version.as_str(), told.storage_version.as_str(), told.downgrade_info), ("3.7.3", "3.6.0", info));
    for (action, target, answer) in [
        (Enable, "3.5", running()),
        (Validate, "3.6", invalid()),
        (Validate, "3.5", running()),
        (Cancel, "", cluster("3.6")),
    ] {
        assert_eq!(downgrade(&rig, action, target).await, answer, "{action:?} {target:?} during a downgrade");
    }
    at(&rig, Release::V3_7).await;
    assert_eq!(status(&rig).await.downgrade_info, Some(pb::DowngradeInfo::default()));
    rig.stop();
}

#[tokio::test]
async fn each_release_answers_what_it_knows() {
    for release in Release::ALL {
        let rig = Rig::start_with(|config| config.release = release).await;
        at(&rig, release).await;
        let told = status(&rig).await;
        let new = Release::V3_6 <= release;
        assert_eq!(told.version, release.server());
        assert_eq!(told.storage_version, if new { release.cluster() } else { "" });
        assert_eq!((told.db_size_quota, told.downgrade_info.is_some()), (if new { 2 << 30 } else { 0 }, new));
        let stream = rig.services.kv.range_stream(Request::new(rig::range("a", ""))).await;
        match release {
            Release::V3_7 => assert!(stream.is_ok()),
            _ => {
                let error = stream.err().expect("unknown");
                let text = "unknown method RangeStream for service etcdserverpb.KV";
                assert_eq!((error.code(), error.message()), (Code::Unimplemented, text));
            }
        }
        let cancelled = downgrade(&rig, DowngradeAction::Cancel, "").await;
        let none = (Code::FailedPrecondition, "etcdserver: no inflight downgrade job".to_owned());
        assert_eq!(cancelled, if new { Ok(release.minor().to_owned()) } else { Err(none) });
        rig.stop();
    }
}

#[tokio::test]
async fn a_compaction_leaves_its_hash_from_3_7_on() {
    for release in Release::ALL {
        let rig = Rig::start_with(|config| config.release = release).await;
        at(&rig, release).await;
        for value in ["1", "2"] {
            rig.services.kv.answer_put(rig::put("a", value)).await.unwrap();
        }
        let request = pb::CompactionRequest { revision: 2, physical: false };
        rig.services.kv.compact(Request::new(request)).await.unwrap();
        let kept = rig.member.state().cluster().compaction.map(|(revision, _)| revision);
        assert_eq!(kept, (release == Release::V3_7).then_some(2), "{release}");
        rig.stop();
    }
}
