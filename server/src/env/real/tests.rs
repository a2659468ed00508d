//! Real sockets on loopback.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::peer::{Envelope, Frame};
use evenkeel_raft::NodeId;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::RealNetwork;
use crate::config::Config;
use crate::env::{Inbound, MessageKind, Network, Peer};
use crate::queue::{Limits, Receiver, queue};

const CLUSTER: u64 = 9;
const PATIENCE: Duration = Duration::from_secs(20);

struct End {
    id: NodeId,
    url: String,
    network: RealNetwork,
    inbox: Receiver<Inbound>,
}

fn end(id: u64, cluster: u64) -> End {
    let config = Config { listen_peer_urls: vec!["http://127.0.0.1:0".into()], ..Config::default() };
    let network = RealNetwork::bind(&config).expect("a free port");
    let url = format!("http://{}", network.addresses()[0]);
    let (sender, inbox) = queue(Limits { items: 64, bytes: 256 << 20 });
    network.start(NodeId(id), cluster, sender);
    End { id: NodeId(id), url, network, inbox }
}

impl End {
    fn knows(&self, other: &End) {
        self.network.set_peers(vec![Peer { id: other.id, urls: vec![other.url.clone()] }]);
    }

    async fn next(&mut self) -> Inbound {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("nothing came").expect("open")
    }

    /// The next message; skips news about connections.
    async fn message(&mut self) -> (NodeId, Bytes) {
        loop {
            if let Inbound::Message { from, bytes } = self.next().await {
                return (from, bytes);
            }
        }
    }

    async fn down(&mut self) -> NodeId {
        loop {
            if let Inbound::Down { peer } = self.next().await {
                return peer;
            }
        }
    }
}

fn envelope(cluster: u64, from: u64, to: u64) -> Bytes {
    Envelope { cluster_id: cluster, from, to, ..Envelope::default() }.encode_to_vec().into()
}

#[tokio::test]
async fn messages_arrive_in_order_on_both_lanes_and_both_ways() {
    let (mut one, mut two) = (end(1, CLUSTER), end(2, CLUSTER));
    one.knows(&two);
    two.knows(&one);
    for kind in [MessageKind::Heartbeat, MessageKind::Append] {
        let frames: Vec<Bytes> = (0..20u8)
            .map(|n| {
                let mut bytes = envelope(CLUSTER, 1, 2).to_vec();
                bytes.extend([0xa2, 0x06, 1, n]); // an unknown field, skipped
                bytes.into()
            })
            .collect();
        for frame in &frames {
            one.network.send(two.id, kind, frame.clone());
        }
        for frame in frames {
            assert_eq!(two.message().await, (one.id, frame), "{kind:?}");
        }
    }
    two.network.send(one.id, MessageKind::Vote, envelope(CLUSTER, 2, 1));
    assert_eq!(one.message().await.0, two.id);
}

#[tokio::test]
async fn a_large_message_passes() {
    let (one, mut two) = (end(1, CLUSTER), end(2, CLUSTER));
    one.knows(&two);
    let mut bytes = envelope(CLUSTER, 1, 2).to_vec();
    let body = vec![7; 20 << 20];
    prost::encoding::bytes::encode(100, &body, &mut bytes);
    let size = bytes.len();
    one.network.send(two.id, MessageKind::Append, bytes.into());
    assert_eq!(two.message().await.1.len(), size);
}

#[tokio::test]
async fn a_member_that_stops_is_reported_down() {
    let (mut one, mut two) = (end(1, CLUSTER), end(2, CLUSTER));
    one.knows(&two);
    one.network.send(two.id, MessageKind::Heartbeat, envelope(CLUSTER, 1, 2));
    two.message().await;
    two.network.stop();
    assert_eq!(one.down().await, two.id);
}

#[tokio::test]
async fn strangers_are_refused() {
    let (mut one, mut two) = (end(1, CLUSTER), end(2, CLUSTER));
    for wrong in
        [envelope(CLUSTER + 1, 1, 2), envelope(CLUSTER, 1, 3), envelope(CLUSTER, 2, 2), Bytes::from_static(b"\x08")]
    {
        one.knows(&two);
        one.network.send(two.id, MessageKind::Ask, wrong);
        assert_eq!(one.down().await, two.id);
        one.network.set_peers(Vec::new());
        while one.inbox.try_recv().is_ok() {}
    }
    assert!(two.inbox.try_recv().is_err());
}

#[tokio::test]
async fn a_full_inbox_drops_messages_and_keeps_the_connection() {
    let (one, mut two) = (end(1, CLUSTER), end(2, CLUSTER));
    one.knows(&two);
    for _ in 0..1_000 {
        one.network.send(two.id, MessageKind::Heartbeat, envelope(CLUSTER, 1, 2));
    }
    two.message().await;
    let received = loop {
        one.network.send(two.id, MessageKind::Heartbeat, envelope(CLUSTER, 1, 2));
        let (from, _) = two.message().await;
        if two.inbox.is_empty() {
            break from;
        }
    };
    assert_eq!(received, one.id);
}

#[tokio::test]
async fn the_peer_port_says_that_the_member_is_starting_and_hints_at_the_client_port() {
    let one = end(1, CLUSTER);
    let address = one.url.strip_prefix("http://").expect("http").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("listening");
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.ends_with("the member is starting\n"), "{answer}");

    let channel =
        tonic::transport::Endpoint::from_shared(one.url.clone()).expect("a URL").connect().await.expect("connects");
    let mut client = evenkeel_proto::etcdserverpb::kv_client::KvClient::new(channel);
    let status = client.range(evenkeel_proto::etcdserverpb::RangeRequest::default()).await.expect_err("the wrong port");
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("client URL"), "{status:?}");
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_advice() {
    let one = end(1, CLUSTER);
    let config = Config { listen_peer_urls: vec![one.url.clone()], ..Config::default() };
    let error = RealNetwork::bind(&config).err().expect("in use").to_string();
    assert!(error.starts_with(&format!("cannot listen on {}: ", one.url)), "{error}");
    assert!(error.ends_with("choose another address with --listen-peer-urls"), "{error}");
    drop(one);
    let config = Config { listen_peer_urls: vec!["http://192.0.2.1:0".into()], ..Config::default() };
    let error = RealNetwork::bind(&config).err().expect("not ours").to_string();
    assert!(error.contains("this machine does not have that address"), "{error}");
}

#[test]
fn a_frame_is_an_envelope_with_a_length() {
    let frame = Frame { envelope: envelope(1, 2, 3) };
    assert_eq!(frame.encode_to_vec(), [0x0a, 6, 8, 1, 16, 2, 24, 3]);
}
