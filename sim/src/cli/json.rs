//! Results for programs: one JSON object per line.
//!
//! Every run, as it ends:
//!
//! ```json
//! {"type":"run","file":"scenarios/a.toml","cell":"pre_vote=true","seed":7,"verdict":{"kind":"pass"},
//!  "simulated_ns":60000000000,"cpu_ns":80000000,"memory_bytes":30000000,"hash":"32 hexadecimal digits",
//!  "events":41235,"outcomes":[["no_panic","held"]],"metrics":{"count(elected)":{"number":2.0}},
//!  "counters":{"net.raft.append":812}}
//! ```
//!
//! `verdict.kind` is `pass`, `violation` (`what`, `at_ns`, `message`, `events`), `panic` (`message`, `at_ns`,
//! `events`) or `error` (`message`). An outcome is `"held"`, `"vacuous"`, `{"violated":{"at_ns":…,"message":…}}`,
//! `{"undecided":…}`, `{"seen":[…]}` or `{"counts":…}`. A failure has the member `replay`: the command that shows it
//! again. The last line:
//!
//! ```json
//! {"type":"summary","holds":true,"scenarios":[{"file":"scenarios/a.toml","name":"a","cells":2,"seeds":100,
//!  "runs":200,"failed":0,"holds":true,"simulated_ns":1,"wall_ns":1,"cpu_ns":1,"events":1,
//!  "expects":[{"expect":"no_panic","cell":"pre_vote=true","holds":true,"detail":"100 runs"}]}]}
//! ```

use std::io::{self, Write};

use serde_json::{Value, json};

use super::plan::{Plan, cell_key};
use super::run::FileResult;
use super::text::replay_command;
use crate::report::RunReport;

/// Writes one run.
pub fn run(report: &RunReport, out: &mut dyn Write) -> io::Result<()> {
    let mut line = json!({
        "type": "run",
        "file": report.file,
        "cell": report.cell,
        "seed": report.seed,
        "verdict": report.verdict,
        "simulated_ns": report.simulated_ns,
        "cpu_ns": report.cpu_ns,
        "memory_bytes": report.memory_bytes,
        "hash": report.chain.hash,
        "events": report.chain.events,
        "outcomes": report.outcomes,
        "metrics": report.metrics,
        "counters": report.counters,
    });
    if !report.verdict.passed() {
        line["replay"] = Value::from(replay_command(report));
    }
    writeln!(out, "{line}")
}

/// Writes the summary.
pub fn summary(plan: &Plan, results: &[FileResult], out: &mut dyn Write) -> io::Result<()> {
    let scenarios: Vec<Value> = plan
        .files
        .iter()
        .zip(results)
        .map(|(file, result)| {
            let expects: Vec<Value> = result
                .told
                .iter()
                .map(|told| {
                    json!({
                        "expect": told.judgement.expect,
                        "cell": told.judgement.cell.as_ref().map(cell_key),
                        "holds": told.judgement.holds,
                        "detail": told.judgement.detail,
                    })
                })
                .collect();
            json!({
                "file": file.path,
                "name": file.scenario.name,
                "cells": file.chosen.len(),
                "seeds": file.seeds.end - file.seeds.start,
                "runs": result.total.runs,
                "failed": result.total.failed,
                "holds": result.holds(),
                "simulated_ns": result.total.simulated.as_nanos() as u64,
                "wall_ns": result.wall.as_nanos() as u64,
                "cpu_ns": result.total.cpu.as_nanos() as u64,
                "events": result.total.events,
                "expects": expects,
            })
        })
        .collect();
    let holds = results.iter().all(FileResult::holds);
    writeln!(out, "{}", json!({ "type": "summary", "holds": holds, "scenarios": scenarios }))
}
