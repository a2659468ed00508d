//! Choices to change, from a trace's asides about draws.

use std::collections::BTreeMap;

use super::super::trace::Line;

/// What was drawn up to a moment.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The moment.
    pub at_ns: u64,
    /// Draws until then.
    pub count: u64,
    /// Draws since the moment before: label and occurrence.
    pub new: Vec<(String, u64)>,
}

/// The moments at which a trace says what was drawn.
pub fn drawn(trace: &[Line]) -> Vec<Drawn> {
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    let told = trace.iter().filter(|line| line.aside.as_deref() == Some("draws")).map(|line| {
        let labels = line.get("labels").as_object().into_iter().flatten();
        let new = labels.flat_map(|(label, count)| {
            let count = count.as_u64().unwrap_or(0);
            let first = before.insert(label.clone(), count).unwrap_or(0);
            (first..count).map(|occurrence| (label.clone(), occurrence))
        });
        Drawn { at_ns: line.at_ns, count: line.number("count"), new: new.collect() }
    });
    told.collect()
}

/// Moments to continue from: half of them evenly over the time up to the failure, and closer to each other near it.
pub fn moments(drawn: &[Drawn], failed_ns: u64, most: usize) -> Vec<&Drawn> {
    let before: Vec<&Drawn> = drawn.iter().filter(|it| it.at_ns <= failed_ns).collect();
    let mut chosen: Vec<usize> = (0..most)
        .filter_map(|i| {
            let left = 1.0 - i as f64 / most.max(2).saturating_sub(1) as f64;
            let wanted = (failed_ns as f64 * (1.0 - left * left)) as u64;
            before.iter().rposition(|it| it.at_ns <= wanted)
        })
        .collect();
    chosen.extend((!before.is_empty()).then_some(0));
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|place| before[place]).collect()
}

/// The places of the first lines that differ, one in each trace. What was drawn is no difference, and stands at other
/// places in a run that draws otherwise: such lines are passed over on either side by itself.
pub fn parting(ours: &[Line], theirs: &[Line]) -> Option<(usize, usize)> {
    fn told(lines: &[Line]) -> impl Iterator<Item = (usize, &Line)> {
        lines.iter().enumerate().filter(|(_, line)| line.aside.as_deref() != Some("draws"))
    }
    let same =
        |a: &Line, b: &Line| (a.at_ns, a.kind(), &a.values, &a.detail) == (b.at_ns, b.kind(), &b.values, &b.detail);
    let (mut one, mut other) = (told(ours), told(theirs));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (Some((_, a)), Some((_, b))) if same(a, b) => {}
            (a, b) => return Some((a.map_or(ours.len(), |it| it.0), b.map_or(theirs.len(), |it| it.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_part_at_a_place_of_their_own_each_whatever_was_drawn_before() {
        let told = |names: &str| -> Vec<Line> {
            let line = |name: &str| match name {
                "draws" => json!({"n": 0, "at_ns": 0, "aside": "draws", "detail": {"count": names.len()}}),
                name => json!({"n": 0, "at_ns": 0, "event": name}),
            };
            names.split(' ').map(|name| serde_json::from_value(line(name)).expect("a line")).collect()
        };
        for (ours, theirs, places) in [
            ("a draws b", "a draws b", None),
            ("a draws b", "a b", None),
            // Where one has drawn, the other has an event.
            ("a draws draws b", "a c draws draws b", Some((3, 1))),
            ("a draws b", "draws draws a b c", Some((3, 4))),
            ("a b", "c b", Some((0, 0))),
        ] {
            assert_eq!(parting(&told(ours), &told(theirs)), places, "{ours} | {theirs}");
        }
    }
}
