//! What a restart finds.

use std::collections::BTreeMap;

use evenkeel_mvcc::Store;
use evenkeel_raft::NodeId;
use evenkeel_storage::Wal;
use evenkeel_storage::real::RealDisk;
use evenkeel_storage::wal::Options;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::env::real::{RealClock, RealNetwork};
use crate::env::{Env, Nobody};
use crate::queue::queue;
use crate::reader::Reader;
use crate::state::{Cluster, MemberInfo};

const IDS: Ids = Ids { cluster: 7, member: 2 };
const IDENTITY: Identity = Identity { cluster_id: IDS.cluster, member_id: IDS.member };

/// A member that has joined, and received nothing yet.
async fn joined(dir: &TempDir) -> Arc<Member> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path(), true).unwrap());
    let config = Config { listen_peer_urls: Vec::new(), listen_client_urls: Vec::new(), ..Config::default() };
    let options = Options { segment_bytes: 1 << 20, identity: IDENTITY, cache_bytes: 1 << 20, mutants: Mutants::NONE };
    let wal = Wal::create(Arc::clone(&disk), options).await.unwrap();
    let state = State::new(Store::new(), Cluster { members: members(), ..Cluster::default() });
    let level = state.cluster().level();
    found(&disk, IDS, &state, LogStart::BEGINNING).await.unwrap();
    let reader = Reader::new(wal.values(), &state.store).unwrap();
    let network = Arc::new(RealNetwork::bind(&config).unwrap());
    let env = Env { disk, network, clock: Arc::new(RealClock::new()), seed: 1, observer: Arc::new(Nobody) };
    Member::new(config, IDS, env, state, level, reader, queue(crate::node::INPUT_QUEUE).0)
}

fn members() -> BTreeMap<u64, MemberInfo> {
    let info = |id| MemberInfo { peer_urls: vec![format!("http://10.0.0.{id}:2380")], ..MemberInfo::default() };
    (1..=2).map(|id| (id, info(id))).collect()
}

/// Who a restart would think takes part.
fn stored(member: &Member) -> Vec<NodeId> {
    let found = newest(&*member.env().disk, IDENTITY, Mutants::NONE).unwrap().expect("there is one");
    found.state.cluster().configuration.voters.iter().copied().collect()
}

#[tokio::test]
async fn what_a_cluster_was_founded_with_is_durable_once_a_snapshot_of_entry_0_is_taken() {
    let dir = TempDir::new().unwrap();
    let member = joined(&dir).await;
    assert_eq!(stored(&member), []);
    let snapshot = State::new(Store::new(), Cluster::founded(members()));
    let written = write(&member, &snapshot).await.unwrap();
    assert_eq!(written.map(|start| start.index), Some(Index(0)));
    assert_eq!(stored(&member), [NodeId(1), NodeId(2)]);
    // Once is enough.
    member.install(snapshot.clone());
    assert_eq!(write(&member, &snapshot).await.unwrap(), None);
}
