//! `sim lint`, `sim list` and `sim points`.

use std::io::Write;

use evenkeel_scenario::Scenario;

use super::CliError;
use super::plan::{find, load, render_problems};
use super::table::Table;
use crate::report::World;

/// What to check.
#[derive(clap::Args, Debug)]
pub struct LintArgs {
    /// A scenario file, or a directory of them
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
}

/// Checks files; every problem of every file is told.
pub fn lint(paths: &[String], world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let files = find(paths)?;
    let mut problems = Vec::new();
    for path in &files {
        if let Err(found) = load(path, world)? {
            problems.extend(found);
        }
    }
    if !problems.is_empty() {
        return Err(CliError::Usage(render_problems(&problems)));
    }
    let noun = if files.len() == 1 { "file" } else { "files" };
    writeln!(out, "{} {noun}, no problems", files.len())?;
    Ok(true)
}

/// Of which files.
#[derive(clap::Args, Debug)]
pub struct SchemaArgs {
    /// Of repro files instead of scenarios
    #[arg(long)]
    pub repro: bool,
}

/// Prints the schema.
pub fn schema(args: &SchemaArgs, out: &mut dyn Write) -> Result<bool, CliError> {
    let text = if args.repro { crate::repro::schema::text() } else { evenkeel_scenario::schema::text() };
    out.write_all(text.as_bytes())?;
    Ok(true)
}

/// Names the points in the code.
pub fn points(world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let mut table = Table::new(&["point", "where"]);
    for (name, place) in world.points {
        table.row([(*name).to_owned(), (*place).to_owned()]);
    }
    out.write_all(table.render().as_bytes())?;
    Ok(true)
}

/// Names the scenarios.
pub fn list(out: &mut dyn Write) -> Result<bool, CliError> {
    let mut table = Table::new(&["scenario", ">cells", ">seeds", "about"]);
    let mut problems = Vec::new();
    for path in find(&[])? {
        let text =
            std::fs::read_to_string(&path).map_err(|error| CliError::Usage(format!("cannot read {path}: {error}")))?;
        match Scenario::parse(&text, &path) {
            Ok(scenario) => table.row([
                path,
                scenario.cells().len().to_string(),
                scenario.seeds.count.to_string(),
                scenario.about.split_whitespace().collect::<Vec<_>>().join(" "),
            ]),
            Err(found) => problems.extend(found),
        }
    }
    out.write_all(table.render().as_bytes())?;
    if problems.is_empty() { Ok(true) } else { Err(CliError::Usage(render_problems(&problems))) }
}
