//! A scenario as tables of keys with their TOML, before it is text.
//!
//! The generator fills one, mutators change one, and its text is an ordinary scenario. Values are TOML already, so that
//! a draft needs no model of the language: `Scenario::parse` is the judge of what it says.

use std::fmt::{Display, Write};

use evenkeel_scenario::quote;
use serde::{Deserialize, Serialize};

/// Keys with their values as TOML, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table(Vec<(String, String)>);

impl Table {
    /// An empty table.
    pub fn new() -> Table {
        Table::default()
    }

    /// With one more key, or another value for one it has; `value` is TOML.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Table {
        self.set(key, value);
        self
    }

    /// With one more key whose value is a text.
    #[must_use]
    pub fn text(self, key: &str, value: impl AsRef<str>) -> Table {
        self.with(key, quote(value.as_ref()))
    }

    /// Gives a key a value; `value` is TOML.
    pub fn set(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    /// The value of a key, as TOML.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key that is a text.
    pub fn get_text(&self, key: &str) -> Option<&str> {
        self.get(key)?.strip_prefix('"')?.strip_suffix('"')
    }

    /// The keys with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A scenario of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// A sentence.
    pub about: String,
    /// The seed it is run with.
    pub seed: u64,
    /// `[run]`
    pub run: Table,
    /// `[cluster]`
    pub cluster: Table,
    /// `[[client]]`
    pub clients: Vec<Table>,
    /// `[[step]]`
    pub steps: Vec<Table>,
    /// `[[expect]]`
    pub expects: Vec<Table>,
}

impl Draft {
    /// The scenario file.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| writeln!(out, "{text}").expect("a string takes everything");
        line("scn = 1");
        line(&format!("name = {}", quote(&self.name)));
        line(&format!("about = {}", quote(&self.about)));
        let seeds = Table::new().with("first", self.seed).with("count", 1);
        let single = [("[cluster]", &self.cluster), ("[seeds]", &seeds), ("[run]", &self.run)];
        let clients = self.clients.iter().map(|table| ("[[client]]", table));
        let steps = self.steps.iter().map(|table| ("[[step]]", table));
        let expects = self.expects.iter().map(|table| ("[[expect]]", table));
        for (head, table) in single.into_iter().chain(clients).chain(steps).chain(expects) {
            line(&format!("\n{head}"));
            table.entries().for_each(|(key, value)| line(&format!("{key} = {value}")));
        }
        out
    }
}
