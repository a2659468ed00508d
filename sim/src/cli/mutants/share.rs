//! How often a run finds a bug, from trials that each go on until one does.

use evenkeel_scenario::stats::Proportion;

/// Finds, and the runs until each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntilFound {
    /// Trials that ended with a find.
    pub finds: u64,
    /// Runs of all trials.
    pub runs: u64,
    /// There were trials that ended without one.
    pub given_up: bool,
}

impl UntilFound {
    /// Finds per run: the most likely share. Who stops at a find sees it somewhat too high, on average by one part in the
    /// number of finds; nothing is always right (the unbiased estimate calls every single find impossible).
    pub fn share(self) -> f64 {
        Proportion { hits: self.finds, runs: self.runs }.share()
    }

    /// The interval that holds the true share with 95 % confidence.
    ///
    /// Exact for a number of runs that was waited for: so many runs or fewer are as likely as so many finds or more in that
    /// number, and so many or more as fewer than so many finds in one run less. Where trials were given up, the
    /// upper end is that of a fixed number of runs, which is never below.
    pub fn interval(self) -> (f64, f64) {
        let (low, high) = Proportion { hits: self.finds, runs: self.runs }.interval();
        if self.given_up || self.finds == 0 {
            return (low, high);
        }
        (low, Proportion { hits: self.finds - 1, runs: self.runs - 1 }.interval().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_waiting_for_finds() {
        // By hand for one find in n runs: 1 - 0.975^(1/n), and 1 - 0.025^(1/(n-1)).
        for (finds, runs, given_up, low, high) in [
            (1, 10, false, 0.00253, 0.33627),
            (1, 10, true, 0.00253, 0.44502),
            (5, 5, false, 0.47818, 1.0),
            (1, 1, false, 0.025, 1.0),
            (0, 10, true, 0.0, 0.30850),
            (0, 0, false, 0.0, 1.0),
        ] {
            let (l, h) = UntilFound { finds, runs, given_up }.interval();
            assert!((l - low).abs() < 1e-4, "{finds}/{runs}: {l} is not {low}");
            assert!((h - high).abs() < 1e-4, "{finds}/{runs}: {h} is not {high}");
        }
    }

    #[test]
    fn it_holds_the_true_share_nearly_always_and_never_much_more_rarely() {
        // Five trials until a find each, as a share of 1 in 20 has them: every sum of runs, by its probability.
        let (p, finds) = (0.05_f64, 5);
        let mut probability = p.powi(finds as i32);
        let mut held = 0.0;
        for runs in finds..2_000 {
            let (low, high) = UntilFound { finds, runs, given_up: false }.interval();
            held += if low <= p && p <= high { probability } else { 0.0 };
            probability *= (1.0 - p) * runs as f64 / (runs - finds + 1) as f64;
        }
        assert!((0.95..0.985).contains(&held), "{held}");
    }
}
