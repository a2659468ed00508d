//! `[[step]]`: when something is done, and what.

use crate::expr::{At, EventFilter, Expr, Mode, read as read_expr, read_event};
use crate::field::{Dice, Field, Setting};
use crate::read::{Cx, Reader, is_ident};
use crate::section::{needed, section};
use crate::time::Nanos;
use crate::tree::{Node, Tree};
use crate::verb::{self, Action, ActionSpec};

section! {
    /// Firing again and again.
    RepeatSpec => Repeat, "repeat" {
        /// Time between two firings.
        every: Nanos = needed(),
        /// How often it fires in all.
        times: u64 = needed(),
    }
}

/// When a step fires, in one run.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// At this moment.
    At(Nanos),
    /// This long after the first such event.
    After(EventFilter, Nanos),
    /// This long after the condition becomes true, or the event happens, for the n-th time.
    When {
        /// The condition or event.
        condition: Expr,
        /// Which time, from 1.
        nth: u64,
        /// How much later.
        delay: Nanos,
    },
}

/// When a step fires, as the file gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerSpec {
    /// `at`
    At(Setting<Nanos>),
    /// `after` and `delay`
    After(EventFilter, Setting<Nanos>),
    /// `when`, `nth` and `delay`
    When {
        /// `when`
        condition: Expr,
        /// `nth`
        nth: Setting<u64>,
        /// `delay`
        delay: Setting<Nanos>,
    },
}

/// A step as the file gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    /// Its name: given, or made of its verb and a number.
    pub id: String,
    /// The cells in which it takes part.
    pub only: Option<Expr>,
    /// When it fires.
    pub trigger: TriggerSpec,
    /// Whether it fires again.
    pub repeat: Option<RepeatSpec>,
    /// What it does.
    pub action: ActionSpec,
    /// Where the verb stands in the file.
    pub verb_at: At,
}

/// A step of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its name: the label of what it draws when it fires, and of its events.
    pub id: String,
    /// When it fires.
    pub trigger: Trigger,
    /// Whether it fires again.
    pub repeat: Option<Repeat>,
    /// What it does.
    pub action: Action,
}

/// The most times a step may fire.
pub const REPEATS_MAX: u64 = 10_000;

/// The names of all steps of a file: those without an `id` are called after their verb, `cut1`, `cut2` …
pub(crate) fn step_ids(steps: &[Node]) -> Vec<String> {
    let texts = |key: &str| -> Vec<Option<String>> {
        let text = |step: &Node| {
            let Tree::Table(entries) = &step.tree else { return None };
            match &entries.iter().find(|entry| entry.key == key)?.value.tree {
                Tree::Text(text) => Some(text.clone()),
                _ => None,
            }
        };
        steps.iter().map(text).collect()
    };
    let (given, verbs) = (texts("id"), texts("do"));
    let mut ids: Vec<String> = Vec::new();
    for (own, verb) in given.iter().zip(&verbs) {
        let id = own.clone().unwrap_or_else(|| {
            let verb = verb.as_deref().filter(|verb| is_ident(verb)).unwrap_or("step");
            (1..)
                .map(|number| format!("{verb}{number}"))
                .find(|name| !ids.contains(name) && !given.iter().flatten().any(|taken| taken == name))
                .expect("some number is free")
        });
        ids.push(id);
    }
    ids
}

pub(crate) fn read(cx: &mut Cx<'_>, node: &Node, id: &str) -> Option<StepSpec> {
    let mut reader = Reader::new(cx, node, "[[step]]")?;
    if let Some(node) = reader.get("id") {
        cx.ident(node, "step id");
    }
    let only = match reader.get("only") {
        Some(node) => read_expr(cx, node, Mode::Cell).map(Some),
        None => Some(None),
    };
    let trigger = read_trigger(cx, &mut reader);
    let repeat = match reader.get("repeat") {
        Some(node) => read_repeat(cx, node).map(Some),
        None => Some(None),
    };
    let verb_at = reader.get("do").map_or(At::default(), |node| At { start: node.span.start, end: node.span.end });
    let action = verb::read(cx, &mut reader);
    if matches!(repeat, Some(Some(_))) && matches!(action, Some(ActionSpec::Bind(_) | ActionSpec::Quiesce(_))) {
        cx.problem(verb_at.start..verb_at.end, "this step cannot repeat");
    }
    reader.finish(cx);
    Some(StepSpec { id: id.to_owned(), only: only?, trigger: trigger?, repeat: repeat?, action: action?, verb_at })
}

fn read_repeat(cx: &mut Cx<'_>, node: &Node) -> Option<RepeatSpec> {
    let repeat = <Repeat as Field>::read(cx, node)?;
    if repeat.every.extremes().into_iter().any(|every| *every <= Nanos::ZERO) {
        cx.problem(node.span.clone(), "`every` must be longer than 0s");
    }
    if repeat.times.extremes().into_iter().any(|times| !(1..=REPEATS_MAX).contains(times)) {
        cx.problem(node.span.clone(), format!("`times` must be between 1 and {REPEATS_MAX}"));
    }
    Some(repeat)
}

fn read_trigger(cx: &mut Cx<'_>, reader: &mut Reader<'_>) -> Option<TriggerSpec> {
    let (at, after, when) = (reader.entry("at"), reader.entry("after"), reader.entry("when"));
    let (delay, nth) = (reader.entry("delay"), reader.entry("nth"));
    let given: Vec<_> = [at, after, when].into_iter().flatten().collect();
    match given.as_slice() {
        [_] => {}
        [] => {
            cx.problem(reader.span(), "a step needs one of the keys `at`, `after`, `when`");
            return None;
        }
        [.., last] => {
            cx.problem(last.key_span.clone(), "a step has only one of the keys `at`, `after`, `when`");
            return None;
        }
    }
    if let Some(nth) = nth.filter(|_| when.is_none()) {
        cx.problem(nth.key_span.clone(), "`nth` goes with `when`");
    }
    if let Some(delay) = delay.filter(|_| at.is_some()) {
        cx.problem(delay.key_span.clone(), "`delay` goes with `after` or `when`");
    }
    let moment = |cx: &mut Cx<'_>, node: &Node| {
        let moment = <Nanos as Field>::read(cx, node)?;
        if moment.extremes().into_iter().any(|moment| *moment < Nanos::ZERO) {
            cx.problem(node.span.clone(), "a step cannot fire before its trigger");
        }
        Some(moment)
    };
    let delay = match delay {
        Some(entry) => moment(cx, &entry.value),
        None => Some(Setting::Fixed(Nanos::ZERO)),
    };
    if let Some(entry) = at {
        return moment(cx, &entry.value).map(TriggerSpec::At);
    }
    if let Some(entry) = after {
        let event = read_event(cx, &entry.value);
        return Some(TriggerSpec::After(event?, delay?));
    }
    let condition = read_expr(cx, &when?.value, Mode::Run);
    let nth = match nth {
        Some(entry) => {
            let nth = <u64 as Field>::read(cx, &entry.value);
            if nth.as_ref().is_some_and(|nth| nth.extremes().contains(&&0)) {
                cx.problem(entry.value.span.clone(), "`nth` counts from 1");
            }
            nth
        }
        None => Some(Setting::Fixed(1)),
    };
    Some(TriggerSpec::When { condition: condition?, nth: nth?, delay: delay? })
}

impl StepSpec {
    pub(crate) fn draw(&self, dice: &mut Dice<'_>) -> Step {
        let path = format!("step.{}", self.id);
        let trigger = match &self.trigger {
            TriggerSpec::At(at) => Trigger::At(Nanos::draw(at, dice, &format!("{path}.at"))),
            TriggerSpec::After(event, delay) => {
                Trigger::After(event.clone(), Nanos::draw(delay, dice, &format!("{path}.delay")))
            }
            TriggerSpec::When { condition, nth, delay } => Trigger::When {
                condition: condition.clone(),
                nth: u64::draw(nth, dice, &format!("{path}.nth")),
                delay: Nanos::draw(delay, dice, &format!("{path}.delay")),
            },
        };
        let repeat = self.repeat.as_ref().map(|repeat| repeat.draw(dice, &format!("{path}.repeat")));
        Step { id: self.id.clone(), trigger, repeat, action: self.action.draw(dice, &path) }
    }
}

/// Problems of ids that must be unique: `what` names the things that have them.
pub(crate) fn check_unique(cx: &mut Cx<'_>, what: &str, ids: &[(String, std::ops::Range<usize>)]) {
    for (i, (id, span)) in ids.iter().enumerate() {
        if ids[..i].iter().any(|(earlier, _)| earlier == id) {
            cx.problem(span.clone(), format!("the {what} \"{id}\" is used twice"));
        }
    }
}
