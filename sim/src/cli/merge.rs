//! `sim merge`: the results of the parts of a campaign, put together.
//!
//! No line is held: a campaign may be a million of them. Those that are to be written again, in the order of their seeds,
//! are read a second time from where they were.
//!
//! A seed counts once, however many files have it; but each time it must have been the same run. So two campaigns over the
//! same seeds, in fresh processes, are a check of determinism ([`crate::explore::repeats`]).

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf, absolute};

use super::CliError;
use super::campaign;
use super::closing::{Closing, Lack, Part};
use super::output::writable;
use crate::explore::repeats::{Difference, Repeat, Repeats};
use crate::explore::result::Key;
use crate::explore::{Line, Summary};
use crate::report::World;

/// So many seeds that were two runs are named.
const DIFFERENT_TOLD: usize = 20;

/// What to merge.
#[derive(clap::Args, Debug)]
pub struct MergeArgs {
    /// Results of parts of a campaign
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Writes all results to this file, in the order of their seeds
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Puts the results of parts together; true when nothing failed, what was run twice was the same both times, and no
/// part is missing.
pub fn merge(args: &MergeArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    args.out.as_deref().map(writable).transpose()?;
    let mut summary = Summary::default();
    let mut twice = Twice::default();
    // Where each line is: its file, and the byte it begins at.
    let mut places: BTreeMap<Key, (usize, u64)> = BTreeMap::new();
    // Failures of seeds that another program, or another search, had passed.
    let mut more = Vec::new();
    let mut lack = Lack::default();
    for (file, path) in args.files.iter().enumerate() {
        let held = read(path, |line, at| {
            let repeat = twice.repeats.look(&line, file);
            match summary.add(line) {
                Ok(key) if args.out.is_some() => _ = places.insert(key, (file, at)),
                Ok(_) => {}
                Err(line) => {
                    if repeat == Repeat::Incomparable && line.failure.is_some() {
                        more.push((file, at));
                        summary.add_failure(*line);
                    }
                    twice.count(repeat);
                }
            }
        })?;
        if held == [Part { runs: 0, closing: None }] {
            return Err(refused(path, "holds no run: was this part begun at all?"));
        }
        lack.note(path, &held);
    }
    let missing = summary.missing();
    if let Some(path) = &args.out {
        write(path, &args.files, places.into_values().chain(more), |runs| lack.closing(runs, missing))?;
    }
    campaign::tell(&summary, world, None, out)?;
    twice.tell(&args.files, out)?;
    let told = lack.told(missing);
    if !told.is_empty() {
        writeln!(out, "\n{}", told.join("\n"))?;
    }
    Ok(summary.sums().failed == 0 && twice.different == 0 && lack.is_nothing(missing))
}

/// What came of the runs of seeds that were there before.
#[derive(Default)]
struct Twice {
    repeats: Repeats,
    same: u64,
    different: u64,
    incomparable: u64,
    /// The first that differ.
    named: Vec<Difference>,
}

impl Twice {
    fn count(&mut self, repeat: Repeat) {
        match repeat {
            Repeat::Same => self.same += 1,
            Repeat::Incomparable => self.incomparable += 1,
            Repeat::Different(difference) => {
                self.different += 1;
                if self.named.len() < DIFFERENT_TOLD {
                    self.named.push(*difference);
                }
            }
        }
    }

    fn tell(&self, files: &[PathBuf], out: &mut dyn Write) -> Result<(), CliError> {
        let Twice { same, different, incomparable, .. } = self;
        let all = same + different + incomparable;
        if all == 0 {
            return Ok(());
        }
        writeln!(out, "\nrun again, and counted once: {all}; the same each time: {same}, DIFFERENT: {different}")?;
        if 0 < *incomparable {
            writeln!(out, "  {incomparable} could not be compared: by another program, or guided")?;
        }
        for Difference { campaign, seed, runs } in &self.named {
            let [first, second] = runs.each_ref().map(|(file, hash)| format!("{hash} in {}", files[*file].display()));
            let profile = &campaign.profile;
            writeln!(out, "  DIFFERENT: profile {profile}, seed {seed}: {first}, {second}")?;
        }
        if let Some(more) = different.checked_sub(self.named.len() as u64).filter(|more| 0 < *more) {
            writeln!(out, "  {more} more differ")?;
        }
        if let Some(Difference { campaign, seed, .. }) = self.named.first() {
            let profile = &campaign.profile;
            let mutants = campaign.mutants.split(',').filter(|name| !name.is_empty());
            let mutants: String = mutants.map(|name| format!(" --mutant {name}")).collect();
            writeln!(
                out,
                "  where they part: cargo sim generate --profile {profile} --seed {seed}{mutants} > it.toml; cargo sim \
                 check-determinism it.toml"
            )?;
        }
        Ok(())
    }
}

/// Reads a file of results line by line: each run, and the byte it begins at. Paths in it become those from here. Tells the
/// parts that it holds: one, unless somebody put files together.
pub fn read(path: &Path, mut each: impl FnMut(Line, u64)) -> Result<Vec<Part>, CliError> {
    let mut file = open(path)?;
    let (mut parts, mut runs) = (Vec::new(), 0);
    let (mut text, mut at, mut number) = (String::new(), 0, 0_u64);
    loop {
        text.clear();
        let length = file.read_line(&mut text)?;
        if length == 0 {
            if 0 < runs || parts.is_empty() {
                parts.push(Part { runs, closing: None });
            }
            return Ok(parts);
        }
        number += 1;
        let wrong = |error: String| refused(path, &format!("line {number}: {error}"));
        match Closing::read(&text) {
            Some(closing) => {
                parts.push(Part { runs, closing: Some(closing.map_err(|error| wrong(error.to_string()))?) });
                runs = 0;
            }
            None => {
                each(parse(&text, path).map_err(wrong)?, at);
                runs += 1;
            }
        }
        at += length as u64;
    }
}

/// Writes lines again: from which file, and from where in it. The old file of that name may be one of them. What is put
/// together from whole parts is whole.
fn write(
    path: &Path,
    files: &[PathBuf],
    lines: impl Iterator<Item = (usize, u64)>,
    closing: impl FnOnce(u64) -> Option<Closing>,
) -> Result<(), CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| refused(path, &format!("cannot be written: {error}"));
    let mut out = BufWriter::new(beside(folder).map_err(failed)?);
    let mut open: Vec<(BufReader<File>, u64)> =
        files.iter().map(|path| Ok((self::open(path)?, 0))).collect::<Result<_, CliError>>()?;
    let (mut text, mut runs) = (String::new(), 0);
    for (place, at) in lines {
        let (file, next) = &mut open[place];
        if *next != at {
            file.seek(SeekFrom::Start(at))?;
        }
        text.clear();
        *next = at + file.read_line(&mut text)? as u64;
        let mut line = parse(&text, &files[place]).map_err(|error| refused(&files[place], &error))?;
        line.scenario = line.scenario.map(|path| absolute(&path).map_or(path, |whole| whole.display().to_string()));
        serde_json::to_writer(&mut out, &line).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
        runs += 1;
    }
    if let Some(closing) = closing(runs) {
        serde_json::to_writer(&mut out, &closing).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
    }
    let file = out.into_inner().map_err(|error| error.into_error())?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A file without a name of its own yet, as readable to others as any: to take another one's place when it is whole.
pub fn beside(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

fn open(path: &Path) -> Result<BufReader<File>, CliError> {
    File::open(path).map(BufReader::new).map_err(|error| refused(path, &error.to_string()))
}

fn parse(text: &str, path: &Path) -> Result<Line, String> {
    let mut line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    line.scenario = line.scenario.map(|scenario| folder.join(scenario).display().to_string());
    Ok(line)
}

fn refused(path: &Path, error: &str) -> CliError {
    CliError::Usage(format!("{}: {error}", path.display()))
}
