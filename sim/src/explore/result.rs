//! What a campaign keeps of a run: one line of JSON, the same whichever machine and shard ran it.
//!
//! Lines of several files merge into one campaign ([`Summary`]): their order does not matter, and a seed that was run
//! twice counts once. Only the time that a run took on its machine differs between two runs of a seed; it is summed
//! and otherwise left out of every comparison.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::report::{RunReport, Verdict};
use crate::repro::Signature;

/// One run of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The profile.
    pub profile: String,
    /// The planted bugs, separated by commas; empty without any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mutants: String,
    /// The seed.
    pub seed: u64,
    /// What is wrong, in a form that is equal for equal failures; none when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Simulated time.
    pub simulated_ns: u64,
    /// CPU time of the run's process.
    pub cpu_ns: u64,
    /// Events in its log.
    pub events: u64,
    /// The hash of all of them: what makes two runs the same.
    #[serde(default)]
    pub hash: String,
    /// Acknowledged operations.
    pub operations: u64,
    /// Kinds of events and points of the code that it came to.
    pub seen: BTreeSet<String>,
    /// Places that it came to; see `world::coverage`.
    #[serde(default)]
    pub places: Vec<u32>,
}

/// How a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Equal for failures of one kind.
    pub signature: String,
    /// What was told.
    pub message: String,
}

impl Line {
    /// What to keep of a report.
    pub fn of(report: &RunReport, profile: &str, mutants: &str) -> Line {
        Line {
            profile: profile.to_owned(),
            mutants: mutants.to_owned(),
            seed: report.seed,
            failure: failure(&report.verdict),
            simulated_ns: report.simulated_ns,
            cpu_ns: report.cpu_ns,
            events: report.chain.events,
            hash: report.chain.hash.to_string(),
            operations: report.counters.get("operations").copied().unwrap_or(0),
            seen: report
                .counters
                .iter()
                .filter(|(name, count)| name.contains(' ') && **count > 0)
                .map(|(name, _)| name.clone())
                .collect(),
            places: report.coverage.clone(),
        }
    }

    /// What makes it a run of its own.
    pub fn key(&self) -> (String, String, u64) {
        (self.profile.clone(), self.mutants.clone(), self.seed)
    }
}

/// What is wrong, if anything.
pub fn failure(verdict: &Verdict) -> Option<Failure> {
    let message = match verdict {
        Verdict::Pass => return None,
        Verdict::Violation { message, .. } | Verdict::Panic { message, .. } | Verdict::Error { message } => message,
    };
    let signature = match Signature::of(verdict) {
        Some(signature) => signature.as_str().to_owned(),
        None => "error".to_owned(),
    };
    Some(Failure { signature, message: message.clone() })
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Their signature.
    pub signature: String,
    /// How many runs failed like this.
    pub runs: u64,
    /// The first of them.
    pub first: (String, String, u64),
    /// What that one told.
    pub message: String,
}

/// A campaign as a whole.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    lines: BTreeMap<(String, String, u64), Line>,
}

/// The sums of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Runs.
    pub runs: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Simulated time.
    pub simulated_ns: u64,
    /// CPU time.
    pub cpu_ns: u64,
    /// Events.
    pub events: u64,
    /// Acknowledged operations.
    pub operations: u64,
}

impl Summary {
    /// Adds a run; false when it was there already.
    pub fn add(&mut self, line: Line) -> bool {
        self.lines.insert(line.key(), line).is_none()
    }

    /// The runs, by profile, planted bugs and seed.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    /// The sums.
    pub fn sums(&self) -> Sums {
        self.lines().fold(Sums::default(), |mut sums, line| {
            sums.runs += 1;
            sums.failed += u64::from(line.failure.is_some());
            sums.simulated_ns += line.simulated_ns;
            sums.cpu_ns += line.cpu_ns;
            sums.events += line.events;
            sums.operations += line.operations;
            sums
        })
    }

    /// The failures by signature, the most frequent first.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
        for line in self.lines() {
            let Some(failure) = &line.failure else { continue };
            let group = groups.entry(&failure.signature).or_insert_with(|| Group {
                signature: failure.signature.clone(),
                runs: 0,
                first: line.key(),
                message: failure.message.clone(),
            });
            group.runs += 1;
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.runs));
        groups
    }

    /// How many places were come to by the first tenth of the runs, by the second more, and so on.
    pub fn growth(&self) -> Vec<usize> {
        let (mut known, mut growth) = (BTreeSet::new(), Vec::new());
        let tenth = self.lines.len().div_ceil(10).max(1);
        for (number, line) in (1..).zip(self.lines()) {
            known.extend(line.places.iter().copied());
            if number % tenth == 0 || number == self.lines.len() {
                growth.push(known.len());
            }
        }
        growth
    }

    /// In how many runs each kind of event and each point was seen.
    pub fn seen(&self) -> BTreeMap<&str, u64> {
        let mut seen = BTreeMap::new();
        for name in self.lines().flat_map(|line| &line.seen) {
            *seen.entry(name.as_str()).or_default() += 1;
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seed: u64, signature: Option<&str>) -> Line {
        let failure = signature.map(|text| Failure { signature: text.into(), message: format!("{text} {seed}") });
        Line {
            profile: "p".into(),
            mutants: String::new(),
            seed,
            failure,
            simulated_ns: 5,
            cpu_ns: 1,
            events: 2,
            hash: format!("{seed:x}"),
            operations: 3,
            seen: [format!("event {}", seed % 2)].into(),
            places: vec![seed as u32],
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let lines = [line(3, Some("b")), line(1, None), line(2, Some("a")), line(4, Some("b"))];
        let (mut there, mut back) = (Summary::default(), Summary::default());
        lines.iter().for_each(|line| assert!(there.add(line.clone())));
        lines.iter().rev().for_each(|line| assert!(back.add(line.clone())));
        assert!(!back.add(lines[0].clone()));
        assert_eq!((there.sums(), there.groups(), there.seen()), (back.sums(), back.groups(), back.seen()));
        let groups = there.groups();
        assert_eq!((groups[0].signature.as_str(), groups[0].runs, groups[0].first.2), ("b", 2, 3));
        assert_eq!(there.seen(), [("event 0", 2), ("event 1", 2)].into());
    }
}
