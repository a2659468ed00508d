//! A simulated disk per member: what reads see, what would survive, and everything that can go wrong in between.
//!
//! Every file has two images. The *view* is the page cache: writes land there at once and survive the death of the
//! process. The *durable* image is what is left after a power loss; only a sync carries writes over, and only
//! `sync_dir` carries names over. At a power loss an arbitrary part of what was not synced yet survives, whole or
//! torn along sectors, chosen by labelled decisions (`disk/n1/…`).
//!
//! - [`Image`]: the bytes of one file.
//! - [`Store`]: all files and names of one disk, its faults and its crashes. Pure: it is told the time.
//! - `SimDisk`: the [`Store`] behind the server's `Disk` seam (simulator flavour only).
//!
//! Limits of the model: a write is visible at once and takes no time, only syncs do; syncs of one file finish in
//! order, those of different files run side by side; reads take no time and fail only by the fuse.

mod calls;
mod crash;
mod fault;
mod image;
mod inode;
#[cfg(madsim)]
mod mount;
mod names;
mod store;
mod syncs;
#[cfg(test)]
mod tests;

pub use calls::Handle;
pub use crash::{Crash, CrashReport, Keep};
pub use fault::Faults;
pub use image::Image;
#[cfg(madsim)]
pub use mount::SimDisk;
pub use store::{Counters, DiskEvent, Store};
pub use syncs::{SyncState, Ticket};
