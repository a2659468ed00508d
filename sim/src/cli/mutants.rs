//! `sim mutants`: what the testbed finds, shown on bugs planted on purpose ([`crate::gallery`]).
//!
//! Every bug is planted in runs of the generic swarm, none of which was made for it, and each is tried several times
//! on seeds of its own until it is found or its time is spent. Twice: once with every oracle (white box), once with
//! those alone that judge by what a client could see (black box). Only the second compares with other testbeds.
//!
//! A bug that was never *reached* says nothing about the oracles: the runs lack something.

mod gate;
mod repro;
mod share;
mod trial;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use evenkeel_scenario::Scenario;
use evenkeel_scenario::cluster::Planted;
use serde_json::{Value, json};

use super::CliError;
use super::args::{Format, Parallel};
use super::fuzz::corpus;
use super::output::note;
use super::plan;
use super::table::{Table, duration};
use crate::explore::{self, Profile};
use crate::gallery::{GALLERY, Origin, Plant};
use crate::report::World;
use repro::{Shrunk, shrunk};
use trial::{Box, Effort, Score, Source, try_out};

/// What `sim mutants` is told.
#[derive(Args, Clone, Debug)]
pub struct MutantsArgs {
    /// Only this planted bug; may be given several times
    #[arg(long, value_name = "NAME", value_parser = planted)]
    only: Vec<&'static Plant>,
    /// Core-seconds until one trial of one bug is given up
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Trials of each bug, each on seeds of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// The first seed of the first trial
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What the generic swarm is to be like
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = Profile::find)]
    profile: &'static Profile,
    /// Runs of this scenario instead of the generic swarm's
    #[arg(long, value_name = "PATH", conflicts_with = "profile")]
    scenario: Option<String>,
    /// Each trial is a guided search, with the bug planted in every run of it
    #[arg(long, conflicts_with_all = ["scenario", "gate"])]
    guided: bool,
    /// Each of them begins with what a guided campaign saw: its DIR/corpus; may be given several times
    #[arg(long, value_name = "DIR", requires = "guided")]
    corpus: Vec<PathBuf>,
    /// Also the bugs that are our own design's alone
    #[arg(long)]
    all: bool,
    /// Shrink the first run that finds a known bug, and the first in which a client could see it, for at most so long; 0 does not
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = super::args::seconds)]
    shrink_seconds: u64,
    /// The short version: each known bug once, a canary that must be found, harmless changes that must not
    #[arg(long, conflicts_with_all = ["only", "seconds", "trials", "seed", "scenario", "all", "shrink_seconds", "format"])]
    gate: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    parallel: Parallel,
}

fn planted(name: &str) -> Result<&'static Plant, String> {
    crate::gallery::find(name).ok_or_else(|| {
        let near = evenkeel_scenario::nearest(name, GALLERY.iter().map(|plant| plant.name));
        near.map_or("nothing of this name is planted".to_owned(), |near| format!("did you mean \"{near}\"?"))
    })
}

/// Tries the gallery out and says what came of it. True when every known bug that was tried is found, and nothing
/// harmless.
pub fn mutants(args: &MutantsArgs, world: &World, out: &mut dyn Write) -> Result<bool, CliError> {
    let fixed = args.scenario.as_deref().map(|path| plan::load(path, world)).transpose()?;
    let fixed = fixed.transpose().map_err(|problems| CliError::Usage(plan::render_problems(&problems)))?;
    if let Some(cells) = fixed.as_ref().map(Scenario::cells).filter(|cells| 1 < cells.len()) {
        let first = plan::cell_key(&cells[0]);
        note(format_args!("of {} cells of its matrix the first is played: {first}", cells.len()));
    }
    let seeds = |seed: u64| match &fixed {
        Some(scenario) => scenario.clone(),
        None => explore::generate(args.profile, seed, &Planted::default()),
    };
    let corpus = corpus::load(&args.corpus)?;
    let source = if args.guided { Source::Guided(args.profile, &corpus) } else { Source::Seeds(&seeds) };
    if args.gate {
        return gate::gate(args.parallel.jobs(), source, world, out);
    }
    let effort = Effort {
        trials: args.trials,
        budget: Duration::from_secs(args.seconds),
        runs: trial::TRIAL_SEEDS,
        first: args.seed,
        parallel: args.parallel.jobs(),
    };
    let chosen = |plant: &&Plant| match (args.only.is_empty(), plant.origin) {
        (false, _) => args.only.contains(plant),
        (true, Origin::Own) => args.all,
        (true, _) => true,
    };
    let mut rows = Vec::new();
    for plant in GALLERY.iter().filter(chosen) {
        let white = try_out(plant, Box::White, effort, source, world)?;
        let black = try_out(plant, Box::Black, effort, source, world)?;
        let time = Duration::from_secs(args.shrink_seconds);
        let is_shrunk = matches!(plant.origin, Origin::Known { .. }) && !time.is_zero();
        let small = |score: &Score, judged| {
            let first = score.first().filter(|_| is_shrunk)?;
            shrunk((plant, judged), first, time, effort.parallel, source, world)
        };
        let (shrunk, shrunk_black) = (small(&white, Box::White), small(&black, Box::Black));
        let row = Row { plant, white, black, shrunk, shrunk_black };
        match args.format {
            Format::Json => {
                let mut line = row.json();
                line["profile"] = args.scenario.as_deref().unwrap_or(args.profile.name).into();
                line["guided"] = args.guided.into();
                writeln!(out, "{line}")?;
            }
            Format::Text => note(format_args!("{}", row.summary())),
        }
        rows.push(row);
    }
    if args.format == Format::Text {
        let runs = args.scenario.as_deref().unwrap_or(args.profile.name);
        writeln!(out, "runs of {runs}{}", if args.guided { ", guided" } else { "" })?;
        out.write_all(render(&rows).as_bytes())?;
    }
    Ok(rows.iter().all(Row::holds))
}

/// One line of the table.
struct Row {
    plant: &'static Plant,
    white: Score,
    black: Score,
    /// The first run that found it, shrunk.
    shrunk: Option<Shrunk>,
    /// The first run in which a client could see it, shrunk.
    shrunk_black: Option<Shrunk>,
}

impl Row {
    fn holds(&self) -> bool {
        match self.plant.origin {
            Origin::Known { .. } => 0 < self.white.found(),
            Origin::Canary => 0 < self.white.runs && self.white.hits == self.white.runs,
            Origin::Benign => {
                0 < self.white.runs && self.white.hits + self.black.hits == 0 && self.white.errors.is_empty()
            }
            Origin::Own => true,
        }
    }

    fn summary(&self) -> String {
        let Row { plant, white, black, shrunk: shrunk_white, shrunk_black } = self;
        let told = |score: &Score| match (score.found(), score.mostly_by()) {
            (0, _) => "not found".to_owned(),
            (found, by) => format!("{found}/{} by {}", score.trials.len(), by.unwrap_or_default()),
        };
        let reached =
            format!("reached in {} and different in {} of {} runs", white.reached, white.diverged, white.runs);
        let shrunk = |shrunk: &Option<Shrunk>| match shrunk {
            Some(Shrunk { from, to, took }) => format!(", shrunk from {from} events to {to} in {}", duration(*took)),
            None => String::new(),
        };
        let (small, small_black) = (shrunk(shrunk_white), shrunk(shrunk_black));
        format!("{}: {reached}; {}{small}; black box {}{small_black}", plant.name, told(white), told(black))
    }

    fn json(&self) -> Value {
        let (kind, source, relative) = match self.plant.origin {
            Origin::Known { source, relative } => ("known", source, relative),
            Origin::Own => ("own", "", ""),
            Origin::Benign => ("benign", "", ""),
            Origin::Canary => ("canary", "", ""),
        };
        json!({
            "type": "mutant",
            "name": self.plant.name,
            "about": self.plant.about,
            "kind": kind,
            "source": source,
            "relative": relative,
            "holds": self.holds(),
            "shrunk": self.shrunk.as_ref().map(Shrunk::json),
            "shrunk_black_box": self.shrunk_black.as_ref().map(Shrunk::json),
            "white_box": score_json(&self.white),
            "black_box": score_json(&self.black),
        })
    }
}

fn score_json(score: &Score) -> Value {
    let (low, high) = score.share().interval();
    let trials = score.trials.iter().map(|(spent, find)| {
        json!({
            "core_seconds": spent.as_secs_f64(),
            "found": find.is_some(),
            "seed": find.as_ref().map(|find| find.seed),
            "by": find.as_ref().map(|find| find.by.as_str()),
            "message": find.as_ref().map(|find| find.message.as_str()),
        })
    });
    json!({
        "runs": score.runs,
        "reached": score.reached,
        "diverged": score.diverged,
        "hits": score.hits,
        "p": score.share().share(),
        "p_low": low,
        "p_high": high,
        "by": score.by,
        "median_core_seconds": score.median().map(|median| median.as_secs_f64()),
        "trials": trials.collect::<Vec<_>>(),
        "errors": score.errors,
    })
}

fn render(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "bug",
        "planted",
        ">reached",
        ">differs",
        ">found",
        "by",
        ">p per run",
        "95 %",
        ">core time",
        ">shrunk to",
        ">in",
        ">black box",
        "by",
        ">p per run",
        "95 %",
        ">core time",
        ">shrunk to",
        ">in",
    ]);
    for Row { plant, white, black, shrunk, shrunk_black } in rows {
        let planted = match plant.origin {
            Origin::Known { relative: "", .. } => "as it was",
            Origin::Known { .. } => "a relative",
            Origin::Own => "our own",
            Origin::Benign => "harmless",
            Origin::Canary => "canary",
        };
        let found = |score: &Score| format!("{}/{}", score.found(), score.trials.len());
        let share = |part: u64| percent(part as f64 / white.runs.max(1) as f64);
        let median = |score: &Score| score.median().map_or("-".to_owned(), duration);
        let by = |score: &Score| score.mostly_by().unwrap_or("-").to_owned();
        let judged = |score: &Score, shrunk: &Option<Shrunk>| {
            let (low, high) = score.share().interval();
            [
                found(score),
                by(score),
                percent(score.share().share()),
                format!("{}..{}", percent(low), percent(high)),
                median(score),
                shrunk.map_or("-".to_owned(), |shrunk| shrunk.to.to_string()),
                shrunk.map_or("-".to_owned(), |shrunk| duration(shrunk.took)),
            ]
        };
        let what = [plant.name.to_owned(), planted.to_owned(), share(white.reached), share(white.diverged)];
        table.row(what.into_iter().chain(judged(white, shrunk)).chain(judged(black, shrunk_black)));
    }
    let mut text = table.render();
    let known: Vec<&Row> = rows.iter().filter(|row| matches!(row.plant.origin, Origin::Known { .. })).collect();
    let found = |score: fn(&Row) -> &Score| known.iter().filter(|row| score(row).median().is_some()).count();
    let (white, black) = (found(|row| &row.white), found(|row| &row.black));
    let all = known.len();
    text.push_str(&format!("{white} of {all} known bugs found by most trials, {black} of them by what clients see\n"));
    let middle = |what: &str, mut shrunk: Vec<&Shrunk>| {
        let middle = shrunk.len() / 2;
        shrunk.sort_unstable_by_key(|shrunk| shrunk.to);
        let events = shrunk.get(middle).map(|shrunk| shrunk.to)?;
        shrunk.sort_unstable_by_key(|shrunk| shrunk.took);
        let took = duration(shrunk[middle].took);
        Some(format!("{} repros{what}, in the middle {events} events, shrunk in {took}\n", shrunk.len()))
    };
    let all = known.iter().filter_map(|row| row.shrunk.as_ref()).collect();
    let black = known.iter().filter_map(|row| row.shrunk_black.as_ref()).collect();
    text.extend(middle("", all).into_iter().chain(middle(" of what clients see", black)));
    text.push_str("p per run: finds by the runs up to them, a little too high (by one part in the number of finds);\n");
    text.push_str("95 %: exact for trials that each go on until a find\n");
    for row in rows {
        for error in row.white.errors.iter().chain(&row.black.errors) {
            text.push_str(&format!("not finished: {}: {error}\n", row.plant.name));
        }
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
