//! Steps that only a simulated world can play: links, disks and clocks that fail.

use std::time::Duration;

use evenkeel_scenario::verb::{Action, DiskError, Stall, Swizzle};
use evenkeel_scenario::{Link, Messages, Selector, Word};
use serde_json::json;

use super::steps::Stage;
use crate::disk::Crash;
use crate::net::{Effect, Kinds, Rule, RuleId};

/// Clocks that drift by more than this share are a fault, of which everything else has to be recovered first.
const DRIFT_BORNE: f64 = 0.2;

impl Stage {
    /// Plays one of them.
    pub(crate) async fn fault(&self, action: &Action, id: &str) {
        let hold = action.hold().map(|hold| hold.to_std());
        match action {
            Action::Cut(cut) => self.network(&cut.link, cut.matching.as_ref(), Effect::Cut, hold, id).await,
            Action::Slow(slow) => {
                let effect = Effect::Slow(slow.add.low.to_std()..slow.add.high.to_std());
                self.network(&slow.link, slow.matching.as_ref(), effect, hold, id).await;
            }
            Action::Drop(drop) => {
                let effect = Effect::Drop(drop.share.0);
                self.network(&drop.link, drop.matching.as_ref(), effect, hold, id).await;
            }
            Action::Dup(dup) => {
                let effect = Effect::Duplicate(dup.share.0);
                self.network(&dup.link, dup.matching.as_ref(), effect, hold, id).await;
            }
            Action::Reorder(reorder) => {
                let effect = Effect::Reorder(reorder.share.0, reorder.by.low.to_std()..reorder.by.high.to_std());
                self.network(&reorder.link, reorder.matching.as_ref(), effect, hold, id).await;
            }
            Action::Reset(reset) => {
                for (from, to) in self.links(&reset.link, id) {
                    let (from, to) = (self.cluster.station(from), self.cluster.station(to));
                    self.cluster.net.break_connection(from, to);
                    if reset.refused {
                        self.cluster.net.refuse_connection(from, to);
                    }
                }
            }
            Action::DiskStep(disk) => self.disk(disk, hold, id).await,
            Action::ClockStep(clock) => {
                let members = self.members(&clock.node, id, &[]);
                let is_trouble = clock.drift.is_some_and(|drift| DRIFT_BORNE < drift.abs());
                if is_trouble {
                    self.trouble();
                }
                for number in &members {
                    let machine = self.cluster.machine(*number);
                    let told =
                        || json!({"node": number, "offset_ns": clock.offset.map(|by| by.0), "drift": clock.drift});
                    self.feed.aside("clock", told);
                    if let Some(offset) = clock.offset {
                        machine.clock.jump(offset.0);
                    }
                    if let Some(drift) = clock.drift {
                        machine.clock.set_drift((drift * 1e6) as i32);
                    }
                }
                if let (Some(hold), Some(_)) = (hold, clock.drift) {
                    self.feed.time().sleep(hold).await;
                    for number in &members {
                        self.cluster.machine(*number).clock.set_drift(0);
                        self.feed.aside("clock", || json!({"node": number, "drift": 0.0}));
                    }
                    if is_trouble {
                        self.relief();
                    }
                }
            }
            Action::Stall(stall) => self.stall(stall, hold, id).await,
            Action::Swizzle(step) => self.swizzle(step, id).await,
            other => unreachable!("{} is played elsewhere", other.verb()),
        }
    }

    /// Holds members up at a point until its time is over.
    async fn stall(&self, step: &Stall, hold: Option<Duration>, id: &str) {
        let members = self.members(&step.node, id, &[]);
        let (share, by) = (self.draws.label(&format!("step/{id}/stalls")), self.draws.label(&format!("step/{id}/by")));
        let (draws, wanted, range) = (self.draws.clone(), step.share.0, step.by.low.to_std()..step.by.high.to_std());
        let wait =
            move |node| (members.contains(&node) && draws.chance(share, wanted)).then(|| draws.within(by, &range));
        self.trouble();
        let stall = self.feed.points().stall(&step.point.0, Box::new(wait));
        let Some(hold) = hold else { return };
        self.feed.time().sleep(hold).await;
        if self.is_calm() {
            return;
        }
        self.feed.points().end(stall);
        self.relief();
        self.feed.happened("heal", None);
    }

    /// Ends the faults of links, disks and clocks.
    pub(crate) fn heal_all(&self, rules: Vec<RuleId>) {
        self.feed.points().release();
        for rule in rules {
            self.cluster.net.remove_rule(rule);
        }
        for machine in &self.cluster.machines {
            machine.disk.set_faults(|faults| *faults = Default::default());
            self.feed.aside("disk_relief", || json!({"node": machine.number}));
            machine.clock.set_drift(0);
        }
    }

    fn links(&self, link: &Link, label: &str) -> Vec<(u64, u64)> {
        let (from, to) = if link.from == Selector::Others {
            let to = self.members(&link.to, label, &[]);
            (self.members(&link.from, label, &to), to)
        } else {
            let from = self.members(&link.from, label, &[]);
            let to = self.members(&link.to, label, &from);
            (from, to)
        };
        let mut links = Vec::new();
        for a in &from {
            for b in to.iter().filter(|b| *b != a) {
                links.push((*a, *b));
                if link.both {
                    links.push((*b, *a));
                }
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }

    /// Begins a trouble on a link and ends it after `hold`.
    async fn network(
        &self,
        link: &Link,
        matching: Option<&Messages>,
        effect: Effect,
        hold: Option<Duration>,
        label: &str,
    ) {
        let kinds = match matching {
            None => Kinds::ALL,
            Some(Messages(kinds)) => {
                let names = kinds.iter().map(|kind| kind.name()).filter(|name| *name != "client");
                Kinds::named(names).expect("the language and the network know the same kinds")
            }
        };
        let rules: Vec<RuleId> = self
            .links(link, label)
            .into_iter()
            .map(|(from, to)| {
                let (from, to) = (self.cluster.station(from), self.cluster.station(to));
                self.cluster.net.add_rule(Rule { from, to, kinds, effect: effect.clone() })
            })
            .collect();
        self.trouble();
        self.remember(&rules);
        if let Some(hold) = hold {
            self.feed.time().sleep(hold).await;
            if self.is_calm() {
                return;
            }
            for rule in rules {
                self.cluster.net.remove_rule(rule);
            }
            self.relief();
            self.feed.happened("heal", None);
        }
    }

    async fn disk(&self, step: &evenkeel_scenario::verb::DiskStep, hold: Option<Duration>, id: &str) {
        let members = self.members(&step.node, id, &[]);
        self.trouble();
        {
            let mut power = self.power.lock().expect("one thread");
            power.torn = step.torn.unwrap_or(power.torn);
            power.lose_unsynced = step.lose_unsynced.unwrap_or(power.lose_unsynced);
        }
        for number in &members {
            let machine = self.cluster.machine(*number);
            let mut told = String::new();
            machine.disk.set_faults(|faults| {
                if let Some(fsync) = &step.fsync {
                    faults.slow_sync = Some(fsync.low.to_std()..fsync.high.to_std());
                }
                if let Some(share) = step.rot {
                    faults.rot = share.0;
                }
                match step.error {
                    Some(DiskError::Eio) => (faults.write_error, faults.sync_error) = (step.share.0, step.share.0),
                    Some(DiskError::Enospc) => faults.full = true,
                    None => {}
                }
                told = faults.to_string();
            });
            self.feed.aside("disk_trouble", || json!({"node": number, "what": told}));
            if step.wiped == Some(true) {
                self.cluster.kill(*number, Crash::Kill);
                machine.disk.wipe();
                self.cluster.start(*number);
            }
        }
        if let Some(hold) = hold {
            self.feed.time().sleep(hold).await;
            if self.is_calm() {
                return;
            }
            for number in &members {
                let machine = self.cluster.machine(*number);
                machine.disk.set_faults(|faults| *faults = Default::default());
                self.feed.aside("disk_relief", || json!({"node": number}));
                if machine.is_meant_to_run() && !machine.is_up() {
                    self.cluster.kill(*number, Crash::Kill);
                    self.cluster.start(*number);
                }
            }
            self.relief();
            self.feed.happened("heal", None);
        }
    }

    fn shuffled(&self, mut from: Vec<u64>, label: &str) -> Vec<u64> {
        let label = self.draws.label(label);
        let mut order = Vec::with_capacity(from.len());
        while !from.is_empty() {
            order.push(from.remove(self.draws.below(label, from.len() as u64) as usize));
        }
        order
    }

    /// Cuts members off one by one, and lets them back one by one in another order.
    pub(super) async fn swizzle(&self, step: &Swizzle, id: &str) {
        let members = self.members(&step.node, id, &[]);
        self.trouble();
        let mut cuts: Vec<(u64, Vec<RuleId>)> = Vec::new();
        for (place, number) in self.shuffled(members.clone(), &format!("step/{id}/out")).into_iter().enumerate() {
            if place > 0 {
                self.feed.time().sleep(self.gap(id, &step.gap)).await;
            }
            if self.is_calm() {
                return;
            }
            let me = self.cluster.station(number);
            let others =
                self.cluster.numbers().filter(|other| *other != number).map(|other| self.cluster.station(other));
            let both = others.flat_map(|other| [(me, other), (other, me)]);
            let cut = |(from, to)| self.cluster.net.add_rule(Rule { from, to, kinds: Kinds::ALL, effect: Effect::Cut });
            let rules: Vec<RuleId> = both.map(cut).collect();
            self.remember(&rules);
            cuts.push((number, rules));
        }
        let Some(hold) = step.hold else { return };
        self.feed.time().sleep(hold.to_std()).await;
        for number in self.shuffled(members, &format!("step/{id}/back")) {
            if self.is_calm() {
                return;
            }
            for (_, rules) in cuts.iter().filter(|(cut, _)| *cut == number) {
                rules.iter().for_each(|rule| _ = self.cluster.net.remove_rule(*rule));
            }
            self.feed.time().sleep(self.gap(id, &step.gap)).await;
        }
        self.relief();
        self.feed.happened("heal", None);
    }
}
