//! Leadership that changes hands at its holder's wish (dissertation 3.10), and elections that need not wait.
//!
//! **Transfer.** The leader takes no more proposals, sends the chosen voter what it lacks, and once that one holds the
//! whole log tells it to campaign at once (`TimeoutNow`). Such a campaign asks for no pre-votes, and its requests are
//! *forced*: the lease of the old leader, whose wish it is, does not refuse them. A transfer that has not happened
//! within an election timeout is given up, and proposals are taken again; a target that campaigns later does no harm,
//! it is an election like any other. What was proposed before the transfer is in the target's log, so nothing is lost.
//!
//! **Suspicion.** When the shell learns that the leader's process is gone, a follower forgets its leader, and with it
//! the lease, and campaigns within a few ticks. Nothing about safety rests on this: Raft is safe whoever campaigns
//! whenever. Disturbance is held down by pre-vote, without which a suspicion is ignored: while a quorum hears the
//! leader, it refuses. The suspicion ends with the leader's next sign of life.

use crate::Raft;
use crate::stand::Stand;
use crate::types::NodeId;

/// Short timeouts that one suspicion allows: the first, and one for each stand on the way of three campaigns.
pub(crate) const SUSPICION_CAMPAIGNS: u32 = 6;
/// The first is within so many ticks, each further one within so many more: those who suspect at the same time, and
/// meet in one tick, should not meet again.
pub(crate) const SUSPICION_TICKS: u32 = 2;

/// A transfer under way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    /// Since it began.
    pub(crate) ticks: u32,
    /// It was told to campaign, and has shown no life since.
    pub(crate) told: bool,
}

impl Raft {
    /// Whom leadership is being transferred to.
    pub fn transferring(&self) -> Option<NodeId> {
        match &self.stand {
            Stand::Leader(leading) => leading.transfer.as_ref().map(|transfer| transfer.to),
            _ => None,
        }
    }

    /// Begins a transfer. Without effect unless this member leads and `to` is another voter that stays one.
    pub(crate) fn transfer(&mut self, to: NodeId) {
        let can_lead = to != self.config.id && self.configuration().voters.contains(&to);
        let Stand::Leader(leading) = &mut self.stand else { return };
        if can_lead && leading.transfer.as_ref().is_none_or(|transfer| transfer.to != to) {
            leading.transfer = Some(Transfer { to, ticks: 0, told: false });
        }
    }

    /// The leader wants us to lead.
    pub(crate) fn told_to_campaign(&mut self) {
        if self.may_campaign() {
            self.ask_for_votes(true);
        }
    }

    pub(crate) fn suspect(&mut self, peer: NodeId) {
        if self.config.pre_vote && matches!(self.stand, Stand::Follower(_)) && self.leader() == Some(peer) {
            self.ticks.suspicion = SUSPICION_CAMPAIGNS;
            self.take_stand(Stand::follower(None));
        }
    }
}
