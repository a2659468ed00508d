//! The planted bugs a scenario can switch on, by name.

use evenkeel_raft::{Mutant, Mutants};
use evenkeel_scenario::Selector;
use evenkeel_scenario::cluster::{Cluster as Settings, Planted};

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
    Plant {
        name: "sync-in-driver",
        mutant: Mutant::SyncInDriver,
        about: "the driver waits for its own disk before it does anything else",
    },
    Plant {
        name: "no-snapshots",
        mutant: Mutant::NoSnapshots,
        about: "no snapshot is sent to a member that lacks entries",
    },
    Plant { name: "read-through-log", mutant: Mutant::ReadThroughLog, about: "linearizable reads go through the log" },
    Plant {
        name: "watch-from-now",
        mutant: Mutant::WatchFromNow,
        about: "a watch begins now, whatever start revision was asked for",
    },
    Plant { name: "lease-no-grace", mutant: Mutant::LeaseNoGrace, about: "a new leader takes leases for expired" },
    Plant {
        name: "lease-by-wall-clock",
        mutant: Mutant::LeaseByWallClock,
        about: "lease deadlines follow the wall clock",
    },
];

/// Their names.
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
