//! `replay --until`: up to which event a run is shown.
//!
//! Events are counted as the event log does, from 0. That is not the count of a message's moments (`3.009001s#29`):
//! those number what the oracles were fed, and not all of that is an event.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_scenario::Nanos;

use crate::chain::moment;
use crate::report::{RunReport, Verdict};

/// Where to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// At the event of this number.
    Event(usize),
    /// At the failure.
    Failure,
    /// At a moment.
    Moment(Nanos),
    /// At the first event of this name.
    Name(String),
}

/// Reads what was given.
pub fn until(text: &str) -> Result<Until, String> {
    match text.chars().next() {
        Some('#') => Err(format!(
            "{text} counts what oracles were fed, not events: give \"failure\", or the event that the line of the \
             failure names"
        )),
        _ if text == "failure" => Ok(Until::Failure),
        Some('0'..='9') => {
            let number = text.parse().map(Until::Event);
            number.or_else(|_| {
                let wanted = "the number of an event, a time such as 1.2s, \"failure\", or the name of an event";
                Nanos::parse(text).map(Until::Moment).map_err(|_| format!("\"{text}\": give {wanted}"))
            })
        }
        Some(_) => Ok(Until::Name(text.to_owned())),
        None => Err("give an event".to_owned()),
    }
}

impl Until {
    /// How many of the run's events are shown.
    pub fn count(&self, report: &RunReport) -> Result<usize, String> {
        let kept = report.window.len();
        let is_cut = (kept as u64) < report.chain.events;
        let found = match self {
            Until::Event(number) if is_cut => (*number < kept).then_some(number.saturating_add(1)),
            Until::Event(number) => Some(number.saturating_add(1).min(kept)),
            Until::Failure => match failure(report) {
                None if report.verdict.passed() => return Err("the run does not fail".to_owned()),
                place => place.map(|place| place + 1),
            },
            Until::Moment(at) => {
                let count = up_to(report, at.to_std());
                (count < kept || !is_cut).then_some(count)
            }
            Until::Name(name) => match report.window.iter().position(|line| names(line).contains(&name.as_str())) {
                None if !is_cut => return Err(unknown(name, report)),
                place => place.map(|place| place + 1),
            },
        };
        found.ok_or_else(|| format!("only the first {kept} events of such a long run can be shown: use --trace"))
    }
}

/// The number of the event at which a run fails: the violation's own, or the last one before.
pub fn failure(report: &RunReport) -> Option<usize> {
    let at_ns = match &report.verdict {
        Verdict::Violation { at_ns, .. } | Verdict::Panic { at_ns, .. } => *at_ns,
        Verdict::Pass | Verdict::Error { .. } => return None,
    };
    if let Some(place) = report.window.iter().position(|line| names(line)[0] == "violation") {
        return Some(place);
    }
    if (report.window.len() as u64) < report.chain.events {
        return None;
    }
    up_to(report, Duration::from_nanos(at_ns)).checked_sub(1)
}

/// How many events there are up to a moment.
fn up_to(report: &RunReport, at: Duration) -> usize {
    // A line begins with its moment, to the microsecond.
    let last = micros(&moment(at));
    report.window.partition_point(|line| micros(line) <= last)
}

fn micros(line: &str) -> u64 {
    let digits = line.trim_start().chars().take_while(|c| *c != 's').filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap_or(0)
}

/// What an event can be called: its kind, or what happened.
fn names(line: &str) -> [&str; 2] {
    let mut words = line.split_whitespace().skip(1);
    let kind = words.next().unwrap_or_default();
    let what = words.next().and_then(|word| word.strip_prefix("what=")).filter(|_| kind == "happened");
    [kind, what.unwrap_or(kind)]
}

fn unknown(name: &str, report: &RunReport) -> String {
    let all: BTreeSet<&str> = report.window.iter().flat_map(|line| names(line)).collect();
    let all: Vec<&str> = all.into_iter().collect();
    format!("no event of this run is called \"{name}\"; there are {}", all.join(", "))
}
