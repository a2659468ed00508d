//! Ports of loopback for members that will listen there again after a restart.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes those of outgoing connections: nobody takes one while its member is
/// down.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that nobody listens on, and that this process has not handed out before; processes begin their search at
/// different places.
///
/// # Panics
/// When all are taken.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let width = PORTS.end - PORTS.start;
    let start = (std::process::id().wrapping_mul(97) % u32::from(width)) as u16;
    let mut tried = PORTS.map(|_| PORTS.start + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % width);
    tried.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}
