//! The crate from outside: scripts that read as claims, and random runs against a naive model.

mod dump;
mod model;
mod pool;
mod random;
mod script;
mod store;
mod watch;
