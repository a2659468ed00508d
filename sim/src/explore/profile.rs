//! Profiles: what a campaign prefers. A profile only moves probabilities; whatever it says, runs stay recoverable.

use evenkeel_scenario::nearest;

/// Faults and operations that belong together; each takes part in a seed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Links are cut, one way or both, for all messages or some kinds.
    Cuts,
    /// Messages are lost, repeated, delayed and reordered.
    Mess,
    /// Processes are killed or stopped in good order.
    Crash,
    /// Power is lost, of one or of all.
    Power,
    /// Members stall.
    Pause,
    /// Disks are slow.
    SlowDisk,
    /// Disks fail or are full.
    BadDisk,
    /// What a disk gives back at a start is not what was stored.
    Rot,
    /// Clocks drift and jump.
    Clock,
    /// Members join, learn, are promoted, replaced and removed.
    Membership,
    /// Leadership is handed over.
    Transfer,
    /// Compaction at the head, and defragmentation.
    Maintenance,
    /// Faults at named points in the code.
    Points,
    /// Tasks that come to a named point are held up there.
    Stalls,
    /// Releases change while the cluster serves.
    Releases,
}

impl Family {
    /// Every family, with the probability that it takes part in a seed of the default profile.
    pub const ALL: [(Family, f64); 15] = [
        (Family::Cuts, 0.5),
        (Family::Mess, 0.5),
        (Family::Crash, 0.5),
        (Family::Power, 0.5),
        (Family::Pause, 0.5),
        (Family::SlowDisk, 0.5),
        (Family::BadDisk, 0.25),
        (Family::Rot, 0.2),
        (Family::Clock, 0.35),
        (Family::Membership, 0.3),
        (Family::Transfer, 0.5),
        (Family::Maintenance, 0.5),
        (Family::Points, 0.5),
        (Family::Stalls, 0.4),
        (Family::Releases, 0.1),
    ];

    /// Whether it makes sense in a cluster of this size.
    pub fn fits(self, nodes: u64) -> bool {
        match self {
            Family::Cuts | Family::Mess | Family::Transfer => nodes > 1,
            _ => true,
        }
    }
}

/// What a campaign prefers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Sizes of the cluster, with weights.
    pub nodes: &'static [(u64, f64)],
    /// Other probabilities than the default ones.
    pub families: &'static [(Family, f64)],
    /// Whether families, operations, settings and strengths are drawn at all.
    pub swarm: bool,
    /// Share of seeds that are drawn as those of `plain`.
    pub plain: f64,
    /// Share of seeds with a calm workload.
    pub calm: f64,
    /// Share of seeds whose faults gather around a few moments and one member.
    pub focus: f64,
    /// Factors on the weights of operations, by their names.
    pub operations: &'static [(&'static str, f64)],
}

const SIZES: &[(u64, f64)] = &[(1, 1.0), (2, 0.7), (3, 4.0), (4, 1.0), (5, 2.0), (6, 0.4), (7, 0.6)];
const SWARM: Profile = Profile {
    name: "default",
    about: "everything",
    nodes: SIZES,
    families: &[],
    swarm: true,
    plain: 0.33,
    calm: 0.33,
    focus: 0.3,
    operations: &[],
};

/// What the profiles are made of that prefer something: a seed of `plain` would not.
const PREFERRING: Profile = Profile { plain: 0.0, ..SWARM };

/// Everything at once. Two in three of a swarm's seeds leave out one of two common things, and so miss what needs both.
pub(super) const PLAIN: Profile = Profile {
    name: "plain",
    about: "the same mixture in every seed: everything at once",
    nodes: &[(3, 1.0)],
    families: &[
        (Family::Cuts, 1.0),
        (Family::Mess, 1.0),
        (Family::Crash, 1.0),
        (Family::Power, 1.0),
        (Family::Pause, 1.0),
        (Family::SlowDisk, 1.0),
        (Family::BadDisk, 1.0),
        (Family::Clock, 1.0),
        (Family::Membership, 1.0),
        (Family::Transfer, 1.0),
        (Family::Maintenance, 1.0),
        (Family::Points, 1.0),
        (Family::Stalls, 1.0),
        (Family::Releases, 0.0),
    ],
    swarm: false,
    plain: 0.0,
    calm: 0.0,
    focus: 0.0,
    operations: &[],
};

/// All profiles; the first is the default.
pub const PROFILES: &[Profile] = &[
    SWARM,
    PLAIN,
    Profile {
        name: "no-plain",
        about: "everything, but no seed has all of it at once, for comparison",
        plain: 0.0,
        ..SWARM
    },
    Profile { name: "no-focus", about: "everything, but faults do not gather, for comparison", focus: 0.0, ..SWARM },
    Profile {
        name: "no-stalls",
        about: "everything, but no task is held up at a point, for comparison",
        families: &[(Family::Stalls, 0.0)],
        ..SWARM
    },
    Profile {
        name: "no-points",
        about: "everything, but nothing happens at named points, for comparison",
        families: &[(Family::Stalls, 0.0), (Family::Points, 0.0)],
        ..SWARM
    },
    Profile {
        name: "power",
        about: "power losses, failing disks, faults at points",
        families: &[
            (Family::Power, 1.0),
            (Family::BadDisk, 0.5),
            (Family::Points, 0.8),
            (Family::Membership, 0.1),
            (Family::Releases, 0.0),
        ],
        ..PREFERRING
    },
    Profile {
        name: "membership",
        about: "members come and go",
        nodes: &[(1, 1.0), (2, 2.0), (3, 4.0), (4, 2.0), (5, 1.0)],
        families: &[(Family::Membership, 1.0), (Family::Transfer, 0.7), (Family::Releases, 0.0)],
        ..PREFERRING
    },
    Profile {
        name: "watch",
        about: "watches behind snapshots and compactions",
        families: &[(Family::Maintenance, 0.9), (Family::Cuts, 0.7), (Family::Releases, 0.0)],
        operations: &[("watch", 6.0), ("compact", 3.0), ("delete", 2.0)],
        ..PREFERRING
    },
    Profile {
        name: "lease",
        about: "short leases under leader changes",
        families: &[(Family::Pause, 0.8), (Family::SlowDisk, 0.7), (Family::Transfer, 0.7), (Family::Releases, 0.0)],
        operations: &[("lease", 8.0), ("lease_any", 3.0)],
        ..PREFERRING
    },
    Profile {
        name: "single",
        about: "one member",
        nodes: &[(1, 1.0)],
        families: &[(Family::Membership, 0.0), (Family::Releases, 0.0), (Family::Power, 0.8)],
        ..PREFERRING
    },
    Profile {
        name: "releases",
        about: "releases change under load",
        nodes: &[(2, 1.0), (3, 4.0), (5, 1.0)],
        families: &[(Family::Releases, 1.0), (Family::Membership, 0.1)],
        ..PREFERRING
    },
];

impl Profile {
    /// The profile with this name; the error says which there are.
    pub fn find(name: &str) -> Result<&'static Profile, String> {
        let names = || PROFILES.iter().map(|profile| profile.name);
        PROFILES.iter().find(|profile| profile.name == name).ok_or_else(|| match nearest(name, names()) {
            Some(near) => format!("unknown profile \"{name}\", did you mean \"{near}\"?"),
            None => format!("unknown profile \"{name}\", expected one of: {}", names().collect::<Vec<_>>().join(", ")),
        })
    }

    /// The probability that a family takes part in a seed.
    pub fn probability(&self, family: Family) -> f64 {
        let default = Family::ALL.iter().find(|(known, _)| *known == family).expect("every family is listed").1;
        self.families.iter().find(|(known, _)| *known == family).map_or(default, |(_, own)| *own)
    }

    /// The factor on the weight of an operation.
    pub fn factor(&self, operation: &str) -> f64 {
        self.operations.iter().find(|(known, _)| *known == operation).map_or(1.0, |(_, factor)| *factor)
    }
}

impl Default for Profile {
    fn default() -> Profile {
        SWARM
    }
}
