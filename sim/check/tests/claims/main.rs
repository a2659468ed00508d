//! Claims about the oracles: right histories pass, wrong ones are caught.

mod availability;
mod bench;
mod black_box;
mod corrupt;
mod cross_check;
mod headers;
mod lease;
mod ledger;
mod linearizable;
mod raft;
mod suite;
mod watch;
mod world;
