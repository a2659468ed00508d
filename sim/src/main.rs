//! The program `sim`: `cargo sim …` builds it in the simulator's flavour. In the other it plays with real servers.

use std::process::ExitCode;

/// A run allocates more than it computes.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(madsim)]
fn main() -> ExitCode {
    evenkeel_sim::cli::main(&evenkeel_sim::bridge::WORLD)
}

#[cfg(not(madsim))]
fn main() -> ExitCode {
    evenkeel_sim::cli::main(&evenkeel_sim::real::bridge::WORLD)
}
