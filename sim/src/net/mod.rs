//! The simulated network between members: one switchboard, one fate per message.
//!
//! The fate of a message is decided when it is sent: how long it takes, whether it is lost, repeated, or overtaken.
//! Each choice is a labelled decision of its directed link and kind (`net/n1>n3/raft.append`), so a fault on one link
//! leaves the others alone. Messages of one link and lane arrive in order unless a rule reorders them; heartbeats and
//! votes do not queue behind entries, entries not behind snapshots. Messages to or from a process that died in the
//! meantime vanish.
//!
//! - [`Rule`]: what is wrong with a link, switched while the run goes on.
//! - [`Switchboard`]: links, fates, and what is under way. Pure: it is told the time.
//! - `SimNet`: the switchboard behind the server's `Network` seam (simulator flavour only).
//!
//! Absent: connections. A healed link works at once; a broken one reports itself only as [`Switchboard::send`]
//! describes.

mod counters;
mod link;
mod rule;
#[cfg(madsim)]
mod sim_net;
mod switchboard;
#[cfg(test)]
mod tests;

pub use counters::{Counters, KindCounters};
pub use rule::{Effect, Kinds, Quality, Rule, RuleId};
#[cfg(madsim)]
pub use sim_net::{NetEvent, SimNet};
pub use switchboard::{Arrival, End, Fate, Life, Switchboard};
