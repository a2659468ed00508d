//! A seed becomes a scenario.

use evenkeel_scenario::Scenario;
use evenkeel_scenario::cluster::Planted;

use super::choice::{Choices, ms};
use super::draft::{Draft, Table};
use super::knobs::{Frame, cluster};
use super::profile::{Family, PLAIN, Profile};
use super::{faults, load, operations};

/// The expectation that a run was worth its time; its name is the kind of failure.
pub const IDLE: &str = "idle";

/// The expectation that no member ends by itself where nothing gives it a reason.
pub const ENDS: &str = "ends";

/// Election timeouts and a little more that the calm phase lasts at most: as long as the default expectations wait.
const CALM_ELECTIONS: f64 = 10.0;
/// Time for one more operation, as the default expectations give it, and some slack.
const CALM_MORE_MS: f64 = 5_000.0;
/// A run ends so long after calm has returned, when everything works again.
const SETTLE: &str = "\"1.5s\"";
/// The share of runs that use the calm phase to its end: what is stuck for good shows itself only there.
const PATIENT: f64 = 0.2;
/// A member that joins looks for the others so long at most before it is started again.
const JOIN_MS: f64 = 12_000.0;
/// A change of releases may take so long.
const ROLL_MS: f64 = 60_000.0;

/// The scenario of a seed, with these bugs planted. It is to be run with the same seed.
///
/// # Panics
/// When it is not a valid scenario: a mistake in the generator, which its tests look for.
pub fn generate(profile: &Profile, seed: u64, planted: &Planted) -> Scenario {
    parse(&draft(profile, seed, planted))
}

/// The scenario that a draft stands for.
///
/// # Panics
/// When it is none.
pub fn parse(draft: &Draft) -> Scenario {
    let text = draft.text();
    Scenario::parse(&text, &draft.name).unwrap_or_else(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("the generator wrote a scenario that is none:\n{text}\n{}", told.join("\n"))
    })
}

/// As [`generate`], before it is text.
pub fn draft(profile: &Profile, seed: u64, planted: &Planted) -> Draft {
    let choices = &mut Choices::new(seed, profile.name);
    let name = format!("{}-{seed}", profile.name);
    let profile = if choices.chance("plain", profile.plain) { &PLAIN } else { profile };
    let frame = Frame::draw(profile, choices);
    let mut cluster = cluster(&frame, profile.swarm, choices);
    if let Some(plants) = planted.toml() {
        cluster.set("mutants", plants);
    }
    let clients = load::clients(profile, &frame, choices);
    let mut steps = faults::steps(&frame, profile.swarm, choices);
    steps.extend(operations::steps(&frame, choices));
    let calm_ms = CALM_ELECTIONS * frame.election_ms * 1.1 + CALM_MORE_MS;
    let rolls_ms = if frame.has(Family::Releases) { ROLL_MS } else { 0.0 };
    let joins_ms = if frame.has(Family::Membership) { JOIN_MS } else { 0.0 };
    let mut run = Table::new().with("for", ms(frame.until_ms + rolls_ms + calm_ms + joins_ms));
    let calm_within = ms(calm_ms + joins_ms - 1_000.0);
    let mut expects = vec![load::minimum(&clients, &timed_verbs(&steps), frame.until_ms, &calm_within)];
    steps.push(quiesce(&frame, &steps));
    if frame.has(Family::Membership) {
        for (id, that) in [("converged", "converged"), ("heals", "all(served)")] {
            let expect = Table::new().text("id", id).text("after", "quiesce").with("within", calm_within.as_str());
            expects.push(expect.text("that", that));
        }
    }
    if !choices.chance("patient", PATIENT) {
        run.set("settle", SETTLE);
    }
    let families: Vec<String> = frame.families.iter().map(|family| format!("{family:?}").to_lowercase()).collect();
    let mut draft = Draft {
        name,
        about: format!("Generated: {}.", families.join(", ")),
        seed,
        run,
        cluster,
        expects,
        clients,
        steps,
    };
    reconcile(&mut draft);
    draft
}

/// When faults end, or after which time once a change of releases is done.
pub(super) fn until_ms(steps: &[Table]) -> Option<f64> {
    let calm = steps.iter().find(|step| step.get_text("do") == Some("quiesce"))?;
    millis(calm.get("at").or(calm.get("delay"))?)
}

/// What one part asks of another, wherever the parts come from.
pub(super) fn reconcile(draft: &mut Draft) {
    let Draft { cluster, clients, steps, expects, .. } = draft;
    // Who talks to one member only has nobody left when that one leaves.
    if steps.iter().any(|step| step.get_text("change") == Some("remove")) {
        let alone = clients.iter_mut().filter(|client| client.get_text("on") == Some("n1"));
        alone.for_each(|client| client.set("on", "\"any\""));
    }
    // What was written, to a whole minority, before the calm phase is half over.
    let until_ms = until_ms(steps);
    let number = |key: &str| cluster.get(key).and_then(|value| value.parse::<f64>().ok());
    if let (Some(rate), Some(nodes), Some(until_ms)) = (number("snapshot_rate"), number("nodes"), until_ms) {
        let written = load::bytes_per_second(clients) * until_ms / 1000.0;
        let minority = ((nodes - 1.0) / 2.0).floor().max(1.0);
        cluster.set("snapshot_rate", rate.max(written * minority / 2.0) as u64);
    }
    // A member ends by itself when it cannot trust its disk, and when it does not belong (any more).
    let disk_fails = |step: &Table| ["error", "rot"].iter().any(|key| step.get(key).is_some());
    let may_end = |step: &Table| disk_fails(step) || step.get_text("do") == Some("member");
    expects.retain(|expect| expect.get_text("id") != Some(ENDS));
    if !steps.iter().any(may_end) {
        expects.push(Table::new().text("id", ENDS).text("never", "exit(code != 0)"));
    }
}

/// A time in milliseconds, as drafts have them.
pub(super) fn millis(value: &str) -> Option<f64> {
    value.trim_matches('"').strip_suffix("ms")?.parse().ok()
}

/// All faults end when the last of them has begun and the operator is done.
fn quiesce(frame: &Frame, steps: &[Table]) -> Table {
    let rolls = steps.iter().rfind(|step| step.get_text("do") == Some("roll"));
    match rolls {
        None => Table::new().with("at", ms(frame.until_ms)).text("do", "quiesce"),
        Some(roll) => {
            let id = roll.get_text("id").expect("a roll has a name");
            Table::new().text("after", id).with("delay", ms(frame.until_ms)).text("do", "quiesce")
        }
    }
}

/// The verbs of steps that fire whatever happens.
pub(super) fn timed_verbs(steps: &[Table]) -> Vec<&str> {
    let timed = steps.iter().filter(|step| step.get("at").is_some());
    let mut verbs: Vec<&str> = timed.filter_map(|step| step.get_text("do")).collect();
    verbs.sort_unstable();
    verbs.dedup();
    verbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::profile::PROFILES;
    use evenkeel_scenario::Decisions;

    /// Enough for every combination of two families to occur.
    const SEEDS: u64 = 300;

    fn nothing() -> Planted {
        Planted::default()
    }

    #[test]
    fn every_seed_of_every_profile_is_a_scenario_that_resolves() {
        for profile in PROFILES {
            for seed in 0..SEEDS {
                let scenario = generate(profile, seed, &nothing());
                let cell = &scenario.cells()[0];
                let resolved = scenario.resolve(cell, &mut Decisions::new(seed));
                let again = Scenario::parse(&resolved.to_toml(), "resolved").expect("a resolved file is a scenario");
                assert_eq!(again.resolve(cell, &mut Decisions::new(seed)), resolved, "{} {seed}", profile.name);
            }
        }
    }

    #[test]
    fn the_same_seed_is_the_same_scenario_and_another_one_is_not() {
        let text = |seed| draft(&Profile::default(), seed, &nothing()).text();
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn planting_a_bug_changes_nothing_else() {
        let planted =
            Planted(vec![evenkeel_scenario::cluster::Plant::new("ack-before-fsync", evenkeel_scenario::Selector::All)]);
        for seed in 0..20 {
            let plain = draft(&Profile::default(), seed, &nothing()).text();
            let with = draft(&Profile::default(), seed, &planted).text();
            let without: String = with
                .lines()
                .filter(|line| !line.starts_with("mutants"))
                .fold(String::new(), |all, line| all + line + "\n");
            assert_eq!(plain, without);
        }
    }

    #[test]
    fn sizes_and_families_all_occur() {
        let drafts: Vec<Draft> = (0..SEEDS).map(|seed| draft(&Profile::default(), seed, &nothing())).collect();
        for nodes in 1..=7 {
            let of_size = |draft: &&Draft| draft.cluster.get("nodes") == Some(&nodes.to_string());
            assert!(drafts.iter().any(|draft| of_size(&draft)), "no seed has {nodes} members");
        }
        for (family, _) in Family::ALL {
            let name = format!("{family:?}").to_lowercase();
            let with = drafts.iter().filter(|draft| draft.about.contains(&name)).count();
            assert!((1..drafts.len()).contains(&with), "{with} seeds have {name}");
        }
    }

    #[test]
    fn a_member_may_end_by_itself_only_where_something_gives_it_a_reason() {
        let reason = |step: &Table| {
            step.get_text("do") == Some("member") || ["error", "rot"].iter().any(|key| step.get(key).is_some())
        };
        let mut watched = 0;
        for seed in 0..SEEDS {
            let draft = draft(&Profile::default(), seed, &nothing());
            let ends = draft.expects.iter().find(|expect| expect.get_text("id") == Some(ENDS));
            assert_eq!(ends.is_some(), !draft.steps.iter().any(reason), "{seed}");
            watched += usize::from(ends.is_some_and(|ends| ends.get_text("never") == Some("exit(code != 0)")));
        }
        assert!(50 < watched, "{watched} of {SEEDS}");
    }

    #[test]
    fn a_disk_is_lost_only_where_a_majority_keeps_theirs() {
        for profile in PROFILES {
            for seed in 0..SEEDS {
                let draft = draft(profile, seed, &nothing());
                let nodes: u64 = draft.cluster.get("nodes").unwrap().parse().unwrap();
                let changes =
                    |change: &str| draft.steps.iter().filter(|step| step.get_text("change") == Some(change)).count();
                assert!(draft.steps.iter().all(|step| step.get("wiped").is_none()));
                assert!(changes("replace") <= usize::from(nodes >= 3));
                assert!(changes("replace") == 0 || changes("remove") == 0);
            }
        }
    }
}
