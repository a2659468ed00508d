//! Watches: every promise etcd makes about a stream of events, per watch and along a client's chain of watches.
//!
//! What the order of arrival alone shows is checked at once; what needs the truth (the replayed writes of
//! [`crate::linearizable`]) waits until the model has reached that revision.
//!
//! | Check | Where |
//! |---|---|
//! | filter and range, reliable (nothing between the first expected and the last seen is missing or invented), sub order, atomic (a revision is never split unless fragmented), prev_kv, create flags | `truth.rs` |
//! | revisions never go back, no event twice, bookmarks never go back and are never overtaken by older events, nothing below the start, header not below the last event, answering member | [`Watches::events`], [`Watches::progress`] |
//! | a bookmark promises that everything up to it was delivered | `truth.rs` |
//! | cancelled unasked only as compacted, or with a reason that the request gives | [`Watches::canceled`] |
//! | nothing comes for a watch that the stream does not have | the suite |
//! | cancelled as compacted only when something wanted is gone, and only if somebody compacted | [`Watches::canceled`] |
//! | resumed watches join without gap or repeat | [`Watches::open`] |
//! | `watch_id` unique among the live watches of a stream | [`Watches::created`] |
//! | who asks for the end of a watch is told `canceled`, and then nothing more | [`Watches::canceled`], [`Watches::finish`] |
//! | after quiet every open watch reaches the head or is cancelled | [`Watches::finish`] |
//! | in quiet, idle watches get their bookmark without asking | [`Watches::idle`], [`Watches::finish`] |

mod truth;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::history::*;
use crate::ids::*;
use crate::linearizable::{Cover, Linearizable};
use crate::violation::{Related, Verdict, Violation};

/// The oracle's name.
pub const NAME: &str = "watch";

/// How patient the liveness checks are.
#[derive(Clone, Copy, Debug)]
pub struct WatchConfig {
    /// In quiet, an event reaches every open watch within this.
    pub delivery_nanos: u64,
    /// Its reader may be late by so much in all.
    pub reader_nanos: u64,
    /// The server's progress notification interval; 0: bookmarks are not expected.
    pub progress_interval_nanos: u64,
}

/// What waits for the truth.
#[derive(Clone, Debug)]
enum Claim {
    /// These are all wanted events up to the last one's revision.
    Events(Vec<Event>),
    /// All wanted events up to here were delivered.
    Bookmark(Revision),
}

impl Claim {
    fn revision(&self) -> Revision {
        match self {
            Claim::Events(events) => events.last().expect("an event claim has events").kv.modified,
            Claim::Bookmark(revision) => *revision,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for.
    Opening,
    /// The server said `created`.
    Created,
    /// The server said `canceled`, or the stream ended.
    Over,
}

#[derive(Clone, Debug)]
struct Watch {
    request: WatchRequest,
    stream: StreamId,
    member: MemberId,
    state: State,
    watch_id: Option<i64>,
    /// History certainly gone when the watch was asked for.
    compacted_at_open: Revision,
    cancel_asked: Option<Moment>,
    /// The first revision not promised to have been delivered; 0 before `created` says what "now" is.
    next: Revision,
    /// The first revision not checked against the truth.
    checked: Revision,
    /// Parts of a fragmented response.
    partial: Vec<Event>,
    /// The revision that their headers name.
    partial_at: Revision,
    claims: VecDeque<Claim>,
    opened: Moment,
    /// The last event or bookmark for this watch alone, or when it was first known that its start had come: bookmarks
    /// that the stream asked for are no substitute for those that come by themselves.
    idle_since: Option<Moment>,
}

/// The oracle.
#[derive(Clone, Debug)]
pub struct Watches {
    config: WatchConfig,
    watches: BTreeMap<WatchKey, Watch>,
    /// Live watches per stream.
    streams: BTreeMap<StreamId, BTreeSet<WatchKey>>,
    /// First pending claim per watch, by the revision it waits for.
    waiting: BTreeSet<(Revision, WatchKey)>,
    /// Watches that are over, in the order of their ends: of so many the last ones are remembered.
    over: VecDeque<WatchKey>,
    /// The newest that is not.
    forgotten: Option<WatchKey>,
    /// What has been shown in full since it was asked for the last time.
    shown: Vec<(Cover, Vec<Event>)>,
}

/// Watches that are over and remembered: what continues one of them is compared with it. Clients that have watched much more
/// since are not asked where they stopped.
const OVER_KEPT: usize = 1 << 14;

/// What a member says when it ends a watch that nobody can have.
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
/// And when it was asked for history before the first revision.
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
/// And when it has no room for more.
const TOO_MANY: &str = "evenkeel: too many watchers";

/// Whether a watch with this request may be ended with these words, by no wish of its client's.
fn may_end(request: &WatchRequest, reason: &str) -> bool {
    let KeyRange { key, end } = &request.keys;
    match reason {
        EMPTY_RANGE => !end.is_empty() && !request.keys.is_open() && end <= key,
        COMPACTED => request.start.0 < 0,
        TOO_MANY => true,
        _ => false,
    }
}

/// A message for a watch that its client never had.
pub(crate) fn stray(at: Moment, stream: StreamId, member: MemberId, watch_id: i64, what: &str) -> Box<Violation> {
    let message = format!("{member} sent {what} for watch_id {watch_id} on {stream}, which has no such watch");
    Violation::new(NAME, at, message).with([Related::Member(member)])
}

fn fail(at: Moment, watch: WatchKey, message: String) -> Box<Violation> {
    Violation::new(NAME, at, format!("{watch} {message}")).with([Related::Watch(watch)])
}

impl Watches {
    /// No watches.
    pub fn new(config: WatchConfig) -> Self {
        Watches {
            config,
            watches: BTreeMap::new(),
            streams: BTreeMap::new(),
            waiting: BTreeSet::new(),
            over: VecDeque::new(),
            forgotten: None,
            shown: Vec::new(),
        }
    }

    /// A client asks for a watch.
    #[allow(clippy::too_many_arguments)]
    pub fn open(
        &mut self,
        at: Moment,
        key: WatchKey,
        stream: StreamId,
        member: MemberId,
        request: WatchRequest,
        resumes: Option<WatchKey>,
        truth: &Linearizable,
    ) -> Verdict {
        if let Some(before) = resumes.and_then(|before| self.watches.get(&before)) {
            if before.state != State::Over {
                return Err(fail(at, key, format!("resumes {resumes:?}, which has not ended")));
            }
            if before.next.0 != 0 && before.next != request.start {
                let message = format!("starts at {} but what it resumes had got up to {}", request.start, before.next);
                return Err(fail(at, key, message));
            }
        }
        let next = request.start;
        let watch = Watch {
            request,
            stream,
            member,
            state: State::Opening,
            watch_id: None,
            compacted_at_open: truth.certainly_compacted(),
            cancel_asked: None,
            next,
            checked: next,
            partial: Vec::new(),
            partial_at: Revision(0),
            claims: VecDeque::new(),
            opened: at,
            idle_since: None,
        };
        match self.watches.insert(key, watch) {
            None => Ok(()),
            Some(_) => Err(fail(at, key, "testbed: was opened twice".to_string())),
        }
    }

    /// The server says `created`.
    pub fn created(&mut self, at: Moment, key: WatchKey, watch_id: i64, header: Header) -> Verdict {
        let watch = live(&mut self.watches, at, key)?;
        if watch.state != State::Opening {
            return Err(fail(at, key, "was created twice".to_string()));
        }
        watch.state = State::Created;
        watch.watch_id = Some(watch_id);
        answered_by(watch, at, key, header)?;
        if watch.request.start <= header.revision {
            watch.idle_since = Some(at);
        }
        if watch.request.start.0 == 0 {
            (watch.next, watch.checked) = (header.revision.next(), header.revision.next());
        }
        let stream = watch.stream;
        let siblings = self.streams.entry(stream).or_default();
        siblings.insert(key);
        let twin = siblings.iter().find(|other| **other != key && self.watches[other].watch_id == Some(watch_id));
        match twin {
            None => Ok(()),
            Some(twin) => Err(fail(at, key, format!("got watch_id {watch_id}, which {twin} on the same stream has"))),
        }
    }

    /// Events arrive; the truth is known up to `head`.
    #[allow(clippy::too_many_arguments)]
    pub fn events(
        &mut self,
        at: Moment,
        key: WatchKey,
        header: Header,
        mut events: Vec<Event>,
        fragment: bool,
        head: Revision,
    ) -> Verdict {
        let watch = created(&mut self.watches, at, key)?;
        answered_by(watch, at, key, header)?;
        if fragment && !watch.request.fragment {
            return Err(fail(at, key, "got a fragment without having asked for it".to_string()));
        }
        if !watch.partial.is_empty() && header.revision != watch.partial_at {
            let message = format!("got parts of one response at {} and at {}", watch.partial_at, header.revision);
            return Err(fail(at, key, message));
        }
        watch.partial_at = header.revision;
        if events.is_empty() && fragment {
            return Err(fail(at, key, "got a fragment without events".to_string()));
        }
        if events.is_empty() && watch.partial.is_empty() {
            return Err(fail(at, key, "got a response without events that is no bookmark".to_string()));
        }
        let mut last = watch.partial.last().map(|event| event.kv.modified);
        for event in &events {
            let revision = event.kv.modified;
            if revision < watch.next {
                let what = if revision < watch.request.start { "below its start" } else { "again or too late" };
                let message = format!("got {:?} at {revision} {what}: it is past {}", event.kv.key, watch.next.prev());
                return Err(fail(at, key, message).with([Related::Revision(revision)]));
            }
            if last.is_some_and(|last| revision < last) {
                let message = format!("got {revision} after {:?} in one response", last.unwrap_or_default());
                return Err(fail(at, key, message).with([Related::Revision(revision)]));
            }
            last = Some(revision);
        }
        if last.is_some_and(|last| header.revision < last) {
            let message = format!("got events up to {last:?} under a header at {}", header.revision);
            return Err(fail(at, key, message));
        }
        watch.idle_since = Some(at);
        watch.partial.append(&mut events);
        if fragment {
            return Ok(());
        }
        let events = std::mem::take(&mut watch.partial);
        let upto = last.expect("there are events");
        if head < upto {
            self.shown.push((watch.cover(upto), events.clone()));
        }
        watch.next = upto.next();
        push(&mut self.waiting, watch, key, Claim::Events(events));
        Ok(())
    }

    /// A bookmark arrives, for one watch or for all of the stream; the truth is known up to `head`.
    pub fn progress(
        &mut self,
        at: Moment,
        stream: StreamId,
        one: Option<WatchKey>,
        header: Header,
        head: Revision,
    ) -> Verdict {
        let keys: Vec<WatchKey> = match one {
            Some(key) => vec![key],
            None => self.streams.get(&stream).into_iter().flatten().copied().collect(),
        };
        for key in keys {
            let watch = created(&mut self.watches, at, key)?;
            answered_by(watch, at, key, header)?;
            match one {
                Some(_) => watch.idle_since = Some(at),
                None if watch.request.start <= header.revision => _ = watch.idle_since.get_or_insert(at),
                None => {}
            }
            if !watch.partial.is_empty() {
                return Err(fail(at, key, "got a bookmark in the middle of a fragmented response".to_string()));
            }
            if header.revision < watch.next.prev() {
                let message = format!("got bookmark {} but is already past {}", header.revision, watch.next.prev());
                return Err(fail(at, key, message).with([Related::Revision(header.revision)]));
            }
            if head < header.revision {
                self.shown.push((watch.cover(header.revision), Vec::new()));
            }
            watch.next = header.revision.next();
            push(&mut self.waiting, watch, key, Claim::Bookmark(header.revision));
        }
        Ok(())
    }

    /// The stream is alive, in quiet since `calm`: what should have told its progress by now?
    pub fn idle(&self, at: Moment, stream: StreamId, calm: Moment, truth: &Linearizable) -> Verdict {
        let keys = self.streams.get(&stream).into_iter().flatten();
        let idle = |key: WatchKey| self.watches[&key].idle(at, key, calm, &self.config);
        keys.copied().try_for_each(idle).or_else(|late| self.unless_behind(at, stream, truth, late))
    }

    /// One of the stream's watches has not been shown what it should have by now, as when it began with a long history:
    /// what stands behind that in the stream comes later still, and that is no promise broken.
    fn unless_behind(&self, at: Moment, stream: StreamId, truth: &Linearizable, late: Box<Violation>) -> Verdict {
        let late_now = |revision| truth.first_seen(revision).nanos + self.config.delivery_nanos <= at.nanos;
        let watches = self.streams.get(&stream).into_iter().flatten().filter_map(|key| self.watches.get(key));
        let mut created = watches.filter(|watch| watch.state == State::Created);
        if created.any(|watch| watch.first_missing(truth, late_now).is_some()) { Ok(()) } else { Err(late) }
    }

    /// The client asks for the end.
    pub fn cancel(&mut self, at: Moment, key: WatchKey) -> Verdict {
        live(&mut self.watches, at, key)?.cancel_asked = Some(at);
        Ok(())
    }

    /// The server says `canceled`.
    pub fn canceled(
        &mut self,
        at: Moment,
        key: WatchKey,
        compact_revision: Revision,
        reason: &str,
        truth: &Linearizable,
    ) -> Verdict {
        live(&mut self.watches, at, key)?;
        let watch = &*self.ended(key);
        if compact_revision.0 != 0 {
            if compact_revision <= watch.next {
                let next = watch.next;
                let message = format!("was cancelled as compacted to {compact_revision}, but it wanted {next} next");
                return Err(fail(at, key, message).with([Related::Revision(compact_revision)]));
            }
            let possible = truth.possibly_compacted();
            if possible < compact_revision {
                let message = format!("was cancelled as compacted to {compact_revision}, which nobody asked for");
                return Err(fail(at, key, message).with([Related::Revision(compact_revision)]));
            }
        } else if watch.cancel_asked.is_none() && !may_end(&watch.request, reason) {
            let why = if reason.is_empty() { "no reason is given".into() } else { format!("{reason:?} is none") };
            return Err(fail(at, key, format!("was cancelled although nobody asked and {why}")));
        }
        Ok(())
    }

    /// The stream ended.
    pub fn closed(&mut self, at: Moment, key: WatchKey) -> Verdict {
        if self.watches.contains_key(&key) {
            self.ended(key).partial.clear();
            return Ok(());
        }
        match self.forgotten {
            Some(newest) if key <= newest => Ok(()),
            _ => Err(fail(at, key, "testbed: is unknown".to_string())),
        }
    }

    /// The watch is over, if it was not. The oldest of too many such is forgotten, once all that it showed is checked.
    fn ended(&mut self, key: WatchKey) -> &mut Watch {
        let watch = self.watches.get_mut(&key).expect("it is known");
        if watch.state != State::Over {
            watch.state = State::Over;
            if let Some(siblings) = self.streams.get_mut(&watch.stream) {
                siblings.remove(&key);
                if siblings.is_empty() {
                    self.streams.remove(&watch.stream);
                }
            }
            self.over.push_back(key);
            if OVER_KEPT < self.over.len() {
                let oldest = self.over.pop_front().expect("there are some");
                if self.watches[&oldest].claims.is_empty() {
                    self.watches.remove(&oldest);
                    self.forgotten = self.forgotten.max(Some(oldest));
                } else {
                    self.over.push_back(oldest);
                }
            }
        }
        self.watches.get_mut(&key).expect("it is not the oldest")
    }

    /// What watches have shown in full since the last time this was asked.
    pub fn take_shown(&mut self) -> Vec<(Cover, Vec<Event>)> {
        std::mem::take(&mut self.shown)
    }

    /// Checks claims up to the replayed head.
    pub fn settle(&mut self, at: Moment, truth: &Linearizable) -> Verdict {
        let head = truth.model().head();
        while let Some(&(revision, key)) = self.waiting.first() {
            if head < revision {
                break;
            }
            self.waiting.pop_first();
            let watch = self.watches.get_mut(&key).expect("waiting watches exist");
            let claim = watch.claims.pop_front().expect("a waiting watch has a claim");
            if let Some(next) = watch.claims.front() {
                self.waiting.insert((next.revision(), key));
            }
            watch.check(at, key, &claim, truth)?;
        }
        Ok(())
    }

    /// From when on [`Watches::finish`] can say of every open watch whether it has what was written until now. None
    /// when there is no watch.
    pub fn judged_from(&self, calm: Moment, truth: &Linearizable) -> Option<u64> {
        let late = self.config.delivery_nanos + self.config.reader_nanos;
        let newest = truth.first_seen(truth.model().head()).nanos;
        let open = self.watches.values().filter(|watch| watch.state != State::Over);
        open.map(|watch| watch.opened.nanos.max(calm.nanos).max(newest) + late).max()
    }

    /// The run is over; it has been calm since `calm`, if at all.
    pub fn finish(&mut self, at: Moment, calm: Option<Moment>, truth: &Linearizable) -> Verdict {
        self.settle(at, truth)?;
        let Some(calm) = calm else { return Ok(()) };
        let patience = self.config.delivery_nanos;
        for (&key, watch) in &self.watches {
            // A watch opened late, or events made late, have not had their time yet. Answers of other kinds excuse nothing.
            let late = patience + self.config.reader_nanos;
            if watch.state == State::Over || at.nanos < watch.opened.nanos.max(calm.nanos) + late {
                continue;
            }
            if let Some(asked) = watch.cancel_asked {
                if at.nanos < asked.nanos.saturating_add(late) {
                    continue;
                }
                return Err(fail(at, key, format!("was not cancelled, though its client asked for it at {asked}")));
            }
            if watch.state == State::Opening {
                return Err(fail(at, key, "was never created".to_string()));
            }
            let due = |revision| truth.first_seen(revision).nanos + late <= at.nanos;
            if let Some(write) = watch.first_missing(truth, due) {
                let (revision, lost) = (write.0, watch.next < watch.compacted_at_open);
                let end = if lost { " and, being below the compacted history, was not cancelled either" } else { "" };
                let message = format!("never got {:?} at {revision}{end}", write.1);
                return Err(fail(at, key, message).with([Related::Revision(revision)]));
            }
            let stream = watch.stream;
            watch.idle(at, key, calm, &self.config).or_else(|late| self.unless_behind(at, stream, truth, late))?;
        }
        Ok(())
    }
}

impl Watch {
    /// In quiet a watch that wants bookmarks is told something once in two intervals at the latest. One more is for
    /// spread and clocks, and its client may be slow to read.
    fn idle(&self, at: Moment, key: WatchKey, calm: Moment, config: &WatchConfig) -> Verdict {
        let interval = config.progress_interval_nanos;
        let Some(since) = self.idle_since.filter(|_| self.request.progress_notify && 0 < interval) else {
            return Ok(());
        };
        let patience = interval.saturating_mul(3).saturating_add(config.delivery_nanos);
        let due = since.nanos.max(calm.nanos).saturating_add(patience);
        if at.nanos <= due {
            return Ok(());
        }
        Err(fail(at, key, format!("got no bookmark since {since}, without asking")))
    }
}

fn push(waiting: &mut BTreeSet<(Revision, WatchKey)>, watch: &mut Watch, key: WatchKey, claim: Claim) {
    if watch.claims.is_empty() {
        waiting.insert((claim.revision(), key));
    }
    watch.claims.push_back(claim);
}

fn answered_by(watch: &mut Watch, at: Moment, key: WatchKey, header: Header) -> Verdict {
    if header.member == watch.member {
        return Ok(());
    }
    Err(fail(at, key, format!("asked {} and was answered by {}", watch.member, header.member)))
}

fn live(watches: &mut BTreeMap<WatchKey, Watch>, at: Moment, key: WatchKey) -> Verdict<&mut Watch> {
    match watches.get_mut(&key) {
        None => Err(fail(at, key, "is over for long, or was never asked for, but goes on".to_string())),
        Some(watch) if watch.state == State::Over => Err(fail(at, key, "is over, but goes on".to_string())),
        Some(watch) => Ok(watch),
    }
}

fn created(watches: &mut BTreeMap<WatchKey, Watch>, at: Moment, key: WatchKey) -> Verdict<&mut Watch> {
    let watch = live(watches, at, key)?;
    match watch.state {
        State::Created => Ok(watch),
        _ => Err(fail(at, key, "speaks before it was created".to_string())),
    }
}
