//! Who signs: what the headers of answers say about the member itself.
//!
//! | Rule | What breaks it |
//! |---|---|
//! | the member that was asked answers | another one's name, or one that nobody has |
//! | a member keeps its id | another one, unless its process was started in between; one it has given up before the call |
//! | a process's term never goes back | an answer in a lower term than one that had come before the call, both from the same life: a member may sign with a term that its disk does not have yet |
//!
//! That all answers are one cluster's is seen where they arrive, where its id is known. Two calls that are under way
//! together bind each other to nothing; on one stream, what comes later was said later.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Header;
use crate::ids::*;
use crate::observation::Observation;
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "headers";

/// What a member has shown of itself.
#[derive(Clone, Debug, Default)]
struct Member {
    /// The ids it has shown, the newest last: one more for each time that its machine began anew.
    ids: Vec<u64>,
    /// The newest term it has shown under that id, in this life.
    term: Term,
    /// How often its process was started.
    life: u64,
    /// Its process was started since it was first seen with that id.
    restarted: bool,
}

/// What an answer may not fall behind.
#[derive(Clone, Copy, Debug)]
struct Floor {
    member: MemberId,
    id: Option<u64>,
    term: Term,
    life: u64,
}

#[derive(Clone, Debug)]
struct Stream {
    floor: Floor,
    /// Its watches.
    open: BTreeSet<WatchKey>,
}

/// The oracle.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    members: BTreeMap<MemberId, Member>,
    calls: BTreeMap<OpId, Floor>,
    streams: BTreeMap<StreamId, Stream>,
    watches: BTreeMap<WatchKey, StreamId>,
}

impl Headers {
    /// A member's process starts.
    pub fn booted(&mut self, member: MemberId) {
        let known = self.members.entry(member).or_default();
        (known.restarted, known.term) = (true, Term(0));
        known.life += 1;
    }

    fn floor(&self, member: MemberId) -> Floor {
        let known = self.members.get(&member);
        Floor {
            member,
            id: known.and_then(|known| known.ids.last().copied()),
            term: known.map_or(Term(0), |known| known.term),
            life: known.map_or(0, |known| known.life),
        }
    }

    /// A client calls.
    pub fn call(&mut self, op: OpId, member: MemberId) {
        self.calls.insert(op, self.floor(member));
    }

    /// How it ended; with a header when it was answered.
    pub fn returned(&mut self, at: Moment, op: OpId, header: Option<Header>) -> Verdict {
        match (self.calls.remove(&op), header) {
            (Some(floor), Some(header)) => self.signed(at, floor, header, Related::Op(op)),
            _ => Ok(()),
        }
    }

    /// Something is asked for or comes on a stream of watches.
    pub fn observe(&mut self, at: Moment, observation: &Observation) -> Verdict {
        match observation {
            Observation::WatchOpen { watch, stream, member, .. } => self.opened(*stream, *watch, *member),
            Observation::WatchClosed { watch } | Observation::WatchCanceled { watch, .. } => self.closed(*watch),
            Observation::WatchCreated { watch, header, .. } | Observation::WatchEvents { watch, header, .. } => {
                let stream = self.watches.get(watch).copied();
                return stream.map_or(Ok(()), |stream| self.streamed(at, stream, *header));
            }
            Observation::WatchProgress { stream, header, .. } => return self.streamed(at, *stream, *header),
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, stream: StreamId, watch: WatchKey, member: MemberId) {
        let floor = self.floor(member);
        self.watches.insert(watch, stream);
        self.streams.entry(stream).or_insert(Stream { floor, open: BTreeSet::new() }).open.insert(watch);
    }

    fn closed(&mut self, watch: WatchKey) {
        let Some(stream) = self.watches.remove(&watch) else { return };
        if let Some(known) = self.streams.get_mut(&stream) {
            known.open.remove(&watch);
            if known.open.is_empty() {
                self.streams.remove(&stream);
            }
        }
    }

    fn streamed(&mut self, at: Moment, stream: StreamId, header: Header) -> Verdict {
        let Some(known) = self.streams.get_mut(&stream) else { return Ok(()) };
        let floor = known.floor;
        known.floor = Floor { id: Some(header.id), term: header.term, ..floor };
        let about = known.open.first().copied().unwrap_or_default();
        self.signed(at, floor, header, Related::Watch(about))
    }

    fn signed(&mut self, at: Moment, floor: Floor, header: Header, about: Related) -> Verdict {
        let member = floor.member;
        let fail = |message: String| Violation::new(NAME, at, message).with([Related::Member(member), about]);
        let Header { id, term, .. } = header;
        if header.member != member {
            return Err(fail(format!("{member} was asked, and {} answered (id {id:x})", header.member)));
        }
        let known = self.members.entry(member).or_default();
        let this_life = floor.life == known.life;
        if this_life && floor.id == Some(id) && term < floor.term {
            return Err(fail(format!(
                "{member} answered in {term}, although it had shown {} before the call",
                floor.term
            )));
        }
        let place = |id: u64| known.ids.iter().position(|known| *known == id);
        match place(id) {
            Some(place_of) if floor.id.and_then(place).is_some_and(|newer| place_of < newer) => {
                let newer = floor.id.unwrap_or_default();
                Err(fail(format!("{member} signs as {id:x} again, which it had given up for {newer:x}")))
            }
            Some(place_of) => {
                // What was said under an older id may come late.
                if this_life && place_of + 1 == known.ids.len() {
                    known.term = known.term.max(term);
                    known.restarted = false;
                }
                Ok(())
            }
            None => {
                if let Some(before) = known.ids.last()
                    && !known.restarted
                {
                    return Err(fail(format!("{member} signs as {id:x}, and did as {before:x} in the same life")));
                }
                known.ids.push(id);
                known.restarted = false;
                known.term = if this_life { term } else { Term(0) };
                Ok(())
            }
        }
    }
}
