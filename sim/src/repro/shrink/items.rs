//! Delta debugging over what happens in a case: its steps and its listed operations, in the order of time.

use evenkeel_scenario::step::Trigger;
use evenkeel_scenario::{Nanos, Resolved};

use super::{Case, Shrinker};

/// Something that can be taken out of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A step, by its place.
    Step(usize),
    /// An operation, by its group's place and its own.
    Op(usize, usize),
}

/// Everything that can be taken out, in the order of time; steps whose time nobody knows come first.
pub(super) fn items(resolved: &Resolved) -> Vec<Item> {
    let mut items: Vec<(Nanos, Item)> = Vec::new();
    for (place, step) in resolved.steps.iter().enumerate() {
        let at = if let Trigger::At(at) = step.trigger { at } else { Nanos::ZERO };
        items.push((at, Item::Step(place)));
    }
    for (group, client) in resolved.clients.iter().enumerate() {
        items.extend(client.knobs.ops.0.iter().enumerate().map(|(place, op)| (op.at, Item::Op(group, place))));
    }
    items.sort_by_key(|(at, _)| *at);
    items.into_iter().map(|(_, item)| item).collect()
}

/// The case without some items. A group without operations goes too: it would have a random load again.
pub(super) fn without(case: &Case, gone: &[Item]) -> Case {
    let mut case = case.clone();
    let mut place = 0;
    case.resolved.steps.retain(|_| {
        place += 1;
        !gone.contains(&Item::Step(place - 1))
    });
    let mut emptied = Vec::new();
    for (group, client) in case.resolved.clients.iter_mut().enumerate() {
        let listed = !client.knobs.ops.0.is_empty();
        let mut place = 0;
        client.knobs.ops.0.retain(|_| {
            place += 1;
            !gone.contains(&Item::Op(group, place - 1))
        });
        emptied.push(listed && client.knobs.ops.0.is_empty());
    }
    let mut emptied = emptied.into_iter();
    case.resolved.clients.retain(|_| !emptied.next().expect("one for each group"));
    case
}

/// Each size of parts gets so many runs: fewer and larger parts are worth more seeds each.
const RUNS: u64 = 24;

impl Shrinker<'_> {
    /// Takes out as much as it can: all, then halves, then smaller and smaller parts.
    pub(super) fn fewer_items(&mut self) -> bool {
        let (mut helped, tries) = (false, self.tries);
        let mut chunk = items(&self.best.resolved).len();
        while chunk > 0 && !self.is_late() {
            helped |= self.fewer_of(chunk, tries);
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
        self.tries = tries;
        helped
    }

    /// Takes out so many at once. From the end: what is last most often matters least, once the end was cut.
    fn fewer_of(&mut self, chunk: usize, tries: u64) -> bool {
        let (mut helped, mut left) = (false, usize::MAX);
        loop {
            let items = items(&self.best.resolved);
            left = left.min(items.len());
            let candidates: Vec<Case> = items[..left].rchunks(chunk).map(|gone| without(&self.best, gone)).collect();
            if candidates.is_empty() {
                return helped;
            }
            self.tries = tries.max(RUNS / candidates.len() as u64);
            // What lies behind the part that went was tried just now.
            let Some(place) = self.improve_at("taken out", candidates) else { return helped };
            left = left.saturating_sub((place + 1) * chunk);
            helped = true;
        }
    }
}
