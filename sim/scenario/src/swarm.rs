//! `[swarm]`: the fault families a generator may add around the script. Without the section: exactly the script.

use crate::field::{Plain, Share, Word, plain_fields, quote, words};
use crate::read::Cx;
use crate::section::section;
use crate::tree::Node;
use serde_json::{Value, json};

words! {
    /// Faults that belong together.
    pub enum FaultFamily, "fault family" {
        /// Cuts, delays, losses.
        Network = "network",
        /// Kills and clean restarts.
        Crash = "crash",
        /// Power losses.
        Power = "power",
        /// Stalls.
        Pause = "pause",
        /// Slow and failing disks.
        Disk = "disk",
        /// Jumps and drifts.
        Clock = "clock",
        /// Changes of the membership and of leadership.
        Membership = "membership",
        /// Compactions and defragmentations.
        Maintenance = "maintenance",
    }
}

/// Fault families, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Families(pub Vec<FaultFamily>);

impl Plain for Families {
    const KIND: &'static str = "a list of fault families";
    fn plain_schema() -> Value {
        let family = json!({ "enum": FaultFamily::ALL.iter().map(|(name, _)| name).collect::<Vec<_>>() });
        json!({ "anyOf": [family, { "type": "array", "items": family }] })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Families> {
        let mut families = Vec::new();
        for (text, node) in cx.texts(node, Self::KIND)? {
            match FaultFamily::find(text) {
                Ok(family) => families.push(family),
                Err(message) => cx.problem(node.span.clone(), message),
            }
        }
        families.sort_unstable();
        families.dedup();
        Some(Families(families))
    }
    fn toml_plain(&self) -> Option<String> {
        Some(format!("[{}]", self.0.iter().map(|family| quote(family.name())).collect::<Vec<_>>().join(", ")))
    }
}

plain_fields!(Families);

section! {
    /// What the generator may add.
    SwarmSpec => Swarm, "[swarm]" {
        /// The families; each is on or off per seed.
        faults: Families = Some(Families(FaultFamily::ALL.iter().map(|(_, family)| *family).collect())),
        /// How strong: 0 is hardly anything, 1 is all the time.
        strength: Share = Some(Share(0.5)),
        /// Whether settings of the cluster are varied too.
        knobs: bool = Some(false),
        /// Share of seeds with a calm workload.
        calm: Share = Some(Share(0.33)),
    }
}
