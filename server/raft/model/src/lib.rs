//! Small-scope model checking of the core that ships.
//!
//! Not a model *of* Raft: each member of a [`World`](world::World) is an [`evenkeel_raft::Raft`], the very code the
//! server runs, with a disk and a network that do the worst that the caller's contract allows. [`explore`] looks at
//! every state that a [`Scope`](scope::Scope) permits (so many members, campaigns, proposals, crashes, …), breadth
//! first, and compares each with the claims in [`history`]. Nearly all bugs of consensus show in a handful of members
//! and faults; random schedules (`tests/properties.rs` of the core) cover what is larger.
//!
//! # Why an explorer of our own
//!
//! `stateright` does the same, but wants states that are compared and hashed as a whole, 64 bits at a time. Here a step
//! changes one member of three, and the others are shared between states together with their fingerprints; the
//! network's fingerprint is a sum over links; and what differs in nothing that matters (numbers of writes, chance,
//! answers of terms that are over) is taken out before. That makes a step cost a clone and a hash of one member, and
//! this crate has no dependency. What `stateright` has and this has not: liveness over cycles (see [`recover`] for what
//! is tried instead), a web view, several threads (scopes run side by side).
//!
//! # What is reduced, and why that is sound
//!
//! - *Loss is free and never a step*: a delivery may leave out what came before it on its link.
//! - *Nobody is down*: a member to which nothing is delivered is as good as down, so crash and start are one step.
//! - *The first candidate is n1, the first other to do anything is n2*: until then they are alike. Symmetry is not used
//!   beyond that: names stand in ordered sets, so states would have to be renamed in every container of the core.
//! - *A step that changes nothing is not taken*: the same state with more left to happen is there already.
//! - *Time is events*: a follower's patience ends, its lease ends, a leader's clock ticks; nothing else counts ticks.
//!
//! # What is outside
//!
//! Several inputs before one `take_ready`, and `Applied` that lags behind what was delivered. `tests/properties.rs` of
//! the core does both to a single member, with inputs at random, and claims no more than that nothing panics and nothing
//! is delivered twice; its clusters take what is owed after each input and apply at once, as the worlds here do. Members
//! whose state machines lag, among others that do not, are the simulator's: there an apply task and a disk of their own
//! make them lag. In the core the applied index decides how far the log may be cut (`Compact`), and nothing else.

pub mod explore;
pub mod hash;
pub mod history;
pub mod member;
pub mod network;
pub mod recover;
pub mod scope;
pub mod scopes;
pub mod show;
pub mod world;
