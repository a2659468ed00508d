//! `--force-new-cluster`: one member begins anew with the data it has, as the only voter.
//!
//! For when the majority is lost for good. The log stays as it is: what was committed cannot be told from what was
//! not, and an entry that was not may be committed as well. One more entry puts a configuration of this member alone
//! in force and tells the state machine that everybody else was removed, and this member was not, whatever the entries
//! before it say. It is one write with a new term, in which
//! this member has voted for itself, so it is there or not after a crash; and where it is there already, it is not
//! written again.

use evenkeel_proto::store::Member;
use evenkeel_proto::store::membership_change::Change;
use evenkeel_raft::{ConfigEntry, Configuration, Entry, HardState, Index, NodeId, Payload};
use evenkeel_storage::wal::Recovered;
use evenkeel_storage::{Batch, Wal};
use prost::Message;

use super::{MembershipChange, apply};
use crate::ServeError;
use crate::config::Config;
use crate::member::Ids;
use crate::state::State;

/// Makes this member the whole cluster.
pub async fn begin(
    ids: Ids,
    config: &Config,
    state: &State,
    wal: &mut Wal,
    recovered: &mut Recovered,
) -> Result<(), ServeError> {
    let own = NodeId(ids.member);
    let alone = Configuration { voters: [own].into(), ..Configuration::default() };
    let (applied, applied_term) = state.store.applied();
    let newest = newest_configuration(state, recovered);
    if newest.voters.is_empty() {
        return Err(ServeError::Data(
            "--force-new-cluster needs a member with data; this one has joined, but received nothing yet".into(),
        ));
    }
    if *newest == alone {
        return Ok(());
    }
    let last = recovered.entries.last().map_or(Index(applied), |(entry, _)| entry.index.max(Index(applied)));
    let term = recovered.hard_state.term.0.max(applied_term) + 1;
    let hard_state = HardState { term: evenkeel_raft::Term(term), vote: Some(own) };
    let record = record(ids.member, config, state, recovered);
    let told = MembershipChange { request_id: 0, change: Some(Change::Alone(record)) };
    let payload = ConfigEntry { configuration: alone, data: told.encode_to_vec().into() };
    let entry = Entry { term: hard_state.term, index: last.next(), payload: Payload::Config(payload.into()) };
    let batch = Batch { hard_state: Some(hard_state), entries: std::slice::from_ref(&entry), ..Batch::default() };
    let written = wal.commit(batch).await.map_err(|error| ServeError::Data(error.to_string()))?;
    tracing::warn!(member = %own, index = entry.index.0, "forcing a new cluster of this member alone");
    recovered.hard_state = hard_state;
    recovered.entries.push((entry, written.places[0]));
    Ok(())
}

/// The configuration that the log puts in force in the end, committed or not.
pub fn newest_configuration<'a>(state: &'a State, recovered: &'a Recovered) -> &'a Configuration {
    let (applied, _) = state.store.applied();
    let mut configurations = recovered.entries.iter().filter_map(|(entry, _)| match &entry.payload {
        Payload::Config(config) if applied < entry.index.0 => Some(&config.configuration),
        _ => None,
    });
    configurations.next_back().unwrap_or(&state.cluster().configuration)
}

/// The member as the log knew it last: the newest entries may remove it. As the flags say when no log knows.
fn record(own: u64, config: &Config, state: &State, recovered: &Recovered) -> Member {
    let log = recovered.entries.iter().map(|(entry, _)| entry);
    let newest = apply::logged(state.members(), log).filter_map(|mut cluster| cluster.members.remove(&own)).last();
    let by_flags = || Member {
        id: own,
        name: config.name.clone(),
        peer_urls: super::sorted(&config.initial_advertise_peer_urls),
        client_urls: config.advertise_client_urls.clone(),
        ..Member::default()
    };
    newest.map_or_else(by_flags, |info| info.to_proto(own))
}
