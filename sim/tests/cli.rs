//! The command line on a toy world: what is run, what is told, and which exit code comes out.
//!
//! Without the standard test harness: that one starts threads, and the runner forks. The program is its own worker
//! for `check-determinism`, as `sim` is.

#![allow(clippy::disallowed_methods, reason = "real files and real time, outside every run")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use evenkeel_scenario::{ExpectKind, Outcome, Value};
use evenkeel_sim::cli;
use evenkeel_sim::report::{RunEnd, RunInput, Verdict, World};
use evenkeel_sim::repro::Repro;

/// A world of 3,000 events that does what its planted bug says.
const TOY: World = World {
    run: toy,
    mutants: || vec!["toy-violation", "toy-panic", "toy-abort", "toy-address", "toy-salt", "toy-late"],
    switches: || vec!["toy-switch"],
    points: evenkeel::points::POINTS,
};

/// The place of the message that must not be late.
const LATE: usize = 5;

fn toy(input: RunInput) -> RunEnd {
    let RunInput { resolved, mut decisions, recorder, metrics } = input;
    let planted = |name: &str| resolved.cluster.mutants.0.iter().any(|plant| plant.name == name);
    let odd = resolved.seed % 2 == 1;
    let mut recorder = recorder.lock().unwrap();
    for number in 0..3000u64 {
        let at = Duration::from_millis(number);
        recorder.event(at, "step", &[("number", number.into()), ("drawn", decisions.draw("toy").into())]);
        if number == 1500 && planted("toy-panic") && odd {
            panic!("the toy broke");
        }
        if number == 1500 && planted("toy-abort") && odd {
            std::process::abort();
        }
        if number == 1500 && planted("toy-address") {
            // Differs between processes, not between forks of one.
            let address = toy as fn(RunInput) -> RunEnd as usize;
            recorder.event(at, "address", &[("of", address.into())]);
        }
        if number == 1500 && planted("toy-salt") {
            recorder.event(at, "salt", &[("of", u64::from(evenkeel_sim::fork::salt()).into())]);
        }
    }
    // A message that takes long breaks the toy; the others do not matter.
    let times: Vec<u64> = (0..20).map(|_| decisions.draw("net/n1>n2/raft.append")).collect();
    if planted("toy-late") {
        recorder.aside(
            Duration::from_millis(2_900),
            "draws",
            || serde_json::json!({"count": decisions.count(), "labels": {"net/n1>n2/raft.append": times.len()}}),
        );
    }
    let violated = planted("toy-violation") && odd || planted("toy-late") && times[LATE] > u64::MAX / 2;
    let verdict = match violated {
        true => Verdict::Violation {
            what: "toy".into(),
            at_ns: 2_999_000_000,
            message: "a toy must not be odd".into(),
            events: recorder.last_lines(2, Duration::MAX, |_| true),
        },
        false => Verdict::Pass,
    };
    let outcome = |kind: &ExpectKind| match kind {
        ExpectKind::Ratio { .. } => Outcome::Counts(odd),
        ExpectKind::Sometimes(conditions) => Outcome::Seen(vec![odd; conditions.len()]),
        _ => Outcome::Held,
    };
    let pre_vote = resolved.cluster.pre_vote;
    RunEnd {
        verdict,
        simulated: Duration::from_secs(3),
        outcomes: resolved.expects.iter().map(|expect| (expect.id.clone(), outcome(&expect.kind))).collect(),
        metrics: metrics.into_iter().map(|(name, _)| (name, Value::Number(if pre_vote { 1.0 } else { 5.0 }))).collect(),
        counters: [("toys".to_owned(), 1)].into(),
        coverage: vec![resolved.steps.len() as u32, 100 + (resolved.seed % 64) as u32],
    }
}

/// A directory with scenario files, gone at the end.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let dir = tempfile::tempdir().unwrap();
        for (name, rest) in files {
            let head = format!("scn = 1\nname = \"{name}\"\nabout = \"A toy.\"\n");
            fs::write(dir.path().join(format!("{name}.toml")), head + rest).unwrap();
        }
        Files(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program; `@` is the directory.
    fn sim(&self, line: &str) -> (u8, String) {
        let dir = self.0.path().display().to_string();
        let args: Vec<String> = line.split_whitespace().map(|word| word.replace('@', &dir)).collect();
        let mut out = Vec::new();
        let code = cli::execute(&args, &TOY, &mut out);
        (code, String::from_utf8(out).unwrap().replace(&dir, "@"))
    }
}

const PLAIN: &str = "[seeds]\ncount = 6\n";
const MATRIX: &str = "
[matrix]
pre_vote = [true, false]
[seeds]
count = 10
[[expect]]
id = \"half\"
ratio = \"leader() == 'n1'\"
between = [0.4, 0.6]
[[expect]]
id = \"seen\"
sometimes = \"leader() == 'n1'\"
[[expect]]
id = \"fewer\"
across = \"pre_vote\"
compare = \"mean(true: count(elected)) < mean(false: count(elected))\"
";

fn planted(bug: &str) -> String {
    format!("[cluster]\nmutants = [\"{bug}\"]\n{PLAIN}")
}

fn a_green_suite_ends_with_a_table_and_exit_code_0() {
    let files = Files::new(&[("a", PLAIN), ("b", MATRIX)]);
    let (code, out) = files.sim("run @ --jobs 2");
    assert_eq!(code, 0, "{out}");
    let table: Vec<Vec<&str>> = out.lines().rev().take(4).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[3], ["scenario", "cells", "seeds", "simulated", "wall", "speed-up", "events", "verdict"]);
    assert_eq!(table[2][..4], ["a", "1", "6", "18.0s"]);
    assert_eq!(table[2][6..], ["18.0k", "ok"]);
    assert_eq!(table[1][..4], ["b", "2", "10", "1m00s"]);
    assert_eq!(table[0][..4], ["total", "3", "16", "1m18s"]);
    assert!(out.contains("pre_vote=false     10"), "{out}");
    assert!(out.contains("b: holds half [pre_vote=true]: 0.500 of 10 runs"), "{out}");
    assert!(out.contains("b: holds seen: "), "{out}");
    assert!(out.contains("b: holds fewer: "), "{out}");
}

fn bench_sets_every_figure_beside_its_target() {
    let files = Files::new(&[("a", &planted("toy-violation"))]);
    let (code, out) = files.sim("shrink @/a.toml --seed 1 --seconds 1 --out @/repro.toml");
    assert_eq!(code, 0, "{out}");
    let (code, out) = files.sim("bench --seeds 2 --long 100 --long-load 100 --repros @/repro.toml");
    assert_eq!(code, 0, "{out}");
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["figure", "measured", "target", "next", "unit", "met", "of"]);
    let figures: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    assert_eq!(figures, ["loaded", "seeds", "idle", "memory", "loaded-memory", "replay"], "{out}");
    assert!(out.contains("the slowest of 1 repro files, @/repro.toml"), "{out}");

    let (code, out) = files.sim("bench --seeds 1 --long 100 --long-load 100 --repros @/repro.toml --format json");
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (0, 6), "{out}");
    assert!(lines[0]["target"] == 500.0 && lines[0]["next"] == 1000.0, "{out}");
    assert!(lines.iter().all(|line| line["measured"].as_f64().is_some_and(|measured| measured > 0.0)), "{out}");
}

fn a_violation_is_told_with_its_time_events_and_replay_command() {
    let files = Files::new(&[("a", &planted("toy-violation"))]);
    let (code, out) = files.sim("run @/a.toml");
    assert_eq!(code, 1);
    let failure = "FAILED @/a.toml seed 1\n  toy at 2.999000s: a toy must not be odd\n  last events:\n       2.998000s step number=2998 drawn=";
    assert!(out.contains(failure), "{out}");
    assert!(out.contains("  replay: cargo sim run @/a.toml --seed 1\n"), "{out}");
    assert!(out.trim_end().ends_with("FAILED 3 of 6"), "{out}");
    assert_eq!(files.sim("run @/a.toml --seed 1").0, 1);
    assert_eq!(files.sim("run @/a.toml --seed 2").0, 0);
}

fn a_panic_and_an_abort_fail_their_run_only() {
    let files = Files::new(&[("a", &planted("toy-panic")), ("b", &planted("toy-abort"))]);
    let (code, out) = files.sim("run @/a.toml --jobs 3");
    assert_eq!(code, 1);
    assert!(out.contains("  panic at 1.500000s: the toy broke (sim/tests/cli.rs:"), "{out}");
    assert!(out.contains("1.500000s step number=1500 drawn="), "{out}");
    let (code, out) = files.sim("run @/b.toml --jobs 3");
    assert_eq!(code, 1);
    assert!(out.contains("the run's process aborted (SIGABRT)"), "{out}");
    assert!(out.trim_end().ends_with("FAILED 3 of 6"), "{out}");
}

fn json_is_one_object_per_run_and_a_summary() {
    let files = Files::new(&[("b", MATRIX)]);
    let (code, out) = files.sim("run @/b.toml --seeds 0..2 --format json");
    assert_eq!(code, 0, "{out}");
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["verdict"]["kind"], "pass");
    assert_eq!(lines[0]["events"], 3000);
    assert_eq!(lines[0]["counters"]["toys"], 1);
    let summary = &lines[4];
    assert_eq!((&summary["type"], &summary["holds"]), (&"summary".into(), &true.into()));
    assert_eq!(summary["scenarios"][0]["runs"], 4);
    let equal = |cell: &str| lines.iter().filter(|line| line["cell"] == cell).count();
    assert_eq!((equal("pre_vote=true"), equal("pre_vote=false")), (2, 2));
}

fn a_cell_can_be_chosen_and_then_cells_are_not_compared() {
    let files = Files::new(&[("b", MATRIX)]);
    let (code, out) = files.sim("run @/b.toml --cell pre_vote=false");
    assert_eq!(code, 0, "{out}");
    assert!(!out.contains("fewer"), "{out}");
    assert!(out.contains("half"), "{out}");
    assert_eq!(files.sim("run @/b.toml --cell pre_vote=maybe").0, 2);
}

fn a_repro_file_is_run_and_exported_like_a_scenario() {
    let files = Files::new(&[("a", &planted("toy-violation"))]);
    assert_eq!(files.sim("shrink @/a.toml --seed 1 --seconds 1 --out @/repro.toml").0, 0);
    let (code, out) = files.sim("run @/repro.toml");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("FAILED @/repro.toml seed 1\n  toy at 2.999000s: a toy must not be odd"), "{out}");
    assert_eq!(files.sim("run @/repro.toml --seed 2").0, 0, "another seed of its scenario");
    assert_eq!(files.sim("lint @/repro.toml").0, 0);

    // Draws that are not the seed's belong to the run.
    let repro = fs::read_to_string(files.path("repro.toml")).unwrap();
    let changed = repro.replacen("\nscenario = ", "\noverrides = { \"toy#7\" = \"0x2a\" }\nscenario = ", 1);
    fs::write(files.path("changed.toml"), changed).unwrap();
    let (code, out) = files.sim("export @/changed.toml --format ndjson --out @/seen.ndjson");
    assert_eq!(code, 0, "{out}");
    assert_eq!(files.sim("run @/changed.toml --trace @/trace.ndjson").0, 1);
    assert!(fs::read_to_string(files.path("trace.ndjson")).unwrap().contains("\"number\":7,\"drawn\":42}"));

    let (_, out) = files.sim("replay @/repro.toml");
    assert!(out.contains("@/repro.toml: the same to the last event (3000)"), "{out}");
    let (_, out) = files.sim("replay @/changed.toml");
    assert!(out.contains("@/changed.toml: another run from event 0 to 15 on"), "{out}");

    fs::write(files.path("broken.toml"), repro.replacen("repro = 1", "repro = 2", 1)).unwrap();
    assert_eq!(files.sim("run @/broken.toml").0, 2);
}

fn what_fuzz_keeps_says_where_another_run_parts() {
    let files = Files::new(&[]);
    let (code, out) = files.sim("fuzz --seeds 2 --mutant toy-violation --jobs 1 --out @/f");
    assert_eq!(code, 1, "{out}");
    let (code, out) = files.sim("replay @/f/failures/toy-default-1.repro.toml");
    assert!(code == 0 && out.contains("the same to the last event (3000)"), "{out}");
    let text = fs::read_to_string(files.path("f/failures/toy-default-1.repro.toml")).unwrap();
    let overrides = "\noverrides = { \"toy#2000\" = \"0x2a\" }\nscenario = ";
    fs::write(files.path("changed.toml"), text.replacen("\nscenario = ", overrides, 1)).unwrap();
    let (_, out) = files.sim("replay @/changed.toml");
    assert!(out.contains("@/changed.toml: another run from event 2000 to 2015 on"), "{out}");
}

fn a_shrunk_failure_keeps_the_seeds_draws_only_where_it_hangs_on_them() {
    let files = Files::new(&[("a", &planted("toy-late"))]);
    let seed = (0..6).find(|seed| files.sim(&format!("run @/a.toml --seed {seed}")).0 == 1).expect("some run is late");
    let (code, out) = files.sim(&format!("shrink @/a.toml --seed {seed} --seconds 20 --out @/repro.toml"));
    assert_eq!(code, 0, "{out}");
    let text = fs::read_to_string(files.path("repro.toml")).unwrap();
    let point = |place: usize| format!("\"net/n1>n2/raft.append#{place}\" = \"0x0\"");
    for place in 0..20 {
        assert_eq!(text.contains(&point(place)), place != LATE, "{place}: {text}");
    }
    let (code, out) = files.sim("replay @/repro.toml");
    assert!(code == 0 && out.contains("the same to the last event"), "{out}");
}

fn one_seed_says_nothing_about_shares() {
    let files = Files::new(&[("b", MATRIX)]);
    let (code, out) = files.sim("run @/b.toml --seed 2");
    assert_eq!(code, 0, "{out}");
    assert!(!out.contains("half"), "{out}");
}

fn a_trace_holds_every_event_of_the_only_run() {
    let files = Files::new(&[("a", PLAIN)]);
    assert_eq!(files.sim("run @/a.toml --trace @/t.json").0, 2);
    assert_eq!(files.sim("run @/a.toml --trace @/t.json --seed 4").0, 0);
    let trace = fs::read_to_string(files.path("t.json")).unwrap();
    assert_eq!(trace.lines().count(), 3000);
    let last: serde_json::Value = serde_json::from_str(trace.lines().last().unwrap()).unwrap();
    assert_eq!((&last["n"], &last["event"], &last["number"]), (&2999.into(), &"step".into(), &2999.into()));
    assert_eq!(files.sim("run @/a.toml --trace @/no/such/dir --seed 4").0, 2);
}

fn wrong_files_and_wrong_words_are_refused_with_exit_code_2() {
    let files = Files::new(&[("a", PLAIN), ("bad", "[cluster]\nnodse = 3\n"), ("bug", &planted("toy-panik"))]);
    for line in [
        "run @/bad.toml",
        "run @",
        "run @/bug.toml",
        "lint @",
        "run @/none.toml",
        "rum",
        "run @/a.toml --cell x=1",
        "check-determinism @/bad.toml",
    ] {
        assert_eq!(files.sim(line).0, 2, "{line}");
    }
    assert_eq!(files.sim("lint @/a.toml"), (0, "1 file, no problems\n".to_owned()));
    assert_eq!(files.sim("--help").0, 0);
}

fn equal_runs_in_two_processes_are_the_same() {
    let files = Files::new(&[("a", PLAIN), ("b", MATRIX)]);
    let (code, out) = files.sim("check-determinism @ --jobs 2 --seeds 0..5");
    assert_eq!(code, 0, "{out}");
    assert_eq!(out.lines().filter(|line| line.ends_with("same")).count(), 2, "{out}");
    let process = |number: u8| out.lines().find(|line| line.starts_with(&format!("process {number}: "))).unwrap();
    assert!(process(1).contains(": 1 at once; ") && process(2).contains(": 2 at once; "), "{out}");
    let salted = |number, salt| process(number).ends_with(&format!("maps salted with {salt}"));
    assert!(salted(1, 1) && salted(2, 2), "{out}");
    let place =
        |number| process(number).split([' ', ',', ';']).filter(|word| word.starts_with("0x")).collect::<Vec<_>>();
    let common = place(1).iter().zip(place(2)).filter(|(first, second)| **first == *second).count();
    assert_eq!(common, out.matches("NOT PUT TO THE TEST").count(), "{out}");
    assert!(!out.contains("same place of the heap"), "a salt moves it, whatever the machine does: {out}");
}

fn what_depends_on_addresses_is_found_and_located() {
    let files = Files::new(&[("a", &planted("toy-address"))]);
    let (code, out) = files.sim("run @/a.toml --seeds 0..3");
    assert_eq!(code, 0, "{out}");
    let (code, out) = files.sim("check-determinism @/a.toml --seeds 0..2");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("DIFFERENT @/a.toml seed 0"), "{out}");
    assert!(out.contains("the first difference is in the events 1024 to"), "{out}");
    assert!(out.contains("  event 1501:\n"), "{out}");
    assert!(out.contains("    1    1.500000s address of="), "{out}");
    assert!(out.contains("    2    1.500000s address of="), "{out}");
    assert!(out.trim_end().ends_with("DIFFERENT 2 of 2"), "{out}");
}

fn what_depends_on_the_salt_of_maps_is_found() {
    let files = Files::new(&[("a", &planted("toy-salt"))]);
    let (code, out) = files.sim("check-determinism @/a.toml --seeds 0..2");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("    1    1.500000s salt of=1\n"), "{out}");
    assert!(out.trim_end().ends_with("DIFFERENT 2 of 2"), "{out}");
}

fn the_schema_is_printed() {
    let files = Files::new(&[]);
    assert_eq!(files.sim("schema"), (0, evenkeel_scenario::schema::text()));
    assert_eq!(files.sim("schema --repro"), (0, evenkeel_sim::repro::schema::text()));
}

/// The program, to be run as a process of its own.
fn command(args: &[&str]) -> std::process::Command {
    let quiet = std::process::Stdio::null;
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.arg(PROGRAM).args(args).stdout(quiet()).stderr(quiet());
    command
}

/// Runs it.
fn process(args: &[&str]) -> std::process::Child {
    command(args).spawn().unwrap()
}

fn shards_in_processes_are_disjoint_complete_and_merge_to_one_campaign() {
    let files = Files::new(&[]);
    let at = |name: &str| files.0.path().join(name).display().to_string();
    let campaign = ["fuzz", "--seeds", "41", "--first", "5", "--mutant", "toy-violation", "--shrink-seconds", "0"];
    let shards = [("whole", "0/1"), ("s0", "0/3"), ("s1", "1/3"), ("s2", "2/3")];
    let run = |(dir, shard): (&str, &str)| process(&[&campaign[..], &["--shard", shard, "--out", &at(dir)]].concat());
    for mut child in shards.map(run) {
        assert_eq!(child.wait().unwrap().code(), Some(1), "odd seeds fail");
    }
    let results = |dir: &str| {
        let text = fs::read_to_string(format!("{}/results.ndjson", at(dir))).unwrap();
        let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let closing = lines.pop().expect("how it ended");
        assert_eq!(closing["runs"], lines.len());
        // How long it took, and where the file is, differ.
        lines.iter_mut().for_each(|line| (line["cpu_ns"], line["scenario"]) = (0.into(), 0.into()));
        lines
    };
    let parts: Vec<_> = ["s0", "s1", "s2"].iter().flat_map(|dir| results(dir)).collect();
    let seeds = |lines: &[serde_json::Value]| {
        let mut seeds: Vec<u64> = lines.iter().map(|line| line["seed"].as_u64().unwrap()).collect();
        seeds.sort_unstable();
        seeds
    };
    assert_eq!(seeds(&parts), (5..46).collect::<Vec<_>>());
    let merge = "merge @/s2/results.ndjson @/s0/results.ndjson @/s1/results.ndjson @/s1/results.ndjson --out @/merged/results.ndjson";
    fs::create_dir(at("merged")).unwrap();
    let (code, out) = files.sim(merge);
    assert_eq!(code, 1, "{out}");
    let again = results("s1").len();
    let told = format!("run again, and counted once: {again}; the same each time: {again}, DIFFERENT: 0\n");
    assert!(out.contains(&told) && !out.contains("compared"), "{out}");
    assert_eq!(results("merged"), results("whole"));
    let (code, out) = files.sim(&merge.replace("@/merged/", "@/s1/"));
    assert_eq!(code, 1, "{out}");
    assert_eq!(results("s1"), results("whole"), "a file may be merged into itself");
    let kept =
        fs::read_dir(at("s1")).unwrap().count() + fs::read_dir(format!("{}/failures", at("s1"))).unwrap().count();
    assert!(kept > 10, "{kept} files");
}

fn a_campaign_that_was_run_twice_must_have_been_the_same() {
    let files = Files::new(&[]);
    let at = |name: &str| files.0.path().join(name).display().to_string();
    let campaign = |name: &str, bug: &[&str], seeds: &str, salt: Option<&str>| {
        let common = ["fuzz", "--first", "5", "--seeds", seeds, "--out"];
        let mut command = command(&[&common[..], &[&at(name)], bug].concat());
        salt.map(|salt| command.env(evenkeel_sim::fork::SALT, salt));
        command.spawn().unwrap()
    };
    let bug = ["--mutant", "toy-salt"];
    // No run may look at the salt; who does is found out by any two of them, of which none at all is one.
    let children = [
        campaign("plain", &[], "30", None),
        campaign("salted", &[], "30", Some("1")),
        campaign("other", &[], "9", Some("2")),
        campaign("bug-plain", &bug, "30", None),
        campaign("bug-salted", &bug, "30", Some("1")),
        campaign("bug-other", &bug, "30", Some("2")),
    ];
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let merge = |names: &[&str]| {
        let paths: String = names.iter().map(|name| format!(" @/{name}/results.ndjson")).collect();
        files.sim(&format!("merge{paths}"))
    };
    let told = |all, same, different| {
        format!("run again, and counted once: {all}; the same each time: {same}, DIFFERENT: {different}\n")
    };
    for (names, code, text) in [
        (&["salted", "other"][..], 0, told(9, 9, 0)),
        (&["plain", "plain", "salted", "other"], 0, told(69, 69, 0)),
        (&["bug-plain", "bug-salted"], 1, told(30, 0, 30)),
        (&["bug-plain", "bug-salted", "bug-other"], 1, told(60, 0, 60)),
        (&["salted", "bug-other"], 0, String::new()),
    ] {
        let (ended, out) = merge(names);
        assert_eq!(ended, code, "{out}");
        assert!(out.contains(&text) && out.contains("run again") != text.is_empty(), "{names:?}: {out}");
        let seeds: usize = if text.is_empty() { 60 } else { 30 };
        assert_eq!(out.lines().nth(1).unwrap().split_whitespace().next(), Some(&*seeds.to_string()), "{out}");
    }
    let (_, out) = merge(&["bug-salted", "bug-other"]);
    let named = out.lines().filter(|line| line.starts_with("  DIFFERENT: profile default, seed ")).count();
    assert!(named == 20 && out.contains("  10 more differ\n"), "{out}");
    assert!(out.contains("cargo sim generate --profile default --seed 5 --mutant toy-salt > it.toml;"), "{out}");
}

/// The files of a directory with their texts, without the time that a run took.
fn texts(dir: &std::path::Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let timeless = |line: &str| match line.find("\"cpu_ns\":") {
        Some(at) => line[..at].to_owned() + line[at..].split_once(',').unwrap().1,
        None => line.to_owned(),
    };
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().map(timeless).collect::<Vec<_>>().join("\n");
    entries.map(|path| (path.file_name().unwrap().display().to_string(), text(&path))).collect()
}

fn a_guided_campaign_is_the_same_with_any_number_of_jobs_and_goes_on_from_its_corpus() {
    let files = Files::new(&[]);
    for shard in ["0/1", "0/2"] {
        for jobs in [1, 2, 5] {
            let line = format!("fuzz --seeds 160 --guided --shard {shard} --jobs {jobs} --out @/{jobs}");
            let (code, out) = files.sim(&line);
            assert_eq!(code, 0, "{out}");
        }
        let (one, corpus) = (texts(&files.path("1")), texts(&files.path("1/corpus")));
        assert!(one["results.ndjson"].lines().count() == if shard == "0/1" { 161 } else { 81 });
        assert!(corpus["entries.ndjson"].contains("-child"), "no child saw anything new");
        for jobs in ["2", "5"] {
            assert!(texts(&files.path(jobs)) == one, "{shard}: other runs with {jobs} at once");
            assert!(texts(&files.path(&format!("{jobs}/corpus"))) == corpus, "{shard}: {jobs} at once");
        }
    }
    let more = "fuzz --seeds 20 --first 1000 --guided --corpus @/1/corpus --corpus @/2/corpus --out @/more";
    assert_eq!(files.sim(more).0, 0);
    let entries = |dir: &str| texts(&files.path(dir))["entries.ndjson"].lines().count();
    assert!(entries("1/corpus") <= entries("more/corpus"));
    assert_eq!(files.sim("fuzz --seeds 1 --corpus @/1/corpus").0, 2);
    assert_eq!(files.sim("fuzz --seeds 1 --guided --corpus @/none").0, 2);
}

fn the_first_failure_of_each_kind_is_shrunk_and_shown() {
    let files = Files::new(&[]);
    let (code, out) = files.sim("fuzz --seeds 8 --mutant toy-violation --shrink-seconds 2 --out @/f --jobs 2");
    assert_eq!(code, 1, "{out}");
    let first = "@/f/failures/toy-default-1";
    assert!(out.contains(&format!("\ntoy, 4 runs\n  first: cargo sim run {first}.toml\n  shrunk: ")), "{out}");
    assert!(
        out.contains(&format!("    cargo sim replay {first}.shrunk.repro.toml\n    {first}.shrunk.html\n")),
        "{out}"
    );
    for seed in [3, 5, 7] {
        let other = format!("@/f/failures/toy-default-{seed}");
        let shrink = format!("  another: cargo sim shrink {other}.repro.toml --out {other}.shrunk.repro.toml\n");
        assert!(out.contains(&shrink), "{out}");
        assert!(!files.path(&format!("f/failures/toy-default-{seed}.shrunk.repro.toml")).exists());
    }
    let shrunk = fs::read_to_string(files.path("f/failures/toy-default-1.shrunk.repro.toml")).unwrap();
    let shrunk = Repro::parse(&shrunk).unwrap();
    assert!(shrunk.shrunk.is_some_and(|sizes| sizes.to.events() <= sizes.from.events()) && !shrunk.story.is_empty());
    assert!(fs::read_to_string(files.path("f/failures/toy-default-1.shrunk.html")).unwrap().contains("</html>"));
    assert_eq!(files.sim(&format!("replay {first}.shrunk.repro.toml")).0, 0);
    assert_eq!(files.sim(&format!("replay {first}.repro.toml")).0, 0);
    assert_eq!(files.sim(&format!("run {first}.toml")).0, 1);

    let (code, out) = files.sim("fuzz --seeds 2 --mutant toy-violation --shrink-seconds 1");
    assert_eq!(code, 1, "{out}");
    let path = out.lines().find_map(|line| line.trim().strip_prefix("cargo sim replay ")).expect("it is named");
    assert_eq!(files.sim(&format!("replay {path}")).0, 0, "without a directory it is kept as well");
    let own = std::path::Path::new(path).ancestors().nth(2).unwrap();
    assert!(own.file_name().unwrap().display().to_string().starts_with("evenkeel-fuzz-"));
    fs::remove_dir_all(own).unwrap();
}

fn what_a_guided_campaign_finds_is_named_by_a_file_that_plays_it() {
    let files = Files::new(&[]);
    let (code, out) = files.sim("fuzz --seeds 160 --guided --mutant toy-violation --shrink-seconds 0 --out @/g");
    assert_eq!(code, 1, "{out}");
    let text = fs::read_to_string(files.path("g/results.ndjson")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (closing, lines) = lines.split_last().unwrap();
    assert_eq!(*closing, serde_json::json!({"ended": "whole", "runs": 160}));
    assert!(lines.iter().all(|line| line["profile"] == "default" && line["guided"] == true));
    let kept: Vec<&str> = lines.iter().filter_map(|line| line["scenario"].as_str()).collect();
    let child = |path: &&&str| fs::read_to_string(files.path(&format!("g/{path}"))).unwrap().contains("-child");
    assert_eq!(kept.len(), 20, "{out}");
    assert!(kept.iter().filter(child).count() > 0, "no child was kept");
    for path in kept.iter().filter(child).take(2).chain([&kept[0]]) {
        assert_eq!(files.sim(&format!("run @/g/{path}")).0, 1, "{path} fails");
    }
    let again = format!("cargo sim run @/g/{}", kept[0]);
    assert!(out.contains(&again), "{out}");
    let (_, out) = files.sim("merge @/g/results.ndjson --out @/merged.ndjson");
    assert!(out.contains(&again) && !out.contains("default-guided --"), "{out}");
    assert_eq!(files.sim("campaign @/merged.ndjson --report @/page.html").0, 0);
    let page = fs::read_to_string(files.path("page.html")).unwrap();
    assert!(page.contains(&again.replace('@', &files.0.path().display().to_string())), "the page names it");
    assert!(page.contains(&format!("[\"g/{}\",\"scenario\"]", kept[0])), "and leads to it");
}

/// The first argument of a process that is the program.
const PROGRAM: &str = "program";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|arg| arg == PROGRAM) {
        let args: Vec<String> = std::env::args().skip(2).collect();
        return ExitCode::from(cli::execute(&args, &TOY, &mut std::io::stdout().lock()));
    }
    if std::env::args().nth(1).is_some_and(|arg| arg == cli::worker::COMMAND) {
        return cli::main(&TOY);
    }
    let claims: &[(&str, fn())] = &[
        ("bench_sets_every_figure_beside_its_target", bench_sets_every_figure_beside_its_target),
        ("a_green_suite_ends_with_a_table_and_exit_code_0", a_green_suite_ends_with_a_table_and_exit_code_0),
        (
            "a_violation_is_told_with_its_time_events_and_replay_command",
            a_violation_is_told_with_its_time_events_and_replay_command,
        ),
        ("a_panic_and_an_abort_fail_their_run_only", a_panic_and_an_abort_fail_their_run_only),
        ("json_is_one_object_per_run_and_a_summary", json_is_one_object_per_run_and_a_summary),
        ("a_cell_can_be_chosen_and_then_cells_are_not_compared", a_cell_can_be_chosen_and_then_cells_are_not_compared),
        ("a_repro_file_is_run_and_exported_like_a_scenario", a_repro_file_is_run_and_exported_like_a_scenario),
        ("what_fuzz_keeps_says_where_another_run_parts", what_fuzz_keeps_says_where_another_run_parts),
        (
            "a_shrunk_failure_keeps_the_seeds_draws_only_where_it_hangs_on_them",
            a_shrunk_failure_keeps_the_seeds_draws_only_where_it_hangs_on_them,
        ),
        ("one_seed_says_nothing_about_shares", one_seed_says_nothing_about_shares),
        ("a_trace_holds_every_event_of_the_only_run", a_trace_holds_every_event_of_the_only_run),
        (
            "wrong_files_and_wrong_words_are_refused_with_exit_code_2",
            wrong_files_and_wrong_words_are_refused_with_exit_code_2,
        ),
        ("equal_runs_in_two_processes_are_the_same", equal_runs_in_two_processes_are_the_same),
        ("what_depends_on_addresses_is_found_and_located", what_depends_on_addresses_is_found_and_located),
        ("what_depends_on_the_salt_of_maps_is_found", what_depends_on_the_salt_of_maps_is_found),
        ("the_schema_is_printed", the_schema_is_printed),
        (
            "shards_in_processes_are_disjoint_complete_and_merge_to_one_campaign",
            shards_in_processes_are_disjoint_complete_and_merge_to_one_campaign,
        ),
        (
            "a_campaign_that_was_run_twice_must_have_been_the_same",
            a_campaign_that_was_run_twice_must_have_been_the_same,
        ),
        ("the_first_failure_of_each_kind_is_shrunk_and_shown", the_first_failure_of_each_kind_is_shrunk_and_shown),
        (
            "what_a_guided_campaign_finds_is_named_by_a_file_that_plays_it",
            what_a_guided_campaign_finds_is_named_by_a_file_that_plays_it,
        ),
        (
            "a_guided_campaign_is_the_same_with_any_number_of_jobs_and_goes_on_from_its_corpus",
            a_guided_campaign_is_the_same_with_any_number_of_jobs_and_goes_on_from_its_corpus,
        ),
    ];
    for (name, claim) in claims {
        claim();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}
