//! What both worlds showed: of one scenario a small table, what failed, and what was left out; of all of them together
//! one table with a line for each.

use std::io::{self, Write};

use serde::Serialize;

use super::real::{Pair, title};
use super::table::Table;
use crate::report::{RunReport, Verdict};
use crate::world::figures::{
    ELECTIONS, FAILOVERS, FAILOVERS_WRITE, HANDOVERS, LATENCIES, OPERATIONS, UNAVAILABLE, UNWRITTEN,
};

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
    row("… to a write, mean of", &|_, report| times(report, FAILOVERS_WRITE))?;
    row("longest unavailability", &|_, report| time(report, UNAVAILABLE))?;
    row("longest without a write", &|_, report| time(report, UNWRITTEN))?;
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

/// What one world showed of a scenario, in the figures that the table sets side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Shown {
    passed: bool,
    operations: Option<u64>,
    failovers: Option<u64>,
    failover_to_write_us: Option<u64>,
    handovers: Option<u64>,
    handover_us: Option<u64>,
    unwritten_us: Option<u64>,
}

impl Shown {
    fn of(report: &RunReport) -> Shown {
        Shown {
            passed: report.verdict.passed(),
            operations: count(report, OPERATIONS),
            failovers: count(report, FAILOVERS_WRITE.0),
            failover_to_write_us: count(report, FAILOVERS_WRITE.1),
            handovers: count(report, HANDOVERS.0),
            handover_us: count(report, HANDOVERS.1),
            unwritten_us: count(report, UNWRITTEN),
        }
    }

    /// As the table has it: each cell, a mean with how many it is of.
    fn cells(&self) -> [String; FIGURES.len()] {
        let ms = |micros: Option<u64>| micros.map_or_else(dash, |micros| format!("{:.0} ms", micros as f64 / 1e3));
        let mean = |many: Option<u64>, micros| match many {
            None | Some(0) => dash(),
            Some(many) => format!("{many}: {}", ms(micros)),
        };
        [
            if self.passed { "ok" } else { "FAILED" }.to_owned(),
            self.operations.map_or_else(dash, |n| n.to_string()),
            mean(self.failovers, self.failover_to_write_us),
            mean(self.handovers, self.handover_us),
            ms(self.unwritten_us),
        ]
    }
}

/// What the table sets side by side.
const FIGURES: [&str; 5] = ["verdict", "operations", "failover", "hand-over", "no write for"];

/// A scenario in the table of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    scenario: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cell: String,
    seed: u64,
    /// None in a build that does not simulate.
    #[serde(skip_serializing_if = "Option::is_none")]
    simulated: Option<Shown>,
    real: Shown,
    /// Steps that no real world can do.
    steps_skipped: Vec<String>,
    /// Everything else that was left out: settings, and expectations that were not judged.
    else_skipped: Vec<String>,
}

impl Row {
    /// What a pair says.
    pub fn of(pair: &Pair) -> Row {
        let report = &pair.real.report;
        let names = |step: bool| {
            let skipped =
                pair.real.skipped.iter().map(|skipped| skipped.what.strip_prefix("step ").ok_or(&skipped.what));
            skipped
                .filter(|what| what.is_ok() == step)
                .map(|what| what.map_or_else(String::clone, str::to_owned))
                .collect()
        };
        Row {
            scenario: report.file.clone(),
            cell: report.cell.clone(),
            seed: report.seed,
            simulated: pair.simulated.as_ref().map(Shown::of),
            real: Shown::of(report),
            steps_skipped: names(true),
            else_skipped: names(false),
        }
    }

    fn name(&self) -> String {
        let file = self.scenario.rsplit('/').next().unwrap_or(&self.scenario);
        let cell = if self.cell.is_empty() { String::new() } else { format!(" [{}]", self.cell) };
        format!("{}{cell} {}", file.trim_end_matches(".toml"), self.seed)
    }

    /// What was left out: steps by name, the rest by number.
    fn skipped(&self) -> String {
        let others = Some(self.else_skipped.len()).filter(|n| 0 < *n).map(|n| format!("+{n}"));
        let told: Vec<String> = self.steps_skipped.iter().cloned().chain(others).collect();
        if told.is_empty() { dash() } else { told.join(" ") }
    }
}

/// One table of all scenarios: each figure as it was simulated, and beside it as it really was.
pub fn table(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let sides: Vec<[[String; FIGURES.len()]; 2]> = rows
        .iter()
        .map(|row| [row.simulated.as_ref().map_or_else(|| FIGURES.map(|_| dash()), Shown::cells), row.real.cells()])
        .collect();
    let headings = ["scenario, seed"].into_iter().chain(FIGURES).chain(["skipped"]);
    let mut table = Table::new(&headings.collect::<Vec<_>>());
    let width = |side: usize, figure: usize| sides.iter().map(|row| row[side][figure].len()).max().unwrap_or(0);
    for (row, cells) in rows.iter().zip(&sides) {
        let pair = |figure: usize| {
            let (left, right) = (width(0, figure), width(1, figure));
            format!("{:>left$} | {:>right$}", cells[0][figure], cells[1][figure])
        };
        let cells = (0..FIGURES.len()).map(pair);
        table.row([row.name()].into_iter().chain(cells).chain([row.skipped()]));
    }
    writeln!(out, "simulated | real")?;
    out.write_all(table.render().as_bytes())?;
    writeln!(
        out,
        "failover: a leader was lost, until the next one's first answer to a write; hand-over: one was told to stop, until \
         there is another one; how many, and their mean. skipped: steps by name, +N settings and expectations."
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn shown(passed: bool, operations: u64, failovers: u64, unwritten_us: Option<u64>) -> Shown {
        Shown {
            passed,
            operations: Some(operations),
            failovers: Some(failovers),
            failover_to_write_us: Some(1_234_567).filter(|_| 0 < failovers),
            handovers: None,
            handover_us: None,
            unwritten_us,
        }
    }

    #[test]
    fn both_worlds_stand_side_by_side_in_one_table() {
        let row = |scenario: &str, simulated, real, steps: &[&str], others: &[&str]| Row {
            scenario: scenario.into(),
            cell: String::new(),
            seed: 3,
            simulated,
            real,
            steps_skipped: steps.iter().map(|name| (*name).to_owned()).collect(),
            else_skipped: others.iter().map(|name| (*name).to_owned()).collect(),
        };
        let rows = [
            row("scenarios/a.toml", Some(shown(true, 90, 2, Some(9_000))), shown(false, 1000, 12, None), &[], &[]),
            row("longer.toml", None, shown(true, 1, 0, Some(1_500_000)), &["cut1", "cut2"], &["expectation x"]),
        ];
        let mut out = Vec::new();
        table(&rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().take(4).collect();
        expect![[r#"
            simulated | real
            scenario, seed  verdict      operations  failover                  hand-over  no write for    skipped
            a 3             ok | FAILED  90 | 1000   2: 1235 ms | 12: 1235 ms  - | -      9 ms |       -  -
            longer 3         - |     ok   - |    1            - |           -  - | -         - | 1500 ms  cut1 cut2 +1"#]]
        .assert_eq(&lines.join("\n"));
        let json = serde_json::to_value(&rows[0]).unwrap();
        assert_eq!((&json["simulated"]["failovers"], &json["real"]["passed"]), (&2.into(), &false.into()));
    }
}
