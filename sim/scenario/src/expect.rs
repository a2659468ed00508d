//! `[[expect]]`: what must hold, in one run or over many.

use crate::expr::{EventFilter, Expr, Mode, read as read_expr, read_event};
use crate::field::{Dice, Field, Scalar, Setting, Share, quote};
use crate::problem::unknown;
use crate::read::{Cx, Reader};
use crate::time::Nanos;
use crate::tree::{Entry, Node, Tree};

/// The bound of a `ratio`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The smallest share that holds.
    pub low: f64,
    /// The largest share that holds.
    pub high: f64,
}

/// What is expected, in one run.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectKind {
    /// True at every moment.
    Always(Expr),
    /// True at no moment.
    Never(Expr),
    /// After each such event the condition becomes true within this time.
    Within {
        /// The time.
        within: Nanos,
        /// The event.
        after: EventFilter,
        /// The condition.
        that: Expr,
    },
    /// True at the end.
    AtEnd(Expr),
    /// Each is true at some moment of at least one run of the campaign.
    Sometimes(Vec<Expr>),
    /// The share of runs at whose end it is true.
    Ratio {
        /// The condition.
        of: Expr,
        /// The share.
        bound: Bound,
    },
}

/// One expectation of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Its name, unique in the file.
    pub id: String,
    /// What is expected.
    pub kind: ExpectKind,
}

/// The kind as the file gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectKindSpec {
    /// All kinds about runs; a `within` may still be drawn.
    Run {
        /// The kind, with `within` as zero until drawn.
        kind: ExpectKind,
        /// The time of a `within`.
        within: Option<Setting<Nanos>>,
    },
    /// `across`, `where`, `compare`: between the cells of a matrix.
    Across(Comparison),
}

/// A comparison between cells that differ in one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The parameter.
    pub param: String,
    /// The cells that take part.
    pub only: Option<Expr>,
    /// The condition over functions of runs.
    pub compare: Expr,
}

/// An expectation as the file gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectSpec {
    /// Its name, unique in the file.
    pub id: String,
    /// The cells in which it is made.
    pub only: Option<Expr>,
    /// What is expected.
    pub kind: ExpectKindSpec,
}

pub(crate) const KINDS: &[&str] = &["always", "never", "within", "at_end", "sometimes", "ratio", "across"];

pub(crate) fn read(cx: &mut Cx<'_>, node: &Node) -> Option<ExpectSpec> {
    let mut reader = Reader::new(cx, node, "[[expect]]")?;
    let id = reader.need(cx, "id").and_then(|node| cx.text(node, "a name").map(str::to_owned));
    let only = match reader.get("only") {
        Some(node) => read_expr(cx, node, Mode::Cell).map(Some),
        None => Some(None),
    };
    let given: Vec<&Entry> = KINDS.iter().filter_map(|kind| reader.entry(kind)).collect();
    let kind = match given.as_slice() {
        [entry] => read_kind(cx, &mut reader, entry),
        [] => {
            // A misspelt kind is worth more than "a kind is missing".
            let rest = reader.rest();
            let slips: Vec<&&Entry> = rest
                .iter()
                .filter(|entry| crate::problem::nearest(&entry.key, KINDS.iter().copied()).is_some())
                .collect();
            for entry in &slips {
                cx.problem(entry.key_span.clone(), unknown("kind of expect", &entry.key, KINDS.iter().copied()));
            }
            if slips.is_empty() {
                cx.problem(reader.span(), format!("an expect needs exactly one kind: {}", KINDS.join(", ")));
            }
            None
        }
        [first, .., last] => {
            let (first, second) =
                if first.key_span.start < last.key_span.start { (first, last) } else { (last, first) };
            let message = format!("an expect has exactly one kind: this one has `{}` and `{}`", first.key, second.key);
            cx.problem(second.key_span.clone(), message);
            reader.rest();
            None
        }
    };
    reader.finish(cx);
    Some(ExpectSpec { id: id?, only: only?, kind: kind? })
}

fn read_kind(cx: &mut Cx<'_>, reader: &mut Reader<'_>, entry: &Entry) -> Option<ExpectKindSpec> {
    let node = &entry.value;
    let kind = match entry.key.as_str() {
        "always" => ExpectKind::Always(read_expr(cx, node, Mode::Run)?),
        "never" => ExpectKind::Never(read_expr(cx, node, Mode::Run)?),
        "at_end" => ExpectKind::AtEnd(read_expr(cx, node, Mode::Run)?),
        "within" => {
            let within = <Nanos as Field>::read(cx, node);
            if within.as_ref().is_some_and(|within| within.extremes().into_iter().any(|time| *time <= Nanos::ZERO)) {
                cx.problem(node.span.clone(), "`within` must be longer than 0s");
            }
            let after = reader.need(cx, "after").and_then(|node| read_event(cx, node));
            let that = reader.need(cx, "that").and_then(|node| read_expr(cx, node, Mode::Run));
            let kind = ExpectKind::Within { within: Nanos::ZERO, after: after?, that: that? };
            return Some(ExpectKindSpec::Run { kind, within: Some(within?) });
        }
        "sometimes" => {
            let mut conditions = vec![read_expr(cx, node, Mode::Run)];
            if let Some(too) = reader.get("sometimes_too") {
                match &too.tree {
                    Tree::List(items) => conditions.extend(items.iter().map(|item| read_expr(cx, item, Mode::Run))),
                    _ => cx.wrong_type(too, "a list of expressions")?,
                }
            }
            ExpectKind::Sometimes(conditions.into_iter().collect::<Option<_>>()?)
        }
        "ratio" => {
            let of = read_expr(cx, node, Mode::Run);
            let bound = read_bound(cx, reader);
            ExpectKind::Ratio { of: of?, bound: bound? }
        }
        "across" => return read_across(cx, reader, node).map(ExpectKindSpec::Across),
        _ => unreachable!("only the kinds are asked for"),
    };
    Some(ExpectKindSpec::Run { kind, within: None })
}

fn read_bound(cx: &mut Cx<'_>, reader: &mut Reader<'_>) -> Option<Bound> {
    let keys = ["at_least", "at_most", "between"];
    let given: Vec<&Entry> = keys.iter().filter_map(|key| reader.entry(key)).collect();
    let [entry] = given.as_slice() else {
        cx.problem(reader.span(), "a ratio needs exactly one of `at_least`, `at_most`, `between`");
        return None;
    };
    let node = &entry.value;
    match (entry.key.as_str(), &node.tree) {
        ("at_least", _) => Share::read_one(cx, node).map(|share| Bound { low: share.0, high: 1.0 }),
        ("at_most", _) => Share::read_one(cx, node).map(|share| Bound { low: 0.0, high: share.0 }),
        (_, Tree::List(items)) if items.len() == 2 => {
            let (low, high) = (Share::read_one(cx, &items[0]), Share::read_one(cx, &items[1]));
            let bound = Bound { low: low?.0, high: high?.0 };
            if bound.high < bound.low {
                cx.problem(node.span.clone(), "empty range: its low end is above its high end");
            }
            Some(bound)
        }
        _ => cx.wrong_type(node, "two shares such as [0.1, 0.3]"),
    }
}

fn read_across(cx: &mut Cx<'_>, reader: &mut Reader<'_>, node: &Node) -> Option<Comparison> {
    let param = cx.text(node, "the name of a matrix parameter")?.to_owned();
    let only = match reader.get("where") {
        Some(node) => read_expr(cx, node, Mode::Cell).map(Some),
        None => Some(None),
    };
    let known: Vec<String> = cx.names.params.iter().map(|param| param.name.clone()).collect();
    let compare = reader.need(cx, "compare");
    if !known.contains(&param) {
        cx.problem(node.span.clone(), unknown("matrix parameter", &param, known.iter().map(String::as_str)));
        return None;
    }
    let compare = compare.and_then(|node| read_expr(cx, node, Mode::Compare(param.clone())));
    Some(Comparison { param, only: only?, compare: compare? })
}

impl ExpectSpec {
    /// The expectation in one run; `None` for comparisons between cells.
    pub(crate) fn draw(&self, dice: &mut Dice<'_>) -> Option<Expect> {
        let ExpectKindSpec::Run { kind, within } = &self.kind else { return None };
        let mut kind = kind.clone();
        if let (ExpectKind::Within { within: time, .. }, Some(open)) = (&mut kind, within) {
            *time = Nanos::draw(open, dice, &format!("expect.{}.within", self.id));
        }
        Some(Expect { id: self.id.clone(), kind })
    }
}

impl Expect {
    /// Every expression in it.
    pub fn expressions(&self) -> Vec<&Expr> {
        match &self.kind {
            ExpectKind::Always(expr) | ExpectKind::Never(expr) | ExpectKind::AtEnd(expr) => vec![expr],
            ExpectKind::Within { that, .. } => vec![that],
            ExpectKind::Sometimes(conditions) => conditions.iter().collect(),
            ExpectKind::Ratio { of, .. } => vec![of],
        }
    }

    /// The event after which something is expected.
    pub fn starts_after(&self) -> Option<&EventFilter> {
        if let ExpectKind::Within { after, .. } = &self.kind { Some(after) } else { None }
    }

    pub(crate) fn expressions_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExpectKind::Always(expr) | ExpectKind::Never(expr) | ExpectKind::AtEnd(expr) => vec![expr],
            ExpectKind::Within { that, .. } => vec![that],
            ExpectKind::Sometimes(conditions) => conditions.iter_mut().collect(),
            ExpectKind::Ratio { of, .. } => vec![of],
        }
    }

    /// The keys of a resolved file.
    pub(crate) fn literals(&self) -> Vec<(&'static str, String)> {
        let text = |expr: &Expr| quote(&expr.to_string());
        match &self.kind {
            ExpectKind::Always(expr) => vec![("always", text(expr))],
            ExpectKind::Never(expr) => vec![("never", text(expr))],
            ExpectKind::AtEnd(expr) => vec![("at_end", text(expr))],
            ExpectKind::Within { within, after, that } => {
                vec![("within", within.toml()), ("after", quote(&after.to_string())), ("that", text(that))]
            }
            ExpectKind::Sometimes(conditions) => {
                let mut keys = vec![("sometimes", text(&conditions[0]))];
                if conditions.len() > 1 {
                    let more: Vec<String> = conditions[1..].iter().map(text).collect();
                    keys.push(("sometimes_too", format!("[{}]", more.join(", "))));
                }
                keys
            }
            ExpectKind::Ratio { of, bound } => {
                vec![("ratio", text(of)), ("between", format!("[{:?}, {:?}]", bound.low, bound.high))]
            }
        }
    }
}
