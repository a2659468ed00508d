//! The world of a run when it is real: server processes of this machine on loopback, real disks, real time.
//!
//! The load, the script, the expectations and the oracles are those of [`crate::world`]; this is what stands in its
//! place where a simulated world would be.
//!
//! - [`cluster`]: the members, as processes that are started, killed, paused and told to stop.
//! - [`process`]: one of them; [`ports`]: where they listen.
//! - [`look`]: what is known of a member, by asking it again and again; [`page`]: its metrics.
//! - [`able`]: what of a scenario can be played here, and what is left out.
//! - [`bridge`]: from a resolved scenario to what it showed.

pub mod able;
pub mod bridge;
pub mod cluster;
mod faults;
pub mod look;
pub mod page;
pub mod ports;
pub mod process;
