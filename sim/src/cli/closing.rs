//! The last line of a file of results: that the part of a campaign came to its end, which one, and with how many runs.
//!
//! A file without it is of a part that was killed, or is still under way: what it holds is true, and not all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

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

/// The line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Why.
    pub ended: Why,
    /// Runs before it.
    pub runs: u64,
    /// Which of how many shards of its seeds it was, when it was one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<(u64, u64)>,
}

impl Closing {
    /// The closing line that this is, if it is one.
    pub fn read(line: &str) -> Option<Result<Closing, serde_json::Error>> {
        line.starts_with(BEGINNING).then(|| serde_json::from_str(line))
    }
}

/// Lines of runs in a file, and what closes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The shards that are there, by how many there must be.
    shards: BTreeMap<u64, BTreeSet<u64>>,
    /// A part ended when its time was over: the others may have come farther, or less far.
    is_by_time: bool,
}

impl Lack {
    /// Looks at what a file holds.
    pub fn note(&mut self, path: &Path, parts: &[Part]) {
        self.told.extend(parts.iter().filter_map(Part::told).map(|what| format!("{} {what}", path.display())));
        for (index, of) in parts.iter().filter_map(|part| part.closing?.shard) {
            self.shards.entry(of).or_default().insert(index);
        }
        let is_by_time = |part: &Part| part.closing.is_some_and(|closing| closing.ended == Why::Time);
        self.is_by_time |= parts.iter().any(is_by_time);
    }

    /// How a file ends into which all of them are put, with so many seeds missing between the first and the last; not at
    /// all when it is not what was asked for.
    pub fn closing(&self, runs: u64, missing: u64) -> Option<Closing> {
        let ended = if self.is_by_time { Why::Time } else { Why::Merged };
        self.is_nothing(missing).then_some(Closing { ended, runs, shard: None })
    }

    /// It is what was asked for.
    pub fn is_nothing(&self, missing: u64) -> bool {
        self.told.is_empty() && self.absent().is_empty() && (missing == 0 || self.is_by_time)
    }

    /// Shards that are not there, while others of as many are.
    fn absent(&self) -> Vec<String> {
        let absent = |(of, there): (&u64, &BTreeSet<u64>)| {
            let absent: Vec<String> =
                (0..*of).filter(|index| !there.contains(index)).map(|i| format!("{i}/{of}")).collect();
            (!absent.is_empty()).then(|| absent.join(", "))
        };
        self.shards.iter().filter_map(absent).map(|which| format!("shards are missing: {which}")).collect()
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
        let closing = Closing { ended: Why::GaveUp, runs: 7, shard: None };
        let line = serde_json::to_string(&closing).unwrap();
        assert_eq!(line, "{\"ended\":\"gave-up\",\"runs\":7}");
        assert_eq!(Closing::read(&line).unwrap().unwrap(), closing);
        assert!(Closing::read("{\"profile\":\"p\",\"seed\":1}").is_none());
        assert!(Closing::read("{\"ended\":\"who").unwrap().is_err());
    }

    #[test]
    fn a_part_says_what_it_lacks() {
        let part = |runs, closing| Part { runs, closing };
        let closed = |ended, runs| Some(Closing { ended, runs, shard: None });
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
