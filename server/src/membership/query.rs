//! Questions to a member whose address is all one knows: by who wants to join, and by who wonders whether it was
//! removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::peer::query::Question;
use evenkeel_proto::peer::{Query, QueryAnswer, Replace};
use evenkeel_proto::{membershippb, store as pb};
use evenkeel_raft::{Index, Payload, Raft, Term};
use prost::Message;
use tokio::sync::oneshot;

use super::{Change, apply, member_id, rules, sorted, urls_are_valid};
use crate::env::Network;
use crate::member::{Ids, Member};
use crate::state::Cluster;

/// How long an answer may wait for the newest state; after that it is given as it is here.
const FRESHNESS_PATIENCE: Duration = Duration::from_secs(1);

/// Asks whoever listens at `url`.
pub async fn ask(network: &dyn Network, url: &str, query: &Query) -> Result<QueryAnswer, String> {
    let answer = network.query(url.to_owned(), query.encode_to_vec().into()).await?;
    let answer = QueryAnswer::decode(answer).map_err(|error| error.to_string())?;
    if answer.error.is_empty() { Ok(answer) } else { Err(answer.error) }
}

/// What the log says, the entries behind the applied ones included: they may be committed, and without a leader, as after
/// a restart, they are not applied.
struct Log {
    /// Term and index of the newest entry.
    end: (Term, Index),
    /// The cluster as the log makes it.
    cluster: Cluster,
    /// Names that members have published behind the applied entries.
    names: BTreeMap<u64, String>,
    /// A snapshot took the place of entries, and the state is not there yet: it does not say what the log says.
    has_gap: bool,
}

impl Log {
    fn of(raft: &Raft, member: &Member) -> Log {
        // In this order: what was applied up to there is known then.
        let applied = *member.applied().borrow();
        let (known_upto, known) = member.known_cluster();
        let last = raft.last_index();
        let entries = || (applied.next().0..=last.0).filter_map(|index| raft.entry(Index(index)));
        Log {
            end: (raft.term_at(last).unwrap_or_default(), last),
            cluster: apply::logged((known_upto, &*known), entries()).last().expect("the known one at least"),
            names: names(entries().map(|entry| &entry.payload)),
            has_gap: applied.next() < raft.first_index(),
        }
    }
}

fn names<'a>(payloads: impl Iterator<Item = &'a Payload>) -> BTreeMap<u64, String> {
    /// The one field of an `InternalRaftRequest`. Decoding it skips the others.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Request {
        #[prost(message, optional, tag = "1301")]
        set: Option<membershippb::ClusterMemberAttrSetRequest>,
    }
    let published = payloads.filter_map(|payload| {
        let Payload::Data(data) = payload else { return None };
        let set = Request::decode(&data[..]).ok()?.set?;
        Some((set.member_id, set.member_attributes?.name))
    });
    published.collect()
}

/// Answers in the background.
pub fn answer(member: &Arc<Member>, raft: &Raft, bytes: Bytes, reply: oneshot::Sender<Bytes>) {
    let member = Arc::clone(member);
    let log = Log::of(raft, &member);
    tokio::spawn(async move {
        let answer = match Query::decode(bytes) {
            Ok(query) => respond(&member, query, log).await,
            Err(error) => Err(error.to_string()),
        };
        let answer = answer.unwrap_or_else(|error| QueryAnswer { error, ..QueryAnswer::default() });
        let _ = reply.send(answer.encode_to_vec().into());
    });
}

async fn respond(member: &Arc<Member>, query: Query, log: Log) -> Result<QueryAnswer, String> {
    let Ids { cluster, member: own } = member.ids();
    if query.cluster_id != 0 && query.cluster_id != cluster {
        return Err(format!("this is a member of cluster {cluster:x}, not of {:x}", query.cluster_id));
    }
    // The newest list when there is a leader, otherwise the one that is here.
    let mut confirmed = member.standing().leader.is_some()
        && tokio::select! {
            biased;
            read = member.read_barrier() => read.is_ok(),
            () = member.env().clock.sleep(FRESHNESS_PATIENCE) => false,
        };
    if let Some(Question::Replace(Replace { peer_urls })) = query.question {
        // What was applied for this question is in the answer, and nobody has started as the new one before it.
        confirmed |= replace(member, &peer_urls).await?;
    }
    let state = member.state();
    let known = state.cluster();
    let mut names = log.names;
    names
        .extend(known.members.iter().filter(|(_, info)| info.has_started()).map(|(id, info)| (*id, info.name.clone())));
    let knows_nothing = log.has_gap || known.configuration.members().is_empty();
    let (last_term, last_index) = if log.has_gap { Default::default() } else { log.end };
    Ok(QueryAnswer {
        error: String::new(),
        cluster_id: cluster,
        cluster_version: known.version.map(|version| version.to_string()).unwrap_or_default(),
        members: listed(if confirmed { known } else { &log.cluster }, &names),
        removed: known.removed.contains(&query.from),
        from: if knows_nothing { 0 } else { own },
        confirmed,
        log_is_empty: log.end.1 == Index(0),
        last_term: last_term.0,
        last_index: last_index.0,
    })
}

/// The members, with the names that are known by now.
fn listed(cluster: &Cluster, names: &BTreeMap<u64, String>) -> Vec<pb::Member> {
    let named = |mut record: pb::Member| {
        if let Some(name) = names.get(&record.id).filter(|_| record.name.is_empty()) {
            record.name.clone_from(name);
        }
        record
    };
    cluster.members.iter().map(|(id, info)| info.to_proto(*id)).map(named).collect()
}

/// Adds a learner that will take the place of the newest member with these URLs, unless that one is a learner that has
/// never started: then this was asked before. Whether it did. (A voter without a name may have started: it votes, and
/// holds entries, before its name is known. What its disk has lost must not be promised again under its id. The second of
/// two voters cannot be replaced, the first alone decides nothing: it starts as who it is.)
async fn replace(member: &Arc<Member>, urls: &[String]) -> Result<bool, String> {
    if !urls_are_valid(urls) {
        return Err("these are no peer URLs".into());
    }
    let urls = sorted(urls);
    let state = member.state();
    let members = &state.cluster().members;
    let is_replaced = |id| members.values().any(|info| info.replaces == Some(id));
    let found = members.iter().find(|(id, info)| !is_replaced(**id) && sorted(&info.peer_urls) == urls);
    let Some((old, info)) = found else {
        return Err(format!("no member has the peer URLs {}; add it with `etcdctl member add`", urls.join(",")));
    };
    if !info.has_started() && (info.is_learner || !rules::can_be_missed(state.cluster(), *old)) {
        return Ok(false);
    }
    let id = member_id(&urls, "", Some(member.env().clock.wall()));
    let new = pb::Member {
        id,
        peer_urls: urls,
        is_learner: true,
        promote_when_ready: true,
        // Only for who asks before it is applied: applying looks itself.
        replaces: if info.is_learner { info.replaces.unwrap_or(0) } else { *old },
        ..pb::Member::default()
    };
    let change = Change::Replace(pb::Replacement { old: *old, new: Some(new) });
    member.change_membership(change).await.map(|_| true).map_err(|error| error.to_string())
}

/// Asks one of the others whether this member still belongs to the cluster: without a leader it may be that it does
/// not, and nobody sends it the entry that says so.
pub fn whether_removed(member: &Arc<Member>, url: String) {
    let member = Arc::clone(member);
    tokio::spawn(async move {
        let query = Query { cluster_id: member.ids().cluster, from: member.ids().member, question: None };
        let asked = ask(&*member.env().network, &url, &query);
        let answer = tokio::select! {
            biased;
            () = member.stopping() => return,
            answer = asked => answer,
        };
        if answer.is_ok_and(|answer| answer.cluster_id == member.ids().cluster && answer.removed) {
            member.was_removed();
        }
    });
}

#[cfg(test)]
mod tests {
    use evenkeel_proto::etcdserverpb;
    use evenkeel_raft::{ConfigEntry, Data};

    use super::*;
    use crate::state::MemberInfo;

    #[test]
    fn everybody_is_listed_once_with_the_newest_name() {
        let record = |id, name: &str| pb::Member { id, name: name.into(), ..pb::Member::default() };
        let known = [(1, "a"), (2, "")].map(|(id, name)| MemberInfo::from_proto(record(id, name)));
        let names = [(1, "z".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())].into();
        assert_eq!(listed(&Cluster::founded(known.into()), &names), [record(1, "a"), record(2, "b")]);
    }

    #[test]
    fn names_are_found_in_entries_that_nobody_has_applied() {
        let data = |request: etcdserverpb::InternalRaftRequest| Payload::Data(Data::from(request.encode_to_vec()));
        let named = |member_id, name: &str| {
            let attributes = membershippb::Attributes { name: name.into(), client_urls: Vec::new() };
            let set = membershippb::ClusterMemberAttrSetRequest { member_id, member_attributes: Some(attributes) };
            data(etcdserverpb::InternalRaftRequest { cluster_member_attr_set: Some(set), ..Default::default() })
        };
        let put = etcdserverpb::PutRequest { key: b"k".to_vec().into(), ..Default::default() };
        let payloads = [
            Payload::Empty,
            named(3, "c"),
            data(etcdserverpb::InternalRaftRequest { put: Some(put), ..Default::default() }),
            Payload::Config(ConfigEntry::default().into()),
            Payload::Data(Data::from(vec![0xff; 3])),
            named(2, "b"),
        ];
        assert_eq!(names(payloads.iter()), [(2, "b".to_owned()), (3, "c".to_owned())].into());
    }
}
