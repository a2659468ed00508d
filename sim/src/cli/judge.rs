//! What all runs of a file say together.

use std::collections::BTreeMap;

use evenkeel_scenario::expect::{ExpectKind, ExpectKindSpec};
use evenkeel_scenario::{Cell, Judgement, RunSummary, Value, judge};

use super::plan::PlannedFile;
use crate::report::RunReport;

/// Which expectations over many runs can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// More than one seed was run: shares and "at least once" mean something.
    pub many_seeds: bool,
    /// Every cell was run: cells can be compared.
    pub all_cells: bool,
}

/// A judgement and whether it is about many runs (worth telling also when it holds).
pub struct Told {
    /// What is thought of an expectation.
    pub judgement: Judgement,
    /// It needed many runs.
    pub about_many: bool,
}

/// Judges the runs of one file, as far as they allow it.
pub fn judge_file(file: &PlannedFile, runs: &[RunSummary], scope: Scope) -> Vec<Told> {
    let tell = |judgement: Judgement| {
        let spec = file.scenario.expects.iter().find(|spec| spec.id == judgement.expect);
        let kind = spec.map(|spec| &spec.kind);
        let across = matches!(kind, Some(ExpectKindSpec::Across(_)));
        let over_seeds =
            matches!(kind, Some(ExpectKindSpec::Run { kind: ExpectKind::Sometimes(_) | ExpectKind::Ratio { .. }, .. }));
        let possible = (scope.many_seeds || !(across || over_seeds)) && (scope.all_cells || !across);
        possible.then_some(Told { judgement, about_many: across || over_seeds })
    };
    judge(&file.scenario, runs).into_iter().filter_map(tell).collect()
}

/// What judging needs of a run.
pub fn summary(report: &RunReport, cell: &Cell) -> RunSummary {
    let outcome = |(id, outcome): &(String, crate::report::wire::Outcome)| (id.clone(), outcome.clone().of(id));
    let metrics = report.metrics.iter().map(|(name, value)| (name.clone(), Value::from(value.clone())));
    RunSummary {
        cell: cell.clone(),
        seed: report.seed,
        outcomes: report.outcomes.iter().map(outcome).collect(),
        metrics: metrics.collect(),
    }
}

/// What a cell is compared with others by: each metric that all its runs have, with its mean (durations in seconds).
pub fn means(runs: &[RunSummary], cell: &Cell) -> BTreeMap<String, f64> {
    let runs: Vec<&RunSummary> = runs.iter().filter(|run| run.cell == *cell).collect();
    let value = |value: &Value| match value {
        Value::Number(number) => Some(*number),
        Value::Duration(length) => Some(length.0 as f64 / 1e9),
        _ => None,
    };
    let mean = |name: &String| {
        let values: Option<Vec<f64>> = runs.iter().map(|run| run.metrics.get(name).and_then(value)).collect();
        values.map(|values| (name.clone(), values.iter().sum::<f64>() / values.len() as f64))
    };
    runs.first().map_or_else(BTreeMap::new, |first| first.metrics.keys().filter_map(mean).collect())
}
