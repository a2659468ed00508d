//! What a run came through, as three maps of 64 Ki places: the signal that guides a search.
//!
//! - *States* of the cluster, seen from far: of each member its role, the rank of its term, how far its commit index and
//!   its applied index lag, and its release; sorted, so that members are interchangeable.
//! - *Messages*: what arrived after what on the same link, and the roles of both ends.
//! - *Points* in the code that were come to while a fault was on.
//!
//! Nothing here can influence a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use evenkeel::env::MessageKind;
use evenkeel_raft::ready::Role;

/// Places of one map.
const PLACES: usize = 1 << 16;
/// The maps.
const MAPS: usize = 3;
const STATES: usize = 0;
const MESSAGES: usize = 1;
const POINTS: usize = 2;

/// One member as a state tells it.
#[derive(Clone, Copy, Debug)]
pub struct Stands {
    /// Its process runs.
    pub up: bool,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Its commit index.
    pub committed: u64,
    /// Its applied index.
    pub applied: u64,
    /// Its release, such as `3.6`.
    pub release: Option<&'static str>,
}

/// The maps of one run.
#[derive(Default)]
pub struct Coverage(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    maps: [Vec<u64>; MAPS],
    roles: BTreeMap<u64, u8>,
    last: BTreeMap<(u64, u64), u8>,
    faults: BTreeMap<&'static str, u32>,
    /// Points that were come to under every fault that is on, by where their names lie: most visits are told by this.
    /// They are a dozen.
    seen: Vec<(usize, usize)>,
}

/// Folds bytes into a place.
fn place(bytes: impl IntoIterator<Item = u8>) -> usize {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, hash);
    ((hash ^ hash >> 32 ^ hash >> 16) as usize) % PLACES
}

/// 0, 1, a few, many.
fn bucket(lag: u64) -> u8 {
    match lag {
        0 => 0,
        1 => 1,
        2..8 => 2,
        8..64 => 3,
        _ => 4,
    }
}

impl Inner {
    fn hit(&mut self, map: usize, bytes: impl IntoIterator<Item = u8>) {
        let place = place(bytes);
        let map = &mut self.maps[map];
        map.resize(PLACES / 64, 0);
        map[place / 64] |= 1 << (place % 64);
    }
}

impl Coverage {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A member's role changed.
    pub fn stands(&self, node: u64, role: Role) {
        self.with(|inner| inner.roles.insert(node, role as u8));
    }

    /// A message arrived.
    pub fn message(&self, from: u64, to: u64, kind: MessageKind) {
        self.with(|inner| {
            let role = |node| inner.roles.get(&node).copied().unwrap_or(u8::MAX);
            let roles = [role(from), role(to)];
            let before = inner.last.insert((from, to), kind as u8).unwrap_or(u8::MAX);
            inner.hit(MESSAGES, [kind as u8, before, roles[0], roles[1]]);
        });
    }

    /// A member came to a point.
    pub fn point(&self, name: &'static str) {
        self.with(|inner| {
            let place = (name.as_ptr().addr(), name.len());
            if inner.seen.contains(&place) {
                return;
            }
            inner.seen.push(place);
            let faults: Vec<&'static str> = inner.faults.keys().copied().collect();
            for fault in faults.into_iter().chain([""]) {
                inner.hit(POINTS, name.bytes().chain([0]).chain(fault.bytes()));
            }
        });
    }

    /// A step acts from now on.
    pub fn begins(&self, verb: &'static str) {
        self.with(|inner| {
            inner.seen.clear();
            *inner.faults.entry(verb).or_default() += 1;
        });
    }

    /// It does no more.
    pub fn ends(&self, verb: &'static str) {
        self.with(|inner| {
            let left = inner.faults.get(verb).copied().unwrap_or(0).saturating_sub(1);
            if left == 0 {
                inner.faults.remove(verb)
            } else {
                inner.faults.insert(verb, left)
            };
        });
    }

    /// The cluster as it stands now.
    pub fn state(&self, members: impl Iterator<Item = Stands>) {
        let members: Vec<Stands> = members.collect();
        let mut terms: Vec<u64> = members.iter().map(|member| member.term).collect();
        terms.sort_unstable();
        terms.dedup();
        let newest = members.iter().map(|member| member.committed).max().unwrap_or(0);
        let mut rows: Vec<[u8; 6]> = members
            .iter()
            .map(|member| {
                let rank = terms.len() - terms.partition_point(|term| *term < member.term);
                [
                    u8::from(member.up),
                    member.role as u8,
                    rank.min(3) as u8,
                    bucket(newest - member.committed),
                    bucket(member.committed.saturating_sub(member.applied)),
                    member.release.and_then(|release| release.bytes().last()).unwrap_or(0),
                ]
            })
            .collect();
        rows.sort_unstable();
        self.with(|inner| inner.hit(STATES, rows.into_iter().flatten()));
    }

    /// Every place that was hit: the map's number above 16 bits of place.
    pub fn places(&self) -> Vec<u32> {
        self.with(|inner| {
            let mut places = Vec::new();
            for (map, words) in inner.maps.iter().enumerate() {
                for (at, word) in words.iter().enumerate().filter(|(_, word)| **word != 0) {
                    let bits = (0..64).filter(|bit| word & (1 << bit) != 0);
                    places.extend(bits.map(|bit| ((map * PLACES) + at * 64 + bit) as u32));
                }
            }
            places
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(role: Role, term: u64, committed: u64) -> Stands {
        Stands { up: true, role, term, committed, applied: committed, release: Some("3.7") }
    }

    #[test]
    fn states_do_not_depend_on_names_or_absolute_numbers() {
        let of = |members: &[Stands]| {
            let coverage = Coverage::default();
            coverage.state(members.iter().copied());
            coverage.places()
        };
        let one = of(&[member(Role::Leader, 3, 10), member(Role::Follower, 3, 9), member(Role::Follower, 2, 10)]);
        let same = of(&[member(Role::Follower, 7, 40), member(Role::Follower, 8, 39), member(Role::Leader, 8, 40)]);
        let other = of(&[member(Role::Leader, 3, 10), member(Role::Follower, 3, 9), member(Role::Follower, 3, 10)]);
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn a_point_under_a_fault_is_another_place() {
        let coverage = Coverage::default();
        coverage.point("wal.synced");
        let calm = coverage.places();
        coverage.begins("pause");
        coverage.point("wal.synced");
        assert_eq!((calm.len(), coverage.places().len()), (1, 2));
        coverage.ends("pause");
        coverage.point("wal.synced");
        assert_eq!(coverage.places().len(), 2);
        assert!(coverage.places().iter().all(|place| *place as usize / PLACES == POINTS));
    }
}
