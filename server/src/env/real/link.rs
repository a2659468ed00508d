//! The way to one member: two lanes, each a queue, a connection of its own and one stream that never ends.
//!
//! Two connections, because a heartbeat behind megabytes of entries would be late whatever HTTP/2 promises: both
//! share one TCP stream otherwise. A lane that breaks forgets what waits (Raft sends again), tells the member, and
//! connects anew with growing pauses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::peer::peer_client::PeerClient;
use evenkeel_raft::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

use super::queue::{Limits, Push, Queue};
use crate::env::{Inbound, MessageKind, Peer};
use crate::metrics::PeerOut;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A silent connection is asked whether it lives, and given up when it does not answer.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const WINDOW_BYTES: u32 = 16 << 20;

const URGENT: Limits = Limits { messages: 4_096, bytes: 4 << 20 };
const BULK: Limits = Limits { messages: 8_192, bytes: 64 << 20 };

/// See the module's text. Dropping it ends both lanes.
pub(super) struct Link {
    pub(super) peer: Peer,
    urgent: Arc<Queue>,
    bulk: Arc<Queue>,
    lanes: [JoinHandle<()>; 2],
    inbox: mpsc::Sender<Inbound>,
    counters: PeerOut,
}

impl Link {
    pub(super) fn open(peer: Peer, inbox: mpsc::Sender<Inbound>, counters: PeerOut) -> Link {
        let (urgent, bulk) = (Queue::new(URGENT), Queue::new(BULK));
        let lane = |queue: &Arc<Queue>, name| {
            let lane = Lane {
                name,
                peer: peer.clone(),
                queue: Arc::clone(queue),
                inbox: inbox.clone(),
                counters: counters.clone(),
            };
            tokio::spawn(lane.run())
        };
        let lanes = [lane(&urgent, "urgent"), lane(&bulk, "bulk")];
        Link { peer, urgent, bulk, lanes, inbox, counters }
    }

    pub(super) fn send(&self, kind: MessageKind, bytes: Bytes) {
        let size = bytes.len() as u64;
        let queue = match kind {
            MessageKind::Vote | MessageKind::Heartbeat | MessageKind::Read | MessageKind::Ask => &self.urgent,
            MessageKind::Append | MessageKind::Propose | MessageKind::Snapshot => &self.bulk,
        };
        match queue.push(bytes) {
            Push::Queued => self.counters.sent_bytes.inc_by(size),
            Push::FirstDropped => {
                self.counters.failures.inc();
                // When even the inbox is full, the next refusal after the queue has moved tells it.
                let _ = self.inbox.try_send(Inbound::Down { peer: self.peer.id });
            }
            Push::Dropped => self.counters.failures.inc(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.abort();
        }
    }
}

struct Lane {
    name: &'static str,
    peer: Peer,
    queue: Arc<Queue>,
    inbox: mpsc::Sender<Inbound>,
    counters: PeerOut,
}

impl Lane {
    async fn run(self) {
        let mut pause = PAUSE_MIN;
        let mut reported = false;
        for url in self.peer.urls.iter().cycle() {
            let mut connected = false;
            let reason = self.stream(url, &mut connected).await;
            let NodeId(peer) = self.peer.id;
            if connected {
                pause = PAUSE_MIN;
                reported = false;
            }
            if !reported {
                tracing::warn!(peer = format!("{peer:x}"), url, lane = self.name, %reason, "lost the connection to a peer");
                reported = true;
            }
            self.counters.failures.inc();
            self.queue.clear();
            if self.inbox.send(Inbound::Down { peer: self.peer.id }).await.is_err() {
                return; // the member has stopped
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Sends until something breaks; says what.
    async fn stream(&self, url: &str, connected: &mut bool) -> String {
        let endpoint = match Endpoint::from_shared(url.to_owned()) {
            Ok(endpoint) => endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true),
            Err(error) => return error.to_string(),
        };
        let channel = match endpoint.connect().await {
            Ok(channel) => channel,
            Err(error) => return chain(&error),
        };
        *connected = true;
        let _open = Open::new(&self.counters);
        let mut client = PeerClient::new(channel).max_encoding_message_size(usize::MAX);
        match client.stream(self.queue.drain()).await {
            Ok(_) => "the peer ended the stream".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    }
}

/// Counts a stream as long as it lives, however it ends.
struct Open<'a>(&'a PeerOut);

impl Open<'_> {
    fn new(counters: &PeerOut) -> Open<'_> {
        counters.active.inc();
        Open(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.active.dec();
        self.0.disconnected.inc();
    }
}

/// An error with its causes: tonic's own text is only "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}
