//! The durability ledger: a promise is sent only after its bytes are durable.
//!
//! The simulated disk says what is durable, the network says what leaves. The first promise without its bytes is the
//! violation; no crash is needed to see it.
//!
//! | Promise | Needs on the member's disk |
//! |---|---|
//! | append accepted up to `i` | every entry up to `i` as the log has it (or had it in that term, or what a newer leader put in its place), and the term |
//! | vote granted | term and vote |
//! | any other message of a term | the term |
//! | an answer to a client at revision `r`, read or write | on a majority of the voters: the entry that made `r` |
//!
//! And nobody takes a change of who takes part for committed before it is durable on those who decide about it: a
//! majority of its own configuration (both halves of a joint one), or of the one before.
//!
//! After a start the member must find all that was durable. Reads count too: what is not yet durable must not be
//! shown.

use std::collections::{BTreeMap, VecDeque};

use crate::configurations::{Configuration, Configurations};
use crate::ids::*;
use crate::observation::{Applied, Booted, Promise, Stored};
use crate::tail::{POSITIONS_KEPT, Tail};
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "ledger";

/// One member's log and what its disk holds of it.
#[derive(Clone, Debug, Default)]
struct Book {
    /// The log in memory.
    placed: Tail<Term>,
    /// The log on the disk.
    durable: Tail<Term>,
    /// A durable snapshot or checkpoint stands for everything up to here.
    snapshot: u64,
    /// Memory and disk agree up to here.
    agreed: u64,
    /// The lowest term of an entry that was ever durable at a position.
    lowest: BTreeMap<u64, Term>,
    term: Term,
    /// Durable votes by term.
    votes: BTreeMap<Term, Option<MemberId>>,
}

impl Book {
    fn agree(&mut self) {
        self.agreed = self.agreed.max(self.snapshot.min(self.placed.last()));
        while let (Some(placed), Some(durable)) = (self.placed.get(self.agreed + 1), self.durable.get(self.agreed + 1))
            && placed == durable
        {
            self.agreed += 1;
        }
    }

    /// Whether it may say in `term` that it has everything up to `matched`. A newer leader may have replaced entries
    /// in memory while that was on its way to the disk, or a snapshot may have replaced all of them: what it says of the
    /// older term is then true of what it had.
    fn vouches(&self, term: Term, matched: u64) -> bool {
        let overtaken = self.placed.get(self.placed.last()).is_some_and(|newest| term < newest);
        let swallowed = matched <= self.placed.base();
        let had = |index| self.lowest.get(&index).is_some_and(|lowest| *lowest <= term);
        // A newer term is on the disk, and an entry of a newer leader. Had the rest been written before that, nobody
        // could tell the difference now.
        let replaced = term < self.term && self.placed.get(self.agreed).is_some_and(|durable| term < durable);
        matched <= self.agreed || replaced || ((overtaken || swallowed) && (self.agreed + 1..=matched).all(had))
    }

    fn holds(&self, index: u64, term: Term) -> bool {
        index <= self.snapshot.max(self.durable.base()) || self.durable.get(index) == Some(term)
    }
}

/// The oracle.
#[derive(Clone, Debug)]
pub struct Ledger {
    configurations: Configurations,
    books: BTreeMap<MemberId, Book>,
    /// The entry that made each revision, from revision `2 + shown` on.
    makers: VecDeque<Option<(Index, Term)>>,
    /// So many revisions are older than what was found safe.
    shown: usize,
    /// A majority has been seen to hold the log up to here.
    safe: Index,
    /// Some member has taken its log for committed up to here.
    committed: Index,
}

fn fail(at: Moment, member: MemberId, message: String) -> Box<Violation> {
    Violation::new(NAME, at, format!("{member} {message}")).with([Related::Member(member)])
}

impl Ledger {
    /// For so many voting members at first.
    pub fn new(voters: usize) -> Self {
        let configurations = Configurations::new(Configuration::founded(voters));
        let (safe, committed) = (Index(0), Index(0));
        Ledger { configurations, books: BTreeMap::new(), makers: VecDeque::new(), shown: 0, safe, committed }
    }

    fn book(&mut self, member: MemberId) -> &mut Book {
        self.books.entry(member).or_default()
    }

    /// A configuration was put into some member's log.
    pub fn configured(&mut self, index: Index, term: Term, configuration: Configuration) {
        self.configurations.appended(index, term, configuration);
    }

    /// The member's disk is empty and it comes back as somebody else: what it held is lost, what it promised is void.
    /// What a majority held until now was decided all the same: it may be shown with a copy less.
    pub fn replaced(&mut self, member: MemberId, gone: MemberId) {
        // Nobody may have applied it yet.
        let last = self.books.values().map(|book| book.durable.last()).max().unwrap_or(0);
        let terms = |index| self.books.values().filter_map(move |book| book.durable.get(index));
        let held = |index: &u64| terms(*index).any(|term| self.is_held(Index(*index), term));
        if let Some(index) = (self.safe.0 + 1..=last).rev().find(held) {
            self.safe = Index(index);
        }
        // What it acknowledged before counts as long as it is asked for.
        if let Some(book) = self.books.remove(&member) {
            self.books.insert(gone, book);
        }
        self.configurations.replaced(member, gone);
    }

    /// The member takes its log for committed up to here: were those asked who decide about a change of who takes part?
    pub fn committed(&mut self, at: Moment, member: MemberId, index: Index) -> Verdict {
        let from = self.committed.0 + 1;
        self.committed = self.committed.max(index);
        let Some(placed) = self.books.get(&member).map(|book| &book.placed) else { return Ok(()) };
        for index in (from..=index.0).map(Index) {
            let Some(term) = placed.get(index.0) else { continue };
            let decided_by = self.configurations.decided_by(index, term, |place| placed.get(place.0));
            let Some((own, before)) = decided_by else { continue };
            let holds = |member| self.holds(member, index, term);
            if !own.is_decided(before, holds) {
                let message =
                    format!("commits a change of who takes part at {index} without those who decide about it");
                return Err(fail(at, member, message).with([Related::Index(index)]));
            }
        }
        Ok(())
    }

    /// An entry was put into the member's log, in memory.
    pub fn placed(&mut self, member: MemberId, index: Index, term: Term) {
        let book = self.book(member);
        if index.0 <= book.placed.base() {
            book.placed.restart(index.0 - 1); // it replaces what was found there at the last start
        }
        if !book.placed.put(index.0, term) {
            return; // a hole: the raft oracle says so
        }
        book.agreed = book.agreed.min(index.0 - 1);
        book.agree();
        book.placed.forget();
    }

    /// A snapshot replaced the member's log, in memory.
    pub fn snapshot_installed(&mut self, member: MemberId, index: Index) {
        let book = self.book(member);
        book.placed.restart(index.0);
        book.agreed = book.agreed.min(index.0);
        book.agree();
    }

    /// The member's disk made something durable.
    pub fn durable(&mut self, at: Moment, member: MemberId, stored: Stored) -> Verdict {
        let book = self.book(member);
        match stored {
            Stored::HardState { term, vote } => {
                if term < book.term {
                    return Err(fail(at, member, format!("overwrites its durable {} with {term}", book.term)));
                }
                if let Some(Some(known)) = book.votes.get(&term)
                    && vote != Some(*known)
                {
                    return Err(fail(at, member, format!("overwrites its vote for {known} in {term} with {vote:?}")));
                }
                book.term = term;
                book.votes.insert(term, vote);
            }
            Stored::Entry { index, term } => {
                let lowest = book.lowest.entry(index.0).or_insert(term);
                *lowest = term.min(*lowest);
                if POSITIONS_KEPT < book.lowest.len() {
                    book.lowest.pop_first();
                }
                if book.durable.get(index.0) == Some(term) {
                    return Ok(()); // written again
                }
                if !book.durable.put(index.0, term) && book.durable.base() < index.0 {
                    let message = format!("writes {index} behind a durable log that ends at {}", book.durable.last());
                    return Err(fail(at, member, message).with([Related::Index(index)]));
                }
                book.agreed = book.agreed.min(index.0.saturating_sub(1)).max(book.durable.base());
                book.agree();
                book.durable.forget();
            }
            Stored::Snapshot { index, term } => {
                if book.durable.last() < index.0 || book.durable.get(index.0).is_some_and(|known| known != term) {
                    book.durable.restart(index.0);
                }
                book.snapshot = book.snapshot.max(index.0);
                book.agree();
            }
        }
        Ok(())
    }

    /// The member applied an entry: which one made a revision?
    pub fn applied(&mut self, applied: &Applied) {
        self.configurations.applied(applied.index, applied.term);
        let Some(place) = self.place(applied.revision) else { return };
        if self.makers.len() <= place {
            self.makers.resize(place + 1, None);
            self.makers[place] = Some((applied.index, applied.term));
        }
    }

    /// A promise leaves the member.
    pub fn outgoing(&mut self, at: Moment, member: MemberId, promise: Promise) -> Verdict {
        let book = self.books.entry(member).or_default();
        match promise {
            Promise::AppendAccepted { matched, term } => {
                if !book.vouches(term, matched.0) {
                    let message =
                        format!("accepts entries up to {matched}, but only {} are durable", Index(book.agreed));
                    return Err(fail(at, member, message).with([Related::Index(matched)]));
                }
                durable_term(book, at, member, term)
            }
            Promise::VoteGranted { term, to } => match book.votes.get(&term) {
                Some(Some(vote)) if *vote == to => Ok(()),
                // With a newer term on disk it can never vote in this one again.
                _ if term < book.term => Ok(()),
                durable => {
                    let message = format!("gives its vote of {term} to {to}, but the durable vote is {durable:?}");
                    Err(fail(at, member, message).with([Related::Member(to)]))
                }
            },
            Promise::Message { term } => durable_term(book, at, member, term),
            Promise::Answer { revision } => self.answer(at, member, revision),
        }
    }

    fn answer(&mut self, at: Moment, member: MemberId, revision: Revision) -> Verdict {
        let Some(place) = self.place(revision) else { return Ok(()) };
        let Some(Some((index, term))) = self.makers.get(place).copied() else { return Ok(()) };
        if index <= self.safe {
            return Ok(());
        }
        if self.is_held(index, term) {
            self.safe = index;
            // Older revisions were made by older entries: they are safe as well, and nobody asks again.
            self.makers.drain(..place);
            self.shown += place;
            return Ok(());
        }
        let voters = &self.configurations.settled().voters;
        let holders = voters.iter().filter(|member| self.holds(**member, index, term)).count();
        let message = format!(
            "shows {revision}, but its entry {index} of {term} is durable on {holders} of {} voters only",
            voters.len()
        );
        Err(fail(at, member, message).with([Related::Revision(revision), Related::Index(index)]))
    }

    /// Where the maker of a revision stands, unless it is known to be safe.
    fn place(&self, revision: Revision) -> Option<usize> {
        usize::try_from(revision.0 - 2).ok()?.checked_sub(self.shown)
    }

    fn holds(&self, member: MemberId, index: Index, term: Term) -> bool {
        self.books.get(&member).is_some_and(|book| book.holds(index.0, term))
    }

    /// A majority has the entry on disk.
    fn is_held(&self, index: Index, term: Term) -> bool {
        let holds = |member| self.holds(member, index, term);
        self.configurations.of(index).any(|configuration| configuration.is_quorum(holds))
    }

    /// The member's process starts: it must find what was durable.
    pub fn booted(&mut self, at: Moment, member: MemberId, found: Booted) -> Verdict {
        let book = self.book(member);
        if found.term < book.term {
            return Err(fail(at, member, format!("starts in {}, but {} was durable", found.term, book.term)));
        }
        if found.term == book.term
            && let Some(Some(vote)) = book.votes.get(&book.term)
            && found.vote != Some(*vote)
        {
            let message = format!("starts with the vote {:?} in {}, but {vote} was durable", found.vote, found.term);
            return Err(fail(at, member, message));
        }
        let (end, end_term) = (found.last_index.0, found.last_term);
        if book.durable.get(end).is_some_and(|durable| durable != end_term) && book.placed.get(end) == Some(end_term) {
            // What it wrote over durable entries survived, although nobody saw it synced.
            let _ = book.durable.put(end, end_term);
        }
        if book.placed.base() == end && book.durable.get(end).is_some_and(|durable| durable != end_term) {
            // The checkpoint of a snapshot was stored, and power lost before the log said so: the log stands for nothing.
            book.durable.restart(end);
        }
        let (last, durable) = (found.last_index.0, Index(book.durable.last()));
        if last < durable.0 {
            let message = format!("starts with a log up to {}, but {durable} was durable", found.last_index);
            return Err(fail(at, member, message).with([Related::Index(durable)]));
        }
        if let Some(durable) = book.durable.get(found.last_index.0)
            && durable != found.last_term
        {
            let message = format!(
                "starts with {} of {} at the end of its log, but {durable} was durable there",
                found.last_index, found.last_term
            );
            return Err(fail(at, member, message).with([Related::Index(found.last_index)]));
        }
        // From here on memory is what was found. A known entry at its end fixes all before it; with another entry there,
        // or none, what it found survived by luck: it wrote over it, or was writing it, when the power went.
        let known = book.placed.base() == last || book.placed.get(last) == Some(found.last_term);
        if known {
            book.placed.truncate(last);
            book.agreed = book.agreed.min(last);
        } else {
            book.placed.restart(last);
            book.durable.restart(last);
            book.agreed = last;
        }
        Ok(())
    }
}

fn durable_term(book: &Book, at: Moment, member: MemberId, term: Term) -> Verdict {
    if term <= book.term {
        return Ok(());
    }
    Err(fail(at, member, format!("speaks in {term}, but only {} is durable", book.term)))
}
