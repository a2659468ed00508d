//! What a run showed in a few numbers that mean the same in every world: how long a cluster was without a leader, and
//! how its clients fared.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_scenario::verb::RestartKind;
use evenkeel_scenario::{Event, Nanos, Value, Word};

use super::stats::Stats;
use super::steps::KIND;

/// Acknowledged operations.
pub const OPERATIONS: &str = "operations";
/// Elections.
pub const ELECTIONS: &str = "figure elections";
/// How often a leader that was told to stop handed over, and how long it took on average, in microseconds.
pub const HANDOVERS: (&str, &str) = ("figure hand-overs", "figure hand-over us");
/// How often a leader was lost, and how long it took on average until there was another one, in microseconds.
pub const FAILOVERS: (&str, &str) = ("figure failovers", "figure failover us");
/// The longest time between two acknowledged operations of any group of clients, in microseconds.
pub const UNAVAILABLE: &str = "figure unavailable us";
/// Latencies of acknowledged operations, in microseconds: the median, and the 99th percentile.
pub const LATENCIES: (&str, &str) = ("figure latency p50 us", "figure latency p99 us");

/// How a reign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The leader was told to stop, or stepped down.
    Left,
    /// It was killed, or stopped where it was.
    Lost,
}

/// How long each change of leaders took.
fn changes(happenings: &[Event]) -> Vec<(Loss, Nanos)> {
    let (mut leader, mut loss, mut paused) = (None, None::<(Loss, Nanos)>, None);
    let mut changes = Vec::new();
    for event in happenings {
        let of_leader = leader.is_some() && event.node == leader;
        match event.name.as_str() {
            "restart" if of_leader && loss.is_none() => {
                let clean = event.fields.get(KIND) == Some(&Value::Text(RestartKind::Clean.name().to_owned()));
                loss = Some((if clean { Loss::Left } else { Loss::Lost }, event.at));
            }
            "step_down" if of_leader && loss.is_none() => loss = Some((Loss::Left, event.at)),
            // Who was told to stop is gone later, too.
            "fault.kill" | "fault.power_loss" | "exit" if of_leader && loss.is_none() => {
                loss = Some((Loss::Lost, event.at));
            }
            "pause" => paused = Some(event.at),
            "elected" => {
                let silent = paused.take().filter(|_| leader.is_some() && !of_leader).map(|at| (Loss::Lost, at));
                changes.extend(loss.take().or(silent).map(|(kind, at)| (kind, event.at - at)));
                leader = event.node;
            }
            _ => {}
        }
    }
    changes
}

/// The figures of a run, as counters.
pub fn figures(happenings: &[Event], stats: &Stats, groups: usize, until: Duration) -> BTreeMap<String, u64> {
    let mut figures = BTreeMap::new();
    let mut note = |name: &str, value: u64| _ = figures.insert(name.to_owned(), value);
    note(OPERATIONS, stats.acks());
    note(ELECTIONS, happenings.iter().filter(|event| event.name == "elected").count() as u64);
    let changes = changes(happenings);
    for (kind, names) in [(Loss::Left, HANDOVERS), (Loss::Lost, FAILOVERS)] {
        let took: Vec<u64> = changes.iter().filter(|(k, _)| *k == kind).map(|(_, took)| took.0 as u64 / 1000).collect();
        note(names.0, took.len() as u64);
        if !took.is_empty() {
            note(names.1, took.iter().sum::<u64>() / took.len() as u64);
        }
    }
    // Until a group's first answer there is no cluster yet.
    let served = (0..groups).filter_map(|index| {
        let group = stats.group(index);
        Some((group, group.acks(Duration::ZERO, until).first()?.at))
    });
    let gaps = served.clone().map(|(group, first)| group.longest_gap(first, until));
    note(UNAVAILABLE, gaps.max().unwrap_or_default().as_micros() as u64);
    let mut latencies = Vec::new();
    for (group, first) in served {
        let asked_then = group.acks(first, until).iter().filter(|ack| first <= ack.at.saturating_sub(ack.latency));
        latencies.extend(asked_then.map(|ack| ack.latency));
    }
    latencies.sort_unstable();
    if let Some(last) = latencies.len().checked_sub(1) {
        note(LATENCIES.0, latencies[last / 2].as_micros() as u64);
        note(LATENCIES.1, latencies[last * 99 / 100].as_micros() as u64);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64, name: &str, node: u64) -> Event {
        Event {
            name: name.to_owned(),
            at: Nanos::from_millis(ms),
            until: None,
            node: Some(node).filter(|node| *node > 0),
            step: None,
            fields: BTreeMap::new(),
        }
    }

    fn clean(ms: i64, node: u64) -> Event {
        let kind = (KIND.to_owned(), Value::Text("clean".to_owned()));
        Event { fields: [kind].into(), ..at(ms, "restart", node) }
    }

    #[test]
    fn a_change_of_leaders_is_timed_by_what_ended_the_reign() {
        let told = [
            at(100, "elected", 1),
            clean(1000, 1),
            at(1030, "step_down", 1),
            at(1050, "elected", 2),
            at(1060, "fault.kill", 1), // its process is gone by now
            clean(1500, 2),
            at(1530, "fault.kill", 2), // gone before anybody has seen its successor
            at(1550, "elected", 3),
            at(1900, "elected", 2),
            at(2000, "restart", 2),
            at(2000, "fault.kill", 2),
            at(2400, "elected", 3),
            at(3000, "fault.kill", 1), // a follower
            at(4000, "pause", 0),
            at(5500, "elected", 1),
        ];
        let ms = Nanos::from_millis;
        assert_eq!(
            changes(&told),
            [(Loss::Left, ms(50)), (Loss::Left, ms(50)), (Loss::Lost, ms(400)), (Loss::Lost, ms(1500))]
        );
    }
}
