//! A guided search: every second run is made of earlier ones.
//!
//! What a run is made of depends on numbers and never on which run ended first: run `n` knows what exactly the runs
//! before `n - WINDOW` saw, even when more of them have ended by then. So the same seeds give the same runs however many are
//! under way at once, and a search can be repeated.

use std::collections::BTreeMap;

use evenkeel_scenario::cluster::Planted;

use super::{Corpus, Draft, Profile, draft};

/// So many runs may be under way at once; each knows what the runs up to so many before it saw.
pub const WINDOW: u64 = 32;

/// A run of a guided search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guided {
    /// Which of the search, from 0.
    pub number: u64,
    /// What is run.
    pub draft: Draft,
    /// It was made of earlier ones: no seed alone makes it again.
    pub is_child: bool,
}

/// A guided search under way.
#[derive(Debug)]
pub struct Guide<'a> {
    profile: &'a Profile,
    planted: &'a Planted,
    corpus: Corpus,
    /// The number of the next run.
    next: u64,
    /// Runs that ended and are not in the corpus yet, with the places they came to.
    ended: BTreeMap<u64, (Draft, Vec<u32>)>,
    /// The first run that is not in the corpus.
    taken: u64,
}

impl<'a> Guide<'a> {
    /// A search that begins with what is known already.
    pub fn new(profile: &'a Profile, planted: &'a Planted, corpus: Corpus) -> Guide<'a> {
        Guide { profile, planted, corpus, next: 0, ended: BTreeMap::new(), taken: 0 }
    }

    /// The next run, with a seed that no run had before; none as long as an earlier one must end first.
    ///
    /// Every second one is fresh: by its number here, since the seeds of a shard may all be even.
    pub fn next(&mut self, seed: u64) -> Option<Guided> {
        while self.taken + WINDOW <= self.next {
            self.take()?;
        }
        let number = self.next;
        self.next += 1;
        let fresh = draft(self.profile, seed, self.planted);
        let child = (number % 2 == 1).then(|| self.corpus.child(seed, &fresh)).flatten();
        let is_child = child.is_some();
        Some(Guided { number, draft: child.unwrap_or(fresh), is_child })
    }

    /// A run has ended, having come to these places.
    pub fn ended(&mut self, run: Guided, places: &[u32]) {
        self.ended.insert(run.number, (run.draft, places.to_owned()));
    }

    /// What the next run may know.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// Everything that was seen. Nothing is run after it.
    pub fn finish(&mut self) -> &Corpus {
        while self.take().is_some() {}
        &self.corpus
    }

    /// Takes the next run into the corpus, if it has ended.
    fn take(&mut self) -> Option<()> {
        let (draft, places) = self.ended.remove(&self.taken)?;
        self.corpus.add(&draft, &places);
        self.taken += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of a run, the same for equal runs.
    fn places(run: &Guided) -> Vec<u32> {
        let text = run.draft.text();
        vec![run.draft.steps.len() as u32, 1_000 + text.len() as u32 / 50]
    }

    /// A search with so many runs at once, of which the one ends that `choose` says.
    fn search(seeds: impl Iterator<Item = u64>, parallel: usize, choose: fn(usize) -> usize) -> Vec<Guided> {
        let planted = Planted::default();
        let mut guide = Guide::new(Profile::find("default").unwrap(), &planted, Corpus::default());
        let (mut seeds, mut under_way, mut all) = (seeds.peekable(), Vec::new(), Vec::new());
        loop {
            while under_way.len() < parallel
                && let Some(run) = seeds.peek().and_then(|seed| guide.next(*seed))
            {
                seeds.next();
                all.push(run.clone());
                under_way.push(run);
            }
            if under_way.is_empty() {
                return all;
            }
            let run = under_way.remove(choose(under_way.len()));
            let places = places(&run);
            guide.ended(run, &places);
        }
    }

    #[test]
    fn the_same_seeds_give_the_same_runs_whichever_ends_first() {
        let alone = search(0..160, 1, |_| 0);
        assert!(alone.iter().filter(|run| run.is_child).count() > 40, "there are children");
        for (parallel, choose) in [(2, (|count| count - 1) as fn(usize) -> usize), (7, |count| count / 2), (50, |_| 0)]
        {
            assert!(search(0..160, parallel, choose) == alone, "{parallel} at once");
        }
    }

    #[test]
    fn half_of_every_shard_is_fresh() {
        for (index, of) in [(0, 1), (0, 2), (1, 2), (0, 3), (2, 3), (3, 4)] {
            let runs = search((0..160 * of).filter(|seed| seed % of == index), 2, |_| 0);
            let (fresh, made) = runs.iter().partition::<Vec<_>, _>(|run| run.number % 2 == 0);
            assert!((fresh.len(), made.len()) == (80, 80) && fresh.iter().all(|run| !run.is_child), "{index}/{of}");
            let children = made.iter().filter(|run| run.is_child).count();
            assert!(children > 40, "{children} children in shard {index}/{of}");
        }
    }
}
