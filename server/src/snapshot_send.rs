//! Sends the state to a member that lacks entries we no longer hold.
//!
//! One chunk is on its way at a time; an unanswered one is sent again. The state is a pinned copy, so the transfer
//! holds up nobody. Chunks travel as ordinary messages and may be lost, repeated or overtaken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::peer as pb;
use evenkeel_raft::types::SnapshotMeta;
use evenkeel_raft::{Index, NodeId, Term};
use evenkeel_storage::checkpoint::BlockEncoder;
use tokio::sync::mpsc;

use crate::env::{Event, MessageKind, point};
use crate::member::Member;
use crate::node::Input;
use crate::peer;
use crate::records;

/// Bytes of one chunk, but for a single larger record.
const CHUNK_BYTES: usize = 256 * 1024;
/// An unanswered chunk is sent again after this, each time after twice as long, up to eight times it.
const CHUNK_PATIENCE: Duration = Duration::from_millis(500);
/// A transfer ends when one chunk was sent this often without an answer.
const CHUNK_TRIES: u32 = 12;

/// Answers of receivers on their way to the sending tasks.
#[derive(Default)]
pub struct Transfers {
    next: AtomicU64,
    running: Mutex<BTreeMap<NodeId, Running>>,
}

struct Running {
    transfer: u64,
    acks: mpsc::Sender<pb::SnapshotAck>,
}

impl Transfers {
    /// Takes a receiver's answer.
    pub fn acknowledged(&self, from: NodeId, ack: pb::SnapshotAck) {
        let running = self.running.lock().expect("not poisoned");
        if let Some(running) = running.get(&from).filter(|r| r.transfer == ack.transfer) {
            let _ = running.acks.try_send(ack);
        }
    }

    fn begin(&self, member: &Member, to: NodeId) -> (u64, mpsc::Receiver<pb::SnapshotAck>) {
        // Distinct between process lives as well: a receiver may still hold half of an earlier one's transfer.
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let transfer = member.env().seed.rotate_left(17).wrapping_add(count).max(1);
        let (acks, answers) = mpsc::channel(4);
        self.running.lock().expect("not poisoned").insert(to, Running { transfer, acks });
        (transfer, answers)
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

/// Begins to send the present state to `to`, as the leader of `term`.
pub fn spawn(member: Arc<Member>, to: NodeId, term: Term) {
    tokio::spawn(async move {
        let (transfer, mut answers) = member.transfers().begin(&member, to);
        let outcome = send(&member, to, term, transfer, &mut answers).await;
        if !member.transfers().end(to, transfer) {
            return; // another reign's transfer took its place, and will tell how that one ended
        }
        let delivered = match outcome {
            Ok(index) => {
                tracing::info!(to = %to, index = index.0, "sent database snapshot");
                member.env().observer.observe(Event::SnapshotSent { to, index });
                true
            }
            Err(reason) => {
                tracing::warn!(to = %to, %reason, "a snapshot could not be sent");
                false
            }
        };
        let _ = member.inputs().send(Input::SnapshotDone { peer: to, delivered }).await;
    });
}

async fn send(
    member: &Arc<Member>,
    to: NodeId,
    term: Term,
    transfer: u64,
    answers: &mut mpsc::Receiver<pb::SnapshotAck>,
) -> Result<Index, String> {
    point(member.env(), "snapshot.before_send").await;
    let state = member.state();
    let (index, index_term) = state.store.applied();
    let meta = SnapshotMeta {
        index: Index(index),
        term: Term(index_term),
        configuration: state.cluster().configuration.clone(),
    };
    let mut offset = 0;
    let mut encoder = BlockEncoder::new(index);
    let mut encoded = Vec::new();
    // At the cluster's level, not at ours: the receiver may be of a lower release.
    for record in records::of(&state, state.cluster().level()) {
        encoded.clear();
        let kind = record.encode_with_value(member.values(), &mut encoded).map_err(|e| e.to_string())?;
        encoder.push(kind, &encoded);
        if encoder.ready_bytes() < CHUNK_BYTES {
            continue;
        }
        offset =
            deliver(member, to, term, chunk(transfer, term, &meta, offset, encoder.take(), false), answers).await?;
    }
    deliver(member, to, term, chunk(transfer, term, &meta, offset, encoder.finish(), true), answers).await?;
    Ok(meta.index)
}

fn chunk(transfer: u64, term: Term, meta: &SnapshotMeta, offset: u64, data: Bytes, last: bool) -> pb::SnapshotChunk {
    let crc = crc32c::crc32c(&data);
    pb::SnapshotChunk { transfer, term: term.0, meta: Some(peer::meta_to_proto(meta)), offset, data, crc, last }
}

/// Sends one chunk until it is acknowledged. Gives the offset behind it.
async fn deliver(
    member: &Arc<Member>,
    to: NodeId,
    term: Term,
    chunk: pb::SnapshotChunk,
    answers: &mut mpsc::Receiver<pb::SnapshotAck>,
) -> Result<u64, String> {
    let until = chunk.offset + chunk.data.len() as u64;
    for tried in 0..CHUNK_TRIES {
        if member.reign() != Some(term.0) {
            return Err("this member no longer leads".into());
        }
        let bytes = peer::encode_chunk(member.ids(), to, chunk.clone());
        member.env().network.send(to, MessageKind::Snapshot, bytes);
        let mut patience = member.env().clock.sleep(CHUNK_PATIENCE * (1 << tried.min(3)));
        loop {
            tokio::select! {
                biased;
                () = member.stopping() => return Err("this member stops".into()),
                answer = answers.recv() => match answer {
                    Some(ack) if !ack.error.is_empty() => return Err(ack.error),
                    Some(ack) if ack.received >= until && (!chunk.last || ack.done) => return Ok(until),
                    Some(_) => {}
                    None => return Err("another transfer took its place".into()),
                },
                () = &mut patience => break,
            }
        }
    }
    Err(format!("no answer to {CHUNK_TRIES} tries"))
}
