//! What a majority of the voters agrees on: pure functions of the configuration and one value per voter.
//!
//! Everything that needs a quorum (votes, commit, read rounds, check-quorum) asks here and nowhere else. In a joint
//! configuration a quorum is a majority of each half (Raft paper, section 6): the lesser of the two decides.
//! A configuration without voters has no quorum: nothing is agreed, nobody is elected.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::types::{Configuration, NodeId};

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A majority granted.
    Won,
    /// So many refused that a majority cannot grant any more.
    Lost,
    /// Neither.
    Open,
}

/// How many of so many voters make a majority.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The greatest value that a quorum of the voters has reached; the least value when there are no voters.
pub fn agreed<T: Ord + Copy + Default>(configuration: &Configuration, value_of: impl Fn(NodeId) -> T) -> T {
    let incoming = agreed_half(&configuration.voters, &value_of);
    if configuration.is_joint() { incoming.min(agreed_half(&configuration.outgoing, &value_of)) } else { incoming }
}

fn agreed_half<T: Ord + Copy + Default>(voters: &BTreeSet<NodeId>, value_of: impl Fn(NodeId) -> T) -> T {
    let mut values: Vec<T> = voters.iter().map(|&voter| value_of(voter)).collect();
    values.sort_unstable();
    match values.len().checked_sub(majority(values.len())) {
        Some(at) => values[at],
        None => T::default(),
    }
}

/// Whether the voters for which `is_in` holds are a quorum.
pub fn is_quorum(configuration: &Configuration, is_in: impl Fn(NodeId) -> bool) -> bool {
    let half =
        |voters: &BTreeSet<NodeId>| voters.iter().filter(|&&voter| is_in(voter)).count() >= majority(voters.len());
    half(&configuration.voters) && (!configuration.is_joint() || half(&configuration.outgoing))
}

/// Counts votes: `vote_of` is `None` for a voter that has not answered.
pub fn tally(configuration: &Configuration, vote_of: impl Fn(NodeId) -> Option<bool>) -> Tally {
    if is_quorum(configuration, |voter| vote_of(voter) == Some(true)) {
        Tally::Won
    } else if is_quorum(configuration, |voter| vote_of(voter) != Some(false)) {
        Tally::Open
    } else {
        Tally::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[u64], expected: u64) {
        let voters = (1..=values.len() as u64).map(NodeId).collect();
        let configuration = Configuration { voters, ..Default::default() };
        assert_eq!(agreed(&configuration, |voter| values[voter.0 as usize - 1]), expected);
    }

    #[test]
    fn no_voters_agree_on_nothing() {
        check(&[], 0);
        assert!(!is_quorum(&Configuration::default(), |_| true));
        assert_eq!(tally(&Configuration::default(), |_| Some(true)), Tally::Lost);
    }
    #[test]
    fn lone_voter_agrees_with_itself() {
        check(&[7], 7);
    }
    #[test]
    fn two_voters_need_both() {
        check(&[7, 3], 3);
    }
    #[test]
    fn slowest_of_three_is_ignored() {
        check(&[9, 7, 3], 7);
    }
    #[test]
    fn four_voters_need_three() {
        check(&[9, 9, 3, 2], 3);
    }
    #[test]
    fn joint_configuration_needs_both_halves() {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
        let joint = Configuration { voters: ids(&[1, 2, 3]), outgoing: ids(&[3, 4, 5]), ..Default::default() };
        assert_eq!(agreed(&joint, |voter| 10 - voter.0), 6, "the slower half decides");
        assert!(!is_quorum(&joint, |voter| voter.0 <= 3));
        assert!(is_quorum(&joint, |voter| [2, 3, 4].contains(&voter.0)));
        assert_eq!(tally(&joint, |voter| Some(![4, 5].contains(&voter.0))), Tally::Lost, "one half refuses");
        assert_eq!(tally(&joint, |voter| (voter.0 <= 3).then_some(true)), Tally::Open);
    }
}
