//! Questions to a member whose address is all one knows: by who wants to join, and by who wonders whether it was
//! removed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::peer::query::Question;
use evenkeel_proto::peer::{Query, QueryAnswer, Replace};
use evenkeel_proto::store as pb;
use prost::Message;
use tokio::sync::oneshot;

use super::{Change, member_id, sorted, urls_are_valid};
use crate::env::Network;
use crate::member::Member;

/// How long an answer may wait for the newest state; after that it is given as it is here.
const FRESHNESS_PATIENCE: Duration = Duration::from_secs(1);

/// Asks whoever listens at `url`.
pub async fn ask(network: &dyn Network, url: &str, query: &Query) -> Result<QueryAnswer, String> {
    let answer = network.query(url.to_owned(), query.encode_to_vec().into()).await?;
    let answer = QueryAnswer::decode(answer).map_err(|error| error.to_string())?;
    if answer.error.is_empty() { Ok(answer) } else { Err(answer.error) }
}

/// Answers in the background.
pub fn answer(member: &Arc<Member>, bytes: Bytes, reply: oneshot::Sender<Bytes>) {
    let member = Arc::clone(member);
    tokio::spawn(async move {
        let answer = match Query::decode(bytes) {
            Ok(query) => respond(&member, query).await,
            Err(error) => Err(error.to_string()),
        };
        let answer = answer.unwrap_or_else(|error| QueryAnswer { error, ..QueryAnswer::default() });
        let _ = reply.send(answer.encode_to_vec().into());
    });
}

async fn respond(member: &Arc<Member>, query: Query) -> Result<QueryAnswer, String> {
    let cluster = member.ids().cluster;
    if query.cluster_id != 0 && query.cluster_id != cluster {
        return Err(format!("this is a member of cluster {cluster:x}, not of {:x}", query.cluster_id));
    }
    // The newest list when there is a leader, otherwise the one that is here.
    if member.standing().leader.is_some() {
        tokio::select! {
            biased;
            _ = member.read_barrier() => {}
            () = member.env().clock.sleep(FRESHNESS_PATIENCE) => {}
        }
    }
    if let Some(Question::Replace(Replace { peer_urls })) = query.question {
        replace(member, &peer_urls).await?;
    }
    let state = member.state();
    let known = state.cluster();
    Ok(QueryAnswer {
        error: String::new(),
        cluster_id: cluster,
        cluster_version: known.version.map(|version| version.to_string()).unwrap_or_default(),
        // Who is coming belongs to it as well: an entry takes part from the moment it is in the log, and without a
        // leader, as after a restart, nobody could apply it.
        members: known.members.iter().map(|(id, info)| info.to_proto(*id)).chain(member.coming()).collect(),
        removed: known.removed.contains(&query.from),
    })
}

/// Adds a learner that will take the place of the newest member with these URLs, unless that one has never started.
async fn replace(member: &Arc<Member>, urls: &[String]) -> Result<(), String> {
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
    if !info.has_started() {
        return Ok(());
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
    member.change_membership(change).await.map(|_| ()).map_err(|error| error.to_string())
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
