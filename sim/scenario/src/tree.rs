//! The TOML text as a tree that owns its strings and knows where everything stood.
//!
//! Tables keep the order of the file, since the order of matrix parameters and links matters.

use crate::problem::{Problem, Source};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its place in the file.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub tree: Tree,
}

#[derive(Clone, Debug)]
pub enum Tree {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A date or a number that does not fit: never valid in a scenario.
    Other,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

impl Node {
    /// What the value is, for messages.
    pub fn found(&self) -> &'static str {
        match &self.tree {
            Tree::Text(_) => "text",
            Tree::Integer(_) => "an integer",
            Tree::Float(_) => "a fraction",
            Tree::Bool(_) => "true or false",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
            Tree::Other => "a date or a number out of range",
        }
    }
}

/// Reads the whole text; syntax errors come back as problems.
pub fn parse(source: &Source) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        let end = source.text.len();
        return Err(errors.iter().map(|e| source.problem(e.span().unwrap_or(end..end), e.message())).collect());
    }
    let span = table.span();
    Ok(Node { span, tree: Tree::Table(entries(table.get_ref())) })
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry { key: key.get_ref().to_string(), key_span: key.span(), value: node(value) })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Tree::Other, Tree::Integer)
        }
        DeValue::Float(number) => match number.as_str().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Tree::Float(number),
            _ => Tree::Other,
        },
        DeValue::Boolean(value) => Tree::Bool(*value),
        DeValue::Datetime(_) => Tree::Other,
        DeValue::Array(items) => Tree::List(items.iter().map(node).collect()),
        DeValue::Table(table) => Tree::Table(entries(table)),
    };
    Node { span: value.span(), tree }
}
