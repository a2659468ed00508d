//! Looks at the states of scopes.
//!
//! ```text
//! cargo run --release -p evenkeel-raft-model -- --check                  all scopes, all planted bugs (minutes)
//! cargo run --release -p evenkeel-raft-model -- --config votes           one scope, completely
//! cargo run --release -p evenkeel-raft-model -- --config reads --allow campaign=2 --allow crash=1 --seconds 3600
//! cargo run --release -p evenkeel-raft-model -- --config commit-old-term  a planted bug, with the shortest way to it
//! ```
//!
//! Exit code 1: a claim does not hold (its shortest trace is printed), or with `--check` a planted bug is not found.
//! 2: the command line.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, reason = "a command")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use evenkeel_raft_model::explore::{EVERYTHING, Limits, Report, explore};
use evenkeel_raft_model::scope::{Luck, Scope};
use evenkeel_raft_model::scopes::{self, PREY, Prey};

/// Scopes looked at side by side by `--check`.
const THREADS: usize = 2;

fn main() -> ExitCode {
    // A failed assertion is a claim that does not hold, and is shown with its trace.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--check"] {
        return check();
    }
    let Some((scopes, limits)) = parse(&arguments).filter(|(scopes, _)| !scopes.is_empty()) else { return usage() };
    let reports = scopes.iter().map(|scope| {
        let report = explore(scope, limits);
        println!("{}", line(scope.name, &report));
        if let Some(violation) = &report.violation {
            println!("{}\n=> {}", violation.trace.join("\n"), violation.claim);
        }
        report
    });
    let holds = reports.fold(true, |holds, report| holds & report.violation.is_none());
    ExitCode::from(u8::from(!holds))
}

fn parse(arguments: &[String]) -> Option<(Vec<Scope>, Limits)> {
    let (mut limits, mut scopes, mut allowed) = (EVERYTHING, Vec::new(), Vec::new());
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { return None };
        match option.as_str() {
            "--config" => {
                scopes.extend(scopes::all().into_iter().filter(|scope| value == "all" || scope.name == value));
                scopes.extend(PREY.iter().filter(|prey| prey.name == value).map(Prey::scope));
            }
            "--allow" => allowed.push(allowance(value)?),
            "--depth" => limits.depth = value.parse().ok()?,
            "--states" => limits.states = value.parse().ok()?,
            "--seconds" => limits.time = Duration::from_secs(value.parse().ok()?),
            _ => return None,
        }
    }
    for scope in &mut scopes {
        scope.budget = allowed.iter().fold(scope.budget, |budget, &(luck, count)| budget.with(luck, count));
    }
    Some((scopes, limits))
}

/// `campaign=3`.
fn allowance(text: &str) -> Option<(Luck, u8)> {
    let (name, count) = text.split_once('=')?;
    let (_, luck) = Luck::NAMES.iter().find(|(other, _)| *other == name)?;
    Some((*luck, count.parse().ok()?))
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: evenkeel-raft-model --check\n       evenkeel-raft-model --config NAME|all [--allow KIND=N]… [--depth N] \
         [--seconds N] [--states N]"
    );
    for scope in scopes::all() {
        eprintln!("  {:<16} {}", scope.name, scope.about);
    }
    let names = |names: Vec<&str>| names.join(" ");
    eprintln!("kinds: {}", names(Luck::NAMES.iter().map(|(name, _)| *name).collect()));
    eprintln!("planted bugs: {}", names(PREY.iter().map(|prey| prey.name).collect()));
    ExitCode::from(2)
}

/// Every scope holds, completely; every planted bug is found.
fn check() -> ExitCode {
    let scopes = scopes::all().into_iter().map(Job::Holds);
    let jobs = Mutex::new(scopes.chain(PREY.iter().map(Job::Finds)).collect::<Vec<_>>().into_iter());
    let failures = Mutex::new(0_u32);
    let next = || jobs.lock().expect("no thread panics").next();
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                while let Some(job) = next() {
                    *failures.lock().expect("no thread panics") += u32::from(!job.run());
                }
            });
        }
    });
    ExitCode::from(u8::from(failures.into_inner().expect("all threads are done") > 0))
}

enum Job {
    Holds(Scope),
    Finds(&'static Prey),
}

impl Job {
    /// Whether it came out as it must.
    fn run(&self) -> bool {
        match self {
            Job::Holds(scope) => {
                let report = explore(scope, EVERYTHING);
                let violation = report.violation.as_ref();
                let text = violation.map(|violation| format!("{}\n=> {}", violation.trace.join("\n"), violation.claim));
                println!("{} {}", line(scope.name, &report), text.unwrap_or_default());
                report.is_complete
            }
            Job::Finds(prey) => {
                let report = explore(&prey.scope(), EVERYTHING);
                let found = report.violation.as_ref().map_or("NOT FOUND", |violation| &violation.claim);
                println!("{} => {found}", line(prey.name, &report));
                report.violation.is_some()
            }
        }
    }
}

fn line(name: &str, report: &Report) -> String {
    let Report { states, transitions, depth, recoveries, time, is_complete, ref violation } = *report;
    let extent = match violation {
        Some(_) => "",
        None if is_complete => ", complete",
        None => ", not complete",
    };
    format!(
        "{name:<24} {states:>8} states {transitions:>9} steps, depth {depth:>2}, {recoveries} recoveries, {:.1} s{extent}",
        time.as_secs_f64()
    )
}
