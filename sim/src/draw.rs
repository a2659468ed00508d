//! The run's choices, shared by every part of the simulated world.
//!
//! One thread, so the lock is never waited for. Every part looks its labels up once and draws by handle after that.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_scenario::decision::{Decisions, Label, between, unit};

/// A handle to the [`Decisions`] of one run.
#[derive(Clone, Debug)]
pub struct Draws(Arc<Mutex<Decisions>>);

impl Draws {
    /// Shares `decisions`.
    pub fn new(decisions: Decisions) -> Draws {
        Draws(Arc::new(Mutex::new(decisions)))
    }

    /// Uses the decisions directly.
    pub fn with<T>(&self, f: impl FnOnce(&mut Decisions) -> T) -> T {
        f(&mut self.0.lock().expect("no panic while drawing"))
    }

    /// Looks a label up.
    pub fn label(&self, label: &str) -> Label {
        self.with(|decisions| decisions.label(label))
    }

    /// The next number of a label.
    pub fn draw(&self, label: Label) -> u64 {
        self.with(|decisions| decisions.draw_at(label))
    }

    /// A number in `0..count`.
    pub fn below(&self, label: Label, count: u64) -> u64 {
        assert!(count > 0, "nothing to choose from");
        between(self.draw(label), 0, count - 1)
    }

    /// True with probability `share`. Nothing is drawn for the shares 0 and 1.
    pub fn chance(&self, label: Label, share: f64) -> bool {
        match share {
            share if share <= 0.0 => false,
            share if share >= 1.0 => true,
            share => unit(self.draw(label)) < share,
        }
    }

    /// A duration between both ends. Nothing is drawn when they are equal.
    pub fn within(&self, label: Label, range: &Range<Duration>) -> Duration {
        if range.end <= range.start { range.start } else { spread(self.draw(label), range) }
    }
}

/// Maps a drawn number to a duration between both ends.
pub fn spread(drawn: u64, range: &Range<Duration>) -> Duration {
    let width = range.end.saturating_sub(range.start).as_nanos() as u64;
    range.start + Duration::from_nanos(between(drawn, 0, width))
}
