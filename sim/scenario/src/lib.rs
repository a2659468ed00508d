//! The scenario language: stories about a cluster as TOML files, read, checked, and resolved to single runs.
//!
//! Promise: a file that `Scenario::parse` accepts can be resolved for every cell and seed without an error, and what
//! it refuses it refuses with file, line, column and the nearest valid name. Resolving draws every range and choice
//! from labelled decisions, so that a seed means the same in every cell; the printed result is a valid scenario of
//! one run. Expressions are checked against a registry of probes and events and evaluated through the trait
//! `Probes`, which the simulator implements.
//!
//! The way of a file: text → `tree` → (`read`, `field`, `section`: types and keys) → `Scenario` → `resolve` →
//! `Resolved` → the simulator, which asks `Monitor`s about each moment and `campaign` about all runs.
//!
//! Deliberately absent: a runtime, a clock, randomness, files. Whoever calls brings the text and the seed.

pub mod campaign;
pub mod client;
pub mod cluster;
pub mod decision;
pub mod defaults;
pub mod expect;
pub mod expr;
mod field;
pub mod matrix;
pub mod monitor;
pub mod ops;
mod problem;
mod read;
pub mod reference;
pub mod registry;
mod resolve;
mod scalar;
mod scenario;
pub mod schema;
mod section;
mod select;
pub mod stats;
pub mod step;
pub mod swarm;
mod time;
mod tree;
mod value;
pub mod verb;

pub use campaign::{Judgement, RunSummary, judge};
pub use client::{Client, KeyShape, Mix, Operation};
pub use cluster::{Cluster, Plant, Planted, Release};
pub use decision::{Decisions, Label};
pub use defaults::WHITE_BOX;
pub use expect::{Expect, ExpectKind};
pub use expr::eval::{EvalError, Occurrence, Probes};
pub use expr::{Event, EventFilter, Expr, ProbeCall, Window};
pub use field::{Bytes, Scalar, Setting, Share, Spread, Word, quote};
pub use matrix::{Cell, ParamValue};
pub use monitor::{Monitor, Outcome, Violation, Watch};
pub use problem::{Problem, nearest};
pub use resolve::{Resolved, RunLength};
pub use scenario::{Scenario, Seeds};
pub use section::KeyDoc;
pub use select::{Link, MessageKind, Messages, Selector};
pub use step::{Repeat, Step, Trigger};
pub use swarm::{FaultFamily, Swarm};
pub use time::Nanos;
pub use value::Value;
pub use verb::Action;
