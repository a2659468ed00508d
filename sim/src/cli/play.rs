//! The other end of `run --real`: a process that plays one scenario with real servers, which end with it.

use std::io::{self, Read, Write};

use super::CliError;
use crate::report::World;
use crate::report::played::Orders;

/// The command that starts a player. Not for people.
pub const COMMAND: &str = "play";

/// Plays what is ordered on standard input.
pub fn play(world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let orders: Orders =
        serde_json::from_str(&text).map_err(|error| CliError::Usage(format!("these are no orders: {error}")))?;
    answer(&orders, world, out)
}

#[cfg(madsim)]
fn answer(_: &Orders, _: &World, _: &mut dyn Write) -> Result<bool, CliError> {
    Err(CliError::Usage("this build simulates; another one plays".to_owned()))
}

#[cfg(not(madsim))]
fn answer(orders: &Orders, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    use super::args::Selection;
    use super::plan::Plan;
    use super::runner::{Extras, run_with};
    use crate::real::bridge;
    use crate::report::played::Played;

    let plan = Plan::new(&Selection::of(vec![orders.path.clone()]), world)?;
    let file = &plan.files[0];
    let Some(cell) = file.cells.get(orders.cell) else {
        return Err(CliError::Usage(format!("{} has no cell number {}", orders.path, orders.cell)));
    };
    let mut skipped = Vec::new();
    let report = run_with(&file.scenario, cell, orders.seed, &Extras::default(), |input| {
        let (end, left_out) = bridge::run(input, orders.server.clone().into());
        skipped = left_out;
        end
    });
    let passed = report.verdict.passed();
    let line = serde_json::to_string(&Played { report, skipped }).expect("a report can be written as JSON");
    writeln!(out, "{line}")?;
    Ok(passed)
}
