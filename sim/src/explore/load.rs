//! `[[client]]`: who does what, how often, to how many keys. Leaving operations out is part of the search.

use super::choice::{Choices, ms, share};
use super::draft::Table;
use super::knobs::Frame;
use super::profile::Profile;

/// Operations with their usual weight, and the probability that they take part.
const OPERATIONS: &[(&str, f64, f64)] = &[
    ("put", 4.0, 1.0),
    ("get", 3.0, 0.9),
    ("range", 1.5, 0.6),
    ("txn", 1.0, 0.5),
    ("txn_cas", 1.5, 0.5),
    ("txn_any", 1.5, 0.5),
    ("delete", 1.0, 0.6),
    ("delete_range", 0.2, 0.5),
    ("watch", 0.6, 0.6),
    ("lease", 0.5, 0.5),
    ("lease_any", 0.5, 0.4),
    ("compact", 0.4, 0.5),
];
/// Operations of all groups per second when the load is calm, and when it is not.
const RATES: [(f64, f64); 2] = [(20.0, 140.0), (5.0, 25.0)];

/// Sizes of values: weight, and the largest.
const SIZES: [(&str, f64, f64); 4] = [
    ("\"8..16\"", 2.0, 16.0),
    ("\"8..64\"", 3.0, 64.0),
    ("\"100..1000\"", 2.0, 1_000.0),
    ("\"1KiB..16KiB\"", 0.7, 16_384.0),
];

/// What these write in a second at most.
pub(super) fn bytes_per_second(clients: &[Table]) -> f64 {
    let number = |client: &Table, key| client.get(key).and_then(|value| value.parse::<f64>().ok()).unwrap_or_default();
    let largest = |client: &Table| {
        let size = client.get("value_size").unwrap_or_default();
        SIZES.iter().find(|(known, ..)| *known == size).map_or(0.0, |(_, _, largest)| *largest)
    };
    clients.iter().map(|client| number(client, "rate") * largest(client)).sum()
}

/// Operations that ask the leader whether it still leads, and write nothing.
const READS: [&str; 3] = ["get", "range", "lease_any"];
/// The share of seeds in which only few read, and rarely: then a leader can be without a question for so long that others
/// lead before the next one comes.
const RARE_READS: f64 = 0.15;
/// Operations of those who read rarely, all together, per second.
const RARE_RATE: (f64, f64) = (1.0, 4.0);

/// One or two groups, and perhaps those who read for them.
pub(super) fn clients(profile: &Profile, frame: &Frame, choices: &mut Choices) -> Vec<Table> {
    let keys = choices.log_whole("keys", 1, 64);
    let (low, high) = RATES[usize::from(frame.calm)];
    let rate = choices.log("rate", low, high);
    let groups = if choices.chance("second", 0.3) { 2 } else { 1 };
    let of_all = rate / groups as f64;
    let reads = !(profile.swarm && choices.chance("rare-reads", RARE_READS));
    let mut clients: Vec<Table> =
        (0..groups).map(|number| group(number, of_all, keys, reads, profile, frame, choices)).collect();
    if !reads {
        let rate = choices.log("rare-reads/rate", RARE_RATE.0, RARE_RATE.1);
        let table = Table::new().text("id", "r").with("mix", "{ get = 1.00 }").with("keys", keys);
        let table = table.with("rate", format!("{rate:.1}")).with("count", choices.log_whole("rare-reads/count", 1, 8));
        let forms = clients[0].get("key_form").unwrap_or("\"plain\"").to_owned();
        let timeout = choices.log("rare-reads/timeout", frame.election_ms.max(500.0), 5_000.0);
        clients.push(table.with("key_form", forms).with("timeout", ms(timeout)));
    }
    clients
}

fn group(
    number: usize,
    rate: f64,
    keys: u64,
    reads: bool,
    profile: &Profile,
    frame: &Frame,
    choices: &mut Choices,
) -> Table {
    let id = ["w", "v"][number];
    let at = |what: &str| format!("client/{id}/{what}");
    let mut mix = Vec::new();
    for (operation, weight, probability) in OPERATIONS {
        if !reads && READS.contains(operation) {
            continue;
        }
        let factor = profile.factor(operation);
        let probability = if profile.swarm { (probability * factor.sqrt()).min(1.0) } else { 1.0 };
        if choices.chance(&at(operation), probability) {
            let spread = if profile.swarm { 3.0 } else { 1.0 };
            let weight = weight * factor * choices.log(&at(&format!("{operation}/weight")), 1.0 / spread, spread);
            mix.push(format!("{operation} = {weight:.2}"));
        }
    }
    let shapes = [("uniform", 2.0), ("skewed", 1.0), ("sequential", 1.0), ("clustered", 1.0)];
    let ttl = choices.pick(&at("ttl"), &["\"1s..1s\"", "\"1s..3s\"", "\"2s..5s\""]);
    let timeout = choices.log(&at("timeout"), (frame.election_ms).max(500.0), 5_000.0);
    let mut table = Table::new()
        .text("id", id)
        .with("mix", format!("{{ {} }}", mix.join(", ")))
        .with("keys", keys)
        .text("key_shape", choices.weighted(&at("shape"), &shapes))
        .with("value_size", choices.weighted(&at("size"), &SIZES.map(|(size, weight, _)| (size, weight))))
        .with("rate", format!("{:.1}", rate))
        .with("count", choices.log_whole(&at("count"), 1, 8))
        .with("timeout", ms(timeout))
        .with("lease_ttl", ttl)
        .with("lease_renewals", choices.pick(&at("renewals"), &["\"0.0..3.0\"", "\"2.0..10.0\""]))
        .with("lease_renew_at", choices.pick(&at("renew_at"), &["\"0.2..0.5\"", "\"0.3..1.0\"", "\"0.9..1.1\""]))
        .with("leases", choices.log_whole(&at("leases"), 1, 8))
        .with("watch_ahead", choices.pick(&at("ahead"), &["\"1.0..5.0\"", "\"5.0..60.0\""]));
    if choices.chance(&at("lease_names"), 0.5) {
        table.set("lease_names", choices.log_whole(&at("lease_names/count"), 1, 6));
    }
    for (key, probability, high) in [("attach", 0.5, 0.5), ("txn_spans", 0.5, 0.7), ("watch_cancels", 0.5, 0.4)] {
        if choices.chance(&at(key), probability) {
            table.set(key, share(choices.log(&at(&format!("{key}/share")), 0.05, high)));
        }
    }
    if choices.chance(&at("serializable"), 0.3) {
        table.set("serializable", share(choices.log(&at("serializable/share"), 0.05, 1.0)));
    }
    let forms = [("plain", 4.0), ("nested", 1.5), ("bytes", 1.0), ("long", 0.5)];
    table.set("key_form", format!("\"{}\"", choices.weighted("key_form", &forms)));
    if choices.chance(&at("value_form"), 0.3) {
        table.set("value_form", "\"bytes\"");
    }
    if choices.chance(&at("retry"), 0.4) {
        table.set("retry", true);
    }
    let on = choices.weighted(&at("on"), &[("any", 6.0), ("leader", 1.0), ("n1", 0.5)]);
    table.set("on", format!("\"{on}\""));
    table
}

/// Answered operations of a run, at least.
const ACKS_MIN: f64 = 15.0;
/// The share of what clients ask for while faults may be on that is answered all the same, at least.
const ACKS_SHARE_MIN: f64 = 0.1;
/// And of what they ask for in the calm, so many milliseconds' worth.
const ACKS_CALM_MS: f64 = 1_000.0;

/// No generated run is longer.
const RUN_MAX: &str = "3600s";

/// What a run must have done at least, or it says nothing: operations answered, in proportion to those that its clients
/// ask for, and an elected leader. Faults begin to end at `until_ms`. The calm phase goes on until it has, or is over: so
/// what faults keep from the clients can be made up for, and what does not work at all cannot.
pub(super) fn minimum(clients: &[Table], verbs: &[&str], until_ms: f64, within: &str) -> Table {
    let rates = clients.iter().filter_map(|client| client.get("rate")?.parse::<f64>().ok());
    let worth_ms = ACKS_CALM_MS + ACKS_SHARE_MIN * until_ms;
    let acks_min = (rates.sum::<f64>() * worth_ms / 1_000.0).max(ACKS_MIN).round();
    let acks: Vec<String> =
        clients.iter().filter_map(|client| client.get_text("id")).map(|id| format!("acks({id})")).collect();
    let mut parts = vec![format!("{} >= {acks_min}", acks.join(" + ")), "count(elected) >= 1".to_owned()];
    if !verbs.is_empty() {
        let counts: Vec<String> = verbs.iter().map(|verb| format!("count({verb})")).collect();
        parts.push(format!("{} >= 1", counts.join(" + ")));
    }
    let table = Table::new().text("id", super::generate::IDLE).text("after", "quiesce");
    // Of the whole run, not of the calm alone.
    table.with("within", within).text("that", format!("({}) in 0s..{RUN_MAX}", parts.join(" && ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_did_nothing_is_named() {
        for (rate, acks) in [(2.0, 15), (50.0, 100)] {
            let client = Table::new().text("id", "w").with("rate", rate);
            let expect = minimum(&[client], &["cut", "restart"], 10_000.0, "\"8s\"");
            let faults = "count(elected) >= 1 && count(cut) + count(restart) >= 1";
            assert_eq!(expect.get_text("that"), Some(&*format!("(acks(w) >= {acks} && {faults}) in 0s..3600s")));
        }
    }
}
