//! Takes a snapshot in: chunks become index rows in memory and values in our own log.
//!
//! Nothing of the present state changes before the last chunk has arrived and the whole has been checked against
//! the sender's state hash; then the core decides whether the snapshot is still wanted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::peer as pb;
use evenkeel_raft::{NodeId, Term};
use evenkeel_storage::checkpoint::BlockDecoder;
use tokio::sync::{mpsc, oneshot};

use crate::apply::Staged;
use crate::env::MessageKind;
use crate::member::Member;
use crate::node::Input;
use crate::peer;
use crate::reader::Pin;
use crate::records::Rebuild;
use crate::version;
use crate::wal::LogWork;

/// Chunks of one transfer waiting to be taken in; the sender sends one at a time.
const CHUNK_QUEUE: usize = 4;
/// A transfer without news for this long is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The driver's side: hands chunks to the task of their transfer.
pub struct Receiver {
    member: Arc<Member>,
    log: mpsc::Sender<LogWork>,
    current: Option<Current>,
}

struct Current {
    from: NodeId,
    transfer: u64,
    chunks: mpsc::Sender<pb::SnapshotChunk>,
    heard: Duration,
}

impl Receiver {
    /// A receiver that stores values through `log`.
    pub fn new(member: Arc<Member>, log: mpsc::Sender<LogWork>) -> Receiver {
        Receiver { member, log, current: None }
    }

    /// Takes a chunk. A new transfer replaces the one before; its chunks must begin at the beginning.
    pub fn chunk(&mut self, from: NodeId, chunk: pb::SnapshotChunk) {
        let now = self.member.now();
        let known = self.current.as_ref().is_some_and(|c| c.from == from && c.transfer == chunk.transfer);
        if !known {
            if chunk.offset != 0 {
                let error = "the beginning of this transfer is not here".to_owned();
                let ack = pb::SnapshotAck { transfer: chunk.transfer, received: 0, done: false, error };
                acknowledge(&self.member, from, ack);
                return;
            }
            let (chunks, queue) = mpsc::channel(CHUNK_QUEUE);
            let task = Task { member: Arc::clone(&self.member), log: self.log.clone(), from, queue, pins: Vec::new() };
            tokio::spawn(task.run());
            self.current = Some(Current { from, transfer: chunk.transfer, chunks, heard: now });
        }
        let current = self.current.as_mut().expect("just set");
        current.heard = now;
        // A full queue means that the sender repeats itself: it will again.
        let _ = current.chunks.try_send(chunk);
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
    queue: mpsc::Receiver<pb::SnapshotChunk>,
    pins: Vec<Pin>,
}

impl Task {
    async fn run(mut self) {
        let mut rebuild = Rebuild::default();
        let mut received = 0;
        let mut decoder = None;
        let mut done = false;
        while let Some(chunk) = self.queue.recv().await {
            let transfer = chunk.transfer;
            let outcome = if chunk.offset != received || done {
                Ok(done) // a repetition, or out of turn: say again how far we are
            } else if crc32c::crc32c(&chunk.data) != chunk.crc {
                Ok(false)
            } else {
                received += chunk.data.len() as u64;
                let index = chunk.meta.as_ref().map_or(0, |meta| meta.index);
                let decoder = decoder.get_or_insert_with(|| BlockDecoder::new(index));
                self.take(&mut rebuild, decoder, chunk).await
            };
            let (finished, error) = match outcome {
                Ok(finished) => (finished, String::new()),
                Err(reason) => (false, reason),
            };
            done |= finished;
            let failed = !error.is_empty();
            acknowledge(&self.member, self.from, pb::SnapshotAck { transfer, received, done, error });
            if failed {
                return;
            }
        }
    }

    async fn take(
        &mut self,
        rebuild: &mut Rebuild,
        decoder: &mut BlockDecoder,
        chunk: pb::SnapshotChunk,
    ) -> Result<bool, String> {
        decoder.feed(&chunk.data);
        while let Some(block) = decoder.next_block().map_err(|e| e.to_string())? {
            for (kind, record) in block.records() {
                rebuild.take(kind, record).map_err(|e| e.to_string())?;
            }
        }
        if !rebuild.values().is_empty() {
            let places = self.carry(rebuild.values().to_vec()).await?;
            self.pins.push(self.member.values().pin(&places));
            rebuild.placed(&places).map_err(|e| e.to_string())?;
        }
        if !chunk.last {
            return Ok(false);
        }
        if !decoder.ended() {
            return Err("the last chunk is not the end of the snapshot".into());
        }
        let meta = peer::meta_from_proto(&chunk.meta.unwrap_or_default());
        let state = std::mem::take(rebuild).finish().map_err(|e| e.to_string())?;
        if state.store.applied() != (meta.index.0, meta.term.0) {
            return Err("the state is not the one that was announced".into());
        }
        if let Err(refused) = version::storage::follow(self.member.config().release, state.cluster().version) {
            self.member.fail(refused.to_string());
            return Err(refused.to_string());
        }
        let pins = std::mem::take(&mut self.pins);
        let staged = Staged { from: self.from, term: Term(chunk.term), meta, state, pins };
        let sent = self.member.inputs().send(Input::SnapshotArrived(Box::new(staged))).await;
        sent.map(|()| true).map_err(|_| "this member stops".into())
    }

    async fn carry(&self, values: Vec<Bytes>) -> Result<Vec<evenkeel_storage::Place>, String> {
        let (reply, places) = oneshot::channel();
        let sent = self.log.send(LogWork::Carry { values, reply }).await;
        if sent.is_err() {
            return Err("this member stops".into());
        }
        places.await.map_err(|_| "this member stops".into())
    }
}
