//! Failures that are kept: as small as they get, readable, replayable.
//!
//! - [`file`](mod@file): the repro file, all that one failing run depends on.
//! - [`signature`]: when two failures are the same one.
//! - [`events`], [`story`](mod@story): what happened, from the event log, and in sentences.

pub mod events;
pub mod file;
pub mod signature;
pub mod story;

pub use events::Event;
pub use file::Repro;
pub use signature::Signature;
pub use story::story;
