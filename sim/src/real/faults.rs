//! Steps that only a simulated world can play: [`super::able`] has left them out.

use evenkeel_scenario::verb::Action;

use crate::net::RuleId;
use crate::world::steps::Stage;

impl Stage {
    /// Never asked for.
    pub(crate) async fn fault(&self, action: &Action, id: &str) {
        unreachable!("step {id}: nothing here can {}", action.verb());
    }

    /// There are none.
    pub(crate) fn heal_all(&self, _: Vec<RuleId>) {}
}
