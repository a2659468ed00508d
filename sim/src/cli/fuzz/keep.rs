//! The files of a campaign: a line for each run, and each failed scenario.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use evenkeel_scenario::Cell;

use crate::cli::CliError;
use crate::explore::generate::parse;
use crate::explore::{Draft, Line};
use crate::report::RunReport;
use crate::repro::Repro;

/// The file of results in the directory that was given.
const RESULTS: &str = "results.ndjson";
/// The directory of failed scenarios in it.
pub const FAILURES: &str = "failures";
/// So many failures of one kind are kept as files.
const KEPT_OF_A_KIND: u64 = 20;

/// Where they go.
pub struct Keep {
    dir: PathBuf,
    results: BufWriter<File>,
    of_a_kind: BTreeMap<String, u64>,
}

impl Keep {
    /// Makes the directory.
    pub fn begin(dir: &Path) -> Result<Keep, CliError> {
        let failed = |error| CliError::Usage(format!("cannot write to {}: {error}", dir.display()));
        fs::create_dir_all(dir.join(FAILURES)).map_err(failed)?;
        let results = BufWriter::new(File::create(dir.join(RESULTS)).map_err(failed)?);
        Ok(Keep { dir: dir.to_owned(), results, of_a_kind: BTreeMap::new() })
    }

    /// Keeps what came of a run.
    pub fn line(&mut self, line: &Line, report: &RunReport, draft: impl FnOnce() -> Draft) -> Result<(), CliError> {
        let json = serde_json::to_string(line).expect("a line can be written as JSON");
        writeln!(self.results, "{json}")?;
        let Some(failure) = &line.failure else { return Ok(()) };
        self.results.flush()?;
        let count = self.of_a_kind.entry(failure.signature.clone()).or_default();
        *count += 1;
        if *count <= KEPT_OF_A_KIND {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            let kind: String = failure.signature.chars().take(40).map(plain).collect();
            let name = format!("{kind}-{}-{}", line.profile, line.seed);
            let about = failure.message.lines().map(|line| format!("# {line}\n")).collect::<String>();
            let draft = draft();
            let failures = self.dir.join(FAILURES);
            fs::write(failures.join(format!("{name}.toml")), about + &draft.text())?;
            if let Some(repro) = Repro::from_failure(&parse(&draft), &Cell::default(), draft.seed, report) {
                fs::write(failures.join(format!("{name}.repro.toml")), repro.to_toml())?;
            }
        }
        Ok(())
    }

    /// Writes what is held back.
    pub fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.results.flush()?)
    }
}
