//! The files of a campaign: a line for each run, and each failed scenario.
//!
//! Of a failure `NAME` there are `NAME.toml`, the scenario as it was run, with its seed; `NAME.repro.toml`, the same run as
//! a repro file; and of the first of its kind what [`super::first`] makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use evenkeel_scenario::Cell;

use super::first::Told;
use super::place::{self, FAILURES, Place};
use crate::cli::CliError;
use crate::cli::closing::Closing;
use crate::explore::generate::parse;
use crate::explore::result::Failure;
use crate::explore::{Draft, Line};
use crate::report::RunReport;
use crate::repro::Repro;

/// So many failures of one kind are kept as files.
const KEPT_OF_A_KIND: usize = 20;
/// So many of them that nobody has shrunk are named.
const NAMED_OF_A_KIND: usize = 3;

/// Where they go.
pub struct Keep {
    /// Without a directory that was given, one of its own is made for the first failure.
    dir: Option<PathBuf>,
    place: Option<Place>,
    kinds: BTreeMap<String, Kind>,
}

/// Failures of one kind.
#[derive(Default)]
struct Kind {
    found: Vec<Found>,
    runs: usize,
    /// What came of shrinking the first one.
    told: Option<Told>,
}

/// A failure with files of its own.
#[derive(Clone, Debug)]
pub struct Found {
    /// What its files are called, without what follows the dot.
    stem: PathBuf,
    /// It has a repro file, and so can be shrunk.
    has_repro: bool,
}

impl Found {
    /// A file of it.
    pub fn path(&self, what: &str) -> PathBuf {
        let mut path = self.stem.clone().into_os_string();
        path.push(".");
        path.push(what);
        path.into()
    }

    /// The scenario.
    pub fn scenario(&self) -> PathBuf {
        self.path("toml")
    }

    fn repro(&self) -> PathBuf {
        self.path("repro.toml")
    }

    /// What shrinking makes.
    pub fn shrunk(&self) -> PathBuf {
        self.path("shrunk.repro.toml")
    }

    /// The command that shrinks it.
    fn shrink(&self) -> String {
        format!("cargo sim shrink {} --out {}", self.repro().display(), self.shrunk().display())
    }
}

/// The first failure of a kind, to be shrunk.
pub struct First {
    /// How it failed.
    pub signature: String,
    /// What was run.
    pub draft: Draft,
    /// Its files.
    pub found: Found,
}

impl Keep {
    /// Makes the directory ready, if one is given.
    pub fn begin(dir: Option<&Path>) -> Result<Keep, CliError> {
        let place = dir.map(place::ready).transpose()?;
        Ok(Keep { dir: dir.map(Path::to_owned), place, kinds: BTreeMap::new() })
    }

    /// Keeps what came of a run, and writes into `line` where its scenario is. A failure that is the first of its kind, and
    /// can be shrunk, comes back.
    pub fn line(
        &mut self,
        line: &mut Line,
        report: &RunReport,
        draft: impl FnOnce() -> Draft,
    ) -> Result<Option<First>, CliError> {
        let kept = match &line.failure {
            Some(failure) => self.failure(failure.clone(), line, report, draft)?,
            None => None,
        };
        let file = kept.as_ref().map(|(first, _)| first.found.scenario());
        let name = file.as_deref().and_then(Path::file_name).map(|name| format!("{FAILURES}/{}", name.display()));
        line.scenario = name;
        if let Some(Place { results, .. }) = &mut self.place {
            serde_json::to_writer(&mut *results, line).map_err(io::Error::from)?;
            results.write_all(b"\n")?;
        }
        line.scenario = file.map(|file| file.display().to_string());
        if line.failure.is_some() {
            self.flush()?;
        }
        Ok(kept.filter(|(first, is_first)| *is_first && first.found.has_repro).map(|(first, _)| first))
    }

    /// Writes the files of a failure, unless there are enough of its kind; and whether it is the first.
    fn failure(
        &mut self,
        Failure { signature, message }: Failure,
        line: &Line,
        report: &RunReport,
        draft: impl FnOnce() -> Draft,
    ) -> Result<Option<(First, bool)>, CliError> {
        let failures = self.dir()?.join(FAILURES);
        let kind = self.kinds.entry(signature.clone()).or_default();
        kind.runs += 1;
        if kind.found.len() == KEPT_OF_A_KIND {
            return Ok(None);
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let words: String = signature.chars().take(40).map(plain).collect();
        let guided = if line.campaign.guided { "-guided" } else { "" };
        let stem = failures.join(format!("{words}-{}{guided}-{}", line.campaign.profile, line.seed));
        let draft = draft();
        let repro = Repro::from_failure(&parse(&draft), &Cell::default(), draft.seed, report);
        let found = Found { stem, has_repro: repro.is_some() };
        let mut head = message.lines().map(|line| format!("# {line}\n")).collect::<String>();
        head.push_str(&format!("# again: cargo sim run {}\n", found.scenario().display()));
        if let Some(repro) = repro {
            head.push_str(&format!("# smaller: {}\n", found.shrink()));
            fs::write(found.repro(), repro.to_toml())?;
        }
        fs::write(found.scenario(), head + &draft.text())?;
        kind.found.push(found.clone());
        Ok(Some((First { signature, draft, found }, kind.found.len() == 1)))
    }

    fn dir(&mut self) -> Result<&Path, CliError> {
        if self.dir.is_none() {
            let dir = tempfile::Builder::new().prefix("evenkeel-fuzz-").tempdir()?.keep();
            fs::create_dir(dir.join(FAILURES))?;
            self.dir = Some(dir);
        }
        Ok(self.dir.as_deref().expect("made above"))
    }

    /// What came of shrinking the first failure of a kind.
    pub fn told(&mut self, signature: &str, told: Told) {
        self.kinds.entry(signature.to_owned()).or_default().told = Some(told);
    }

    /// Says of each kind which files there are, and what to do with them.
    pub fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        for (signature, kind) in &self.kinds {
            let Some((first, others)) = kind.found.split_first() else { continue };
            let times = if kind.runs == 1 { String::new() } else { format!(", {} runs", kind.runs) };
            writeln!(out, "\n{signature}{times}\n  first: cargo sim run {}", first.scenario().display())?;
            match &kind.told {
                Some(told) => told.tell(first, out)?,
                None if first.has_repro => writeln!(out, "  smaller: {}", first.shrink())?,
                None => {}
            }
            let others: Vec<&Found> = others.iter().filter(|found| found.has_repro).collect();
            for found in others.iter().take(NAMED_OF_A_KIND) {
                writeln!(out, "  another: {}", found.shrink())?;
            }
            if NAMED_OF_A_KIND < others.len() {
                let more = others.len() - NAMED_OF_A_KIND;
                writeln!(out, "  {more} more are kept in {}", self.dir.as_ref().unwrap().join(FAILURES).display())?;
            }
        }
        let shrunk: Vec<&Told> = self.kinds.values().filter_map(|kind| kind.told.as_ref()).collect();
        let lacking = shrunk.iter().filter(|told| !told.is_whole()).count();
        if 0 < lacking {
            writeln!(
                out,
                "\n{lacking} of {} kinds of failures have no shrunk run, or no page: the runs themselves are kept",
                shrunk.len()
            )?;
        }
        Ok(())
    }

    /// Writes the last line of the results.
    pub fn close(&mut self, closing: Closing) -> Result<(), CliError> {
        if let Some(Place { results, .. }) = &mut self.place {
            serde_json::to_writer(&mut *results, &closing).map_err(io::Error::from)?;
            results.write_all(b"\n")?;
        }
        self.flush()
    }

    /// Writes what is held back.
    pub fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.place.as_mut().map_or(Ok(()), |place| place.results.flush())?)
    }
}
