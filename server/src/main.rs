//! The server's process: flags, log, signals, the real world, and how it all ends.

/// The simulator links the library; this binary has nothing to do there.
#[cfg(madsim)]
fn main() {
    eprintln!("this evenkeel was built for simulation (--cfg madsim): use `cargo sim`, or build it without that flag");
    std::process::exit(2);
}

#[cfg(not(madsim))]
mod process;

#[cfg(not(madsim))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    process::main()
}
