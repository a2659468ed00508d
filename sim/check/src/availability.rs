//! Availability after heal, and what clients felt.
//!
//! Once all faults are healed, a majority is connected and its processes run ([`Availability::calm`]): a leader within ten election
//! timeouts; a put acknowledged and a linearizable read answered on *every* running voter within two seconds more, if
//! clients try there often enough; and both keep getting through as long as they are called. A serializable read proves
//! nothing: any member answers it, alone and from whatever it has. While a fault is on, nothing is demanded and only the
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

/// Grace after that until every member must have served.
pub const SERVE_GRACE_NANOS: u64 = 2 * NANOS_PER_SECOND;

/// Puts, or reads, tried before a member, or the cluster, can be blamed.
pub const TRIES: usize = 3;

/// What the bounds depend on.
#[derive(Clone, Copy, Debug)]
pub struct AvailabilityConfig {
    /// The configured election timeout.
    pub election_timeout_nanos: u64,
    /// Members report their elections.
    pub white_box: bool,
}

/// How a member does at one kind of request.
#[derive(Clone, Debug, Default)]
struct Trial {
    /// The first tried once the cluster and the member had had the time of their elections: at most [`TRIES`].
    tried: Vec<Moment>,
    served: bool,
}

#[derive(Clone, Debug, Default)]
struct Standing {
    up: bool,
    /// When it started.
    since_nanos: u64,
    trials: [Trial; Asked::ALL.len()],
}

impl Standing {
    fn anew(&mut self) {
        self.trials = Default::default();
    }
}

/// How all members together do at one kind of request.
#[derive(Clone, Debug, Default)]
struct Outage {
    /// The first that was called after the last one that got through.
    unserved: Option<Moment>,
    /// The first tried an election's time after that one, and later: at most [`TRIES`].
    retried: Vec<Moment>,
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
    outages: [Outage; Asked::ALL.len()],
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
            outages: Default::default(),
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
        self.outages = Default::default();
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

    /// A member's process is asked to end. If it leads it goes on as long as nobody can take that over.
    pub fn stopping(&mut self, member: MemberId) {
        self.members.entry(member).or_default().up = false;
    }

    /// A member's process ends.
    pub fn stopped(&mut self, member: MemberId) {
        self.stopping(member);
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
    pub fn call(&mut self, at: Moment, client: ClientId, member: MemberId, asked: Option<Asked>) {
        self.clients.entry(client).or_default().called(at);
        let (Some(calm), Some(asked)) = (self.calm, asked) else { return };
        let elections = self.elections();
        let outage = &mut self.outages[asked as usize];
        let unserved = *outage.unserved.get_or_insert(at);
        // What was refused while there could not be a leader yet says nothing about anybody.
        let settled = self.short_handed.unwrap_or(calm).nanos + elections;
        let standing = self.members.entry(member).or_default();
        if !standing.up {
            return;
        }
        let tried = &mut standing.trials[asked as usize].tried;
        if settled.max(standing.since_nanos + elections) <= at.nanos && tried.len() < TRIES {
            tried.push(at);
        }
        if settled.max(unserved.nanos + elections) <= at.nanos && outage.retried.len() < TRIES {
            outage.retried.push(at);
        }
    }

    /// A client learns how it ended.
    pub fn returned(
        &mut self,
        at: Moment,
        called: Moment,
        client: ClientId,
        member: MemberId,
        asked: Option<Asked>,
        outcome: &Outcome,
    ) {
        self.clients.entry(client).or_default().returned(at, called, outcome);
        // That a put's lease is gone is known only where the put was ordered after the lease's end.
        let got_through = matches!(outcome, Outcome::Ok(..) | Outcome::DefinitelyNot(Refusal::LeaseNotFound));
        if let Some(asked) = asked
            && got_through
        {
            self.outages[asked as usize] = Outage::default();
            if self.calm.is_some_and(|calm| calm < called) {
                self.members.entry(member).or_default().trials[asked as usize].served = true;
            }
        }
    }

    /// Too few voters run; what was tried until now says nothing.
    fn lacks_voters(&mut self, at: Moment) {
        self.short_handed = Some(at);
        self.outages.iter_mut().for_each(|outage| outage.retried.clear());
        let trials = self.members.values_mut().flat_map(|standing| &mut standing.trials);
        trials.for_each(|trial| trial.tried.clear());
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
        self.next_check_nanos = at.nanos + SERVE_GRACE_NANOS / 8;
        if self.config.white_box && !self.led && settled <= at.nanos {
            let seconds = seconds_since(calm, at);
            return Err(Violation::new(NAME, at, format!("no leader {seconds:.1} s after all faults were healed"))
                .with([Related::Moment(calm)]));
        }
        for asked in Asked::ALL {
            self.members_serve(at, settled, asked, calm)?;
            self.somebody_serves(at, settled, asked, calm)?;
        }
        Ok(())
    }

    fn members_serve(&self, at: Moment, settled: u64, asked: Asked, calm: Moment) -> Verdict {
        for (member, standing) in &self.members {
            let trial = &standing.trials[asked as usize];
            let [first, .., last] = trial.tried[..] else { continue };
            let tried_enough = trial.tried.len() == TRIES;
            let votes = self.configurations.all().all(|configuration| configuration.voters.contains(member));
            // It has as long as an election to catch up.
            let ready = settled.max(standing.since_nanos + self.elections());
            let overdue = ready.max(last.nanos) + SERVE_GRACE_NANOS < at.nanos;
            if votes && standing.up && !trial.served && tried_enough && overdue {
                let (seconds, what) = (seconds_since(calm, at), asked.word());
                let message =
                    format!("{member} has acknowledged no {what} {seconds:.1} s after all faults were healed");
                let related = [Related::Member(*member), Related::Moment(calm), Related::Moment(first)];
                return Err(Violation::new(NAME, at, message).with(related));
            }
        }
        Ok(())
    }

    fn somebody_serves(&self, at: Moment, settled: u64, asked: Asked, calm: Moment) -> Verdict {
        let outage = &self.outages[asked as usize];
        if let (Some(unserved), [.., last]) = (outage.unserved, &outage.retried[..])
            && outage.retried.len() == TRIES
            && settled.max(last.nanos) + SERVE_GRACE_NANOS < at.nanos
        {
            let message = format!("no {} has got through since {unserved}, with no fault on", asked.word());
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

fn seconds_since(calm: Moment, at: Moment) -> f64 {
    (at.nanos - calm.nanos) as f64 / NANOS_PER_SECOND as f64
}
