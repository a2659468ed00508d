//! Runs of one scenario with something changed: what the report asks to find out what the failure hangs on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evenkeel_scenario::cluster::Planted;
use evenkeel_scenario::ops::Op;
use evenkeel_scenario::step::Trigger;
use evenkeel_scenario::verb::{Action, Mark, Name};
use evenkeel_scenario::{Cell, Decisions, Nanos, Resolved, RunLength, Scenario};

use crate::chain::{Recorder, RecorderOptions};
use crate::fork::{Limits, run_all};
use crate::panics;
use crate::report::{RunInput, Verdict, World};
use crate::repro::Signature;

/// A changed run that takes longer tells nothing.
const WALL_LIMIT: Duration = Duration::from_secs(60);
/// A changed run goes on for so long after the moment at which the original failed, and then counts as passed.
const GRACE: Duration = Duration::from_secs(2);

/// After the end of every run.
const NEVER: Nanos = Nanos::from_secs(1_000_000);

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A step of the script: its place.
    Step(usize),
    /// An operation of a group's list: their places.
    Operation(usize, usize),
}

/// What is changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// No bug is planted.
    Unplanted,
    /// One thing is left out.
    Without(Item),
    /// One thing comes later by this, or earlier.
    Moved(Item, Nanos),
    /// Everything is drawn with another seed.
    Seed(u64),
    /// One draw has another value: label, occurrence, value.
    Draw(String, u64, u64),
    /// Everything after so many draws is drawn with another seed.
    Anew(u64, u64),
}

impl Change {
    /// In words, as the beginning of a sentence.
    pub fn words(&self, resolved: &Resolved) -> String {
        match self {
            Change::Unplanted => {
                let names = |planted: &Planted| planted.0.iter().map(|plant| plant.name.clone()).collect::<Vec<_>>();
                format!("The planted bug ({}) is left out", names(&resolved.cluster.mutants).join(", "))
            }
            Change::Without(item) => format!("{} is left out", item.words(resolved)),
            Change::Moved(item, by) => {
                let direction = if by.0 < 0 { "earlier" } else { "later" };
                format!("{} comes {} {direction}", item.words(resolved), Nanos(by.0.abs()))
            }
            Change::Seed(seed) => format!("Everything is drawn with seed {seed}"),
            Change::Draw(label, occurrence, value) => draw_words(label, *occurrence, *value),
            Change::Anew(count, seed) => format!("Everything after {count} draws is drawn anew ({seed})"),
        }
    }
}

impl Item {
    fn words(self, resolved: &Resolved) -> String {
        match self {
            Item::Step(place) => {
                let step = &resolved.steps[place];
                format!("Step {} ({} {})", step.id, step.action.verb(), step.action.arguments())
            }
            Item::Operation(group, place) => {
                format!("The operation \"{}\"", resolved.clients[group].knobs.ops.0[place])
            }
        }
    }

    /// When, if a time says when.
    fn time(self, resolved: &mut Resolved) -> Option<&mut Nanos> {
        match self {
            Item::Step(place) => match &mut resolved.steps[place].trigger {
                Trigger::At(at) => Some(at),
                _ => None,
            },
            Item::Operation(group, place) => Some(&mut resolved.clients[group].knobs.ops.0[place].at),
        }
    }
}

/// A draw in words: its label says whose it is.
fn draw_words(label: &str, occurrence: u64, value: u64) -> String {
    let size = if value == 0 { "as short as can be" } else { "as long as can be" };
    let parts: Vec<&str> = label.split('/').collect();
    match parts[..] {
        ["net", link, kind] if !kind.contains(".drop") && !kind.contains(".dup") && !kind.contains(".reorder") => {
            let kind = kind.trim_start_matches("raft.");
            format!("One message on {} ({kind}, no. {occurrence}) is under way {size}", link.replace('>', " → "))
        }
        ["net", link, kind] => {
            let (kind, what) = kind.trim_start_matches("raft.").split_once('.').unwrap_or((kind, "fate"));
            format!("One message on {} ({kind}, no. {occurrence}) has another luck ({what})", link.replace('>', " → "))
        }
        ["disk", node, "sync"] => format!("One sync of {node}'s disk (no. {occurrence}) takes {size}"),
        ["client", group, place, what] => {
            format!("Client {group}/{place} chooses differently once ({what}, no. {occurrence})")
        }
        _ => format!("The choice {label}#{occurrence} is {}", if value == 0 { "the first" } else { "the last" }),
    }
}

/// A run that failed, to be changed and played again.
pub struct Ground<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The cell.
    pub cell: &'a Cell,
    /// The choices, nothing drawn yet.
    pub decisions: Decisions,
    /// How it failed.
    pub signature: Signature,
    /// When.
    pub at: Duration,
    /// The world.
    pub world: &'a World,
    /// Runs at once.
    pub jobs: usize,
}

impl Ground<'_> {
    /// The scenario as it was drawn, changed, and the choices that are left to make.
    fn prepare(&self, changes: &[Change], is_cut: bool) -> (Resolved, Decisions) {
        let mut decisions = self.decisions.clone();
        for change in changes {
            if let Change::Seed(seed) = change {
                decisions = Decisions::new(*seed);
            }
        }
        let mut resolved = self.scenario.resolve(self.cell, &mut decisions);
        for change in changes {
            match change {
                // The step comes, and does nothing: a task less would be another run from the first moment on.
                Change::Without(Item::Step(place)) => {
                    resolved.steps[*place].action = Action::Mark(Mark { name: Name("left out".into()) })
                }
                Change::Without(Item::Operation(group, place)) => {
                    let ops = &mut resolved.clients[*group].knobs.ops.0;
                    let left_out = ops.remove(*place);
                    // Without a list a client would make up its operations.
                    if ops.is_empty() {
                        ops.push(Op { at: NEVER, ..left_out });
                    }
                }
                Change::Moved(item, by) => {
                    if let Some(at) = item.time(&mut resolved) {
                        *at = Nanos(at.0.saturating_add(by.0).max(0));
                    }
                }
                Change::Unplanted => resolved.cluster.mutants = Planted::default(),
                Change::Seed(_) => {}
                Change::Draw(label, occurrence, value) => decisions.set_override(label, *occurrence, *value),
                Change::Anew(count, seed) => decisions.anew_after(*count, *seed),
            }
        }
        let end = Nanos((self.at + GRACE).as_nanos() as i64);
        if let RunLength::For(length) = resolved.run
            && is_cut
            && end < length
        {
            resolved.run = RunLength::For(end);
        }
        (resolved, decisions)
    }

    /// Plays one changed run in this process.
    fn play(&self, changes: &[Change], is_cut: bool, trace: Option<&PathBuf>) -> Verdict {
        let (resolved, decisions) = self.prepare(changes, is_cut);
        let trace = trace.and_then(|path| std::fs::File::create(path).ok());
        let trace = trace.map(|file| Box::new(std::io::BufWriter::new(file)) as Box<dyn std::io::Write + Send>);
        let recorder = Arc::new(Mutex::new(Recorder::new(RecorderOptions { trace, ..RecorderOptions::default() })));
        let input = RunInput { resolved, metrics: Vec::new(), decisions, recorder: recorder.clone() };
        let ended = catch_unwind(AssertUnwindSafe(|| (self.world.run)(input)));
        let written = recorder.lock().unwrap_or_else(PoisonError::into_inner).finish();
        match (ended, written) {
            (Ok(end), Ok(_)) => end.verdict,
            (Err(_), _) => {
                let message = panics::take_first().unwrap_or_default();
                Verdict::Panic { message, at_ns: 0, events: Vec::new() }
            }
            (_, Err(error)) => Verdict::Error { message: error.to_string() },
        }
    }

    /// Plays changed runs as long as there are any and time is left. `told` gets each one's verdict and whether it
    /// failed like the original, and says whether to go on.
    pub fn try_all<J>(
        &self,
        jobs: impl IntoIterator<Item = J>,
        changes: impl Fn(&J) -> Vec<Change>,
        until: Instant,
        mut told: impl FnMut(J, &Verdict, bool) -> bool,
    ) {
        let going = std::cell::Cell::new(true);
        let jobs = jobs.into_iter().take_while(|_| going.get() && Instant::now() < until);
        let limits = Limits { jobs: self.jobs, wall: WALL_LIMIT };
        run_all(
            jobs,
            limits,
            |job| self.play(&changes(job), true, None),
            |job, finished| {
                let Ok(verdict) = finished.result else { return };
                let same = Signature::of(&verdict).as_ref() == Some(&self.signature);
                going.set(told(job, &verdict, same) && going.get());
            },
        );
    }

    /// Whether a changed run passes to its very end.
    pub fn passes(&self, change: &Change) -> bool {
        let (limits, mut passes) = (Limits { jobs: 1, wall: WALL_LIMIT }, false);
        let play = || self.play(std::slice::from_ref(change), false, None);
        let told = |(), finished: crate::fork::Finished<Verdict>| {
            passes = finished.result.is_ok_and(|verdict| verdict.passed());
        };
        run_all([()], limits, |()| play(), told);
        passes
    }

    /// Plays one changed run and keeps its trace.
    pub fn trace(&self, changes: &[Change], path: &PathBuf) {
        let limits = Limits { jobs: 1, wall: WALL_LIMIT };
        run_all([()], limits, |()| self.play(changes, true, Some(path)), |(), _| {});
    }

    /// What happens at its time before the failure, the last first, and then what waits for something.
    pub fn items(&self) -> Vec<Item> {
        let (mut resolved, _) = self.prepare(&[], true);
        let operations = (resolved.clients.iter().enumerate())
            .flat_map(|(group, client)| (0..client.knobs.ops.0.len()).map(move |place| Item::Operation(group, place)));
        let all: Vec<Item> = (0..resolved.steps.len()).map(Item::Step).chain(operations).collect();
        let timed = all.into_iter().map(|item| (item.time(&mut resolved).map(|at| *at), item));
        let failed = Nanos(self.at.as_nanos() as i64);
        let mut timed: Vec<(Option<Nanos>, Item)> = timed.filter(|(at, _)| at.is_none_or(|at| at <= failed)).collect();
        timed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        timed.into_iter().map(|(_, item)| item).collect()
    }
}
