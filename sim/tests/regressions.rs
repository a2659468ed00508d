//! Repro files: those that are kept fail (or pass) as they say, and a fresh failure becomes a small one.

#![allow(clippy::disallowed_methods, reason = "real files and real processes, outside every run")]
#![cfg(madsim)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the simulator runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// everything-at-once with this line more in its `[cluster]`.
fn changed(folder: &Path, line: &str) -> String {
    let text = std::fs::read_to_string(scenarios().join("everything-at-once.toml")).expect("the scenario");
    let scenario = folder.join("changed.toml");
    std::fs::write(&scenario, text.replacen("[cluster]\n", &format!("[cluster]\n{line}\n"), 1)).expect("a file");
    scenario.to_str().expect("a plain path").to_owned()
}

/// A planted bug that everything-at-once finds at once, shrunk.
fn shrunk(folder: &Path, bug: &str) -> PathBuf {
    let (from, repro) = (changed(folder, &format!("mutants = [\"{bug}\"]")), folder.join("repro.toml"));
    let to = repro.to_str().expect("a plain path");
    let output = sim(&["shrink", &from, "--seed", "1", "--out", to, "--seconds", "30"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    repro
}

#[test]
fn every_kept_repro_ends_as_it_says_and_by_its_planted_bug_alone() {
    let output = sim(&["replay", scenarios().join("regressions").to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    // A bug of ours needs none, and is mended.
    let text = told(&output);
    let odd = text.lines().find(|line| line.contains("nothing is planted") && !line.contains("mended"));
    assert_eq!(odd, None, "{text}");
}

#[test]
fn every_kept_repro_has_its_story_told() {
    let folder = scenarios().join("regressions");
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("the page");
    for path in std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("the repro");
            let repro = evenkeel_sim::repro::Repro::parse(&text).expect("a repro");
            let heading = format!("\n## {name}\n");
            let (_, told) = readme.split_once(&heading).unwrap_or_else(|| panic!("no story of {name}"));
            repro.story.iter().for_each(|sentence| assert!(told.contains(sentence), "{name}: {sentence}"));
        }
    }
}

#[test]
fn what_fails_in_any_case_is_not_taken_for_the_planted_bug() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = changed(folder.path(), "mutants = [\"watch-from-now\"]");
    let mut text = std::fs::read_to_string(&path).expect("the scenario");
    text.push_str("\n[[expect]]\nid = \"nobody leads\"\nnever = \"count(elected) >= 1\"\n");
    std::fs::write(&path, text).expect("a file");
    let output = sim(&["shrink", &path, "--seed", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("without the planted bug it fails, too (nobody leads)"), "{}", told(&output));
}

#[test]
fn a_shrunk_failure_is_small_the_same_and_replays_to_the_last_event() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let repro = shrunk(folder.path(), "ack-before-fsync");
    let path = repro.to_str().expect("a plain path");
    let file =
        evenkeel_sim::repro::Repro::parse(&std::fs::read_to_string(&repro).expect("the repro")).expect("a repro");
    let sizes = file.shrunk.expect("it was shrunk");
    assert_eq!(file.signature.as_str(), "ledger");
    assert!(sizes.to.events() <= 8, "{sizes:?}");
    assert!(file.run.scenario.contains("mutants = [\"ack-before-fsync\"]"), "{}", file.run.scenario);
    assert!((5..=15).contains(&file.story.len()), "{:?}", file.story);

    let output = sim(&["replay", path]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("the same to the last event"), "{}", told(&output));
    assert!(told(&output).contains("without the planted bug it passes"), "{}", told(&output));
    let output = sim(&["explain", path]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), file.story);
}

#[test]
fn the_page_of_a_repro_has_its_passing_twin_and_how_likely_the_failure_was() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (repro, page) = (scenarios().join("regressions/watch-time-travel.toml"), folder.path().join("page.html"));
    let (repro, to) = (repro.to_str().expect("a plain path"), page.to_str().expect("a plain path"));
    let output = sim(&["replay", repro, "--report", to, "--report-seconds", "10"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));

    let html = std::fs::read_to_string(&page).expect("the page");
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").expect("the page holds data");
    let (data, _) = rest.split_once("</script>").expect("the data ends");
    let data: serde_json::Value = serde_json::from_str(data).expect("the data is JSON");
    assert_eq!(data["command"], format!("cargo sim replay {repro}"));
    assert_eq!(data["twin"]["found"], true, "{}", data["twin"]);
    assert_eq!(data["twin"]["change"], "The planted bug (watch-time-travel) is left out");
    let points = data["curve"]["points"].as_array().expect("a curve");
    assert!(points.len() >= 2 && points.iter().all(|point| point[2].as_u64() >= Some(10)), "{}", data["curve"]);
}

#[test]
fn another_run_is_told_with_the_place_where_it_parts() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let repro = shrunk(folder.path(), "vote-not-durable");
    let text = std::fs::read_to_string(&repro).expect("the repro");
    let mut file = evenkeel_sim::repro::Repro::parse(&text).expect("a repro");
    // The same bug, in a run whose members start differently.
    file.run.scenario = file.run.scenario.replacen("tick = \"100ms\"", "tick = \"90ms\"", 1);
    std::fs::write(&repro, file.to_toml()).expect("a file");
    let output = sim(&["replay", repro.to_str().expect("a plain path")]);
    assert!(told(&output).contains("another run from event "), "{}", told(&output));
    assert_eq!(output.status.code(), Some(0), "the same failure all the same: {}", told(&output));

    file.run.scenario = file.run.scenario.replacen("mutants = [\"vote-not-durable\"]\n", "", 1);
    std::fs::write(&repro, file.to_toml()).expect("a file");
    let output = sim(&["replay", repro.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("does not fail as recorded (ledger)"), "{}", told(&output));
}
