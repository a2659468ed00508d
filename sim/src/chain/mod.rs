//! The event log of a run, folded into a 128-bit hash chain.
//!
//! Everything that happens in a run is an event: a moment, a kind, a few named values. Two runs are the same run if
//! and only if their chains are equal; a checkpoint every 1,024 events says where they parted, and [`Marks`], which a repro file carries, say it to some events. The last events are
//! kept for failure reports, a chosen window of events is kept as text, and all of them can go to a trace file, one
//! JSON object per line. With all of that off an event costs its encoding and a few multiplications.
//!
//! A line of the trace: `{"n":17,"at_ns":1500000,"event":"send","from":1,…}`, `n` counting from 0, then the values of
//! that kind of event by name. A traced event may carry `"detail":{…}`, what a reader wants to know and the hash does
//! not need; and between events stand asides, `{"n":17,"at_ns":1500000,"aside":"committed","detail":{…}}`, which are no
//! events: whether there is a trace or not, the chain is the same.
//!
//! The hash depends on values only, never on names of fields, addresses or the machine's byte order.

mod hash;
mod marks;
mod recorder;
mod value;

pub use hash::{Chain, Hash128};
pub use marks::Marks;
pub use recorder::{CHECKPOINT_EVENTS, ChainSummary, Recorder, RecorderOptions, Window, moment};
pub use value::{Field, Value};
