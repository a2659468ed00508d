//! A member's clocks: too fast or too slow by a rate, and a wall clock that jumps.
//!
//! The rate bends both clocks and every sleep, the way a wrong oscillator does. The monotonic clock never goes back
//! and never jumps. Clocks belong to the machine: they go on while its process is dead or paused.

mod reading;
#[cfg(madsim)]
mod sim_clock;

pub use reading::Reading;
#[cfg(madsim)]
pub use sim_clock::SimClock;
