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

    /// Runs it, again while members have not been connected for long enough. Whether it succeeded, and what it said.
    fn settled(&self, arguments: &[&str]) -> (bool, String) {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        loop {
            let output = run(&mut self.command(arguments));
            let said = if output.status.success() { &output.stdout } else { &output.stderr };
            let said = String::from_utf8_lossy(said).into_owned();
            if !said.ends_with("Error: etcdserver: unhealthy cluster\n") || deadline < std::time::Instant::now() {
                return (output.status.success(), said);
            }
        }
    }

    fn when_healthy(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = self.settled(arguments);
        assert!(succeeded, "etcdctl {arguments:?}: {said}");
        said
    }

    /// Each of these fails with this error.
    fn refuses(&self, rows: &[(&[&str], &str)]) {
        for (arguments, error) in rows {
            let (succeeded, said) = self.settled(arguments);
            assert!(!succeeded && said.ends_with(&format!("Error: {error}\n")), "etcdctl {arguments:?}: {said}");
        }
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

/// What etcd 3.7.3 answered to the same commands in the same situations.
#[test]
fn changes_of_membership_are_made_and_refused_as_by_etcd() {
    let Some(program) = program() else { return };
    let cluster = Cluster::serving(3);
    let endpoints = cluster.endpoints().join(",");
    let mut ctl = Ctl { program, cluster, endpoints };
    let (leader, ids) = everybody(&ctl);
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let urls = |place: usize, ctl: &Ctl| format!("--peer-urls={}", ctl.cluster.nodes[place].peer);
    let (leaders, others) = (urls(leader, &ctl), urls(other, &ctl));
    let nowhere = "--peer-urls=http://127.0.0.1:1";

    for place in [leader, follower] {
        ctl.endpoints = ctl.cluster.nodes[place].endpoint.clone();
        ctl.refuses(&[
            (&["member", "add", "x", &others], "etcdserver: Peer URLs already exists"),
            (&["member", "add", "x", &others, "--learner"], "etcdserver: Peer URLs already exists"),
            (&["member", "remove", "1234abcd"], "etcdserver: member not found"),
            (&["member", "update", "1234abcd", nowhere], "etcdserver: member not found"),
            (&["member", "update", &ids[follower], &leaders], "etcdserver: Peer URLs already exists"),
            (&["member", "promote", "1234abcd"], "etcdserver: member not found"),
            (&["member", "promote", &ids[leader]], "etcdserver: can only promote a learner member"),
        ]);
    }
    let no_leader = |ctl: &Ctl| format!("no leader endpoint given at [{}]", ctl.endpoints);
    ctl.refuses(&[(&["move-leader", &ids[other]], &no_leader(&ctl))]);
    ctl.endpoints = ctl.cluster.nodes[leader].endpoint.clone();
    ctl.refuses(&[(&["move-leader", "1234abcd"], "etcdserver: bad leader transferee")]);
    let same = format!("Leadership transferred from {0} to {0}\n", ids[leader]);
    assert_eq!(ctl.ok(&["move-leader", &ids[leader]]), same);

    let new = ctl.cluster.join();
    let learners = urls(new, &ctl);
    let added = ctl.ok(&["member", "add", "n4", &learners, "--learner"]);
    let words: Vec<&str> = added.lines().next().unwrap().split_whitespace().collect();
    let ["Member", learner, "added", "as", "learner", "to", "cluster", cluster] = words[..] else { panic!("{added}") };
    for line in ["ETCD_NAME=\"n4\"", "ETCD_INITIAL_CLUSTER_STATE=\"existing\""] {
        assert!(added.lines().any(|said| said == line), "{added}");
    }
    let peer = &ctl.cluster.nodes[new].peer;
    let listed = format!("{learner}, unstarted, , {peer}, , true");
    assert!(ctl.ok(&["member", "list"]).lines().any(|line| line == listed));
    for place in [leader, follower] {
        ctl.endpoints = ctl.cluster.nodes[place].endpoint.clone();
        ctl.refuses(&[
            (
                &["member", "promote", learner],
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            (&["member", "add", "x", nowhere, "--learner"], "etcdserver: too many learner members in cluster"),
        ]);
    }
    let updated = format!("Member {learner:>16} updated in cluster {cluster:>16}\n");
    assert_eq!(ctl.ok(&["member", "update", learner, &learners]), updated);
    ctl.cluster.nodes[new].start();
    ctl.cluster.nodes[new].logged(support::READY);
    ctl.endpoints = ctl.cluster.nodes[new].endpoint.clone();
    let not_here = "etcdserver: rpc not supported for learner";
    ctl.refuses(&[
        (&["get", "a"], not_here),
        (&["put", "a", "b"], not_here),
        (&["member", "list"], not_here),
        (&["member", "add", "x", nowhere], not_here),
        (&["member", "remove", "1234abcd"], not_here),
        (&["member", "update", "1234abcd", nowhere], not_here),
        (&["member", "promote", "1234abcd"], not_here),
        (&["move-leader", learner], &no_leader(&ctl)),
    ]);
    assert_eq!(ctl.ok(&["get", "a", "--consistency=s"]), "");
    ctl.endpoints = ctl.cluster.nodes[leader].endpoint.clone();
    ctl.refuses(&[(&["move-leader", learner], "etcdserver: bad leader transferee")]);
    let promoted = format!("Member {learner:>16} promoted in cluster {cluster:>16}\n");
    assert_eq!(ctl.when_healthy(&["member", "promote", learner]), promoted);
    ctl.refuses(&[(&["member", "promote", learner], "etcdserver: can only promote a learner member")]);
    let removed = |id: &str| format!("Member {id:>16} removed from cluster {cluster:>16}\n");
    assert_eq!(ctl.when_healthy(&["member", "remove", learner]), removed(learner));
    ctl.refuses(&[(&["member", "remove", learner], "etcdserver: member not found")]);

    let unhealthy = "etcdserver: unhealthy cluster";
    ctl.cluster.nodes[other].kill();
    for place in [leader, follower] {
        ctl.endpoints = ctl.cluster.nodes[place].endpoint.clone();
        let attempts: [&[&str]; 4] = [
            &["member", "add", "x", nowhere],
            &["member", "add", "x", nowhere, "--learner"],
            &["member", "remove", &ids[follower]],
            &["member", "remove", &ids[leader]],
        ];
        for attempt in attempts {
            assert!(ctl.fails(attempt).ends_with(&format!("Error: {unhealthy}\n")), "{attempt:?}");
        }
    }
    ctl.endpoints = ctl.cluster.nodes[leader].endpoint.clone();
    assert_eq!(ctl.ok(&["member", "remove", &ids[other]]), removed(&ids[other]));
    let added = ctl.when_healthy(&["member", "add", "n5", nowhere]);
    assert!(added.starts_with("Member ") && added.contains(" added to cluster "), "{added}");
    let too_few = "etcdserver: re-configuration failed due to not enough started members";
    let elsewhere = "--peer-urls=http://127.0.0.1:2";
    ctl.refuses(&[(&["member", "add", "x", elsewhere], too_few), (&["member", "remove", &ids[follower]], too_few)]);
    ctl.cluster.nodes[follower].kill();
    ctl.refuses(&[(&["--command-timeout=30s", "member", "add", "x", elsewhere], too_few)]);
}

/// Who leads, and all ids, by place.
fn everybody(ctl: &Ctl) -> (usize, Vec<String>) {
    let status = ctl.json(&["endpoint", "status"]);
    let of = |field: &[&str]| -> Vec<u64> {
        let value = |member: &Value| field.iter().fold(member["Status"].clone(), |value, name| value[name].clone());
        status.as_array().unwrap().iter().map(|member| value(member).as_u64().unwrap()).collect()
    };
    let (ids, leaders) = (of(&["header", "member_id"]), of(&["leader"]));
    let leader = ids.iter().position(|id| *id == leaders[0]).expect("one of them leads");
    (leader, ids.into_iter().map(|id| format!("{id:x}")).collect())
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
