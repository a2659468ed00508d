//! Which runs a command means: files, cells, seeds.

use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_scenario::{Cell, Decisions, Problem, Scenario};

use super::CliError;
use super::args::{CellChoice, Selection};
use crate::report::World;
use crate::repro::Repro;

/// Where scenarios are when nobody says.
pub const SCENARIOS_DIR: &str = "scenarios";

/// So many cells of a matrix are named.
const CELLS_TOLD: usize = 30;

/// One run of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// Index of the file.
    pub file: usize,
    /// Index of the cell in the file's matrix.
    pub cell: usize,
    /// The seed.
    pub seed: u64,
}

/// A scenario file and its cells.
pub struct PlannedFile {
    /// The path, as it was given or found.
    pub path: String,
    /// What is in it.
    pub scenario: Scenario,
    /// Every cell of its matrix.
    pub cells: Vec<Cell>,
    /// Indexes of the cells that were asked for.
    pub chosen: Vec<usize>,
    /// Seeds that were asked for.
    pub seeds: std::ops::Range<u64>,
    /// Of a repro file: the choices of its run, which are not all its seed's.
    pub recorded: Option<Decisions>,
}

impl PlannedFile {
    /// The choices of the run of a seed.
    pub fn decisions(&self, seed: u64) -> Decisions {
        let recorded = self.recorded.as_ref().filter(|recorded| recorded.seed() == seed);
        recorded.cloned().unwrap_or_else(|| Decisions::new(seed))
    }
}

/// Everything that is to be run.
pub struct Plan {
    /// The files, in order.
    pub files: Vec<PlannedFile>,
}

impl Plan {
    /// Reads and checks the files of a selection.
    pub fn new(selection: &Selection, world: &World) -> Result<Plan, CliError> {
        Plan::of_cells(selection, &CellChoice::default(), world)
    }

    /// Reads and checks the files of a selection, and chooses cells of their matrices.
    pub fn of_cells(selection: &Selection, cell: &CellChoice, world: &World) -> Result<Plan, CliError> {
        let mut files = Vec::new();
        let mut problems = Vec::new();
        for path in find(&selection.paths)? {
            let (text, recorded) = read(&path)?;
            match check(&text, &path, world) {
                Ok(scenario) => {
                    let cells = scenario.cells();
                    let chosen: Vec<usize> = (0..cells.len()).filter(|at| fits(&cells[*at], cell)).collect();
                    let own = recorded.as_ref().map(|it| it.seed()..it.seed() + 1);
                    let seeds = selection.seeds().or(own).unwrap_or_else(|| scenario.seed_range());
                    files.push(PlannedFile { path, scenario, cells, chosen, seeds, recorded });
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(CliError::Usage(render_problems(&problems)));
        }
        if files.iter().all(|file| file.chosen.is_empty()) {
            let scenarios: Vec<&Scenario> = files.iter().map(|file| &file.scenario).collect();
            return Err(CliError::Usage(no_such_cell(cell, &scenarios)));
        }
        files.retain(|file| !file.chosen.is_empty());
        Ok(Plan { files })
    }

    /// The runs: file by file, seed by seed, the cells of one seed side by side.
    pub fn jobs(&self) -> Vec<Job> {
        let of_file = |(index, file): (usize, &PlannedFile)| {
            let chosen = file.chosen.clone();
            let runs = move |seed| chosen.clone().into_iter().map(move |cell| Job { file: index, cell, seed });
            file.seeds.clone().flat_map(runs).collect::<Vec<_>>()
        };
        self.files.iter().enumerate().flat_map(of_file).collect()
    }
}

/// The scenario files that paths lead to; without paths those in `scenarios/`.
pub fn find(paths: &[String]) -> Result<Vec<String>, CliError> {
    let default = [SCENARIOS_DIR.to_owned()];
    let mut files = Vec::new();
    for path in if paths.is_empty() { &default[..] } else { paths } {
        if !Path::new(path).is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| CliError::Usage(format!("cannot read {path}: {error}")))?;
        let is_scenario = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
        let mut found: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_scenario).collect();
        found.sort();
        if found.is_empty() {
            return Err(CliError::Usage(format!("there is no scenario (*.toml) in {path}")));
        }
        files.extend(found.iter().map(|path| path.display().to_string()));
    }
    files.dedup();
    Ok(files)
}

/// Reads one file, a scenario or a repro. Refused files come back as their problems.
pub fn load(path: &str, world: &World) -> Result<Result<Scenario, Vec<Problem>>, CliError> {
    Ok(check(&read(path)?.0, path, world))
}

/// The text of the scenario in a file, and if it is a repro file, the choices of its run.
pub fn read(path: &str) -> Result<(String, Option<Decisions>), CliError> {
    let text = fs::read_to_string(path).map_err(|error| match path {
        SCENARIOS_DIR => {
            CliError::Usage("there is no directory scenarios/ here: run from the repository's root".into())
        }
        _ => CliError::Usage(format!("cannot read {path}: {error}")),
    })?;
    if !Repro::is_repro(&text) {
        return Ok((text, None));
    }
    let repro = Repro::parse(&text).and_then(|repro| Ok((repro.decisions()?, repro.run.scenario)));
    let (decisions, scenario) = repro.map_err(|error| CliError::Usage(format!("{path} is no repro file: {error}")))?;
    Ok((scenario, Some(decisions)))
}

/// Reads and checks the text of a scenario.
pub fn check(text: &str, path: &str, world: &World) -> Result<Scenario, Vec<Problem>> {
    let scenario = Scenario::parse(text, path)?;
    let mut problems = scenario.check_planted(&(world.mutants)(), &(world.switches)());
    let points: Vec<&str> = world.points.iter().map(|(name, _)| *name).collect();
    problems.extend(scenario.check_points(&points));
    if problems.is_empty() { Ok(scenario) } else { Err(problems) }
}

/// Problems one below the other.
pub fn render_problems(problems: &[Problem]) -> String {
    let each: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let (count, noun) = (problems.len(), if problems.len() == 1 { "problem" } else { "problems" });
    format!("{}\n\n{count} {noun}", each.join("\n\n"))
}

/// A cell as `--cell` takes it: `a=1,b=two`.
pub fn cell_key(cell: &Cell) -> String {
    let pairs: Vec<String> = cell.0.iter().map(|(name, value)| format!("{name}={}", value.plain())).collect();
    pairs.join(",")
}

/// The only cell of a scenario that was chosen.
pub fn one_cell(scenario: &Scenario, choice: Option<&CellChoice>, path: &str) -> Result<Cell, CliError> {
    let none = CellChoice::default();
    let choice = choice.unwrap_or(&none);
    let mut cells = scenario.cells();
    cells.retain(|cell| fits(cell, choice));
    match &cells[..] {
        [cell] => Ok(cell.clone()),
        [] => Err(CliError::Usage(no_such_cell(choice, &[scenario]))),
        several => Err(CliError::Usage(format!("{path}: {}", several_cells(several)))),
    }
}

/// That one of these cells must be chosen.
pub fn several_cells(cells: &[Cell]) -> String {
    let named = cells.iter().take(CELLS_TOLD).map(|cell| format!("\n  --cell {}", cell_key(cell)));
    let more = match cells.len().saturating_sub(CELLS_TOLD) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    format!(
        "one run is needed, and these are {} cells of a matrix; give one of:{}{more}",
        cells.len(),
        named.collect::<String>()
    )
}

fn fits(cell: &Cell, choice: &CellChoice) -> bool {
    let same = |(name, value): &(String, String)| cell.get(name).is_some_and(|known| known.plain() == *value);
    choice.0.iter().all(same)
}

fn no_such_cell(cell: &CellChoice, scenarios: &[&Scenario]) -> String {
    let wanted: Vec<String> = cell.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut known: Vec<String> = Vec::new();
    for param in scenarios.iter().flat_map(|scenario| &scenario.params) {
        let values: Vec<String> = param.values.iter().map(|value| value.plain()).collect();
        let line = format!("{} ({})", param.name, values.join(", "));
        if !known.contains(&line) {
            known.push(line);
        }
    }
    let known =
        if known.is_empty() { "there is no matrix".to_owned() } else { format!("there are {}", known.join("; ")) };
    format!("no cell has {}: {known}", wanted.join(","))
}
