//! One process per job, forked from a parent that never ran one itself.
//!
//! A run depends on process-global state that nobody can reset (counters of libraries, random states of maps). Each
//! job therefore starts from the same pristine memory: the parent stays single-threaded, holds nothing but the plan,
//! and forks. A child sends one result back through a pipe and exits without running any destructor. What a child
//! prints goes to a file without a name, and its end is part of the report when the child dies.
//!
//! This is the only file of the simulator with `unsafe` in it.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the parent's side: real files and real time, outside every run")]

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::panics;

/// So much of a dead child's output is kept.
const OUTPUT_TAIL_BYTES: u64 = 4096;

/// A result is at most this long; more means that the pipe carries nonsense.
const RESULT_BYTES_MAX: usize = 256 << 20;

/// Exit code of a child that panicked outside every run.
const EXIT_PANIC: i32 = 101;

/// Exit code of a child that could not send its result.
const EXIT_PIPE: i32 = 102;

/// A child's heap grows in steps of this.
#[cfg(target_env = "gnu")]
const HEAP_STEP_BYTES: i32 = 4 << 20;

/// How many children, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Children at once.
    pub jobs: usize,
    /// A child that takes longer is killed.
    pub wall: Duration,
}

/// Why a child has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// A signal ended it.
    Signal(i32),
    /// It exited with this code and without a (whole) result.
    Exit(i32),
    /// It was killed after this long.
    Timeout(Duration),
    /// It was killed because its result was too large to be one.
    Flood,
    /// It was never born.
    Start(String),
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Signal(libc::SIGABRT) => f.write_str("aborted (SIGABRT)"),
            Death::Signal(libc::SIGSEGV) => f.write_str("crashed (SIGSEGV)"),
            Death::Signal(libc::SIGKILL) => f.write_str("was killed (SIGKILL; out of memory?)"),
            Death::Signal(signal) => write!(f, "died of signal {signal}"),
            Death::Exit(EXIT_PANIC) => f.write_str("panicked"),
            Death::Exit(code) => write!(f, "exited with code {code} and without a result"),
            Death::Timeout(limit) => write!(f, "was killed after {} s without a result", limit.as_secs_f64()),
            Death::Flood => f.write_str("sent more than a result can hold"),
            Death::Start(error) => write!(f, "could not be started: {error}"),
        }
    }
}

/// A child that is gone.
#[derive(Clone, Debug)]
pub struct Finished<R> {
    /// Its result, or its death and the end of what it printed.
    pub result: Result<R, (Death, String)>,
    /// CPU time it used.
    pub cpu: Duration,
    /// Its largest resident memory.
    pub memory_bytes: u64,
    /// How long it lived.
    pub wall: Duration,
}

/// Runs `work` on every job in a process of its own, `limits.jobs` at once, and hands the results to `done` as they
/// come.
///
/// # Panics
/// When this process has more than one thread, or the system has no pipes or files left.
pub fn run_all<J, R: Serialize + DeserializeOwned>(
    jobs: impl IntoIterator<Item = J>,
    limits: Limits,
    work: impl Fn(&J) -> R,
    mut done: impl FnMut(J, Finished<R>),
) {
    assert_single_threaded();
    let mut waiting = jobs.into_iter();
    let mut children: Vec<(J, Child)> = Vec::new();
    loop {
        while children.len() < limits.jobs.max(1)
            && let Some(job) = waiting.next()
        {
            match Child::fork(|| work(&job)) {
                Ok(child) => children.push((job, child)),
                Err(error) => done(job, stillborn(&error)),
            }
        }
        if children.is_empty() {
            return;
        }
        wait_for_any(&mut children, limits.wall);
        let ended = children.extract_if(.., |(_, child)| child.read_all()).collect::<Vec<_>>();
        for (job, child) in ended {
            done(job, child.bury());
        }
    }
}

fn stillborn<R>(error: &io::Error) -> Finished<R> {
    let death = Death::Start(error.to_string());
    Finished { result: Err((death, String::new())), cpu: Duration::ZERO, memory_bytes: 0, wall: Duration::ZERO }
}

struct Child {
    pid: libc::pid_t,
    pipe: File,
    received: Vec<u8>,
    output: File,
    born: Instant,
    /// Why, when we did it.
    killed: Option<Death>,
}

impl Child {
    fn fork<R: Serialize>(work: impl FnOnce() -> R) -> io::Result<Child> {
        let output = tempfile::tempfile()?;
        let (read_end, write_end) = pipe()?;
        // SAFETY: `run_all` saw that this process has one thread, so no lock of the allocator or of anything else
        // can be held by a thread that does not exist in the child.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(read_end);
                live_and_die(&output, File::from(write_end), work)
            }
            pid => {
                drop(write_end);
                let pipe = File::from(read_end);
                Ok(Child { pid, pipe, received: Vec::new(), output, born: Instant::now(), killed: None })
            }
        }
    }

    /// Takes what is in the pipe; true when the child has closed it.
    fn read_all(&mut self) -> bool {
        loop {
            let mut chunk = [0; 64 << 10];
            match self.pipe.read(&mut chunk) {
                Ok(0) => return true,
                Ok(count) if self.received.len() + count <= RESULT_BYTES_MAX => {
                    self.received.extend_from_slice(&chunk[..count]);
                }
                Ok(_) => self.kill(Death::Flood),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }

    fn kill(&mut self, reason: Death) {
        // SAFETY: a plain system call; the pid is ours until `bury` has waited for it.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        self.killed.get_or_insert(reason);
    }

    /// Waits for the end of the process and sums it up.
    fn bury<R: DeserializeOwned>(mut self) -> Finished<R> {
        let mut status = 0;
        // SAFETY: `rusage` is plain data for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live variables of the right type.
        while unsafe { libc::wait4(self.pid, &raw mut status, 0, &raw mut usage) } == -1
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        let result = match self.message() {
            Some(result) => Ok(result),
            None => {
                let death = match self.killed.take() {
                    Some(reason) => reason,
                    None if libc::WIFSIGNALED(status) => Death::Signal(libc::WTERMSIG(status)),
                    None => Death::Exit(libc::WEXITSTATUS(status)),
                };
                Err((death, self.output_tail().unwrap_or_default()))
            }
        };
        let time = |at: libc::timeval| Duration::new(at.tv_sec as u64, at.tv_usec as u32 * 1000);
        Finished {
            result,
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            memory_bytes: usage.ru_maxrss as u64 * MAXRSS_UNIT,
            wall: self.born.elapsed(),
        }
    }

    /// The one message of the child: its length, then JSON.
    fn message<R: DeserializeOwned>(&self) -> Option<R> {
        let (len, json) = self.received.split_first_chunk::<8>()?;
        if u64::from_le_bytes(*len) != json.len() as u64 {
            return None;
        }
        serde_json::from_slice(json).ok()
    }

    fn output_tail(&mut self) -> io::Result<String> {
        let len = self.output.seek(SeekFrom::End(0))?;
        self.output.seek(SeekFrom::Start(len.saturating_sub(OUTPUT_TAIL_BYTES)))?;
        let mut tail = Vec::new();
        self.output.read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).trim_end().to_owned())
    }
}

/// Linux counts resident memory in KiB, macOS in bytes.
const MAXRSS_UNIT: u64 = if cfg!(target_os = "macos") { 1 } else { 1024 };

/// The whole life of a child. Never returns into the parent's code.
fn live_and_die<R: Serialize>(output: &File, mut pipe: File, work: impl FnOnce() -> R) -> ! {
    let code = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: plain system calls on descriptors that are open.
        unsafe {
            #[cfg(target_os = "linux")]
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::dup2(output.as_raw_fd(), libc::STDOUT_FILENO);
            libc::dup2(output.as_raw_fd(), libc::STDERR_FILENO);
            // The run gets a thread of its own. A second heap for it would grow page by page, one system call each.
            #[cfg(target_env = "gnu")]
            {
                libc::mallopt(libc::M_ARENA_MAX, 1);
                libc::mallopt(libc::M_TOP_PAD, HEAP_STEP_BYTES);
            }
        }
        panics::note_them();
        let json = serde_json::to_vec(&work()).expect("a result can be written as JSON");
        let sent = pipe.write_all(&(json.len() as u64).to_le_bytes()).and_then(|()| pipe.write_all(&json));
        if sent.is_ok() { 0 } else { EXIT_PIPE }
    }))
    .unwrap_or(EXIT_PANIC);
    write_counts();
    // SAFETY: ends this process; nothing of it is needed any more, and its destructors are the parent's business.
    unsafe { libc::_exit(code) }
}

/// What a build with counters has counted (`scripts/trained-sim`): written by hand, as a child ends without ceremony. In
/// other builds nothing, but there: what calls it should look the same to the compiler.
#[inline(never)]
fn write_counts() {
    #[cfg(profiled)]
    {
        unsafe extern "C" {
            fn __llvm_profile_write_file() -> i32;
        }
        // SAFETY: the runtime of the counters has it; it takes nothing and locks the file it adds to.
        unsafe { __llvm_profile_write_file() };
    }
}

/// Sleeps until a pipe has news, or until a child has lived too long, and then kills it.
fn wait_for_any<J>(children: &mut [(J, Child)], limit: Duration) {
    let now = Instant::now();
    let mut next = limit;
    for (_, child) in children.iter_mut().filter(|(_, child)| child.killed.is_none()) {
        match limit.checked_sub(now - child.born) {
            Some(left) => next = next.min(left),
            None => child.kill(Death::Timeout(limit)),
        }
    }
    let pipes: Vec<&File> = children.iter().map(|(_, child)| &child.pipe).collect();
    poll_readable(&pipes, next + Duration::from_millis(1));
}

/// Sleeps until one of the files can be read or has been closed, at most for `timeout`; whether that has come.
pub fn poll_readable(files: &[&File], timeout: Duration) -> bool {
    let mut fds: Vec<libc::pollfd> =
        files.iter().map(|file| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the length describe one live vector.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    0 < ready
}

/// Makes reads of `file` return at once.
pub fn set_nonblocking(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: plain system calls on a descriptor that is open.
    let result = unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the pointer is to an array of two descriptors.
    if unsafe { libc::pipe(fds.as_mut_ptr()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors were just opened and belong to nobody else.
    let (read_end, write_end) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    set_nonblocking(&read_end)?;
    Ok((read_end, write_end))
}

/// The process that this command starts is killed when the thread that started it ends, however that happens. (On
/// Linux; elsewhere it lives on.)
pub fn dies_with_its_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let ask = || match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        // SAFETY: between fork and exec only a system call is made, which allocates nothing and takes no lock.
        unsafe { command.pre_exec(ask) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// The process that this command starts has the address-space layout that the system gives when it does not draw one:
/// surely another than its parent's, where that one was drawn. (On Linux, and where that is not forbidden: see what
/// [`Place::here`] says.)
pub fn with_fixed_layout(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let ask = || {
            unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
            Ok(())
        };
        // SAFETY: between fork and exec only a system call is made, which allocates nothing and takes no lock.
        unsafe { command.pre_exec(ask) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// In the environment: how the maps of the standard library are salted within runs, beside the run's seed; 0 without it.
pub const SALT: &str = "EVENKEEL_SIM_SALT";

/// The salt of this process's environment; one that is no number is 0 (see [`check_salt`]).
pub fn salt() -> u16 {
    check_salt().unwrap_or_default()
}

/// The salt, or what is wrong with it: to be said before anything is run.
pub fn check_salt() -> Result<u16, String> {
    let Some(text) = std::env::var_os(SALT) else { return Ok(0) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{SALT}={} is no number from 0 to {}", text.display(), u16::MAX))
}

/// The program that runs, whatever its file may have become since.
pub fn program_file() -> io::Result<File> {
    File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))
}

/// Where a process keeps things, and what its maps are salted with: what no run may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Address of a function.
    pub code: usize,
    /// Address of a local variable.
    pub stack: usize,
    /// Address of an allocation.
    pub heap: usize,
    /// See [`SALT`].
    pub salt: u16,
}

/// More blocks than these would cost memory and show nothing new.
const DISPLACED_MAX: u16 = 64;

/// Blocks of every size that are never given back: all that comes after them lies elsewhere.
pub fn displace_heap() {
    for _ in 0..salt() % DISPLACED_MAX {
        // Hidden from the compiler: what nobody looks at need not be allocated.
        (3..16).for_each(|power| std::mem::forget(std::hint::black_box(vec![0u8; 1 << power])));
    }
}

impl Place {
    /// This process's.
    pub fn here() -> Place {
        let local = Box::new(0u8);
        Place {
            code: Place::here as fn() -> Place as usize,
            stack: &raw const local as usize,
            heap: &raw const *local as usize,
            salt: salt(),
        }
    }
}

fn assert_single_threaded() {
    // Only Linux tells; elsewhere the rule is kept by there being no thread in the runner.
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        assert_eq!(tasks.count(), 1, "a process with several threads must not fork");
    }
}
