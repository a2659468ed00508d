//! The clock of a run, and alarms on it: simulated time under `--cfg madsim`, the machine's own otherwise.

#[cfg(not(madsim))]
mod actual;
#[cfg(madsim)]
mod simulated;

#[cfg(not(madsim))]
pub use actual::{Alarm, Time};
#[cfg(madsim)]
pub use simulated::{Alarm, SimTime, SimTime as Time};
