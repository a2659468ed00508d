//! The way to one member: two lanes, each a queue, a connection of its own and one stream that never ends.
//!
//! Two connections, because a heartbeat behind megabytes of entries would be late whatever HTTP/2 promises: both
//! share one TCP stream otherwise. A lane that breaks forgets what waits (Raft sends again), tells the member, and
//! connects anew: at once the first time, then with growing pauses.
//!
//! When that first attempt is *refused*, nobody listens there any more: the peer's process is gone, and the member is
//! told so ([`Inbound::Reset`]). An attempt that succeeds, or stays without an answer, says nothing of the kind.
#![allow(clippy::disallowed_methods, reason = "this is where the real clocks are read")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_proto::peer::Frame;
use evenkeel_proto::peer::peer_client::PeerClient;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

use super::queue::{Limits, Push, Queue};
use crate::env::{Inbound, MessageKind, Peer};
use crate::metrics::PeerOut;
use crate::queue::Sender;

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
    inbox: Sender<Inbound>,
    counters: PeerOut,
    /// Lanes with an open stream.
    open: Arc<AtomicUsize>,
}

impl Link {
    pub(super) fn open(peer: Peer, inbox: Sender<Inbound>, counters: PeerOut) -> Link {
        let (urgent, bulk) = (Queue::new(URGENT), Queue::new(BULK));
        let open = Arc::new(AtomicUsize::new(0));
        let lane = |queue: &Arc<Queue>, name| {
            let lane = Lane {
                name,
                peer: peer.clone(),
                queue: Arc::clone(queue),
                inbox: inbox.clone(),
                counters: counters.clone(),
                open: Arc::clone(&open),
            };
            tokio::spawn(lane.run())
        };
        let lanes = [lane(&urgent, "urgent"), lane(&bulk, "bulk")];
        Link { peer, urgent, bulk, lanes, inbox, counters, open }
    }

    /// A stream is open.
    pub(super) fn is_up(&self) -> bool {
        0 < self.open.load(Ordering::Relaxed)
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
    inbox: Sender<Inbound>,
    counters: PeerOut,
    /// Lanes of this link that are up.
    open: Arc<AtomicUsize>,
}

/// How an attempt to stream ended.
struct Broken {
    /// How long the connection was up, if it ever was.
    lived: Option<Duration>,
    /// Nobody listens there.
    refused: bool,
    reason: String,
}

impl Broken {
    fn unconnected(error: &(dyn std::error::Error + 'static)) -> Broken {
        Broken { lived: None, refused: is_refusal(error), reason: chain(error) }
    }
}

impl Lane {
    async fn run(self) {
        let mut urls = self.peer.urls.iter().cycle();
        let Some(mut url) = urls.next() else { return };
        let mut pause = PAUSE_MIN;
        let mut reported = false;
        // The connection was up before this attempt.
        let mut was_up = false;
        loop {
            let Broken { lived, refused, reason } = self.stream(url).await;
            let peer = self.peer.id;
            // One that breaks at once is none: a process that boots takes connections, and ends the streams.
            let held = lived.is_some_and(|lived| PAUSE_MIN <= lived);
            if held {
                pause = PAUSE_MIN;
                reported = false;
            }
            if !reported {
                tracing::warn!(%peer, url, lane = self.name, %reason, "lost the connection to a peer");
                reported = true;
            }
            self.counters.failures.inc();
            self.queue.clear();
            let news = if was_up && refused { Inbound::Reset { peer } } else { Inbound::Down { peer } };
            if self.inbox.send(news).await.is_err() {
                return; // the member has stopped
            }
            was_up = lived.is_some();
            if !held {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            if !was_up {
                url = urls.next().expect("it has no end");
            }
        }
    }

    /// Sends until something breaks.
    async fn stream(&self, url: &str) -> Broken {
        let endpoint = match Endpoint::from_shared(url.to_owned()) {
            Ok(endpoint) => endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true),
            Err(error) => return Broken::unconnected(&error),
        };
        let channel = match endpoint.connect().await {
            Ok(channel) => channel,
            Err(error) => return Broken::unconnected(&error),
        };
        let connected = Instant::now();
        let _open = Open::new(self);
        let mut client = PeerClient::new(channel).max_encoding_message_size(usize::MAX);
        let reason = match client.stream(self.queue.drain()).await {
            Ok(_) => "the peer ended the stream".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        };
        Broken { lived: Some(connected.elapsed()), refused: false, reason }
    }
}

/// Asks whoever listens at `url`, on a connection of its own.
pub(super) async fn ask(url: &str, bytes: Bytes) -> Result<Bytes, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await.map_err(|error| chain(&error))?;
    let answered = PeerClient::new(channel).ask(Frame { envelope: bytes }).await;
    answered.map(|answer| answer.into_inner().envelope).map_err(|status| status.message().to_owned())
}

/// A peer is active while any lane to it is up, however that ends.
struct Open<'a>(&'a Lane);

impl Open<'_> {
    fn new(lane: &Lane) -> Open<'_> {
        if lane.open.fetch_add(1, Ordering::AcqRel) == 0 {
            lane.counters.active.set(1);
        }
        Open(lane)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Lane { open, counters, .. } = self.0;
        if open.fetch_sub(1, Ordering::AcqRel) == 1 {
            counters.active.set(0);
            counters.disconnected.inc();
        }
    }
}

/// Whether a connection was refused: the machine is there, and nobody listens.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
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
