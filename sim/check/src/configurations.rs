//! Who takes part, as the members' logs say: the configurations that may still count.
//!
//! A configuration is in force for a member from the moment its entry is in that member's log, and an entry may be cut
//! away again. So several may count at a time: the newest one that is known to be committed, and whatever was appended
//! after it. Rules that depend on who votes ask all of them and are content with one: no false alarm while a change is
//! under way, and no slack as soon as it is over.
//!
//! A member is named by its machine. Who had the name before its disk was lost is somebody else, and holds nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::*;

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Members that vote.
    pub voters: BTreeSet<MemberId>,
    /// While joint: the voters before, whose majority is needed too.
    pub outgoing: BTreeSet<MemberId>,
    /// Members that do not vote.
    pub learners: BTreeSet<MemberId>,
}

impl Configuration {
    /// Members 1 to `voters`, all voting.
    pub fn founded(voters: usize) -> Configuration {
        Configuration { voters: (1..=voters as u64).map(MemberId).collect(), ..Configuration::default() }
    }

    /// Whether it votes, in either half.
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.outgoing.contains(&member)
    }

    /// Whether those for whom `has` holds can decide.
    pub fn is_quorum(&self, has: impl Fn(MemberId) -> bool) -> bool {
        let majority = |of: &BTreeSet<MemberId>| of.len() / 2 < of.iter().filter(|member| has(**member)).count();
        majority(&self.voters) && (self.outgoing.is_empty() || majority(&self.outgoing))
    }

    /// Whether those for whom `has` holds can decide on an entry with this configuration, in the place of `before`:
    /// either can, without those who lose their vote by it. Who lacks the entry can only be elected by the former.
    pub fn is_decided(&self, before: &Configuration, has: impl Fn(MemberId) -> bool) -> bool {
        self.is_quorum(&has) || before.is_quorum(|member| self.is_voter(member) && has(member))
    }
}

/// The configurations that may count.
#[derive(Clone, Debug)]
pub(crate) struct Configurations(BTreeMap<(Index, Term), Configuration>, Former);

/// The one before the newest that is known to be committed. It may have committed that one, and what precedes it.
type Former = Option<Configuration>;

impl Configurations {
    pub fn new(first: Configuration) -> Configurations {
        Configurations(BTreeMap::from([((Index(0), Term(0)), first)]), None)
    }

    /// An entry with a configuration was put into some member's log.
    pub fn appended(&mut self, index: Index, term: Term, configuration: Configuration) {
        let committed = self.0.keys().next().is_none_or(|(first, _)| index <= *first);
        if !committed {
            self.0.insert((index, term), configuration);
        }
    }

    /// An entry was applied, so it is committed: when it is a configuration, those before it are history.
    pub fn applied(&mut self, index: Index, term: Term) {
        if self.0.contains_key(&(index, term)) {
            if self.0.keys().next().is_some_and(|settled| *settled != (index, term)) {
                self.1 = Some(self.settled().clone());
            }
            self.0.retain(|(at, of), _| (index, term) == (*at, *of) || (index < *at && term <= *of));
        }
    }

    /// Whoever was `member` so far has lost its disk and is `gone`; the name is somebody else's from now on.
    pub fn replaced(&mut self, member: MemberId, gone: MemberId) {
        for configuration in self.0.values_mut() {
            for half in [&mut configuration.voters, &mut configuration.outgoing, &mut configuration.learners] {
                if half.remove(&member) {
                    half.insert(gone);
                }
            }
        }
    }

    /// The configuration in the entry at this position, and the one in force before it in a log with these terms.
    pub fn decided_by(
        &self,
        index: Index,
        term: Term,
        term_at: impl Fn(Index) -> Option<Term>,
    ) -> Option<(&Configuration, &Configuration)> {
        let own = self.0.get(&(index, term))?;
        let mut before = self.0.range(..(index, Term(0))).rev();
        let settled = self.0.keys().next();
        let before = before.find(|(place, _)| Some(*place) == settled || term_at(place.0) == Some(place.1))?;
        Some((own, before.1))
    }

    /// Every configuration that may count.
    pub fn all(&self) -> impl Iterator<Item = &Configuration> {
        self.0.values()
    }

    /// Every configuration that may have committed the entry at `index`.
    pub fn of(&self, index: Index) -> impl Iterator<Item = &Configuration> {
        let precedes = self.0.keys().next().is_some_and(|(settled, _)| index <= *settled);
        self.all().chain(self.1.as_ref().filter(|_| precedes))
    }

    /// The newest one that is known to be committed.
    pub fn settled(&self) -> &Configuration {
        self.0.values().next().expect("there is always one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[u64]) -> BTreeSet<MemberId> {
        members.iter().copied().map(MemberId).collect()
    }

    #[test]
    fn a_joint_configuration_needs_both_majorities_and_a_learner_counts_nowhere() {
        let joint = Configuration { voters: set(&[3, 4, 5]), outgoing: set(&[1, 2, 3]), learners: set(&[6]) };
        for (has, decides) in
            [(&[1, 2, 3][..], false), (&[3, 4, 5], false), (&[2, 3, 4], true), (&[1, 2, 4, 5], true), (&[3, 6], false)]
        {
            assert_eq!(joint.is_quorum(|member| has.contains(&member.0)), decides, "{has:?}");
        }
    }

    #[test]
    fn a_change_is_decided_by_itself_or_by_what_was_before_without_those_who_go() {
        let before = Configuration::founded(3);
        let joint = Configuration { voters: set(&[1, 2, 4]), outgoing: set(&[1, 2, 3]), ..Configuration::default() };
        let without = Configuration { voters: set(&[1, 2]), ..Configuration::default() };
        for (own, has, decides) in [
            (&joint, &[1, 2][..], true),
            (&joint, &[1, 4], false),
            (&joint, &[2, 3], true),
            (&without, &[1, 3], false),
            (&without, &[1, 2], true),
        ] {
            assert_eq!(own.is_decided(&before, |member| has.contains(&member.0)), decides, "{own:?} {has:?}");
        }
    }

    #[test]
    fn whoever_was_replaced_counts_no_more() {
        let mut all = Configurations::new(Configuration::founded(3));
        all.replaced(MemberId(3), MemberId(3).before());
        let has = |of: &[u64]| all.settled().is_quorum(|member| of.contains(&member.0));
        assert!(has(&[1, 2]) && !has(&[1, 3]));
        assert_eq!(all.decided_by(Index(5), Term(1), |_| None), None, "an entry that is none");
    }

    #[test]
    fn what_is_committed_ends_what_was_before_and_what_was_to_be_instead() {
        let mut all = Configurations::new(Configuration::founded(3));
        all.appended(Index(5), Term(2), Configuration::founded(4));
        all.appended(Index(5), Term(3), Configuration::founded(2));
        assert_eq!(all.all().count(), 3);
        all.applied(Index(4), Term(2));
        assert_eq!(all.all().count(), 3, "an entry that is none changes nothing");
        all.applied(Index(5), Term(3));
        assert_eq!(all.all().collect::<Vec<_>>(), [&Configuration::founded(2)]);
        assert_eq!(all.of(Index(5)).collect::<Vec<_>>(), [&Configuration::founded(2), &Configuration::founded(3)]);
        assert_eq!(all.of(Index(6)).collect::<Vec<_>>(), [&Configuration::founded(2)]);
        all.applied(Index(5), Term(3));
        assert_eq!(all.of(Index(5)).count(), 2, "another member applies it, too");
        all.appended(Index(5), Term(2), Configuration::founded(4));
        assert_eq!(all.settled(), &Configuration::founded(2), "a late member's old entry changes nothing");
    }
}
