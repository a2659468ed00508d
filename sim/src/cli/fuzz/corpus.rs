//! A corpus as files: what a guided search has seen, for the next one to begin with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::cli::merge::beside;
use crate::explore::Corpus;
use crate::explore::corpus::Entry;

/// Scenarios, one as JSON on each line, the oldest first.
const ENTRIES: &str = "entries.ndjson";
/// In how many runs each place was hit, as one JSON object.
const PLACES: &str = "places.json";

/// Writes a corpus; a reader finds the whole old one or the whole new one in each file.
pub fn save(corpus: &Corpus, dir: &Path) -> Result<(), CliError> {
    fs::create_dir_all(dir)?;
    let replace = |name: &str, write: &dyn Fn(&mut dyn Write) -> std::io::Result<()>| {
        let mut file = beside(dir)?;
        write(&mut file)?;
        file.persist(dir.join(name)).map_err(|error| error.error).map(drop)
    };
    replace(ENTRIES, &|file| {
        let lines = corpus.entries().iter().map(|entry| serde_json::to_string(entry).expect("an entry is plain"));
        let text: String = lines.map(|line| line + "\n").collect();
        file.write_all(text.as_bytes())
    })?;
    replace(PLACES, &|file| {
        file.write_all(&serde_json::to_vec(corpus.hits()).expect("numbers can be written as JSON"))
    })?;
    Ok(())
}

/// Reads corpora, the later ones for what the earlier ones lack.
pub fn load(dirs: &[PathBuf]) -> Result<Corpus, CliError> {
    let mut corpus = Corpus::default();
    for dir in dirs {
        let refused = |name: &str, error: String| CliError::Usage(format!("{}: {error}", dir.join(name).display()));
        let open =
            |name: &str| File::open(dir.join(name)).map(BufReader::new).map_err(|e| refused(name, e.to_string()));
        let hits: BTreeMap<u32, u32> =
            serde_json::from_reader(open(PLACES)?).map_err(|error| refused(PLACES, error.to_string()))?;
        let read = |(number, line): (usize, std::io::Result<String>)| {
            serde_json::from_str::<Entry>(&line?).map_err(|error| refused(ENTRIES, format!("line {number}: {error}")))
        };
        let entries: Vec<Entry> = (1..).zip(open(ENTRIES)?.lines()).map(read).collect::<Result<_, CliError>>()?;
        corpus.merge(&hits, entries);
    }
    Ok(corpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{Profile, draft};
    use evenkeel_scenario::cluster::Planted;

    #[test]
    fn what_is_saved_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut corpus = Corpus::default();
        for seed in 0..5 {
            corpus.add(&draft(&Profile::default(), seed, &Planted::default()), &[7, seed as u32]);
        }
        let path = dir.path().join("corpus");
        save(&corpus, &path).unwrap();
        save(&corpus, &path).unwrap();
        let read = load(&[path]).unwrap();
        assert_eq!((read.entries(), read.hits()), (corpus.entries(), corpus.hits()));
        assert!(load(&[dir.path().to_owned()]).is_err());
    }
}
