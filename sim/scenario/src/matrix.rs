//! The matrix: parameters, their values, and the cells they span.

use crate::value::Value;
use std::collections::BTreeMap;
use std::fmt;

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
