//! What goes out beside the results: files that were asked for by name, and words on standard error.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::CliError;

/// Refuses a file that cannot be written, before hours are spent on what is to be in it. What it holds stays; where there is
/// none, none is left behind.
pub fn writable(path: &Path) -> Result<(), CliError> {
    // Pipes and devices are opened once, by who writes: a reader may be gone after the first time.
    if fs::metadata(path).is_ok_and(|is| !is.is_file() && !is.is_dir()) {
        return Ok(());
    }
    let is_new = fs::symlink_metadata(path).is_err();
    File::options().append(true).create(true).open(path).map_err(|error| unwritable(path, &error))?;
    if is_new {
        fs::remove_file(path).map_err(|error| unwritable(path, &error))?;
    }
    Ok(())
}

/// That a file cannot be written, and why.
pub fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::Usage(format!("cannot write {}: {error}", path.display()))
}

/// A line on standard error. It is a courtesy: nothing ends because nobody reads it any more.
pub fn note(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_whether_a_file_can_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("old"), "text").unwrap();
        std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
        for name in ["old", "new", "link"] {
            assert!(writable(&at(name)).is_ok(), "{name}");
        }
        assert_eq!(fs::read_to_string(at("old")).unwrap(), "text");
        assert!(!at("new").exists() && fs::symlink_metadata(at("link")).is_ok());
        assert!(writable(Path::new("/dev/null")).is_ok());
        for (path, why) in [
            (at("no/new"), "No such file"),
            (folder.path().to_owned(), "Is a directory"),
            (at("old/new"), "Not a directory"),
        ] {
            let refused = writable(&path).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("cannot write {}: {why}", path.display())), "{refused}");
        }
    }
}
