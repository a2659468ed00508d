//! Runs that were made more than once, and whether they were the same run each time.
//!
//! A seed is one run: whoever makes it again, in another process, on another machine, with more runs at once, with another
//! salt, sees the same events, up to the same end. Comparable are runs by the same program ([`Origin::program`]). A run of a
//! guided campaign depends on the ones before it, and is compared with nothing.
//!
//! Of a run a fingerprint is kept, and the number of the file that it came from: less than 60 bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufReader, Read};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::result::{Campaign, Line, UNFINISHED};
use crate::chain::Chain;
use crate::fork::program_file;

/// So many bytes of the program are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What made a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// A hash of the simulator's program; empty when it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
}

impl Origin {
    /// This process. Its program is read at the first call.
    pub fn here() -> Origin {
        static PROGRAM: OnceLock<String> = OnceLock::new();
        Origin { program: PROGRAM.get_or_init(|| program().unwrap_or_default()).clone() }
    }
}

/// A hash of the program that runs, and not of what its file may have become since.
fn program() -> std::io::Result<String> {
    let (mut program, mut chain, mut chunk) = (BufReader::new(program_file()?), Chain::default(), Vec::new());
    loop {
        chunk.clear();
        if program.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)? == 0 {
            return Ok(chain.hash().to_string());
        }
        chain.bytes(&chunk);
    }
}

/// What a run was, short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    /// The hash of its events.
    events: [u64; 2],
    /// Of its length and of how it ended.
    end: u32,
    /// Where it was read.
    file: u32,
}

/// What became of a run that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing like it was there: another program made it, or it has no hash.
    Incomparable,
    /// It is the same run.
    Same,
    /// It is another one.
    Different(Box<Difference>),
}

/// A seed that was two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What both are of.
    pub campaign: Campaign,
    /// The seed of both.
    pub seed: u64,
    /// Of each: the number of its file, and the hash of its events.
    pub runs: [(usize, String); 2],
}

/// The runs of several files.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    runs: BTreeMap<(Campaign, Origin), BTreeMap<u64, Print>>,
}

impl Repeats {
    /// Looks at a run of a file with this number.
    pub fn look(&mut self, line: &Line, file: usize) -> Repeat {
        let hash = u128::from_str_radix(&line.hash, 16).ok().filter(|_| line.hash.len() == 32);
        let (Some(hash), false, false) = (hash, line.campaign.guided, line.origin.program.is_empty()) else {
            return Repeat::Incomparable;
        };
        // What the machine ended, for time or memory, says nothing of the seed.
        if line.failure.as_ref().is_some_and(|failure| failure.signature == UNFINISHED) {
            return Repeat::Incomparable;
        }
        let signature = line.failure.as_ref().map_or("", |failure| &failure.signature);
        let end = crc32c::crc32c_append(crc32c::crc32c(signature.as_bytes()), &line.simulated_ns.to_le_bytes());
        let file = u32::try_from(file).expect("files are arguments, and those are few");
        let print = Print { events: [(hash >> 64) as u64, hash as u64], end, file };
        let key = (line.campaign.clone(), line.origin.clone());
        match self.runs.entry(key).or_default().entry(line.seed) {
            Entry::Vacant(entry) => {
                entry.insert(print);
                Repeat::Incomparable
            }
            Entry::Occupied(first) if Print { file: print.file, ..*first.get() } == print => Repeat::Same,
            Entry::Occupied(first) => Repeat::Different(Box::new(Difference {
                campaign: line.campaign.clone(),
                seed: line.seed,
                runs: [first.get(), &print]
                    .map(|Print { events: [high, low], file, .. }| (*file as usize, format!("{high:016x}{low:016x}"))),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::result::Failure;

    fn line(program: &str, hash: &str) -> Line {
        Line {
            campaign: Campaign { profile: "p".into(), ..Campaign::default() },
            origin: Origin { program: program.into() },
            seed: 7,
            failure: None,
            scenario: None,
            simulated_ns: 5,
            cpu_ns: 1,
            events: 2,
            hash: hash.repeat(32),
            operations: 3,
            seen: [].into(),
            places: Vec::new(),
        }
    }

    #[test]
    fn only_what_can_be_compared_is_compared() {
        let first = || line("one", "a");
        let failed = Some(Failure { signature: "lost".into(), message: "m".into() });
        let killed = Some(Failure { signature: UNFINISHED.into(), message: "killed".into() });
        for (name, second, found) in [
            ("the same", first(), "same"),
            ("on another machine", Line { cpu_ns: 99, ..first() }, "same"),
            ("other events", line("one", "b"), "different"),
            ("another end", Line { failure: failed, ..first() }, "different"),
            ("longer", Line { simulated_ns: 6, ..first() }, "different"),
            ("ended by the machine", Line { failure: killed, hash: "0".repeat(32), ..first() }, "incomparable"),
            ("another program", line("two", "b"), "incomparable"),
            ("of an older file", line("", "b"), "incomparable"),
            ("without a hash", line("one", ""), "incomparable"),
            ("another seed", Line { seed: 8, ..line("one", "b") }, "incomparable"),
        ] {
            let mut repeats = Repeats::default();
            assert_eq!(repeats.look(&first(), 0), Repeat::Incomparable);
            let told = match repeats.look(&second, 1) {
                Repeat::Incomparable => "incomparable",
                Repeat::Same => "same",
                Repeat::Different(it) => {
                    assert_eq!((it.seed, it.runs), (7, [(0, first().hash), (1, second.hash)]));
                    "different"
                }
            };
            assert_eq!(told, found, "{name}");
        }
        let mut guided = Repeats::default();
        let campaign = Campaign { guided: true, ..first().campaign };
        for hash in ["a", "b"] {
            let line = Line { campaign: campaign.clone(), ..line("one", hash) };
            assert_eq!(guided.look(&line, 0), Repeat::Incomparable);
        }
    }

    #[test]
    fn a_process_knows_its_program() {
        assert_eq!((Origin::here().program.len(), Origin::here()), (32, Origin::here()));
    }
}
