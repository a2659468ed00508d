//! When was it too late? How likely a failure was, moment by moment.
//!
//! From a moment on every choice is drawn anew, and the run is played [`REPLAYS`] times: the share that fails the same
//! way is how likely the failure was by then. Each of these runs costs as much as the run itself, so moments are chosen
//! where they tell most: first the ends, then the middle of where the share changes most, as long as the time lasts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::trial::{Change, Ground};
use crate::report::html::search::{self, Drawn};

/// Continuations from each moment.
pub const REPLAYS: u64 = 10;
/// Moments at most.
const MOMENTS: usize = 24;
/// They are chosen from so many.
const MOMENTS_SEEN: usize = 400;
/// Share by which the failure must become more likely to be called a turn.
const TURN: f64 = 0.2;
/// A curve that comes as close as this to the failure comes up to it: choices are noted every 50 ms.
const SOON_NS: u64 = 100_000_000;
/// A stretch in which the share does not change counts as much as one of the same length in which it changes by this.
const FLAT: f64 = 0.05;

/// One moment: its place among those that could be chosen, how many continuations failed, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    place: usize,
    failed: u64,
    runs: u64,
}

impl Point {
    fn share(&self) -> f64 {
        self.failed as f64 / self.runs.max(1) as f64
    }
}

/// How many continuations from each moment fail like the original, for a page.
pub fn likelihood(ground: &Ground<'_>, drawn: &[Drawn], until: Instant) -> Value {
    let moments = search::moments(drawn, ground.at.as_nanos() as u64, MOMENTS_SEEN);
    let points = points(moments.len(), ground.jobs, until, |places, until| {
        let mut points: Vec<Point> = places.iter().map(|place| Point { place: *place, failed: 0, runs: 0 }).collect();
        let jobs = (0..points.len()).flat_map(|point| (1..=REPLAYS).map(move |seed| (point, seed)));
        let anew = |(point, seed): &(usize, u64)| vec![Change::Anew(moments[places[*point]].count, *seed)];
        ground.try_all(jobs, anew, until, |(point, _), _, same| {
            points[point].failed += u64::from(same);
            points[point].runs += 1;
            true
        });
        points
    });
    let at = |point: &Point| moments[point.place].at_ns;
    let rises = points.windows(2).map(|pair| (pair[1].share() - pair[0].share(), at(&pair[0]), at(&pair[1])));
    let turn = rises.filter(|(rise, ..)| TURN <= *rise).max_by(|a, b| a.0.total_cmp(&b.0));
    let told: Vec<(u64, u64, u64)> = points.iter().map(|point| (at(point), point.failed, point.runs)).collect();
    let replays: u64 = points.iter().map(|point| point.runs).sum();
    let ends =
        why_it_ends(points.last().map(&at), moments.last().map(|drawn| drawn.at_ns), ground.at.as_nanos() as u64);
    json!({"points": told, "turn_ns": turn.map(|(_, from, to)| [from, to]), "replays": replays, "ends": ends})
}

/// Why a curve ends before the failure, if it does.
fn why_it_ends(last: Option<u64>, could: Option<u64>, failed: u64) -> Option<String> {
    let last = last.filter(|last| *last + SOON_NS < failed)?;
    let seconds = |at: u64| format!("{:.3} s", at as f64 / 1e9);
    let why = if could == Some(last) {
        "there the script and the clients come to their end, and no choice is noted any more; the failure shows in the \
         checks that follow, once all faults are over"
    } else {
        "for later moments the time given did not last"
    };
    Some(format!("The curve ends at {}, before the failure at {}: {why}.", seconds(last), seconds(failed)))
}

/// Plays moments out of `count` as long as the time lasts; each that comes back has all its continuations, unless there
/// was not even time for one.
fn points(
    count: usize,
    parallel: usize,
    until: Instant,
    mut play: impl FnMut(&[usize], Instant) -> Vec<Point>,
) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut each = Duration::ZERO;
    while points.len() < MOMENTS {
        // On many cores several moments at once, so that all have something to do.
        let at_once = parallel.div_ceil(REPLAYS as usize).min(MOMENTS - points.len());
        let places = next(&points, count, at_once);
        let begun = Instant::now();
        if places.is_empty() || until < begun + each {
            break;
        }
        points.extend(play(&places, until));
        each = begun.elapsed();
        points.sort_by_key(|point| point.place);
    }
    if points.iter().any(|point| point.runs == REPLAYS) {
        points.retain(|point| point.runs == REPLAYS);
    }
    points.retain(|point| 0 < point.runs);
    points
}

/// The moments that would tell most, at most so many: the last one, the first one, then halves of what lies between.
fn next(points: &[Point], count: usize, most: usize) -> Vec<usize> {
    let mut places: Vec<usize> = [count.wrapping_sub(1), 0].into_iter().filter(|place| *place < count).collect();
    places.dedup();
    places.retain(|place| points.iter().all(|point| point.place != *place));
    if places.is_empty() {
        let mut gaps: Vec<(f64, usize)> = Vec::new();
        for pair in points.windows(2) {
            let (from, to) = (&pair[0], &pair[1]);
            if from.place + 1 < to.place {
                let change = (to.share() - from.share()).abs() + FLAT;
                gaps.push((change * (to.place - from.place) as f64, from.place.midpoint(to.place)));
            }
        }
        gaps.sort_by(|a, b| b.0.total_cmp(&a.0));
        places = gaps.into_iter().map(|(_, middle)| middle).collect();
    }
    places.truncate(most.max(1));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_found_with_few_moments_and_each_is_played_often() {
        // Until moment 130 of 400 nothing fails, from then on everything does.
        let play = |places: &[usize], _| {
            let played =
                |place: &usize| Point { place: *place, failed: if 130 <= *place { REPLAYS } else { 0 }, runs: REPLAYS };
            places.iter().map(played).collect::<Vec<_>>()
        };
        // With many moments at once some are played where nothing changes.
        for (parallel, within) in [(1, 2), (64, 8)] {
            let found = points(400, parallel, Instant::now() + Duration::from_secs(60), play);
            assert_eq!(found.len(), MOMENTS);
            assert!(found.iter().all(|point| point.runs == REPLAYS));
            let turn = found.windows(2).find(|pair| pair[0].failed < pair[1].failed).expect("a turn");
            assert!(turn[0].place < 130 && 130 <= turn[1].place, "{turn:?}");
            assert!(turn[1].place - turn[0].place <= within, "{parallel}: {turn:?}");
        }
        assert_eq!(points(1, 2, Instant::now() + Duration::from_secs(60), play).len(), 1);
        assert_eq!(points(0, 2, Instant::now() + Duration::from_secs(60), play), []);
    }

    #[test]
    fn a_curve_that_ends_before_the_failure_says_why() {
        assert_eq!(why_it_ends(Some(1_950_000_000), Some(1_950_000_000), 2_000_000_000), None);
        let why = |could| why_it_ends(Some(1_000_000_000), Some(could), 31_148_000_000).expect("it ends early");
        let told = why(1_000_000_000);
        assert!(
            told.starts_with("The curve ends at 1.000 s, before the failure at 31.148 s: there the script"),
            "{told}"
        );
        assert!(why(9_000_000_000).ends_with("for later moments the time given did not last."));
        assert_eq!(why_it_ends(None, None, 5), None);
    }

    #[test]
    fn a_moment_that_was_cut_short_is_told_only_when_there_is_no_other() {
        let mut calls = 0;
        let play = |places: &[usize], _: Instant| {
            calls += 1;
            let runs = if calls == 3 { 4 } else { REPLAYS };
            places.iter().map(|place| Point { place: *place, failed: 1, runs }).collect::<Vec<_>>()
        };
        let found = points(3, 1, Instant::now() + Duration::from_secs(60), play);
        assert_eq!(
            found.iter().map(|point| (point.place, point.runs)).collect::<Vec<_>>(),
            [(0, REPLAYS), (2, REPLAYS)]
        );
        let short = |places: &[usize], _: Instant| {
            places.iter().map(|place| Point { place: *place, failed: 0, runs: 2 }).collect()
        };
        assert_eq!(points(1, 1, Instant::now() + Duration::from_secs(60), short).len(), 1);
    }
}
