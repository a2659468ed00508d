//! Sends the state to a member that lacks entries we no longer hold.
//!
//! The state is a pinned copy, so the transfer holds up nobody; the values are read from the log while it goes on, so
//! it needs no memory for them, and a [`Hold`] keeps their segments. Pieces travel as ordinary
//! messages and may be lost, repeated or overtaken: `snapshot_window` sees to that, `snapshot_pace` to the rate.
//!
//! A transfer belongs to this process and this receiver, not to a connection or a reign. After a broken connection, a
//! pause of either side, or an election that this member wins again, it goes on from what the receiver holds. It ends
//! when the receiver refuses or has begun anew (a restart), when another member leads, and when nothing was heard for
//! [`STALL_MAX`]: then its hold and its memory are given back, and the next transfer begins at the beginning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use evenkeel_proto::peer as pb;
use evenkeel_raft::types::SnapshotMeta;
use evenkeel_raft::{Index, Mutant, NodeId, Term};
use evenkeel_storage::Hold;
use evenkeel_storage::checkpoint::BlockEncoder;
use tokio::sync::mpsc;

use crate::env::{Event, MessageKind, point};
use crate::member::Member;
use crate::node::Input;
use crate::peer;
use crate::records;
use crate::snapshot_pace::Pace;
use crate::snapshot_window::{Next, Piece, Window};
use crate::state::State;

/// Bytes of one piece at most. [`Config::snapshot_piece_bytes`](crate::config::Config::snapshot_piece_bytes) may be less.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// A transfer without news from its receiver ends after this.
pub const STALL_MAX: Duration = Duration::from_secs(30);
/// Answers waiting for the sending task.
const ANSWER_QUEUE: usize = 64;
/// However little may be sent per second, it is sent in so many pieces or more.
const PIECES_PER_SECOND_MIN: u64 = 4;
const PIECE_BYTES_MIN: usize = 1024;
/// A sender looks around at least this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The transfers that go on, by receiver, and the way of answers to them.
#[derive(Default)]
pub struct Transfers {
    next: AtomicU64,
    running: Mutex<BTreeMap<NodeId, Running>>,
    pace: Pace,
}

struct Running {
    transfer: u64,
    index: Index,
    answers: mpsc::Sender<pb::SnapshotAck>,
}

impl Transfers {
    /// Takes a receiver's answer.
    pub fn acknowledged(&self, from: NodeId, ack: pb::SnapshotAck) {
        let running = self.running.lock().expect("not poisoned");
        if let Some(running) = running.get(&from).filter(|r| r.transfer == ack.transfer) {
            let _ = running.answers.try_send(ack);
        }
    }

    /// A running transfer to `to` that ends at an entry after which nothing is forgotten.
    fn goes_on(&self, to: NodeId, first: Index) -> Option<Index> {
        let running = self.running.lock().expect("not poisoned");
        running.get(&to).map(|running| running.index).filter(|index| first <= index.next())
    }

    /// Whether the transfer was still the one that counts.
    fn end(&self, to: NodeId, transfer: u64) -> bool {
        let mut running = self.running.lock().expect("not poisoned");
        let current = running.get(&to).is_some_and(|r| r.transfer == transfer);
        if current {
            running.remove(&to);
        }
        current
    }
}

/// Begins to send the present state to `to`, or lets a transfer go on that is still of use: one that ends no earlier
/// than the log's `first` entry. Says after which entry that state is at the earliest: the driver, which calls this,
/// must not wait for the state.
pub fn begin(member: &Arc<Member>, to: NodeId, first: Index) -> Index {
    let transfers = member.transfers();
    if let Some(index) = transfers.goes_on(to, first) {
        return index;
    }
    let index = *member.applied().borrow();
    // Distinct between process lives as well: a receiver may still hold half of an earlier one's transfer.
    let count = transfers.next.fetch_add(1, Ordering::Relaxed);
    let transfer = member.env().seed.rotate_left(17).wrapping_add(count).max(1);
    let (answers, queue) = mpsc::channel(ANSWER_QUEUE);
    transfers.running.lock().expect("not poisoned").insert(to, Running { transfer, index, answers });
    member.env().observer.observe(Event::SnapshotBegun { to, index });
    let (member, heard) = (Arc::clone(member), member.now());
    tokio::spawn(async move {
        let (state, hold) = member.held_state();
        let (index, term) = state.store.applied();
        let configuration = state.cluster().configuration.clone();
        let meta = SnapshotMeta { index: Index(index), term: Term(term), configuration };
        let window = Window::default();
        let sender = Sender { member, to, transfer, meta, window, answers: queue, receiver: None, heard, done: false };
        sender.run(state, hold).await;
    });
    index
}

struct Sender {
    member: Arc<Member>,
    to: NodeId,
    transfer: u64,
    meta: SnapshotMeta,
    window: Window,
    answers: mpsc::Receiver<pb::SnapshotAck>,
    /// Which of the receiver's tasks holds our pieces.
    receiver: Option<u64>,
    /// When it last told us something new.
    heard: Duration,
    done: bool,
}

impl Sender {
    async fn run(mut self, state: State, hold: Hold) {
        let (member, to, index) = (Arc::clone(&self.member), self.to, self.meta.index);
        point!(member.env(), "snapshot.before_send");
        let hold = (!member.config().mutants.on(Mutant::SnapshotNoHold)).then_some(hold);
        let outcome = self.send(&state).await;
        if !member.transfers().end(to, self.transfer) {
            return; // another transfer took its place, and will tell how that one ended
        }
        drop(hold);
        match &outcome {
            Ok(()) => {
                tracing::info!(to = %to, index = index.0, "sent database snapshot");
                member.env().observer.observe(Event::SnapshotSent { to, index });
            }
            Err(reason) => tracing::warn!(to = %to, %reason, "a snapshot could not be sent"),
        }
        point!(member.env(), "snapshot.ended");
        let _ = member.inputs().send(Input::SnapshotDone { peer: to }).await;
    }

    async fn send(&mut self, state: &State) -> Result<(), String> {
        let config = self.member.config();
        let paced = usize::try_from(config.snapshot_transfer_rate / PIECES_PER_SECOND_MIN).unwrap_or(usize::MAX);
        let most = if paced == 0 { PIECE_BYTES_MAX } else { paced.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX) };
        let piece_bytes = config.snapshot_piece_bytes.clamp(1, most);
        let member = Arc::clone(&self.member);
        // At the cluster's level, not at ours: the receiver may be of a lower release.
        let own = config.mutants.on(Mutant::SnapshotAtOwnLevel);
        let records = records::of(state, if own { config.release } else { state.cluster().level() });
        let mut stream = Stream::new(records, self.meta.index, piece_bytes);
        loop {
            while self.window.has_room()
                && let Some(piece) = stream.next(&member).await?
            {
                self.window.push(piece);
            }
            let now = self.member.now();
            if self.heard + STALL_MAX <= now {
                return Err(format!("nothing was heard for {} s", STALL_MAX.as_secs()));
            }
            match self.reign()? {
                None => self.wait(None).await?,
                Some(term) => match self.window.next(now) {
                    Next::Send { piece, again } => self.send_piece(term, piece, again).await?,
                    Next::Wait(until) => self.wait(Some(until)).await?,
                    Next::Idle => self.wait(None).await?,
                },
            }
            if self.done {
                return Ok(());
            }
        }
    }

    /// The term in which this member leads; none while nobody does.
    fn reign(&self) -> Result<Option<Term>, String> {
        let standing = self.member.standing();
        match standing.leader {
            Some(leader) if leader.0 == self.member.ids().member => Ok(Some(standing.term)),
            Some(_) => Err("another member leads".into()),
            None => Ok(None),
        }
    }

    async fn send_piece(&mut self, term: Term, piece: Piece, again: bool) -> Result<(), String> {
        if again && self.member.config().mutants.on(Mutant::SnapshotRestart) {
            return Err("a piece was lost".into());
        }
        let rate = self.member.config().snapshot_transfer_rate;
        let turn = self.member.transfers().pace.book(piece.data.len(), rate, self.member.now());
        while self.member.now() < turn {
            if self.reign()?.is_none() {
                return Ok(()); // as if it were lost
            }
            self.wait(Some(turn)).await?;
        }
        point!(self.member.env(), "snapshot.before_piece");
        let chunk = pb::SnapshotChunk {
            transfer: self.transfer,
            term: term.0,
            meta: Some(peer::meta_to_proto(&self.meta)),
            offset: piece.offset,
            crc: crc32c::crc32c(&piece.data),
            data: piece.data,
            last: piece.last,
        };
        let bytes = peer::encode_chunk(self.member.ids(), self.to, chunk);
        self.member.env().network.send(self.to, MessageKind::Snapshot, bytes);
        Ok(())
    }

    /// Waits for an answer, for `until`, and never long.
    async fn wait(&mut self, until: Option<Duration>) -> Result<(), String> {
        let now = self.member.now();
        let pause = until.map_or(LOOK_INTERVAL, |until| until.saturating_sub(now)).min(LOOK_INTERVAL);
        tokio::select! {
            biased;
            () = self.member.stopping() => Err("this member stops".into()),
            answer = self.answers.recv() => match answer {
                Some(ack) => self.take(ack),
                None => Err("another transfer took its place".into()),
            },
            () = self.member.env().clock.sleep(pause) => Ok(()),
        }
    }

    fn take(&mut self, ack: pb::SnapshotAck) -> Result<(), String> {
        if !ack.error.is_empty() {
            return Err(ack.error);
        }
        if *self.receiver.get_or_insert(ack.receiver) != ack.receiver {
            return Err("the receiver has begun anew".into());
        }
        let now = self.member.now();
        if self.window.acknowledged(ack.received, &ack.held, now) {
            self.heard = now;
        }
        self.done |= ack.done;
        Ok(())
    }
}

/// The state as a stream of bytes, cut into pieces.
struct Stream<I> {
    records: I,
    encoder: Option<BlockEncoder>,
    piece_bytes: usize,
    /// Encoded and not yet cut.
    ready: BytesMut,
    offset: u64,
    scratch: Vec<u8>,
}

impl<'a, I: Iterator<Item = records::Record<'a>>> Stream<I> {
    fn new(records: I, index: Index, piece_bytes: usize) -> Stream<I> {
        let encoder = Some(BlockEncoder::new(index.0));
        Stream { records, encoder, piece_bytes, ready: BytesMut::new(), offset: 0, scratch: Vec::new() }
    }

    /// The next piece; none after the last.
    async fn next(&mut self, member: &Member) -> Result<Option<Piece>, String> {
        if self.encoder.is_none() && self.ready.is_empty() {
            return Ok(None);
        }
        while let Some(encoder) = &mut self.encoder
            && self.ready.len() < self.piece_bytes
        {
            let Some(record) = self.records.next() else {
                self.ready.extend_from_slice(&self.encoder.take().expect("just seen").finish());
                break;
            };
            self.scratch.clear();
            let kind = record.encode_with_value(member.values(), &mut self.scratch).map_err(|e| e.to_string())?;
            encoder.push(kind, &self.scratch);
            if 0 < encoder.ready_bytes() {
                self.ready.extend_from_slice(&encoder.take());
                // A block is some work: others have their turn.
                tokio::task::yield_now().await;
            }
        }
        let data = self.ready.split_to(self.piece_bytes.min(self.ready.len())).freeze();
        let (offset, last) = (self.offset, self.encoder.is_none() && self.ready.is_empty());
        self.offset += data.len() as u64;
        Ok(Some(Piece { offset, data, last }))
    }
}
