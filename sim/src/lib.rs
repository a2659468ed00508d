//! The simulator: a whole cluster in one thread, under one seed.
//!
//! - [`disk`], [`net`], [`clock`]: the seams of the server, simulated, with faults that a scenario switches.
//! - [`draw`]: every choice of a run, by label.
//! - [`chain`]: the event log of a run and its hash.
//! - [`report`]: what a run hands back.
//! - [`repro`]: failures that are kept: files, replay, shrinking, the story.
//! - [`gallery`]: bugs planted on purpose.
//! - [`fork`]: one process per seed, and what is left of it when it crashes.
//! - [`explore`]: runs that nobody wrote.
//! - [`cli`]: the command line on top.
//! - `world`: a run, from the first boot to the verdict; `real`: what the members are where nothing is simulated.
//!
//! The parts that decide are free of any runtime and take the time as an argument, so they are tested in both
//! flavours; what simulates tasks and timers exists under `--cfg madsim` only, what starts processes without it.

#[cfg(madsim)]
pub mod bridge;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod disk;
pub mod draw;
pub mod explore;
pub mod fork;
pub mod gallery;
pub mod net;
pub mod panics;
#[cfg(not(madsim))]
pub mod real;
pub mod report;
pub mod repro;
#[cfg(madsim)]
pub mod runtime;
pub mod timer;
pub mod world;
