//! What a campaign keeps of a run: one line of JSON, the same whichever machine and shard ran it.
//!
//! Lines of several files merge into one campaign ([`Summary`]): their order does not matter, and a seed that was run
//! twice counts once. Only the time that a run took on its machine differs between two runs of a seed; it is summed
//! and otherwise left out of every comparison. Whether it was the same run both times: [`super::repeats`].
//!
//! A summary holds no lines: a campaign may be a million of them, of some kilobytes each. What depends on the order of the
//! seeds, such as how the number of places grew, is kept as the first run that came to each.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::repeats::Origin;
use crate::report::{RunReport, Verdict};
use crate::repro::Signature;

/// One run of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What the run is one of.
    #[serde(flatten)]
    pub campaign: Campaign,
    /// What made it.
    #[serde(flatten)]
    pub origin: Origin,
    /// The seed.
    pub seed: u64,
    /// What is wrong, in a form that is equal for equal failures; none when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The file that holds its scenario, seen from the file that holds this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
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

/// What makes runs of equal seeds equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Campaign {
    /// The profile.
    pub profile: String,
    /// Every second run was made of earlier ones: a seed alone does not make it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guided: bool,
    /// The planted bugs, separated by commas; empty without any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mutants: String,
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
    /// What to keep of the report of a seed.
    pub fn of(report: &RunReport, campaign: &Campaign, seed: u64) -> Line {
        Line {
            campaign: campaign.clone(),
            origin: Origin::here(),
            seed,
            failure: failure(&report.verdict),
            scenario: None,
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
}

/// The signature of runs that the testbed could not finish.
pub const UNFINISHED: &str = "error";

/// What is wrong, if anything.
pub fn failure(verdict: &Verdict) -> Option<Failure> {
    let message = match verdict {
        Verdict::Pass => return None,
        Verdict::Violation { message, .. } | Verdict::Panic { message, .. } | Verdict::Error { message } => message,
    };
    let signature = match Signature::of(verdict) {
        Some(signature) => signature.as_str().to_owned(),
        None => UNFINISHED.to_owned(),
    };
    Some(Failure { signature, message: message.clone() })
}

/// A run, by what makes it one of its own. They are in the order of their campaigns and seeds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is one of.
    pub campaign: Rc<Campaign>,
    /// Its seed.
    pub seed: u64,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their signature.
    pub signature: String,
    /// How many runs failed like this.
    pub runs: u64,
    /// The first of them.
    pub first: Key,
    /// The file of its scenario.
    pub scenario: Option<String>,
    /// What that one told.
    pub message: String,
}

impl Group {
    /// The command that runs the first one again.
    pub fn again(&self) -> String {
        let Key { campaign, seed } = &self.first;
        match (campaign.guided, &self.scenario) {
            (true, Some(path)) => format!("cargo sim run {path}"),
            (true, None) => "(no file was kept of this run: repeat its guided campaign)".to_owned(),
            (false, _) => {
                let names = campaign.mutants.split(',').filter(|name| !name.is_empty());
                let mutants: String = names.map(|name| format!(" --mutant {name}")).collect();
                format!("cargo sim fuzz --profile {} --first {seed} --seeds 1{mutants}", campaign.profile)
            }
        }
    }
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

/// How much the first runs of a campaign came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Grown {
    /// So many runs.
    pub runs: usize,
    /// Places.
    pub places: usize,
    /// Kinds of failures.
    pub failures: usize,
}

/// A campaign as a whole.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    runs: BTreeMap<Rc<Campaign>, BTreeSet<u64>>,
    sums: Sums,
    seen: BTreeMap<String, u64>,
    groups: BTreeMap<String, Group>,
    /// The first run that came to each place.
    places: BTreeMap<u32, Key>,
}

impl Summary {
    /// Adds a run; its key, or the run itself when its seed was there already.
    pub fn add(&mut self, line: Line) -> Result<Key, Box<Line>> {
        let known = self.runs.get_key_value(&line.campaign).map(|(campaign, _)| campaign.clone());
        let campaign = known.unwrap_or_else(|| Rc::new(line.campaign.clone()));
        if !self.runs.entry(campaign.clone()).or_default().insert(line.seed) {
            return Err(Box::new(line));
        }
        let key = Key { campaign, seed: line.seed };
        self.sums.runs += 1;
        self.sums.simulated_ns += line.simulated_ns;
        self.sums.cpu_ns += line.cpu_ns;
        self.sums.events += line.events;
        self.sums.operations += line.operations;
        for name in line.seen {
            *self.seen.entry(name).or_default() += 1;
        }
        for place in line.places {
            let first = self.places.entry(place).or_insert_with(|| key.clone());
            if key < *first {
                *first = key.clone();
            }
        }
        self.failed(&key, line.failure, line.scenario);
        Ok(key)
    }

    /// Another run of a seed that counts already, which may be another run: its failure counts as well.
    pub fn add_failure(&mut self, line: Line) {
        let key = Key { campaign: Rc::new(line.campaign), seed: line.seed };
        self.failed(&key, line.failure, line.scenario);
    }

    fn failed(&mut self, key: &Key, failure: Option<Failure>, scenario: Option<String>) {
        if let Some(Failure { signature, message }) = failure {
            self.sums.failed += 1;
            let runs = self.groups.get(&signature).map_or(0, |group| group.runs) + 1;
            let first = self.groups.get(&signature).is_none_or(|group| *key < group.first);
            match self.groups.get_mut(&signature) {
                Some(group) if !first => group.runs = runs,
                _ => {
                    let group = Group { runs, first: key.clone(), scenario, message, signature };
                    self.groups.insert(group.signature.clone(), group);
                }
            }
        }
    }

    /// Seeds that are missing between the first and the last of what seeds alone say: a part ended before its time, or
    /// there are several ranges.
    pub fn missing(&self) -> u64 {
        let gaps = |(campaign, seeds): (&Rc<Campaign>, &BTreeSet<u64>)| match (seeds.first(), seeds.last()) {
            (Some(first), Some(last)) if !campaign.guided => last - first + 1 - seeds.len() as u64,
            _ => 0,
        };
        self.runs.iter().map(gaps).sum()
    }

    /// The sums.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The failures by signature, the most frequent first.
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.runs));
        groups
    }

    /// What the first runs had come to, in the order of their seeds, at so many moments or somewhat fewer.
    pub fn growth(&self, moments: usize) -> Vec<Grown> {
        fn sorted<'s>(firsts: impl Iterator<Item = &'s Key>) -> Vec<(&'s Campaign, u64)> {
            let mut firsts: Vec<_> = firsts.map(|key| (&*key.campaign, key.seed)).collect();
            firsts.sort_unstable();
            firsts
        }
        let places = sorted(self.places.values());
        let failures = sorted(self.groups.values().map(|group| &group.first));
        let runs: usize = self.runs.values().map(BTreeSet::len).sum();
        let every = runs.div_ceil(moments).max(1);
        let keys = self.runs.iter().flat_map(|(campaign, seeds)| seeds.iter().map(move |seed| (&**campaign, *seed)));
        let until = |firsts: &[(&Campaign, u64)], key: (&Campaign, u64)| firsts.partition_point(|first| *first <= key);
        let grown = |(number, key): (usize, (&Campaign, u64))| Grown {
            runs: number,
            places: until(&places, key),
            failures: until(&failures, key),
        };
        (1..).zip(keys).filter(|(number, _)| number % every == 0 || *number == runs).map(grown).collect()
    }

    /// In how many runs each kind of event and each point was seen.
    pub fn seen(&self) -> &BTreeMap<String, u64> {
        &self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seed: u64, signature: Option<&str>) -> Line {
        let failure = signature.map(|text| Failure { signature: text.into(), message: format!("{text} {seed}") });
        Line {
            campaign: Campaign { profile: "p".into(), ..Campaign::default() },
            origin: Origin { program: "a".into() },
            seed,
            failure,
            scenario: None,
            simulated_ns: 5,
            cpu_ns: 1,
            events: 2,
            hash: format!("{seed:x}"),
            operations: 3,
            seen: [format!("event {}", seed % 2)].into(),
            places: vec![seed as u32 / 2],
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let lines = [line(3, Some("b")), line(1, None), line(2, Some("a")), line(4, Some("b"))];
        let (mut there, mut back) = (Summary::default(), Summary::default());
        lines.iter().for_each(|line| assert!(there.add(line.clone()).is_ok()));
        lines.iter().rev().for_each(|line| assert!(back.add(line.clone()).is_ok()));
        assert_eq!(back.add(lines[0].clone()), Err(Box::new(lines[0].clone())));
        assert_eq!((back.missing(), back.sums().failed), (0, 3));
        assert_eq!((there.sums(), there.groups(), there.seen()), (back.sums(), back.groups(), back.seen()));
        let groups = there.groups();
        assert_eq!((groups[0].signature.as_str(), groups[0].runs, groups[0].first.seed), ("b", 2, 3));
        assert_eq!(groups[0].message, "b 3");
        assert_eq!(there.seen(), &[("event 0".to_owned(), 2), ("event 1".to_owned(), 2)].into());
        let grown = |runs, places, failures| Grown { runs, places, failures };
        assert_eq!(there.growth(10), [grown(1, 1, 0), grown(2, 2, 1), grown(3, 2, 2), grown(4, 3, 2)]);
        assert_eq!(there.growth(2), [grown(2, 2, 1), grown(4, 3, 2)]);
        assert_eq!(back.growth(10), there.growth(10));
        back.add_failure(line(1, Some("c")));
        assert_eq!((back.sums().runs, back.sums().failed, back.groups().len()), (4, 4, 3));
        back.add(line(9, None)).expect("a new seed");
        assert_eq!(back.missing(), 4);
        assert_eq!(Summary::default().growth(10), []);
    }

    #[test]
    fn a_failure_names_a_command_that_plays_it() {
        let guided = Campaign { profile: "p".into(), guided: true, mutants: "a,b".into() };
        let seeds = Campaign { guided: false, ..guided.clone() };
        let path = Some("failures/x.toml");
        for (campaign, scenario, again) in [
            (&seeds, path, "cargo sim fuzz --profile p --first 7 --seeds 1 --mutant a --mutant b"),
            (&guided, path, "cargo sim run failures/x.toml"),
            (&guided, None, "(no file was kept of this run: repeat its guided campaign)"),
        ] {
            let mut summary = Summary::default();
            let line = Line { campaign: campaign.clone(), scenario: scenario.map(str::to_owned), ..line(7, Some("a")) };
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
            summary.add(line).expect("a new seed");
            assert_eq!(summary.groups()[0].again(), again);
        }
    }
}
