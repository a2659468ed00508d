//! The JSON Schema for editors: it is up to date, lets every committed scenario pass, and refuses slips.

#![allow(clippy::disallowed_methods, reason = "reads files of the repository")]

use evenkeel_scenario::{Decisions, Scenario, schema};
use expect_test::expect_file;
use jsonschema::Validator;
use std::fs;
use std::path::{Path, PathBuf};

fn validator() -> Validator {
    let schema = schema::schema();
    jsonschema::draft7::meta::validate(&schema).expect("the schema is one of draft 7");
    jsonschema::draft7::new(&schema).expect("the schema can be used")
}

/// What is wrong with a scenario, as an editor would say it.
fn mistakes(validator: &Validator, text: &str) -> Vec<String> {
    let file: serde_json::Value = toml::from_str(text).expect("it is TOML");
    validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The files in a directory of the repository.
fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect()
}

#[test]
fn the_schema_is_up_to_date() {
    expect_file!["../../../scenarios/schema.json"].assert_eq(&schema::text());
}

#[test]
fn every_committed_scenario_passes() {
    let validator = validator();
    let mut count = 0;
    for directory in ["scenarios", "scenarios/regressions", "sim/bench", "sim/scenario/tests/data"] {
        for path in files(directory) {
            let mut text = fs::read_to_string(&path).unwrap();
            // A repro file carries its scenario as a text.
            if directory == "scenarios/regressions" {
                let repro: toml::Table = text.parse().unwrap();
                text = repro["run"]["scenario"].as_str().unwrap().to_owned();
            }
            assert_eq!(mistakes(&validator, &text), [""; 0], "{}", path.display());
            count += 1;
        }
    }
    assert!(60 < count, "only {count} files were looked at");
}

/// That schema is made by the simulator, of the types that read these files; `cargo sim schema --repro` prints it.
#[test]
fn every_kept_repro_passes_its_own_schema_and_slips_do_not() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/regressions");
    let schema = fs::read_to_string(directory.join("schema.json")).unwrap();
    let schema = serde_json::from_str(&schema).expect("it is JSON");
    jsonschema::draft7::meta::validate(&schema).expect("the schema is one of draft 7");
    let validator = jsonschema::draft7::new(&schema).expect("the schema can be used");
    let kept = files("scenarios/regressions");
    assert!(20 < kept.len(), "only {} files were looked at", kept.len());
    for path in &kept {
        assert_eq!(mistakes(&validator, &fs::read_to_string(path).unwrap()), [""; 0], "{}", path.display());
    }
    let whole = "repro = 1\nsignature = \"raft\"\n[failure]\nfound_in = \"a\"\nat_ns = 1\nmessage = \"m\"\n[run]\nseed = 3\nscenario = \"\"\n";
    assert_eq!(mistakes(&validator, whole), [""; 0]);
    for (from, to, place) in [
        ("repro = 1", "repro = 2", "/repro"),
        ("signature", "signatur", ""),
        ("seed = 3", "seed = -3", "/run/seed"),
        ("[run]", "[run]\nsede = 3", "/run"),
        ("[run]", "[run]\noverrides = { \"net/n1>n2\" = \"0x1\" }", "/run/overrides"),
        ("[run]", "[run]\noverrides = { \"net/n1>n2#1\" = \"1\" }", "/run/overrides/net~1n1>n2#1"),
        ("[failure]", "today = \"fials\"\n[failure]", "/today"),
        ("[run]", "[chain]\nhash = \"xyz\"\nevents = 1\n[run]", "/chain/hash"),
        ("at_ns = 1\n", "", "/failure"),
    ] {
        let found = mistakes(&validator, &whole.replace(from, to));
        assert!(found.iter().any(|mistake| mistake.starts_with(&format!("{place}:"))), "{to}{found:#?}");
    }
}

#[test]
fn every_resolved_run_passes() {
    let validator = validator();
    for path in files("sim/scenario/tests/data") {
        let scenario = Scenario::parse(&fs::read_to_string(&path).unwrap(), "x.toml").unwrap();
        for cell in scenario.cells() {
            let text = scenario.resolve(&cell, &mut Decisions::new(1)).to_toml();
            assert_eq!(mistakes(&validator, &text), [""; 0], "{text}");
        }
    }
}

#[test]
fn slips_are_refused_where_they_stand() {
    let validator = validator();
    let step = |rest: &str| format!("[[step]]\n{rest}\n");
    let expect = |rest: &str| format!("[[expect]]\nid = \"e\"\n{rest}\n");
    for (text, place) in [
        ("[clutser]\n".to_owned(), ""),
        ("scn = 2\n".to_owned(), "/scn"),
        ("opt_out = [\"linearisable\"]\n".to_owned(), "/opt_out"),
        ("[cluster]\nnodse = 3\n".to_owned(), "/cluster"),
        ("[cluster]\nnodes = \"three\"\n".to_owned(), "/cluster/nodes"),
        ("[cluster]\ntick = 100\n".to_owned(), "/cluster/tick"),
        ("[cluster]\ntick = \"100\"\n".to_owned(), "/cluster/tick"),
        ("[cluster]\nrelease = \"3.4\"\n".to_owned(), "/cluster/release"),
        ("[cluster]\nsegment_bytes = \"1GB\"\n".to_owned(), "/cluster/segment_bytes"),
        ("[cluster.net]\nloss = 1.5\n".to_owned(), "/cluster/net/loss"),
        ("[cluster]\nmutants = [{ on = \"n2\" }]\n".to_owned(), "/cluster/mutants/0"),
        ("[seeds]\nfirst = 3\n".to_owned(), "/seeds"),
        ("[[client]]\nrate = 3\n".to_owned(), "/client/0"),
        ("[[client]]\nid = \"w\"\nmix = { putt = 1 }\n".to_owned(), "/client/0/mix"),
        (step("at = \"1s\"\ndo = \"cutt\""), "/step/0/do"),
        (step("at = \"1s\"\ndo = \"cut\""), "/step/0"),
        (step("at = \"1s\"\ndo = \"cut\"\nlink = \"n1 n2\""), "/step/0/link"),
        (step("at = \"1s\"\ndo = \"cut\"\nlink = \"n1 -> n2\"\nmatch = \"raft.vot\""), "/step/0/match"),
        (step("at = \"1s\"\ndo = \"restart\"\nnode = \"all\"\nfor = \"1s\""), "/step/0"),
        (step("at = \"1s\"\ndo = \"transfer\"\nto = \"random(leader)\""), "/step/0/to"),
        (step("at = \"1s\"\ndo = \"bind\"\nL = 1"), "/step/0/L"),
        (step("do = \"quiesce\""), "/step/0"),
        (step("at = \"1s\"\nafter = \"cut\"\ndo = \"quiesce\""), "/step/0"),
        (step("at = \"1s\"\ndelay = \"1s\"\ndo = \"quiesce\""), "/step/0"),
        (step("at = \"1s\"\ndo = \"compact\"\nrepeat = { every = \"1s\" }"), "/step/0/repeat"),
        (expect("allways = \"leader()\""), "/expect/0"),
        (expect("always = \"leader()\"\nnever = \"panic\""), "/expect/0"),
        (expect("within = \"1s\"\nthat = \"converged\""), "/expect/0"),
        (expect("ratio = \"leader()\""), "/expect/0"),
        (expect("ratio = \"leader()\"\nat_least = 2"), "/expect/0/at_least"),
    ] {
        let head = if text.contains("scn") { "" } else { "scn = 1\n" };
        let file = format!("{head}name = \"x\"\n{text}");
        let found = mistakes(&validator, &file);
        assert!(found.iter().any(|mistake| mistake.starts_with(&format!("{place}:"))), "{text}{found:#?}");
        assert!(Scenario::parse(&file, "x.toml").is_err(), "the language itself lets this pass:\n{text}");
    }
}
