//! The directory that a campaign was given, made ready: what an earlier one left there is kept, beside it.
//!
//! A campaign begins with files of its own, so that a shard that is started again replaces its results as a whole. The
//! old ones may be all that is left of a night, and go to `earlier-1`, `earlier-2` and so on in the same directory, results
//! and failures together: what the results name is still there.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::cli::output::note;

/// The file of results.
pub const RESULTS: &str = "results.ndjson";
/// The directory of failed scenarios.
pub const FAILURES: &str = "failures";
/// The directory of a guided campaign's corpus.
pub const CORPUS: &str = "corpus";
/// The results of so many earlier campaigns are kept.
const EARLIER_MAX: u32 = 100;

/// A directory that is this campaign's as long as this lives.
pub struct Place {
    /// The file of results, empty at first.
    pub results: BufWriter<File>,
    /// The directory itself is locked: whatever is renamed in it, it stays the same.
    _lock: File,
}

/// Makes the directory ready, which no other campaign may be writing to.
pub fn ready(dir: &Path) -> Result<Place, CliError> {
    let failed = |error: io::Error| CliError::Usage(format!("cannot write to {}: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = locked(dir)?;
    let (results, failures) = (dir.join(RESULTS), dir.join(FAILURES));
    let held = fs::metadata(&results).map_or(0, |file| file.len());
    if 0 < held || (failures.is_dir() && 0 < count(&failures).map_err(failed)?) {
        let earlier = earlier(dir)?;
        put_aside(dir, &earlier).map_err(failed)?;
        note(format_args!("{} held an earlier campaign, which is kept as {}", dir.display(), earlier.display()));
    }
    fs::create_dir_all(failures).map_err(failed)?;
    let results = File::options().create(true).append(true).open(results).map_err(failed)?;
    Ok(Place { results: BufWriter::new(results), _lock: lock })
}

fn locked(dir: &Path) -> Result<File, CliError> {
    let failed = |error: io::Error| CliError::Usage(format!("cannot write to {}: {error}", dir.display()));
    let file = File::open(dir).map_err(failed)?;
    match file.try_lock() {
        // Where directories cannot be locked, two campaigns in one are not found out.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CliError::Usage(format!(
            "another campaign is writing to {}: give each one, and each shard, a directory of its own",
            dir.display()
        ))),
    }
}

fn count(dir: &Path) -> io::Result<usize> {
    Ok(fs::read_dir(dir)?.count())
}

/// A new directory for what is there.
fn earlier(dir: &Path) -> Result<PathBuf, CliError> {
    for number in 1..=EARLIER_MAX {
        let path = dir.join(format!("earlier-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(CliError::Usage(format!("cannot write to {}: {error}", dir.display()))),
        }
    }
    Err(CliError::Usage(format!(
        "{} holds results, and those of {EARLIER_MAX} campaigns before them: remove some of {0}/earlier-*, or give --out a \
         new directory",
        dir.display()
    )))
}

fn put_aside(dir: &Path, earlier: &Path) -> io::Result<()> {
    // Results name failures: both go, or both stay.
    let mut moved: Vec<&str> = Vec::new();
    for name in [FAILURES, RESULTS] {
        if let Err(error) = move_if_there(&dir.join(name), &earlier.join(name)) {
            for name in moved {
                move_if_there(&earlier.join(name), &dir.join(name))?;
            }
            return Err(error);
        }
        moved.push(name);
    }
    // The next campaign may begin with this corpus, and replaces it when it ends: a copy stays.
    let corpus = dir.join(CORPUS);
    if corpus.is_dir() {
        fs::create_dir(earlier.join(CORPUS))?;
        for entry in fs::read_dir(&corpus)? {
            let entry = entry?;
            fs::copy(entry.path(), earlier.join(CORPUS).join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}
