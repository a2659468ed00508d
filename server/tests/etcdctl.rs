//! The reference command-line client, unmodified, against three real members.
//!
//! `scripts/oracle` builds it; `EVENKEEL_ETCDCTL` names another one. Without either there is nothing to test with:
//! the test says so and passes, unless the variable `CI` is set, where Go would have been there to build it.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "starts real processes, looks for real files")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Cluster, run};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/oracle/3.7.3/etcdctl");

/// The program, or the reason why there is none.
fn program() -> Option<PathBuf> {
    let program = std::env::var_os("EVENKEEL_ETCDCTL").map_or_else(|| PathBuf::from(REFERENCE), PathBuf::from);
    if program.exists() {
        return Some(program);
    }
    eprintln!("not tested: there is no {}; run scripts/oracle, or set EVENKEEL_ETCDCTL", program.display());
    let go = Command::new("go").arg("version").output().is_ok();
    assert!(std::env::var_os("CI").is_none() || !go, "CI has Go, but scripts/oracle was not run");
    None
}

/// One etcdctl and the cluster it talks to.
struct Ctl {
    program: PathBuf,
    cluster: Cluster,
    endpoints: String,
}

impl Ctl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", &self.endpoints);
        command.args(arguments);
        command
    }

    /// Runs it; it must succeed. Returns what it printed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.command(arguments));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "etcdctl {arguments:?}: {}", text(&output.stderr));
        // Older ones tell the healthy on stderr.
        if arguments.contains(&"health") { text(&output.stdout) + &text(&output.stderr) } else { text(&output.stdout) }
    }

    /// Runs it; it must fail. Returns its complaint.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.command(arguments));
        assert!(!output.status.success(), "etcdctl {arguments:?} succeeds");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[&["-w", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    fn txn(&self, script: &str) -> String {
        let file = self.cluster.directory().join("txn");
        std::fs::write(&file, script).unwrap();
        let mut command = self.command(&["txn"]);
        let output = run(command.stdin(std::fs::File::open(&file).unwrap()));
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// `etcdctl watch`, running.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn start(ctl: &Ctl, arguments: &[&str]) -> Watch {
        let mut child = ctl.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch { child, lines }
    }

    fn lines(&mut self, count: usize) -> Vec<String> {
        self.lines.by_ref().take(count).map(Result::unwrap).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys(ctl: &Ctl) {
    assert_eq!(ctl.ok(&["put", "k", "v"]), "OK\n");
    assert_eq!(ctl.ok(&["get", "k"]), "k\nv\n");
    assert_eq!(ctl.ok(&["put", "k", "w", "--prev-kv"]), "OK\nk\nv\n");
    assert_eq!(ctl.ok(&["get", "k", "--print-value-only", "--consistency=s"]).trim(), "w");
    for key in ["p/b", "p/a", "p/c"] {
        ctl.ok(&["put", key, key]);
    }
    assert_eq!(ctl.ok(&["get", "p/", "--prefix", "--keys-only", "--limit=2"]).split_whitespace().count(), 2);
    assert_eq!(
        ctl.ok(&["get", "p/", "--prefix", "--order=DESCEND", "--keys-only"]).split_whitespace().next(),
        Some("p/c")
    );
    assert_eq!(ctl.ok(&["del", "p/", "--prefix"]), "3\n");
    assert_eq!(ctl.ok(&["del", "nothing"]), "0\n");
}

fn transactions(ctl: &Ctl) {
    ctl.ok(&["put", "t", "1"]);
    let script = "value(\"t\") = \"1\"\n\nput t 2\nput u 3\n\nget t\n\n";
    assert_eq!(ctl.txn(script).lines().next(), Some("SUCCESS"));
    let refused = ctl.txn(script);
    assert!(refused.starts_with("FAILURE") && refused.ends_with("t\n2\n"), "{refused}");
}

fn watches(ctl: &Ctl) {
    let put = ctl.json(&["put", "w", "1"]);
    let revision = put["header"]["revision"].as_i64().unwrap();
    let mut watch = Watch::start(ctl, &["watch", "w", "--prefix", "--prev-kv", &format!("--rev={revision}")]);
    assert_eq!(watch.lines(3), ["PUT", "w", "1"]);
    ctl.ok(&["put", "w", "2"]);
    assert_eq!(watch.lines(5), ["PUT", "w", "1", "w", "2"]);
    ctl.ok(&["del", "w"]);
    assert_eq!(watch.lines(5), ["DELETE", "w", "2", "w", ""]);
}

fn leases(ctl: &Ctl) {
    let granted = ctl.ok(&["lease", "grant", "600"]);
    let id = granted.split_whitespace().nth(1).unwrap();
    assert_eq!(granted, format!("lease {id} granted with TTL(600s)\n"));
    ctl.ok(&["put", "l", "v", &format!("--lease={id}")]);
    let kept = ctl.ok(&["lease", "keep-alive", "--once", id]);
    assert!(kept.contains("TTL(600)"), "{kept}");
    let left = ctl.ok(&["lease", "timetolive", id, "--keys"]);
    assert!(left.contains("granted with TTL(600s)") && left.contains("attached keys([l])"), "{left}");
    assert!(ctl.ok(&["lease", "list"]).contains(id));
    assert_eq!(ctl.ok(&["lease", "revoke", id]), format!("lease {id} revoked\n"));
    assert_eq!(ctl.ok(&["get", "l"]), "");
    assert!(ctl.fails(&["lease", "revoke", id]).contains("requested lease not found"));
}

fn compaction(ctl: &Ctl) {
    let revision = ctl.json(&["put", "c", "1"])["header"]["revision"].as_i64().unwrap();
    ctl.ok(&["put", "c", "2"]);
    let newest = revision + 1;
    assert_eq!(ctl.ok(&["compaction", &newest.to_string()]), format!("compacted revision {newest}\n"));
    let complaint = ctl.fails(&["get", "c", &format!("--rev={revision}")]);
    assert!(complaint.contains("required revision has been compacted"), "{complaint}");
    assert_eq!(ctl.ok(&["get", "c", &format!("--rev={newest}")]), "c\n2\n");
}

fn members(ctl: &Ctl) {
    let status = ctl.json(&["endpoint", "status"]);
    let status = status.as_array().unwrap();
    assert_eq!(status.len(), 3);
    let leaders: Vec<u64> = status.iter().map(|member| member["Status"]["leader"].as_u64().unwrap()).collect();
    assert!(leaders.iter().all(|leader| *leader == leaders[0] && *leader != 0), "{leaders:x?}");
    for member in status {
        let version = member["Status"]["version"].as_str().unwrap();
        assert!(version.starts_with("3.7."), "{version}");
        assert!(0 < member["Status"]["dbSize"].as_i64().unwrap());
    }
    let health = ctl.ok(&["endpoint", "health"]);
    assert_eq!(health.matches("is healthy").count(), 3, "{health}");
    let hashes = ctl.json(&["endpoint", "hashkv"]);
    let hashes: Vec<u64> =
        hashes.as_array().unwrap().iter().map(|member| member["HashKV"]["hash"].as_u64().unwrap()).collect();
    assert!(hashes.len() == 3 && hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let members = ctl.json(&["member", "list"]);
    let mut names: Vec<&str> =
        members["members"].as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["n1", "n2", "n3"]);
    assert_eq!(ctl.ok(&["alarm", "list"]), "");
}

/// What etcd 3.7.3 answered to the same commands.
fn downgrades(ctl: &Ctl) {
    let member = |field: &str, value: &Value| {
        let status = ctl.json(&["endpoint", "status"]);
        status.as_array().unwrap().iter().all(|member| member["Status"][field] == *value)
    };
    let reach = |storage: &str| {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while !member("storageVersion", &Value::from(storage)) {
            assert!(std::time::Instant::now() < deadline, "the storage version does not become {storage}");
        }
    };
    reach("3.7.0");
    assert_eq!(ctl.ok(&["downgrade", "validate", "3.6"]), "Downgrade validate success, cluster version 3.7\n");
    let refused = |arguments: &[&str], text: &str| {
        let complaint = ctl.fails(arguments);
        assert!(complaint.ends_with(&format!("Error: {text}\n")), "{arguments:?}: {complaint}");
    };
    refused(&["downgrade", "validate", "3.5"], "etcdserver: invalid downgrade target version");
    refused(&["downgrade", "validate", "three"], "etcdserver: wrong downgrade target version format");
    assert_eq!(ctl.ok(&["downgrade", "cancel"]), "Downgrade cancel success, cluster version 3.7\n");
    assert_eq!(ctl.ok(&["downgrade", "enable", "3.6"]), "Downgrade enable success, cluster version 3.7\n");
    reach("3.6.0");
    assert!(member("downgradeInfo", &serde_json::json!({"enabled": true, "targetVersion": "3.6.0"})));
    refused(&["downgrade", "enable", "3.5"], "etcdserver: cluster has a downgrade job in progress");
    assert_eq!(ctl.ok(&["downgrade", "cancel"]), "Downgrade cancel success, cluster version 3.6\n");
    reach("3.7.0");
}

fn everything(program: &Path, with_scheme: bool, more: &[fn(&Ctl)]) {
    let cluster = Cluster::serving(3);
    // Both forms are usual. Given a scheme, the `endpoint status` of 3.4 sends an `:authority` that is none
    // (`http://127.0.0.1:2379`), and our HTTP/2 library resets the stream (hyperium/h2 issue 525).
    let endpoints = cluster.endpoints().join(",");
    let endpoints = if with_scheme { endpoints } else { endpoints.replace("http://", "") };
    let ctl = Ctl { program: program.to_owned(), cluster, endpoints };
    let parts: &[fn(&Ctl)] = &[keys, transactions, watches, leases, compaction, members];
    for part in parts.iter().chain(more) {
        part(&ctl);
    }
}

#[test]
fn etcdctl_works() {
    if let Some(program) = program() {
        everything(&program, true, &[downgrades]);
    }
}

/// Debian's, for clusters that are older than their tools: `scripts/oracle debian`.
#[test]
fn etcdctl_of_3_4_works() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/oracle/debian/etcdctl");
    if program.exists() {
        everything(&program, false, &[]);
    } else {
        eprintln!("not tested: there is no {}; run scripts/oracle debian", program.display());
    }
}
