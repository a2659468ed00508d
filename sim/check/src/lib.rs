//! Oracles: what a run of the cluster must never show, checked while it goes on.
//!
//! The simulator reports everything that happens as [`Observation`]s, in the order of simulated time; [`Oracles`]
//! answers with [`Violation`]s. Clients' operations are judged by their answers alone ([`linearizable`], [`watch`],
//! [`lease`], [`availability`], [`headers`], [`hash_kv`]); members are judged by what they do inside ([`raft`], [`state_hash`], [`ledger`]).
//! The second kind is the *white box*; it can be switched off, and then only what a client can see counts.
//!
//! Everything here is pure: no clock, no chance, no I/O, no hashing with random state. Equal observations give equal
//! verdicts. Memory grows with the length of the run (every version of every key is kept, about 200 bytes per write);
//! nothing else does.
//!
//! | Module | Promise it guards |
//! |---|---|
//! | [`linearizable`] | strict serializability in the order the revisions give |
//! | [`watch`] | ordered, unique, atomic, reliable, resumable, bookmarkable, and live |
//! | [`lease`] | neither early nor late, keys go with it |
//! | [`raft`] | one leader per term, log matching, committed stays committed |
//! | [`state_hash`] | equal state at equal applied index |
//! | [`headers`] | a member signs with its own id, and its term never goes back |
//! | [`hash_kv`] | equal HashKV of equal histories |
//! | [`ledger`] | a promise is sent only after its bytes are durable |
//! | [`availability`] | a healed majority serves again, soon |
//! | [`configurations`] | (who votes, for the others) |
//! | [`wgl`] | a general search that cross-checks [`linearizable`] in tests |

pub mod availability;
pub mod configurations;
pub mod hash_kv;
pub mod headers;
pub mod history;
pub mod ids;
pub mod lease;
pub mod ledger;
pub mod linearizable;
pub mod model;
pub mod observation;
pub mod raft;
pub mod state_hash;
pub mod suite;
mod tail;
pub mod violation;
pub mod watch;
pub mod wgl;

pub use ids::*;
pub use observation::Observation;
pub use suite::{Config, Finish, Oracles, Report};
pub use violation::{Related, Verdict, Violation};
