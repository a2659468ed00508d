//! `sim replay DIR`: how all kept repro files fare with the sources of today.
//!
//! A file was made by an older build. Its scenario, labels and draws mean the same for ever, but the run they lead to may
//! part from the recorded one where code has changed. The table says how far each run is still the recorded one, event
//! by event, and whether it still ends as its file says, which is what it is kept for. A file that cannot be read has its
//! row as well, and the reason below the table: the others are played all the same.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::CliError;
use super::plan;
use super::replay::{load, unplanted};
use super::runner::{Extras, WALL_LIMIT, run_attempts};
use super::table::Table;
use crate::chain::Window;
use crate::report::{RunReport, World};
use crate::repro::attempt::LOG_EVENTS_MAX;
use crate::repro::file::{Today, commits_since_change_of};
use crate::repro::replay::{Sameness, as_expected, compare};
use crate::repro::{Attempt, Repro, Signature};

/// A file, and what came of it with the planted bug and without.
struct Kept {
    path: PathBuf,
    repro: Repro,
    planted: Option<RunReport>,
    unplanted: Option<RunReport>,
}

/// Replays all files of a directory; true when each ends as it says, and passes without the bug planted in it.
pub fn replay(directory: &Path, parallel: usize, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let entries: Vec<PathBuf> =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let mut paths: Vec<PathBuf> =
        entries.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(CliError::Usage(format!("{} holds no repro files", directory.display())));
    }
    let (mut kept, mut attempts) = (Vec::new(), Vec::new());
    let (mut unread, mut scenarios) = (Vec::new(), 0);
    for path in paths {
        let name = path.display().to_string();
        let (repro, attempt, without) = match read(&name, world) {
            Ok(Some(read)) => read,
            Ok(None) => {
                scenarios += 1;
                continue;
            }
            Err(error) => {
                unread.push((path, error));
                continue;
            }
        };
        attempts.push(((kept.len(), true), attempt));
        attempts.extend(without.map(|without| ((kept.len(), false), without)));
        kept.push(Kept { path, repro, planted: None, unplanted: None });
    }
    let window: Window = 0..LOG_EVENTS_MAX;
    let extras = Extras { trace: None, window: Some(window) };
    run_attempts(attempts, parallel, WALL_LIMIT, &extras, world, |(place, is_planted), report| {
        let kept: &mut Kept = &mut kept[place];
        *(if is_planted { &mut kept.planted } else { &mut kept.unplanted }) = Some(report);
    });

    let mut table = Table::new(&["file", ">commits since", "event by event", "ends", "without the bug"]);
    kept.iter().for_each(|kept| table.row(kept.row()));
    for (path, _) in &unread {
        table.row([stem(path), "?".into(), "-".into(), "CANNOT BE READ, see below".into(), "-".into()]);
    }
    out.write_all(table.render().as_bytes())?;
    let good = kept.iter().filter(|kept| kept.is_good()).count();
    let all = kept.len() + unread.len();
    writeln!(out, "{good} of {all} end as they say, and by their planted bug alone")?;
    if 0 < scenarios {
        writeln!(out, "left out, for they are plain scenarios: {scenarios} (cargo sim run {})", directory.display())?;
    }
    unread.iter().try_for_each(|(_, error)| writeln!(out, "\nCANNOT BE READ: {error}"))?;
    Ok(good == all)
}

/// What a file holds: its run, and that without the planted bug, if there is one. None when it is a plain scenario.
fn read(path: &str, world: &World) -> Result<Option<(Repro, Attempt, Option<Attempt>)>, CliError> {
    let is_repro = std::fs::read_to_string(path).is_ok_and(|text| Repro::is_repro(&text));
    if !is_repro && plan::load(path, world).is_ok_and(|checked| checked.is_ok()) {
        return Ok(None);
    }
    let repro = load(path)?;
    let attempt = Attempt::of(&repro, path).map_err(|error| CliError::Usage(format!("{path}: {error}")))?;
    let without = unplanted(&attempt, world)?;
    Ok(Some((repro, attempt, without)))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl Kept {
    fn planted(&self) -> &RunReport {
        self.planted.as_ref().expect("every attempt has one report")
    }

    fn is_good(&self) -> bool {
        as_expected(&self.repro, self.planted()) && self.unplanted.as_ref().is_none_or(|report| report.verdict.passed())
    }

    fn row(&self) -> [String; 5] {
        let told = |report: &RunReport| match Signature::of(&report.verdict) {
            Some(signature) => format!("fails: {signature}"),
            None if report.verdict.passed() => "passes".to_owned(),
            None => "does not run".to_owned(),
        };
        let ends = match (self.repro.today, as_expected(&self.repro, self.planted())) {
            (Today::Fails, true) => format!("as recorded: {}", self.repro.signature),
            (Today::Passes, true) => "mended".to_owned(),
            (_, false) => format!("NOT as recorded ({}): {}", self.repro.signature, told(self.planted())),
        };
        // What is younger than the file is younger than the build it was made by, known or not.
        let since = match self.repro.build.commits_since() {
            Some(commits) => commits.to_string(),
            None => commits_since_change_of(&self.path).map_or("?".to_owned(), |commits| format!("{commits}+")),
        };
        let same = match compare(&self.repro.chain, self.planted()) {
            Sameness::Same => format!("all {}", self.planted().chain.events),
            Sameness::Parted { from, .. } => format!("{from} of {}", self.repro.chain.events),
        };
        [stem(&self.path), since, same, ends, self.unplanted.as_ref().map_or("nothing is planted".to_owned(), told)]
    }
}
