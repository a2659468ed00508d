//! One run: a cluster, its clients, the script, and the eyes on all of it.
//!
//! The load, the script, the expectations and the verdict are the same in both flavours. What differs is what the
//! members are: simulated machines here, processes of the machine this runs on in `real`.
//!
//! - [`cluster`]: the members, on simulated machines.
//! - [`client`], [`leases`], [`watcher`]: the load, through the real service code; [`scripted`]: a listed one.
//! - [`steps`]: the script; [`operate`]: its steps that are an operator's; `bundles`: those that are many in one;
//!   `faults`: those that need a simulated world.
//! - [`feed`], [`look`], [`witness`], `tap`: what happens, told to the event log and the oracles.
//! - [`words`]: requests, answers and messages in words, for traces.
//! - [`figures`]: what it showed in a few numbers.
//! - [`view`]: the run as expressions see it.
//! - [`course`]: from the first boot to the verdict.

mod bundles;
pub mod client;
#[cfg(madsim)]
pub mod cluster;
pub mod connection;
pub mod course;
pub mod coverage;
#[cfg(madsim)]
mod faults;
pub mod feed;
pub mod figures;
mod keys;
pub mod leases;
#[cfg(madsim)]
pub mod look;
pub mod mutants;
pub mod names;
pub mod operate;
mod points;
pub mod scripted;
pub mod stats;
pub mod steps;
#[cfg(madsim)]
pub mod tap;
pub mod told;
mod transactions;
pub mod view;
pub mod watcher;
pub mod wire;
pub mod witness;
pub mod words;

#[cfg(not(madsim))]
pub use crate::real::{cluster, look};
pub use course::{Ended, run};
