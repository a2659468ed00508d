//! The campaign for many machines, played with processes: the job's own command and environment, with a few seeds.
#![cfg(madsim)]
#![allow(clippy::disallowed_methods, reason = "starts processes and reads files")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Shards and seeds here, in the place of the job's.
const SHARDS: u64 = 3;
const SEEDS: u64 = 7;

#[test]
fn the_job_runs_every_seed_once_and_merges() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/campaign/job.yaml");
    let text = std::fs::read_to_string(path).expect("the job");
    let documents: Vec<Value> =
        text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect("YAML")).collect();
    let [job, claim] = &documents[..] else { panic!("a job and a claim") };
    let spec = &job["spec"];
    let (pod, container) = (&spec["template"]["spec"], &spec["template"]["spec"]["containers"][0]);
    let told = |name: &str| {
        let list = container["env"].as_array().expect("a list").iter();
        let mut text = list.filter(|entry| entry["name"] == name).map(|entry| entry["value"].as_str().expect("text"));
        text.next().unwrap_or_else(|| panic!("{name} is not set")).to_owned()
    };
    assert_eq!((job["kind"].as_str(), spec["completionMode"].as_str()), (Some("Job"), Some("Indexed")));
    assert_eq!(spec["completions"].as_u64(), told("SHARDS").parse().ok(), "an index is a shard");
    let volume = &pod["volumes"][0];
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
    assert_eq!(volume["name"], container["volumeMounts"][0]["name"]);

    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().join("results");
    std::fs::create_dir(&results).expect("a folder of our own");
    let program = Path::new(env!("CARGO_BIN_EXE_sim")).parent().expect("a program is in a directory");
    let search = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mount = container["volumeMounts"][0]["mountPath"].as_str().expect("text");
    let script = container["args"][0].as_str().expect("text").replace(mount, &results.display().to_string());
    let shell: Vec<&str> = container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    for index in 0..SHARDS {
        let mut pod = Command::new(shell[0]);
        pod.args(&shell[1..]).arg(&script).env("PATH", &search).env("PROFILE", told("PROFILE"));
        pod.env("FIRST", "100").env("SEEDS", SEEDS.to_string()).env("SHARDS", SHARDS.to_string());
        let ended = pod.env("JOB_COMPLETION_INDEX", index.to_string()).output().expect("a shell");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let shards = (0..SHARDS).map(|index| results.join(index.to_string()).join("results.ndjson"));
    let merged = folder.path().join("merged.ndjson");
    let mut merge = Command::new(program.join("sim"));
    let merge = merge.arg("merge").args(shards).arg("--out").arg(&merged).output().expect("the simulator runs");
    assert!(merge.stderr.is_empty(), "{}", String::from_utf8_lossy(&merge.stderr));
    let lines = std::fs::read_to_string(merged).expect("what was merged");
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let closing = lines.pop().expect("a closing line");
    assert_eq!((&closing["ended"], &closing["runs"]), (&"merged".into(), &SEEDS.into()));
    let shards = closing["shards"].as_array().expect("the shards that are in it").iter();
    let shards: Vec<u64> = shards.map(|shard| shard["index"].as_u64().expect("a number")).collect();
    assert_eq!(shards, (0..SHARDS).collect::<Vec<_>>());
    let mut seeds: Vec<u64> = lines.iter().map(|line| line["seed"].as_u64().expect("a seed")).collect();
    seeds.sort_unstable();
    assert_eq!(seeds, (100..100 + SEEDS).collect::<Vec<_>>());
}
