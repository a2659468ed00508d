//! Which planted bugs a member carries.

use evenkeel_raft::Mutants;
use evenkeel_scenario::Selector;
use evenkeel_scenario::cluster::{Cluster as Settings, Planted};

use crate::gallery;

/// The bugs of one member.
pub fn of(settings: &Settings, number: u64) -> Mutants {
    let carries = |on: &Selector| match on {
        Selector::Node(node) => *node == number,
        _ => true,
    };
    let Planted(mutants) = &settings.mutants;
    let Planted(switches) = &settings.switches;
    let planted = mutants.iter().chain(switches).filter(|plant| carries(&plant.on));
    planted.fold(Mutants::NONE, |all, plant| gallery::find(&plant.name).map_or(all, |known| all.with(known.mutant)))
}
