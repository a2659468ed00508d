//! The planted bugs a scenario can switch on, by name.

use evenkeel_raft::{Mutant, Mutants};
use evenkeel_scenario::cluster::{Cluster as Settings, Planted};
use evenkeel_scenario::select::Selector;

/// A planted bug.
pub struct Plant {
    /// Its name in scenarios.
    pub name: &'static str,
    /// The switch.
    pub mutant: Mutant,
    /// What it does wrong.
    pub about: &'static str,
}

/// Every planted bug.
pub const GALLERY: &[Plant] = &[
    Plant {
        name: "ack-before-fsync",
        mutant: Mutant::AckBeforeFsync,
        about: "entries are acknowledged before they are durable",
    },
    Plant {
        name: "vote-not-durable",
        mutant: Mutant::VoteNotDurable,
        about: "a vote is answered before it is durable",
    },
    Plant {
        name: "read-without-confirm",
        mutant: Mutant::ReadWithoutConfirm,
        about: "a leader serves reads without confirming that it still leads",
    },
];

/// The names, for error messages.
pub fn names() -> Vec<&'static str> {
    GALLERY.iter().map(|plant| plant.name).collect()
}

/// The bugs of one member.
pub fn of(settings: &Settings, number: u64) -> Mutants {
    let carries = |on: &Selector| match on {
        Selector::Node(node) => *node == number,
        _ => true,
    };
    let Planted(mutants) = &settings.mutants;
    let Planted(switches) = &settings.switches;
    let planted = mutants.iter().chain(switches).filter(|plant| carries(&plant.on));
    planted.fold(Mutants::NONE, |all, plant| {
        let found = GALLERY.iter().find(|known| known.name == plant.name);
        found.map_or(all, |known| all.with(known.mutant))
    })
}
