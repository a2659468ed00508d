//! Labelled decisions: every choice of a run is `mix(seed, label, occurrence)`, never "the next number of a stream".
//!
//! Promise: what a label draws depends on the seed, on the label and on how often *that label* was drawn before, and
//! on nothing else. Taking one fault out of a run therefore leaves every other choice alone, and the same seed draws
//! the same values in every cell of a matrix. A table of overrides replaces single draws, which is how a repro file
//! and a shrinker change one choice. The values are part of the format of repro files: the golden numbers in the
//! tests must never change.

use crate::time::Nanos;
use std::collections::BTreeMap;

/// The increment of the sequence inside one label: odd, with well spread bits.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every input bit over all output bits. A bijection.
const fn scramble(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn label_hash(label: &str) -> u64 {
    label.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A label looked up once, for choices made very often. Valid only for the `Decisions` it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(u32);

#[derive(Clone, Debug)]
struct Stream {
    base: u64,
    next: u64,
    overrides: BTreeMap<u64, u64>,
}

/// All choices of one run.
#[derive(Clone, Debug)]
pub struct Decisions {
    seed: u64,
    labels: BTreeMap<String, Label>,
    streams: Vec<Stream>,
    /// Draws so far.
    count: u64,
    /// After so many draws all others are drawn with this instead of the seed.
    anew: Option<(u64, u64)>,
}

impl Decisions {
    /// The choices of seed `seed`.
    pub fn new(seed: u64) -> Decisions {
        Decisions { seed, labels: BTreeMap::new(), streams: Vec::new(), count: 0, anew: None }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A handle for `label`: the same numbers as drawing by name, without the look-up.
    pub fn label(&mut self, label: &str) -> Label {
        if let Some(known) = self.labels.get(label) {
            return *known;
        }
        let handle = Label(u32::try_from(self.streams.len()).expect("fewer than four billion labels"));
        let base = scramble(scramble(self.seed.wrapping_add(STRIDE)) ^ label_hash(label));
        self.streams.push(Stream { base, next: 0, overrides: BTreeMap::new() });
        self.labels.insert(label.to_owned(), handle);
        handle
    }

    /// The next number of `label`.
    pub fn draw(&mut self, label: &str) -> u64 {
        let label = self.label(label);
        self.draw_at(label)
    }

    /// The next number of a label looked up before.
    pub fn draw_at(&mut self, label: Label) -> u64 {
        let stream = &mut self.streams[label.0 as usize];
        let occurrence = stream.next;
        stream.next += 1;
        self.count += 1;
        if !stream.overrides.is_empty()
            && let Some(value) = stream.overrides.get(&occurrence)
        {
            return *value;
        }
        let base = match self.anew {
            Some((after, seed)) if after < self.count => scramble(stream.base ^ scramble(seed.wrapping_add(STRIDE))),
            _ => stream.base,
        };
        scramble(base.wrapping_add(occurrence.wrapping_mul(STRIDE)))
    }

    /// Draws so far, of all labels.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// From the draw after the first `count` on everything is drawn anew, with another seed: the same run up to there,
    /// and another one from there on. Overrides stay.
    pub fn anew_after(&mut self, count: u64, seed: u64) {
        self.anew = Some((count, seed));
    }

    /// Replaces the draw number `occurrence` (from 0) of `label` by `value`.
    pub fn set_override(&mut self, label: &str, occurrence: u64, value: u64) {
        let label = self.label(label);
        self.streams[label.0 as usize].overrides.insert(occurrence, value);
    }

    /// Every replaced draw: label, occurrence, value.
    pub fn overrides(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.labels.iter().flat_map(|(name, label)| {
            let overrides = &self.streams[label.0 as usize].overrides;
            overrides.iter().map(move |(occurrence, value)| (name.as_str(), *occurrence, *value))
        })
    }

    /// How often each label was drawn so far, in the order of the labels' names.
    pub fn drawn(&self) -> impl Iterator<Item = (&str, u64)> {
        self.labels.iter().map(|(name, label)| (name.as_str(), self.streams[label.0 as usize].next))
    }

    /// A whole number between both ends, ends included.
    pub fn range(&mut self, label: &str, low: u64, high: u64) -> u64 {
        between(self.draw(label), low, high)
    }

    /// True with probability `share`.
    pub fn chance(&mut self, label: &str, share: f64) -> bool {
        unit(self.draw(label)) < share
    }

    /// One of `items`, all equally likely.
    pub fn pick<'a, T>(&mut self, label: &str, items: &'a [T]) -> &'a T {
        assert!(!items.is_empty(), "nothing to pick from at {label}");
        let last = items.len() as u64 - 1;
        &items[self.range(label, 0, last) as usize]
    }

    /// A duration between both ends, ends included.
    pub fn duration(&mut self, label: &str, low: Nanos, high: Nanos) -> Nanos {
        nanos_between(self.draw(label), low, high)
    }
}

/// Maps a drawn number to `low..=high`.
pub fn between(drawn: u64, low: u64, high: u64) -> u64 {
    assert!(low <= high, "empty range {low}..{high}");
    let width = u128::from(high - low) + 1;
    low + ((u128::from(drawn) * width) >> 64) as u64
}

/// Maps a drawn number to a duration in `low..=high`.
pub fn nanos_between(drawn: u64, low: Nanos, high: Nanos) -> Nanos {
    assert!(low <= high, "empty range {low}..{high}");
    Nanos(low.0 + between(drawn, 0, high.0.abs_diff(low.0)) as i64)
}

/// Maps a drawn number to `0.0 <= x < 1.0`.
pub fn unit(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1u64 << 53) as f64
}

/// Splits `label#occurrence`, the way a repro file names one draw.
pub fn parse_point(text: &str) -> Option<(&str, u64)> {
    let (label, occurrence) = text.rsplit_once('#')?;
    Some((label, occurrence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn drawn_numbers_never_change_between_builds() {
        let mut decisions = Decisions::new(1);
        let mut text = String::new();
        for label in ["cluster.tick", "net/n1>n3/append", "cluster.tick", "", "cluster.tick"] {
            text.push_str(&format!("{label} {:016x}\n", decisions.draw(label)));
        }
        text.push_str(&format!("{:016x} {:016x}\n", Decisions::new(0).draw("a"), Decisions::new(u64::MAX).draw("a")));
        expect![[r#"
            cluster.tick d7c7e63b6b273f7e
            net/n1>n3/append dc06bfa8aab297c5
            cluster.tick e2e09bff40dfd2b2
             9e61aac0c311ade8
            cluster.tick a955d7e6f56b61dd
            18a49f4b61b5b9f0 4f26ef3435a08486
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn other_labels_do_not_disturb_a_label() {
        let alone: Vec<u64> = {
            let mut d = Decisions::new(7);
            (0..50).map(|_| d.draw("x")).collect()
        };
        let mut crowded = Decisions::new(7);
        let beside: Vec<u64> = (0..50)
            .map(|i| {
                crowded.draw(&format!("other{i}"));
                crowded.draw("x")
            })
            .collect();
        assert_eq!(alone, beside);
    }

    #[test]
    fn a_handle_shares_the_count_with_its_name() {
        let (mut by_name, mut mixed) = (Decisions::new(3), Decisions::new(3));
        let handle = mixed.label("hot");
        for i in 0..20 {
            let drawn = if i % 2 == 0 { mixed.draw_at(handle) } else { mixed.draw("hot") };
            assert_eq!(by_name.draw("hot"), drawn);
        }
        assert_eq!(mixed.drawn().collect::<Vec<_>>(), [("hot", 20)]);
    }

    #[test]
    fn an_override_changes_one_draw_and_no_other() {
        let (mut plain, mut changed) = (Decisions::new(9), Decisions::new(9));
        let (label, occurrence) = parse_point("bug/wal#fsync#2").unwrap();
        changed.set_override(label, occurrence, 42);
        let pairs: Vec<(u64, u64)> =
            (0..5).map(|_| (plain.draw("bug/wal#fsync"), changed.draw("bug/wal#fsync"))).collect();
        for (i, (plain, changed)) in pairs.into_iter().enumerate() {
            assert_eq!(changed, if i == 2 { 42 } else { plain }, "draw {i}");
        }
    }

    #[test]
    fn drawn_anew_is_the_same_up_to_there_and_different_after() {
        let (mut plain, mut anew) = (Decisions::new(9), Decisions::new(9));
        anew.anew_after(6, 1);
        for draw in 0..12 {
            let label = ["x", "y"][draw % 2];
            assert_eq!(plain.draw(label) == anew.draw(label), draw < 6, "draw {draw}");
        }
        assert_eq!(anew.count(), 12);
    }

    #[test]
    fn helpers_stay_inside_their_bounds_and_reach_both_ends() {
        let mut d = Decisions::new(5);
        let drawn: Vec<u64> = (0..2000).map(|_| d.range("r", 3, 9)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&3), Some(&9)));
        let hits = (0..10_000).filter(|_| d.chance("c", 0.25)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
        assert!(!d.chance("never", 0.0));
        assert!(d.chance("always", 1.0));
        let (low, high) = (Nanos::from_millis(-5), Nanos::from_millis(5));
        for _ in 0..1000 {
            let drawn = d.duration("d", low, high);
            assert!(low <= drawn);
            assert!(drawn <= high);
        }
        assert_eq!(between(u64::MAX, 0, u64::MAX), u64::MAX);
    }
}
