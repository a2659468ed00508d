//! Failures that are kept: as small as they get, readable, replayable.
//!
//! - [`file`](mod@file): the repro file, all that one failing run depends on; [`schema`]: the same for editors.
//! - [`signature`]: when two failures are the same one.
//! - [`attempt`]: a run of a text, a seed and overrides, in a process of its own; [`replay`]: is it still the same?
//! - [`concrete`]: from a run that happened to a scenario that says exactly that; [`shrink`]: to the smallest such.
//! - [`events`], [`story`](mod@story): what happened, from the event log, and in sentences; [`deed`]: the script's part.

pub mod attempt;
pub mod concrete;
pub mod deed;
pub mod events;
pub mod file;
pub mod replay;
pub mod schema;
pub mod shrink;
pub mod signature;
pub mod story;

pub use attempt::Attempt;
pub use events::Event;
pub use file::Repro;
pub use signature::Signature;
pub use story::story;
