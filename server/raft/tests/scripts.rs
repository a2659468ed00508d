//! Runs `tests/scripts/*.txt`: one file per behaviour, named like a claim.
//!
//! A file is a sequence of blocks: commands, `---`, what they made happen, an empty line. Lines with `#` are comments.
//! `UPDATE=1 cargo test -p evenkeel-raft --test scripts` rewrites what happens; review it as a diff.
//!
//! | Command | Effect |
//! |---|---|
//! | `cluster nodes=3 [learners=1] [leader=1] [pre-vote=off] [check-quorum=off] [LIMIT=N …]` | new members 1..=N |
//! | `tick ID\|all N`, `campaign ID`, `advance ID N` | time passes; an election by hand; the election clock alone |
//! | `deliver [FROM TO]` | everything until all is quiet; or what now waits on one link |
//! | `drop`, `dup`, `reorder`, `delay` `[FROM TO]`, `release` | loses, repeats, reverses, puts aside (and back) what waits |
//! | `partition ID…`, `cut FROM TO`, `heal` | packets on these links are lost on delivery |
//! | `propose ID TEXT [forward]`, `read ID CONTEXT` | a client's wish; after `+ ` its effects wait for the next command |
//! | `hold-disk ID`, `persist ID [N]`, `free-disk ID` | writes wait; N of them (all) complete; no more waiting |
//! | `crash ID`, `restart ID`, `compact ID INDEX`, `unreachable ID PEER` | crashes lose what is not durable |
//! | `change ID +N ~N -N…`, `join N` | a wish about voters (+), learners (~), the gone (-); an empty member starts |
//! | `transfer ID TO`, `suspect ID PEER` | leadership changes hands; PEER's process is known to be gone |
//! | `trace on\|off`, `packets`, `log ID`, `status`, `configuration ID`, `progress ID` | show more |
#![allow(clippy::disallowed_methods, reason = "scripts are files")]

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use evenkeel_raft::*;
use support::{Cluster, Packet, describe, show_configuration, show_entry};

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        folder.read_dir().expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 110, "scripts are missing");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let actual = run(&text);
        if actual == text {
            continue;
        }
        if update {
            std::fs::write(&path, actual).expect("writable");
        } else {
            let at = text.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
            wrong.push(format!("{} from line {:?}:\n{actual}", path.display(), at.map(|at| at + 1)));
        }
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 accepts):\n{}", wrong.join("\n"));
}

/// The file as it should be.
fn run(text: &str) -> String {
    let mut script = Script::default();
    let mut file = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        writeln!(file, "{line}").unwrap();
        if line == "---" {
            file += &std::mem::take(&mut script.output);
            if lines.by_ref().find(|line| line.is_empty()).is_some() {
                file.push('\n');
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            script.command(line);
        }
    }
    assert!(script.output.is_empty(), "the last block has no ---");
    if let Some(cluster) = &script.cluster {
        assert_eq!(cluster.oracle.violation, None, "in\n{file}");
    }
    file
}

#[derive(Default)]
struct Script {
    cluster: Option<Cluster>,
    output: String,
    cut: BTreeSet<(NodeId, NodeId)>,
    delayed: VecDeque<Packet>,
    trace: bool,
}

impl Script {
    fn command(&mut self, line: &str) {
        let (line, burst) = line.strip_prefix("+ ").map_or((line, false), |line| (line, true));
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| -> u64 { words[at].parse().unwrap_or_else(|_| panic!("a number, in {line:?}")) };
        let id = |at: usize| NodeId(number(at));
        let ids = |at: usize| -> Vec<NodeId> { (at..words.len()).map(id).collect() };
        if words[0] == "cluster" {
            return self.new_cluster(&words[1..]);
        }
        let on_link = |packet: &Packet| words.len() < 3 || (packet.from == id(1) && packet.to == id(2));
        let cluster = self.cluster.as_mut().expect("cluster comes first");
        match words[0] {
            "tick" => {
                let members = if words[1] == "all" { cluster.ids() } else { vec![id(1)] };
                for _ in 0..number(2) {
                    members.iter().for_each(|&member| cluster.step(member, Input::Tick));
                }
            }
            "transfer" => cluster.step(id(1), Input::Transfer { to: id(2) }),
            "suspect" => cluster.step(id(1), Input::Suspect { peer: id(2) }),
            "join" => cluster.join(id(1)),
            "change" => {
                let change = |word: &&str| {
                    let member = NodeId(word[1..].parse().expect("a number"));
                    match word.as_bytes()[0] {
                        b'+' => MemberChange::AddVoter(member),
                        b'~' => MemberChange::AddLearner(member),
                        b'-' => MemberChange::Remove(member),
                        _ => panic!("+ID, ~ID or -ID, not {word}"),
                    }
                };
                let changes: Vec<MemberChange> = words[2..].iter().map(change).collect();
                let raft = cluster.member(id(1)).raft.as_mut().expect("running");
                if let Err(error) = raft.propose_change(&changes, Data::default()) {
                    cluster.events.push(format!("n{} refuses the change: {error:?}", words[1]));
                }
            }
            "campaign" => cluster.step(id(1), Input::Campaign),
            "advance" => {
                let raft = cluster.member(id(1)).raft.as_mut().expect("running");
                raft.advance_election_clock(number(2) as u32);
            }
            "deliver" if words.len() == 1 => {
                for delivered in 0.. {
                    assert!(delivered < 1000, "the members never fall silent:\n{}", self.output);
                    let Some(packet) = self.cluster.as_mut().and_then(|cluster| cluster.packets.pop_front()) else {
                        break;
                    };
                    self.deliver(packet);
                }
            }
            "deliver" => self.take(on_link).into_iter().for_each(|packet| self.deliver(packet)),
            "drop" => {
                let lost = self.take(on_link);
                lost.into_iter().for_each(|packet| self.cluster.as_mut().unwrap().lose(packet));
            }
            "dup" => {
                let copies: Vec<Packet> = cluster.packets.iter().filter(|packet| on_link(packet)).cloned().collect();
                cluster.packets.extend(copies);
            }
            "reorder" => {
                let taken = self.take(on_link);
                self.cluster.as_mut().unwrap().packets.extend(taken.into_iter().rev());
            }
            "delay" => {
                let taken = self.take(on_link);
                self.delayed.extend(taken);
            }
            "release" => cluster.packets.extend(self.delayed.drain(..)),
            "partition" => {
                let (inside, all) = (ids(1), cluster.ids());
                for &one in &inside {
                    for &other in all.iter().filter(|other| !inside.contains(other)) {
                        self.cut.extend([(one, other), (other, one)]);
                    }
                }
            }
            "cut" => _ = self.cut.insert((id(1), id(2))),
            "heal" => self.cut.clear(),
            "propose" => {
                let taken = cluster.propose(id(1), words[2].as_bytes(), words.len() > 3).expect("running");
                if let Err(error) = taken {
                    cluster.events.push(format!("n{} refuses {}: {error:?}", words[1], words[2]));
                }
            }
            "read" => cluster.step_only(id(1), Input::Read { context: ReadContext(number(2)) }),
            "hold-disk" => cluster.member(id(1)).holds_writes = true,
            "free-disk" => {
                cluster.member(id(1)).holds_writes = false;
                cluster.persist(id(1), usize::MAX);
            }
            "persist" => cluster.persist(id(1), if words.len() > 2 { number(2) as usize } else { usize::MAX }),
            "crash" => cluster.crash(id(1), 0),
            "restart" => cluster.restart(id(1)),
            "compact" => cluster.compact(id(1), Some(Index(number(2))), 0),
            "unreachable" => cluster.step(id(1), Input::Unreachable { peer: id(2) }),
            "trace" => self.trace = words[1] == "on",
            "packets" => {
                let lines: Vec<String> = cluster.packets.iter().map(show_packet).collect();
                cluster.events.extend(lines);
            }
            "log" => {
                let raft = cluster.raft(id(1)).expect("running");
                let entries = (raft.first_index().0..=raft.last_index().0).filter_map(|index| raft.entry(Index(index)));
                let shown: Vec<String> = entries.map(show_entry).collect();
                let line = format!(
                    "n{} log [{}] committed {} persisted {}",
                    words[1],
                    shown.join(" "),
                    raft.committed(),
                    raft.persisted()
                );
                cluster.events.push(line);
            }
            "status" => {
                let show = |id: NodeId| match cluster.raft(id) {
                    None => format!("n{id} down"),
                    Some(raft) => format!(
                        "n{id} {}, last {}, committed {}, leaderless {}, uncommitted {}",
                        describe(&raft.standing()),
                        raft.last_index(),
                        raft.committed(),
                        raft.elapsed_since_leader_ticks(),
                        raft.uncommitted_bytes()
                    ),
                };
                let lines: Vec<String> = cluster.ids().into_iter().map(show).collect();
                cluster.events.extend(lines);
            }
            "configuration" => {
                let raft = cluster.raft(id(1)).expect("running");
                let line = format!("n{} acts on {}", words[1], show_configuration(raft.configuration()));
                cluster.events.push(line);
            }
            "progress" => {
                let show = |(peer, view): (NodeId, ProgressView)| {
                    let ProgressView { matched, next, state, active } = view;
                    let state = format!("{state:?}").to_lowercase();
                    let silent = if active { "" } else { ", silent" };
                    format!("n{} -> n{peer}: {state}, matched {matched}, next {next}{silent}", words[1])
                };
                let lines: Vec<String> = cluster.raft(id(1)).expect("running").progress().map(show).collect();
                cluster.events.extend(lines);
            }
            other => panic!("no such command: {other}"),
        }
        let cluster = self.cluster.as_mut().expect("a cluster");
        if !burst {
            cluster.ids().into_iter().for_each(|member| cluster.drain(member));
        }
        self.flush();
    }

    fn new_cluster(&mut self, options: &[&str]) {
        let option = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        let number =
            |name: &str, default: usize| option(name).map_or(default, |value| value.parse().expect("a number"));
        let mut cluster = Cluster::new(number("nodes", 3) as u64, number("learners", 0) as u64, |id| {
            let defaults = Config::new(id, id.0);
            Config {
                pre_vote: option("pre-vote") != Some("off"),
                check_quorum: option("check-quorum") != Some("off"),
                max_message_bytes: number("message-bytes", defaults.max_message_bytes),
                max_inflight_messages: number("inflight-messages", defaults.max_inflight_messages),
                max_inflight_bytes: number("inflight-bytes", defaults.max_inflight_bytes),
                max_uncommitted_bytes: number("uncommitted-bytes", defaults.max_uncommitted_bytes),
                max_waiting_reads: number("waiting-reads", defaults.max_waiting_reads),
                ..defaults
            }
        });
        let leader = number("leader", 0) as u64;
        if leader > 0 {
            cluster.step(NodeId(leader), Input::Campaign);
            while let Some(packet) = cluster.packets.pop_front() {
                cluster.deliver(packet);
            }
            assert_eq!(cluster.raft(NodeId(leader)).unwrap().standing().role, Role::Leader);
            cluster.events.clear();
        }
        *self = Script { cluster: Some(cluster), output: std::mem::take(&mut self.output), ..Script::default() };
        self.flush();
    }

    fn take(&mut self, chosen: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        let cluster = self.cluster.as_mut().expect("a cluster");
        let (taken, left): (Vec<_>, Vec<_>) = cluster.packets.drain(..).partition(|packet| chosen(packet));
        cluster.packets = left.into();
        taken
    }

    fn deliver(&mut self, packet: Packet) {
        let cluster = self.cluster.as_mut().expect("a cluster");
        let is_cut = self.cut.contains(&(packet.from, packet.to)) || !cluster.members.contains_key(&packet.to);
        if self.trace {
            cluster.events.push(format!("{}{}", show_packet(&packet), if is_cut { " (lost)" } else { "" }));
        }
        if is_cut {
            cluster.lose(packet)
        } else {
            cluster.deliver(packet)
        }
        self.flush();
    }

    fn flush(&mut self) {
        for event in self.cluster.as_mut().expect("a cluster").events.drain(..) {
            writeln!(self.output, "{event}").unwrap();
        }
    }
}

fn show_packet(packet: &Packet) -> String {
    let Packet { from, to, message: Message { term, body } } = packet;
    let body = match body {
        Body::VoteRequest { pre_vote, last_index, last_term, force } => {
            let (kind, forced) = (if *pre_vote { "pre-vote?" } else { "vote?" }, if *force { " forced" } else { "" });
            format!("{kind} last {last_index}@{last_term}{forced}")
        }
        Body::VoteResponse { pre_vote, granted } => {
            format!("{} {}", if *pre_vote { "pre-vote" } else { "vote" }, if *granted { "granted" } else { "refused" })
        }
        Body::AppendRequest { prev_index, prev_term, entries, commit } => {
            let entries: Vec<String> = entries.iter().map(show_entry).collect();
            format!("append after {prev_index}@{prev_term} [{}] commit {commit}", entries.join(" "))
        }
        Body::AppendAccepted { matched } => format!("accepted {matched}"),
        Body::AppendRejected { needs_snapshot: true, .. } => "needs a snapshot".into(),
        Body::AppendRejected { prev_index, hint_index, hint_term, .. } => {
            format!("rejected {prev_index}, try {hint_index}@{hint_term}")
        }
        Body::Heartbeat { commit, round } => format!("heartbeat {} commit {commit}", round.0),
        Body::HeartbeatResponse { round } => format!("heartbeat {} answered", round.0),
        Body::Snapshot { meta } => format!("snapshot {}@{}", meta.index, meta.term),
        Body::ReadRequest { context } => format!("read? {}", context.0),
        Body::ReadResponse { context, index } => format!("read {} at {index}", context.0),
        Body::TimeoutNow => "campaign now".into(),
        Body::Propose { data } => format!("propose {}", String::from_utf8_lossy(data)),
    };
    format!("n{from} -> n{to} t{term} {body}")
}
