//! Raft's invariants, from what members report about themselves.
//!
//! One leader per term, and a voter; a member votes once per term, across restarts; terms, commit and applied never go back within
//! a process life; two logs that agree at a position agree before it (an entry fixes its predecessor's term); what is
//! committed anywhere stays, and every later leader has it; nobody gives up what it has acknowledged to the leader of
//! its current term. A leader moves the commit index to entries of its own term only (Raft paper, 5.4.2), and changes who
//! takes part only when an entry of its term and the configuration before are committed. Everything is checked at the
//! report that breaks it, though nobody may ever lose anything by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::configurations::{Configuration, Configurations};
use crate::ids::*;
use crate::observation::{Booted, Promise};
use crate::tail::{POSITIONS_KEPT, Tail};
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "raft";

type Slot = (Term, u64);

/// One process life of a member, and its log.
#[derive(Clone, Debug, Default)]
struct Life {
    term: Term,
    log: Tail<Slot>,
    /// Term of the last position the log has forgotten.
    base_term: Term,
    commit: Index,
    applied: Option<Index>,
    /// The furthest acknowledgement, and the term it was given in.
    acked: (Term, Index),
    /// The term it leads.
    leads: Option<Term>,
    /// The configurations it made as a leader, until it is certain what it had committed then.
    made: Vec<Index>,
}

impl Life {
    fn term_at(&self, index: u64) -> Option<Term> {
        if index == self.log.base() { Some(self.base_term) } else { self.log.get(index).map(|(term, _)| term) }
    }
}

/// The oracle.
#[derive(Clone, Debug)]
pub struct Raft {
    configurations: Configurations,
    members: BTreeMap<MemberId, Life>,
    leaders: BTreeMap<Term, MemberId>,
    votes: BTreeMap<(MemberId, Term), MemberId>,
    /// Per position the entries ever seen there: term, payload, predecessor's term if known. The newest
    /// [`POSITIONS_KEPT`] of them, after `entries_base`.
    entries: VecDeque<Vec<(Term, u64, Option<Term>)>>,
    entries_base: u64,
    committed: Tail<Slot>,
    /// What was committed up to here is forgotten.
    settled: u64,
    /// Where entries with configurations were ever seen.
    configured: BTreeSet<(Index, Term)>,
}

fn fail(at: Moment, member: MemberId, message: String) -> Box<Violation> {
    Violation::new(NAME, at, format!("{member} {message}")).with([Related::Member(member)])
}

impl Raft {
    /// For so many voting members at first.
    pub fn new(voters: usize) -> Raft {
        Raft {
            configurations: Configurations::new(Configuration::founded(voters)),
            members: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: VecDeque::new(),
            entries_base: 0,
            committed: Tail::default(),
            settled: 0,
            configured: BTreeSet::new(),
        }
    }

    /// A configuration was put into some member's log.
    pub fn configured(&mut self, index: Index, term: Term, configuration: Configuration) {
        self.configurations.appended(index, term, configuration);
        // Whoever leads the term reports it first.
        if self.configured.insert((index, term))
            && let Some(life) = self.leaders.get(&term).and_then(|leader| self.members.get_mut(leader))
            && life.leads == Some(term)
        {
            life.made.push(index);
        }
    }

    /// The member no longer leads.
    pub fn stepped_down(&mut self, member: MemberId) {
        let life = self.life(member);
        life.leads = None;
        life.made.clear();
    }

    /// Whether it was time for the changes the member made as a leader. Asked when it next says something: it reports
    /// what it appends before what it commits at the same time.
    fn changes(&mut self, at: Moment, member: MemberId) -> Verdict {
        let Some(life) = self.members.get_mut(&member) else { return Ok(()) };
        let Some(leads) = life.leads else { return Ok(()) };
        for index in std::mem::take(&mut life.made) {
            let fail = |message| Err(fail(at, member, message).with([Related::Index(index)]));
            if life.term_at(life.commit.0) != Some(leads) {
                return fail(format!("changes the configuration at {index} before an entry of {leads} is committed"));
            }
            let mut before = self.configured.range(..(index, Term(0))).rev();
            let before = before.find(|(place, term)| life.log.get(place.0).is_some_and(|(has, _)| has == *term));
            if let Some((before, _)) = before
                && life.commit < *before
            {
                return fail(format!("changes the configuration at {index} before the one at {before} is committed"));
            }
        }
        Ok(())
    }

    /// The member's disk is empty and it comes back as somebody else; the old one is `gone`.
    pub fn replaced(&mut self, member: MemberId, gone: MemberId) {
        self.configurations.replaced(member, gone);
        self.members.remove(&member);
        self.votes.retain(|(voter, _), _| *voter != member);
    }

    fn life(&mut self, member: MemberId) -> &mut Life {
        self.members.entry(member).or_default()
    }

    /// The member's process starts.
    pub fn booted(&mut self, _at: Moment, member: MemberId, found: Booted) -> Verdict {
        let life = self.life(member);
        let last = found.last_index.0;
        if last < life.log.base() || life.log.last() < last {
            life.log.restart(last);
            life.base_term = found.last_term;
        } else {
            life.log.truncate(last);
            if let Some(term) = life.term_at(last)
                && term != found.last_term
            {
                // What it wrote there last was lost with the power, and what that was to replace is back. Whether it
                // had been promised is for the ledger to say.
                life.log.restart(last);
                life.base_term = found.last_term;
            }
        }
        life.term = found.term;
        life.commit = Index(0);
        life.applied = None;
        life.acked = Default::default();
        (life.leads, life.made) = (None, Vec::new());
        Ok(())
    }

    /// The member's term grew.
    pub fn term(&mut self, at: Moment, member: MemberId, term: Term) -> Verdict {
        let life = self.life(member);
        if term < life.term {
            return Err(fail(at, member, format!("went back from {} to {term}", life.term)));
        }
        life.term = term;
        life.leads = life.leads.filter(|leads| *leads == term);
        Ok(())
    }

    /// The member won an election.
    pub fn elected(&mut self, at: Moment, member: MemberId, term: Term) -> Verdict {
        if let Some(other) = self.leaders.insert(term, member)
            && other != member
        {
            let message = format!("leads {term}, which {other} leads");
            return Err(fail(at, member, message).with([Related::Member(other)]));
        }
        if !self.configurations.all().any(|configuration| configuration.is_voter(member)) {
            return Err(fail(at, member, format!("leads {term} without being a voter")));
        }
        let top = self.committed.last();
        let committed = self.committed.get(top);
        let life = self.life(member);
        life.term = life.term.max(term);
        (life.leads, life.made) = (Some(term), Vec::new());
        if let Some((committed_term, _)) = committed
            && committed_term < term
            && life.log.base() < top
            && life.term_at(top) != Some(committed_term)
        {
            let has = life.term_at(top);
            let message =
                format!("leads {term} without the committed {} of {committed_term}: it has {has:?}", Index(top));
            return Err(fail(at, member, message).with([Related::Index(Index(top))]));
        }
        Ok(())
    }

    /// The member puts an entry into its log.
    pub fn appended(&mut self, at: Moment, member: MemberId, index: Index, term: Term, payload: u64) -> Verdict {
        let life = self.members.entry(member).or_default();
        let related = [Related::Index(index)];
        if index <= life.commit {
            let message = format!("rewrites {index}, which it knows to be committed (up to {})", life.commit);
            return Err(fail(at, member, message).with(related));
        }
        if index <= life.acked.1 && life.acked.0 == life.term && index.0 <= life.log.last() {
            let message =
                format!("rewrites {index}, although it acknowledged up to {} in {}", life.acked.1, life.acked.0);
            return Err(fail(at, member, message).with(related));
        }
        if index.0 <= life.log.base() {
            // What was found there at the last start is replaced; what lies before it is not known.
            life.log.restart(index.0);
            life.base_term = term;
            return Ok(());
        }
        let before = life.term_at(index.0 - 1);
        if !life.log.put(index.0, (term, payload)) {
            let message = format!("appends {index} behind a log that ends at {}", life.log.last());
            return Err(fail(at, member, message).with(related));
        }
        if let Some((term, _)) = life.log.forget() {
            life.base_term = term;
        }
        let Some(place) = (index.0 - 1).checked_sub(self.entries_base).map(|place| place as usize) else {
            return Ok(());
        };
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, Vec::new);
        }
        let forgotten = self.entries.len().saturating_sub(POSITIONS_KEPT);
        self.entries.drain(..forgotten);
        self.entries_base += forgotten as u64;
        let place = place - forgotten;
        let Some(known) = self.entries[place].iter_mut().find(|(other, ..)| *other == term) else {
            self.entries[place].push((term, payload, before));
            return Ok(());
        };
        if known.1 != payload {
            let message = format!("holds another entry at {index} of {term} than others do");
            return Err(fail(at, member, message).with(related));
        }
        if let (Some(before), Some(other)) = (before, known.2)
            && before != other
        {
            let message = format!("agrees with others at {index} of {term} but has {before} before it, not {other}");
            return Err(fail(at, member, message).with(related));
        }
        known.2 = known.2.or(before);
        Ok(())
    }

    /// A snapshot replaced the member's log.
    pub fn snapshot_installed(&mut self, at: Moment, member: MemberId, index: Index, term: Term) -> Verdict {
        if let Some((committed, _)) = self.committed.get(index.0)
            && committed != term
        {
            let message = format!("installs a snapshot at {index} of {term}, but {committed} is committed there");
            return Err(fail(at, member, message).with([Related::Index(index)]));
        }
        let life = self.life(member);
        if index < life.commit {
            let message = format!("installs a snapshot at {index}, behind its commit index {}", life.commit);
            return Err(fail(at, member, message).with([Related::Index(index)]));
        }
        life.log.restart(index.0);
        life.base_term = term;
        life.commit = index;
        Ok(())
    }

    /// A snapshot's state took the place of the member's. What was committed before the snapshot came may have been
    /// applied in between.
    pub fn state_replaced(&mut self, at: Moment, member: MemberId, index: Index) -> Verdict {
        let life = self.life(member);
        if let Some(applied) = life.applied.filter(|applied| index < *applied) {
            let message = format!("replaces its state at {applied} by an older one at {index}");
            return Err(fail(at, member, message).with([Related::Index(index)]));
        }
        life.applied = Some(index);
        Ok(())
    }

    /// The member's commit index grew.
    pub fn committed(&mut self, at: Moment, member: MemberId, index: Index) -> Verdict {
        let life = self.members.entry(member).or_default();
        let related = [Related::Index(index)];
        if index < life.commit {
            let message = format!("takes its commit index back from {} to {index}", life.commit);
            return Err(fail(at, member, message).with(related));
        }
        if life.log.last() < index.0 {
            let message = format!("commits up to {index} with a log that ends at {}", life.log.last());
            return Err(fail(at, member, message).with(related));
        }
        if let Some(leads) = life.leads
            && let Some(term) = life.term_at(index.0)
            && term != leads
        {
            let message = format!("leads {leads} and commits {index} of {term} by counting its copies");
            return Err(fail(at, member, message).with(related));
        }
        for position in life.commit.0.max(self.settled) + 1..=index.0 {
            let Some(entry) = life.log.get(position) else { continue };
            match self.committed.get(position) {
                Some(known) if known != entry => {
                    let message =
                        format!("commits {} of {}, where {} was committed before", Index(position), entry.0, known.0);
                    return Err(fail(at, member, message).with([Related::Index(Index(position))]));
                }
                Some(_) => {}
                // Whoever commits first has the whole log; a hole means its head was forgotten before we looked.
                None if self.committed.put(position, entry) => {}
                None => {
                    self.committed.restart(position - 1);
                    let _ = self.committed.put(position, entry);
                }
            }
        }
        life.commit = index;
        while self.committed.forget().is_some() {
            self.settled = self.committed.base();
        }
        Ok(())
    }

    /// The member applied an entry.
    pub fn applied(&mut self, at: Moment, member: MemberId, index: Index, term: Term) -> Verdict {
        self.configurations.applied(index, term);
        let (known, last) = (self.committed.get(index.0), self.committed.last());
        let life = self.life(member);
        let related = [Related::Index(index)];
        if let Some(applied) = life.applied
            && index.0 != applied.0 + 1
        {
            return Err(fail(at, member, format!("applies {index} after {applied}")).with(related));
        }
        life.applied = Some(index);
        match known {
            Some((committed, _)) if committed != term => {
                Err(fail(at, member, format!("applies {index} of {term}, but {committed} is committed there"))
                    .with(related))
            }
            None if last < index.0 => {
                Err(fail(at, member, format!("applies {index}, which nobody has committed")).with(related))
            }
            _ => Ok(()),
        }
    }

    /// A promise leaves the member.
    pub fn promised(&mut self, at: Moment, member: MemberId, promise: Promise) -> Verdict {
        self.changes(at, member)?;
        match promise {
            Promise::VoteGranted { term, to } => match self.votes.insert((member, term), to) {
                Some(other) if other != to => {
                    let message = format!("votes for {to} in {term}, after it voted for {other}");
                    Err(fail(at, member, message).with([Related::Member(to), Related::Member(other)]))
                }
                _ => Ok(()),
            },
            Promise::AppendAccepted { matched, term } => {
                let life = self.life(member);
                let acked = if life.acked.0 == term { life.acked.1.max(matched) } else { matched };
                life.acked = (term, acked);
                life.term = life.term.max(term);
                Ok(())
            }
            Promise::Message { .. } | Promise::Answer { .. } => Ok(()),
        }
    }
}
