//! The matrix: parameters, their values, and the cells they span.

use crate::cluster::{self, Cluster, ClusterSpec};
use crate::decision::Decisions;
use crate::expr::CONSTANTS;
use crate::field::{Dice, Field, Scalar, quote};
use crate::read::{Cx, Reader, is_ident};
use crate::registry::{Kind, find_function, find_probe};
use crate::select::is_reserved;
use crate::time::Nanos;
use crate::tree::{Entry, Node, Tree};
use crate::value::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The most cells a matrix may have.
pub const CELLS_MAX: usize = 1_000;

/// One value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamValue {
    /// What expressions compare with.
    pub value: Value,
    /// TOML that reads back as the value.
    pub literal: String,
}

impl ParamValue {
    /// The value without quotes, as `link.VALUE` keys and tables show it.
    pub fn plain(&self) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// One line of `[matrix]`. A parameter named like a key of `[cluster]` also sets that key.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its values, in the order of the file.
    pub values: Vec<ParamValue>,
}

/// One combination of values, parameters in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell(pub Vec<(String, ParamValue)>);

impl Cell {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.iter().find(|(param, _)| param == name).map(|(_, value)| value)
    }

    /// The values by name, for expressions.
    pub fn values(&self) -> BTreeMap<String, Value> {
        self.0.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect()
    }
}

impl fmt::Display for Cell {
    /// `pre_vote=true dir=deaf-leader`; empty without a matrix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", value.plain())?;
        }
        Ok(())
    }
}

/// Every combination; the last parameter changes fastest. Without parameters there is one empty cell.
pub fn cells(params: &[Param]) -> Vec<Cell> {
    params.iter().fold(vec![Cell::default()], |cells, param| {
        let extend = |cell: &Cell, value: &ParamValue| {
            let mut cell = cell.clone();
            cell.0.push((param.name.clone(), value.clone()));
            cell
        };
        cells.iter().flat_map(|cell| param.values.iter().map(|value| extend(cell, value)).collect::<Vec<_>>()).collect()
    })
}

/// What the section gives: parameters, and for those that set a key of `[cluster]` that key, once per value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    pub params: Vec<Param>,
    pub overlays: BTreeMap<String, Vec<ClusterSpec>>,
}

pub(crate) fn read(cx: &mut Cx<'_>, node: &Node, cluster_node: &Node, base: &ClusterSpec) -> Option<Matrix> {
    let mut reader = Reader::new(cx, node, "[matrix]")?;
    let cluster_keys: Vec<&str> = Cluster::keys().iter().map(|key| key.key).collect();
    let mut matrix = Matrix::default();
    let mut complete = true;
    for entry in reader.rest() {
        let name = entry.key.as_str();
        if !is_ident(name)
            || is_reserved(name)
            || find_probe(name).is_some_and(|_| !cluster_keys.contains(&name))
            || find_function(name).is_some()
        {
            cx.problem(
                entry.key_span.clone(),
                format!("\"{name}\" cannot be a matrix parameter: use a name that expressions do not use already"),
            );
            complete = false;
            continue;
        }
        let is_setting = cluster_keys.contains(&name);
        if let Tree::Table(entries) = &cluster_node.tree
            && entries.iter().any(|entry| entry.key == name)
        {
            cx.problem(entry.key_span.clone(), format!("{name} is set in [cluster] too: one of both must go"));
        }
        match read_param(cx, entry, is_setting.then_some(base)) {
            Some((param, overlays)) => {
                if is_setting {
                    matrix.overlays.insert(param.name.clone(), overlays);
                }
                matrix.params.push(param);
            }
            None => complete = false,
        }
    }
    let cells: usize = matrix.params.iter().map(|param| param.values.len()).product();
    if cells > CELLS_MAX {
        cx.problem(node.span.clone(), format!("the matrix has {cells} cells, more than {CELLS_MAX}"));
    }
    complete.then_some(matrix)
}

fn read_param(cx: &mut Cx<'_>, entry: &Entry, setting_of: Option<&ClusterSpec>) -> Option<(Param, Vec<ClusterSpec>)> {
    let Tree::List(items) = &entry.value.tree else { return cx.wrong_type(&entry.value, "a list of values") };
    if items.is_empty() {
        cx.problem(entry.value.span.clone(), "a matrix parameter needs at least one value");
        return None;
    }
    let mut values: Vec<ParamValue> = Vec::new();
    let mut overlays = Vec::new();
    for item in items {
        let value = match (&item.tree, setting_of) {
            (Tree::List(_) | Tree::Table(_) | Tree::Other, _) => cx.wrong_type(item, "a plain value")?,
            (_, Some(base)) => {
                let (value, overlay) = read_setting_value(cx, entry, item, base)?;
                overlays.push(overlay);
                value
            }
            (Tree::Text(text), _) => ParamValue { value: Value::Text(text.clone()), literal: quote(text) },
            (Tree::Bool(value), _) => ParamValue { value: Value::Bool(*value), literal: value.to_string() },
            (Tree::Integer(value), _) => ParamValue { value: Value::Number(*value as f64), literal: value.to_string() },
            (Tree::Float(value), _) => ParamValue { value: Value::Number(*value), literal: value.toml() },
        };
        if values.contains(&value) {
            cx.problem(item.span.clone(), format!("the value {} is given twice", value.plain()));
        }
        if values
            .first()
            .is_some_and(|first| std::mem::discriminant(&first.value) != std::mem::discriminant(&value.value))
        {
            cx.problem(item.span.clone(), "the values of a matrix parameter are of one kind");
        }
        values.push(value);
    }
    Some((Param { name: entry.key.clone(), values }, overlays))
}

/// One value of a parameter that sets a key of `[cluster]`, read as that key.
fn read_setting_value(
    cx: &mut Cx<'_>,
    entry: &Entry,
    item: &Node,
    base: &ClusterSpec,
) -> Option<(ParamValue, ClusterSpec)> {
    let table =
        Tree::Table(vec![Entry { key: entry.key.clone(), key_span: entry.key_span.clone(), value: item.clone() }]);
    let node = Node { span: item.span.clone(), tree: table };
    let overlay = <Cluster as Field>::read(cx, &node)?;
    let mut spec = base.clone();
    spec.copy_key(&entry.key, &overlay);
    let mut reader = Reader::new(cx, &node, "[cluster]")?;
    cluster::check_limits(cx, &mut reader, &spec);
    let cell = Cell::default();
    let mut decisions = Decisions::new(0);
    let drawn = overlay.draw(&mut Dice { decisions: &mut decisions, cell: &cell }, "cluster");
    if decisions.drawn().next().is_some() {
        cx.problem(item.span.clone(), "a value of the matrix is fixed, not a range");
        return None;
    }
    let literal = drawn.literals().into_iter().find(|(key, _)| *key == entry.key).and_then(|(_, literal)| literal)?;
    let value = match &item.tree {
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Integer(value) => Value::Number(*value as f64),
        Tree::Float(value) => Value::Number(*value),
        Tree::Text(text) => match CONSTANTS.iter().find(|(name, _)| *name == entry.key) {
            Some((_, Kind::Duration)) => Value::Duration(Nanos::parse(text).ok()?),
            _ => Value::Text(text.clone()),
        },
        _ => return None,
    };
    Some((ParamValue { value, literal }, overlay))
}
