//! How much may happen: who takes part, which faults there are, and how often each.

use evenkeel_raft::*;

/// What is counted. Everything else (deliveries in order, losses, completions of writes) is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Luck {
    /// A member's patience ends.
    Campaign,
    /// A leader's tick: a heartbeat round, and every other time it counts its quorum.
    Beat,
    /// A client writes.
    Propose,
    /// A client reads.
    Read,
    /// A member crashes, loses what was not durable, and starts again.
    Crash,
    /// A message comes before older ones of its link.
    Overtake,
    /// A message comes twice.
    Repeat,
    /// A follower's lease on its leader ends.
    Lapse,
    /// A member takes a checkpoint and forgets its log.
    Compact,
    /// A leader is told that a message could not be delivered.
    Unreachable,
    /// A leader is asked to change who takes part, in one of the ways of [`Scope::changes`].
    Change,
    /// A leader is asked to hand over.
    Transfer,
    /// A member is told that its leader's process is gone, true or not.
    Suspect,
}

impl Luck {
    /// All, by the names of the command line.
    pub const NAMES: [(&str, Luck); KINDS] = [
        ("campaign", Luck::Campaign),
        ("beat", Luck::Beat),
        ("propose", Luck::Propose),
        ("read", Luck::Read),
        ("crash", Luck::Crash),
        ("overtake", Luck::Overtake),
        ("repeat", Luck::Repeat),
        ("lapse", Luck::Lapse),
        ("compact", Luck::Compact),
        ("unreachable", Luck::Unreachable),
        ("change", Luck::Change),
        ("transfer", Luck::Transfer),
        ("suspect", Luck::Suspect),
    ];
}

const KINDS: usize = Luck::Suspect as usize + 1;

/// How often each may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget([u8; KINDS]);

impl Budget {
    /// So often, all others never.
    pub fn of(parts: &[(Luck, u8)]) -> Budget {
        let mut budget = Budget::default();
        parts.iter().for_each(|&(luck, count)| budget.0[luck as usize] = count);
        budget
    }

    /// The same, but this so often.
    #[must_use]
    pub fn with(mut self, luck: Luck, count: u8) -> Budget {
        self.0[luck as usize] = count;
        self
    }

    /// How often it may still happen.
    pub fn left(&self, luck: Luck) -> u8 {
        self.0[luck as usize]
    }

    /// It happens.
    pub fn spend(&mut self, luck: Luck) {
        self.0[luck as usize] -= 1;
    }
}

/// What is explored.
#[derive(Clone, Debug)]
pub struct Scope {
    /// To be asked for by.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Voters 1..=N at first.
    pub voters: u64,
    /// Learners after them.
    pub learners: u64,
    /// Members after them that know nothing and are in no configuration yet.
    pub joiners: u64,
    /// What a leader may be asked to change.
    pub changes: &'static [&'static [MemberChange]],
    /// This one has been elected, and everybody knows; else nothing has happened yet.
    pub leader: Option<NodeId>,
    /// See [`Config::pre_vote`].
    pub pre_vote: bool,
    /// See [`Config::check_quorum`].
    pub check_quorum: bool,
    /// Their writes take time; those of others are durable at once.
    pub slow_disks: &'static [u64],
    /// An append holds one entry instead of many.
    pub single_entries: bool,
    /// So many messages are under way on a link at most; one more loses the oldest.
    pub link_max: usize,
    /// How much may happen.
    pub budget: Budget,
    /// Planted bugs.
    pub mutants: Mutants,
    /// Do not compare promises with the disk: only what comes of them counts.
    pub consequences_only: bool,
    /// Try from some states whether the cluster recovers.
    pub recovers: bool,
}

impl Scope {
    /// Three voters, nothing happens.
    pub const fn new(name: &'static str, about: &'static str) -> Scope {
        Scope {
            name,
            about,
            voters: 3,
            learners: 0,
            joiners: 0,
            changes: &[],
            leader: None,
            pre_vote: false,
            check_quorum: false,
            slow_disks: &[],
            single_entries: false,
            link_max: 2,
            budget: Budget([0; KINDS]),
            mutants: Mutants::NONE,
            consequences_only: false,
            recovers: true,
        }
    }

    /// Everybody who ever takes part.
    pub fn members(&self) -> u64 {
        self.voters + self.learners + self.joiners
    }

    /// Who takes part at first.
    pub fn configuration(&self) -> Configuration {
        Configuration {
            voters: (1..=self.voters).map(NodeId).collect(),
            learners: (self.voters + 1..=self.voters + self.learners).map(NodeId).collect(),
            ..Default::default()
        }
    }

    /// Whether n2 and n3 are alike.
    pub fn is_symmetric(&self) -> bool {
        let is_slow = |id| self.slow_disks.contains(&id);
        self.voters == 3 && self.changes.is_empty() && is_slow(2) == is_slow(3)
    }

    /// What a member knows of that.
    pub fn known_to(&self, id: NodeId) -> Configuration {
        let configuration = self.configuration();
        if configuration.contains(id) { configuration } else { Configuration::default() }
    }

    /// A member's limits.
    pub fn config(&self, id: NodeId) -> Config {
        let defaults = Config::new(id, id.0);
        Config {
            election_ticks: 2,
            heartbeat_ticks: 1,
            pre_vote: self.pre_vote,
            check_quorum: self.check_quorum,
            max_message_bytes: if self.single_entries { 0 } else { defaults.max_message_bytes },
            max_waiting_reads: 2,
            mutants: self.mutants,
            ..defaults
        }
    }
}
