//! What both worlds showed of one scenario, for people: a small table, what failed, and what was left out.

use std::io::{self, Write};

use super::real::{Pair, title};
use crate::report::{RunReport, Verdict};
use crate::world::figures::{ELECTIONS, FAILOVERS, HANDOVERS, LATENCIES, OPERATIONS, UNAVAILABLE};

/// The width of the first column.
const LABEL: usize = 24;
/// The width of each other one.
const COLUMN: usize = 16;

/// Writes it.
pub fn tell(pair: &Pair, out: &mut dyn Write) -> io::Result<()> {
    let real = &pair.real.report;
    let worlds: Vec<(&str, &RunReport)> =
        pair.simulated.iter().map(|report| ("simulated", report)).chain([("real", real)]).collect();
    writeln!(out, "{}", title(real))?;
    let mut row = |label: &str, cell: &dyn Fn(&str, &RunReport) -> String| -> io::Result<()> {
        write!(out, "  {label:<LABEL$}")?;
        for (name, report) in &worlds {
            write!(out, "{:>COLUMN$}", cell(name, report))?;
        }
        writeln!(out)
    };
    row("", &|name, _| name.to_owned())?;
    row("operations", &|_, report| count(report, OPERATIONS).map_or_else(dash, |n| n.to_string()))?;
    row("elections", &|_, report| count(report, ELECTIONS).map_or_else(dash, |n| n.to_string()))?;
    row("hand-over, mean of", &|_, report| times(report, HANDOVERS))?;
    row("failover, mean of", &|_, report| times(report, FAILOVERS))?;
    row("longest unavailability", &|_, report| time(report, UNAVAILABLE))?;
    row("latency, median", &|_, report| time(report, LATENCIES.0))?;
    row("latency, 99 %", &|_, report| time(report, LATENCIES.1))?;
    row("verdict", &|_, report| if report.verdict.passed() { "ok" } else { "FAILED" }.to_owned())?;
    for (name, report) in &worlds {
        match &report.verdict {
            Verdict::Pass => {}
            Verdict::Violation { what, at_ns, message, events } => {
                writeln!(out, "  FAILED {name}: {what} at {:.3}s: {message}", *at_ns as f64 / 1e9)?;
                events.iter().try_for_each(|event| writeln!(out, "       {event}"))?;
            }
            Verdict::Panic { message, .. } | Verdict::Error { message } => {
                writeln!(out, "  FAILED {name}: {message}")?;
            }
        }
    }
    for skipped in &pair.real.skipped {
        writeln!(out, "  skipped: {}: {}", skipped.what, skipped.why)?;
    }
    writeln!(out)
}

fn dash() -> String {
    "-".to_owned()
}

fn count(report: &RunReport, name: &str) -> Option<u64> {
    report.counters.get(name).copied()
}

fn time(report: &RunReport, name: &str) -> String {
    count(report, name).map_or_else(dash, |micros| format!("{:.1} ms", micros as f64 / 1e3))
}

/// How long something took on average, and how often it happened.
fn times(report: &RunReport, (many, mean): (&str, &str)) -> String {
    match count(report, many) {
        None | Some(0) => dash(),
        Some(many) => format!("{many}: {}", time(report, mean)),
    }
}
