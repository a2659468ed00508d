//! What became of the messages.

use evenkeel::env::MessageKind;
use serde::{Deserialize, Serialize};

use super::rule::KINDS;

/// Counts of one kind of message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCounters {
    /// Handed to the network.
    pub sent: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// Taken by their receiver, copies included.
    pub delivered: u64,
    /// Lost by chance or cut off.
    pub lost: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// For a member that was not running, or no longer.
    pub dead: u64,
    /// Dropped because a queue or an inbox was full.
    pub full: u64,
}

/// Counts of every kind of message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([KindCounters; KINDS.len()]);

impl Counters {
    /// The counts of one kind.
    pub fn of(&self, kind: MessageKind) -> &KindCounters {
        &self.0[kind as usize]
    }

    pub(super) fn of_mut(&mut self, kind: MessageKind) -> &mut KindCounters {
        &mut self.0[kind as usize]
    }

    /// Every kind's name and counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &KindCounters)> {
        KINDS.into_iter().map(|kind| (kind.name(), self.of(kind)))
    }
}
