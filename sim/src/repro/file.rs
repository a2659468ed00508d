//! The repro file: everything that one failing run depends on, and what it was.
//!
//! Promise: labels, names and texts, never positions in a stream. A repro therefore outlives edits that do not touch
//! its story. What can only be compared with the very build it was made by (hash, checkpoints, marks) is kept apart
//! in `[chain]`, and a difference there ends nothing: see [`super::replay`].

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use evenkeel_scenario::decision::parse_point;
use evenkeel_scenario::{Cell, Decisions, Scenario};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::signature::Signature;
use crate::chain::{ChainSummary, Hash128, Marks};
use crate::report::{RunReport, Verdict};

/// The version of the format.
pub const VERSION: u32 = 1;

/// Lines of the event log behind one mark, in files that do not say how many events are.
pub const MARK_LINES: usize = 16;

/// What the file is about today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Today {
    /// The run fails with the signature: a planted bug, or one that nobody has mended yet.
    #[default]
    Fails,
    /// The bug is mended: the run passes.
    Passes,
}

/// Which build a repro was made by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The commit, with `-dirty` when files differed from it.
    pub commit: String,
    /// The compiler.
    pub rustc: String,
}

/// What the simulator and the server in it are made of: a difference elsewhere makes no other build.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", "proto", "server", "sim"];

impl Build {
    /// The sources and the compiler as they were when this process first asked: it should do so before it runs anything.
    pub fn current() -> Build {
        static CURRENT: OnceLock<Build> = OnceLock::new();
        CURRENT.get_or_init(Build::read).clone()
    }

    fn read() -> Build {
        let unknown = || "unknown".to_owned();
        let head = git(&["rev-parse", "--short=12", "HEAD"]).map(|head| {
            let clean = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &SOURCES[..]].concat());
            if clean.is_some_and(|differences| differences.is_empty()) { head } else { head + DIRTY }
        });
        Build { commit: head.unwrap_or_else(unknown), rustc: ask("rustc", &["--version"]).unwrap_or_else(unknown) }
    }

    /// Commits since then that changed the sources, as far as the history here knows that commit.
    pub fn commits_since(&self) -> Option<u64> {
        commits_since(self.commit.trim_end_matches(DIRTY))
    }
}

/// Commits that changed the sources since the one that last changed a file: at least so many are younger than what the
/// file was made by.
pub fn commits_since_change_of(path: &Path) -> Option<u64> {
    let path = path.canonicalize().ok()?;
    let last = git(&["log", "-1", "--format=%H", "--", path.to_str()?])?;
    if last.is_empty() { None } else { commits_since(&last) }
}

fn commits_since(commit: &str) -> Option<u64> {
    let range = format!("{commit}..HEAD");
    git(&[&["rev-list", "--count", "--first-parent", &range, "--"], &SOURCES[..]].concat())?.parse().ok()
}

/// Sources that differed from the commit.
const DIRTY: &str = "-dirty";

/// Git in the directory that this was built from.
fn git(arguments: &[&str]) -> Option<String> {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    ask("git", &[&["-C", top], arguments].concat())
}

#[allow(clippy::disallowed_methods, reason = "the parent's side: real processes, outside every run")]
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How the failure showed itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The scenario file in which it was found.
    pub found_in: String,
    /// Its cell there; empty without a matrix.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cell: String,
    /// Simulated time.
    pub at_ns: u64,
    /// What was said.
    pub message: String,
}

/// How large a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Members at the start.
    pub members: u64,
    /// Steps that fired.
    pub faults: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Simulated time until the failure.
    pub simulated_ms: u64,
}

impl Size {
    /// Faults and operations.
    pub fn events(self) -> u64 {
        self.faults + self.operations
    }
}

/// The size before and after shrinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shrunk {
    /// As found.
    pub from: Size,
    /// As it is here.
    pub to: Size,
}

/// The identity of the run in the build that made the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The hash over all events.
    pub hash: Hash128,
    /// Their number.
    pub events: u64,
    /// Events between two marks; 0 in files whose marks are hashes of 16 lines each.
    #[serde(default)]
    pub mark_every: u64,
    /// The hash after every so many events, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub marks: String,
    /// Of files without `mark_every`: the hash after every 1,024th event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Hash128>,
}

impl Chain {
    /// Of a run.
    pub fn of(chain: &ChainSummary) -> Chain {
        let marks = chain.marks.hashes.iter().map(|mark| format!("{mark:08x}")).collect::<Vec<_>>().join(" ");
        let mark_every = chain.marks.every;
        Chain { hash: chain.hash, events: chain.events, mark_every, marks, checkpoints: Vec::new() }
    }

    /// The marks, in files that say how many events lie between them.
    pub fn marks(&self) -> Option<Marks> {
        let hashes = self.marks.split_whitespace().map(|mark| u32::from_str_radix(mark, 16).unwrap_or(0)).collect();
        (0 < self.mark_every).then_some(Marks { every: self.mark_every, hashes })
    }
}

/// A few digits for some lines, as files without `mark_every` have them.
pub fn mark(lines: &[String]) -> String {
    let mut chain = crate::chain::Chain::default();
    lines.iter().for_each(|line| chain.bytes(line.as_bytes()));
    format!("{:08x}", chain.hash().0 as u32)
}

/// The run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// Draws that are not the seed's: `label#occurrence`, and the number drawn.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "pattern": "^.+#[0-9]+$" }, "additionalProperties" = { "type": "string", "pattern": "^0x[0-9a-fA-F]{1,16}$" }))]
    pub overrides: BTreeMap<String, String>,
    /// A scenario of one cell, everything in it fixed.
    pub scenario: String,
}

/// A repro file. [`Repro::to_toml`] and [`Repro::parse`] are its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repro {
    /// The version of the format.
    #[schemars(extend("const" = VERSION))]
    pub repro: u32,
    /// Which failure.
    pub signature: Signature,
    /// Whether it still comes.
    #[serde(default)]
    pub today: Today,
    /// What happens, in sentences.
    #[serde(default)]
    pub story: Vec<String>,
    /// How it showed itself.
    pub failure: Failure,
    /// How much was left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
    /// What it was made by.
    #[serde(default)]
    pub build: Build,
    /// What it was, event by event.
    #[serde(default)]
    pub chain: Chain,
    /// How to see it again.
    pub run: Played,
}

impl Repro {
    /// The repro of a run that failed; none for a run that passed, or whose process crashed.
    pub fn from_failure(scenario: &Scenario, cell: &Cell, seed: u64, report: &RunReport) -> Option<Repro> {
        Repro::of_decisions(scenario, cell, &mut Decisions::new(seed), report)
    }

    /// The same for a run whose draws were not all its seed's.
    pub fn of_decisions(
        scenario: &Scenario,
        cell: &Cell,
        decisions: &mut Decisions,
        report: &RunReport,
    ) -> Option<Repro> {
        let signature = Signature::of(&report.verdict)?;
        let (at_ns, message) = match &report.verdict {
            Verdict::Violation { at_ns, message, .. } | Verdict::Panic { at_ns, message, .. } => (*at_ns, message),
            Verdict::Pass | Verdict::Error { .. } => return None,
        };
        let overrides =
            decisions.overrides().map(|(label, at, value)| (format!("{label}#{at}"), format!("{value:#x}")));
        let overrides = overrides.collect();
        let text = scenario.resolve(cell, decisions).to_toml();
        Some(Repro {
            repro: VERSION,
            signature,
            today: Today::Fails,
            story: Vec::new(),
            failure: Failure {
                found_in: scenario.file().to_owned(),
                cell: report.cell.clone(),
                at_ns,
                message: message.clone(),
            },
            shrunk: None,
            build: Build::current(),
            chain: Chain::of(&report.chain),
            run: Played { seed: decisions.seed(), overrides, scenario: text },
        })
    }

    /// The file.
    ///
    /// # Panics
    /// With a seed above what TOML can write.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a repro can be written as TOML")
    }

    /// Reads a file; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Repro, String> {
        let repro: Repro = toml::from_str(text).map_err(|error| error.to_string())?;
        if repro.repro != VERSION {
            return Err(format!("this version of repro files is unknown: {}", repro.repro));
        }
        repro.decisions()?;
        Ok(repro)
    }

    /// Whether a text is a repro file and not a scenario.
    pub fn is_repro(text: &str) -> bool {
        text.lines().any(|line| line.split('=').next().is_some_and(|key| key.trim() == "repro"))
    }

    /// The choices of its run.
    pub fn decisions(&self) -> Result<Decisions, String> {
        let mut decisions = Decisions::new(self.run.seed);
        for (point, value) in &self.run.overrides {
            let (label, occurrence) =
                parse_point(point).ok_or_else(|| format!("\"{point}\" is not LABEL#OCCURRENCE"))?;
            let number = value.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let number = number.ok_or_else(|| format!("\"{value}\" is not a number such as 0x1f"))?;
            decisions.set_override(label, occurrence, number);
        }
        Ok(decisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let repro = Repro {
            repro: VERSION,
            signature: Signature::of(&Verdict::Violation {
                what: "ledger".into(),
                at_ns: 0,
                message: String::new(),
                events: vec![],
            })
            .unwrap(),
            today: Today::Passes,
            story: vec!["n1 \"leads\".".into()],
            failure: Failure {
                found_in: "a.toml".into(),
                cell: "a=1,b=two".into(),
                at_ns: 5,
                message: "it's\nwrong".into(),
            },
            shrunk: Some(Shrunk::default()),
            build: Build::default(),
            chain: Chain::of(&ChainSummary { marks: Marks { every: 32, hashes: vec![7, 8] }, ..Default::default() }),
            run: Played {
                seed: 9,
                overrides: [("net/n1>n2#3".to_owned(), "0xffffffffffffffff".to_owned())].into(),
                scenario: "scn = 1\nname = \"a'b\"\n".into(),
            },
        };
        let text = repro.to_toml();
        assert!(Repro::is_repro(&text));
        assert!(!Repro::is_repro("scn = 1\nname = \"x\"\n"));
        assert_eq!(Repro::parse(&text).unwrap(), repro, "{text}");
        let mut decisions = repro.decisions().unwrap();
        let drawn: Vec<u64> = (0..4).map(|_| decisions.draw("net/n1>n2")).collect();
        assert_eq!(drawn[3], u64::MAX);
        assert!(Repro::parse(&text.replace("repro = 1", "repro = 2")).unwrap_err().contains("unknown: 2"));
        assert!(Repro::parse(&text.replace("#3", "")).unwrap_err().contains("LABEL#OCCURRENCE"));
    }
}
