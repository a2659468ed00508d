//! The command line, the environment and the configuration file: etcd's flags, with etcd's meaning.
//!
//! One `table` lists every flag with its kind, default, help text and effect on us. All three sources fill the
//! same `values::Values` from it, and `settings` turns those into a checked [`Settings`]. A flag that we cannot
//! honour is an error when ignoring it would weaken safety or surprise its user; it is accepted when it tunes
//! something that we do not have.
//!
//! The parser is our own: Go's syntax (`-x` equals `--x`, a bool takes its value only behind `=`, numbers may be hex
//! or octal, durations like `1h30m`) and etcd's exit codes are the interface here, and general parsers offer
//! neither.
//!
//! | what is wrong | exit |
//! |---|---|
//! | unknown flag, bad syntax, a value of the wrong kind | 2 |
//! | a stray argument, the environment, the configuration file, values that contradict each other | 1 |

use std::io;

mod file;
mod go;
mod help;
mod hint;
mod settings;
mod table;
mod urls;
mod values;

pub use settings::{LogFormat, LogLevel, LogOutput, LogSettings, Settings};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<Settings>),
    /// Print this to standard output, and be done.
    Print(String),
}

/// Why nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The process's exit code.
    pub exit: u8,
    /// One line: what is wrong and what to do.
    pub message: String,
}

impl Refusal {
    fn usage(message: impl Into<String>) -> Refusal {
        Refusal { exit: 2, message: message.into() }
    }

    fn config(message: impl Into<String>) -> Refusal {
        Refusal { exit: 1, message: message.into() }
    }
}

/// Reads the arguments (without the program's name) and the environment; `read` reads the configuration file.
pub fn parse(
    arguments: &[String],
    environment: &[(String, String)],
    read: impl FnOnce(&str) -> io::Result<String>,
) -> Result<Command, Refusal> {
    let mut values = match values::from_arguments(arguments)? {
        values::Parsed::Values(values) => values,
        values::Parsed::Help => return Ok(Command::Print(help::help())),
        values::Parsed::Version(release) => return Ok(Command::Print(help::version(release))),
    };
    let path = values.config_file().map(str::to_owned).or_else(|| {
        let variable = environment.iter().find(|(name, value)| name == "ETCD_CONFIG_FILE" && !value.is_empty());
        variable.map(|(_, path)| path.clone())
    });
    if let Some(path) = path {
        let text = read(&path).map_err(|error| {
            Refusal::config(format!("cannot read the configuration file {path}: {error}; check --config-file"))
        })?;
        values = file::values(&path, &text)?;
    } else {
        values.add_environment(environment)?;
    }
    settings::settings(values).map(|settings| Command::Serve(Box::new(settings)))
}

#[cfg(test)]
mod tests;
