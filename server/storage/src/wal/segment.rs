//! Segment files: their names, their headers, and how one comes into use.

use std::sync::Arc;

use super::format::{SECTOR, SegmentHeader};
use super::{Identity, WAL_DIR, WalError};
use crate::disk::{Disk, File, OpenMode};

/// The names in the log's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Segments in order.
    pub segments: Vec<u32>,
    /// Files that are not in use, by path.
    pub spares: Vec<String>,
}

pub(crate) fn path(segment: u32) -> String {
    format!("{WAL_DIR}/{segment:016x}.seg")
}

pub(crate) fn spare_path(number: u64) -> String {
    format!("{WAL_DIR}/{number}.spare")
}

/// Lists the directory; an absent one is empty. Files with other names are none of ours.
pub(crate) fn list(disk: &dyn Disk) -> Result<Listing, WalError> {
    let names = match disk.list(WAL_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Listing::default()),
        Err(error) => return Err(WalError::io(WAL_DIR, "listing")(error)),
    };
    let mut listing = Listing::default();
    for name in names {
        if name.ends_with(".spare") {
            listing.spares.push(format!("{WAL_DIR}/{name}"));
        } else if let Some(hex) = name.strip_suffix(".seg") {
            match u32::from_str_radix(hex, 16) {
                Ok(segment) if format!("{segment:016x}") == hex => listing.segments.push(segment),
                _ => {}
            }
        }
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

/// Removes files left over from a crash. They are never taken into use: a name that outlived its crash by
/// accident must not lead to overwriting a segment.
pub(crate) async fn remove_spares(disk: &dyn Disk, listing: &Listing) -> Result<(), WalError> {
    for spare in &listing.spares {
        disk.remove(spare).map_err(WalError::io(spare, "removing"))?;
    }
    disk.sync_dir(WAL_DIR).await.map_err(WalError::io(WAL_DIR, "syncing the directory"))
}

/// A segment file with its verified header.
pub(crate) struct Opened {
    pub file: Arc<dyn File>,
    pub name: String,
    pub header: SegmentHeader,
    /// The checksum with which its chain begins.
    pub chain: u32,
}

/// Opens a segment and verifies its header.
pub(crate) fn open(disk: &dyn Disk, segment: u32, mode: OpenMode) -> Result<Opened, WalError> {
    let name = path(segment);
    let file = disk.open(&name, mode).map_err(WalError::io(&name, "opening"))?;
    let (header, chain) = read_header(&*file, &name, segment)?;
    Ok(Opened { file, name, header, chain })
}

pub(crate) fn read_header(file: &dyn File, name: &str, segment: u32) -> Result<(SegmentHeader, u32), WalError> {
    let damaged = |what: &str| WalError::Damaged { file: name.to_owned(), offset: 0, what: what.to_owned() };
    let len = file.len().map_err(WalError::io(name, "asking for the length"))?;
    if len < u64::from(SECTOR) {
        return Err(damaged("the file is too short for a segment header"));
    }
    let mut sector = [0; SECTOR as usize];
    file.read_at(0, &mut sector).map_err(WalError::io(name, "reading"))?;
    let (header, chain) = SegmentHeader::decode(&sector).map_err(damaged)?;
    if header.segment != segment {
        return Err(damaged(&format!("this is segment {:x}, not the one its name says", header.segment)));
    }
    if u64::from(header.file_bytes) != len || header.file_bytes % SECTOR != 0 {
        return Err(damaged(&format!("the file has {len} bytes instead of {}", header.file_bytes)));
    }
    Ok((header, chain))
}

/// Refuses the log of another cluster or member.
pub(crate) fn check_identity(name: &str, found: Identity, own: Identity) -> Result<(), WalError> {
    if found == own {
        return Ok(());
    }
    let what = format!(
        "this log belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}",
        found.member_id, found.cluster_id, own.member_id, own.cluster_id
    );
    Err(WalError::Foreign { file: name.to_owned(), what })
}
