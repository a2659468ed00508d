//! Downgrades, as clients ask for them: etcd's rules in etcd's order, with etcd's errors.
//!
//! A target is one minor version below the cluster's. While a job is enabled the cluster version does not rise; the
//! leader lowers it to the target and ends the job when every member runs that ([`super::monitor`]).

use evenkeel_raft::Mutant;

use super::release::{Release, Version};
use crate::error::RequestError;
use crate::member::Member;

impl Member {
    /// Whether a downgrade to `target` could be enabled now. The cluster version, as `3.7`.
    pub async fn downgrade_validate(&self, target: &str) -> Result<String, RequestError> {
        let (_, cluster) = self.check_downgrade(target).await?;
        Ok(minor(cluster))
    }

    /// Enables a downgrade to `target`.
    pub async fn downgrade_enable(&self, target: &str) -> Result<String, RequestError> {
        let (target, cluster) = self.check_downgrade(target).await?;
        self.set_downgrade(Some(target), None).await?;
        Ok(minor(cluster))
    }

    /// Ends the downgrade that is enabled. Without one, releases from 3.6 on answer as if there had been.
    pub async fn downgrade_cancel(&self) -> Result<String, RequestError> {
        self.read_barrier().await?;
        let cluster = self.cluster_version().ok_or(RequestError::ClusterVersionUnavailable)?;
        if self.downgrade().is_some() {
            self.set_downgrade(None, None).await?;
        } else if self.config().release < Release::V3_6 {
            return Err(RequestError::NoInflightDowngrade);
        } else {
            tracing::warn!(error = %RequestError::NoInflightDowngrade, "failed to cancel downgrade");
        }
        Ok(minor(cluster))
    }

    async fn check_downgrade(&self, target: &str) -> Result<(Version, Version), RequestError> {
        let target: Version = target.parse().map_err(|_| RequestError::WrongDowngradeVersionFormat)?;
        self.read_barrier().await?;
        let cluster = self.cluster_version().ok_or(RequestError::ClusterVersionUnavailable)?;
        let below = Release::turned_on_by(Some(cluster)).below().map(Release::version);
        if below != Some(target) && !self.config().mutants.on(Mutant::DowngradeUnchecked) {
            return Err(RequestError::InvalidDowngradeTargetVersion);
        }
        if self.downgrade().is_some() {
            return Err(RequestError::DowngradeInProcess);
        }
        Ok((target, cluster))
    }
}

fn minor(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}
