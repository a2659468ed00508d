//! From a data directory to a member: found a cluster, or come back.
//!
//! A directory counts as initialised once it holds a checkpoint: founding writes the log first and the checkpoint
//! of the empty state last, so a crash in between leaves nothing that counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use evenkeel_mvcc::Store;
use evenkeel_raft::types::SnapshotMeta;
use evenkeel_raft::{HardState, Index, Raft, Restored, Term};
use evenkeel_storage::checkpoint::stored_identity;
use evenkeel_storage::wal::{Identity, Options};
use evenkeel_storage::{LogStart, Place, Wal};

use crate::checkpoint;
use crate::config::{ClusterState, Config};
use crate::env::{Env, point};
use crate::member::Ids;
use crate::membership::{self, alone, cluster_id, join, sorted};
use crate::state::{Cluster, MemberInfo, State};
use crate::version::{self, Release};

/// Why a member cannot start. Each message says what to do.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration contradicts itself.
    Config(String),
    /// The data cannot be read or trusted.
    Data(String),
    /// An address cannot be listened on.
    Listen(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ServeError::Config(text) | ServeError::Data(text) | ServeError::Listen(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for ServeError {}

/// A member about to run.
pub struct Booted {
    /// Who it is.
    pub ids: Ids,
    /// Its consensus core.
    pub raft: Raft,
    /// Its log.
    pub wal: Wal,
    /// Its state as of its newest checkpoint.
    pub state: State,
    /// The level of that checkpoint.
    pub storage: Release,
    /// Where the payloads of the log's entries lie.
    pub places: Vec<(Index, Place)>,
}

/// A founding member's id, as etcd's.
pub fn member_id(peer_urls: &[String], token: &str) -> u64 {
    membership::member_id(peer_urls, token, None)
}

/// The founding members of the configuration, and this one's id.
fn founders(config: &Config) -> Result<(Ids, Cluster), ServeError> {
    let mut members = BTreeMap::new();
    let mut own = None;
    for (name, urls) in &config.initial_cluster {
        let id = member_id(urls, &config.initial_cluster_token);
        let info = MemberInfo { name: String::new(), peer_urls: urls.clone(), ..MemberInfo::default() };
        if members.insert(id, info).is_some() {
            return Err(ServeError::Config(format!(
                "--initial-cluster lists the peer URLs of member {name:?} twice; give each member its own"
            )));
        }
        if *name == config.name {
            own = Some((id, urls));
        }
    }
    let Some((member, urls)) = own else {
        return Err(ServeError::Config(format!(
            "couldn't find local name {:?} in the initial cluster configuration; add {}=URL to --initial-cluster or \
             set --name",
            config.name, config.name
        )));
    };
    if sorted(urls) != sorted(&config.initial_advertise_peer_urls) {
        return Err(ServeError::Config(format!(
            "--initial-cluster has {} for member {:?}, but --initial-advertise-peer-urls is {}; make them equal",
            urls.join(","),
            config.name,
            config.initial_advertise_peer_urls.join(",")
        )));
    }
    let ids = Ids { cluster: cluster_id(members.keys().copied()), member };
    Ok((ids, Cluster::founded(members)))
}

/// Founds a cluster, joins one, or comes back from the data directory.
pub async fn boot(config: &Config, env: &Env) -> Result<Booted, ServeError> {
    let (disk, seed) = (&env.disk, env.seed);
    let data = |error: &dyn fmt::Display| ServeError::Data(format!("data directory {}: {error}", config.data_dir));
    let stored = stored_identity(&**disk).map_err(|e| data(&e))?;
    let (ids, cluster) = match stored {
        // As etcd, a member that exists already does not read the flags about the cluster again.
        Some(stored) => (Ids { cluster: stored.cluster_id, member: stored.member_id }, Cluster::default()),
        None if config.force_new_cluster => {
            return Err(ServeError::Config(
                "--force-new-cluster needs a member with data, and this data directory is empty; start it on the data of \
                 a member of the lost cluster"
                    .into(),
            ));
        }
        None if config.initial_cluster_state == ClusterState::Existing => {
            founders(config)?;
            join::existing(config, env).await?
        }
        None => {
            let (ids, cluster) = founders(config)?;
            join::may_found(config, env, ids).await?;
            (ids, cluster)
        }
    };
    let identity = Identity { cluster_id: ids.cluster, member_id: ids.member };
    match checkpoint::newest(&**disk, identity, config.mutants).map_err(|e| data(&e))? {
        Some(found) => {
            let storage = version::storage::admit(config.release, found.storage, found.state.cluster().version)
                .map_err(|e| data(&e))?;
            point!(env, "boot.before_log");
            let (mut wal, mut recovered) =
                Wal::open(Arc::clone(disk), options(config, ids), found.start).await.map_err(|e| data(&e))?;
            point!(env, "boot.log_read");
            if let Some(repair) = recovered.repaired.take() {
                tracing::warn!(
                    file = repair.file,
                    offset = repair.offset,
                    bytes = repair.bytes,
                    "removed a torn, unacknowledged write at the end of the log"
                );
            }
            if config.force_new_cluster {
                alone::begin(ids, config, &found.state, &mut wal, &mut recovered).await?;
            }
            // What comes after its removal may be that it began anew.
            let newest = alone::newest_configuration(&found.state, &recovered);
            if found.state.cluster().removed.contains(&ids.member)
                && !newest.members().contains(&evenkeel_raft::NodeId(ids.member))
            {
                return Err(ServeError::Data(membership::REMOVED.into()));
            }
            let logged = recovered.entries.iter().map(|(entry, _)| entry);
            let known =
                membership::apply::logged(found.state.members(), logged).last().expect("the applied one at least");
            check_directory(config, ids, known)?;
            let places = recovered.entries.iter().map(|(entry, place)| (entry.index, *place)).collect();
            let restored = Restored {
                hard_state: recovered.hard_state,
                snapshot: meta(&found.state),
                entries: recovered.entries.into_iter().map(|(entry, _)| entry).collect(),
                first_prev_term: recovered.base.1,
                applied: found.start.index,
            };
            let raft = Raft::new(core_config(config, ids, seed), restored);
            Ok(Booted { ids, raft, wal, state: found.state, storage, places })
        }
        None => {
            // A log without a checkpoint is what a crash while founding left: nothing of it was ever acknowledged.
            Wal::discard(&**disk).await.map_err(|e| data(&e))?;
            let wal = Wal::create(Arc::clone(disk), options(config, ids)).await.map_err(|e| data(&e))?;
            let state = State::new(Store::new(), cluster);
            let storage = state.cluster().level();
            checkpoint::found(disk, ids, &state, LogStart::BEGINNING).await.map_err(|e| data(&e))?;
            let restored = Restored {
                hard_state: HardState::default(),
                snapshot: meta(&state),
                entries: Vec::new(),
                first_prev_term: Term(0),
                applied: Index(0),
            };
            let raft = Raft::new(core_config(config, ids, seed), restored);
            Ok(Booted { ids, raft, wal, state, storage, places: Vec::new() })
        }
    }
}

/// A directory that is clearly another member's is refused. Addresses may have changed since the cluster was founded,
/// so flags that describe another founding will do as long as one address in them is this cluster's.
fn check_directory(config: &Config, stored: Ids, known: Cluster) -> Result<(), ServeError> {
    if config.initial_cluster_state == ClusterState::Existing || config.force_new_cluster {
        return Ok(());
    }
    let (told, _) = founders(config)?;
    if told == stored {
        return Ok(());
    }
    let own = sorted(&config.initial_advertise_peer_urls);
    let holder = known.members.iter().find(|(_, info)| sorted(&info.peer_urls) == own).map(|(id, _)| *id);
    let ours = |url: &String| known.members.values().any(|info| info.peer_urls.contains(url));
    let meant = match holder {
        Some(member) if member == stored.member => return Ok(()),
        Some(member) => Ids { cluster: stored.cluster, member },
        None if config.initial_cluster.iter().any(|(_, urls)| urls.iter().any(ours)) => return Ok(()),
        None => told,
    };
    Err(ServeError::Data(format!(
        "data directory {} belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x} that the flags \
         describe; set another --data-dir, or, when this member's addresses have changed, --initial-cluster-state \
         existing",
        config.data_dir, stored.member, stored.cluster, meant.member, meant.cluster
    )))
}

fn options(config: &Config, ids: Ids) -> Options {
    Options {
        segment_bytes: config.wal_segment_bytes,
        identity: Identity { cluster_id: ids.cluster, member_id: ids.member },
        cache_bytes: config.value_cache_bytes,
        mutants: config.mutants,
    }
}

fn meta(state: &State) -> SnapshotMeta {
    let (index, term) = state.store.applied();
    SnapshotMeta { index: Index(index), term: Term(term), configuration: state.cluster().configuration.clone() }
}

/// etcd's limits on what is under way.
fn core_config(config: &Config, ids: Ids, seed: u64) -> evenkeel_raft::Config {
    evenkeel_raft::Config {
        id: evenkeel_raft::NodeId(ids.member),
        election_ticks: config.election_ticks(),
        heartbeat_ticks: 1,
        pre_vote: config.pre_vote,
        check_quorum: config.check_quorum,
        max_message_bytes: 1024 * 1024,
        max_inflight_messages: 512,
        max_inflight_bytes: 64 * 1024 * 1024,
        max_uncommitted_bytes: 256 * 1024 * 1024,
        max_committed_batch_bytes: 4 * 1024 * 1024,
        max_waiting_reads: 4_096,
        seed,
        mutants: config.mutants,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that etcd 3.7.3 prints for these clusters.
    #[test]
    fn ids_are_those_of_etcd() {
        let one = member_id(&["http://localhost:2380".into()], "etcd-cluster");
        assert_eq!(format!("{one:x}"), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster_id([one])), "cdf818194e3a8c32");
    }
}
