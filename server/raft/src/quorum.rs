//! What a majority of the voters agrees on: pure functions of the configuration and one value per voter.
//!
//! Everything that needs a quorum (votes, commit, read rounds, check-quorum) asks here and nowhere else, so that
//! joint consensus will be a change of this file: the answer then is the lesser of two majorities'.
//! A configuration without voters has no quorum: nothing is agreed, nobody is elected.

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

/// How many voters make a majority.
pub fn majority(configuration: &Configuration) -> usize {
    configuration.voters.len() / 2 + 1
}

/// The greatest value that a majority of the voters has reached; the least value when there are no voters.
pub fn agreed<T: Ord + Copy + Default>(configuration: &Configuration, value_of: impl Fn(NodeId) -> T) -> T {
    let mut values: Vec<T> = configuration.voters.iter().map(|&voter| value_of(voter)).collect();
    values.sort_unstable();
    match values.len().checked_sub(majority(configuration)) {
        Some(at) => values[at],
        None => T::default(),
    }
}

/// Whether the voters for which `is_in` holds are a majority.
pub fn is_quorum(configuration: &Configuration, is_in: impl Fn(NodeId) -> bool) -> bool {
    let count = configuration.voters.iter().filter(|&&voter| is_in(voter)).count();
    count >= majority(configuration)
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
}
