//! One server process: started, signalled, waited for. It dies with whoever plays.

#![allow(clippy::disallowed_methods, reason = "starts real processes and reads their logs")]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::watch;

use crate::fork::dies_with_its_parent;

/// So much of the end of a log tells why a server gave up.
const LOG_TAIL_BYTES: u64 = 4096;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its exit code, or the signal, in words.
    pub how: String,
    /// The last line of its log.
    pub last: String,
    /// A task of it panicked.
    pub panicked: bool,
}

/// A process that was started.
pub struct Process {
    pid: Pid,
    ended: watch::Receiver<Option<End>>,
    /// It was told to end.
    told: AtomicBool,
}

impl Process {
    /// Starts a program that logs to the end of this file.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> io::Result<Process> {
        let file = File::options().append(true).create(true).open(log)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
            command.env_remove(name);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        dies_with_its_parent(&mut command);
        let child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("nobody has waited for it yet");
        let (tell, ended) = watch::channel(None);
        tokio::spawn(wait(child, log.to_owned(), tell));
        Ok(Process { pid, ended, told: AtomicBool::default() })
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.end().is_none() {
            self.told.fetch_or(signal == Signal::KILL || signal == Signal::TERM, Ordering::Relaxed);
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Whether it was told to end.
    pub fn is_signalled(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.ended.borrow().clone()
    }

    /// Tells when it has ended.
    pub fn ended(&self) -> watch::Receiver<Option<End>> {
        self.ended.clone()
    }
}

async fn wait(mut child: Child, log: std::path::PathBuf, tell: watch::Sender<Option<End>>) {
    let how = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
    let tail = tail(&log).unwrap_or_default();
    let last = tail.lines().next_back().unwrap_or_default().to_owned();
    let _ = tell.send(Some(End { how, last, panicked: tail.contains("panicked at") }));
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
