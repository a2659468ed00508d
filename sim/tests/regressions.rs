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

/// A planted bug that everything-at-once finds at once, shrunk.
fn shrunk(folder: &Path, bug: &str) -> PathBuf {
    let text = std::fs::read_to_string(scenarios().join("everything-at-once.toml")).expect("the scenario");
    let planted = text.replacen("[cluster]\n", &format!("[cluster]\nmutants = [\"{bug}\"]\n"), 1);
    let (scenario, repro) = (folder.join("planted.toml"), folder.join("repro.toml"));
    std::fs::write(&scenario, planted).expect("a file");
    let (from, to) = (scenario.to_str().expect("a plain path"), repro.to_str().expect("a plain path"));
    let output = sim(&["shrink", from, "--seed", "1", "--out", to, "--seconds", "60"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    repro
}

#[test]
fn every_kept_repro_ends_as_it_says() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(scenarios().join("regressions"))
        .expect("the folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let failures = files.iter().filter_map(|file| {
        let output = sim(&["replay", file.to_str().expect("a plain path")]);
        (output.status.code() != Some(0)).then(|| told(&output))
    });
    let failures: Vec<String> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_shrunk_failure_is_small_the_same_and_replays_to_the_last_event() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let repro = shrunk(folder.path(), "trunc-on-stale-append");
    let path = repro.to_str().expect("a plain path");
    let file =
        evenkeel_sim::repro::Repro::parse(&std::fs::read_to_string(&repro).expect("the repro")).expect("a repro");
    let sizes = file.shrunk.expect("it was shrunk");
    assert_eq!(file.signature.as_str(), "raft");
    assert!(sizes.to.events() <= 8, "{sizes:?}");
    assert!(file.run.scenario.contains("mutants = [\"trunc-on-stale-append\"]"), "{}", file.run.scenario);
    assert!((5..=15).contains(&file.story.len()), "{:?}", file.story);

    let output = sim(&["replay", path]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("the same to the last event"), "{}", told(&output));
    let output = sim(&["explain", path]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), file.story);
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
