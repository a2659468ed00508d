//! Whatever state a cluster is in: once faults end it elects a leader and decides, within a bound.
//!
//! This is no claim over all futures, but over one fair one: everything is delivered and made durable, in order; as long
//! as there is no leader, one member after the other runs out of patience, twice in a row (two that split the votes
//! of a term would else go on doing so); a leader's clock ticks.

use evenkeel_raft::{NodeId, Role, quorum};

use crate::scope::{Budget, Luck, Scope};
use crate::world::{Action, Outcome, World};

/// Turns in which a leader must emerge and everybody catch up.
const TURNS_MAX: usize = 24;

/// Whether the cluster comes to agree from here.
pub fn try_from(world: &World, scope: &Scope, outcome: &mut Outcome) -> Result<(), String> {
    let mut world = world.clone();
    let mut act = |world: &mut World, luck: Luck, action: Action| {
        world.set_budget(Budget::of(&[(luck, 1)]));
        world.act(scope, action, outcome);
        if !world.settle(scope, outcome) {
            return Err("the members never fall silent".to_owned());
        }
        outcome.violation.clone().map_or(Ok(()), Err)
    };
    for turn in 0..TURNS_MAX {
        let leaders: Vec<NodeId> = world.ids().filter(|&id| world.member(id).role() == Role::Leader).collect();
        for &leader in &leaders {
            act(&mut world, Luck::Beat, Action::Beat(leader))?;
        }
        match leader(&world) {
            Some(leader) if turn == TURNS_MAX / 2 => act(&mut world, Luck::Propose, Action::Propose(leader))?,
            Some(_) => {}
            None => {
                let members: Vec<NodeId> = world.ids().collect();
                for &id in &members {
                    act(&mut world, Luck::Lapse, Action::Lapse(id))?;
                }
                act(&mut world, Luck::Campaign, Action::Campaign(members[turn / 2 % members.len()]))?;
            }
        }
    }
    let Some(leader) = leader(&world) else {
        return Err("no leader emerges after all faults have ended".to_owned());
    };
    let raft = &world.member(leader).raft;
    if raft.configuration().is_joint() {
        return Err(format!("after all faults have ended, leader n{leader} stays in a joint configuration"));
    }
    let last = raft.last_index();
    for member in raft.configuration().members() {
        let applied = world.member(member).raft.applied();
        if applied != last {
            return Err(format!("after all faults, n{member} has applied {applied}, leader n{leader} holds {last}"));
        }
    }
    Ok(())
}

/// Whom a quorum of its configuration follows.
fn leader(world: &World) -> Option<NodeId> {
    let follows = |id: NodeId, leader: NodeId| {
        let standing = world.member(id).raft.standing();
        standing.leader == Some(leader) && standing.term == world.member(leader).term()
    };
    let leads = |&id: &NodeId| {
        let member = world.member(id);
        member.role() == Role::Leader && quorum::is_quorum(member.raft.configuration(), |voter| follows(voter, id))
    };
    world.ids().find(leads)
}
