//! What we say we are.

/// The API level: clients decide by it what they may ask for.
pub const SERVER: &str = "3.7.3";
/// The version all members agree on.
pub const CLUSTER: &str = "3.7.0";
/// The version of the stored data.
pub const STORAGE: &str = "3.7.0";
/// Our own version.
pub const EVENKEEL: &str = env!("CARGO_PKG_VERSION");
