//! The configuration file, YAML or JSON (which is YAML, too): the same names as flags, with lists and maps where
//! etcd has them, and durations as nanoseconds. Unknown keys are tolerated, as etcd does: its own sample has some.

use serde_json::{Map, Value};

use super::Refusal;
use super::hint;
use super::table::{Flag, Kind};
use super::values::{Source, Values};

/// Reads a file's text. `path` is for messages.
pub(super) fn values(path: &str, text: &str) -> Result<Values, Refusal> {
    let wrong = |why: String| Refusal::config(format!("configuration file {path}: {why}"));
    // Only `true` and `false` are booleans: a member may be called `n`.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let parsed: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let text = error.to_string();
        wrong(text.lines().next().unwrap_or("not YAML").to_owned())
    })?;
    let map = match parsed {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        _ => return Err(wrong("it must be a map of flag names (without --) to values".into())),
    };
    let mut values = Values::default();
    for (key, value) in &map {
        match key.as_str() {
            "client-transport-security" => transport(&mut values, "", value).map_err(wrong)?,
            "peer-transport-security" => transport(&mut values, "peer-", value).map_err(wrong)?,
            "discovery-config" => discovery(&mut values, value).map_err(wrong)?,
            _ => match Flag::find(key) {
                Some(flag) => put(&mut values, flag, value).map_err(wrong)?,
                None if is_set(value) => {
                    values
                        .warnings
                        .push(format!("configuration file {path}: unknown key {key}; {}", hint::advice(key)));
                }
                None => {}
            },
        }
    }
    Ok(values)
}

fn put(values: &mut Values, flag: &Flag, value: &Value) -> Result<(), String> {
    let text =
        match (value, flag.kind) {
            (Value::Null, _) => return Ok(()),
            (Value::Number(nanoseconds), Kind::Duration) => format!("{nanoseconds}ns"),
            (Value::Array(items), Kind::Text) => items
                .iter()
                .map(plain)
                .collect::<Option<Vec<_>>>()
                .map(|t| t.join(","))
                .ok_or_else(|| format!("{}: a list may hold plain values only", flag.name))?,
            _ => plain(value).ok_or_else(|| format!("{}: expected a plain value", flag.name))?,
        };
    if text.is_empty() {
        return Ok(());
    }
    flag.check(&text).map_err(|why| format!("invalid value {text:?} for {}: {why}", flag.name))?;
    values.put(flag, text, Source::File);
    Ok(())
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Neither nothing, nor off, nor empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => map.values().any(is_set),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// What concerns TLS must not be overlooked: an unknown key here is an error.
fn transport(values: &mut Values, prefix: &str, value: &Value) -> Result<(), String> {
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return Ok(()),
        _ => return Err(format!("{prefix}transport-security: expected a map")),
    };
    for (key, value) in map.iter().filter(|(_, value)| is_set(value)) {
        let name = match key.as_str() {
            "allowed-cn" | "allowed-cns" => "peer-cert-allowed-cn".to_owned(),
            "allowed-hostname" | "allowed-hostnames" if prefix.is_empty() => "client-cert-allowed-hostname".to_owned(),
            "allowed-hostname" | "allowed-hostnames" => "peer-cert-allowed-hostname".to_owned(),
            "crl-file" if prefix.is_empty() => "client-crl-file".to_owned(),
            _ => format!("{prefix}{key}"),
        };
        match Flag::find(&name) {
            Some(flag) => put(values, flag, value)?,
            None => return Err(format!("unknown key {key} about TLS; remove it or correct its name")),
        }
    }
    Ok(())
}

fn discovery(values: &mut Values, value: &Value) -> Result<(), String> {
    let Value::Object(map) = value else { return Ok(()) };
    for (key, value) in map.iter().filter(|(_, value)| is_set(value)) {
        let name = if key.starts_with("discovery-") { key.clone() } else { format!("discovery-{key}") };
        if let Some(flag) = Flag::find(&name) {
            put(values, flag, value)?;
        }
    }
    Ok(())
}
