//! The last line of a file of results: that the part of a campaign came to its end, which one, and with how many runs.
//!
//! A file without it is of a part that was killed, or is still under way: what it holds is true, and not all.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::explore::result::Campaign;

/// How each such line begins, and no line of a run.
const BEGINNING: &str = "{\"ended\":";

/// Why a part came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// All its seeds were run.
    Whole,
    /// Its time was over.
    Time,
    /// It was to stop at the first failure.
    Failure,
    /// No run could be made any more.
    GaveUp,
    /// It was put together from parts that all came to their ends.
    Merged,
}

/// One of the parts that a campaign's seeds were dealt to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Of what.
    pub campaign: Campaign,
    /// Its first seed, of all shards together.
    pub first: u64,
    /// Of how many.
    pub of: u64,
    /// Which one, from 0.
    pub index: u64,
}

/// The line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Why.
    pub ended: Why,
    /// Runs before it.
    pub runs: u64,
    /// The shards that these are of, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
}

impl Closing {
    /// The closing line that this is, if it is one.
    pub fn read(line: &str) -> Option<Result<Closing, serde_json::Error>> {
        line.starts_with(BEGINNING).then(|| serde_json::from_str(line))
    }
}

/// Lines of runs in a file, and what closes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Lines of runs.
    pub runs: u64,
    /// The line that follows them.
    pub closing: Option<Closing>,
}

impl Part {
    /// What is to be known about it, when it is not what its command asked for.
    pub fn told(&self) -> Option<String> {
        let Part { runs, closing } = self;
        match closing {
            None => Some(format!("ended early, after {runs} runs (no closing line): run this part again")),
            Some(closing) if closing.runs != *runs => {
                Some(format!("holds {runs} of the {} runs that its closing line counts", closing.runs))
            }
            Some(Closing { ended: Why::Failure, .. }) => {
                Some(format!("stopped at a failure, after {runs} runs (--stop)"))
            }
            Some(Closing { ended: Why::GaveUp, .. }) => {
                Some(format!("was given up after {runs} runs, for no run could be made any more: run this part again"))
            }
            Some(Closing { ended: Why::Whole | Why::Time | Why::Merged, .. }) => None,
        }
    }
}

/// What a campaign lacks that is put together from files.
#[derive(Debug, Default)]
pub struct Lack {
    /// Parts that are not what their commands asked for.
    told: Vec<String>,
    /// The shards that are there.
    shards: BTreeSet<Shard>,
    /// A part ended when its time was over: the others may have come farther, or less far.
    is_by_time: bool,
}

impl Lack {
    /// Looks at what a file holds.
    pub fn note(&mut self, path: &Path, parts: &[Part]) {
        self.told.extend(parts.iter().filter_map(Part::told).map(|what| format!("{} {what}", path.display())));
        let closings = parts.iter().filter_map(|part| part.closing.as_ref());
        self.shards.extend(closings.flat_map(|closing| closing.shards.iter().cloned()));
        let is_by_time = |part: &Part| part.closing.as_ref().is_some_and(|closing| closing.ended == Why::Time);
        self.is_by_time |= parts.iter().any(is_by_time);
    }

    /// How a file ends into which all of them are put, with so many seeds missing between the first and the last; not at
    /// all when something is missing that no other shard has.
    pub fn closing(&self, runs: u64, missing: u64) -> Option<Closing> {
        let ended = if self.is_by_time { Why::Time } else { Why::Merged };
        let shards = self.shards.iter().cloned().collect();
        let explained = missing == 0 || self.is_by_time || !self.absent().is_empty();
        (self.told.is_empty() && explained).then_some(Closing { ended, runs, shards })
    }

    /// It is what was asked for.
    pub fn is_nothing(&self, missing: u64) -> bool {
        self.told.is_empty() && self.absent().is_empty() && (missing == 0 || self.is_by_time)
    }

    /// Shards that are not there, while others of the same campaign are.
    fn absent(&self) -> Vec<String> {
        let there = |shard: &Shard| self.shards.contains(shard);
        let all = |shard: &Shard| (0..shard.of).map(|index| Shard { index, ..shard.clone() }).collect::<Vec<_>>();
        let absent: BTreeSet<Shard> = self.shards.iter().flat_map(all).filter(|shard| !there(shard)).collect();
        let name = |Shard { campaign, first, of, index }: &Shard| {
            format!("shard {index}/{of} is missing: profile {}, seeds from {first} on", campaign.profile)
        };
        absent.iter().map(name).collect()
    }

    /// What is to be said about it.
    pub fn told(&self, missing: u64) -> Vec<String> {
        let why = match self.is_by_time {
            true => "parts that run by the clock do not come equally far",
            false => "a part is not whole, or not there",
        };
        let gaps = format!("{missing} seeds between the first and the last are missing: {why}");
        self.told.iter().cloned().chain(self.absent()).chain((0 < missing).then_some(gaps)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_reads_back_and_is_no_run() {
        let closing = Closing { ended: Why::GaveUp, runs: 7, shards: Vec::new() };
        let line = serde_json::to_string(&closing).unwrap();
        assert_eq!(line, "{\"ended\":\"gave-up\",\"runs\":7}");
        assert_eq!(Closing::read(&line).unwrap().unwrap(), closing);
        assert!(Closing::read("{\"profile\":\"p\",\"seed\":1}").is_none());
        assert!(Closing::read("{\"ended\":\"who").unwrap().is_err());
    }

    #[test]
    fn a_part_says_what_it_lacks() {
        let part = |runs, closing| Part { runs, closing };
        let closed = |ended, runs| Some(Closing { ended, runs, shards: Vec::new() });
        for (part, told) in [
            (part(3, None), Some("ended early, after 3 runs")),
            (part(3, closed(Why::Whole, 4)), Some("holds 3 of the 4 runs")),
            (part(3, closed(Why::Failure, 3)), Some("stopped at a failure, after 3 runs")),
            (part(3, closed(Why::GaveUp, 3)), Some("was given up after 3 runs")),
            (part(3, closed(Why::Whole, 3)), None),
            (part(0, closed(Why::Time, 0)), None),
        ] {
            let said = part.told();
            assert_eq!(said.is_some(), told.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().starts_with(told.unwrap_or_default()));
        }
    }
}
