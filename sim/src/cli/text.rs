//! Results for people: failures as they come, tables at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use super::plan::{Plan, cell_key};
use super::run::{FileResult, Tally};
use super::table::{Table, average, count, duration, speed_up};
use crate::chain::moment;
use crate::report::{RunReport, Verdict};

/// So many failures of one file are told in full.
const FAILURES_TOLD: u64 = 3;

/// Tells failures, the first few of each file in full.
#[derive(Default)]
pub struct Failures {
    by_file: BTreeMap<String, u64>,
}

impl Failures {
    /// Tells one failure, with the command that replays it.
    pub fn tell(&mut self, report: &RunReport, out: &mut dyn Write) -> io::Result<()> {
        let told = self.by_file.entry(report.file.clone()).or_default();
        *told += 1;
        if *told <= FAILURES_TOLD { out.write_all(failure(report).as_bytes()) } else { Ok(()) }
    }

    /// Tells how many were left out.
    pub fn tell_rest(&self, out: &mut dyn Write) -> io::Result<()> {
        for (file, all) in self.by_file.iter().filter(|(_, all)| FAILURES_TOLD < **all) {
            writeln!(out, "{file}: {} more failures\n", all - FAILURES_TOLD)?;
        }
        Ok(())
    }
}

/// One failure: what, when, what happened before, how to see it again.
pub fn failure(report: &RunReport) -> String {
    let cell = if report.cell.is_empty() { String::new() } else { format!(" [{}]", report.cell) };
    let mut text = format!("FAILED {}{cell} seed {}\n", report.file, report.seed);
    let events: &[String] = match &report.verdict {
        Verdict::Pass | Verdict::Error { .. } => &[],
        Verdict::Violation { events, .. } | Verdict::Panic { events, .. } => events,
    };
    what_and_when(report).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    if !events.is_empty() {
        text.push_str("  last events:\n");
        events.iter().for_each(|event| text.push_str(&format!("    {event}\n")));
    }
    text.push_str(&format!("  replay: {}\n", replay_command(report)));
    text.push_str(&format!("  shrink: {}\n\n", command("shrink", report)));
    text
}

/// How a run ended.
pub fn what_and_when(report: &RunReport) -> String {
    what_and_where(report, None)
}

/// How a run ended, with the number of the event at which it failed.
pub fn what_and_where(report: &RunReport, event: Option<usize>) -> String {
    let event = event.map_or_else(String::new, |number| format!(" (event {number})"));
    match &report.verdict {
        Verdict::Pass => "passed".to_owned(),
        Verdict::Violation { what, at_ns, message, .. } => format!("{what} at {}{event}: {message}", time(*at_ns)),
        Verdict::Panic { message, at_ns, .. } => format!("panic at {}{event}: {message}", time(*at_ns)),
        Verdict::Error { message } => message.clone(),
    }
}

/// The one command that replays a run.
pub fn replay_command(report: &RunReport) -> String {
    command("run", report)
}

fn command(verb: &str, report: &RunReport) -> String {
    let cell = if report.cell.is_empty() { String::new() } else { format!(" --cell {}", quoted(&report.cell)) };
    format!("cargo sim {verb} {} --seed {}{cell}", quoted(&report.file), report.seed)
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/=,+:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn time(at_ns: u64) -> String {
    moment(Duration::from_nanos(at_ns)).trim().to_owned()
}

/// The tables and judgements after all runs; `wall` is what they took together.
pub fn summary(plan: &Plan, results: &[FileResult], wall: Duration, out: &mut dyn Write) -> io::Result<()> {
    for (file, result) in plan.files.iter().zip(results) {
        if 1 < file.chosen.len() {
            // What cells are compared by stands in columns of its own: the mean over the cell's runs.
            let compared: BTreeSet<&String> = result.means.iter().flat_map(BTreeMap::keys).collect();
            let columns: Vec<String> = compared.iter().map(|name| format!(">{name}")).collect();
            let mut headings = vec!["cell", ">seeds", ">simulated", ">speed-up", ">events"];
            headings.extend(columns.iter().map(String::as_str));
            headings.push("verdict");
            let mut table = Table::new(&headings);
            for ((cell, tally), means) in file.chosen.iter().zip(&result.cells).zip(&result.means) {
                let plain = [
                    cell_key(&file.cells[*cell]),
                    tally.runs.to_string(),
                    duration(tally.simulated),
                    speed_up(tally.simulated, tally.cpu),
                    count(tally.events),
                ];
                let means = compared.iter().map(|name| means.get(*name).map_or("-".to_owned(), |mean| average(*mean)));
                table.row(plain.into_iter().chain(means).chain([verdict(tally, true)]));
            }
            write!(out, "{}\n{}", file.scenario.name, indented(&table.render()))?;
            writeln!(out)?;
        }
    }
    for (file, result) in plan.files.iter().zip(results) {
        for told in result.told.iter().filter(|told| told.about_many || !told.judgement.holds) {
            writeln!(out, "{}: {}", file.scenario.name, told.judgement)?;
        }
    }
    if results.iter().any(|result| result.told.iter().any(|told| told.about_many || !told.judgement.holds)) {
        writeln!(out)?;
    }
    out.write_all(overview(plan, results, wall).as_bytes())
}

fn overview(plan: &Plan, results: &[FileResult], wall: Duration) -> String {
    let headings = ["scenario", ">cells", ">seeds", ">simulated", ">wall", ">speed-up", ">events", "verdict"];
    let mut table = Table::new(&headings);
    for (file, result) in plan.files.iter().zip(results) {
        table.row([
            file.scenario.name.clone(),
            file.chosen.len().to_string(),
            (file.seeds.end - file.seeds.start).to_string(),
            duration(result.total.simulated),
            duration(result.wall),
            speed_up(result.total.simulated, result.total.cpu),
            count(result.total.events),
            verdict(&result.total, result.holds()),
        ]);
    }
    if 1 < results.len() {
        let mut total = Tally::default();
        results.iter().for_each(|result| total.merge(&result.total));
        table.row([
            "total".to_owned(),
            plan.files.iter().map(|file| file.chosen.len()).sum::<usize>().to_string(),
            plan.files.iter().map(|file| file.seeds.end - file.seeds.start).sum::<u64>().to_string(),
            duration(total.simulated),
            duration(wall),
            speed_up(total.simulated, total.cpu),
            count(total.events),
            verdict(&total, results.iter().all(FileResult::holds)),
        ]);
    }
    table.render()
}

fn verdict(tally: &Tally, holds: bool) -> String {
    match tally.failed {
        0 if holds => "ok".to_owned(),
        0 => "FAILED".to_owned(),
        failed => format!("FAILED {failed} of {}", tally.runs),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
