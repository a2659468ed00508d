//! Every scenario bites: with its mechanism switched off, or a bug planted, some seed of it fails.
//!
//! And it does not bite without reason: the same seeds pass as the file stands (the suite itself shows that).
#![allow(clippy::disallowed_methods, reason = "scenarios are files")]
#![cfg(madsim)]

use std::process::{Command, Output};

/// A scenario, what is changed in its `[cluster]`, and how many seeds may be needed to notice.
struct Tooth {
    scenario: &'static str,
    /// A bug planted in the cluster, or texts of the file replaced by others.
    change: Change,
    seeds: u64,
}

enum Change {
    Plant(&'static str),
    Replace(&'static [(&'static str, &'static str)]),
}

use Change::{Plant, Replace};

const TEETH: &[Tooth] = &[
    Tooth {
        scenario: "isolated-member-returns",
        change: Replace(&[
            ("[cluster]\n", "[cluster]\npre_vote = false\n"),
            ("pre_vote = [true, false]", "said = [true]"),
            ("only = \"pre_vote\"", "only = \"said\""),
            ("only = \"!pre_vote\"", "only = \"!said\""),
        ]),
        seeds: 10,
    },
    Tooth {
        scenario: "asymmetric-cuts",
        change: Replace(&[("[cluster]\n", "[cluster]\ncheck_quorum = false\n")]),
        seeds: 10,
    },
    Tooth {
        scenario: "asym-cut-prevote",
        change: Replace(&[
            ("election_ticks = 10\n", "election_ticks = 10\npre_vote = false\n"),
            ("pre_vote     = [true, false]", "said         = [true, false]"),
            ("\"pre_vote && check_quorum", "\"said && check_quorum"),
            ("\"!pre_vote && check_quorum", "\"!said && check_quorum"),
            ("\"pre_vote && !check_quorum", "\"said && !check_quorum"),
            ("across = \"pre_vote\"", "across = \"said\""),
        ]),
        seeds: 10,
    },
    Tooth {
        scenario: "restart-tick-advance",
        change: Replace(&[
            ("check_quorum = true\n", "check_quorum = true\ntick_advance = false\n"),
            ("tick_advance = [true, false]", "said = [true, false]"),
            ("'slow-link' && tick_advance", "'slow-link' && said"),
            ("'slow-link' && !tick_advance", "'slow-link' && !said"),
            ("across = \"tick_advance\"", "across = \"said\""),
        ]),
        seeds: 10,
    },
    Tooth {
        scenario: "tick-advance-by-size",
        change: Replace(&[
            ("election_ticks = 10\n", "election_ticks = 10\ntick_advance = false\n"),
            ("tick_advance = [true, false]", "said = [true, false]"),
            ("\"tick_advance && nodes", "\"said && nodes"),
            ("2 && !tick_advance", "2 && !said"),
            ("across = \"tick_advance\"\nwhere = \"nodes != 2\"", "across = \"said\"\nwhere = \"nodes != 2\""),
            ("across = \"tick_advance\"\nwhere = \"nodes == 2\"", "across = \"said\"\nwhere = \"nodes == 2\""),
        ]),
        seeds: 10,
    },
    Tooth { scenario: "power-loss-at-points", change: Plant("ack-before-fsync"), seeds: 10 },
    Tooth { scenario: "leader-loses-unsynced-tail", change: Plant("ack-before-fsync"), seeds: 60 },
    Tooth { scenario: "power-loss-of-all", change: Plant("ack-before-fsync"), seeds: 60 },
    Tooth { scenario: "slow-disk-on-leader", change: Plant("sync-in-driver"), seeds: 10 },
    Tooth { scenario: "lagging-member-snapshot", change: Plant("no-snapshots"), seeds: 10 },
    Tooth { scenario: "snapshot-over-flapping-link", change: Plant("snapshot-restart"), seeds: 10 },
    Tooth { scenario: "snapshot-outlives-its-leader", change: Plant("snapshot-no-takeover"), seeds: 10 },
    Tooth { scenario: "snapshot-under-compaction", change: Plant("snapshot-no-hold"), seeds: 20 },
    Tooth { scenario: "snapshot-under-compaction", change: Plant("snapshot-no-retention"), seeds: 10 },
    Tooth { scenario: "half-dead-segments", change: Plant("no-collection"), seeds: 10 },
    Tooth { scenario: "half-dead-segments", change: Plant("collect-without-checkpoint"), seeds: 20 },
    Tooth { scenario: "reads-write-nothing", change: Plant("read-through-log"), seeds: 10 },
    Tooth { scenario: "watch-survives-leader-change", change: Plant("watch-from-now"), seeds: 60 },
    Tooth { scenario: "lease-over-leader-change", change: Plant("lease-no-grace"), seeds: 40 },
    Tooth { scenario: "clock-drift-and-jumps", change: Plant("lease-by-wall-clock"), seeds: 40 },
    Tooth {
        scenario: "lease-time-survives-leaders",
        change: Replace(&[("lease_checkpoint = \"1s\"", "lease_checkpoint = \"0s\"")]),
        seeds: 10,
    },
    Tooth { scenario: "lease-storm", change: Plant("lease-no-grace"), seeds: 5 },
    Tooth { scenario: "old-leader-wakes", change: Plant("old-leader-revokes"), seeds: 10 },
    Tooth { scenario: "keep-alive-against-expiry", change: Plant("renew-after-revoke"), seeds: 10 },
    Tooth { scenario: "watchers-behind-a-snapshot", change: Plant("watch-time-travel"), seeds: 10 },
    Tooth { scenario: "watchers-behind-a-snapshot", change: Plant("future-watch"), seeds: 10 },
    Tooth { scenario: "stale-leader-reads", change: Plant("read-without-confirm"), seeds: 60 },
    Tooth { scenario: "clean-restart-hands-over", change: Plant("no-handover"), seeds: 10 },
    Tooth { scenario: "rolling-restart", change: Plant("no-handover"), seeds: 10 },
    Tooth { scenario: "killed-leader-loses-no-request", change: Plant("retry-in-doubt"), seeds: 20 },
    Tooth { scenario: "everything-at-once", change: Plant("readindex-no-term-commit"), seeds: 20 },
    Tooth { scenario: "everything-at-once", change: Plant("trunc-on-stale-append"), seeds: 10 },
    Tooth { scenario: "everything-at-once", change: Plant("async-append-aba"), seeds: 150 },
    Tooth { scenario: "everything-at-once", change: Plant("prevote-term-echo"), seeds: 10 },
    Tooth { scenario: "leaders-come-and-go", change: Plant("commit-old-term"), seeds: 10 },
    Tooth { scenario: "everything-at-once", change: Plant("commit-old-term"), seeds: 20 },
    Tooth { scenario: "old-rounds-confirm-nothing", change: Plant("readindex-reuse"), seeds: 20 },
    Tooth { scenario: "changes-at-elections", change: Plant("confchange-unapplied"), seeds: 10 },
    Tooth { scenario: "learner-does-not-vote", change: Plant("learner-counts"), seeds: 10 },
    Tooth { scenario: "promoted-too-early", change: Plant("promote-unready"), seeds: 10 },
    Tooth { scenario: "joint-change-interrupted", change: Plant("leave-not-reproposed"), seeds: 10 },
    Tooth { scenario: "replaced-under-load", change: Plant("no-snapshots"), seeds: 10 },
    Tooth { scenario: "downgrade-cancelled", change: Plant("downgrade-unchecked"), seeds: 10 },
    Tooth { scenario: "everything-at-once", change: Plant("vote-not-durable"), seeds: 150 },
    Tooth { scenario: "everything-at-once", change: Plant("ack-before-fsync"), seeds: 150 },
    Tooth { scenario: "everything-at-once", change: Plant("read-without-confirm"), seeds: 150 },
];

fn scenarios() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the simulator runs")
}

#[test]
fn every_scenario_fails_when_its_mechanism_is_off() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (number, tooth) in TEETH.iter().enumerate() {
        let source = std::fs::read_to_string(scenarios().join(format!("{}.toml", tooth.scenario))).expect("a scenario");
        let plant = match tooth.change {
            Plant(name) => vec![("[cluster]\n", format!("[cluster]\nmutants = [\"{name}\"]\n"))],
            Replace(edits) => edits.iter().map(|(from, to)| (*from, (*to).to_owned())).collect(),
        };
        let mut changed = source;
        for (from, to) in plant {
            assert_eq!(changed.matches(from).count(), 1, "{}: {from:?} stands there once", tooth.scenario);
            changed = changed.replace(from, &to);
        }
        let file = folder.path().join(format!("{number}-{}.toml", tooth.scenario));
        std::fs::write(&file, changed).expect("a file");
        let file = file.to_str().expect("a plain path");
        // In steps, so that an early bite ends the search.
        let mut found = false;
        let mut from = 0;
        while !found && from < tooth.seeds {
            let until = (from + 10).min(tooth.seeds);
            let output = sim(&["run", file, "--seeds", &format!("{from}..{until}")]);
            let code = output.status.code();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(code == Some(0) || code == Some(1), "{}: exit {code:?}\n{text}", tooth.scenario);
            found = code == Some(1) && text.contains("FAILED");
            from = until;
        }
        assert!(found, "{} did not notice in {} seeds", tooth.scenario, tooth.seeds);
        println!("{} noticed within {from} seeds", tooth.scenario);
    }
}
