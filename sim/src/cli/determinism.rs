//! `sim check-determinism`: every run twice, in processes that share nothing, and the first difference located.
//!
//! The twins are made to differ in all that a run may not depend on: how many runs there are at once, the salt of the
//! standard library's maps, and the layout of the address space. What really differed is part of the answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::CliError;
use super::args::{Parallel, Selection};
use super::plan::Plan;
use super::progress::Progress;
use super::table::{Table, count};
use super::text::{failure, replay_command};
use super::worker::{Answer, COMMAND, Greeting, Orders};
use crate::chain::{CHECKPOINT_EVENTS, ChainSummary, Window};
use crate::fork::{Place, SALT, poll_readable, set_nonblocking, with_fixed_layout};
use crate::report::{RunReport, Verdict, World};

/// So many differences are located and told in full.
const DIFFERENCES_TOLD: usize = 3;

/// So many equal events are shown before the first difference, and so many events of either run after it.
const EVENTS_BEFORE: usize = 8;
const EVENTS_AFTER: usize = 5;

/// A difference may hide when it is looked for; it is looked for so often.
const LOOKS_MAX: usize = 5;

/// What to run twice.
#[derive(clap::Args, Debug)]
pub struct CheckArgs {
    /// Which runs.
    #[command(flatten)]
    pub selection: Selection,
    /// How many at once.
    #[command(flatten)]
    pub parallel: Parallel,
}

/// Runs a selection twice; true when every run was the same both times.
pub fn check(args: &CheckArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let plan = Plan::new(&args.selection, world)?;
    let orders = Orders {
        files: plan.files.iter().map(|file| file.path.clone()).collect(),
        jobs: plan.jobs().into_iter().map(|job| (job.file, job.cell, job.seed)).collect(),
        parallel: args.parallel.jobs().div_ceil(2),
        window: None,
    };
    let mut progress = Progress::new("simulating twice", orders.jobs.len() as u64);
    let mut files = vec![Sums::default(); plan.files.len()];
    let mut different = Vec::new();
    let twins = run_twice(&orders, |first, second| {
        let sums = &mut files[first.job.0];
        sums.runs += 1;
        sums.events += first.report.chain.events;
        let same = same(&first.report, &second.report);
        progress.step(!same);
        if !same {
            sums.different += 1;
            different.push((first, second));
        }
    })?;
    progress.clear();

    different.sort_by_key(|(first, _)| first.job);
    for (first, second) in different.iter().take(DIFFERENCES_TOLD) {
        tell(&orders, first, second, out)?;
    }
    if DIFFERENCES_TOLD < different.len() {
        writeln!(out, "{} more differences\n", different.len() - DIFFERENCES_TOLD)?;
    }
    let mut table = Table::new(&["scenario", ">cells", ">seeds", ">events", "verdict"]);
    for (file, sums) in plan.files.iter().zip(&files) {
        table.row([
            file.scenario.name.clone(),
            file.chosen.len().to_string(),
            (file.seeds.end - file.seeds.start).to_string(),
            count(sums.events),
            match sums.different {
                0 => "same".to_owned(),
                different => format!("DIFFERENT {different} of {}", sums.runs),
            },
        ]);
    }
    for line in surroundings(&twins) {
        writeln!(out, "{line}")?;
    }
    out.write_all(table.render().as_bytes())?;
    Ok(different.is_empty())
}

#[derive(Clone, Copy, Default)]
struct Sums {
    runs: u64,
    events: u64,
    different: u64,
}

/// A run that crashed tells nothing about determinism, so it does not count as the same.
fn same(a: &RunReport, b: &RunReport) -> bool {
    let crashed = matches!(a.verdict, Verdict::Error { .. });
    !crashed && a.chain == b.chain && a.verdict == b.verdict && a.simulated_ns == b.simulated_ns
}

/// What the twins differed in, and what they had in common against our will.
fn surroundings(twins: &[Greeting; 2]) -> Vec<String> {
    let mut lines: Vec<String> = twins
        .iter()
        .zip(1..)
        .map(|(Greeting { place, parallel }, number)| {
            let Place { code, stack, heap, salt } = place;
            format!(
                "process {number}: {parallel} at once; code at {code:#x}, stack at {stack:#x}, heap at {heap:#x}; maps \
                 salted with {salt}"
            )
        })
        .collect();
    let [a, b] = twins;
    let shared = [
        ("number of runs at once", a.parallel == b.parallel),
        ("place of the code", a.place.code == b.place.code),
        ("place of the stack", a.place.stack == b.place.stack),
        ("place of the heap", a.place.heap == b.place.heap),
        ("salt", a.place.salt == b.place.salt),
    ];
    let shared = shared.into_iter().filter(|(_, same)| *same);
    lines.extend(shared.map(|(what, _)| format!("NOT PUT TO THE TEST: both processes had the same {what}")));
    lines
}

/// Hands the same orders to two fresh processes in different surroundings, and each pair of answers to `pair`.
fn run_twice(orders: &Orders, mut pair: impl FnMut(Answer, Answer)) -> Result<[Greeting; 2], CliError> {
    let mut workers = [Worker::start(orders, Twin::Plain)?, Worker::start(orders, Twin::Moved)?];
    let mut waiting: [BTreeMap<(usize, usize, u64), Answer>; 2] = Default::default();
    while workers.iter().any(|worker| worker.answers.is_some()) {
        let open: Vec<&File> = workers.iter().filter_map(|worker| worker.answers.as_ref()).collect();
        poll_readable(&open, Duration::from_secs(1));
        for side in 0..2 {
            for answer in workers[side].read()? {
                match waiting[1 - side].remove(&answer.job) {
                    Some(twin) if side == 0 => pair(answer, twin),
                    Some(twin) => pair(twin, answer),
                    None => {
                        waiting[side].insert(answer.job, answer);
                    }
                }
            }
        }
    }
    let mut dead = false;
    for worker in &mut workers {
        dead |= !worker.process.wait()?.success();
    }
    if dead || waiting.iter().any(|waiting| !waiting.is_empty()) {
        return Err(CliError::Usage("a worker process ended before its work was done".to_owned()));
    }
    let [first, second] = workers.map(|worker| worker.greeting);
    first.zip(second).map(Into::into).ok_or_else(|| CliError::Usage("a worker process did not say a word".to_owned()))
}

/// Which of the two.
#[derive(Clone, Copy)]
enum Twin {
    /// As every process is.
    Plain,
    /// One run more at once, another salt, and an address space that was not drawn.
    Moved,
}

struct Worker {
    process: Child,
    greeting: Option<Greeting>,
    /// Until it has answered everything.
    answers: Option<File>,
    received: Vec<u8>,
}

impl Worker {
    fn start(orders: &Orders, twin: Twin) -> io::Result<Worker> {
        let mut orders = orders.clone();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
        match twin {
            Twin::Plain => _ = command.env(SALT, "1"),
            Twin::Moved => {
                orders.parallel += 1;
                command.env(SALT, "2");
                with_fixed_layout(&mut command);
            }
        }
        let mut process = command.spawn()?;
        let answers = File::from(OwnedFd::from(process.stdout.take().expect("it was piped")));
        set_nonblocking(&answers)?;
        let text = serde_json::to_string(&orders).expect("orders can be written as JSON");
        process.stdin.take().expect("it was piped").write_all(text.as_bytes())?;
        Ok(Worker { process, greeting: None, answers: Some(answers), received: Vec::new() })
    }

    /// The answers that have come since the last call.
    fn read(&mut self) -> io::Result<Vec<Answer>> {
        let Some(pipe) = &mut self.answers else { return Ok(Vec::new()) };
        let mut ended = false;
        loop {
            let mut chunk = [0; 64 << 10];
            match pipe.read(&mut chunk) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if ended {
            self.answers = None;
        }
        let whole = self.received.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.received.drain(..whole).collect();
        let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        if self.greeting.is_none()
            && let Some(line) = lines.next()
        {
            self.greeting = Some(serde_json::from_slice(line)?);
        }
        lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
    }
}

/// Says where two runs of one seed parted.
fn tell(orders: &Orders, first: &Answer, second: &Answer, out: &mut dyn Write) -> Result<(), CliError> {
    if matches!(first.report.verdict, Verdict::Error { .. }) {
        out.write_all(failure(&first.report).as_bytes())?;
        return Ok(());
    }
    let report = &first.report;
    let cell = if report.cell.is_empty() { String::new() } else { format!(" [{}]", report.cell) };
    writeln!(out, "DIFFERENT {}{cell} seed {}", report.file, report.seed)?;
    for report in [&first.report, &second.report] {
        writeln!(
            out,
            "  {} after {} events: {}",
            report.chain.hash,
            report.chain.events,
            verdict_name(&report.verdict)
        )?;
    }
    let mut window = window_of(&first.report.chain, &second.report.chain);
    writeln!(out, "  the first difference is in the events {} to {}", window.start, window.end - 1)?;
    for _ in 0..LOOKS_MAX {
        let look = Orders { jobs: vec![first.job], parallel: 1, window: Some(window.clone()), ..orders.clone() };
        let mut twins = None;
        run_twice(&look, |first, second| twins = Some((first.report, second.report)))?;
        let Some((a, b)) = twins else { continue };
        if let Some(lines) = first_difference(&a.window, &b.window, window.start) {
            lines.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
            writeln!(out, "  replay: {}\n", replay_command(report))?;
            return Ok(());
        }
        // It may have moved.
        if a.chain != b.chain {
            window = window_of(&a.chain, &b.chain);
        }
    }
    writeln!(
        out,
        "  it did not show again in {LOOKS_MAX} further pairs of runs\n  replay: {}\n",
        replay_command(report)
    )?;
    Ok(())
}

fn verdict_name(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Pass => "passed",
        Verdict::Violation { what, .. } => what,
        Verdict::Panic { .. } => "panicked",
        Verdict::Error { .. } => "crashed",
    }
}

/// The events between the last checkpoint that agrees and the first that does not.
fn window_of(a: &ChainSummary, b: &ChainSummary) -> Window {
    let agree = a.checkpoints.iter().zip(&b.checkpoints).take_while(|(a, b)| a == b).count() as u64;
    agree * CHECKPOINT_EVENTS..(agree + 1) * CHECKPOINT_EVENTS + EVENTS_AFTER as u64
}

/// The two logs around the first line in which they differ; `start` is the number of the first line.
fn first_difference(a: &[String], b: &[String], start: u64) -> Option<Vec<String>> {
    let at = (0..a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at))?;
    let mut lines = vec![format!("event {}:", start + at as u64)];
    lines.extend(a[at.saturating_sub(EVENTS_BEFORE)..at.min(a.len())].iter().map(|line| format!("    {line}")));
    for (mark, log) in [('1', a), ('2', b)] {
        let end = (at + EVENTS_AFTER).min(log.len());
        lines.extend(log[at.min(end)..end].iter().map(|line| format!("  {mark} {line}")));
        if log.len() <= at {
            lines.push(format!("  {mark} (the run has ended)"));
        }
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Hash128;
    use expect_test::expect;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_difference_is_shown_with_what_came_before() {
        let (a, b) = (lines("a b c d e f g h i j X k l"), lines("a b c d e f g h i j Y"));
        expect![[r#"
            event 1034:
                c
                d
                e
                f
                g
                h
                i
                j
              1 X
              1 k
              1 l
              2 Y"#]]
        .assert_eq(&first_difference(&a, &b, 1024).unwrap().join("\n"));
        assert_eq!(first_difference(&a, &a, 0), None);
        let ended = first_difference(&a[..2], &a[..1], 0).unwrap();
        assert_eq!(ended, ["event 1:", "    a", "  1 b", "  2 (the run has ended)"]);
    }

    #[test]
    fn the_window_starts_at_the_last_checkpoint_that_agrees() {
        let chain = |checkpoints: &[u128]| ChainSummary {
            checkpoints: checkpoints.iter().map(|hash| Hash128(*hash)).collect(),
            ..ChainSummary::default()
        };
        for (a, b, start) in
            [(&[][..], &[][..], 0), (&[1], &[2], 0), (&[1, 2, 3], &[1, 2, 4], 2048), (&[1, 2], &[1, 2, 3], 2048)]
        {
            assert_eq!(window_of(&chain(a), &chain(b)).start, start);
        }
    }
}
