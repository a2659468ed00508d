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
/// How often the next leader then answered a write, and how long that took on average from the loss, in microseconds.
pub const FAILOVERS_WRITE: (&str, &str) = ("figure failovers to write", "figure failover to write us");
/// The longest time in which no write of anybody was answered, in microseconds.
pub const UNWRITTEN: &str = "figure unwritten us";
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

/// A change of leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    loss: Loss,
    /// When the old leader was lost.
    from: Nanos,
    /// When the new one was seen.
    to: Nanos,
}

/// When each change of leaders took place.
fn changes(happenings: &[Event]) -> Vec<Change> {
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
                let ended = loss.take().or(silent);
                changes.extend(ended.map(|(loss, from)| Change { loss, from, to: event.at }));
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
    let writes = stats.writes(until);
    let seen = |change: &Change| Some(change.to);
    let written = |change: &Change| {
        let first = writes.partition_point(|at| Nanos::from(*at) < change.to);
        writes.get(first).map(|at| Nanos::from(*at))
    };
    type Until<'a> = &'a dyn Fn(&Change) -> Option<Nanos>;
    let timed: [(Loss, (&str, &str), Until<'_>); 3] =
        [(Loss::Left, HANDOVERS, &seen), (Loss::Lost, FAILOVERS, &seen), (Loss::Lost, FAILOVERS_WRITE, &written)];
    for (loss, names, until) in timed {
        let alike = changes.iter().filter(|change| change.loss == loss);
        let took: Vec<u64> = alike.filter_map(|it| Some((until(it)? - it.from).0 as u64 / 1000)).collect();
        note(names.0, took.len() as u64);
        if !took.is_empty() {
            note(names.1, took.iter().sum::<u64>() / took.len() as u64);
        }
    }
    let silences = writes.windows(2).map(|pair| pair[1] - pair[0]);
    if let Some(longest) = silences.chain(writes.last().map(|last| until.saturating_sub(*last))).max() {
        note(UNWRITTEN, longest.as_micros() as u64);
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
    use evenkeel_check::OpId;
    use evenkeel_check::history::{Body, Header, Outcome, Put, PutReply, Range, Request};

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
        let change = |loss, from, to| Change { loss, from: Nanos::from_millis(from), to: Nanos::from_millis(to) };
        assert_eq!(
            changes(&told),
            [
                change(Loss::Left, 1000, 1050),
                change(Loss::Left, 1500, 1550),
                change(Loss::Lost, 2000, 2400),
                change(Loss::Lost, 4000, 5500),
            ]
        );
    }

    #[test]
    fn a_failover_ends_with_the_first_write_that_the_next_leader_answers() {
        let told = [at(100, "elected", 1), at(1000, "fault.kill", 1), at(1400, "elected", 2)];
        let mut stats = Stats::new(2);
        let put = Request::Put(Put::default());
        for (op, group, ms, request) in [
            (1, 0, 200, &put),
            (2, 1, 700, &put),
            (3, 0, 1410, &Request::Range(Range::default())),
            (4, 0, 1460, &put),
            (5, 1, 1900, &put),
        ] {
            stats.called(group, OpId(op), Duration::from_millis(ms - 1), request);
            let answer = Outcome::Ok(Header::default(), Body::Put(PutReply::default()));
            stats.returned(OpId(op), Duration::from_millis(ms), &answer);
        }
        let figures = figures(&told, &stats, 2, Duration::from_millis(2000));
        let expected = [(FAILOVERS.0, 1), (FAILOVERS.1, 400_000), (FAILOVERS_WRITE.0, 1), (FAILOVERS_WRITE.1, 460_000)];
        for (name, value) in expected.into_iter().chain([(UNWRITTEN, 760_000)]) {
            assert_eq!(figures.get(name), Some(&value), "{name}");
        }
    }
}
