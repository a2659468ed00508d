//! What members tell the cluster about themselves, through the log: their attributes.

use std::sync::Arc;

use evenkeel_proto::{etcdserverpb as pb, membershippb};

use crate::env::point;
use crate::member::Member;

/// Publishes this member's name and client URLs; resolves once the cluster knows them or the member stops.
pub async fn attributes(member: &Arc<Member>) {
    loop {
        tokio::select! {
            biased;
            () = member.stopping() => return,
            () = member.leader_known() => {}
        }
        if member.read_barrier().await.is_ok() && published(member) {
            return;
        }
        let config = member.config();
        let request = pb::InternalRaftRequest {
            cluster_member_attr_set: Some(membershippb::ClusterMemberAttrSetRequest {
                member_id: member.ids().member,
                member_attributes: Some(membershippb::Attributes {
                    name: config.name.clone(),
                    client_urls: config.advertise_client_urls.clone(),
                }),
            }),
            ..Default::default()
        };
        point!(member.env(), "publish.before_propose");
        if member.propose(request).await.is_ok() {
            return;
        }
        if member.ended().is_some() {
            return;
        }
        member.env().clock.sleep(config.heartbeat_interval).await;
    }
}

fn published(member: &Member) -> bool {
    let state = member.state();
    let known = state.cluster().members.get(&member.ids().member);
    known.is_some_and(|info| {
        info.name == member.config().name && info.client_urls == member.config().advertise_client_urls
    })
}
