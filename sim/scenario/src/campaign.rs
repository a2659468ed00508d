//! What many runs say together: violations, shares of runs, things seen at least once, cells compared.

use crate::expect::{Bound, Comparison, ExpectKind, ExpectKindSpec};
use crate::expr::{Expr, ExprNode, eval};
use crate::matrix::Cell;
use crate::monitor::Outcome;
use crate::scenario::Scenario;
use crate::stats::{Proportion, gather};
use crate::value::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What a campaign keeps of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// The cell.
    pub cell: Cell,
    /// The seed.
    pub seed: u64,
    /// What it said about each expectation, defaults included.
    pub outcomes: Vec<(String, Outcome)>,
    /// The values of `Scenario::metrics` at its end.
    pub metrics: BTreeMap<String, Value>,
}

/// What is thought of one expectation, in one cell or in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The expectation.
    pub expect: String,
    /// The cell; `None` for what is said about all cells together.
    pub cell: Option<Cell>,
    /// Whether it holds.
    pub holds: bool,
    /// The figures behind it.
    pub detail: String,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = self.cell.as_ref().map(Cell::to_string).filter(|cell| !cell.is_empty());
        let cell = cell.map(|cell| format!(" [{cell}]")).unwrap_or_default();
        write!(f, "{} {}{cell}: {}", if self.holds { "holds" } else { "FAILS" }, self.expect, self.detail)
    }
}

/// Judges every expectation of which `runs` say something. Cells and expectations keep the order in which the runs
/// first mention them.
pub fn judge(scenario: &Scenario, runs: &[RunSummary]) -> Vec<Judgement> {
    let mut judgements = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    for (id, _) in runs.iter().flat_map(|run| &run.outcomes) {
        if !ids.contains(&id.as_str()) {
            ids.push(id);
        }
    }
    for id in ids {
        let spec = scenario.expects.iter().find(|spec| spec.id == id);
        match spec.map(|spec| &spec.kind) {
            Some(ExpectKindSpec::Run { kind: ExpectKind::Sometimes(conditions), .. }) => {
                judgements.push(judge_sometimes(id, conditions, runs));
            }
            Some(ExpectKindSpec::Run { kind: ExpectKind::Ratio { bound, .. }, .. }) => {
                judgements.extend(cells(runs).into_iter().filter_map(|cell| judge_ratio(id, cell, *bound, runs)));
            }
            _ => judgements.extend(cells(runs).into_iter().filter_map(|cell| judge_runs(id, cell, runs))),
        }
    }
    for spec in &scenario.expects {
        if let ExpectKindSpec::Across(comparison) = &spec.kind {
            let wanted = |run: &&RunSummary| {
                [spec.only.as_ref(), comparison.only.as_ref()]
                    .into_iter()
                    .all(|only| Scenario::takes_part(only, &run.cell))
            };
            let runs: Vec<&RunSummary> = runs.iter().filter(wanted).collect();
            judgements.extend(judge_across(&spec.id, comparison, &runs, &scenario.constants));
        }
    }
    judgements
}

fn cells(runs: &[RunSummary]) -> Vec<&Cell> {
    let mut cells: Vec<&Cell> = Vec::new();
    for run in runs {
        if !cells.contains(&&run.cell) {
            cells.push(&run.cell);
        }
    }
    cells
}

fn outcomes<'r>(id: &'r str, cell: &'r Cell, runs: &'r [RunSummary]) -> impl Iterator<Item = (u64, &'r Outcome)> {
    let of_cell = runs.iter().filter(move |run| run.cell == *cell);
    of_cell.flat_map(move |run| run.outcomes.iter().filter(move |(name, _)| name == id).map(|(_, o)| (run.seed, o)))
}

fn judge_runs(id: &str, cell: &Cell, runs: &[RunSummary]) -> Option<Judgement> {
    let (mut all, mut vacuous, mut bad) = (0u64, 0u64, Vec::new());
    for (seed, outcome) in outcomes(id, cell, runs) {
        all += 1;
        match outcome {
            Outcome::Violated(violation) => bad.push((seed, violation.to_string())),
            Outcome::Undecided(why) => bad.push((seed, why.clone())),
            Outcome::Vacuous => vacuous += 1,
            Outcome::Held | Outcome::Seen(_) | Outcome::Counts(_) => {}
        }
    }
    if all == 0 {
        return None;
    }
    let detail = match bad.first() {
        Some((seed, why)) => format!("{} of {all} runs, first seed {seed}: {why}", bad.len()),
        None if vacuous > 0 => format!("{all} runs, in {vacuous} of them nothing was asked"),
        None => format!("{all} runs"),
    };
    Some(Judgement { expect: id.to_owned(), cell: Some(cell.clone()), holds: bad.is_empty(), detail })
}

fn judge_sometimes(id: &str, conditions: &[Expr], runs: &[RunSummary]) -> Judgement {
    let seen_by = |index: usize| {
        let seen = |run: &&RunSummary| {
            run.outcomes.iter().any(|(name, outcome)| {
                name == id && matches!(outcome, Outcome::Seen(seen) if seen.get(index) == Some(&true))
            })
        };
        runs.iter().filter(seen).count()
    };
    let counts: Vec<usize> = (0..conditions.len()).map(seen_by).collect();
    let all = runs.iter().filter(|run| run.outcomes.iter().any(|(name, _)| name == id)).count();
    let parts = conditions.iter().zip(&counts).map(|(condition, count)| match count {
        0 => format!("`{condition}` was never seen in {all} runs: the story does not happen"),
        _ => format!("`{condition}` in {count} of {all} runs"),
    });
    Judgement {
        expect: id.to_owned(),
        cell: None,
        holds: counts.iter().all(|count| *count > 0),
        detail: parts.collect::<Vec<_>>().join(", "),
    }
}

fn judge_ratio(id: &str, cell: &Cell, bound: Bound, runs: &[RunSummary]) -> Option<Judgement> {
    let mut proportion = Proportion { hits: 0, runs: 0 };
    for (_, outcome) in outcomes(id, cell, runs) {
        if let Outcome::Counts(counts) = outcome {
            proportion.runs += 1;
            proportion.hits += u64::from(*counts);
        }
    }
    if proportion.runs == 0 {
        return None;
    }
    let (low, high) = proportion.interval();
    let detail = format!(
        "{:.3} of {} runs (95 % interval {low:.3} to {high:.3}), expected {:.3} to {:.3}",
        proportion.share(),
        proportion.runs,
        bound.low,
        bound.high
    );
    let holds = (bound.low..=bound.high).contains(&proportion.share());
    Some(Judgement { expect: id.to_owned(), cell: Some(cell.clone()), holds, detail })
}

/// One judgement per group of cells that differ in nothing but the parameter.
fn judge_across(
    id: &str,
    comparison: &Comparison,
    runs: &[&RunSummary],
    constants: &BTreeMap<String, Value>,
) -> Vec<Judgement> {
    let rest = |cell: &Cell| Cell(cell.0.iter().filter(|(name, _)| *name != comparison.param).cloned().collect());
    let mut groups: Vec<(Cell, Vec<&RunSummary>)> = Vec::new();
    for run in runs {
        let key = rest(&run.cell);
        match groups.iter_mut().find(|(cell, _)| *cell == key) {
            Some((_, members)) => members.push(run),
            None => groups.push((key, vec![run])),
        }
    }
    let judge_group = |(cell, members): (Cell, Vec<&RunSummary>)| {
        let filled = fill(&comparison.compare.substitute(constants), &comparison.param, &members);
        let nothing = BTreeMap::new();
        Judgement {
            expect: id.to_owned(),
            cell: Some(cell),
            holds: eval::cell_condition(&filled, &nothing),
            detail: format!("{} ({filled}) in {} runs", effects(comparison, &members).join("; "), members.len()),
        }
    };
    groups.into_iter().map(judge_group).collect()
}

/// For each thing compared, what it is on average in each of the cells, and in how many seeds the cells differ in that
/// direction: the same seed draws the same values in both.
fn effects(comparison: &Comparison, runs: &[&RunSummary]) -> Vec<String> {
    let labels: Vec<Value> = {
        let mut labels = Vec::new();
        for run in runs {
            if let Some(value) = run.cell.get(&comparison.param)
                && !labels.contains(&value.value)
            {
                labels.push(value.value.clone());
            }
        }
        labels
    };
    let effect = |metric: &Expr| {
        let name = metric.to_string();
        let by_seed = |label: &Value| -> BTreeMap<u64, f64> {
            let of_cell = runs.iter().filter(|run| run.cell.get(&comparison.param).is_some_and(|v| v.value == *label));
            of_cell.filter_map(|run| Some((run.seed, run.metrics.get(&name)?.as_f64()?))).collect()
        };
        let mean = |values: &BTreeMap<u64, f64>| values.values().sum::<f64>() / values.len() as f64;
        let cells: Vec<BTreeMap<u64, f64>> = labels.iter().map(by_seed).collect();
        let shown: Vec<String> =
            labels.iter().zip(&cells).map(|(label, values)| format!("{label}: {:.3}", mean(values))).collect();
        let mut text = format!("{name}: {}", shown.join(", "));
        if let [a, b] = cells.as_slice() {
            let pairs: Vec<(f64, f64)> = a.iter().filter_map(|(seed, a)| Some((*a, *b.get(seed)?))).collect();
            let more = pairs.iter().filter(|(a, b)| a < b).count();
            let less = pairs.iter().filter(|(a, b)| b < a).count();
            if mean(a) > 0.0 {
                text += &format!(", {:.2} times", mean(b) / mean(a));
            }
            text += &format!("; more in {more}, less in {less} of {} seeds", pairs.len());
        }
        text
    };
    comparison.metrics().iter().map(effect).collect()
}

/// Replaces every function of runs by its value.
fn fill(expr: &Expr, param: &str, runs: &[&RunSummary]) -> Expr {
    expr.rewrite(&|part| {
        let ExprNode::Apply { function, label: Some(label), of } = &part.node else { return None };
        let name = of.to_string();
        let of_cell = runs.iter().filter(|run| run.cell.get(param).is_some_and(|value| value.value == *label));
        let values: Vec<Value> = of_cell.map(|run| run.metrics.get(&name).cloned().unwrap_or(Value::Missing)).collect();
        Some(Expr::literal(gather(*function, &values)))
    })
}

impl Comparison {
    /// The expressions that each run has to evaluate at its end.
    pub fn metrics(&self) -> Vec<Expr> {
        let mut metrics = Vec::new();
        self.compare.walk(&mut |part| {
            if let ExprNode::Apply { label: Some(_), of, .. } = &part.node
                && !metrics.contains(&**of)
            {
                metrics.push((**of).clone());
            }
        });
        metrics
    }
}
