//! Reading tables: every key is asked for by name, and what was never asked for is a problem.
//!
//! `Cx` collects the problems of a whole file, so that one run of `lint` shows them all, and knows the names that
//! the file itself defines (clients, steps, bound selectors, matrix parameters).

use crate::matrix::Param;
use crate::problem::{Problem, Source, unknown};
use crate::tree::{Entry, Node, Tree};
use crate::value::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// The names a file defines.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The smallest cluster size that a seed may draw: a selector such as `n3` must exist in all of them.
    pub nodes: u64,
    pub clients: Vec<String>,
    pub steps: Vec<String>,
    pub verbs: Vec<String>,
    pub bound: Vec<String>,
    pub params: Vec<Param>,
    /// Settings of the cluster that a `compare` may use: those with one fixed value.
    pub constants: BTreeMap<String, Value>,
}

/// The file being read, its problems so far, and its names.
pub struct Cx<'s> {
    pub source: &'s Source,
    pub problems: Vec<Problem>,
    pub names: Names,
    /// Points in the code that were mentioned, and where.
    pub points: Vec<(String, Range<usize>)>,
}

impl Cx<'_> {
    pub fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(span, message));
    }

    /// Reports that `node` is not `expected`. Always `None`, for use as a result.
    pub fn wrong_type<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        self.problem(node.span.clone(), format!("expected {expected}, found {}", node.found()));
        None
    }

    pub fn text<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        match &node.tree {
            Tree::Text(text) => Some(text),
            _ => self.wrong_type(node, expected),
        }
    }

    /// A list of texts, or one text.
    pub fn texts<'n>(&mut self, node: &'n Node, expected: &str) -> Option<Vec<(&'n str, &'n Node)>> {
        match &node.tree {
            Tree::List(items) => items.iter().map(|item| Some((self.text(item, expected)?, item))).collect(),
            _ => Some(vec![(self.text(node, expected)?, node)]),
        }
    }

    /// Where in the file the text of `node` begins, when the text stands there unescaped.
    pub fn text_start(&self, node: &Node) -> Option<usize> {
        let Tree::Text(text) = &node.tree else { return None };
        Some(node.span.start + self.source.text.get(node.span.clone())?.find(text.as_str())?)
    }

    /// A name that expressions can mention: letters, digits and `_`.
    pub fn ident(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node, what)?;
        if is_ident(text) {
            return Some(text.to_owned());
        }
        self.problem(
            node.span.clone(),
            format!("bad {what} \"{text}\": use letters, digits and _, beginning with a letter, so that expressions can name it"),
        );
        None
    }
}

pub fn is_ident(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One table being read.
pub struct Reader<'n> {
    entries: &'n [Entry],
    what: String,
    span: Range<usize>,
    asked: Vec<String>,
}

impl<'n> Reader<'n> {
    /// Begins to read `node` as the table `what`.
    pub fn new(cx: &mut Cx<'_>, node: &'n Node, what: impl Into<String>) -> Option<Reader<'n>> {
        let what = what.into();
        match &node.tree {
            Tree::Table(entries) => Some(Reader { entries, what, span: node.span.clone(), asked: Vec::new() }),
            _ => cx.wrong_type(node, &format!("a table ({what})")),
        }
    }

    /// What this table is, for messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Says more exactly what this table is, once that is known.
    pub fn rename(&mut self, what: impl Into<String>) {
        self.what = what.into();
    }

    /// The table's place: for a section its header.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of `key`, which is from now on a known key.
    pub fn get(&mut self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn entry(&mut self, key: &str) -> Option<&'n Entry> {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Like `get`, but the key must be there.
    pub fn need(&mut self, cx: &mut Cx<'_>, key: &str) -> Option<&'n Node> {
        let node = self.get(key);
        if node.is_none() {
            cx.problem(self.span(), format!("{} needs the key `{key}`", self.what));
        }
        node
    }

    /// All entries that nobody asked for so far.
    pub fn rest(&mut self) -> Vec<&'n Entry> {
        let rest: Vec<&Entry> = self.entries.iter().filter(|entry| !self.asked.contains(&entry.key)).collect();
        self.asked.extend(rest.iter().map(|entry| entry.key.clone()));
        rest
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self, cx: &mut Cx<'_>) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key) {
                let message =
                    unknown(&format!("key in {}", self.what), &entry.key, self.asked.iter().map(String::as_str));
                cx.problem(entry.key_span.clone(), message);
            }
        }
    }
}
