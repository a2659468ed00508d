//! Steps that are bundles of drawn faults: members cut off one by one, members restarted again and again.

use std::sync::Arc;

use evenkeel_scenario::verb::{Attrition, Boot, Restart, Swizzle};
use evenkeel_scenario::{Nanos, Selector, Spread};

use super::steps::Stage;
use crate::net::{Effect, Kinds, Rule, RuleId};

/// A member taken down by attrition stays away for so long.
const DOWN: Spread<Nanos> = Spread { low: Nanos::from_millis(10), high: Nanos::from_secs(1) };

impl Stage {
    fn gap(&self, id: &str, gap: &Spread<Nanos>) -> std::time::Duration {
        self.draws.with(|d| gap.draw(d, &format!("step/{id}/gap"))).to_std()
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

    /// Restarts drawn members until its time is over.
    pub(super) async fn attrition(self: &Arc<Self>, step: &Attrition, id: &str) {
        let until = self.feed.now() + step.hold.to_std();
        loop {
            self.feed.time().sleep(self.gap(id, &step.gap)).await;
            if until <= self.feed.now() || self.is_calm() {
                return;
            }
            let Some(number) = self.members(&step.node, id, &[]).first().copied() else { continue };
            let node = Selector::Node(number);
            let stagger = Spread::fixed(Nanos::ZERO);
            let restart = Restart { node, kind: step.kind, down: DOWN, stagger, boot: Boot::Same };
            self.restart(&restart, id).await;
        }
    }
}
