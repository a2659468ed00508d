//! Real server processes on loopback, for the end-to-end tests.
//!
//! A [`Node`] is one `evenkeel` process with a directory and ports of its own; a [`Cluster`] is several that know each
//! other. Nothing here waits by sleeping: a node is up when it has said so in its log. Dropping either kills what
//! still runs and removes its files.

// Every test program compiles this module and uses a part of it.
#![allow(dead_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "starts real processes, reads their real files"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Time for anything that happens at once on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The line by which a member says that it serves.
pub const READY: &str = "ready to serve client requests";

/// Ports below the range from which the kernel takes those of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of loopback that nobody listens on, and that this process has not handed out before.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(61) % u32::from(PORTS.end - PORTS.start)) as u16;
    for _ in PORTS {
        let port = PORTS.start + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// The server's program with these arguments and no `ETCD_…` environment.
pub fn evenkeel<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A process whose log is read as it is written.
struct Process {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Process {
    fn start(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Process { child, lines, log: Vec::new() }
    }

    /// Reads the log until a line contains `text`. `None` when the process closed its log without saying so.
    fn line(&mut self, text: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push(line);
                    if let Some(line) = self.log.last().filter(|line| line.contains(text)) {
                        return Some(line.clone());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("no line with {text:?} in time:\n{}", self.log.join("\n")),
            }
        }
    }

    fn wait(&mut self) -> ExitStatus {
        // Its log ends when it ends; waiting for that has a time limit, waiting for a process has none.
        while self.line("\0 never in a line").is_some() {}
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.log.extend(self.lines.try_iter());
            let tail = self.log.len().saturating_sub(20);
            eprintln!("--- end of a server's log (pid {}):\n{}", self.child.id(), self.log[tail..].join("\n"));
        }
    }
}

/// One member: its arguments, its directory, and its process while it runs.
pub struct Node {
    /// Its `--name`.
    pub name: String,
    /// `http://127.0.0.1:PORT`, for clients.
    pub endpoint: String,
    /// The same for members.
    pub peer: String,
    arguments: Vec<String>,
    data: PathBuf,
    process: Option<Process>,
}

impl Node {
    fn new(name: &str, data: PathBuf, client: u16, peer: u16, members: &str) -> Node {
        let (endpoint, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let flags = [
            ("name", name),
            ("data-dir", data.to_str().expect("temporary directories have readable names")),
            ("listen-client-urls", &endpoint),
            ("advertise-client-urls", &endpoint),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", members),
        ];
        let arguments = flags.map(|(flag, value)| format!("--{flag}={value}")).to_vec();
        Node { name: name.to_owned(), endpoint, peer, arguments, data, process: None }
    }

    /// The arguments it is started with.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Adds an argument for its next starts; it overrides an earlier one for the same flag.
    pub fn add(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    /// Starts it without waiting.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        self.process = Some(Process::start(evenkeel(&self.arguments)));
    }

    /// Waits until it has logged a line with `text`, and returns that line.
    pub fn logged(&mut self, text: &str) -> String {
        let process = self.process.as_mut().expect("it runs");
        process.line(text).unwrap_or_else(|| panic!("{} ended before it said {text:?}", self.name))
    }

    /// Waits until it ends by itself; returns how it ended and the whole log.
    pub fn ends(&mut self) -> (ExitStatus, String) {
        let mut process = self.process.take().expect("it runs");
        let status = process.wait();
        (status, process.log.join("\n"))
    }

    /// Empties its disk.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(&self.data).expect("the directory is there");
    }

    /// SIGKILL, and the end of it.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").child.kill().expect("it is our child");
    }

    /// SIGSTOP: it does nothing more, and its connections stay, until [`Node::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = run(Command::new("kill").args([signal, &self.pid().to_string()]));
        assert!(sent.status.success(), "{sent:?}");
    }

    /// SIGTERM; returns how it ended and the whole log.
    pub fn terminate(&mut self) -> (ExitStatus, String) {
        let mut process = self.process.take().expect("it runs");
        let sent = run(Command::new("kill").arg(process.child.id().to_string()));
        assert!(sent.status.success(), "{sent:?}");
        let status = process.wait();
        (status, process.log.join("\n"))
    }
}

/// Members that know each other, in a directory that goes away with them.
pub struct Cluster {
    /// By start order; names are n1, n2, …
    pub nodes: Vec<Node>,
    directory: TempDir,
}

impl Cluster {
    /// A cluster of `size` members, not started.
    pub fn new(size: usize) -> Cluster {
        let directory = TempDir::with_prefix("evenkeel-").expect("a temporary directory can be made");
        let ports: Vec<(u16, u16)> = (0..size).map(|_| (free_port(), free_port())).collect();
        let name = |index: usize| format!("n{}", index + 1);
        let member = |(index, (_, peer)): (usize, &(u16, u16))| format!("{}=http://127.0.0.1:{peer}", name(index));
        let members = ports.iter().enumerate().map(member).collect::<Vec<_>>().join(",");
        let node = |(index, &(client, peer)): (usize, &(u16, u16))| {
            Node::new(&name(index), directory.path().join(name(index)), client, peer, &members)
        };
        Cluster { nodes: ports.iter().enumerate().map(node).collect(), directory }
    }

    /// One more, not started: it will join those that are there. Returns its place.
    pub fn join(&mut self) -> usize {
        let name = format!("n{}", self.nodes.len() + 1);
        let (client, peer) = (free_port(), free_port());
        let there = self.nodes.iter().map(|node| format!("{}={}", node.name, node.peer));
        let members: Vec<String> = there.chain([format!("{name}=http://127.0.0.1:{peer}")]).collect();
        let mut node = Node::new(&name, self.directory.path().join(&name), client, peer, &members.join(","));
        node.add("--initial-cluster-state=existing");
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// A cluster of `size` members that serves.
    pub fn serving(size: usize) -> Cluster {
        let mut cluster = Cluster::new(size);
        cluster.start();
        cluster
    }

    /// A place for a test's other files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts every member and waits until all serve.
    pub fn start(&mut self) {
        self.nodes.iter_mut().for_each(Node::start);
        for node in &mut self.nodes {
            node.logged(READY);
        }
    }

    /// What clients connect to.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.endpoint.clone()).collect()
    }
}
