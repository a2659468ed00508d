//! Steps that are an operator's work. Their limits keep a run recoverable: at most one member in a run loses its disk
//! (by being replaced), only where the others are a majority without it, and not where members also leave.

use super::choice::{Choices, ms, ms_range};
use super::draft::Table;
use super::knobs::Frame;
use super::profile::Family;

/// The largest cluster that members are added to.
const GROWS_BELOW: u64 = 7;
/// The most hand-overs, and the most compactions by an operator.
const REPEATS_MAX: u64 = 6;

/// The steps of the families that operate the cluster.
pub(super) fn steps(frame: &Frame, choices: &mut Choices) -> Vec<Table> {
    let mut steps = Vec::new();
    if frame.has(Family::Membership) {
        membership(frame, choices, &mut steps);
    }
    if frame.has(Family::Transfer) {
        for number in 0..choices.range("transfer/count", 1, REPEATS_MAX) {
            let step = moment(frame, &format!("transfer/{number}"), choices).text("do", "transfer");
            steps.push(if choices.chance("transfer/follower", 0.7) { step } else { step.text("to", "random(1)") });
        }
    }
    if frame.has(Family::Maintenance) {
        for number in 0..choices.range("maintenance/count", 1, REPEATS_MAX) {
            let label = format!("maintenance/{number}");
            let step = moment(frame, &label, choices);
            steps.push(if choices.chance(&format!("{label}/defrag"), 0.25) {
                step.text("do", "defrag").text("node", choices.pick(&format!("{label}/node"), &["all", "random(1)"]))
            } else {
                let keep = choices.weighted(&format!("{label}/keep"), &[(0, 3.0), (1, 1.0), (5, 1.0), (30, 1.0)]);
                step.text("do", "compact").with("keep", keep)
            });
        }
    }
    if frame.has(Family::Releases) {
        releases(frame, choices, &mut steps);
    }
    steps
}

fn moment(frame: &Frame, label: &str, choices: &mut Choices) -> Table {
    Table::new().with("at", ms(frame.moment(&format!("{label}/at"), choices)))
}

fn member(frame: &Frame, label: &str, change: &str, choices: &mut Choices) -> Table {
    moment(frame, label, choices).text("do", "member").text("change", change)
}

fn membership(frame: &Frame, choices: &mut Choices, steps: &mut Vec<Table>) {
    let first = steps.len();
    // Who joins must know the addresses of all, and machines are told those that the members had at first.
    let moves = choices.chance("member/update", 0.2);
    if moves {
        let who = choices.pick("member/update/node", &["random(1)", "leader"]);
        steps.push(member(frame, "member/update", "update", choices).text("node", who));
    }
    let grows = frame.nodes < GROWS_BELOW && !moves;
    if grows && choices.chance("member/learner", 0.6) {
        let learner = member(frame, "member/learner", "add-learner", choices).text("id", "learns");
        steps.push(learner);
        if choices.chance("member/promote", 0.8) {
            let delay = choices.log("member/promote/delay", 20.0, 3_000.0);
            let step = Table::new().text("after", "learns").with("delay", ms_range(delay / 2.0, delay));
            let step = step.text("do", "member").text("change", "promote");
            steps.push(step.text("node", format!("n{}", frame.nodes + 1)));
        }
    }
    if grows && choices.chance("member/add", 0.4) {
        steps.push(member(frame, "member/add", "add", choices));
    }
    // Members that leave and disks that are lost together could leave no majority with what was promised.
    let leaves = frame.nodes >= 3 && choices.chance("member/leaves", 0.5);
    if leaves {
        for number in 0..choices.range("member/remove/count", 1, (frame.nodes - 1) / 2) {
            let label = format!("member/remove/{number}");
            let who = choices.pick(&format!("{label}/node"), &["random(1)", "leader"]);
            let step = member(frame, &label, "remove", choices).text("node", who);
            if number == 0 && grows && choices.chance("member/return", 0.5) {
                // Another takes its place.
                let delay = choices.log("member/return/delay", 20.0, 3_000.0);
                let back = Table::new().text("after", "leaves").with("delay", ms_range(delay / 2.0, delay));
                steps.extend([step.text("id", "leaves"), back.text("do", "member").text("change", "add")]);
            } else {
                steps.push(step);
            }
        }
    } else if frame.nodes >= 3 && !moves && choices.chance("member/replace", 0.6) {
        let who = choices.pick("member/replace/node", &["random(1)", "leader", "random(follower)"]);
        steps.push(member(frame, "member/replace", "replace", choices).text("node", who));
    }
    if steps.len() == first {
        steps.push(moment(frame, "member/transfer", choices).text("do", "transfer"));
    }
}

/// Up, and sometimes a downgrade that is begun, or begun and cancelled. A roll takes as long as it takes: the calm phase
/// waits for it.
fn releases(frame: &Frame, choices: &mut Choices, steps: &mut Vec<Table>) {
    let order = choices.pick("roll/order", &["followers-then-leader", "leader-first", "by-number", "random"]);
    let wait = choices.weighted("roll/wait", &[("healthy", 2.0), ("none", 1.0)]);
    let up = Table::new().text("id", "up").with("at", ms(frame.moment("roll/at", choices) / 2.0));
    steps.push(up.text("do", "roll").text("to", "3.7").text("order", order).text("wait", wait));
    if choices.chance("roll/down", 0.4) {
        let delay = choices.log("roll/down/delay", 100.0, 4_000.0);
        let begins = Table::new().text("id", "down").text("after", "up").with("delay", ms(delay));
        steps.push(begins.text("do", "downgrade").text("action", "enable").text("to", "3.6"));
        if choices.chance("roll/cancel", 0.7) {
            let cancel = Table::new().text("after", "down").with("delay", ms_range(10.0, delay));
            steps.push(cancel.text("do", "downgrade").text("action", "cancel"));
        }
    }
}
