//! A whole file: read, checked, and asked for its cells, seeds and runs.

use crate::client::{self, ClientSpec};
use crate::cluster::{self, Cluster, ClusterSpec};
use crate::decision::Decisions;
use crate::defaults::opt_outs;
use crate::expect::{self, ExpectSpec};
use crate::expr::{CONSTANTS, eval};
use crate::field::{Dice, Field, Scalar, Setting};
use crate::matrix::{self, Cell, Matrix, Param};
use crate::problem::{Problem, Source, unknown};
use crate::read::{Cx, Names, Reader};
use crate::select::is_reserved;
use crate::step::{self, StepSpec, check_unique};
use crate::swarm::SwarmSpec;
use crate::time::Nanos;
use crate::tree::{self, Node, Tree};
use crate::value::Value;
use crate::verb::covers;
use std::collections::BTreeMap;
use std::ops::Range;

/// The version of the language.
pub const VERSION: i64 = 1;
/// The seeds of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// Seeds of a file that says nothing about them.
const SEEDS_DEFAULT: Seeds = Seeds { first: 0, count: 100 };

/// A checked file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is about, in a sentence.
    pub about: String,
    /// Default expectations it does not want.
    pub opt_out: Vec<String>,
    /// The cluster.
    pub cluster: ClusterSpec,
    /// The matrix.
    pub params: Vec<Param>,
    /// Seeds to run.
    pub seeds: Seeds,
    /// How long a run takes, when the file says so.
    pub run_for: Option<Setting<Nanos>>,
    /// How long after calm has returned a run may end, when the file says so.
    pub settle: Option<Setting<Nanos>>,
    /// Load.
    pub clients: Vec<ClientSpec>,
    /// The script.
    pub steps: Vec<StepSpec>,
    /// What a generator may add.
    pub swarm: Option<SwarmSpec>,
    /// What is expected.
    pub expects: Vec<ExpectSpec>,
    pub(crate) source: Source,
    /// Points in the code that it mentions, and where.
    points: Vec<(String, Range<usize>)>,
    /// Settings with a fixed value, for comparisons between cells.
    pub(crate) constants: BTreeMap<String, Value>,
    /// For parameters named like a key of `[cluster]`: that key, once per value.
    overlays: BTreeMap<String, Vec<ClusterSpec>>,
}

impl Scenario {
    /// Reads and checks a file; `file_name` is used in messages only. All problems come back, in the order of the
    /// file.
    pub fn parse(source: &str, file_name: &str) -> Result<Scenario, Vec<Problem>> {
        let source = Source { file: file_name.to_owned(), text: source.to_owned() };
        let root = tree::parse(&source)?;
        let mut cx = Cx { source: &source, problems: Vec::new(), names: Names::default(), points: Vec::new() };
        let scenario = read(&mut cx, &root);
        let mut problems = cx.problems;
        problems.sort_by_key(|problem| (problem.line, problem.column));
        match scenario {
            Some(scenario) if problems.is_empty() => Ok(scenario),
            _ => {
                assert!(!problems.is_empty(), "a file was refused without a reason");
                Err(problems)
            }
        }
    }

    /// The file's name, as given to `parse`.
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// Every cell of the matrix, in the order of the file; one empty cell without a matrix.
    pub fn cells(&self) -> Vec<Cell> {
        matrix::cells(&self.params)
    }

    /// The seeds of a campaign.
    pub fn seed_range(&self) -> Range<u64> {
        self.seeds.first..self.seeds.first.saturating_add(self.seeds.count)
    }

    /// A problem for each planted bug and each switched-off mechanism that is not among the known ones.
    pub fn check_planted(&self, mutants: &[&str], switches: &[&str]) -> Vec<Problem> {
        let mut problems = self.cluster.mutants.check(&self.source, "mutant", mutants);
        problems.extend(self.cluster.switches.check(&self.source, "switch", switches));
        problems
    }

    /// A problem for each point in the code, or part of it, that is not among the known ones.
    pub fn check_points(&self, known: &[&str]) -> Vec<Problem> {
        let is_known = |name: &str| known.iter().any(|point| covers(name, point));
        let strangers = self.points.iter().filter(|(name, _)| !is_known(name));
        strangers
            .map(|(name, span)| {
                let message = unknown("point in the code", name, known.iter().copied());
                self.source.problem(span.clone(), message)
            })
            .collect()
    }

    /// The cluster of one cell and seed.
    pub(crate) fn draw_cluster(&self, dice: &mut Dice<'_>) -> Cluster {
        let mut spec = self.cluster.clone();
        for (name, value) in &dice.cell.0 {
            if let Some(overlays) = self.overlays.get(name) {
                let param = self.params.iter().find(|param| param.name == *name).expect("the cell is of this matrix");
                let index = param.values.iter().position(|known| known == value).expect("the cell is of this matrix");
                spec.copy_key(name, &overlays[index]);
            }
        }
        spec.draw(dice, "cluster")
    }

    /// Whether something limited by `only` takes part in a cell.
    pub(crate) fn takes_part(only: Option<&crate::expr::Expr>, cell: &Cell) -> bool {
        only.is_none_or(|only| eval::cell_condition(only, &cell.values()))
    }
}

/// The settings of a drawn cluster that expressions may name.
pub(crate) fn constants(cluster: &Cluster) -> BTreeMap<String, Value> {
    let number = |n: u64| Value::Number(n as f64);
    let value = |name: &str| match name {
        "nodes" => number(cluster.nodes),
        "tick" => Value::Duration(cluster.tick),
        "election_ticks" => number(cluster.election_ticks),
        "heartbeat_ticks" => number(cluster.heartbeat_ticks),
        "snapshot_count" => number(cluster.snapshot_count),
        "snapshot_catchup" => number(cluster.snapshot_catchup),
        "checkpoint_every" => number(cluster.checkpoint_every),
        "pre_vote" => Value::Bool(cluster.pre_vote),
        "check_quorum" => Value::Bool(cluster.check_quorum),
        "tick_advance" => Value::Bool(cluster.tick_advance),
        _ => unreachable!("{name} is listed as a constant but has no value"),
    };
    CONSTANTS.iter().map(|(name, _)| ((*name).to_owned(), value(name))).collect()
}

/// The entries `[[name]]`.
fn tables<'n>(cx: &mut Cx<'_>, root: &mut Reader<'n>, name: &str) -> &'n [Node] {
    match root.get(name) {
        None => &[],
        Some(Node { tree: Tree::List(items), .. }) => items,
        Some(node) => {
            cx.problem(node.span.clone(), format!("write [[{name}]]: there can be several"));
            &[]
        }
    }
}

fn read(cx: &mut Cx<'_>, node: &Node) -> Option<Scenario> {
    let mut root = Reader::new(cx, node, "the file")?;
    read_version(cx, &mut root);
    let name = root.need(cx, "name").and_then(|node| cx.text(node, "a name").map(str::to_owned));
    let about = root.get("about").map_or(Some(String::new()), |node| cx.text(node, "a sentence").map(str::to_owned));
    let opt_out = root.get("opt_out").map_or(Some(Vec::new()), |node| read_opt_out(cx, node));

    let empty = Node { span: 0..0, tree: Tree::Table(Vec::new()) };
    let cluster_node = root.get("cluster").unwrap_or(&empty);
    let cluster = read_cluster(cx, cluster_node);
    let fallback = Cluster::defaults().expect("every key of the cluster has a default").open();
    let base = cluster.clone().unwrap_or(fallback);
    let matrix = root.get("matrix").map_or(Some(Matrix::default()), |node| matrix::read(cx, node, cluster_node, &base));
    let Matrix { params, overlays } = matrix.clone().unwrap_or_default();

    // What later sections may mention.
    let clients = tables(cx, &mut root, "client");
    let steps = tables(cx, &mut root, "step");
    let expects = tables(cx, &mut root, "expect");
    let step_ids = step::step_ids(steps);
    let constants = fixed_constants(&base, &params);
    let smallest = |spec: &ClusterSpec| spec.nodes.extremes().into_iter().copied().min().unwrap_or(1);
    cx.names = Names {
        nodes: overlays.get("nodes").map_or(smallest(&base), |specs| specs.iter().map(smallest).min().unwrap_or(1))
            + values_of(steps, "change").into_iter().filter(|(change, _)| change.starts_with("add")).count() as u64,
        clients: ids(clients).into_iter().map(|(id, _)| id).collect(),
        steps: step_ids.clone(),
        verbs: values_of(steps, "do").into_iter().map(|(verb, _)| verb).collect(),
        bound: bound_names(steps),
        params: params.clone(),
        constants: constants.clone(),
    };
    check_ids(cx, clients, steps, expects);
    check_planted_selectors(cx, cluster_node);

    let seeds = root.get("seeds").map_or(Some(SEEDS_DEFAULT), |node| read_seeds(cx, node));
    let run = root.get("run").map_or(Some((None, None)), |node| read_run(cx, node));
    let swarm = root.get("swarm").map_or(Some(None), |node| <crate::swarm::Swarm as Field>::read(cx, node).map(Some));
    let clients: Vec<_> = clients.iter().map(|node| client::read(cx, node)).collect();
    let steps: Vec<_> = steps.iter().zip(&step_ids).map(|(node, id)| step::read(cx, node, id)).collect();
    let expects: Vec<_> = expects.iter().map(|node| expect::read(cx, node)).collect();
    root.finish(cx);
    matrix?;
    let (run_for, settle) = run?;
    Some(Scenario {
        name: name?,
        about: about?,
        opt_out: opt_out?,
        cluster: cluster?,
        params,
        seeds: seeds?,
        run_for,
        settle,
        clients: clients.into_iter().collect::<Option<_>>()?,
        steps: steps.into_iter().collect::<Option<_>>()?,
        swarm: swarm?,
        expects: expects.into_iter().collect::<Option<_>>()?,
        source: cx.source.clone(),
        points: cx.points.clone(),
        constants,
        overlays,
    })
}

fn read_version(cx: &mut Cx<'_>, root: &mut Reader<'_>) {
    match root.get("scn") {
        None => cx.problem(0..1, format!("a scenario begins with `scn = {VERSION}`, the version of the language")),
        Some(Node { tree: Tree::Integer(VERSION), .. }) => {}
        Some(node) => {
            cx.problem(node.span.clone(), format!("this version of the language is unknown; write `scn = {VERSION}`"))
        }
    }
}

fn read_opt_out(cx: &mut Cx<'_>, node: &Node) -> Option<Vec<String>> {
    let names = cx.texts(node, "a list of default expectations")?;
    for (name, node) in &names {
        if !opt_outs().any(|known| known == *name) {
            let message = unknown("default expectation", name, opt_outs());
            cx.problem(node.span.clone(), message);
        }
    }
    Some(names.into_iter().map(|(name, _)| name.to_owned()).collect())
}

fn read_cluster(cx: &mut Cx<'_>, node: &Node) -> Option<ClusterSpec> {
    // Selectors of planted bugs are checked against the size once the matrix is known.
    cx.names.nodes = cluster::NODES_MAX;
    let spec = <Cluster as Field>::read(cx, node)?;
    let mut reader = Reader::new(cx, node, "[cluster]")?;
    cluster::check_limits(cx, &mut reader, &spec);
    Some(spec)
}

/// Reads `mutants` and `switches` again, now that the smallest size is known.
fn check_planted_selectors(cx: &mut Cx<'_>, cluster: &Node) {
    let before = cx.problems.len();
    let Tree::Table(entries) = &cluster.tree else { return };
    for entry in entries.iter().filter(|entry| entry.key == "mutants" || entry.key == "switches") {
        <cluster::Planted as Field>::read(cx, &entry.value);
    }
    let (earlier, again) = cx.problems.split_at(before);
    let fresh: Vec<Problem> = again.iter().filter(|problem| !earlier.contains(problem)).cloned().collect();
    cx.problems.truncate(before);
    cx.problems.extend(fresh);
}

/// Constants with the same value in every run: neither drawn nor a parameter of the matrix.
fn fixed_constants(base: &ClusterSpec, params: &[Param]) -> BTreeMap<String, Value> {
    let cell = Cell::default();
    let mut decisions = Decisions::new(0);
    let drawn = base.draw(&mut Dice { decisions: &mut decisions, cell: &cell }, "cluster");
    let mut constants = constants(&drawn);
    constants.retain(|name, _| {
        let label = format!("cluster.{name}");
        !params.iter().any(|param| param.name == *name) && !decisions.drawn().any(|(drawn, _)| drawn == label)
    });
    constants
}

fn read_seeds(cx: &mut Cx<'_>, node: &Node) -> Option<Seeds> {
    let mut reader = Reader::new(cx, node, "[seeds]")?;
    let count = reader.need(cx, "count").and_then(|node| {
        let count = u64::read_one(cx, node)?;
        if count == 0 {
            cx.problem(node.span.clone(), "count must be at least 1");
        }
        Some(count)
    });
    let first = reader.get("first").map_or(Some(0), |node| u64::read_one(cx, node));
    reader.finish(cx);
    Some(Seeds { first: first?, count: count? })
}

/// Its length, and how soon after the calm it may end.
type RunSpec = (Option<Setting<Nanos>>, Option<Setting<Nanos>>);

fn read_run(cx: &mut Cx<'_>, node: &Node) -> Option<RunSpec> {
    let mut reader = Reader::new(cx, node, "[run]")?;
    let positive = |cx: &mut Cx<'_>, node: &Node, message: &str| {
        let length = <Nanos as Field>::read(cx, node)?;
        if length.extremes().into_iter().any(|length| *length <= Nanos::ZERO) {
            cx.problem(node.span.clone(), message);
        }
        Some(length)
    };
    let length = reader.need(cx, "for").and_then(|node| positive(cx, node, "a run must be longer than 0s"));
    let settle = match reader.get("settle") {
        Some(node) => positive(cx, node, "calm must have some time to settle").map(Some),
        None => Some(None),
    };
    reader.finish(cx);
    Some((Some(length?), settle?))
}

/// The text values of a key in each table that has it.
fn values_of(nodes: &[Node], key: &str) -> Vec<(String, Range<usize>)> {
    let text = |node: &Node| {
        let Tree::Table(entries) = &node.tree else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        match &entry.value.tree {
            Tree::Text(text) => Some((text.clone(), entry.value.span.clone())),
            _ => None,
        }
    };
    nodes.iter().filter_map(text).collect()
}

fn ids(nodes: &[Node]) -> Vec<(String, Range<usize>)> {
    values_of(nodes, "id")
}

fn check_ids(cx: &mut Cx<'_>, clients: &[Node], steps: &[Node], expects: &[Node]) {
    let (clients, steps) = (ids(clients), ids(steps));
    check_unique(cx, "client id", &clients);
    check_unique(cx, "step id", &steps);
    check_unique(cx, "expect id", &ids(expects));
    for (id, span) in clients.iter().chain(&steps) {
        if is_reserved(id) {
            cx.problem(span.clone(), format!("\"{id}\" is a selector already: choose another id"));
        }
    }
}

/// The names that `bind` steps give.
fn bound_names(steps: &[Node]) -> Vec<String> {
    const COMMON: &[&str] = &["id", "only", "at", "after", "when", "delay", "nth", "repeat", "do"];
    let names = |step: &Node| {
        let Tree::Table(entries) = &step.tree else { return Vec::new() };
        let binds = entries
            .iter()
            .any(|entry| entry.key == "do" && matches!(&entry.value.tree, Tree::Text(verb) if verb == "bind"));
        let names = entries.iter().filter(|entry| binds && !COMMON.contains(&entry.key.as_str()));
        names.map(|entry| entry.key.clone()).collect()
    };
    steps.iter().flat_map(names).collect()
}
