//! The leader's part: what the cluster version is to be, and when a downgrade is over.
//!
//! The leader asks every member for its release, and proposes the lowest of them: at the beginning of its reign, when
//! what was agreed changes, and every `INTERVAL` while there is something to decide. The version rises only when
//! every member has answered; it falls only to the target of an enabled downgrade.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::{etcdserverpb as pb, membershippb};
use evenkeel_raft::{Mutant, NodeId};
use futures_util::future::join_all;

use super::release::{Release, Version};
use crate::env::point;
use crate::error::RequestError;
use crate::member::Member;

/// Between two looks at the members' releases (etcd's).
const INTERVAL: Duration = Duration::from_secs(4);

/// What the cluster version should become, if anything. `lowest` is the lowest release among the members, when all
/// are known.
fn decide(agreed: Option<Version>, downgrade: Option<Version>, lowest: Option<Version>) -> Option<Version> {
    match (agreed, downgrade) {
        (None, _) => Some(lowest.unwrap_or(Version::LOWEST)),
        // One level at a time: the version may have risen between the question and the entry.
        (Some(agreed), Some(target)) => {
            let below = Release::turned_on_by(Some(agreed)).below().map(Release::version);
            Some(target).filter(|target| Some(*target) == below)
        }
        (Some(agreed), None) => lowest.filter(|lowest| agreed < *lowest),
    }
}

/// Watches over the versions as the leader of `term`, until it leads no more.
pub fn spawn(member: &Arc<Member>, term: u64) {
    let watchers = [tokio::spawn(agree(Arc::clone(member), term)), tokio::spawn(complete(Arc::clone(member), term))];
    drop(watchers); // they end with the reign
}

/// Keeps the cluster version.
async fn agree(member: Arc<Member>, term: u64) {
    let mut changes = member.storage().cluster_changes();
    // A leader that has not applied what was agreed before its reign would decide on old facts.
    while let Err(error) = member.read_barrier().await {
        tracing::debug!(%error, "a new leader cannot look at the versions yet");
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.reign_ended(term) => return,
            () = member.env().clock.sleep(member.config().heartbeat_interval) => {}
        }
    }
    while member.reign() == Some(term) {
        changes.borrow_and_update();
        let decided = match open(&member) {
            true => {
                let mut releases = releases(&member).await;
                if member.config().mutants.on(Mutant::VersionWithoutAll) {
                    releases.retain(|_, release| release.is_some());
                }
                decide(member.cluster_version(), member.downgrade(), lowest(&releases))
            }
            false => None,
        };
        if let Some(version) = decided {
            match member.cluster_version() {
                None => tracing::info!(cluster_version = %version, "setting up initial cluster version"),
                Some(from) => tracing::info!(%from, to = %version, "updating cluster version"),
            }
            let ver = version.to_string();
            let request = pb::InternalRaftRequest {
                cluster_version_set: Some(membershippb::ClusterVersionSetRequest { ver }),
                ..Default::default()
            };
            point!(member.env(), "version.before_propose");
            if let Err(error) = member.propose_in(request, Some(term)).await {
                tracing::warn!(%error, cluster_version = %version, "failed to update cluster version");
            }
        }
        let open = open(&member);
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.reign_ended(term) => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = member.env().clock.sleep(INTERVAL), if open => {}
        }
    }
}

/// Whether there may be something to decide: the version cannot rise above what we are.
fn open(member: &Member) -> bool {
    match (member.cluster_version(), member.downgrade()) {
        (None, _) => true,
        (Some(agreed), Some(target)) => target < agreed,
        (Some(agreed), None) => agreed < member.config().release.version(),
    }
}

/// Ends a downgrade when every member runs its target.
async fn complete(member: Arc<Member>, term: u64) {
    let mut changes = member.storage().cluster_changes();
    loop {
        changes.borrow_and_update();
        let enabled = member.downgrade().is_some();
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.reign_ended(term) => return,
            changed = changes.changed(), if !enabled => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = member.env().clock.sleep(member.config().downgrade_check_time), if enabled => {}
        }
        let Some(target) = member.downgrade() else { continue };
        let releases = releases(&member).await;
        let differs = releases.iter().find(|(_, release)| **release != Some(target));
        if let Some((id, release)) = differs {
            let current = release.map_or_else(|| "unknown".to_owned(), |release| release.to_string());
            tracing::warn!(
                remote_member_id = format!("{id:x}"),
                current_server_version = current,
                target_version = %target,
                "remotes server has mismatching etcd version"
            );
            continue;
        }
        tracing::info!(cluster_version = %target, "the cluster has been downgraded");
        if let Err(error) = member.set_downgrade(None, Some(term)).await {
            tracing::warn!(%error, "failed to cancel downgrade");
        }
    }
}

/// What the members run, as far as they answer.
async fn releases(member: &Member) -> BTreeMap<u64, Option<Version>> {
    let ids: Vec<u64> = member.state().cluster().members.keys().copied().collect();
    let asked = ids.into_iter().map(async |id| {
        let told = match id == member.ids().member {
            true => Ok(member.versions()),
            false => member.asks().versions(member, NodeId(id)).await,
        };
        (id, told.ok().and_then(|told| told.server.parse().ok()))
    });
    join_all(asked).await.into_iter().collect()
}

/// The lowest of them, if all are known.
fn lowest(releases: &BTreeMap<u64, Option<Version>>) -> Option<Version> {
    releases.values().copied().min().flatten()
}

impl Member {
    /// What this member is.
    pub(crate) fn versions(&self) -> evenkeel_proto::peer::VersionsTold {
        let text = |version: Option<Version>| version.map(|version| version.to_string()).unwrap_or_default();
        evenkeel_proto::peer::VersionsTold {
            server: self.config().release.server().to_owned(),
            cluster: text(self.cluster_version()),
            storage: self.storage().version().unwrap_or_default().to_owned(),
            downgrade_target: text(self.downgrade()),
        }
    }

    /// Enables a downgrade to a version, or ends the one that is enabled.
    pub(super) async fn set_downgrade(&self, to: Option<Version>, term: Option<u64>) -> Result<(), RequestError> {
        let ver = to.map(|version| version.to_string()).unwrap_or_default();
        let set = membershippb::DowngradeInfoSetRequest { enabled: to.is_some(), ver };
        let request = pb::InternalRaftRequest { downgrade_info_set: Some(set), ..Default::default() };
        self.propose_in(request, term).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(minor: u32) -> Option<Version> {
        Some(Version { major: 3, minor })
    }

    #[test]
    fn the_version_rises_to_the_lowest_release_and_falls_to_a_target_only() {
        for (agreed, downgrade, lowest, decided, why) in [
            (None, None, v(7), v(7), "the first decision, all known"),
            (None, None, None, v(0), "the first decision, somebody is missing"),
            (v(0), None, v(7), v(7), "now they are there"),
            (v(6), None, v(7), v(7), "all are new"),
            (v(6), None, v(6), None, "not all are new"),
            (v(6), None, None, None, "not all have answered"),
            (v(7), None, v(6), None, "an old member does not pull it down"),
            (v(7), v(6), v(7), v(6), "a downgrade does"),
            (v(7), v(6), None, v(6), "whether or not all answer"),
            (v(6), v(6), v(7), None, "and holds it there"),
            (v(7), v(5), v(7), None, "by one level only"),
        ] {
            assert_eq!(decide(agreed, downgrade, lowest), decided, "{why}");
        }
    }

    #[test]
    fn the_lowest_release_is_known_when_all_are() {
        assert_eq!(lowest(&BTreeMap::from([(1, v(7)), (2, v(6))])), v(6));
        assert_eq!(lowest(&BTreeMap::from([(1, v(7)), (2, None)])), None);
        assert_eq!(lowest(&BTreeMap::new()), None);
    }
}
