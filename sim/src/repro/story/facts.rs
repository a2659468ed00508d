//! Facts of a story: equal ones become one, and the heaviest are chosen.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::seconds;

/// So many facts are told between the first sentence and the last ones.
const FACTS_MAX: usize = 11;
/// When there are more, so many are told one by one; the rest are sums.
const APART_MAX: usize = 8;
/// Facts of this weight divide a story: what was before is not added to what is after.
const DIVIDES: u32 = 8;
/// Of a run in which nothing is wrong, only facts of this weight are told one by one.
const NOTABLE: u32 = 5;

/// What equal facts have in common.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Facts with the same key are added up.
    pub key: String,
    /// Several of them in words: `{count}` is how often, `{numbers}` which, `{kinds}` how many of which kind.
    pub many: String,
    /// What the numbers are.
    pub noun: Noun,
}

/// What stands before one number, and before several.
pub(super) type Noun = (&'static str, &'static str);

/// Something that happened, once or several times.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// The number of its first event.
    pub n: u64,
    /// When it first happened, and when last.
    pub at_ns: (u64, u64),
    /// The heaviest are told.
    pub weight: u32,
    /// In words.
    pub text: String,
    /// With what it is added up where it stands.
    pub equal: Option<Group>,
    /// With what it is added up when there is more than can be told.
    pub alike: Option<Group>,
    /// How often.
    pub count: u64,
    /// Its numbers, such as revisions: lowest and highest.
    pub numbers: Option<(i64, i64)>,
    /// How many of which kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

impl Fact {
    fn add(&mut self, other: Fact, group: &Group) {
        self.at_ns.1 = self.at_ns.1.max(other.at_ns.1);
        self.weight = self.weight.max(other.weight);
        self.count += other.count;
        self.numbers = match (self.numbers, other.numbers) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (one, other) => one.or(other),
        };
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        let numbers = match self.numbers {
            Some((low, high)) if low < high => format!("{} {low} to {high}", group.noun.1),
            Some((one, _)) => format!("{} {one}", group.noun.0),
            None => String::new(),
        };
        let mut kinds: Vec<(&str, u64)> = self.kinds.iter().map(|(kind, count)| (*kind, *count)).collect();
        kinds.sort_by_key(|(_, count)| Reverse(*count));
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let words = group.many.replace("{count}", &self.count.to_string());
        self.text = words.replace("{numbers}", &numbers).replace("{kinds}", &kinds.join(", "));
    }

    fn sentence(&self) -> String {
        match (seconds(self.at_ns.0), seconds(self.at_ns.1)) {
            (from, to) if from == to => format!("At {from} {}.", self.text),
            (from, to) => format!("From {from} to {to} {}.", self.text),
        }
    }
}

/// What is told, in its order.
pub(super) fn chosen(mut facts: Vec<Fact>, passed: bool) -> Vec<String> {
    facts.sort_by_key(|fact| fact.n);
    let mut facts = added_up(facts, |fact| fact.equal.clone(), true);
    if FACTS_MAX < facts.len() {
        // Later facts weigh a little more than earlier ones of their kind.
        facts.sort_by_key(|fact| (Reverse(fact.weight), Reverse(fact.n)));
        let apart = facts.iter().take_while(|fact| !passed || NOTABLE <= fact.weight).count().min(APART_MAX);
        let mut rest = facts.split_off(apart);
        rest.sort_by_key(|fact| fact.n);
        let mut sums = added_up(rest, |fact| fact.alike.clone(), false);
        sums.sort_by_key(|fact| (Reverse(fact.weight), Reverse(fact.count)));
        sums.truncate(FACTS_MAX - facts.len());
        facts.extend(sums);
        facts.sort_by_key(|fact| fact.n);
    }
    facts.iter().map(Fact::sentence).collect()
}

/// Facts in their order, those of one group as one.
fn added_up(facts: Vec<Fact>, group: impl Fn(&Fact) -> Option<Group>, divided: bool) -> Vec<Fact> {
    let mut out: Vec<Fact> = Vec::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for fact in facts {
        if divided && DIVIDES <= fact.weight {
            open.clear();
        }
        let Some(group) = group(&fact) else {
            out.push(fact);
            continue;
        };
        match open.get(&group.key) {
            Some(place) => out[*place].add(fact, &group),
            None => {
                open.insert(group.key, out.len());
                out.push(fact);
            }
        }
    }
    out
}
