//! Steps of the fault families.
//!
//! Each family draws its own strength (the share of the time that it is on) and its own style (how long each of its
//! faults lasts), both evenly over orders of magnitude, and so ranges from few long faults to many short ones. Every
//! fault has an end, and `quiesce` ends the rest: what a run demands at its end is always possible.

use super::choice::{Choices, ms, ms_range, share};
use super::draft::Table;
use super::knobs::Frame;
use super::profile::Family;

/// Strength and usual length in milliseconds, when they are not drawn.
const PLAIN: (f64, f64) = (0.15, 500.0);
/// The most faults of one family in a run.
const FAULTS_MAX: u64 = 8;
/// Attrition lasts so many times as long as one crash does.
const ATTRITION_LASTS: f64 = 3.0;
/// The share of clock faults in which the clock almost stands still.
const CRAWLS: f64 = 0.25;
/// Election timeouts that such a clock crawls at least.
const CRAWL_ELECTIONS_MIN: f64 = 4.0;
/// The most changes of which part of the code is the slowest.
const PRIORITIES_MAX: u64 = 4;

/// The steps of all families of faults that take part.
pub(super) fn steps(frame: &Frame, swarm: bool, choices: &mut Choices) -> Vec<Table> {
    let mut steps = Vec::new();
    for family in &frame.families {
        let make: fn(&Frame, &Fault, &mut Choices) -> Table = match family {
            Family::Cuts => cut,
            Family::Mess => mess,
            Family::Crash => crash,
            Family::Power => power,
            Family::Pause => pause,
            Family::SlowDisk => slow_disk,
            Family::BadDisk => bad_disk,
            Family::Rot => rot,
            Family::Clock => clock,
            Family::Points => at_point,
            Family::Stalls => stall,
            Family::Membership | Family::Transfer | Family::Maintenance | Family::Releases => continue,
        };
        let name = format!("{family:?}");
        let (strength, typical) = if swarm {
            let strength = choices.log(&format!("{name}/strength"), 0.03, 0.7);
            (strength, choices.log(&format!("{name}/typical"), 30.0, 4_000.0))
        } else {
            PLAIN
        };
        let count = (strength * (frame.until_ms - frame.from_ms) / typical).round() as u64;
        for number in 0..count.clamp(1, FAULTS_MAX) {
            let label = format!("{name}/{number}");
            let lasts = typical * choices.log(&format!("{label}/lasts"), 0.4, 2.5);
            let at = frame.moment(&format!("{label}/at"), choices);
            let own = choices.range(&format!("{label}/own"), 1, frame.nodes);
            let crawls = *family == Family::Clock && choices.chance(&format!("{label}/crawl"), CRAWLS);
            let fault = Fault { label, at, lasts, own, crawls };
            steps.push(make(frame, &fault, choices));
            match family {
                Family::Rot => steps.push(restart_in(&fault)),
                Family::Clock => steps.extend(starved(frame, steps.last().expect("just pushed"), &fault, choices)),
                _ => {}
            }
        }
    }
    if swarm && frame.has(Family::Stalls) && choices.chance("priorities", 0.25) {
        steps.extend(priorities(frame, choices));
    }
    if swarm && frame.has(Family::Stalls) && choices.chance("slow-streams", 0.3) {
        steps.push(slow_streams(frame, choices));
    }
    steps
}

/// One fault: its label, when it begins, how long it lasts.
struct Fault {
    label: String,
    at: f64,
    lasts: f64,
    /// A member, for faults of several steps.
    own: u64,
    /// A clock almost stands still.
    crawls: bool,
}

impl Fault {
    fn at(&self, what: &str) -> String {
        format!("{}/{what}", self.label)
    }

    fn step(&self, verb: &str) -> Table {
        Table::new().with("at", ms(self.at)).text("do", verb)
    }
}

/// One member or a few.
fn members(frame: &Frame, label: &str, choices: &mut Choices) -> String {
    if let Some(focus) = frame.attracted(label, choices) {
        return focus.member.clone();
    }
    let own = format!("n{}", choices.range(&format!("{label}/number"), 1, frame.nodes));
    let minority = if frame.nodes > 2 { 1.0 } else { 0.0 };
    let items =
        [("random(1)", 4.0), ("leader", 3.0), ("minority", minority), ("random(follower)", minority), ("", 1.0)];
    match choices.weighted(label, &items) {
        "" => own,
        word => word.to_owned(),
    }
}

fn link(frame: &Frame, label: &str, choices: &mut Choices) -> String {
    if let Some(focus) = frame.attracted(label, choices) {
        let arrow = choices.weighted(&format!("{label}/arrow"), &[("-/-", 3.0), ("->", 1.0)]);
        return format!("{} {arrow} others", focus.member);
    }
    let two = frame.nodes.min(2);
    let links = [
        ("random(1) -/- others".to_owned(), 4.0),
        ("leader -/- others".to_owned(), 3.0),
        ("leader -> others".to_owned(), 1.0),
        ("others -> leader".to_owned(), 1.0),
        (format!("random(1) -> random({two})"), 2.0),
        ("random(1) -> others".to_owned(), 1.0),
        ("minority -/- others".to_owned(), if frame.nodes > 2 { 1.5 } else { 0.0 }),
    ];
    let weights: Vec<(usize, f64)> = links.iter().map(|(_, weight)| *weight).enumerate().collect();
    links[choices.weighted(label, &weights)].0.clone()
}

/// All messages, or only some kinds.
fn kinds(mut step: Table, label: &str, share: f64, choices: &mut Choices) -> Table {
    const KINDS: [&str; 8] = [
        "raft.vote",
        "raft.heartbeat",
        "raft.append",
        "raft.read",
        "raft.propose",
        "raft.snapshot",
        "peer.ask",
        "raft.heartbeat, raft.append",
    ];
    if choices.chance(label, share) {
        step.set("match", format!("\"{}\"", choices.pick(&format!("{label}/kind"), &KINDS)));
    }
    step
}

fn cut(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    if frame.nodes > 2 && choices.chance(&fault.at("swizzle"), 0.1) {
        let gap = ms_range(fault.lasts / 8.0, fault.lasts / 2.0);
        return fault.step("swizzle").with("gap", gap).with("for", ms(fault.lasts));
    }
    let step = fault.step("cut").text("link", link(frame, &fault.at("link"), choices)).with("for", ms(fault.lasts));
    kinds(step, &fault.at("kinds"), 0.25, choices)
}

fn mess(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let link = if choices.chance(&fault.at("everywhere"), 0.3) {
        "all -> all".to_owned()
    } else {
        link(frame, &fault.at("link"), choices)
    };
    let verb = choices.pick(&fault.at("verb"), &["drop", "dup", "reorder", "slow", "slow", "reset"]);
    let step = fault.step(verb).text("link", link);
    let amount = share(choices.log(&fault.at("share"), 0.05, 1.0));
    let late = choices.log(&fault.at("late"), 5.0, 2.0 * frame.election_ms);
    let step = match verb {
        "reset" => return step,
        "slow" => step.with("add", ms_range(late / 3.0, late)),
        "reorder" => step.with("share", amount).with("by", ms_range(late / 3.0, late)),
        _ => step.with("share", amount),
    };
    kinds(step.with("for", ms(fault.lasts)), &fault.at("kinds"), 0.4, choices)
}

fn restart(frame: &Frame, fault: &Fault, kind: &str, all: f64, choices: &mut Choices) -> Table {
    let everybody = frame.nodes > 1 && choices.chance(&fault.at("all"), all);
    let node = if everybody { "all".to_owned() } else { members(frame, &fault.at("node"), choices) };
    let mut step = fault.step("restart").text("node", node).text("kind", kind).with("down", ms_range(5.0, fault.lasts));
    if everybody && choices.chance(&fault.at("stagger"), 0.5) {
        step.set("stagger", ms_range(1.0, fault.lasts / 3.0));
    }
    step
}

/// Down once, or down and up again and again.
fn crash(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    if choices.chance(&fault.at("attrition"), 0.15) {
        let step = fault.step("attrition").text("node", members(frame, &fault.at("node"), choices));
        let step = step.text("kind", choices.pick(&fault.at("kind"), &["kill", "clean", "power_loss"]));
        let gap = ms_range(fault.lasts / 8.0, fault.lasts / 2.0);
        return step.with("gap", gap).with("for", ms(fault.lasts * ATTRITION_LASTS));
    }
    let kind = choices.weighted(&fault.at("kind"), &[("kill", 3.0), ("clean", 1.0)]);
    restart(frame, fault, kind, 0.15, choices)
}

fn power(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    restart(frame, fault, "power_loss", 0.45, choices)
}

fn pause(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    fault.step("pause").text("node", members(frame, &fault.at("node"), choices)).with("for", ms(fault.lasts))
}

fn slow_disk(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let slow = choices.log(&fault.at("fsync"), 10.0, 3.0 * frame.election_ms);
    let node = members(frame, &fault.at("node"), choices);
    fault.step("disk").text("node", node).with("fsync", ms_range(slow / 4.0, slow)).with("for", ms(fault.lasts))
}

fn bad_disk(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let error = choices.weighted(&fault.at("error"), &[("eio", 3.0), ("enospc", 1.0)]);
    let node = members(frame, &fault.at("node"), choices);
    let step = fault.step("disk").text("node", node).text("error", error).with("for", ms(fault.lasts));
    let share = share(choices.log(&fault.at("share"), 0.02, 1.0));
    if error == "eio" { step.with("share", share) } else { step }
}

/// Rot shows at a start, so one follows.
fn rot(_: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let share = share(choices.log(&fault.at("share"), 0.1, 1.0));
    fault.step("disk").text("node", format!("n{}", fault.own)).with("rot", share).with("for", ms(fault.lasts))
}

fn restart_in(fault: &Fault) -> Table {
    let step = Table::new().with("at", ms(fault.at + fault.lasts / 10.0)).text("do", "restart");
    let step = step.text("node", format!("n{}", fault.own)).text("kind", "kill");
    step.with("down", ms_range(5.0, fault.lasts / 3.0))
}

fn clock(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let step = fault.step("clock").text("node", members(frame, &fault.at("node"), choices));
    let back = choices.chance(&fault.at("back"), 0.5);
    if fault.crawls {
        let drift = choices.log(&fault.at("pace"), 0.01, 0.3) - 1.0;
        return step.with("drift", format!("{drift:.4}")).with("for", ms(crawl_ms(frame, fault)));
    }
    if choices.chance(&fault.at("jump"), 0.6) {
        let jump = choices.log(&fault.at("offset"), 10.0, 60_000.0).round();
        return step.with("offset", format!("\"{}{jump}ms\"", if back { "-" } else { "" }));
    }
    let drift = choices.log(&fault.at("drift"), 0.001, 0.1);
    let drift = if back { -drift } else { drift };
    step.with("drift", format!("{drift:.4}")).with("for", ms(fault.lasts))
}

/// A machine whose clock crawls gets hardly any time, and so often no word out either. It cannot know that others have
/// gone on without it.
fn starved(frame: &Frame, clock: &Table, fault: &Fault, choices: &mut Choices) -> Option<Table> {
    let node = clock.get_text("node").filter(|node| !node.starts_with("random") && *node != "minority")?;
    if !fault.crawls || frame.nodes == 1 || !choices.chance(&fault.at("starved"), 0.5) {
        return None;
    }
    let step = Table::new().with("at", ms(fault.at + 1.0)).text("do", "cut").text("link", format!("{node} -/- others"));
    Some(step.with("for", ms(crawl_ms(frame, fault) * choices.log(&fault.at("starved/for"), 0.5, 1.0))))
}

/// Long enough for others to notice.
fn crawl_ms(frame: &Frame, fault: &Fault) -> f64 {
    fault.lasts.max(CRAWL_ELECTIONS_MIN * frame.election_ms)
}

/// One part of the code after another is the slowest of all, everywhere (Burckhardt et al., "A randomized scheduler with
/// probabilistic guarantees of finding bugs", 2010: few changes of priority find most bugs of order).
fn priorities(frame: &Frame, choices: &mut Choices) -> Vec<Table> {
    let changes = choices.range("priorities/changes", 1, PRIORITIES_MAX);
    let mut moments: Vec<f64> = (0..changes).map(|n| frame.moment(&format!("priorities/{n}/at"), choices)).collect();
    moments.sort_by(f64::total_cmp);
    let ends = moments.iter().skip(1).copied().chain([frame.until_ms]).collect::<Vec<f64>>();
    let slowest = |((number, at), end): ((usize, f64), f64)| {
        let label = format!("priorities/{number}");
        let by = choices.log(&format!("{label}/by"), 0.5, frame.election_ms / 8.0);
        let step = Table::new().with("at", ms(at)).text("do", "stall").text("point", part(&label, choices) + ".*");
        step.with("by", ms_range(by / 2.0, by)).with("for", ms(end - at))
    };
    moments.into_iter().enumerate().zip(ends).map(slowest).collect()
}

/// Watch streams are written slowly, everywhere and from beginning to end. It stands in for a transport that is full,
/// which simulated connections never are: without it a watch from the past has caught up before its client asks again.
fn slow_streams(frame: &Frame, choices: &mut Choices) -> Table {
    let by = choices.log("slow-streams/by", 2.0, 40.0);
    let step = Table::new().with("at", ms(frame.from_ms)).text("do", "stall").text("point", "watch.before_delivery");
    let step = step.text("node", "all").with("by", ms_range(by / 4.0, by));
    let often = share(choices.log("slow-streams/share", 0.1, 0.7));
    step.with("share", often).with("for", ms(frame.until_ms - frame.from_ms))
}

/// Everybody, or some, are slow at one point or in one part of the code; often enough it is the same task of a member
/// every time.
fn stall(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let mut point = point(&fault.at("point"), choices).to_owned();
    if choices.chance(&fault.at("part"), 0.3) {
        point = part(&fault.at("point"), choices) + ".*";
    }
    let by = choices.log(&fault.at("by"), 1.0, 3.0 * frame.election_ms);
    let node =
        if choices.chance(&fault.at("all"), 0.4) { "all".into() } else { members(frame, &fault.at("node"), choices) };
    let step = fault.step("stall").text("point", point).text("node", node).with("by", ms_range(by / 4.0, by));
    step.with("share", share(choices.log(&fault.at("share"), 0.05, 1.0))).with("for", ms(fault.lasts))
}

/// A point; all parts of the code are equally likely, however many points they have.
fn point(label: &str, choices: &mut Choices) -> &'static str {
    let chosen = part(label, choices);
    let inside: Vec<&str> =
        evenkeel::points::POINTS.iter().map(|(name, _)| *name).filter(|name| part_of(name) == chosen).collect();
    choices.pick(label, &inside)
}

/// A part of the code that has points.
fn part(label: &str, choices: &mut Choices) -> String {
    let mut parts: Vec<&str> = evenkeel::points::POINTS.iter().map(|(name, _)| part_of(name)).collect();
    parts.dedup();
    choices.pick(&format!("{label}/part"), &parts).to_owned()
}

fn part_of(point: &str) -> &str {
    point.split('.').next().unwrap_or(point)
}

/// A fault in the moment in which a member stands at a named point.
fn at_point(frame: &Frame, fault: &Fault, choices: &mut Choices) -> Table {
    let point = point(&fault.at("point"), choices);
    let on = choices.weighted(&fault.at("on"), &[("", 3.0), (" on leader", 2.0), (" on followers", 1.0)]);
    let on = if frame.nodes == 1 { "" } else { on };
    let step =
        Table::new().text("when", format!("fp({point}){on}")).with("nth", choices.log_whole(&fault.at("nth"), 1, 150));
    match choices.weighted(&fault.at("do"), &[("power_loss", 4.0), ("kill", 2.0), ("pause", 2.0), ("cut", 1.0)]) {
        "pause" => step.text("do", "pause").text("node", "self").with("for", ms(fault.lasts)),
        "cut" if frame.nodes > 1 => step.text("do", "cut").text("link", "self -/- others").with("for", ms(fault.lasts)),
        "cut" => step.text("do", "pause").text("node", "self").with("for", ms(fault.lasts)),
        kind => {
            let step = step.text("do", "restart").text("node", "self").text("kind", kind);
            step.with("down", ms_range(5.0, fault.lasts))
        }
    }
}
