//! The command line, read. Small enough to be its own parser; a slip gets the nearest valid name.

use std::ops::Range;
use std::path::PathBuf;

use evenkeel_scenario::nearest;

/// What `sim` and `sim --help` print.
pub const USAGE: &str = "\
The simulator: whole clusters under one seed.

  cargo sim run [PATH…] [--seed N | --seeds A..B] [--jobs N] [--format text|json] [--trace FILE] [--cell NAME=VALUE,…]
  cargo sim check-determinism [PATH…] [--seeds A..B] [--jobs N]
  cargo sim lint [PATH…]
  cargo sim list
  cargo sim points

run                 runs scenarios; without a PATH all files scenarios/*.toml
check-determinism   runs every seed twice, in processes that share nothing, and compares what happened
lint                checks scenario files
list                names the scenarios in scenarios/
points              names the points in the code that fp(POINT) may mean

PATH                a scenario file, or a directory of them
--seed N            only this seed
--seeds A..B        the seeds from A up to, not including, B; by default as many as the file says
--jobs N            runs at once; by default one per core
--format text|json  a table for people, or one JSON object per line: every run, then a summary
--trace FILE        writes every event of the run, as lines of JSON; needs a single run
--cell NAME=VALUE,… only the matrix cells with these values

Exit code: 0 all held, 1 an expectation failed, 2 wrong usage or an invalid file.
";

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Files and directories.
    pub paths: Vec<String>,
    /// Seeds; by default as many as each file says.
    pub seeds: Option<Range<u64>>,
    /// Values of matrix parameters that must match.
    pub cell: Vec<(String, String)>,
}

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run scenarios.
    Run {
        /// Which runs.
        selection: Selection,
        /// Runs at once.
        jobs: Option<usize>,
        /// How results are written.
        format: Format,
        /// Where the events of the only run go.
        trace: Option<PathBuf>,
    },
    /// Run everything twice and compare.
    CheckDeterminism {
        /// Which runs.
        selection: Selection,
        /// Runs at once.
        jobs: Option<usize>,
    },
    /// Check files.
    Lint {
        /// Files and directories.
        paths: Vec<String>,
    },
    /// Name the scenarios.
    List,
    /// Name the points in the code.
    Points,
    /// Print the usage.
    Help,
    /// Internal: run the jobs given on standard input. Not for people.
    Worker,
}

const COMMANDS: &[(&str, &[&str])] = &[
    ("run", &["--seed", "--seeds", "--jobs", "--format", "--trace", "--cell"]),
    ("check-determinism", &["--seeds", "--jobs"]),
    ("lint", &[]),
    ("list", &[]),
    ("points", &[]),
];

/// Reads the arguments after the program's name; the error is one line that says what to do.
pub fn parse(args: &[String]) -> Result<Command, String> {
    let Some((name, rest)) = args.split_first() else { return Ok(Command::Help) };
    if ["help", "-h", "--help"].contains(&name.as_str()) || rest.iter().any(|arg| arg == "-h" || arg == "--help") {
        return Ok(Command::Help);
    }
    if name == super::worker::COMMAND && rest.is_empty() {
        return Ok(Command::Worker);
    }
    let names = COMMANDS.iter().map(|(name, _)| *name);
    let Some((_, allowed)) = COMMANDS.iter().find(|(known, _)| known == name) else {
        return Err(unknown("command", name, names));
    };
    let mut options = Options::default();
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        let Some((name, value)) = option(arg) else {
            options.selection.paths.push(arg.clone());
            continue;
        };
        if !allowed.contains(&name) {
            return Err(unknown("option", name, allowed.iter().copied()));
        }
        let value = match value {
            Some(value) => value,
            None => rest.next().ok_or_else(|| format!("{name} needs a value"))?,
        };
        options.set(name, value)?;
    }
    let Options { selection, jobs, format, trace, .. } = options;
    match name.as_str() {
        "run" => Ok(Command::Run { selection, jobs, format, trace }),
        "check-determinism" => Ok(Command::CheckDeterminism { selection, jobs }),
        "lint" => Ok(Command::Lint { paths: selection.paths }),
        _ if !selection.paths.is_empty() => Err(format!("{name} takes no path (\"{}\")", selection.paths[0])),
        "points" => Ok(Command::Points),
        _ => Ok(Command::List),
    }
}

/// Splits `--name=value`; `None` when the argument is not an option.
fn option(arg: &str) -> Option<(&str, Option<&str>)> {
    if !arg.starts_with('-') {
        return None;
    }
    Some(arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value))))
}

#[derive(Default)]
struct Options {
    given: Vec<String>,
    selection: Selection,
    jobs: Option<usize>,
    format: Format,
    trace: Option<PathBuf>,
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        // Both set the same thing.
        let slot = if name == "--seed" { "--seeds" } else { name };
        if self.given.iter().any(|given| given == slot) {
            return Err(match slot {
                "--seeds" => "give --seed or --seeds once".to_owned(),
                _ => format!("{name} is given twice"),
            });
        }
        self.given.push(slot.to_owned());
        match name {
            "--seed" => {
                let seed: u64 = number(name, value)?;
                self.selection.seeds = Some(seed..seed.checked_add(1).ok_or("--seed is too large")?);
            }
            "--seeds" => self.selection.seeds = Some(seed_range(value)?),
            "--jobs" => match number(name, value)? {
                0 => return Err("--jobs must be at least 1".to_owned()),
                jobs => self.jobs = Some(jobs as usize),
            },
            "--format" => {
                self.format = match value {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    _ => return Err(unknown("format", value, ["text", "json"])),
                }
            }
            "--trace" => self.trace = Some(PathBuf::from(value)),
            "--cell" => self.selection.cell = cell(value)?,
            _ => unreachable!("only allowed options come here"),
        }
        Ok(())
    }
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} needs a whole number, not \"{value}\""))
}

fn seed_range(value: &str) -> Result<Range<u64>, String> {
    let bad = || format!("--seeds needs a range such as 0..100, not \"{value}\"");
    let (start, end) = value.split_once("..").ok_or_else(bad)?;
    let (start, end) = (start.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
    if end <= start {
        return Err(format!("--seeds {value} is empty: the end does not belong to the range"));
    }
    Ok(start..end)
}

/// Reads `a=1,b=two`, the way a failure prints a cell.
pub fn cell(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("--cell needs NAME=VALUE,…, not \"{text}\"")),
        })
        .collect()
}

fn unknown<'a>(what: &str, name: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let valid: Vec<&str> = valid.into_iter().collect();
    match nearest(name, valid.iter().copied()) {
        Some(near) => format!("unknown {what} \"{name}\", did you mean \"{near}\"?"),
        None if valid.is_empty() => format!("unknown {what} \"{name}\": this command has none"),
        None => format!("unknown {what} \"{name}\", expected one of: {}", valid.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_option_is_read() {
        let run = read("run a.toml --seeds 3..9 b --jobs=4 --format json --trace t.json --cell pre_vote=true,dir=in")
            .unwrap();
        let selection = Selection {
            paths: vec!["a.toml".into(), "b".into()],
            seeds: Some(3..9),
            cell: vec![("pre_vote".into(), "true".into()), ("dir".into(), "in".into())],
        };
        assert_eq!(run, Command::Run { selection, jobs: Some(4), format: Format::Json, trace: Some("t.json".into()) });
        let Ok(Command::Run { selection, .. }) = read("run --seed 7") else { panic!() };
        assert_eq!(selection.seeds, Some(7..8));
        let lint = Command::Lint { paths: vec!["x".into()] };
        for (line, command) in
            [("", Command::Help), ("run --help", Command::Help), ("list", Command::List), ("lint x", lint)]
        {
            assert_eq!(read(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        for (line, message) in [
            ("rum", "unknown command \"rum\", did you mean \"run\"?"),
            ("check", "unknown command \"check\", expected one of: run, check-determinism, lint, list, points"),
            ("run --sede 1", "unknown option \"--sede\", did you mean \"--seed\"?"),
            ("lint --jobs 1", "unknown option \"--jobs\": this command has none"),
            ("check-determinism --format json", "unknown option \"--format\", expected one of: --seeds, --jobs"),
            ("run --seed", "--seed needs a value"),
            ("run --seed x", "--seed needs a whole number, not \"x\""),
            ("run --seeds 5", "--seeds needs a range such as 0..100, not \"5\""),
            ("run --seeds 5..5", "--seeds 5..5 is empty: the end does not belong to the range"),
            ("run --seed 1 --seeds 1..2", "give --seed or --seeds once"),
            ("run --jobs 0", "--jobs must be at least 1"),
            ("run --format jsn", "unknown format \"jsn\", did you mean \"json\"?"),
            ("run --cell a", "--cell needs NAME=VALUE,…, not \"a\""),
            ("list x", "list takes no path (\"x\")"),
        ] {
            assert_eq!(read(line), Err(message.to_owned()), "{line}");
        }
    }
}
