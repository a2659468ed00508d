//! `[cluster]`: sizes and settings, most of them far below what anybody would run, so that rare paths become common.

use super::choice::{Choices, ms_range, share};
use super::draft::Table;
use super::profile::{Family, Profile};

/// What the other parts of a scenario need to know of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Members at the start.
    pub nodes: u64,
    /// The election timeout.
    pub election_ms: f64,
    /// When faults may begin.
    pub from_ms: f64,
    /// When the last fault begins; the calm phase follows.
    pub until_ms: f64,
    /// The workload is gentle.
    pub calm: bool,
    /// The families of this seed.
    pub families: Vec<Family>,
    /// What faults and operations gather around, if they do.
    pub focus: Option<Focus>,
}

/// Few clusters break of one fault alone: a leader that is cut off while its clock crawls, a power loss in the middle of
/// a change of members. Drawn one by one, such faults seldom meet; a focus lets them.
#[derive(Clone, Debug)]
pub(super) struct Focus {
    /// Their moments, in milliseconds.
    moments: Vec<f64>,
    /// Whom they meet.
    pub member: String,
}

impl Focus {
    /// The share of faults and operations that it attracts, and of faults whose member it says.
    const PULL: f64 = 0.7;
    const MOMENTS_MAX: u64 = 3;
    /// What gathers around a moment follows it by so many milliseconds at most.
    const NEAR_MS: f64 = 300.0;

    fn draw(nodes: u64, from_ms: f64, until_ms: f64, choices: &mut Choices) -> Focus {
        let count = choices.range("focus/count", 1, Focus::MOMENTS_MAX);
        let moments = (0..count)
            .map(|number| from_ms + choices.unit(&format!("focus/{number}")) * (until_ms - from_ms))
            .collect();
        let own = choices.range("focus/own", 1, nodes);
        let member = if choices.chance("focus/leader", 0.6) { "leader".to_owned() } else { format!("n{own}") };
        Focus { moments, member }
    }

    fn moment(&self, label: &str, choices: &mut Choices) -> f64 {
        let number = choices.range(&format!("{label}/focus"), 0, self.moments.len() as u64 - 1);
        self.moments[number as usize] + choices.log(&format!("{label}/near"), 1.0, Focus::NEAR_MS)
    }
}

impl Frame {
    /// Draws size, length and families.
    pub fn draw(profile: &Profile, choices: &mut Choices) -> Frame {
        let nodes = choices.weighted("nodes", profile.nodes);
        let election_ms = choices.log("election", 150.0, 1_500.0);
        let calm = choices.chance("calm", profile.calm);
        let until_ms = choices.log("length", 4_000.0, 12_000.0);
        // Either from the first moment, while the cluster is being founded, or when it stands.
        let from_ms = if choices.chance("early", 0.25) { 50.0 } else { 3.0 * election_ms };
        let fitting: Vec<Family> = Family::ALL.iter().map(|(family, _)| *family).filter(|f| f.fits(nodes)).collect();
        let chosen = |family: &Family, choices: &mut Choices| {
            choices.chance(&format!("family/{family:?}"), profile.probability(*family))
        };
        let mut families: Vec<Family> = fitting.iter().copied().filter(|family| chosen(family, choices)).collect();
        // Whoever joins would have to know which release the cluster is at by then.
        if families.contains(&Family::Releases) {
            families.retain(|family| *family != Family::Membership);
        }
        if families.is_empty() {
            let possible: Vec<Family> = fitting.into_iter().filter(|f| profile.probability(*f) > 0.0).collect();
            families.push(choices.pick("forced", &possible));
        }
        let until_ms = until_ms.max(from_ms + 2_000.0);
        let focus = choices.chance("focus", profile.focus).then(|| Focus::draw(nodes, from_ms, until_ms, choices));
        Frame { nodes, election_ms, from_ms, until_ms, calm, families, focus }
    }

    /// Whether a family takes part.
    pub fn has(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    /// A moment while faults may begin, in milliseconds.
    pub fn moment(&self, label: &str, choices: &mut Choices) -> f64 {
        match self.attracted(label, choices) {
            Some(focus) => focus.moment(label, choices).min(self.until_ms),
            None => self.from_ms + choices.unit(label) * (self.until_ms - self.from_ms),
        }
    }

    /// The focus, for what is drawn under this label, if it gives way.
    pub fn attracted(&self, label: &str, choices: &mut Choices) -> Option<&Focus> {
        self.focus.as_ref().filter(|_| choices.chance(&format!("{label}/pull"), Focus::PULL))
    }
}

/// Settings that are the same in every seed when they are not drawn: small, as in a scenario written by hand.
const PLAIN: [(&str, u64); 3] = [("snapshot_count", 100), ("snapshot_catchup", 20), ("segment_bytes", 65_536)];

/// The section.
pub(super) fn cluster(frame: &Frame, swarm: bool, choices: &mut Choices) -> Table {
    let ticks = choices.pick("ticks", &[3_u64, 5, 10, 15]);
    let tick_ms = (frame.election_ms / ticks as f64).round().max(10.0);
    let mut table = Table::new()
        .with("nodes", frame.nodes)
        .with("tick", format!("\"{tick_ms}ms\""))
        .with("election_ticks", ticks)
        .with("heartbeat_ticks", if ticks > 5 { choices.range("heartbeat", 1, 3) } else { 1 });
    if choices.chance("pre_vote", 0.2) {
        table.set("pre_vote", false);
    }
    if choices.chance("tick_advance", 0.3) {
        table.set("tick_advance", false);
    }
    if swarm {
        shrunk(&mut table, choices);
    } else {
        PLAIN.iter().for_each(|(key, value)| table.set(key, value));
    }
    if frame.has(Family::Releases) {
        table.set("release", "\"3.6\"");
    }
    table.set("net", net(frame, choices));
    table.set("disk", disk(frame, choices));
    if frame.has(Family::Clock) {
        let drift = choices.log("clock/drift", 0.0005, 0.03);
        let offset = choices.pick("clock/offset", &["0s", "-50ms..50ms", "-10s..10s"]);
        table.set("clock", format!("{{ offset = \"{offset}\", drift = \"{:.4}..{drift:.4}\" }}", -drift));
    }
    table
}

/// Settings that decide how soon something happens, each small in most seeds.
fn shrunk(table: &mut Table, choices: &mut Choices) {
    let mut small = |key: &str, probability: f64, draw: &dyn Fn(&mut Choices) -> u64| {
        if choices.chance(&format!("small/{key}"), probability) {
            let value = draw(choices);
            table.set(key, value);
        }
    };
    small("snapshot_count", 0.75, &|c| c.log_whole("snapshot_count", 3, 200));
    small("snapshot_catchup", 0.75, &|c| c.log_whole("snapshot_catchup", 1, 100) - 1);
    small("segment_bytes", 0.8, &|c| 4096 << c.range("segment_bytes", 0, 5));
    small("snapshot_piece", 0.5, &|c| c.log_whole("snapshot_piece", 4_096, 65_536));
    small("snapshot_rate", 0.3, &|c| c.log_whole("snapshot_rate", 500_000, 8_000_000));
    small("watch_fragment", 0.4, &|c| c.log_whole("watch_fragment", 60, 4_000));
    small("watch_batch", 0.3, &|c| c.log_whole("watch_batch", 1, 50));
    small("watch_log", 0.4, &|c| c.log_whole("watch_log", 1, 500));
    small("raft_log_bytes", 0.3, &|c| c.log_whole("raft_log_bytes", 1_000, 1_000_000));
    if choices.chance("small/lease_checkpoint", 0.4) {
        table.set("lease_checkpoint", choices.pick("lease_checkpoint", &["\"0s\"", "\"500ms\"", "\"2s\""]));
    }
    if choices.chance("small/watch_progress", 0.6) {
        table.set("watch_progress", super::choice::ms(choices.log("watch_progress", 200.0, 1_000.0)));
    }
}

/// Links whose usual latency is far below the election timeout: what is wrong with them beyond that ends with the
/// faults.
fn net(frame: &Frame, choices: &mut Choices) -> String {
    let high = choices.log("net/latency", 1.0, frame.election_ms / 12.0);
    let mut text = format!("{{ latency = {}", ms_range((high / 4.0).max(0.5), high));
    if frame.has(Family::Mess) {
        for (key, most) in [("loss", 0.03), ("duplicate", 0.1), ("reorder", 0.1)] {
            if choices.chance(&format!("net/{key}"), 0.5) {
                let value = share(choices.log(&format!("net/{key}/share"), 0.002, most));
                text.push_str(&format!(", {key} = {value}"));
            }
        }
    }
    text + " }"
}

fn disk(frame: &Frame, choices: &mut Choices) -> String {
    let high = choices.log("disk/fsync", 0.5, frame.election_ms / 12.0);
    let torn = choices.chance("disk/torn", 0.6);
    format!("{{ fsync = \"{}us..{}us\", torn = {torn} }}", (high * 250.0).round(), (high * 1000.0).round())
}
