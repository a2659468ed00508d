//! Takes a snapshot in: pieces become index rows in memory and values in our own log.
//!
//! Nothing of the present state changes before the last piece has arrived and the whole has been checked against
//! the sender's state hash; then the core decides whether the snapshot is still wanted. Values are durable in the log
//! when their pieces are acknowledged, and never in memory together.
//!
//! One transfer at a time. A newer one, of a new leader or of a sender that began anew, takes its place from the
//! beginning; what is left of an older one is not heard any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::peer as pb;
use evenkeel_raft::{Mutant, NodeId, Term};
use evenkeel_storage::checkpoint::BlockDecoder;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::apply::Staged;
use crate::env::{MessageKind, point};
use crate::member::Member;
use crate::node::Input;
use crate::peer;
use crate::reader::Pin;
use crate::records::Rebuild;
use crate::snapshot_assembly::Assembly;
use crate::snapshot_send::PIECE_BYTES_MAX;
use crate::snapshot_window::{self, Piece};
use crate::version;
use crate::wal::LogWork;

/// Pieces waiting to be taken in; a sender has fewer under way.
const PIECE_QUEUE: usize = 2 * snapshot_window::PIECES_MAX;
/// Bytes whose values are stored together.
const BATCH_BYTES: usize = 1024 * 1024;
/// A transfer without news for this long is forgotten. Its sender gives up earlier.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Transfers remembered as over.
const OVER_MAX: usize = 16;

/// The driver's side: hands pieces to the task of their transfer.
pub struct Receiver {
    member: Arc<Member>,
    log: mpsc::Sender<LogWork>,
    current: Option<Current>,
    /// Transfers whose place was taken: a late piece of theirs must not take it back.
    over: VecDeque<(NodeId, u64)>,
    tasks: u64,
}

struct Current {
    from: NodeId,
    transfer: u64,
    term: u64,
    pieces: mpsc::Sender<pb::SnapshotChunk>,
    heard: Duration,
}

impl Receiver {
    /// A receiver that stores values through `log`.
    pub fn new(member: Arc<Member>, log: mpsc::Sender<LogWork>) -> Receiver {
        Receiver { member, log, current: None, over: VecDeque::new(), tasks: 0 }
    }

    /// Takes a piece.
    pub fn chunk(&mut self, from: NodeId, chunk: pb::SnapshotChunk) {
        let (id, now) = ((from, chunk.transfer), self.member.now());
        if PIECE_BYTES_MAX < chunk.data.len() {
            return;
        }
        if self.over.contains(&id) {
            // Its sender leads again, and did not notice that another one did meanwhile.
            return self.refuse(from, chunk.transfer, "another transfer took its place");
        }
        if self.current.as_ref().is_none_or(|c| (c.from, c.transfer) != id) && !self.begin(from, &chunk) {
            return;
        }
        let current = self.current.as_mut().expect("begun, if it was not there");
        current.heard = now;
        current.term = current.term.max(chunk.term);
        // A full queue means that the sender repeats itself: it will again.
        if let Err(TrySendError::Closed(_)) = current.pieces.try_send(chunk) {
            // It could not be taken in, and the word of that may have been lost.
            self.refuse(from, id.1, "the transfer has failed here");
        }
    }

    /// Makes room for another transfer. False when it has to wait, or comes too late.
    fn begin(&mut self, from: NodeId, chunk: &pb::SnapshotChunk) -> bool {
        let index = chunk.meta.as_ref().map_or(0, |meta| meta.index);
        // (A member that joins may get the empty state its cluster was founded with; the core knows whether it needs it.)
        if 0 < index && index <= self.member.applied().borrow().0 {
            self.refuse(from, chunk.transfer, "this member is past that entry");
            return false;
        }
        if let Some(current) = &self.current {
            if chunk.term < current.term || self.member.config().mutants.on(Mutant::SnapshotNoTakeover) {
                return false;
            }
            self.over.push_back((current.from, current.transfer));
            if OVER_MAX < self.over.len() {
                self.over.pop_front();
            }
        }
        self.tasks += 1;
        let (pieces, queue) = mpsc::channel(PIECE_QUEUE);
        let task = Task {
            member: Arc::clone(&self.member),
            log: self.log.clone(),
            from,
            transfer: chunk.transfer,
            name: self.member.env().seed.rotate_left(29).wrapping_add(self.tasks),
            decoder: BlockDecoder::new(index),
            rebuild: Rebuild::default(),
            assembly: Assembly::default(),
            pins: Vec::new(),
            done: false,
        };
        tokio::spawn(task.run(queue));
        let heard = self.member.now();
        self.current = Some(Current { from, transfer: chunk.transfer, term: chunk.term, pieces, heard });
        true
    }

    fn refuse(&self, to: NodeId, transfer: u64, why: &str) {
        acknowledge(&self.member, to, pb::SnapshotAck { transfer, error: why.into(), ..Default::default() });
    }

    /// Forgets a transfer that has gone quiet.
    pub fn tick(&mut self, now: Duration) {
        if self.current.as_ref().is_some_and(|c| c.heard + IDLE_MAX < now) {
            self.current = None;
        }
    }
}

fn acknowledge(member: &Member, to: NodeId, ack: pb::SnapshotAck) {
    let bytes = peer::encode_ack(member.ids(), to, ack);
    member.env().network.send(to, MessageKind::Snapshot, bytes);
}

struct Task {
    member: Arc<Member>,
    log: mpsc::Sender<LogWork>,
    from: NodeId,
    transfer: u64,
    /// Tells the sender whether its pieces are still where it left them.
    name: u64,
    decoder: BlockDecoder,
    rebuild: Rebuild,
    assembly: Assembly,
    pins: Vec<Pin>,
    done: bool,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<pb::SnapshotChunk>) {
        while let Some(first) = queue.recv().await {
            let (meta, mut term) = (first.meta.clone().unwrap_or_default(), first.term);
            self.arrived(first);
            while let Ok(more) = queue.try_recv() {
                term = term.max(more.term);
                self.arrived(more);
            }
            point!(self.member.env(), "snapshot.piece_arrived");
            let error = self.take_in(&meta, term).await.err().unwrap_or_default();
            let failed = !error.is_empty();
            let ack = pb::SnapshotAck {
                transfer: self.transfer,
                received: self.assembly.received(),
                done: self.done,
                error,
                held: self.assembly.held(),
                receiver: self.name,
            };
            acknowledge(&self.member, self.from, ack);
            if failed {
                return;
            }
        }
    }

    fn arrived(&mut self, chunk: pb::SnapshotChunk) {
        if crc32c::crc32c(&chunk.data) == chunk.crc {
            self.assembly.take(Piece { offset: chunk.offset, data: chunk.data, last: chunk.last });
        }
    }

    /// Takes in what follows the part that is here.
    async fn take_in(&mut self, meta: &pb::SnapshotMeta, term: u64) -> Result<(), String> {
        let (mut bytes, mut last) = (0, false);
        while let Some(piece) = self.assembly.pop() {
            bytes += piece.data.len();
            last = piece.last;
            self.decoder.feed(&piece.data);
            while let Some(block) = self.decoder.next_block().map_err(|e| e.to_string())? {
                for (kind, record) in block.records() {
                    self.rebuild.take(kind, record).map_err(|e| e.to_string())?;
                }
            }
            if BATCH_BYTES <= bytes {
                self.carry().await?;
                bytes = 0;
            }
        }
        self.carry().await?;
        if last { self.finish(meta, term).await } else { Ok(()) }
    }

    async fn finish(&mut self, meta: &pb::SnapshotMeta, term: u64) -> Result<(), String> {
        if !self.decoder.ended() {
            return Err("the last piece is not the end of the snapshot".into());
        }
        let meta = peer::meta_from_proto(meta);
        let rebuild = std::mem::take(&mut self.rebuild);
        let storage = rebuild.storage().map_err(|e| e.to_string())?;
        let state = rebuild.finish().map_err(|e| e.to_string())?;
        if state.store.applied() != (meta.index.0, meta.term.0) {
            return Err("the state is not the one that was announced".into());
        }
        if let Err(refused) = version::storage::admit(self.member.config().release, storage, state.cluster().version) {
            self.member.fail(refused.to_string());
            return Err(refused.to_string());
        }
        let pins = std::mem::take(&mut self.pins);
        let staged = Staged { from: self.from, term: Term(term), meta, state, pins };
        point!(self.member.env(), "snapshot.staged");
        let sent = self.member.inputs().send(Input::SnapshotArrived(Box::new(staged))).await;
        self.done = sent.is_ok();
        sent.map_err(|_| "this member stops".into())
    }

    /// Stores the values that came along.
    async fn carry(&mut self) -> Result<(), String> {
        if self.rebuild.values().is_empty() {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        point!(self.member.env(), "snapshot.before_carry");
        let work = LogWork::Carry { values: self.rebuild.values().to_vec(), reply };
        self.log.send(work).await.map_err(|_| "this member stops")?;
        let (places, pin) = answer.await.map_err(|_| "this member stops")?;
        self.pins.push(pin);
        self.rebuild.placed(&places).map_err(|e| e.to_string())
    }
}
