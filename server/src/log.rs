//! The log, in the shape of etcd's (zap's): tools that read etcd's log read ours.
//!
//! One line per event: `level`, `ts`, `caller`, `msg`, then the event's own fields in their order. Our own events
//! are shown from the chosen level on, those of libraries from `warn` on. Writing is synchronous and unbuffered, so
//! the last line before a crash is there.
#![allow(clippy::disallowed_methods, reason = "lines carry the real time")]

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::flags::{LogFormat, LogLevel, LogOutput, LogSettings};

/// Begins to log. Once per process.
pub fn start(settings: &LogSettings) -> io::Result<()> {
    let subscriber = tracing_subscriber::registry().with(layer(settings.format, outputs(settings)?, settings.level));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)
}

/// The last line of a process that cannot go on. Works before [`start`], and always goes to standard error too.
pub fn fatal(settings: &LogSettings, message: &str) {
    let line = Line { level: "fatal", since_epoch: now(), caller: "main.rs", message, fields: &[] };
    let text = line.render(settings.format);
    let _ = io::stderr().write_all(text.as_bytes());
    let files = settings.outputs.iter().filter(|output| matches!(output, LogOutput::File(_)));
    for mut output in files.filter_map(|output| open(output).ok()) {
        let _ = output.write_all(text.as_bytes());
    }
}

type Output = Box<dyn Write + Send>;

fn outputs(settings: &LogSettings) -> io::Result<Vec<Output>> {
    settings.outputs.iter().map(open).collect()
}

// The log is no part of the member: it has no seam, since nothing reads it back.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn open(output: &LogOutput) -> io::Result<Output> {
    Ok(match output {
        LogOutput::Stderr => Box::new(io::stderr()),
        LogOutput::Stdout => Box::new(io::stdout()),
        LogOutput::File(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            Box::new(file.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot log to {path}: {error}; check --log-outputs"))
            })?)
        }
    })
}

fn layer(format: LogFormat, outputs: Vec<Output>, level: LogLevel) -> impl Layer<Registry> {
    let (ours, others) = match level {
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Fatal => (LevelFilter::OFF, LevelFilter::OFF),
    };
    let filter = Targets::new().with_target("evenkeel", ours).with_default(others);
    Lines { format, outputs: Mutex::new(outputs) }.with_filter(filter)
}

struct Lines {
    format: LogFormat,
    outputs: Mutex<Vec<Output>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let caller = match (metadata.file(), metadata.line()) {
            (Some(file), Some(line)) => format!("{}:{line}", short(file)),
            _ => metadata.target().to_owned(),
        };
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let line =
            Line { level, since_epoch: now(), caller: &caller, message: &fields.message, fields: &fields.others };
        let text = line.render(self.format);
        // A log that cannot be written must not stop the member.
        for output in self.outputs.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = output.write_all(text.as_bytes());
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The last folder and the file.
fn short(file: &str) -> &str {
    file.rmatch_indices('/').nth(1).map_or(file, |(at, _)| &file[at + 1..])
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, serde_json::Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: serde_json::Value) {
        self.others.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, json!(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            // A list of texts or numbers looks the same in Rust and in JSON.
            let list = text.starts_with('[').then(|| serde_json::from_str(&text).ok()).flatten();
            self.add(field, list.unwrap_or_else(|| json!(text)));
        }
    }
}

struct Line<'a> {
    level: &'a str,
    since_epoch: Duration,
    caller: &'a str,
    message: &'a str,
    fields: &'a [(&'static str, serde_json::Value)],
}

impl Line<'_> {
    fn render(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Console => self.console(),
        }
    }

    fn json(&self) -> String {
        let ts = timestamp(self.since_epoch);
        let mut text = format!(
            r#"{{"level":"{}","ts":"{ts}","caller":{},"msg":{}"#,
            self.level,
            json!(self.caller),
            json!(self.message)
        );
        for (name, value) in self.fields {
            let _ = write!(text, r#","{name}":{value}"#);
        }
        text.push_str("}\n");
        text
    }

    fn console(&self) -> String {
        let ts = timestamp(self.since_epoch);
        let mut text = format!("{ts}\t{}\t{}\t{}", self.level, self.caller, self.message);
        let fields: Vec<String> = self.fields.iter().map(|(name, value)| format!(r#""{name}": {value}"#)).collect();
        if !fields.is_empty() {
            let _ = write!(text, "\t{{{}}}", fields.join(", "));
        }
        text.push('\n');
        text
    }
}

/// Go's `2006-01-02T15:04:05.999999Z0700` in UTC: microseconds, trailing zeros left out.
fn timestamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut text =
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let micros = since_epoch.subsec_micros();
    if micros != 0 {
        let digits = format!("{micros:06}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The Gregorian date of a day after 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
