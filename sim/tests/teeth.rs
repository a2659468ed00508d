//! Every scenario bites: with its mechanism switched off, or a bug planted, some seed of it fails.
//!
//! And it does not bite without reason: the same seeds pass as the file stands (the suite itself shows that).
#![allow(clippy::disallowed_methods, reason = "scenarios are files")]
#![cfg(madsim)]

use std::process::{Command, Output};

/// A scenario, what is changed in it, and the first seed that notices.
struct Tooth {
    scenario: &'static str,
    /// A bug planted in the cluster, or texts of the file replaced by others.
    change: Change,
    /// Another version of the code may need another one, and what compares many runs needs many: they are looked for
    /// then, and told.
    first: u64,
}

/// So many seeds are looked at for one that notices.
const SEEDS_MAX: u64 = 150;
/// So many at a time.
const SEEDS_STEP: u64 = 10;

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
        first: 0,
    },
    Tooth {
        scenario: "asymmetric-cuts",
        change: Replace(&[("[cluster]\n", "[cluster]\ncheck_quorum = false\n")]),
        first: 0,
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
        first: 0,
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
        first: 0,
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
        first: 0,
    },
    Tooth { scenario: "power-loss-at-points", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "leader-loses-unsynced-tail", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "power-loss-of-all", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "slow-disk-on-leader", change: Plant("sync-in-driver"), first: 0 },
    Tooth { scenario: "lagging-member-snapshot", change: Plant("no-snapshots"), first: 0 },
    Tooth { scenario: "snapshot-over-flapping-link", change: Plant("snapshot-restart"), first: 0 },
    Tooth { scenario: "snapshot-outlives-its-leader", change: Plant("snapshot-no-takeover"), first: 0 },
    Tooth { scenario: "snapshot-under-compaction", change: Plant("snapshot-no-hold"), first: 0 },
    Tooth { scenario: "snapshot-under-compaction", change: Plant("snapshot-no-retention"), first: 0 },
    Tooth { scenario: "half-dead-segments", change: Plant("no-collection"), first: 0 },
    Tooth { scenario: "half-dead-segments", change: Plant("collect-without-checkpoint"), first: 12 },
    Tooth { scenario: "reads-write-nothing", change: Plant("read-through-log"), first: 0 },
    Tooth { scenario: "watch-survives-leader-change", change: Plant("watch-from-now"), first: 0 },
    Tooth { scenario: "quiet-watches-are-told", change: Plant("no-periodic-progress"), first: 0 },
    Tooth { scenario: "lease-over-leader-change", change: Plant("lease-no-grace"), first: 0 },
    Tooth { scenario: "clock-drift-and-jumps", change: Plant("lease-by-wall-clock"), first: 0 },
    Tooth {
        scenario: "lease-time-survives-leaders",
        change: Replace(&[("lease_checkpoint = \"1s\"", "lease_checkpoint = \"0s\"")]),
        first: 0,
    },
    Tooth { scenario: "lease-storm", change: Plant("lease-no-grace"), first: 0 },
    Tooth { scenario: "old-leader-wakes", change: Plant("old-leader-revokes"), first: 0 },
    Tooth { scenario: "revocation-waits-for-transfer", change: Plant("parked-forgets-term"), first: 0 },
    Tooth { scenario: "keep-alive-against-expiry", change: Plant("renew-after-revoke"), first: 0 },
    Tooth { scenario: "watchers-behind-a-snapshot", change: Plant("watch-time-travel"), first: 0 },
    Tooth { scenario: "watchers-behind-a-snapshot", change: Plant("future-watch"), first: 0 },
    Tooth { scenario: "stale-leader-reads", change: Plant("read-without-confirm"), first: 0 },
    Tooth { scenario: "clean-restart-hands-over", change: Plant("no-handover"), first: 0 },
    Tooth { scenario: "rolling-restart", change: Plant("no-handover"), first: 0 },
    Tooth { scenario: "killed-leader-loses-no-request", change: Plant("retry-in-doubt"), first: 0 },
    Tooth { scenario: "everything-at-once", change: Plant("readindex-no-term-commit"), first: 2 },
    Tooth { scenario: "everything-at-once", change: Plant("trunc-on-stale-append"), first: 0 },
    Tooth { scenario: "everything-at-once", change: Plant("async-append-aba"), first: 53 },
    Tooth { scenario: "everything-at-once", change: Plant("prevote-term-echo"), first: 0 },
    Tooth { scenario: "leaders-come-and-go", change: Plant("commit-old-term"), first: 0 },
    Tooth { scenario: "everything-at-once", change: Plant("commit-old-term"), first: 4 },
    Tooth { scenario: "old-rounds-confirm-nothing", change: Plant("readindex-reuse"), first: 0 },
    Tooth { scenario: "changes-at-elections", change: Plant("confchange-unapplied"), first: 0 },
    Tooth { scenario: "learner-does-not-vote", change: Plant("learner-counts"), first: 0 },
    Tooth { scenario: "promoted-too-early", change: Plant("promote-unready"), first: 0 },
    Tooth { scenario: "joint-change-interrupted", change: Plant("leave-not-reproposed"), first: 0 },
    Tooth { scenario: "replaced-under-load", change: Plant("no-snapshots"), first: 0 },
    Tooth { scenario: "downgrade-cancelled", change: Plant("downgrade-unchecked"), first: 0 },
    Tooth { scenario: "everything-at-once", change: Plant("vote-not-durable"), first: 0 },
    Tooth { scenario: "everything-at-once", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "everything-at-once", change: Plant("read-without-confirm"), first: 0 },
    Tooth { scenario: "lease-storm", change: Plant("leases-all-at-once"), first: 0 },
    Tooth { scenario: "killed-leader-is-suspected", change: Plant("no-suspicion"), first: 0 },
    Tooth {
        scenario: "resets-and-slow-networks",
        change: Replace(&[("[cluster]\n", "[cluster]\npre_vote = false\n")]),
        first: 2,
    },
    Tooth {
        scenario: "resets-and-slow-networks",
        change: Replace(&[("[cluster]\n", "[cluster]\ncheck_quorum = false\n")]),
        first: 3,
    },
    Tooth { scenario: "steady-load", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "failing-disk", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "power-loss-in-migration", change: Plant("gate-by-release"), first: 0 },
    Tooth { scenario: "rolling-upgrade-downgrade-crash", change: Plant("snapshot-at-own-level"), first: 0 },
    Tooth { scenario: "everything-and-membership", change: Plant("vote-not-durable"), first: 0 },
    Tooth { scenario: "everything-else", change: Plant("ack-before-fsync"), first: 0 },
    Tooth { scenario: "transfer-during-partition", change: Plant("transfer-for-ever"), first: 0 },
    Tooth { scenario: "wiped-disk-under-old-id", change: Plant("wiped-disk-accepted"), first: 0 },
    Tooth { scenario: "changes-during-joint", change: Plant("joint-one-half"), first: 0 },
    Tooth { scenario: "snapshot-crosses-versions", change: Plant("snapshot-at-own-level"), first: 0 },
    Tooth { scenario: "snapshot-crosses-versions", change: Plant("gate-by-release"), first: 0 },
    Tooth { scenario: "snapshot-crosses-versions", change: Plant("version-without-all"), first: 1 },
    Tooth { scenario: "downgrade-refused", change: Plant("downgrade-unchecked"), first: 0 },
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
        let steps = (0..SEEDS_MAX).step_by(SEEDS_STEP as usize).map(|from| from..from + SEEDS_STEP);
        let found = std::iter::once(tooth.first..tooth.first + 1).chain(steps).find(|seeds| {
            let output = sim(&["run", file, "--seeds", &format!("{}..{}", seeds.start, seeds.end)]);
            let code = output.status.code();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(code == Some(0) || code == Some(1), "{}: exit {code:?}\n{text}", tooth.scenario);
            code == Some(1) && text.contains("FAILED")
        });
        let Some(seeds) = found else { panic!("{} did not notice in {SEEDS_MAX} seeds", tooth.scenario) };
        println!("{number} {} noticed in seeds {seeds:?}, expected in {}", tooth.scenario, tooth.first);
    }
}
