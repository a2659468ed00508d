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

/// The first line that differs between two traces, and its event's number. What was drawn is no difference.
pub fn parting(ours: &[Line], theirs: &[Line]) -> Option<usize> {
    let same =
        |a: &Line, b: &Line| (a.at_ns, a.kind(), &a.values, &a.detail) == (b.at_ns, b.kind(), &b.values, &b.detail);
    let at = ours.iter().zip(theirs).position(|(a, b)| a.aside.as_deref() != Some("draws") && !same(a, b));
    at.or_else(|| (ours.len() != theirs.len()).then(|| ours.len().min(theirs.len())))
}
