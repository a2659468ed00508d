//! Exploration: runs that nobody wrote.
//!
//! A seed becomes a plain scenario ([`generate()`]): text that `lint` accepts, that a person can read, and that every
//! other tool (shrinking, replaying, reporting) takes like any file. Nothing is random outside the labelled decisions
//! of that seed, so the same profile and seed always give the same text.
//!
//! The generator is a swarm: each family of faults, each operation and each setting takes part in a seed or not, since
//! leaving things out finds more than doing everything at once. What it draws stays inside limits that keep a run
//! recoverable: disks of a majority are never lost, every fault ends, and each run closes with a calm phase in which
//! the cluster must work.
//!
//! - [`mod@draft`]: a scenario as tables of keys, before it is text; what mutators change.
//! - [`choice`]: draws with the distributions of exploration.
//! - [`profile`]: which families and sizes a campaign prefers.
//! - [`corpus`]: what a search has seen, and scenarios made of those that saw something new.
//! - [`guide`]: a search that makes every second run so, the same however many run at once.
//! - [`result`]: what a campaign keeps of its runs, and how campaigns merge.
//! - [`repeats`]: whether a seed that was run twice was the same run.
//! - `knobs`, `load`, `faults`, `operations`: the parts of a scenario.

pub mod choice;
pub mod corpus;
pub mod draft;
mod faults;
pub mod generate;
pub mod guide;
mod knobs;
mod load;
mod operations;
pub mod profile;
pub mod repeats;
pub mod result;

pub use corpus::Corpus;
pub use draft::{Draft, Table};
pub use generate::{draft, generate};
pub use guide::{Guide, Guided};
pub use profile::Profile;
pub use result::{Line, Summary};
