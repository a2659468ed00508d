//! The values that were set, and by whom.

use std::collections::BTreeMap;

use super::table::Flag;
use super::{Refusal, go, hint};
use crate::version::Release;

/// Who set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    CommandLine,
    Environment,
    File,
}

/// Set values by flag, each of the flag's kind.
#[derive(Debug, Default)]
pub(super) struct Values {
    set: BTreeMap<&'static str, (String, Source)>,
    /// To be logged once there is a log: warnings.
    pub(super) warnings: Vec<String>,
    /// Environment variables used.
    pub(super) used_environment: Vec<String>,
}

/// What the arguments say.
pub(super) enum Parsed {
    Values(Values),
    Help,
    Version(Release),
}

/// Reads the command line as Go's `flag` package does.
pub(super) fn from_arguments(arguments: &[String]) -> Result<Parsed, Refusal> {
    let mut values = Values::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            if let Some(stray) = rest.next() {
                return Err(stray_argument(stray));
            }
            break;
        }
        let Some(body) = argument.strip_prefix('-').filter(|body| !body.is_empty()) else {
            return Err(stray_argument(argument));
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(Refusal::usage(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        let Some(flag) = Flag::find(name) else {
            if name == "help" || name == "h" {
                return Ok(Parsed::Help);
            }
            let advice = hint::advice(name);
            return Err(Refusal::usage(format!("flag provided but not defined: -{name}; {advice}")));
        };
        let value = match value {
            Some(value) => value,
            None if flag.is_boolean() => "true",
            None => match rest.next() {
                Some(value) => value,
                None => return Err(Refusal::usage(format!("flag needs an argument: -{name}"))),
            },
        };
        flag.check(value).map_err(|why| Refusal::usage(format!("invalid value {value:?} for flag -{name}: {why}")))?;
        values.put(flag, value.to_owned(), Source::CommandLine);
    }
    if values.is_true("version") {
        return Ok(Parsed::Version(values.text("release-level").parse().expect("checked when set")));
    }
    Ok(Parsed::Values(values))
}

fn stray_argument(argument: &str) -> Refusal {
    Refusal::config(match argument {
        "gateway" | "grpc-proxy" | "util" => {
            format!("'{argument}' is not supported yet; start a server with flags only")
        }
        _ => format!("'{argument}' is not a valid flag; flags begin with --, and a bool takes its value behind ="),
    })
}

impl Values {
    pub(super) fn put(&mut self, flag: &Flag, value: String, source: Source) {
        let name = Flag::find(flag.name).expect("from the table").name;
        self.set.insert(name, (value, source));
    }

    /// Adds what the environment says. A flag and its variable must not both be set.
    pub(super) fn add_environment(&mut self, environment: &[(String, String)]) -> Result<(), Refusal> {
        let etcd = environment.iter().filter(|(name, value)| name.starts_with("ETCD_") && !value.is_empty());
        for (variable, value) in etcd {
            let name = variable["ETCD_".len()..].to_lowercase().replace('_', "-");
            let flag = Flag::find(&name).filter(|flag| flag.variable() == *variable && name != "version");
            let Some(flag) = flag else {
                if variable != "ETCD_UNSUPPORTED_ARCH" {
                    self.warnings.push(format!("unrecognized environment variable {variable}={value}"));
                }
                continue;
            };
            if self.set.contains_key(flag.name) {
                return Err(Refusal::config(format!(
                    "conflicting environment variable {variable:?} is shadowed by corresponding command-line flag \
                     (either unset environment variable or disable flag)"
                )));
            }
            flag.check(value)
                .map_err(|why| Refusal::config(format!("invalid value {value:?} for {variable}: {why}")))?;
            self.put(flag, value.clone(), Source::Environment);
            self.used_environment.push(format!("{variable}={value}"));
        }
        Ok(())
    }

    /// Every value set, in the order of names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Flag, &str, Source)> {
        self.set
            .iter()
            .map(|(name, (value, source))| (Flag::find(name).expect("from the table"), value.as_str(), *source))
    }

    pub(super) fn config_file(&self) -> Option<&str> {
        self.set("config-file")
    }

    /// The value, if it was set to something.
    pub(super) fn set(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value or the default.
    pub(super) fn text(&self, name: &str) -> &str {
        self.set(name).unwrap_or_else(|| Flag::find(name).expect("in the table").default)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        go::boolean(self.text(name)).expect("checked when set")
    }

    pub(super) fn unsigned(&self, name: &str) -> u64 {
        go::unsigned(self.text(name)).expect("checked when set")
    }

    pub(super) fn signed(&self, name: &str) -> i64 {
        go::signed(self.text(name)).expect("checked when set")
    }

    pub(super) fn duration(&self, name: &str) -> std::time::Duration {
        go::duration(self.text(name)).expect("checked when set")
    }
}
