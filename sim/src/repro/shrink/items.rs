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
fn without(case: &Case, gone: &[Item]) -> Case {
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

impl Shrinker<'_> {
    /// Takes out as much as it can: all, then halves, then smaller and smaller parts.
    pub(super) fn fewer_items(&mut self) -> bool {
        let all = items(&self.best.resolved);
        if all.is_empty() {
            return false;
        }
        if self.improve("nothing happens", vec![without(&self.best, &all)]) {
            return true;
        }
        let mut helped = false;
        let mut chunk = all.len().div_ceil(2);
        loop {
            let items = items(&self.best.resolved);
            chunk = chunk.min(items.len());
            if chunk == 0 || self.is_late() {
                return helped;
            }
            // From the end: what is last most often matters least, once the end was cut.
            let candidates = items.chunks(chunk).rev().map(|gone| without(&self.best, gone)).collect();
            if self.improve("taken out", candidates) {
                helped = true;
            } else if chunk == 1 {
                return helped;
            } else {
                chunk = chunk.div_ceil(2);
            }
        }
    }
}
