//! A campaign, told: what was run, what was seen and what never, which failures there were.

use std::io::{self, Write};
use std::time::Duration;

use super::table::{Table, count, duration, speed_up};
use crate::explore::Summary;
use crate::report::World;

/// What every longer campaign must have seen, beside the points in the code.
const WANTED: &[&str] = &[
    "elected",
    "step_down",
    "snapshot",
    "checkpoint",
    "lease_expired",
    "watch_resumed",
    "watch_fragment",
    "fault.kill",
    "fault.power_loss",
];
/// Moments of a campaign at which the places that were come to are told.
const GROWTH: usize = 10;
/// So many things that were never seen are named.
const UNMET_TOLD: usize = 40;

/// What every longer campaign must have seen, as results name it.
pub fn wanted(world: &World) -> Vec<String> {
    let points = world.points.iter().map(|(name, _)| format!("point {name}"));
    points.chain(WANTED.iter().map(|name| format!("event {name}"))).collect()
}

/// Writes the tables of a campaign; `wall` is what it took here.
pub fn tell(summary: &Summary, world: &World, wall: Option<Duration>, out: &mut dyn Write) -> io::Result<()> {
    let sums = summary.sums();
    let (simulated, cpu) = (Duration::from_nanos(sums.simulated_ns), Duration::from_nanos(sums.cpu_ns));
    let per_hour = 3600.0 * sums.runs as f64 / cpu.as_secs_f64().max(1e-9);
    let mut table = Table::new(&[
        ">seeds",
        ">failed",
        ">simulated",
        ">core time",
        ">wall",
        ">speed-up",
        ">seeds/h/core",
        ">operations",
        ">events",
    ]);
    table.row([
        sums.runs.to_string(),
        sums.failed.to_string(),
        duration(simulated),
        duration(cpu),
        wall.map_or("-".to_owned(), duration),
        speed_up(simulated, cpu),
        count(per_hour as u64),
        count(sums.operations),
        count(sums.events),
    ]);
    out.write_all(table.render().as_bytes())?;

    let seen = summary.seen();
    let wanted = wanted(world);
    let unmet: Vec<&String> = wanted.iter().filter(|name| !seen.contains_key(name.as_str())).collect();
    writeln!(out, "\nseen: {} of {} points and events", wanted.len() - unmet.len(), wanted.len())?;
    for name in unmet.iter().take(UNMET_TOLD) {
        writeln!(out, "  never: {name}")?;
    }

    let growth: Vec<String> = summary.growth(GROWTH).iter().map(|grown| grown.places.to_string()).collect();
    writeln!(out, "places by tenths of the runs: {}", growth.join(" "))?;

    let groups = summary.groups();
    if !groups.is_empty() {
        let mut table = Table::new(&["failure", ">runs", "first", "told"]);
        for group in groups {
            let told: String = group.message.lines().next().unwrap_or_default().chars().take(110).collect();
            table.row([group.signature.chars().take(60).collect(), group.runs.to_string(), group.again(), told]);
        }
        write!(out, "\n{}", table.render())?;
    }
    Ok(())
}
