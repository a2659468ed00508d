//! Scenarios hold with the server as it ships, as processes on loopback, as they hold in the simulator.
//!
//! What cannot be played or judged there must be what is written here, and nothing else.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, reason = "starts real processes")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A scenario, and what must come of it besides a pass.
struct Story {
    name: &'static str,
    /// The fewest operations that were acknowledged.
    operations: u64,
    /// The fewest elections.
    elections: u64,
    /// Steps that are left out.
    left_out: &'static [&'static str],
    /// Expectations of the file that are not judged.
    unjudged: &'static [&'static str],
    /// Expectations that are not judged when the machine is busy: the story is not whole, and they are about time.
    in_haste: &'static [&'static str],
}

const fn story(name: &'static str, operations: u64, elections: u64) -> Story {
    Story { name, operations, elections, left_out: &[], unjudged: &[], in_haste: &[] }
}

const STORIES: &[Story] = &[
    story("steady-load", 1000, 1),
    Story { in_haste: &["reads are answered throughout"], ..story("rolling-restart", 1000, 2) },
    story("clean-restart-hands-over", 1500, 6),
    story("killed-leader-loses-no-request", 1500, 6),
    story("watch-survives-leader-change", 300, 2),
    story("downgrade-cancelled", 800, 2),
    story("reads-write-nothing", 500, 1),
    Story { left_out: &["cut1"], ..story("replaced-under-load", 1500, 1) },
    Story { left_out: &["disk1"], ..story("keep-alive-against-expiry", 300, 2) },
    Story {
        left_out: &["restart1", "cut1"],
        unjudged: &["we did test what we think we tested"],
        ..story("rolling-upgrade-downgrade-crash", 1000, 2)
    },
];

/// Promises of every file that no real server can be seen to keep.
const UNSEEN: [&str; 3] = ["log_match", "committed_never_lost", "ledger"];

/// At once: each is three servers that mostly wait.
const JOBS: &str = "4";

/// Beside the simulator's program, in the profile of this test.
fn server() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_sim")).parent().expect("a program is in a directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "evenkeel", "--bin", "evenkeel"]);
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "the server builds");
    directory.join("evenkeel")
}

fn names<'a>(skipped: &'a [Value], kind: &str) -> Vec<&'a str> {
    skipped.iter().filter_map(|entry| entry["what"].as_str()?.strip_prefix(kind)).collect()
}

/// What came of stories, in their order.
fn play(server: &Path, stories: &[&Story], jobs: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the simulator is in the repository");
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .current_dir(root)
        .args(["run", "--format", "json", "--jobs", jobs, "--real"])
        .arg(server)
        .args(stories.iter().map(|story| format!("scenarios/{}.toml", story.name)))
        .stderr(Stdio::inherit())
        .output()
        .expect("the player runs");
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let mut told: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("one object per line")).collect();
    let table = told.pop().expect("the table comes last");
    assert_eq!((&table["type"], told.len()), (&"parity".into(), stories.len()), "something comes of every story");
    for (row, pair) in table["rows"].as_array().expect("rows").iter().zip(&told) {
        let report = &pair["real"]["report"];
        let figures = (&row["scenario"], &row["real"]["operations"]);
        assert_eq!(figures, (&report["file"], &report["counters"]["operations"]));
    }
    told
}

/// What is wrong with it.
fn wrong(story: &Story, pair: &Value) -> Vec<String> {
    let (report, skipped) = (&pair["real"]["report"], pair["real"]["skipped"].as_array().expect("a list"));
    let mut wrong = Vec::new();
    let mut claim = |holds: bool, what: String| wrong.extend((!holds).then(|| format!("{}: {what}", story.name)));
    claim(report["verdict"]["kind"] == "pass", format!("{:#}", report["verdict"]));
    claim(names(skipped, "step ") == story.left_out, format!("left out {skipped:#?}"));
    let mut own = names(skipped, "expectation ");
    own.retain(|id| !UNSEEN.contains(id) && !id.ends_with(", in part") && !story.in_haste.contains(id));
    claim(own == story.unjudged, format!("not judged: {own:?}"));
    for (name, least) in [("operations", story.operations), ("figure elections", story.elections)] {
        let count = report["counters"][name].as_u64().unwrap_or(0);
        claim(least <= count, format!("{name}: {count} of {least}"));
    }
    wrong
}

#[test]
fn scenarios_hold_with_real_servers() {
    let server = server();
    let stories: Vec<&Story> = STORIES.iter().collect();
    let told = play(&server, &stories, JOBS);
    // Some claims are about time, and other tests may have taken it: what fails is tried again, alone.
    let again: Vec<&Story> =
        stories.iter().zip(&told).filter(|(story, pair)| !wrong(story, pair).is_empty()).map(|(s, _)| *s).collect();
    if again.is_empty() {
        return;
    }
    let told = play(&server, &again, "1");
    let wrong: Vec<String> = again.iter().zip(&told).flat_map(|(story, pair)| wrong(story, pair)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The texts in a program, as far as they are texts.
fn texts(program: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(program).expect("it was built")).into_owned()
}

#[test]
fn the_points_of_the_code_are_compiled_to_nothing_in_the_server() {
    let (server, simulator) = (texts(&server()), texts(Path::new(env!("CARGO_BIN_EXE_sim"))));
    for (name, _) in evenkeel::points::POINTS {
        assert!(simulator.contains(name), "{name} would not be found in a program that has it");
        assert!(
            !server.contains(name),
            "the server stands at {name}: the feature `mutants` is on, or `point!` is not nothing"
        );
    }
}
