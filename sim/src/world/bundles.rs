//! A step that is a bundle of drawn faults: members restarted again and again.

use std::sync::Arc;

use evenkeel_scenario::verb::{Attrition, Boot, Restart};
use evenkeel_scenario::{Nanos, Selector, Spread};

use super::steps::Stage;

/// A member taken down by attrition stays away for so long.
const DOWN: Spread<Nanos> = Spread { low: Nanos::from_millis(10), high: Nanos::from_secs(1) };

impl Stage {
    pub(super) fn gap(&self, id: &str, gap: &Spread<Nanos>) -> std::time::Duration {
        self.draws.with(|d| gap.draw(d, &format!("step/{id}/gap"))).to_std()
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
