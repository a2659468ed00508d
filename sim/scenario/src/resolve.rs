//! One run: a cell and a seed, every range and choice drawn. Printed, it is itself a scenario: that is the repro.
//!
//! What stays open is what the simulator draws while the run goes on: spreads (latencies, offsets) and selectors.
//! Comparisons between cells are no matter of one run and are left out.

use crate::client::Client;
use crate::cluster::Cluster;
use crate::decision::Decisions;
use crate::defaults;
use crate::expect::{Expect, ExpectKindSpec};
use crate::expr::{EventFilter, STEP_EVENT};
use crate::field::{Dice, Field, Scalar, quote};
use crate::matrix::Cell;
use crate::scenario::{Scenario, VERSION, constants};
use crate::step::{Step, Trigger};
use crate::swarm::Swarm;
use crate::time::Nanos;
use crate::verb::Action;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunLength {
    /// This long.
    For(Nanos),
    /// Until the script is done, and then some: some steps wait for events whose time nobody knows.
    Settled {
        /// How long after the last step fired (and its fault ended).
        after_last: Nanos,
        /// Not shorter than this: windows of expectations reach so far.
        at_least: Nanos,
        /// And not longer than this, even when steps still wait.
        at_most: Nanos,
    },
}

impl RunLength {
    /// The longest that a run may take by its own account.
    pub fn at_most(self) -> Duration {
        let (RunLength::For(length) | RunLength::Settled { at_most: length, .. }) = self;
        Duration::from_nanos(u64::try_from(length.0).unwrap_or(0))
    }
}

/// Time after the last step.
const AFTER_LAST_STEP: Nanos = Nanos::from_secs(10);
/// Time after `quiesce`, when the default expectations need no more.
const AFTER_QUIESCE: Nanos = Nanos::from_secs(15);
/// Time on top of what the default expectations need.
const SLACK: Nanos = Nanos::from_secs(1);
/// Length of a run without steps.
const WITHOUT_STEPS: Nanos = Nanos::from_secs(30);
/// How long steps may wait for their triggers.
const PATIENCE: Nanos = Nanos::from_secs(300);

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The scenario's name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// The cell.
    pub cell: Cell,
    /// Default expectations it does not want.
    pub opt_out: Vec<String>,
    /// The cluster.
    pub cluster: Cluster,
    /// Load.
    pub clients: Vec<Client>,
    /// The steps that take part in this cell.
    pub steps: Vec<Step>,
    /// What a generator may add.
    pub swarm: Option<Swarm>,
    /// The file's own expectations that are made in this cell.
    pub expects: Vec<Expect>,
    /// How long it takes.
    pub run: RunLength,
    /// It may end this long after `quiesce`, once everything is as it should be again.
    pub settle: Option<Nanos>,
}

impl Scenario {
    /// Draws everything that is drawn once per seed. `cell` must be one of `cells()`.
    pub fn resolve(&self, cell: &Cell, decisions: &mut Decisions) -> Resolved {
        let seed = decisions.seed();
        let mut dice = Dice { decisions, cell };
        let cluster = self.draw_cluster(&mut dice);
        let clients: Vec<Client> = self
            .clients
            .iter()
            .map(|client| Client {
                id: client.id.clone(),
                knobs: client.knobs.draw(&mut dice, &format!("client.{}", client.id)),
            })
            .collect();
        let mut values = constants(&cluster);
        values.extend(cell.values());
        // A step draws its values in every cell, so that the cells in which it takes part agree.
        let mut steps = Vec::new();
        for spec in &self.steps {
            let mut step = spec.draw(&mut dice);
            if let Trigger::When { condition, .. } = &mut step.trigger {
                *condition = condition.substitute(&values);
            }
            if Scenario::takes_part(spec.only.as_ref(), cell) {
                steps.push(step);
            }
        }
        let mut expects = Vec::new();
        for spec in &self.expects {
            if let Some(mut expect) = spec.draw(&mut dice)
                && Scenario::takes_part(spec.only.as_ref(), cell)
            {
                for expr in expect.expressions_mut() {
                    *expr = expr.substitute(&values);
                }
                expects.push(expect);
            }
        }
        let swarm = self.swarm.as_ref().map(|swarm| swarm.draw(&mut dice, "swarm"));
        let run = match &self.run_for {
            Some(length) => RunLength::For(Nanos::draw(length, &mut dice, "run.for")),
            None => run_length(&steps, &expects, &cluster, &clients),
        };
        let settle = self.settle.as_ref().map(|settle| Nanos::draw(settle, &mut dice, "run.settle"));
        Resolved {
            name: self.name.clone(),
            about: self.about.clone(),
            seed,
            cell: cell.clone(),
            opt_out: self.opt_out.clone(),
            cluster,
            clients,
            steps,
            swarm,
            expects,
            run,
            settle,
        }
    }

    /// What each run of a cell has to measure for comparisons between cells: names and expressions, to be evaluated
    /// at the end of the run and handed to `campaign::judge` under their names.
    pub fn metrics(&self, resolved: &Resolved) -> Vec<(String, crate::expr::Expr)> {
        let mut values = constants(&resolved.cluster);
        values.extend(resolved.cell.values());
        let mut metrics = BTreeMap::new();
        for spec in &self.expects {
            let ExpectKindSpec::Across(comparison) = &spec.kind else { continue };
            let wanted = [spec.only.as_ref(), comparison.only.as_ref()];
            if wanted.into_iter().all(|only| Scenario::takes_part(only, &resolved.cell)) {
                for metric in comparison.metrics() {
                    metrics.insert(metric.to_string(), metric.substitute(&values));
                }
            }
        }
        metrics.into_iter().collect()
    }
}

/// When each step fires first, where that can be known beforehand.
fn start_times(steps: &[Step]) -> Vec<Option<Nanos>> {
    let mut times: Vec<Option<Nanos>> = vec![None; steps.len()];
    // Each round settles at least one more step of a chain.
    for _ in 0..steps.len() {
        for (i, step) in steps.iter().enumerate() {
            times[i] = match &step.trigger {
                Trigger::At(at) => Some(*at),
                Trigger::After(event, delay) => caused_at(event, steps, &times).map(|at| at + *delay),
                Trigger::When { .. } => None,
            };
        }
    }
    times
}

/// The moment of the event of a step, when it comes the moment the step fires.
fn caused_at(event: &EventFilter, steps: &[Step], times: &[Option<Nanos>]) -> Option<Nanos> {
    let instant = |action: &Action| !matches!(action, Action::Roll(_) | Action::Member(_) | Action::Downgrade(_));
    let causes = steps.iter().zip(times).filter(|(step, _)| match &event.step {
        Some(id) => event.name == STEP_EVENT && step.id == *id,
        None => step.action.verb() == event.name,
    });
    let mut first: Option<Nanos> = None;
    for (step, time) in causes {
        let time = time.filter(|_| instant(&step.action))?;
        first = Some(first.map_or(time, |first| first.min(time)));
    }
    first
}

fn run_length(steps: &[Step], expects: &[Expect], cluster: &Cluster, clients: &[Client]) -> RunLength {
    let calls = defaults::slowest_calls(clients.iter().map(|group| &group.knobs)).unwrap_or(Nanos::ZERO);
    let heal = (defaults::heal_time(cluster, calls) + SLACK).max(AFTER_QUIESCE);
    let windows = expects.iter().flat_map(Expect::expressions).filter_map(crate::expr::Expr::last_moment).max();
    let windows = windows.map_or(Nanos::ZERO, |end| end + SLACK);
    let times = start_times(steps);
    let mut end = if steps.is_empty() { WITHOUT_STEPS } else { Nanos::ZERO }.max(windows);
    for (step, start) in steps.iter().zip(&times) {
        let again = step.repeat.as_ref().map_or(Nanos::ZERO, |repeat| repeat.every.times((repeat.times - 1) as f64));
        let after = if matches!(step.action, Action::Quiesce(_)) { heal } else { AFTER_LAST_STEP };
        end = end.max(start.unwrap_or(Nanos::ZERO) + again + step.action.busy() + after);
    }
    if times.iter().all(Option::is_some) {
        return RunLength::For(end);
    }
    let quiesces = steps.iter().any(|step| matches!(step.action, Action::Quiesce(_)));
    let after_last = if quiesces { heal } else { AFTER_LAST_STEP };
    RunLength::Settled { after_last, at_least: windows, at_most: end + PATIENCE }
}

impl Resolved {
    /// The default expectations of this run. An expectation of the file with the same name takes their place.
    pub fn default_expects(&self) -> Vec<Expect> {
        let calls = defaults::slowest_calls(self.clients.iter().map(|group| &group.knobs));
        let mut defaults = defaults::expects(&self.cluster, &self.opt_out, calls);
        defaults.retain(|default| !self.expects.iter().any(|own| own.id == default.id));
        defaults
    }

    /// Only what a client could see is judged.
    pub fn is_black_box(&self) -> bool {
        self.opt_out.iter().any(|out| out == defaults::WHITE_BOX)
    }

    /// The run as a scenario of one cell and one seed.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        line(&format!("scn = {VERSION}"));
        line(&format!("name = {}", quote(&self.name)));
        line(&format!("about = {}", quote(&self.about)));
        if !self.opt_out.is_empty() {
            let names: Vec<String> = self.opt_out.iter().map(|name| quote(name)).collect();
            line(&format!("opt_out = [{}]", names.join(", ")));
        }
        line("\n[cluster]");
        for (key, value) in self.cluster.literals() {
            if let Some(value) = value
                && self.cell.get(key).is_none()
            {
                line(&format!("{key} = {value}"));
            }
        }
        if !self.cell.0.is_empty() {
            line("\n[matrix]");
            for (name, value) in &self.cell.0 {
                line(&format!("{name} = [{}]", value.literal));
            }
        }
        line(&format!("\n[seeds]\nfirst = {}\ncount = 1", self.seed));
        if let RunLength::For(length) = self.run {
            line(&format!("\n[run]\nfor = {}", length.toml()));
            if let Some(settle) = self.settle {
                line(&format!("settle = {}", settle.toml()));
            }
        }
        if let Some(swarm) = &self.swarm {
            line("\n[swarm]");
            for (key, value) in swarm.literals() {
                line(&format!("{key} = {}", value.unwrap_or_default()));
            }
        }
        for client in &self.clients {
            line(&format!("\n[[client]]\nid = {}", quote(&client.id)));
            for (key, value) in client.knobs.literals() {
                if let Some(value) = value {
                    line(&format!("{key} = {value}"));
                }
            }
        }
        for step in &self.steps {
            line(&format!("\n[[step]]\n{}", step_toml(step)));
        }
        for expect in &self.expects {
            line(&format!("\n[[expect]]\nid = {}", quote(&expect.id)));
            for (key, value) in expect.literals() {
                line(&format!("{key} = {value}"));
            }
        }
        out
    }
}

fn step_toml(step: &Step) -> String {
    let mut out = format!("id = {}\n", quote(&step.id));
    let mut key = |name: &str, value: &str| writeln!(out, "{name} = {value}").expect("a string takes everything");
    match &step.trigger {
        Trigger::At(at) => key("at", &at.toml()),
        Trigger::After(event, delay) => {
            key("after", &quote(&event.to_string()));
            key("delay", &delay.toml());
        }
        Trigger::When { condition, nth, delay } => {
            key("when", &quote(&condition.to_string()));
            key("nth", &nth.to_string());
            key("delay", &delay.toml());
        }
    }
    if let Some(repeat) = &step.repeat {
        key("repeat", &repeat.literal().expect("a repeat has keys"));
    }
    key("do", &quote(step.action.verb()));
    for (name, value) in step.action.literals() {
        key(&name, &value);
    }
    out.truncate(out.trim_end().len());
    out
}
