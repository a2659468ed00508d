//! The member as its HTTP side sees it.

use futures_core::future::BoxFuture;

use crate::front::{Facts, Inspect, MemberFacts};
use crate::member::Member;
use crate::metrics::Metrics;

impl Inspect for Member {
    fn metrics(&self) -> &Metrics {
        Member::metrics(self)
    }

    fn facts(&self) -> Facts {
        let state = self.state();
        let status = self.raft_status();
        let size = self.store_size();
        let watching = self.watches().figures();
        let cluster = state.cluster();
        Facts {
            member_id: self.ids().member,
            leader: status.leader,
            raft_term: status.term,
            committed: status.committed,
            applied: status.applied,
            is_learner: status.is_learner,
            release: self.config().release,
            cluster_version: cluster.version.map(|version| version.to_string()),
            storage_version: self.storage().version(),
            downgrade_enabled: cluster.downgrade.is_some(),
            alarms: cluster.alarms.iter().map(|(_, kind)| *kind).collect(),
            quota_bytes: self.config().quota_backend_bytes.unwrap_or(0),
            db_total_bytes: size.total_bytes,
            db_in_use_bytes: size.in_use_bytes,
            keys: state.store.key_count(),
            current_revision: state.store.revision().0,
            compact_revision: state.store.compacted().0,
            watchers: watching.watchers,
            slow_watchers: watching.slow,
            watch_streams: watching.streams,
            pending_events: watching.pending,
            members: cluster
                .members
                .iter()
                .map(|(id, info)| MemberFacts {
                    id: *id,
                    name: info.name.clone(),
                    peer_urls: info.peer_urls.clone(),
                    client_urls: info.client_urls.clone(),
                    is_learner: info.is_learner,
                })
                .collect(),
        }
    }

    fn read(&self, serializable: bool) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            if serializable {
                return Ok(());
            }
            self.read_barrier().await.map_err(|error| error.to_string())
        })
    }

    fn leaving(&self) -> BoxFuture<'_, ()> {
        Box::pin(Member::leaving(self))
    }
}
