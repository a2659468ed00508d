//! Availability after heal, and what clients felt.
//!
//! Once all faults are healed, a majority is connected and its processes run ([`Availability::calm`]): a leader within ten election
//! timeouts; a put acknowledged on *every* running voter within two seconds more, if clients try there often enough; and
//! puts keep getting through as long as they are called. While a fault is on, nothing is demanded and only the
//! statistics run.
//!
//! One try is not enough: a network may lose messages even in the calm, and a put that is forwarded to the leader is
//! forwarded once. Nor does a try count before enough voters ran to elect a leader, and the member had an election's
//! time after its start.

mod stats;

use std::collections::BTreeMap;

use crate::configurations::{Configuration, Configurations};
use crate::history::*;
use crate::ids::*;
use crate::violation::{Related, Verdict, Violation};

pub use stats::{ClientStats, ErrorKind};

/// The oracle's name.
pub const NAME: &str = "availability";

/// Election timeouts until there must be a leader.
pub const ELECTIONS_MAX: u64 = 10;

/// Grace after that until every member must have acknowledged a put.
pub const PUT_GRACE_NANOS: u64 = 2 * NANOS_PER_SECOND;

/// Puts tried before a member, or the cluster, can be blamed.
pub const TRIES: usize = 3;

/// What the bounds depend on.
#[derive(Clone, Copy, Debug)]
pub struct AvailabilityConfig {
    /// The configured election timeout.
    pub election_timeout_nanos: u64,
    /// Members report their elections.
    pub white_box: bool,
}

#[derive(Clone, Debug, Default)]
struct Standing {
    up: bool,
    /// When it started.
    since_nanos: u64,
    /// The first puts tried once the cluster and the member had had the time of their elections: at most [`TRIES`].
    tried: Vec<Moment>,
    acknowledged: bool,
}

impl Standing {
    fn anew(&mut self) {
        self.tried.clear();
        self.acknowledged = false;
    }
}

/// The oracle.
#[derive(Clone, Debug)]
pub struct Availability {
    config: AvailabilityConfig,
    calm: Option<Moment>,
    leader: Option<MemberId>,
    /// When, since it became calm, too few voters ran: somebody who was just added may still be looking for the others.
    short_handed: Option<Moment>,
    /// There was a leader at some time since it became calm.
    led: bool,
    members: BTreeMap<MemberId, Standing>,
    /// Only they are expected to serve.
    configurations: Configurations,
    /// First put called after the last one that got through.
    unserved: Option<Moment>,
    /// The first puts tried an election's time after that one, and later: at most [`TRIES`].
    retried: Vec<Moment>,
    /// Nothing can be overdue before this.
    next_check_nanos: u64,
    clients: BTreeMap<ClientId, ClientStats>,
}

impl Availability {
    /// Before the first election of so many voters: nothing is demanded until it is calm.
    pub fn new(config: AvailabilityConfig, voters: usize) -> Self {
        Availability {
            config,
            calm: None,
            leader: None,
            short_handed: None,
            led: false,
            members: BTreeMap::new(),
            configurations: Configurations::new(Configuration::founded(voters)),
            unserved: None,
            retried: Vec::new(),
            next_check_nanos: u64::MAX,
            clients: BTreeMap::new(),
        }
    }

    /// A configuration was put into some member's log.
    pub fn configured(&mut self, index: Index, term: Term, configuration: Configuration) {
        self.configurations.appended(index, term, configuration);
    }

    /// The member comes back as somebody else; the old one is `gone`.
    pub fn replaced(&mut self, member: MemberId, gone: MemberId) {
        self.configurations.replaced(member, gone);
    }

    /// A member applied an entry.
    pub fn applied(&mut self, index: Index, term: Term) {
        self.configurations.applied(index, term);
    }

    /// What clients felt.
    pub fn clients(&self) -> &BTreeMap<ClientId, ClientStats> {
        &self.clients
    }

    /// A fault begins.
    pub fn disturbed(&mut self) {
        self.calm = None;
        self.next_check_nanos = u64::MAX;
    }

    /// All faults are healed.
    pub fn calm(&mut self, at: Moment) {
        self.calm = Some(at);
        self.short_handed = None;
        self.led = self.leader.is_some();
        self.served();
        self.members.values_mut().for_each(Standing::anew);
        self.next_check_nanos = at.nanos + self.elections();
    }

    /// A member starts.
    pub fn booted(&mut self, at: Moment, member: MemberId) {
        if self.calm.is_some() && !self.enough_run() {
            self.lacks_voters(at);
        }
        let standing = self.members.entry(member).or_default();
        standing.up = true;
        standing.since_nanos = at.nanos;
        standing.anew();
    }

    /// A member's process ends.
    pub fn stopped(&mut self, member: MemberId) {
        self.members.entry(member).or_default().up = false;
        self.stepped_down(member);
    }

    /// A member won an election.
    pub fn elected(&mut self, member: MemberId) {
        self.leader = Some(member);
        self.led = true;
    }

    /// A member no longer leads.
    pub fn stepped_down(&mut self, member: MemberId) {
        if self.leader == Some(member) {
            self.leader = None;
        }
    }

    /// A client calls.
    pub fn call(&mut self, at: Moment, client: ClientId, member: MemberId, put: bool) {
        self.clients.entry(client).or_default().called(at);
        let Some(calm) = self.calm.filter(|_| put) else { return };
        let elections = self.elections();
        let unserved = *self.unserved.get_or_insert(at);
        // What was refused while there could not be a leader yet says nothing about anybody.
        let settled = self.short_handed.unwrap_or(calm).nanos + elections;
        let standing = self.members.entry(member).or_default();
        if !standing.up {
            return;
        }
        if settled.max(standing.since_nanos + elections) <= at.nanos && standing.tried.len() < TRIES {
            standing.tried.push(at);
        }
        if settled.max(unserved.nanos + elections) <= at.nanos && self.retried.len() < TRIES {
            self.retried.push(at);
        }
    }

    /// A client learns how it ended.
    pub fn returned(
        &mut self,
        at: Moment,
        called: Moment,
        client: ClientId,
        member: MemberId,
        put: bool,
        outcome: &Outcome,
    ) {
        self.clients.entry(client).or_default().returned(at, called, outcome);
        if put && matches!(outcome, Outcome::Ok(..)) {
            self.served();
            if self.calm.is_some_and(|calm| calm < called) {
                self.members.entry(member).or_default().acknowledged = true;
            }
        }
    }

    fn served(&mut self) {
        self.unserved = None;
        self.retried.clear();
    }

    /// Too few voters run; what was tried until now says nothing.
    fn lacks_voters(&mut self, at: Moment) {
        self.short_handed = Some(at);
        self.retried.clear();
        self.members.values_mut().for_each(|standing| standing.tried.clear());
    }

    fn enough_run(&self) -> bool {
        let runs = |member: MemberId| self.members.get(&member).is_some_and(|standing| standing.up);
        self.configurations.all().all(|configuration| configuration.is_quorum(runs))
    }

    fn elections(&self) -> u64 {
        ELECTIONS_MAX * self.config.election_timeout_nanos
    }

    /// Time passes. Cheap unless something may be overdue.
    pub fn advance(&mut self, at: Moment) -> Verdict {
        if at.nanos < self.next_check_nanos {
            return Ok(());
        }
        let Some(calm) = self.calm else { return Ok(()) };
        if !self.enough_run() {
            self.lacks_voters(at);
        }
        let complete = self.short_handed.unwrap_or(calm);
        let settled = complete.nanos + self.elections();
        self.next_check_nanos = at.nanos + PUT_GRACE_NANOS / 8;
        let seconds = (at.nanos - calm.nanos) as f64 / NANOS_PER_SECOND as f64;
        if self.config.white_box && !self.led && settled <= at.nanos {
            return Err(Violation::new(NAME, at, format!("no leader {seconds:.1} s after all faults were healed"))
                .with([Related::Moment(calm)]));
        }
        for (member, standing) in &self.members {
            let [first, .., last] = standing.tried[..] else { continue };
            let tried_enough = standing.tried.len() == TRIES;
            let votes = self.configurations.all().all(|configuration| configuration.voters.contains(member));
            // It has as long as an election to catch up.
            let ready = settled.max(standing.since_nanos + self.elections());
            let overdue = ready.max(last.nanos) + PUT_GRACE_NANOS < at.nanos;
            if votes && standing.up && !standing.acknowledged && tried_enough && overdue {
                let message = format!("{member} has acknowledged no put {seconds:.1} s after all faults were healed");
                let related = [Related::Member(*member), Related::Moment(calm), Related::Moment(first)];
                return Err(Violation::new(NAME, at, message).with(related));
            }
        }
        if let (Some(unserved), [.., last]) = (self.unserved, &self.retried[..])
            && self.retried.len() == TRIES
            && settled.max(last.nanos) + PUT_GRACE_NANOS < at.nanos
        {
            let message = format!("no put has got through since {unserved}, with no fault on");
            return Err(Violation::new(NAME, at, message).with([Related::Moment(unserved), Related::Moment(calm)]));
        }
        Ok(())
    }

    /// The run is over.
    pub fn finish(&mut self, at: Moment) -> Verdict {
        self.clients.values_mut().for_each(|client| client.finish(at));
        self.advance(at)
    }
}
