//! A run made explicit: at first, and again where that did not succeed as a whole and less is left of the run.

use evenkeel_scenario::step::Trigger;
use evenkeel_scenario::{Resolved, RunLength};

use super::{Case, Shrinker, passes};
use crate::repro::concrete::{Taken, listed, unrolled};
use crate::repro::events::Event;

/// Seeds tried for the most explicit form: it is the largest jump. The others get a part of them.
const TRIES: u64 = 24;
const TRIES_OTHERS: u64 = TRIES / 4;

impl Shrinker<'_> {
    /// The explicit form, as far as the failure survives it; at least the run ends soon after its failure.
    pub(super) fn make_explicit(&mut self, events: &[Event]) {
        let mut forms = self.forms(events);
        forms.push(self.best.resolved.clone());
        self.first_form(forms);
    }

    /// Once more for what is still drawn: random load, and steps that wait for something.
    pub(super) fn more_explicit(&mut self) -> bool {
        let drawn = self.drawn(&self.best.resolved);
        if drawn == 0 || self.is_late() {
            return false;
        }
        let attempt = self.best.attempt(&self.file, self.best.decisions.seed());
        let Ok((_, events)) = attempt.run_told(self.world) else { return false };
        let mut forms = self.forms(&events);
        forms.retain(|form| self.drawn(form) < drawn);
        self.first_form(forms)
    }

    /// How much of a case is drawn that could be said.
    fn drawn(&self, resolved: &Resolved) -> usize {
        let random = resolved.clients.iter().filter(|client| self.explicit && client.knobs.ops.0.is_empty());
        let tied = resolved.steps.iter().filter(|step| !matches!(step.trigger, Trigger::At(_)));
        random.count() + tied.count()
    }

    /// The first of these that still fails. What is most explicit comes first.
    fn first_form(&mut self, forms: Vec<Resolved>) -> bool {
        let tries = self.tries;
        let mut helped = false;
        for (place, form) in forms.into_iter().enumerate() {
            self.tries = if place == 0 { TRIES } else { TRIES_OTHERS };
            let run = RunLength::For(passes::just_after(self.at_ns));
            let made = Case { resolved: Resolved { run, ..form }, ..self.best.clone() };
            helped = self.improve("made explicit", vec![made]);
            if helped {
                break;
            }
        }
        self.tries = tries;
        helped
    }

    /// Explicit forms of the case, whose events these are: of its load and its script, or of one of them.
    fn forms(&self, events: &[Event]) -> Vec<Resolved> {
        let before: Vec<Event> = events.iter().filter(|event| event.at_ns <= self.at_ns).cloned().collect();
        let resolved = &self.best.resolved;
        let list = |resolved: &Resolved| self.explicit.then(|| listed(resolved, &before)).flatten();
        let mut forms = Vec::new();
        for taken in [Taken::All, Taken::Timed] {
            let script = unrolled(resolved, &before, taken);
            forms.extend(list(&script));
            forms.push(script);
        }
        forms.extend(list(resolved));
        forms.retain(|form| form != resolved);
        forms.dedup();
        forms
    }
}
