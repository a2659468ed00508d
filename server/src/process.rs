//! What surrounds the server in production: see the crate's `main`.
//!
//! Every end has its exit code: 0 after `--help` and `--version`, 2 for wrong usage, 1 for everything else that
//! keeps the server from starting or makes it give up; after SIGINT or SIGTERM the process dies by the same signal,
//! as its supervisor expects, but for a container's first process, which cannot and exits 0.
#![allow(clippy::disallowed_methods, reason = "the seed of a real process comes from the system")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::env::real::{RealClock, RealNetwork};
use evenkeel::env::{Env, Nobody};
use evenkeel::flags::{self, Command, LogSettings, Settings};
use evenkeel::{Server, log, version};
use evenkeel_storage::real::RealDisk;
use tokio::signal::unix::{Signal, SignalKind, signal};

mod notify;

/// A server that has served its last client, and still does not end, is ended after this. What was acknowledged is on
/// disk.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// While one thread applies an entry that takes long, another sends heartbeats.
const THREADS_MIN: usize = 2;

/// Runs the process.
pub fn main() -> ExitCode {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(lossy).collect();
    let environment: Vec<_> = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
    match flags::parse(&arguments, &environment, read_file) {
        Ok(Command::Print(text)) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Command::Serve(settings)) => match run(&arguments, &settings) {
            Ok(end) => end,
            Err(reason) => {
                log::fatal(&settings.log, &reason);
                ExitCode::FAILURE
            }
        },
        Err(refusal) => {
            if refusal.exit == 2 {
                eprintln!("{}", refusal.message);
            } else {
                log::fatal(&LogSettings::default(), &refusal.message);
            }
            ExitCode::from(refusal.exit)
        }
    }
}

// The configuration file is read before there is a member, and not by it.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn read_file(path: &str) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

fn run(arguments: &[String], settings: &Settings) -> Result<ExitCode, String> {
    log::start(&settings.log).map_err(|error| error.to_string())?;
    tracing::info!(args = ?arguments, "Running: ");
    for variable in &settings.used_environment {
        tracing::info!(variable, "recognized and used environment variable");
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.max(THREADS_MIN);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let ended_by = runtime.block_on(serve(settings))?;
    runtime.shutdown_background();
    Ok(die_by(ended_by))
}

/// Serves until a signal or the member's end. Returns the signal.
async fn serve(settings: &Settings) -> Result<SignalKind, String> {
    let config = settings.config.clone();
    let mut signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let directory = member_directory(&config.data_dir)?;
    let network = Arc::new(RealNetwork::bind(&config).map_err(|error| error.to_string())?);
    let disk = RealDisk::open(&directory, settings.unsafe_no_fsync).map_err(|error| error.to_string())?;
    let env = Env {
        disk: Arc::new(disk),
        network: network.clone(),
        clock: Arc::new(RealClock::new()),
        seed: getrandom::u64().map_err(|error| format!("the system gives no randomness: {error}"))?,
        observer: Arc::new(Nobody),
    };
    tracing::info!(
        version = version::EVENKEEL,
        etcd_version = config.release.server(),
        pid = std::process::id(),
        config = ?config,
        "starting an etcd server"
    );
    let server = evenkeel::serve(config, env).await.map_err(|error| error.to_string())?;
    network.show(server.member().clone());
    let ended_by = until_the_end(&server, &mut signals).await?;
    tracing::info!(signal = ended_by.as_raw_value(), "received signal; shutting down");
    let patience = server.member().request_timeout() + STOP_TIMEOUT;
    let stopping = async {
        server.stop().await;
        network.stop();
    };
    tokio::select! {
        biased;
        () = stopping => tracing::info!("closed etcd server"),
        _ = signals.next() => tracing::warn!("received another signal; not waiting for the rest"),
        () = tokio::time::sleep(patience) => tracing::warn!("not everything ended in time; stopping all the same"),
    }
    Ok(ended_by)
}

async fn until_the_end(server: &Server, signals: &mut Signals) -> Result<SignalKind, String> {
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => return Ok(signal),
            ended = server.wait() => {
                return Err(match ended {
                    Ok(()) => "the member stopped by itself".into(),
                    Err(reason) => reason,
                });
            }
            () = server.ready(), if !told => {
                told = true;
                if let Err(error) = notify::ready() {
                    tracing::warn!(%error, "cannot tell the service manager that the server is ready");
                }
            }
        }
    }
}

/// Where the member's files go. A directory that etcd itself has written is left alone.
// Looks only; the member reaches its files through the disk.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn member_directory(data_dir: &str) -> Result<PathBuf, String> {
    let member = Path::new(data_dir).join("member");
    if member.join("snap/db").exists() {
        return Err(format!(
            "data directory {data_dir} was written by etcd, whose files cannot be taken over yet; \
             choose an empty directory with --data-dir"
        ));
    }
    Ok(member)
}

/// The signals that end a server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

fn die_by(signal: SignalKind) -> ExitCode {
    if std::process::id() != 1
        && let Err(error) = signal_hook::low_level::emulate_default_handler(signal.as_raw_value())
    {
        tracing::warn!(%error, "cannot die by the signal");
    }
    ExitCode::SUCCESS
}
