//! A corpus: scenarios that came where none had been before, and how new ones are made of them.
//!
//! Half of the effort always goes to fresh seeds, so that a search does not sink into the neighbourhood of what it
//! already knows. What a mutation makes is a scenario like any other; one that lint would refuse is thrown away, and
//! limits of recoverability are kept: steps that change the membership are never copied.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_scenario::Scenario;
use serde::{Deserialize, Serialize};

use super::choice::{Choices, ms};
use super::draft::{Draft, Table};
use super::generate::{IDLE, millis, reconcile, timed_verbs, until_ms};
use super::load;

/// Entries at most; the oldest go.
const ENTRIES_MAX: usize = 2_000;
/// The rarest of so many drawn entries is taken.
const TOURNAMENT: usize = 4;
/// Mutations of one scenario, at most.
const MUTATIONS_MAX: u64 = 4;
/// A copied step is one of these.
const COPIED: &[&str] = &[
    "cut", "slow", "drop", "dup", "reorder", "reset", "restart", "pause", "stall", "disk", "clock", "swizzle",
    "transfer", "compact", "defrag",
];

/// What a search has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    /// In how many runs each place was hit.
    hits: BTreeMap<u32, u32>,
    entries: Vec<Entry>,
}

/// A scenario that came where none had been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    draft: Draft,
    /// The places it was the first to hit.
    own: Vec<u32>,
}

impl Corpus {
    /// Takes in where a run came. It is kept when it was the first at some place.
    pub fn add(&mut self, draft: &Draft, places: &[u32]) -> bool {
        let mut own = Vec::new();
        for place in places {
            let hits = self.hits.entry(*place).or_default();
            *hits += 1;
            if *hits == 1 {
                own.push(*place);
            }
        }
        self.keep(Entry { draft: draft.clone(), own })
    }

    fn keep(&mut self, entry: Entry) -> bool {
        if entry.own.is_empty() {
            return false;
        }
        if self.entries.len() == ENTRIES_MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry);
        true
    }

    /// Takes in what another search has seen: of its scenarios those that came where none here had been.
    pub fn merge(&mut self, hits: &BTreeMap<u32, u32>, entries: impl IntoIterator<Item = Entry>) {
        let known: BTreeSet<u32> = self.hits.keys().copied().collect();
        for (place, count) in hits {
            *self.hits.entry(*place).or_default() += count;
        }
        for Entry { draft, own } in entries {
            let own = own.into_iter().filter(|place| !known.contains(place) && hits.contains_key(place)).collect();
            self.keep(Entry { draft, own });
        }
    }

    /// In how many runs each place was hit.
    pub fn hits(&self) -> &BTreeMap<u32, u32> {
        &self.hits
    }

    /// The scenarios, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many places were hit so far.
    pub fn places(&self) -> usize {
        self.hits.len()
    }

    /// A child of what is here, or none while there is nothing: `fresh` gives it parts that no parent has.
    pub fn child(&self, number: u64, fresh: &Draft) -> Option<Draft> {
        let choices = &mut Choices::new(number, "corpus");
        let parent = &self.pick("parent", choices)?.draft;
        let other = &self.pick("other", choices)?.draft;
        let mut child = parent.clone();
        if choices.chance("seed", 0.5) {
            child.seed = fresh.seed;
        }
        for round in 0..choices.range("mutations", 1, MUTATIONS_MAX) {
            mutate(&mut child, other, fresh, &format!("{round}"), choices);
        }
        child.name = format!("{}-child", fresh.name);
        // What is planted is the search's business, wherever a parent comes from.
        match fresh.cluster.get("mutants") {
            Some(plants) => child.cluster.set("mutants", plants),
            None => child.cluster.remove("mutants"),
        }
        let idle = child.expects.iter_mut().find(|expect| expect.get_text("id") == Some(IDLE))?;
        let within = idle.get("within")?.to_owned();
        let until_ms = until_ms(&child.steps).unwrap_or_default();
        *idle = load::minimum(&child.clients, &timed_verbs(&child.steps), until_ms, &within);
        reconcile(&mut child);
        Scenario::parse(&child.text(), &child.name).ok().map(|_| child)
    }

    fn pick(&self, label: &str, choices: &mut Choices) -> Option<&Entry> {
        let last = self.entries.len().checked_sub(1)? as u64;
        let rarity = |entry: &&Entry| entry.own.iter().map(|place| self.hits[place]).min();
        let drawn = (0..TOURNAMENT).map(|_| &self.entries[choices.range(label, 0, last) as usize]);
        drawn.min_by_key(rarity)
    }
}

fn at(step: &Table) -> Option<f64> {
    millis(step.get("at")?)
}

fn is_quiesce(step: &Table) -> bool {
    step.get_text("do") == Some("quiesce")
}

fn mutate(draft: &mut Draft, other: &Draft, fresh: &Draft, label: &str, choices: &mut Choices) {
    let calm = draft.steps.iter().find(|step| is_quiesce(step)).and_then(at).unwrap_or(f64::MAX);
    let label = |what: &str| format!("{label}/{what}");
    let timed: Vec<usize> = (0..draft.steps.len())
        .filter(|place| at(&draft.steps[*place]).is_some() && !is_quiesce(&draft.steps[*place]))
        .collect();
    let chosen = (!timed.is_empty()).then(|| choices.pick(&label("step"), &timed));
    match (choices.range(&label("kind"), 0, 7), chosen) {
        // Earlier or later.
        (0, Some(place)) => {
            let shift = choices.log(&label("shift"), 1.0, 2_000.0);
            let shift = if choices.chance(&label("back"), 0.5) { -shift } else { shift };
            let moved = at(&draft.steps[place]).unwrap_or(0.0) + shift;
            draft.steps[place].set("at", ms(moved.clamp(1.0, calm - 1.0)));
        }
        // Somebody else.
        (1, Some(place)) if draft.steps[place].get("node").is_some() && draft.steps[place].get("change").is_none() => {
            let node = choices.pick(&label("node"), &["leader", "random(1)", "minority", "all"]);
            draft.steps[place].set("node", format!("\"{node}\""));
        }
        // Once more.
        (2, Some(place)) if COPIED.contains(&draft.steps[place].get_text("do").unwrap_or_default()) => {
            let mut twin = draft.steps[place].clone();
            twin.remove("id");
            let moved = at(&twin).unwrap_or(0.0) + choices.log(&label("later"), 10.0, 3_000.0);
            twin.set("at", ms(moved.clamp(1.0, calm - 1.0)));
            draft.steps.insert(place, twin);
        }
        // Not at all.
        (3, Some(place)) if draft.steps[place].get("id").is_none() => _ = draft.steps.remove(place),
        // As this one up to some moment, as another one after it.
        (4, _) => {
            let cut = choices.unit(&label("cut")) * calm.min(12_000.0);
            let copied = |step: &&Table| {
                at(step).is_some_and(|at| cut <= at && at < calm)
                    && step.get("id").is_none()
                    && COPIED.contains(&step.get_text("do").unwrap_or_default())
            };
            draft.steps.retain(|step| {
                step.get("id").is_some() || is_quiesce(step) || at(step).is_none_or(|at| at < cut) || !copied(&step)
            });
            draft.steps.extend(other.steps.iter().filter(copied).cloned());
        }
        // Another setting.
        (5, _) => {
            let knobs =
                ["snapshot_count", "snapshot_catchup", "segment_bytes", "snapshot_piece", "pre_vote", "tick_advance"];
            let key = choices.pick(&label("knob"), &knobs);
            match fresh.cluster.get(key) {
                Some(value) => draft.cluster.set(key, value),
                None => draft.cluster.remove(key),
            }
        }
        // Another load.
        (6, _) => draft.clients.clone_from(&other.clients),
        // Other draws.
        _ => draft.seed = fresh.seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{Profile, draft};
    use evenkeel_scenario::Selector;
    use evenkeel_scenario::cluster::{Plant, Planted};

    fn fresh(seed: u64) -> Draft {
        draft(&Profile::default(), seed, &Planted::default())
    }

    #[test]
    fn only_who_was_first_somewhere_is_kept() {
        let mut corpus = Corpus::default();
        assert!(corpus.add(&fresh(1), &[1, 2]));
        assert!(!corpus.add(&fresh(2), &[2]));
        assert!(corpus.add(&fresh(3), &[2, 9]));
        assert_eq!((corpus.entries.len(), corpus.places()), (2, 3));
        let mut other = Corpus::default();
        other.add(&fresh(4), &[9]);
        other.merge(corpus.hits(), corpus.entries().to_vec());
        assert_eq!((other.entries.len(), other.places(), other.hits[&9]), (2, 3, 2));
        other.merge(corpus.hits(), corpus.entries().to_vec());
        assert_eq!((other.entries.len(), other.hits[&2]), (2, 6));
    }

    #[test]
    fn children_carry_the_bugs_of_their_own_search() {
        fn with(seed: u64) -> Draft {
            draft(&Profile::default(), seed, &Planted(vec![Plant::new("canary", Selector::All)]))
        }
        for (parents, child_of) in [(with as fn(u64) -> Draft, fresh as fn(u64) -> Draft), (fresh, with)] {
            let mut corpus = Corpus::default();
            (0..20).for_each(|seed| _ = corpus.add(&parents(seed), &[seed as u32]));
            let mut children = (100..200).filter_map(|number| corpus.child(number, &child_of(number)));
            assert!(children.all(|child| child.cluster.get("mutants") == child_of(0).cluster.get("mutants")));
        }
    }

    #[test]
    fn children_are_scenarios_that_lose_no_more_disks_than_their_parents() {
        let mut corpus = Corpus::default();
        assert!(corpus.child(0, &fresh(0)).is_none());
        for seed in 0..60 {
            corpus.add(&fresh(seed), &[seed as u32]);
        }
        let children: Vec<Draft> = (100..400).filter_map(|number| corpus.child(number, &fresh(number))).collect();
        assert!(children.len() > 200, "{} of 300 are scenarios", children.len());
        let replaced =
            |draft: &Draft| draft.steps.iter().filter(|step| step.get_text("change") == Some("replace")).count();
        assert!(children.iter().all(|child| replaced(child) <= 1));
        assert!(children.iter().all(|child| child.steps.iter().filter(|step| is_quiesce(step)).count() == 1));
    }
}
