//! Who leads, and who would like to.

use std::collections::{BTreeMap, BTreeSet};

use super::seconds;
use crate::repro::deed::listed;
use crate::repro::events::Event;

/// Asking so often, and no election comes of it, is worth telling: before most elections it is done once.
const OFTEN: u64 = 3;

/// A time of leading: member, term, and since when; or until when.
#[derive(Clone, Copy, Debug)]
struct Led {
    node: u64,
    term: u64,
    at_ns: u64,
}

/// Who leads, followed event by event.
#[derive(Debug, Default)]
pub(super) struct Leads {
    /// One that was cut off may still believe it leads while another one does.
    now: BTreeMap<u64, Led>,
    last: Option<Led>,
}

impl Leads {
    /// After all these events.
    pub fn after(events: &[&Event]) -> Leads {
        let mut leads = Leads::default();
        events.iter().for_each(|event| leads.note(event));
        leads
    }

    fn note(&mut self, event: &Event) {
        let (node, term, at_ns) = (event.number("node"), event.number("term"), event.at_ns);
        let ends = match event.kind.as_str() {
            "standing" if event.text("role") == "leader" => {
                let led = self.now.entry(node).or_insert(Led { node, term, at_ns });
                if led.term != term {
                    *led = Led { node, term, at_ns };
                }
                false
            }
            "standing" | "booted" | "down" | "fatal" | "refused" => true,
            "happened" => matches!(event.text("what"), "step_down" | "fault.kill" | "fault.power_loss"),
            _ => false,
        };
        if ends && let Some(led) = self.now.remove(&node) {
            self.last = Some(Led { at_ns, ..led });
        }
    }

    fn nobody(&self) -> bool {
        self.now.is_empty()
    }

    /// As a sentence about the end.
    pub fn in_words(&self) -> String {
        match (self.now.values().max_by_key(|led| led.term), self.last) {
            (Some(Led { node, term, at_ns }), _) => {
                format!("Now n{node} leads, in term {term}, since {}.", seconds(*at_ns))
            }
            (None, Some(Led { node, term, at_ns })) => {
                format!("Nobody leads now: the last leader was n{node}, in term {term}, until {}.", seconds(at_ns))
            }
            (None, None) => "Nobody has ever led.".to_owned(),
        }
    }
}

/// A time in which members ask who would vote for them, without an election.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Where it begins.
    pub first: &'a Event,
    /// The last time.
    pub last_ns: u64,
    /// How often.
    pub times: u64,
    /// Whether it goes on to the end.
    pub goes_on: bool,
    nodes: BTreeMap<u64, u64>,
    nobody_leads: bool,
}

impl<'a> Asked<'a> {
    /// All that are worth telling.
    pub fn all(events: &[&'a Event]) -> Vec<Asked<'a>> {
        let mut leads = Leads::default();
        let (mut all, mut open): (Vec<Asked<'a>>, Option<Asked<'a>>) = (Vec::new(), None);
        for event in events {
            let role = if event.kind == "standing" { event.text("role") } else { "" };
            if role == "candidate" || role == "leader" {
                all.extend(open.take().map(|asked| Asked { goes_on: false, ..asked }));
            }
            leads.note(event);
            let Some(node) = asks(event, role) else { continue };
            let nobody = leads.nobody();
            open.get_or_insert_with(|| Asked::from(event)).add(node, event.at_ns, nobody);
        }
        all.extend(open);
        all.retain(|asked| OFTEN <= asked.times);
        all
    }

    fn from(first: &'a Event) -> Asked<'a> {
        Asked { first, last_ns: first.at_ns, times: 0, goes_on: true, nodes: BTreeMap::new(), nobody_leads: true }
    }

    fn add(&mut self, node: u64, at_ns: u64, nobody_leads: bool) {
        // It asks all others at once.
        self.times += u64::from(self.nodes.insert(node, at_ns) != Some(at_ns));
        self.last_ns = at_ns;
        self.nobody_leads &= nobody_leads;
    }

    /// In words.
    pub fn in_words(&self) -> String {
        let names: BTreeSet<String> = self.nodes.keys().map(|node| format!("n{node}")).collect();
        let (who, are) = listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (s, whom) = if are { ("", "them") } else { ("s", "it") };
        let nobody = if self.nobody_leads { "; nobody leads" } else { "" };
        format!("{who} ask{s} {} times who would vote for {whom}{nobody}", self.times)
    }
}

/// Who asks, if this is a question who would vote for a member. One that asks again does not change its role.
fn asks(event: &Event, role: &str) -> Option<u64> {
    let says = || event.fields.get("detail").and_then(|detail| detail.get("say")).and_then(|say| say.as_str());
    match event.kind.as_str() {
        _ if role == "pre-candidate" => Some(event.number("node")),
        "send" | "lost" if says() == Some("pre-vote") => Some(event.number("from")),
        _ => None,
    }
}
