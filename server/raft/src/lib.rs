//! Raft without I/O: inputs go in, effects owed come out.
#![cfg_attr(not(test), no_std)]
extern crate alloc;

pub mod message;
pub mod mutant;
pub mod ready;
pub mod types;
